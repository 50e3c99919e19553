"""The same bytes in other pieces give the same answers; small windows and other liberties of clients."""
import json

import pytest

from env.http1 import H1, H1Stream
from env.http2 import H2

REQUESTS = [
    b"POST /test/v1/echo HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 27\r\n\r\n" + b'{"fString":"\xc3\xa9","fInt32":7}',
    b"POST /test/v1/echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\n{\"fSt\r\n16\r\nring\":\"\xc3\xa9\",\"fInt32\":7}\r\n0\r\nx-trailer: 1\r\n\r\n",
]


def answer(c):
    r = H1Stream(c, "POST").finish()
    return r.status, r.json()


@pytest.mark.parametrize("request_bytes", REQUESTS, ids=["length", "chunked"])
def test_a_request_cut_at_each_byte(gateway, backend, request_bytes):
    with H1(gateway.port) as c:
        c.send(request_bytes)
        whole = answer(c)
        assert whole == (200, {"fString": "é", "fInt32": 7})
        for cut in range(1, len(request_bytes)):
            c.send(request_bytes[:cut])
            c.send(request_bytes[cut:])
            assert answer(c) == whole, cut


@pytest.mark.parametrize("request_bytes", REQUESTS, ids=["length", "chunked"])
def test_a_request_one_byte_at_a_time(gateway, backend, request_bytes):
    with H1(gateway.port) as c:
        for i in range(len(request_bytes)):
            c.send(request_bytes[i:i + 1])
        assert answer(c)[0] == 200


def test_empty_lines_before_a_request(gateway, backend):
    with H1(gateway.port) as c:
        c.send(b"\r\n" + REQUESTS[0])
        assert answer(c)[0] == 200


@pytest.mark.parametrize("window", [1, 10, 1000])
def test_small_windows_of_a_client(gateway, backend, window):
    with H2(gateway.port, settings={4: window}) as c:
        s = c.start("GET", "/test/v1/stream?count=20&size=50")
        r = s.finish(20)
        assert r.complete and len(r.json()) == 20
        assert json.loads(c.request("GET", "/test/v1/big?size=200").body)["text"] == "x" * 200


def test_a_window_of_nothing_holds_only_its_stream(gateway, backend):
    with H2(gateway.port, settings={4: 0}) as c:
        s = c.start("GET", "/test/v1/echo/first")
        assert s.read_head(5).status == 200 and not s.chunks
        c.h2.increment_flow_control_window(65535, s.id)
        c.flush()
        assert s.finish().json() == {"fString": "first"}


def test_data_frames_with_padding(gateway, backend):
    with H2(gateway.port) as c:
        s = c.start("POST", "/test/v1/echo", [("content-type", "application/json")], -1)
        c.h2.send_data(s.id, b'{"fStr', pad_length=200)
        c.h2.send_data(s.id, b'', pad_length=0)
        c.h2.send_data(s.id, b'ing":"x"}', end_stream=True, pad_length=1)
        c.flush()
        assert s.finish().json() == {"fString": "x"}


def test_trailers_of_a_request_are_passed_over(gateway, backend):
    with H2(gateway.port) as c:
        s = c.start("POST", "/test/v1/echo", [("content-type", "application/json")], -1)
        c.h2.send_data(s.id, b'{"fInt32":5}')
        c.h2.send_headers(s.id, [("x-trailer", "1")], end_stream=True)
        c.flush()
        assert s.finish().json() == {"fInt32": 5}


def test_ping_is_answered_while_a_request_waits(gateway, backend):
    import h2.events
    with H2(gateway.port) as c:
        s = c.start("GET", "/test/v1/echo/x", [("x-test-hold", "p")])
        acks = []
        was = c._on

        def on(e):
            if isinstance(e, h2.events.PingAckReceived):
                acks.append(e.ping_data)
            was(e)
        c._on = on
        c.h2.ping(b"12345678")
        c.flush()
        c.limit(5)
        while not acks:
            assert c.pump()
        backend.release("p")
        assert s.finish().status == 200


def test_settings_that_change_midway(gateway, backend):
    with H2(gateway.port) as c:
        s = c.start("GET", "/test/v1/big?size=300000")
        c.h2.update_settings({4: 100000, 5: 20000})
        c.flush()
        assert len(s.finish().json()["text"]) == 300000


def test_content_length_that_does_not_match_is_an_error(gateway, backend):
    with H2(gateway.port) as c:
        for length in (1, 100):
            r = c.start("POST", "/test/v1/echo", [("content-type", "application/json"), ("content-length", str(length))], -1)
            r.send(b'{"fInt32":5}', end=True)
            r = r.finish()
            assert r.status == 400 or r.reset == 1, r
    assert not backend.calls


@pytest.mark.parametrize("headers", [[(":path", "/a"), (":path", "/b")], [("connection", "close")], [("te", "gzip")], [("transfer-encoding", "chunked")], [("UPPER", "x")],
                                     [("x y", "z")], [(":odd", "x")], [("x", "a\nb")]], ids=lambda h: h[0][0])
def test_malformed_heads_are_stream_errors(gateway, backend, headers):
    """RFC 9113 §8.1.1: PROTOCOL_ERROR for the stream, and the connection goes on; or 400."""
    with H2(gateway.port) as c:
        stream_id = c.h2.get_next_available_stream_id()
        from env.http2 import H2Stream
        s = H2Stream(c, stream_id, "GET")
        c.streams[stream_id] = s
        base = [(":method", "GET"), (":scheme", "http"), (":authority", "x")] + ([] if headers[0][0] == ":path" else [(":path", "/test/v1/echo/x")])
        c.h2.send_headers(stream_id, base + headers, end_stream=True)
        c.flush()
        r = s.finish()
        assert r.reset == 1 or r.status == 400, r
        assert not backend.calls
        assert c.request("GET", "/test/v1/echo/x").status == 200
