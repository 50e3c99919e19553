"""A backend that misbehaves on purpose: HTTP/2 by hyper-h2, steered by a script; raw bytes where h2 would refuse.

A script is a function (conn, stream_id, request) called when a request has arrived in full; it uses conn.headers, conn.data, conn.trailers,
conn.reset, conn.goaway, conn.raw and conn.close."""
import socket
import struct
import threading

import h2.config
import h2.connection
import h2.events
import h2.exceptions

GRPC = [(":status", "200"), ("content-type", "application/grpc")]
OK = [("grpc-status", "0")]


def frame(payload, compressed=0):
    """A gRPC frame."""
    return struct.pack(">BI", compressed, len(payload)) + payload


def h2_frame(kind, flags, stream_id, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream_id) + payload


class Request:
    def __init__(self, headers):
        self.headers = headers
        self.body = b""

    def get(self, name):
        return dict(self.headers).get(name)


class Conn:
    def __init__(self, server, sock):
        self.server, self.sock = server, sock
        self.requests = {}
        self.closed = False
        self.budget = None  # bytes that may still be written; then the connection is cut
        config = h2.config.H2Configuration(client_side=False, header_encoding="latin-1", validate_outbound_headers=False,
                                           normalize_outbound_headers=False, validate_inbound_headers=False)
        self.h2 = h2.connection.H2Connection(config)

    # -- for scripts
    def headers(self, stream_id, headers=GRPC, end=False):
        self.h2.send_headers(stream_id, headers, end_stream=end)
        self.flush()

    def data(self, stream_id, data, end=False):
        while len(data) > 16384:
            self.h2.send_data(stream_id, data[:16384])
            data = data[16384:]
        self.h2.send_data(stream_id, data, end_stream=end)
        self.flush()

    def trailers(self, stream_id, trailers=OK):
        self.h2.send_headers(stream_id, trailers, end_stream=True)
        self.flush()

    def reset(self, stream_id, code=2):
        self.h2.reset_stream(stream_id, code)
        self.flush()

    def goaway(self, last=None, code=0):
        # by hand: h2 would refuse to go on afterwards
        self.flush()
        self.raw(h2_frame(7, 0, 0, struct.pack(">II", 2**31 - 1 if last is None else last, code)))

    def raw(self, data):
        cut = self.budget is not None and len(data) > self.budget
        if self.budget is not None:
            data = data[:self.budget]
            self.budget -= len(data)
        try:
            self.sock.sendall(data)
        except OSError:
            self.closed = True
        if cut:
            self.close()

    def flush(self):
        data = self.h2.data_to_send()
        if data:
            self.raw(data)

    def close(self, abort=False):
        self.closed = True
        if abort:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.sock.close()
            return
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    # -- the loop
    def run(self):
        try:
            self.server.on_connect(self)
            while not self.closed:
                data = self.sock.recv(65536)
                if not data:
                    break
                for event in self.h2.receive_data(data):
                    self._on(event)
                if not self.closed:
                    self.flush()
        except (OSError, h2.exceptions.ProtocolError, KeyError, ValueError) as e:  # h2 raises all of these for streams that are gone
            self.server.failures.append(repr(e))
        finally:
            self.sock.close()
            self.server.conns.discard(self)

    def _on(self, e):
        if isinstance(e, h2.events.RequestReceived):
            self.requests[e.stream_id] = Request(list(e.headers))
            if self.server.early and not self.closed:
                self.server.early(self, e.stream_id, self.requests[e.stream_id])
        elif isinstance(e, h2.events.DataReceived):
            self.requests[e.stream_id].body += e.data
            if self.server.read:
                self.h2.acknowledge_received_data(e.flow_controlled_length, e.stream_id)
        elif isinstance(e, h2.events.StreamReset):
            self.server.resets.append((e.stream_id, int(e.error_code)))
        if isinstance(e, h2.events.StreamEnded):
            request = self.requests[e.stream_id]
            self.server.requests.append(request)
            if not self.closed:
                self.server.script(self, e.stream_id, request)


class Scripted:
    def __init__(self, script, settings=True, read=True, on_connect=None, port=0, early=None):
        self.script, self.read, self.early = script, read, early  # early: called like the script, when the headers have arrived
        self.requests, self.resets, self.failures, self.conns = [], [], [], set()
        self.accepted = 0
        self._on_connect, self.settings = on_connect, settings
        self.listener = socket.create_server(("127.0.0.1", port), backlog=128)
        self.port = self.listener.getsockname()[1]
        self.stopping = False
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    @property
    def endpoint(self):
        return f"127.0.0.1:{self.port}"

    def on_connect(self, conn):
        if self._on_connect:
            self._on_connect(conn)
        elif self.settings:
            conn.h2.initiate_connection()
            conn.flush()

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            if self.stopping:
                sock.close()
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.accepted += 1
            conn = Conn(self, sock)
            self.conns.add(conn)
            threading.Thread(target=conn.run, daemon=True).start()

    def stop(self):
        self.stopping = True
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        self.thread.join(5)
        for conn in list(self.conns):
            conn.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def good(conn, stream_id, request=None, payload=b""):
    """The answer of a decent backend."""
    conn.headers(stream_id)
    conn.data(stream_id, frame(payload))
    conn.trailers(stream_id)
