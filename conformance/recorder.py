"""A gRPC backend that answers every method with a message of one short string and counts the calls, and where the count is read.

As a context manager: `with Recorder() as r:` has r.port (gRPC, cleartext) and r.count_url (HTTP/1.1: the number as text).
"""
import http.server
import threading
from concurrent import futures

import grpc


class Recorder:
    def __enter__(self):
        self.calls = 0
        lock = threading.Lock()

        class Handler(grpc.GenericRpcHandler):
            def service(_, details):
                def answer(request, context):
                    with lock:
                        self.calls += 1
                    return b"\n\x10shelves/recorded"  # name, field 1 of every answer of the bookstore
                return grpc.unary_unary_rpc_method_handler(answer)

        self.server = grpc.server(futures.ThreadPoolExecutor(4), handlers=[Handler()])
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()
        recorder = self

        class Count(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                body = str(recorder.calls).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Count)
        self.count_url = f"http://127.0.0.1:{self.http.server_address[1]}/count"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exc):
        self.http.shutdown()
        self.server.stop(None)
