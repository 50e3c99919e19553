"""What a hostile client or backend could make the gateway keep, believe or do for ever. Floods are conformance/floods.py."""
import socket
import threading
import time

import pytest

from env.build import wait_until
from env.gateway import base_config
from env.http1 import H1
from env.http2 import H2
from env.messages import types
from env.scripted import Scripted, frame, good, h2_frame

MIB = 1 << 20
TE = [("te", "trailers")]
NATIVE = [("content-type", "application/grpc"), *TE]


@pytest.fixture
def scripted(start):
    """scripted(script, **server options): a scripted backend and a gateway before it."""
    servers = []

    def make(script, policies=None, limits=None, **options):
        server = Scripted(script, **options)
        servers.append(server)
        return server, start(base_config([server.endpoint], workers=1, policies={"*": policies or {"timeout": "5s"}}, limits=limits or {}))
    yield make
    for server in servers:
        server.stop()


# ---- backends ------------------------------------------------------------------------------------------------------


def test_grpc_status_0_does_not_make_an_http_error_a_success(scripted):
    def script(c, s, r):
        c.headers(s, [(":status", "503"), ("content-type", "application/grpc"), ("grpc-status", "0")], end=True)
    _, gateway = scripted(script)
    with H1(gateway.port) as c:
        r = c.request("GET", "/test/v1/echo")
        assert r.status == 503 and r.json()["code"] == 14, r
    with H2(gateway.port) as c:
        r = c.request("POST", "/test.v1.EverythingService/Echo", NATIVE, frame(b""))
        assert (r.trailer("grpc-status") or r.header("grpc-status")) == "14", r


def interim(stream_id, value):
    block = b"\x08\x03103" + b"\x00\x04link" + b"\x7f" + bytes([len(value) - 127 & 127 | 128, len(value) - 127 >> 7]) + value
    return h2_frame(1, 4, stream_id, block)


def test_interim_answers_are_passed_over(scripted):
    def script(c, s, r):
        c.raw(interim(s, b"v" * 300) * 3)
        good(c, s, r)
    _, gateway = scripted(script)
    with H1(gateway.port) as c:
        r = c.request("GET", "/test/v1/echo")
        assert r.status == 200 and r.header("link") is None, r


def test_interim_answers_without_end_are_not_kept(scripted):
    """Forty megabytes of them: nothing is kept, and the connection is given up."""
    def script(c, s, r):
        for _ in range(400):
            if c.closed:
                break
            c.raw(interim(s, b"v" * 1000) * 100)
    _, gateway = scripted(script)
    with H1(gateway.port) as c:
        c.request("GET", "/healthz")
        before = gateway.rss_bytes()
        r = c.request("GET", "/test/v1/echo", timeout=8)
        assert r.status in (502, 503, 504), r
        assert gateway.rss_bytes() - before < 16 * MIB


def test_types_of_the_pieces_of_a_stream_are_not_kept(gateway, backend):
    """Thirty thousand pieces that each name a content type of two kilobytes: the first one's is the answer's."""
    kind = "a/" + "b" * 2000
    with H1(gateway.port) as c:
        c.request("GET", "/test/v1/echo")
        before = gateway.rss_bytes()
        r = c.request("GET", f"/test/v1/rawstream/n?size=30000&chunkSize=1&contentType={kind}", timeout=60)
        assert r.status == 200 and len(r.body) == 30000 and r.header("content-type") == kind
        assert gateway.rss_bytes() - before < 24 * MIB


def test_a_long_string_that_is_not_utf8_is_repaired_in_linear_time(scripted):
    text = b"\xff" * (2 * MIB)
    message = b"\x72" + bytes([128, 128, 128, 1]) + text

    def script(c, s, r):
        c.headers(s)
        body = frame(message)

        def send():
            at = 0
            while at < len(body) and not c.closed:
                n = min(len(body) - at, c.h2.local_flow_control_window(s), 16384)
                if n == 0:
                    time.sleep(0.002)
                    continue
                c.h2.send_data(s, body[at:at + n])
                c.flush()
                at += n
            c.trailers(s)
        threading.Thread(target=send, daemon=True).start()
    _, gateway = scripted(script)
    with H1(gateway.port) as c:
        began = time.monotonic()
        r = c.request("GET", "/test/v1/echo", timeout=30)
        assert r.status == 200 and r.body.count("\ufffd".encode()) == len(text)
        assert time.monotonic() - began < 20  # its square is minutes
    assert gateway.metric("transom_bad_utf8_total") == len(text)


def test_json_is_bounded_by_the_message_it_comes_from(scripted):
    """A byte of a packed enum becomes the name of its value: twenty times as long, more than the sixteen that are allowed."""
    packed = b"\0" * 60000

    def script(c, s, r):
        c.headers(s)
        c.data(s, frame(b"\xc2\x03" + bytes([len(packed) & 127 | 128, len(packed) >> 7 & 127 | 128, len(packed) >> 14]) + packed))
        c.trailers(s)
    _, gateway = scripted(script, policies={"timeout": "5s", "max_response_bytes": 64 << 10})
    with H1(gateway.port) as c, gateway.counts("UPSTREAM_OVERSIZED"):
        r = c.request("GET", "/test/v1/echo")
        assert r.status == 502 and r.json()["code"] == 8, r
    with H1(gateway.port) as c:
        r = c.request("GET", "/test/v1/echo?$alt=json;enum-encoding=int")
        assert r.status == 200 and len(r.json()["rColor"]) == len(packed)


# ---- clients -------------------------------------------------------------------------------------------------------


def test_a_unary_grpc_call_cannot_send_without_end_to_a_backend_that_does_not_read(scripted):
    _, gateway = scripted(good, read=False)
    with H2(gateway.port) as c:
        s = c.start("POST", "/test.v1.EverythingService/Echo", NATIVE, end=False)
        message = frame(b"\x72" + bytes([128, 128, 64]) + b"x" * MIB)
        sent, quiet = 0, 0
        while sent < 32 * MIB and quiet < 5:
            c.limit(0.2)
            n = s.try_send(message[sent % len(message):] + message)
            sent += n
            quiet = 0 if n else quiet + 1
            try:
                c.pump()
            except TimeoutError:
                pass
        assert MIB // 4 < sent < 4 * MIB, sent
        s.cancel()
    wait_until("the call is gone", lambda: gateway.metric("transom_requests_in_flight") == 0)


def test_what_a_backend_takes_slowly_keeps_a_client_stream_alive(scripted):
    """stream_idle_timeout is for streams on which nothing moves: here all messages are in, and the backend takes 8 KiB at a time."""
    server, gateway = scripted(good, policies={"timeout": "0s", "stream_idle_timeout": "1s"}, read=False)
    with H1(gateway.port) as c:
        body = b'{"text":"%s"}' % (b"t" * 1000) * 300
        c.send(b"POST /test/v1/upload/a HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % (len(body) + 1) + body)
        conn = wait_until("the call arrives", lambda: [k for k in server.conns if k.requests])[0]
        end = time.monotonic() + 3
        while time.monotonic() < end:
            conn.h2.increment_flow_control_window(8192)
            conn.h2.increment_flow_control_window(8192, stream_id=1)
            conn.flush()
            c.sock.settimeout(0.2)
            with pytest.raises(socket.timeout):
                c.sock.recv(1)
        c.sock.settimeout(10)
        status, _ = c.read_head(10)
        assert status == 504
    wait_until("it is counted", lambda: gateway.errors("STREAM_IDLE"))
    assert gateway.errors("STREAM_IDLE") == 1


LIMITS = {"header_timeout": "300ms", "keepalive_timeout": "1500ms"}


def test_a_preface_that_stops_has_the_time_of_a_head(start, backend):
    gateway = start(base_config([backend.endpoint], limits={**LIMITS, "keepalive_timeout": "60s"}))
    with gateway.counts("HEADER_TIMEOUT"), socket.create_connection(("127.0.0.1", gateway.port)) as s:
        s.sendall(b"PRI * HTTP/2.0\r\n")
        s.settimeout(15)
        try:
            assert s.recv(100) == b""
        except ConnectionResetError:
            pass


def test_a_connection_that_is_never_used_is_no_error(start, backend):
    gateway = start(base_config([backend.endpoint], limits=LIMITS))
    with socket.create_connection(("127.0.0.1", gateway.port)) as s:
        s.settimeout(5)
        assert s.recv(100) == b""
    assert gateway.errors("HEADER_TIMEOUT") == 0


def test_frames_of_unknown_types_are_counted(gateway):
    """A few are ignored, as RFC 9113 §4.1 says; thousands are a flood."""
    with H2(gateway.port) as c:
        c.sock.sendall(h2_frame(0x42, 0, 0) * 50)
        assert c.request("GET", "/test/v1/echo").status == 200
        with gateway.counts("H2_FLOOD"):
            try:
                c.sock.sendall(h2_frame(0x42, 0, 0) * 20000)
            except OSError:
                pass


def test_refusals_behind_a_full_socket_end_the_connection(start, backend):
    """Streams above the limit, by a client that never acknowledged it and does not read: each refusal would wait in memory."""
    gateway = start(base_config([backend.endpoint], workers=1))
    block = b"\x82\x86\x01\x09localhost" + b"\x04" + bytes([len(b"/test/v1/stream?count=100000&size=10000")]) + b"/test/v1/stream?count=100000&size=10000"
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.connect(("127.0.0.1", gateway.port))
        s.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + h2_frame(4, 0, 0, b"\x00\x04\x7f\xff\xff\xff") + h2_frame(8, 0, 0, (0x7FFF0000).to_bytes(4, "big")))
        s.sendall(h2_frame(1, 5, 1, block))
        wait_until("the stream is under way", lambda: gateway.metric("transom_requests_in_flight") == 1)
        call = wait_until("the call arrives", lambda: backend.calls)[0]
        seen = [-1, 0]

        def held():
            # the backend's generator does not go on: the socket and all before it are full
            if call.sent != seen[0]:
                seen[:] = call.sent, time.monotonic()
            return call.sent > 1 and time.monotonic() - seen[1] > 0.3
        wait_until("the socket is full", held, 20)
        before = gateway.rss_bytes()
        s.settimeout(5)
        with pytest.raises(OSError):
            for i in range(3, 800001, 2 * 500):
                s.sendall(b"".join(h2_frame(1, 5, k, b"\x82\x86\x84\x01\x01a") for k in range(i, i + 1000, 2)))
        assert gateway.rss_bytes() - before < 32 * MIB
        wait_until("it is counted", lambda: gateway.errors("H2_FLOOD") + gateway.errors("H2_RESETS") > 0)
