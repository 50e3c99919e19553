"""Limits (SPEC §9): each with its status, its google.rpc.Status body and its counter, over HTTP/1.1 and HTTP/2."""
import socket

import pytest

from env.build import wait_until
from env.http1 import H1
from env.http2 import H2

JSON = [("content-type", "application/json")]
LIMITS = {"max_headers": 20, "max_header_bytes": 4096, "max_path_bytes": 1024, "header_timeout": "400ms", "body_idle_timeout": "500ms",
          "keepalive_timeout": "1500ms", "max_concurrent_streams": 10}
CONFIG = {"limits": LIMITS, "policies": {"*": {"max_request_bytes": 2000, "max_stream_bytes": 20000, "max_response_bytes": 5000}}}


def is_refusal(r, status, code, reason):
    assert r.status == status, r
    body = r.json()
    assert body["code"] == code and body["details"][0]["reason"] == reason and body["message"]
    assert r.header("content-type") == "application/json"
    return True


def test_too_many_headers_is_431(http, gateway, backend):
    with gateway.counts("TOO_MANY_HEADERS"):
        r = http.request("GET", "/test/v1/echo/x", [(f"x-{i}", "1") for i in range(30)])
    assert is_refusal(r, 431, 8, "TOO_MANY_HEADERS") and not backend.calls


def test_too_large_headers_are_431(http, gateway, backend):
    with gateway.counts("HEADERS_TOO_LARGE"):
        r = http.request("GET", "/test/v1/echo/x", [("x-large", "v" * 5000)])
    assert is_refusal(r, 431, 8, "HEADERS_TOO_LARGE") and not backend.calls


def test_too_long_a_target_is_414(http, gateway, backend):
    with gateway.counts("TARGET_TOO_LONG"):
        r = http.request("GET", "/test/v1/echo/" + "x" * 1100)
    assert is_refusal(r, 414, 3, "TARGET_TOO_LONG") and not backend.calls
    with H1(gateway.port) as c:
        assert c.request("GET", "/test/v1/query?text=" + "x" * 900).status == 200


def test_the_query_counts_with_the_header_section(http, gateway, backend):
    assert http.request("GET", "/test/v1/query?text=" + "x" * 1500).json() == {"text": "x" * 1500}
    assert http.request("GET", "/test/v1/query?text=" + "x" * 4500).status in (414, 431)  # no room in a section of 4 KiB


def test_as_many_headers_as_the_bound_pass(connect, gateway, backend):
    """Host and the pseudo-header fields of HTTP/2 say the same and leave as much room."""
    for fields, status in ((19, 200), (21, 431)):
        http = connect(gateway)
        assert http.request("GET", "/test/v1/echo/x", [(f"x-{i}", "1") for i in range(fields)]).status == status


def test_too_large_a_body_is_413(http, gateway, backend):
    with gateway.counts("BODY_TOO_LARGE"):
        r = http.request("POST", "/test/v1/echo", JSON, '{"fString":"' + "x" * 2500 + '"}')
    assert is_refusal(r, 413, 8, "BODY_TOO_LARGE") and not backend.calls


def test_too_large_a_body_without_a_length_is_413(http, gateway, backend):
    with gateway.counts("BODY_TOO_LARGE"):
        s = http.start("POST", "/test/v1/echo", JSON, -1)
        s.send(b'{"fString":"' + b"x" * 1000)
        s.send(b"x" * 1500)
        r = s.finish()
    assert is_refusal(r, 413, 8, "BODY_TOO_LARGE") and not backend.calls


def test_a_body_of_the_bound_passes(http, backend):
    body = '{"fString":"' + "x" * (2000 - 14) + '"}'
    assert len(body) == 2000
    assert http.request("POST", "/test/v1/echo", JSON, body).status == 200


def test_decoded_bytes_count(http, gateway, backend):
    import gzip
    with gateway.counts("BODY_TOO_LARGE"):
        r = http.request("POST", "/test/v1/echo", [*JSON, ("content-encoding", "gzip")], gzip.compress(b'{"fString":"' + bytes(range(97, 122)) * 90 + b'"}'))
    assert is_refusal(r, 413, 8, "BODY_TOO_LARGE") and not backend.calls


def test_each_message_of_a_stream_is_bounded(http, gateway, backend):
    with gateway.counts("BODY_TOO_LARGE"):
        r = http.request("POST", "/test/v1/upload/p", JSON, '[{"text":"a"},{"text":"' + "x" * 2500 + '"}]')
    assert is_refusal(r, 413, 8, "BODY_TOO_LARGE")
    many = "[" + ",".join('{"text":"%s"}' % ("x" * 100) for _ in range(50)) + "]"
    assert http.request("POST", "/test/v1/upload/p", JSON, many).json()["count"] == 50


def test_max_stream_bytes(http, gateway, backend):
    many = "[" + ",".join('{"text":"%s"}' % ("x" * 1000) for _ in range(30)) + "]"
    with gateway.counts("STREAM_TOO_LARGE"):
        r = http.request("POST", "/test/v1/upload/p", JSON, many)
    assert is_refusal(r, 413, 8, "STREAM_TOO_LARGE")


def test_decoded_bytes_of_a_stream_count(http, gateway, backend):
    import gzip
    import random
    many = "[" + ",".join('{"text":"%s"}' % random.Random(i).randbytes(500).hex() for i in range(30)) + "]"
    with gateway.counts("STREAM_TOO_LARGE"):
        r = http.request("POST", "/test/v1/upload/p", [*JSON, ("content-encoding", "gzip")], gzip.compress(many.encode()))
    assert is_refusal(r, 413, 8, "STREAM_TOO_LARGE")


def test_too_large_a_backend_message_is_502(http, gateway, backend):
    with gateway.counts("UPSTREAM_OVERSIZED"):
        r = http.request("GET", "/test/v1/big?size=6000")
    assert is_refusal(r, 502, 8, "UPSTREAM_OVERSIZED")
    assert http.request("GET", "/test/v1/big?size=4000").status == 200


def test_too_large_a_backend_message_midstream_is_told(http, gateway, backend):
    r = http.request("GET", "/test/v1/stream?count=3&size=6000", [("accept", "application/x-ndjson")])
    assert r.status == 502


def test_415(http, gateway, backend):
    with gateway.counts("UNSUPPORTED_MEDIA_TYPE"):
        assert is_refusal(http.request("POST", "/test/v1/echo", [("content-type", "text/plain")], "{}"), 415, 3, "UNSUPPORTED_MEDIA_TYPE")


def test_417(http, gateway, backend):
    with gateway.counts("EXPECTATION_FAILED"):
        assert is_refusal(http.request("POST", "/test/v1/echo", [*JSON, ("expect", "200-maybe")], "{}"), 417, 9, "EXPECTATION_FAILED")


def test_slow_headers_are_408(gateway, backend):
    with gateway.counts("HEADER_TIMEOUT"), H1(gateway.port) as c:
        c.send(b"GET /test/v1/echo/x HTTP/1.1\r\nHos")
        head = c.read_head(5)
        assert head[0] == 408
        assert b'"code":4' in c.read_all(5)


def test_a_slow_body_is_408(http, gateway, backend):
    with gateway.counts("BODY_TIMEOUT"):
        s = http.start("POST", "/test/v1/echo", JSON, 50)
        s.send(b'{"fString":')
        r = s.finish(5)
    assert is_refusal(r, 408, 4, "BODY_TIMEOUT") and not backend.calls


def test_a_dripping_body_is_served_while_it_progresses(http, gateway, backend):
    s = http.start("POST", "/test/v1/echo", JSON, 20)
    for piece in (b'{"fStr', b'ing":"12', b'34"}', b"  "):
        s.send(piece)
    s.end()
    assert s.finish(5).json() == {"fString": "1234"}


def test_idle_connections_are_closed(gateway, backend):
    with H1(gateway.port) as c:
        before = gateway.metric("transom_connections_idle_closed_total")
        assert c.request("GET", "/test/v1/echo/x").status == 200
        assert c.read_all(5) == b"" and c.eof
    with H2(gateway.port) as c:
        assert c.request("GET", "/test/v1/echo/x").status == 200
        c.limit(5)
        while c.pump():
            pass
        assert c.eof
    assert gateway.metric("transom_connections_idle_closed_total") >= before + 2


def test_connections_that_say_nothing_are_closed(gateway):
    with H1(gateway.port) as c:
        assert c.read_all(5) == b""


def test_streams_per_connection(gateway, backend):
    with H2(gateway.port) as c:
        c.request("GET", "/test/v1/echo/x")
        assert c.h2.remote_settings.max_concurrent_streams == 10
        c.h2.remote_settings[3] = 1000  # as a client that does not care
        c.h2.remote_settings.acknowledge()
        backend.calls.clear()
        streams = [c.start("GET", "/test/v1/echo/x", [("x-test-hold", "s")]) for _ in range(15)]
        c.limit(5)
        refused = lambda: [s for s in streams if s.response.reset is not None]
        while len(refused()) < 5 and c.pump():
            pass
        # RFC 9113 §5.1.2 wants a stream error; nghttp2 ends the connection of a client that has acknowledged the limit
        assert len(refused()) == 5 or c.goaway[0] == 1
        assert gateway.metric("transom_http2_streams_refused_total") >= (5 if len(refused()) == 5 else 0)
        assert len(backend.calls) <= 10
    with H2(gateway.port) as c:
        assert c.request("GET", "/test/v1/echo/x").status == 200


def test_connections_per_listener(start, backend):
    from env.gateway import base_config
    gateway = start(base_config([backend.endpoint], listeners=[{"address": "127.0.0.1:0", "max_connections": 3}]))
    open_ = [H1(gateway.port) for _ in range(3)]
    for c in open_:
        assert c.request("GET", "/test/v1/echo/x").status == 200
    with H1(gateway.port) as c:
        assert c.read_all(5) == b""
    assert gateway.metric("transom_connections_refused_total") == 1
    open_[0].close()
    wait_until("a place is free", lambda: gateway.metric("transom_connections") == 2)
    with H1(gateway.port) as c:
        assert c.request("GET", "/test/v1/echo/x").status == 200
    for c in open_:
        c.close()


BAD_H1 = [
    (b"GET /test/v1/echo/x HTTP/1.1\r\n\r\n", "no host"),
    (b"GET /test/v1/echo/x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "two hosts"),
    (b"POST /test/v1/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", "CL and TE"),
    (b"POST /test/v1/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}", "two lengths"),
    (b"POST /test/v1/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}", "the same length twice"),
    (b"POST /test/v1/echo HTTP/1.1\r\nHost: a\r\nContent-Length: -2\r\n\r\n{}", "negative length"),
    (b"POST /test/v1/echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "other coding"),
    (b"GET /test/v1/echo/x HTTP/1.1\r\nHost: a\r\nx: 1\r\n folded\r\n\r\n", "obs-fold"),
    (b"GET /test/v1/echo/x HTTP/1.1\nHost: a\n\n", "bare LF"),
    (b"GET /test/v1/echo/x HTTP/1.1\r\nHost: a\r\nx : 1\r\n\r\n", "space before the colon"),
    (b"GET /test/v1/echo/x HTTP/1.1\r\nHost: a\r\nx: \x00\r\n\r\n", "NUL"),
    (b"GET /test/v1/echo/x HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n", "no colon"),
    (b"GET  /test/v1/echo/x HTTP/1.1\r\nHost: a\r\n\r\n", "two spaces"),
    (b"POST /test/v1/echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n", "bad chunk size"),
    (b"POST /test/v1/echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}0\r\n\r\n", "chunk too long"),
    (b"POST /test/v1/echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n{}", "chunk size overflow"),
]


@pytest.mark.parametrize("data,what", BAD_H1, ids=[b[1] for b in BAD_H1])
def test_strict_http1_is_400_and_close(gateway, backend, data, what):
    with H1(gateway.port) as c:
        c.send(data)
        status, headers = c.read_head(5)
        body = c.read_all(5)
        assert status == 400 and ("connection", "close") in headers
        assert body.startswith(b'{"code":3,')
        assert c.eof
    assert not backend.calls


def test_a_body_that_nobody_reads_keeps_the_connection_when_it_is_small(gateway, backend):
    with H1(gateway.port) as c:
        assert c.request("POST", "/nope", JSON, "x" * 10000).status == 404
        assert c.request("GET", "/test/v1/echo/x").status == 200


def test_a_large_body_that_nobody_reads_closes(gateway, backend):
    with H1(gateway.port) as c:
        s = c.start("POST", "/nope", JSON, 10_000_000)
        s.send(b"x" * 200_000)
        r = s.finish(5)
        assert r.status == 404 and r.header("connection") == "close"


def test_h2_client_that_resets_rapidly_is_ended(gateway, backend):
    with H2(gateway.port) as c:
        try:
            for _ in range(600):
                c.start("GET", "/test/v1/echo/x").cancel()
            c.limit(5)
            while c.pump():
                pass
        except (ConnectionError, OSError):
            pass
        assert c.eof or c.goaway
    with H1(gateway.port) as other:
        assert other.request("GET", "/test/v1/echo/x").status == 200


def test_write_timeout_of_a_client_that_does_not_read(start, backend):
    from env.gateway import base_config
    gateway = start(base_config([backend.endpoint], limits={"write_timeout": "300ms"}))
    with H1(gateway.port) as c:
        c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        c.start("GET", "/test/v1/stream?count=100000&size=10000")
        call = wait_until("the call arrives", lambda: backend.calls)[0]
        assert call.ended.wait(10) and call.cancelled
        wait_until("it is counted", lambda: gateway.errors("CLIENT_STALLED") == 1)


# -- what one connection may make the gateway hold ------------------------------------------------------------------------------

class Flood:
    """A script that sends `size` bytes of HttpBody messages on each stream, as far as the windows allow, and counts them."""

    def __init__(self, size):
        from env.messages import types
        from env.scripted import frame
        self.piece = frame(types()["google.api.HttpBody"](data=b"x" * 20000).SerializeToString())
        self.size = size // len(self.piece) * len(self.piece)
        self.body = self.size // len(self.piece) * 20000
        self.sent = {}

    def __call__(self, conn, stream_id, request):
        import h2.events
        if not hasattr(conn, "left"):
            conn.left, was = {}, conn._on

            def on(event):
                was(event)
                if isinstance(event, h2.events.WindowUpdated):
                    self.pump(conn)
            conn._on = on
        conn.headers(stream_id)
        conn.left[stream_id] = 0
        self.pump(conn)

    def pump(self, conn):
        for s, at in list(conn.left.items()):
            while at < self.size:
                n = min(conn.h2.local_flow_control_window(s), conn.h2.max_outbound_frame_size, self.size - at)
                if n <= 0:
                    break
                begin = at % len(self.piece)
                conn.h2.send_data(s, (self.piece * 2)[begin:begin + n])
                at += n
            conn.left[s] = self.sent[conn, s] = at
            if at == self.size:
                del conn.left[s]
                conn.trailers(s)
        conn.flush()


def test_buffered_bytes_per_connection(start):
    """Above the bound the calls of all streams are held, each with what its window has let in; they go on when the client reads."""
    from env.gateway import base_config
    from env.scripted import Scripted
    streams, window, bound = 30, 256 << 10, 1 << 20
    flood = Flood(900_000)
    with Scripted(flood) as server:
        gateway = start(base_config([server.endpoint], workers=1, limits={"max_buffered_bytes": bound}))
        with H2(gateway.port, settings={4: 0}) as c, H1(gateway.port) as other:
            asked = [c.start("GET", "/test/v1/rawstream/x") for _ in range(streams)]
            wait_until("all streams are served", lambda: len(flood.sent) == streams)
            before = -1
            while before != sum(flood.sent.values()):  # until the backend may send no more
                before = sum(flood.sent.values())
                assert other.request("GET", "/nope").status == 404
                c.limit(0.3)
                try:
                    while c.pump():
                        pass
                except TimeoutError:
                    pass
            assert before <= streams * window + bound + streams * 40000, before / streams
            assert gateway.metric("transom_connections_held_total") > 0
            c.h2.update_settings({4: 1 << 20})
            c.h2.increment_flow_control_window(1 << 30)
            c.flush()
            for s in asked:
                r = s.finish(20)
                assert r.complete and len(r.body) == flood.body
        wait_until("nothing is in flight", lambda: gateway.metric("transom_requests_in_flight") == 0)
        gateway.stop()


def test_accept_failures_are_counted(start, backend):
    """Without a free descriptor connections wait in the backlog, and are served when there is one again."""
    import resource
    from env.gateway import base_config
    gateway = start(base_config([backend.endpoint], workers=1))
    with H1(int(gateway.admin.rsplit(":", 1)[1])) as admin:
        def failures():
            text = admin.request("GET", "/metrics").text
            return float(next(line.split()[1] for line in text.splitlines() if line.startswith("transom_accept_failures_total")))
        assert failures() == 0
        old = resource.prlimit(gateway.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(gateway.process.pid, resource.RLIMIT_NOFILE, (3, old[1]))
        with H1(gateway.port) as c:
            wait_until("accept fails", lambda: failures() > 0)
            resource.prlimit(gateway.process.pid, resource.RLIMIT_NOFILE, old)
            assert c.request("GET", "/test/v1/echo/x").status == 200
