"""An exact HTTP/1.1 client: sends what it is told, byte for byte, and keeps everything that comes back."""
import json
import socket
import time


class Response:
    def __init__(self):
        self.status = None
        self.headers = []       # (lower-case name, value), in order
        self.body = b""
        self.trailers = []
        self.complete = False   # ended as the protocol says, not cut
        self.reset = None       # HTTP/2: error code of a RST_STREAM
        self.interim = []       # 1xx

    def header(self, name, default=None):
        values = [v for n, v in self.headers if n == name.lower()]
        return ", ".join(values) if values else default

    def header_list(self, name):
        return [v for n, v in self.headers if n == name.lower()]

    def trailer(self, name, default=None):
        values = [v for n, v in self.trailers if n == name.lower()]
        return ", ".join(values) if values else default

    @property
    def text(self):
        return self.body.decode()

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"<{self.status} {self.headers} {self.body[:300]!r} trailers={self.trailers} complete={self.complete} reset={self.reset}>"


class H1Stream:
    """One exchange on a connection."""

    def __init__(self, conn, method):
        self.conn, self.method = conn, method
        self.response = Response()
        self.chunked_out = False
        self._body = None

    # -- request
    def send(self, data):
        if data:
            self.conn.send(b"%x\r\n%s\r\n" % (len(data), data) if self.chunked_out else data)

    def end(self):
        if self.chunked_out:
            self.conn.send(b"0\r\n\r\n")

    def cancel(self):
        self.conn.close()

    # -- response
    def read_head(self, timeout=None):
        r = self.response
        while r.status is None:
            head = self.conn.read_head(timeout)
            if head is None:
                return None
            status, headers = head
            if 100 <= status < 200:
                r.interim.append((status, headers))
                continue
            r.status, r.headers = status, headers
            self._body = self._read_body()
        return r

    def _read_body(self):
        r, c = self.response, self.conn
        encoding, length = r.header("transfer-encoding"), r.header("content-length")
        if self.method == "HEAD" or r.status in (204, 304):
            r.complete = True
            return
        if encoding is not None:
            assert encoding == "chunked" and length is None, r
            while True:
                line = c.read_line()
                if line is None:
                    return
                size = int(line.split(b";")[0], 16)
                if size == 0:
                    break
                data = c.read_exactly(size + 2)
                if data is None:
                    return
                assert data.endswith(b"\r\n")
                yield data[:-2]
            while True:
                line = c.read_line()
                if line is None:
                    return
                if not line:
                    r.complete = True
                    return
                name, value = line.decode("latin-1").split(":", 1)
                r.trailers.append((name.lower(), value.strip()))
        elif length is not None:
            left = int(length)
            while left:
                data = c.read_some(left)
                if not data:
                    return
                left -= len(data)
                yield data
            r.complete = True
        else:
            while True:
                data = c.read_some(65536)
                if not data:
                    r.complete = not c.reset
                    return
                yield data

    def read_some(self, timeout=None):
        """Bytes of the body as they come; b"" at its end."""
        self.conn.limit(timeout)
        if self.read_head() is None:
            return b""
        for data in self._body:
            self.response.body += data
            return data
        return b""

    def finish(self, timeout=None):
        self.conn.limit(timeout)
        while self.read_some(timeout):
            pass
        return self.response


class H1:
    version = 1

    def __init__(self, port, tls=None, server_name="localhost", timeout=10.0):
        self.timeout = timeout
        self.sock = socket.create_connection(("127.0.0.1", port), timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            self.sock = tls.wrap_socket(self.sock, server_hostname=server_name)
        self.port = port
        self.buffer = b""
        self.eof = False
        self.reset = False
        self.end_at = None

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, data):
        self.sock.sendall(data)

    # -- reading
    def limit(self, timeout):
        self.end_at = time.monotonic() + (timeout or self.timeout)

    def _fill(self):
        if self.eof:
            return False
        left = (self.end_at or time.monotonic() + self.timeout) - time.monotonic()
        if left <= 0:
            raise TimeoutError("no answer in time")
        self.sock.settimeout(left)
        try:
            data = self.sock.recv(262144)
        except ConnectionResetError:
            self.reset = True
            data = b""
        if not data:
            self.eof = True
            return False
        self.buffer += data
        return True

    def read_line(self):
        while b"\r\n" not in self.buffer:
            if not self._fill():
                return None
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        return line

    def read_exactly(self, n):
        while len(self.buffer) < n:
            if not self._fill():
                return None
        data, self.buffer = self.buffer[:n], self.buffer[n:]
        return data

    def read_some(self, n):
        if not self.buffer and not self._fill():
            return b""
        data, self.buffer = self.buffer[:n], self.buffer[n:]
        return data

    def read_head(self, timeout=None):
        if timeout or self.end_at is None:
            self.limit(timeout)
        line = self.read_line()
        if line is None:
            return None
        version, status, _ = line.split(b" ", 2)
        assert version == b"HTTP/1.1", line
        headers = []
        while True:
            line = self.read_line()
            assert line is not None, "cut in the head"
            if not line:
                return int(status), headers
            name, value = line.decode("latin-1").split(":", 1)
            assert name == name.strip()
            headers.append((name.lower(), value.strip()))

    def read_all(self, timeout=None):
        """Everything until the peer closes."""
        self.limit(timeout)
        while self._fill():
            pass
        data, self.buffer = self.buffer, b""
        return data

    # -- requests
    def start(self, method, target, headers=(), length=None):
        """Sends the head. length None: no body; -1: chunked."""
        headers = list(headers)
        names = {n.lower() for n, _ in headers}
        if "host" not in names:
            headers.insert(0, ("host", f"127.0.0.1:{self.port}"))
        if length == -1:
            headers.append(("transfer-encoding", "chunked"))
        elif length is not None and "content-length" not in names:
            headers.append(("content-length", str(length)))
        head = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{n}: {v}\r\n" for n, v in headers) + "\r\n"
        self.end_at = None
        stream = H1Stream(self, method)
        stream.chunked_out = length == -1
        self.send(head.encode("latin-1"))
        return stream

    def request(self, method, target, headers=(), body=None, timeout=None):
        if isinstance(body, str):
            body = body.encode()
        stream = self.start(method, target, headers, None if body is None else len(body))
        if body:
            try:
                stream.send(body)
            except (BrokenPipeError, ConnectionResetError):
                pass  # answered before the end of the body
        return stream.finish(timeout)
