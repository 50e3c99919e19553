"""An exact HTTP/2 client over hyper-h2 with its own checks of what is sent turned off."""
import socket
import time

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

from .http1 import Response


class H2Stream:
    def __init__(self, conn, stream_id, method):
        self.conn, self.id, self.method = conn, stream_id, method
        self.response = Response()
        self.chunks = []
        self.ended = False
        self.auto_ack = True
        self.unacked = 0

    # -- request
    def send(self, data, end=False):
        """As flow control allows; stops when the stream was ended by the peer."""
        c = self.conn
        c.limit(None)
        while data:
            if self.response.reset is not None or (self.ended and self.id not in c.h2.streams):
                return False
            try:
                n = min(len(data), c.h2.local_flow_control_window(self.id), c.h2.max_outbound_frame_size)
                if n:
                    c.h2.send_data(self.id, data[:n])
                    data = data[n:]
                    c.flush()
                    continue
            except h2.exceptions.ProtocolError:
                return False
            c.pump()
        if end:
            return self.end()
        return True

    def try_send(self, data):
        """What fits in the windows now; returns how many bytes went."""
        c = self.conn
        sent = 0
        while sent < len(data):
            n = min(len(data) - sent, c.h2.local_flow_control_window(self.id), c.h2.max_outbound_frame_size)
            if n <= 0:
                break
            c.h2.send_data(self.id, data[sent:sent + n])
            sent += n
        c.flush()
        return sent

    def end(self):
        try:
            self.conn.h2.end_stream(self.id)
        except h2.exceptions.ProtocolError:
            return False
        self.conn.flush()
        return True

    def cancel(self, code=h2.errors.ErrorCodes.CANCEL):
        self.conn.h2.reset_stream(self.id, code)
        self.conn.flush()

    # -- response
    def read_head(self, timeout=None):
        self.conn.limit(timeout)
        while self.response.status is None and not self.ended and self.conn.pump():
            pass
        return self.response if self.response.status is not None else None

    def read_some(self, timeout=None):
        self.conn.limit(timeout)
        while not self.chunks:
            if self.ended or not self.conn.pump():
                return b""
        data = self.chunks.pop(0)
        self.response.body += data
        return data

    def finish(self, timeout=None):
        self.conn.limit(timeout)
        while not self.ended and self.conn.pump():
            pass
        self.response.body += b"".join(self.chunks)
        self.chunks = []
        return self.response


class H2:
    version = 2

    def __init__(self, port, tls=None, server_name="localhost", timeout=10.0, settings=None):
        self.timeout, self.port = timeout, port
        self.scheme = "https" if tls else "http"
        self.sock = socket.create_connection(("127.0.0.1", port), timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            self.sock = tls.wrap_socket(self.sock, server_hostname=server_name)
        config = h2.config.H2Configuration(client_side=True, header_encoding="latin-1", validate_outbound_headers=False,
                                           normalize_outbound_headers=False, validate_inbound_headers=True)
        self.h2 = h2.connection.H2Connection(config)
        if settings:
            self.h2.local_settings = h2.settings.Settings(client=True, initial_values=settings)
        self.h2.initiate_connection()
        self.flush()
        self.streams = {}
        self.inbound = b""
        self.goaway = None
        self.eof = False
        self.end_at = None

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def flush(self):
        data = self.h2.data_to_send()
        if data:
            self.sock.sendall(data)

    def limit(self, timeout):
        self.end_at = time.monotonic() + (timeout or self.timeout)

    def pump(self):
        """Waits for bytes and takes them. False at the end of the connection."""
        if self.eof:
            return False
        left = self.end_at - time.monotonic()
        if left <= 0:
            raise TimeoutError("no answer in time")
        self.sock.settimeout(left)
        try:
            data = self.sock.recv(262144)
        except ConnectionResetError:
            data = b""
        if not data:
            self.eof = True
            return False
        self.inbound += data
        while len(self.inbound) >= 9 and len(self.inbound) >= 9 + int.from_bytes(self.inbound[:3], "big"):
            n = 9 + int.from_bytes(self.inbound[:3], "big")
            one, self.inbound = self.inbound[:n], self.inbound[n:]
            for event in self.h2.receive_data(one):
                self._on(event)
            if one[3] == 7:  # after GOAWAY streams go on (RFC 9113 §6.8), which hyper-h2 does not allow for
                self.h2.state_machine.state = h2.connection.ConnectionState.CLIENT_OPEN
        self.flush()
        return True

    def _on(self, e):
        if isinstance(e, h2.events.ConnectionTerminated):
            self.goaway = (e.error_code, e.last_stream_id)
            return
        s = self.streams.get(getattr(e, "stream_id", None))
        if s is None:
            return
        r = s.response
        if isinstance(e, h2.events.ResponseReceived):
            headers = [(n, v) for n, v in e.headers]
            r.status = int(dict(headers)[":status"])
            r.headers = [(n, v) for n, v in headers if not n.startswith(":")]
        elif isinstance(e, h2.events.InformationalResponseReceived):
            r.interim.append((int(dict(e.headers)[":status"]), e.headers))
        elif isinstance(e, h2.events.DataReceived):
            s.chunks.append(e.data)
            if s.auto_ack:
                self.h2.acknowledge_received_data(e.flow_controlled_length, e.stream_id)
            else:
                s.unacked += e.flow_controlled_length
        elif isinstance(e, h2.events.TrailersReceived):
            r.trailers = list(e.headers)
        elif isinstance(e, h2.events.StreamEnded):
            s.ended = True
            r.complete = True
        elif isinstance(e, h2.events.StreamReset):
            s.ended = True
            if not r.complete:
                r.reset = int(e.error_code)

    # -- requests
    def start(self, method, target, headers=(), length=None, end=None):
        """Sends the head. length None: no body, the stream ends; -1: a body of unknown length."""
        stream_id = self.h2.get_next_available_stream_id()
        names = {n for n, _ in headers}
        pseudo = []
        if ":method" not in names:
            pseudo.append((":method", method))
        if ":scheme" not in names:
            pseudo.append((":scheme", self.scheme))
        if ":authority" not in names and "host" not in names:
            pseudo.append((":authority", f"127.0.0.1:{self.port}"))
        if ":path" not in names:
            pseudo.append((":path", target))
        pseudo += [h for h in headers if h[0].startswith(":")]
        headers = pseudo + [(n.lower(), v) for n, v in headers if not n.startswith(":")]
        if length is not None and length >= 0 and "content-length" not in names:
            headers.append(("content-length", str(length)))
        stream = H2Stream(self, stream_id, method)
        self.streams[stream_id] = stream
        self.h2.send_headers(stream_id, [(n.encode("latin-1"), v.encode("latin-1")) for n, v in headers],
                             end_stream=length is None if end is None else end)
        self.flush()
        return stream

    def request(self, method, target, headers=(), body=None, timeout=None):
        if isinstance(body, str):
            body = body.encode()
        stream = self.start(method, target, headers, len(body) if body else None)
        if body:
            try:
                stream.send(body, end=True)
            except (BrokenPipeError, ConnectionResetError):
                pass
        return stream.finish(timeout)
