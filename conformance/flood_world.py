"""What the floods need, and httplint_answers.py: a gateway with short limits before a gRPC backend, an honest client beside the attack, raw connections.

Everything is on loopback. The gateway has one worker, so that attacker and honest client share a thread; the backend runs in a process of
its own (`python flood_world.py`), with grpcio and without the gateway's code."""
import contextlib
import http.client
import json
import os
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM = ACK = 1
END_HEADERS, PADDED = 4, 8

LIMITS = {"header_timeout": "1s", "body_idle_timeout": "1s", "write_timeout": "1s", "keepalive_timeout": "3s"}
POLICY = {"timeout": "3s", "stream_idle_timeout": "3s"}
SERVICE = "bookstore.v1.Bookstore"
NOTE_BYTES = 1 << 20  # of one large unary answer
STREAM_BYTES = 64 << 20  # of one endless answer


# ---- the backend ---------------------------------------------------------------------------------------------------


def varint(n):
    out = b""
    while n >= 128:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def field(number, data):
    return bytes([number << 3 | 2]) + varint(len(data)) + data


def backend_main():
    import concurrent.futures

    import grpc

    book = field(1, b"shelves/1/books/1") + field(2, b"t" * 16384)

    def stream_books(request, context):
        for _ in range(STREAM_BYTES // len(book)):
            yield book

    def import_books(requests, context):
        return b"\x08" + varint(sum(1 for _ in requests))

    def chat(requests, context):
        yield from requests

    def unary(name):
        fixed = {"ListShelves": field(1, field(1, b"shelves/1")),
                 "GetNote": field(1, b"n") + field(2, b"n" * NOTE_BYTES), "DeleteBook": b"",
                 "DownloadCover": field(1, b"image/svg+xml") + field(2, b"<svg/>")}
        answer = fixed.get(name, field(1, b"shelves/1"))

        def behave(request, context):
            told = dict(context.invocation_metadata())
            if "x-sleep" in told:
                time.sleep(float(told["x-sleep"]))
            if "x-bad-text" in told:
                return field(2, b"\xff" * int(told["x-bad-text"]))
            if "x-code" in told:
                context.abort(next(c for c in grpc.StatusCode if c.value[0] == int(told["x-code"])), "as it was told to: \u00e9")
            context.send_initial_metadata((("x-initial", "1"), ("location" if name == "CreateShelf" else "x-location", "/v1/shelves/1")))
            context.set_trailing_metadata((("x-trailing", "1"),))
            return answer
        return behave

    class Handler(grpc.GenericRpcHandler):
        def service(self, call):
            name = call.method.rsplit("/", 1)[1]
            if name == "StreamBooks":
                few = dict(call.invocation_metadata).get("x-few")
                return grpc.unary_stream_rpc_method_handler((lambda request, context: iter([book[:19]] * int(few))) if few else stream_books)
            if name == "ImportBooks":
                return grpc.stream_unary_rpc_method_handler(import_books)
            if name == "Chat":
                return grpc.stream_stream_rpc_method_handler(chat)
            return grpc.unary_unary_rpc_method_handler(unary(name))

    server = grpc.server(concurrent.futures.ThreadPoolExecutor(256), options=[
        ("grpc.so_reuseport", 0), ("grpc.max_concurrent_streams", 1000), ("grpc.max_receive_message_length", -1)])
    server.add_generic_rpc_handlers((Handler(),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    sys.stdin.read()
    os._exit(0)  # the threads of streams that are still open


class Backend:
    def __enter__(self):
        self.process = subprocess.Popen([sys.executable, os.path.abspath(__file__)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.port = int(self.process.stdout.readline())
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(10)


# ---- the gateway ---------------------------------------------------------------------------------------------------

REPORT = re.compile(r"ERROR: \w+Sanitizer|runtime error:|assertion", re.I)


class Gateway:
    def __init__(self, transom, build, backend_port, limits=None, policies=None):
        with open(transom, "rb") as f:
            self.sanitized = b"__asan_init" in f.read()
        self.dir = tempfile.TemporaryDirectory()
        config = os.path.join(self.dir.name, "transom.json")
        with open(config, "w") as f:
            json.dump({"listeners": [{"address": "127.0.0.1:0", "max_connections": 400}], "admin": {"address": "127.0.0.1:0"}, "workers": 1,
                       "drain_delay": "0s", "drain_timeout": "3s", "descriptors": [os.path.abspath(os.path.join(build, "descriptors", "bookstore.pb"))],
                       "upstreams": {"books": {"endpoints": [f"127.0.0.1:{backend_port}"]}},
                       "services": [{"name": SERVICE, "upstream": "books"}], "limits": {**LIMITS, **(limits or {})},
                       "policies": {"*": POLICY, **(policies or {})}}, f)
        env = dict(os.environ, ASAN_OPTIONS="detect_leaks=1:exitcode=99:quarantine_size_mb=8:" + os.environ.get("ASAN_OPTIONS", ""),
                   UBSAN_OPTIONS="print_stacktrace=1:" + os.environ.get("UBSAN_OPTIONS", ""))
        self.log = open(os.path.join(self.dir.name, "log"), "w+")
        self.process = subprocess.Popen([transom, "serve", "--config", config], stdout=subprocess.PIPE, stderr=self.log, text=True, env=env)
        line = self.process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+).*admin=http://127\.0\.0\.1:(\d+)", line)
        if not found:
            self.process.wait(10)
            raise RuntimeError(f"the gateway did not start: {line!r} {self.stderr()}")
        self.port, self.admin = int(found[1]), int(found[2])

    def stderr(self):
        self.log.flush()
        with open(self.log.name) as f:
            return f.read()

    def rss_mib(self, what="VmRSS"):
        with open(f"/proc/{self.process.pid}/status") as f:
            return int(re.search(what + r":\s*(\d+) kB", f.read())[1]) / 1024

    def reset_peak(self):
        with contextlib.suppress(OSError), open(f"/proc/{self.process.pid}/clear_refs", "w") as f:
            f.write("5")

    def peak_mib(self):
        """Since reset_peak; since the start where the kernel does not let it be reset."""
        return self.rss_mib("VmHWM")

    def metrics(self):
        """{name with labels: value}"""
        client = http.client.HTTPConnection("127.0.0.1", self.admin, timeout=5)
        with contextlib.closing(client):
            client.request("GET", "/metrics")
            text = client.getresponse().read().decode()
        return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line and line[0] != "#"}

    def stop(self):
        """What is wrong with its end, or an empty text."""
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(5)
            return "did not end after SIGTERM " + self.stderr()[-2000:]
        text = self.stderr()
        return "" if status == 0 and not REPORT.search(text) else f"exit status {status}\n{text[-6000:]}"


def sum_of(metrics, prefix):
    return sum(v for k, v in metrics.items() if k == prefix or k.startswith(prefix + "{"))


def errors_of(metrics):
    return {k.split('"')[1]: v for k, v in metrics.items() if k.startswith("transom_errors_total{")}


# ---- the honest client ---------------------------------------------------------------------------------------------


class Honest:
    """Asks for a shelf again and again, every second time on a new connection."""

    def __init__(self, port):
        self.port, self.stopping = port, threading.Event()
        self.asked, self.failures, self.slowest = 0, [], 0.0

    def ask(self, client):
        start = time.monotonic()
        client.request("GET", "/v1/shelves/1")
        answer = client.getresponse()
        body = answer.read()
        self.slowest = max(self.slowest, time.monotonic() - start)
        self.asked += 1
        if answer.status != 200 or b"shelves/1" not in body:
            self.failures.append((answer.status, body[:200]))

    def run(self):
        kept = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        while not self.stopping.is_set():
            try:
                fresh = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
                with contextlib.closing(fresh):
                    self.ask(fresh)
                self.ask(kept)
            except (OSError, http.client.HTTPException) as e:
                self.failures.append(repr(e))
                kept.close()
            self.stopping.wait(0.05)
        kept.close()

    def __enter__(self):
        self.thread = threading.Thread(target=self.run)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.thread.join()


# ---- raw HTTP/2 ----------------------------------------------------------------------------------------------------


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def hstring(data):
    n = len(data)
    return (bytes([n]) if n < 127 else bytes([127]) + varint(n - 127)) + data


def literal(name, value):
    return b"\x00" + hstring(name) + hstring(value)


def request_block(path=b"/v1/shelves/1", method=b"GET", fields=()):
    out = {b"GET": b"\x82", b"POST": b"\x83"}[method] + b"\x86\x04" + hstring(path) + b"\x01" + hstring(b"localhost")
    return out + b"".join(literal(n, v) for n, v in fields)


def get(stream, path=b"/v1/shelves/1", fields=()):
    return frame(HEADERS, END_HEADERS | END_STREAM, stream, request_block(path, b"GET", fields))


def post(stream, path=b"/v1/shelves", fields=(), end=False):
    return frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream, request_block(path, b"POST", fields))


def window_update(stream, n):
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", n))


class Raw:
    """A connection that sends without waiting and notes what comes: bytes, and for HTTP/2 the frames."""

    def __init__(self, port, h2=False, settings=b"", receive_buffer=0, ack=True):
        self.sock = socket.socket()
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(5)
        self.sock.connect(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.h2, self.data, self.left, self.ended = h2, b"", b"", False
        self.sent = self.received = 0
        self.frames, self.goaway, self.resets = {}, None, []
        if h2:
            self.sock.sendall(PREFACE + frame(SETTINGS, 0, 0, settings) + (frame(SETTINGS, ACK, 0) if ack else b""))

    def close(self):
        self.sock.close()

    def note(self, got):
        self.received += len(got)
        if not self.h2:
            if len(self.data) < 1 << 20:
                self.data += got
            return
        self.left += got
        at = 0
        while len(self.left) - at >= 9:
            n, kind = int.from_bytes(self.left[at:at + 3], "big"), self.left[at + 3]
            if len(self.left) - at < 9 + n:
                break
            payload = self.left[at + 9:at + 9 + n]
            self.frames[kind] = self.frames.get(kind, 0) + 1
            if kind == GOAWAY and self.goaway in (None, 0):
                self.goaway = int.from_bytes(payload[4:8], "big")
            elif kind == RST:
                self.resets.append(int.from_bytes(payload, "big"))
            at += 9 + n
        self.left = self.left[at:]

    def read(self, seconds):
        """Takes what comes until the end of the connection or for so long; True when it has ended."""
        end = time.monotonic() + seconds
        while not self.ended:
            if not select.select([self.sock], [], [], max(0, end - time.monotonic()))[0]:
                break
            try:
                got = self.sock.recv(1 << 18)
            except OSError:
                got = b""
            self.ended = not got
            self.note(got)
            if time.monotonic() >= end:
                break
        return self.ended

    def until(self, done, seconds):
        end = time.monotonic() + seconds
        while not done() and time.monotonic() < end and not self.read(0.05):
            pass

    def pump(self, chunks, reading=True, seconds=6.0):
        """Sends the chunks as the gateway takes them, reading meanwhile or not, until they are out, or the connection is over
        (GOAWAY with an error counts), or for so long. True when it is over."""
        end = time.monotonic() + seconds
        chunks, waiting = iter(chunks), b""
        self.sock.setblocking(False)
        while not self.ended and not self.goaway and time.monotonic() < end:
            if not waiting:
                waiting = next(chunks, None)
                if waiting is None:
                    break
            readable, writable, _ = select.select([self.sock] if reading else [], [self.sock], [], 0.1)
            try:
                if readable:
                    got = self.sock.recv(1 << 18)
                    self.ended = not got
                    self.note(got)
                if writable and not self.ended:
                    n = self.sock.send(waiting)
                    self.sent += n
                    waiting = waiting[n:]
            except BlockingIOError:
                pass
            except OSError:
                self.ended = True
        self.sock.setblocking(True)
        return bool(self.ended or self.goaway)

    def how(self):
        parts = [f"sent {self.sent}", f"received {self.received}"]
        if self.goaway is not None:
            parts.append(f"GOAWAY {self.goaway}")
        if self.resets:
            parts.append(f"{len(self.resets)} RST_STREAM")
        if self.data.startswith(b"HTTP"):
            parts.append(self.data.split(b"\r\n")[0].decode("latin-1"))
        parts.append("closed" if self.ended else "open")
        return ", ".join(parts)


if __name__ == "__main__":
    backend_main()
