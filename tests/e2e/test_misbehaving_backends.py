"""Backends that misbehave never crash, hang or leak, and each gives the client a truthful error."""
import json
import threading

import pytest

from env.build import wait_until
from env.gateway import Gateway, base_config
from env.http1 import H1
from env.http2 import H2
from env.messages import types
from env.scripted import GRPC, OK, Scripted, frame, good, h2_frame

ITEM = types()["test.v1.StreamItem"](text="a").SerializeToString()


class Switch:
    """One scripted server and one gateway for the module: each test puts its own script."""

    def __init__(self, tmp):
        self.server = Scripted(self.run)
        self.script = good
        self.gateway = Gateway(tmp, base_config([], upstreams={"main": {"endpoints": [self.server.endpoint], "connect_timeout": "2s"}},
                                                policies={"*": {"timeout": "3s", "stream_idle_timeout": "3s", "max_response_bytes": 100000}}))

    def run(self, conn, stream_id, request):
        self.script(conn, stream_id, request)


@pytest.fixture(scope="module")
def switch_module(tmp_path_factory):
    switch = Switch(tmp_path_factory.mktemp("misbehaving"))
    yield switch
    switch.script = good
    left = switch.gateway.metric("transom_requests_in_flight")
    switch.gateway.stop()
    switch.server.stop()
    assert left == 0


@pytest.fixture
def switch(switch_module):
    yield switch_module
    assert switch_module.gateway.alive, switch_module.gateway.stderr
    # whatever happened, the next request is served
    switch_module.script = good
    with H1(switch_module.gateway.port) as c:
        r = c.request("GET", "/test/v1/echo")
        if r.status == 503:  # it found the connection that just broke
            r = c.request("GET", "/test/v1/echo")
        assert r.status == 200, r


@pytest.fixture
def http(connect, switch):
    return connect(switch.gateway)


@pytest.fixture
def ask(http, switch):
    def ask(script, target="/test/v1/echo", headers=()):
        switch.script = script
        return http.request("GET", target, headers, timeout=8)
    return ask


def status_is(r, http_status, code, reason=None):
    assert r.status == http_status, r
    body = r.json()
    assert body["code"] == code, body
    if reason:
        assert body["details"][0]["reason"] == reason, body
    return True


# -- heads and ends ------------------------------------------------------------------------------------------------------

def test_decent(ask):
    assert ask(good).json() == {}


@pytest.mark.parametrize("content_type", ["text/html", "application/json", "application/grpcx", ""])
def test_wrong_content_type(ask, content_type):
    def script(c, s, r):
        c.headers(s, [(":status", "200"), ("content-type", content_type)])
        c.data(s, b"<html>", end=True)
    assert status_is(ask(script), 502, 13, "UPSTREAM_CONTENT_TYPE")


def test_no_content_type(ask):
    def script(c, s, r):
        c.headers(s, [(":status", "200")])
        c.data(s, frame(b""))
        c.trailers(s)
    assert status_is(ask(script), 502, 13)


@pytest.mark.parametrize("http_status,code,answer", [(400, 13, 500), (401, 16, 401), (403, 7, 403), (404, 12, 501), (429, 14, 503), (502, 14, 503), (503, 14, 503), (504, 14, 503),
                                                     (500, 2, 500), (418, 2, 500), (302, 2, 500)])
def test_non_200(ask, http_status, code, answer):
    def script(c, s, r):
        c.headers(s, [(":status", str(http_status)), ("content-type", "text/html")])
        c.data(s, b"sorry", end=True)
    assert status_is(ask(script), answer, code)


def test_non_200_with_a_grpc_status(ask):
    def script(c, s, r):
        c.headers(s, [(":status", "503"), ("content-type", "application/grpc"), ("grpc-status", "5"), ("grpc-message", "gone")], end=True)
    assert ask(script).json()["code"] in (5, 14)


def test_no_trailers(ask):
    def script(c, s, r):
        c.headers(s)
        c.data(s, frame(b""), end=True)
    assert status_is(ask(script), 500, 2)


def test_trailers_without_a_status(ask):
    def script(c, s, r):
        c.headers(s)
        c.data(s, frame(b""))
        c.trailers(s, [("x-other", "1")])
    assert status_is(ask(script), 500, 2)


@pytest.mark.parametrize("value", ["17", "99", "255", "256", "100000000000", "-1", "x", ""])
def test_statuses_outside_the_table(ask, value):
    def script(c, s, r):
        c.headers(s)
        c.trailers(s, [("grpc-status", value), ("grpc-message", "odd")])
    r = ask(script)
    assert r.status == 500 and r.json()["code"] in (2, int(value) if value.isdigit() else 2)


def test_status_in_the_head_alone(ask):
    def script(c, s, r):
        c.headers(s, [*GRPC, ("grpc-status", "9"), ("grpc-message", "trailers%20only")], end=True)
    r = ask(script)
    assert status_is(r, 400, 9) and r.json()["message"] == "trailers only"


def test_ok_without_a_message(ask):
    def script(c, s, r):
        c.headers(s, [*GRPC, ("grpc-status", "0")], end=True)
    assert status_is(ask(script), 502, 13, "UPSTREAM_MESSAGES")


def test_two_messages_to_a_unary_call(ask):
    def script(c, s, r):
        c.headers(s)
        c.data(s, frame(b"") * 2)
        c.trailers(s)
    assert status_is(ask(script), 502, 13, "UPSTREAM_MESSAGES")


@pytest.mark.parametrize("message", ["%", "%zz", "%ff%fe", "caf\xe9", "a" * 10000])
def test_odd_status_messages(ask, message):
    def script(c, s, r):
        c.headers(s)
        c.trailers(s, [("grpc-status", "9"), ("grpc-message", message)])
    r = ask(script)
    assert status_is(r, 400, 9) and isinstance(r.json().get("message", ""), str)


@pytest.mark.parametrize("details", ["!!!", "AAAA", "CAUS", "/////w"])
def test_broken_details(ask, details):
    def script(c, s, r):
        c.headers(s)
        c.trailers(s, [("grpc-status", "9"), ("grpc-message", "m"), ("grpc-status-details-bin", details)])
    r = ask(script)
    assert r.status == 400 and r.json()["code"] == 9


# -- messages -------------------------------------------------------------------------------------------------------------

MALFORMED = {
    "frame cut in its header": b"\0\0\0",
    "frame cut in its message": frame(b"abcdef")[:-2],
    "flag 2": b"\x02\0\0\0\0",
    "not a message": frame(b"\xff\xff\xff\xff"),
    "length beyond the message": frame(b"\x72\x7fabc"),
    "group that does not end": frame(b"\x0b"),
    "wire type 7": frame(b"\x0f"),
    "field 0": frame(b"\x00\x00"),
    "varint of eleven bytes": frame(b"\x18" + b"\xff" * 11),
}


@pytest.mark.parametrize("what", MALFORMED)
def test_malformed_messages_are_502(ask, what):
    def script(c, s, r):
        c.headers(s)
        c.data(s, MALFORMED[what])
        c.trailers(s)
    assert status_is(ask(script), 502, 13, "UPSTREAM_MALFORMED")


def test_garbage_instead_of_frames(ask):
    def script(c, s, r):
        c.headers(s)
        c.data(s, bytes(range(255, 0, -1)) * 20)
        c.trailers(s)
    r = ask(script)
    assert r.status == 502


def test_strings_that_are_not_utf8_are_printed_with_replacements(ask, switch):
    before = switch.gateway.metric("transom_bad_utf8_total")

    def script(c, s, r):
        c.headers(s)
        c.data(s, frame(b"\x72\x03a\xffb"))  # f_string
        c.trailers(s)
    assert ask(script).json() == {"fString": "a\ufffdb"}
    assert switch.gateway.metric("transom_bad_utf8_total") == before + 1


def test_oversized(ask):
    def script(c, s, r):
        c.headers(s)
        c.raw(b"")
        c.data(s, b"\0\x00\x02\x00\x00" + b"x" * 1000)
    assert status_is(ask(script), 502, 8, "UPSTREAM_OVERSIZED")


def test_four_gigabytes_promised(ask):
    def script(c, s, r):
        c.headers(s)
        c.data(s, b"\0\xff\xff\xff\xff")
    assert status_is(ask(script), 502, 8, "UPSTREAM_OVERSIZED")


@pytest.mark.parametrize("encoding", [None, "identity", "x-unknown", "snappy"])
def test_compressed_flag_without_a_usable_encoding(ask, encoding):
    def script(c, s, r):
        c.headers(s, GRPC + ([("grpc-encoding", encoding)] if encoding else []))
        c.data(s, frame(b"zzzz", compressed=1))
        c.trailers(s)
    assert status_is(ask(script), 502, 13, "UPSTREAM_COMPRESSION" if encoding else "UPSTREAM_MALFORMED")


def test_damaged_gzip(ask):
    def script(c, s, r):
        c.headers(s, [*GRPC, ("grpc-encoding", "gzip")])
        c.data(s, frame(b"\x1f\x8b\x08not really", compressed=1))
        c.trailers(s)
    r = ask(script)
    assert r.status == 502 and r.json()["code"] == 13


def test_gzip_bomb(ask):
    import gzip

    def script(c, s, r):
        c.headers(s, [*GRPC, ("grpc-encoding", "gzip")])
        c.data(s, frame(gzip.compress(b"\x72" + bytes([0x80, 0x80, 0x80, 0x0A]) + b"x" * 20971520), compressed=1))
        c.trailers(s)
    assert status_is(ask(script), 502, 8, "UPSTREAM_OVERSIZED")


def test_a_plain_frame_under_an_encoding_is_fine(ask):
    def script(c, s, r):
        c.headers(s, [*GRPC, ("grpc-encoding", "gzip")])
        c.data(s, frame(b""))
        c.trailers(s)
    assert ask(script).json() == {}


def test_too_large_headers(ask):
    def script(c, s, r):
        c.headers(s, GRPC + [(f"x-{i}", "v" * 4000) for i in range(30)])
        c.data(s, frame(b""))
        c.trailers(s)
    r = ask(script)
    assert r.status in (502, 503) and r.json()["code"] in (8, 13, 14)


# -- resets and cuts ---------------------------------------------------------------------------------------------------------

RESETS = {1: (502, 13), 2: (502, 13), 7: (503, 14), 8: (499, 1), 11: (429, 8), 12: (403, 7), 0: (502, 13), 99: (502, 13)}


@pytest.mark.parametrize("code", RESETS)
def test_reset_before_the_head(ask, code):
    assert status_is(ask(lambda c, s, r: c.reset(s, code)), *RESETS[code])


@pytest.mark.parametrize("code", [2, 8])
def test_reset_after_the_head(ask, code):
    def script(c, s, r):
        c.headers(s)
        c.reset(s, code)
    assert status_is(ask(script), *RESETS[code])


def test_reset_after_a_message(ask):
    def script(c, s, r):
        c.headers(s)
        c.data(s, frame(b""))
        c.reset(s, 2)
    assert status_is(ask(script), 502, 13)


def test_reset_after_a_message_of_a_stream(ask):
    def script(c, s, r):
        c.headers(s)
        c.data(s, frame(ITEM))
        c.reset(s, 2)
    r = ask(script, "/test/v1/stream", [("accept", "application/x-ndjson")])
    lines = [json.loads(line) for line in r.body.splitlines()]
    if r.status == 200:
        assert lines[0] == {"text": "a"} and lines[1]["error"]["code"] == 13
    else:
        assert lines[0]["code"] == 13


def test_no_trailers_after_a_message_of_a_stream(ask):
    def script(c, s, r):
        c.headers(s)
        c.data(s, frame(ITEM), end=True)
    r = ask(script, "/test/v1/stream", [("accept", "application/x-ndjson")])
    assert json.loads(r.body.splitlines()[-1])["error"]["code"] == 2


def test_malformed_message_midstream(ask):
    def script(c, s, r):
        c.headers(s)
        c.data(s, frame(ITEM) + frame(b"\xff\xff\xff\xff"))
        c.trailers(s)
    r = ask(script, "/test/v1/stream", [("accept", "text/event-stream")])
    assert b"event: end" not in r.body and b"event: status" in r.body


def test_the_connection_is_cut(ask):
    assert status_is(ask(lambda c, s, r: c.close()), 503, 14)


def test_the_connection_is_reset(ask):
    assert status_is(ask(lambda c, s, r: c.close(abort=True)), 503, 14)


def whole_answer():
    """The bytes that a decent answer has, without the connection's preface."""
    sizes = []

    def script(c, s, r):
        begin = Counting(c)
        good(c, s, r, ITEM)
        sizes.append(begin.end())
    return script, sizes


class Counting:
    def __init__(self, conn):
        self.conn, self.n, self.was = conn, 0, conn.raw
        conn.raw = self.raw

    def raw(self, data):
        self.n += len(data)
        self.was(data)

    def end(self):
        self.conn.raw = self.was
        return self.n


@pytest.mark.parametrize("target", ["/test/v1/stream", "/test/v1/query"])
def test_the_connection_is_cut_at_each_byte(connect, switch, target):
    script, sizes = whole_answer()
    switch.script = script
    good_status = connect(switch.gateway).request("GET", target).status
    wait_until("the script ends", lambda: sizes)
    assert good_status in (200, 502)  # a StreamItem is no QueryRequest, but reads as one
    for n in range(1, sizes[0]):
        def cut(c, s, r, n=n):
            arrived.append(s)
            c.budget = n
            count = Counting(c)
            good(c, s, r, ITEM)
            wrote.append(count.end())
            if wrote[0] <= n:
                c.budget = None
        wrote, arrived = [], []
        switch.script = cut
        http = connect(switch.gateway)
        r = http.request("GET", target, timeout=8)
        http.close()
        if not arrived:  # it met the end of the connection before
            assert status_is(r, 503, 14)
            continue
        wait_until("the script ends", lambda: wrote)
        if wrote[0] <= n:  # what else was due has made the first one longer: nothing was cut
            assert r.status == good_status and r.complete
        elif r.status == 200:
            assert target.endswith("stream") and not r.complete, (n, r)
        else:
            assert r.status in (502, 503) and r.json()["code"] in (13, 14), (n, r)


def test_silence_is_504_and_the_stream_is_cancelled(ask, switch):
    switch.server.resets.clear()
    r = ask(lambda c, s, r: None, headers=[("x-request-timeout", "0.5")])
    assert status_is(r, 504, 4, "DEADLINE")
    wait_until("the backend sees RST_STREAM(CANCEL)", lambda: switch.server.resets and switch.server.resets[-1][1] == 8)


def test_silence_after_the_head_and_after_half_a_message(ask):
    for piece in (b"", frame(b"abcdef")[:7]):
        def script(c, s, r):
            c.headers(s)
            if piece:
                c.data(s, piece)
        assert status_is(ask(script, headers=[("x-request-timeout", "0.2")]), 504, 4)


def test_a_dripping_answer_is_served(ask):
    def script(c, s, r):
        c.headers(s)
        for byte in frame(types()["test.v1.Everything"](f_string="drip").SerializeToString()):
            c.data(s, bytes([byte]))
        c.trailers(s)
    assert ask(script).json() == {"fString": "drip"}


# -- GOAWAY -----------------------------------------------------------------------------------------------------------------

def test_goaway_after_the_answer(ask, http, switch):
    def script(c, s, r):
        good(c, s, r)
        c.goaway(s)
    for _ in range(10):
        assert ask(script).status == 200


def test_goaway_that_leaves_the_request_unread_is_tried_again(ask, switch):
    seen = []

    def script(c, s, r):
        seen.append(s)
        if len(seen) == 1:
            c.goaway(0)
            c.close()
        else:
            good(c, s, r)
    assert ask(script).status == 200 and len(seen) == 2


def test_refused_stream_is_tried_again(ask):
    seen = []

    def script(c, s, r):
        seen.append(s)
        if len(seen) == 1:
            c.reset(s, 7)
        else:
            good(c, s, r)
    assert ask(script).status == 200 and len(seen) == 2


def test_goaway_storm_ends(ask):
    """Each connection says GOAWAY(0) to its first request: a bounded number of attempts, then a truthful error."""
    seen = []

    def script(c, s, r):
        seen.append(s)
        c.goaway(0)
        c.close()
    assert status_is(ask(script), 503, 14)
    assert len(seen) <= 4


def test_goaway_with_an_error(ask):
    r = ask(lambda c, s, r: (c.goaway(s, code=2), c.close()))
    assert r.status in (502, 503)


# -- garbage on the connection ---------------------------------------------------------------------------------------------------

RAW = {
    "DATA before HEADERS": lambda s: h2_frame(0, 0, s, frame(b"")),
    "DATA on an unknown stream": lambda s: h2_frame(0, 0, s + 100, b"x"),
    "WINDOW_UPDATE of 0": lambda s: h2_frame(8, 0, s, b"\0\0\0\0"),
    "window overflow": lambda s: h2_frame(8, 0, 0, b"\x7f\xff\xff\xff") * 2,
    "HPACK garbage": lambda s: h2_frame(1, 4, s, b"\xff\xff\xff\xff\xff"),
    "frame too large": lambda s: h2_frame(0, 0, s, b"x" * 40000),
    "not HTTP/2": lambda s: b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
    "PUSH_PROMISE": lambda s: h2_frame(5, 4, s, b"\0\0\0\x02\x88"),
    "SETTINGS on a stream": lambda s: h2_frame(4, 0, s, b""),
    "CONTINUATION alone": lambda s: h2_frame(9, 4, s, b""),
    "HEADERS without a status": lambda s: h2_frame(1, 4, s, b"\0\x01a\x01b"),
}


@pytest.mark.parametrize("what", RAW)
def test_garbage_frames(ask, what):
    def script(c, s, r):
        c.raw(RAW[what](s))
    r = ask(script)
    assert r.status in (502, 503) and r.json()["code"] in (13, 14), r


def test_unknown_frames_and_pings_are_passed_over(ask):
    def script(c, s, r):
        c.raw(h2_frame(0xEE, 0xFF, s, b"what") + h2_frame(6, 0, 0, b"12345678"))
        good(c, s, r)
    assert ask(script).status == 200


def test_many_pings_and_settings(ask):
    def script(c, s, r):
        c.raw(h2_frame(6, 0, 0, b"12345678") * 500 + h2_frame(4, 0, 0, b"") * 100)
        good(c, s, r)
    r = ask(script)
    assert r.status in (200, 502, 503)


def test_informational_heads_are_passed_over(ask):
    def script(c, s, r):
        c.headers(s, [(":status", "103"), ("link", "x")])
        good(c, s, r)
    assert ask(script).status == 200


# -- before any request ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("on_connect", [lambda c: c.close(), lambda c: c.raw(b"garbage" * 10), lambda c: c.raw(b"HTTP/1.1 200 OK\r\n\r\n"), lambda c: c.goaway(0)],
                         ids=["close", "garbage", "http1", "goaway"])
def test_connections_that_never_work_are_503(start, connect, on_connect):
    with Scripted(lambda c, s, r: None, on_connect=on_connect) as server:
        gateway = start(base_config([], upstreams={"main": {"endpoints": [server.endpoint], "connect_timeout": "500ms"}}, policies={"*": {"timeout": "4s"}}))
        r = connect(gateway).request("GET", "/test/v1/echo", timeout=8)
        assert r.status in (502, 503, 504) and r.json()["code"] in (13, 14, 4), r
        gateway.stop()


def test_a_backend_that_sends_no_settings_is_served_or_refused_in_time(start, connect):
    with Scripted(good, settings=False) as server:
        gateway = start(base_config([], upstreams={"main": {"endpoints": [server.endpoint], "connect_timeout": "500ms"}}, policies={"*": {"timeout": "3s"}}))
        r = connect(gateway).request("GET", "/test/v1/echo", timeout=8)
        assert r.status in (200, 502, 503, 504)
        gateway.stop()


def test_a_backend_that_allows_no_streams_is_503_in_time(start, connect):
    def on_connect(c):
        import h2.settings
        c.h2.local_settings = h2.settings.Settings(client=False, initial_values={3: 0})
        c.h2.initiate_connection()
        c.flush()
    with Scripted(good, on_connect=on_connect) as server:
        gateway = start(base_config([], upstreams={"main": {"endpoints": [server.endpoint], "connect_timeout": "300ms", "max_connections": 2}}, policies={"*": {"timeout": "1s"}}))
        r = connect(gateway).request("GET", "/test/v1/echo", timeout=8)
        assert r.status in (503, 504) and r.json()["code"] in (4, 14), r
        assert server.accepted <= 10, "connections without end"
        gateway.stop()


def test_a_backend_that_reads_nothing_is_504(start, connect):
    with Scripted(good, read=False) as server:
        gateway = start(base_config([], upstreams={"main": {"endpoints": [server.endpoint]}}, policies={"*": {"timeout": "500ms"}}))
        r = connect(gateway).request("POST", "/test/v1/echo", [("content-type", "application/json")], '{"fString":"' + "x" * 3_000_000 + '"}', timeout=8)
        assert status_is(r, 504, 4)
        gateway.stop()


def test_ok_without_a_message_is_an_empty_stream(ask):
    r = ask(lambda c, s, r: c.headers(s, [*GRPC, ("grpc-status", "0")], end=True), "/test/v1/stream")
    assert r.status == 200 and r.json() == []


def test_data_after_the_end(ask):
    def script(c, s, r):
        good(c, s, r)
        c.raw(h2_frame(0, 0, s, b"more"))
    assert ask(script).status == 200


def test_two_heads(ask):
    def script(c, s, r):
        c.headers(s)
        c.raw(b"")
        c.h2.send_headers(s, GRPC)  # without END_STREAM: neither a head nor trailers
        c.flush()
    r = ask(script, headers=[("x-request-timeout", "1")])
    assert r.status in (500, 502, 503, 504), r


def test_a_refused_client_stream_is_tried_again_while_nothing_was_dropped(http, switch):
    seen = []

    def script(c, s, r):
        seen.append(r.body)
        if len(seen) == 1:
            c.reset(s, 7)
        else:
            good(c, s, r)
    switch.script = script
    r = http.request("POST", "/test/v1/upload/p", [("content-type", "application/json")], '{"text":"a"}{"text":"b"}', timeout=8)
    assert r.status == 200 and len(seen) == 2 and seen[0] == seen[1] and len(seen[0]) == 19, (r, seen)


def test_max_concurrent_streams_of_a_backend_are_respected(start):
    most, lock, now = [0], threading.Lock(), [0]

    def on_connect(c):
        import h2.settings
        c.h2.local_settings = h2.settings.Settings(client=False, initial_values={3: 2})
        c.h2.initiate_connection()
        c.flush()
        c.waiting = []

    def script(c, s, r):
        c.waiting.append(s)
        most[0] = max(most[0], len(c.waiting))
        if len(c.waiting) == 2 or (len(server.requests) >= 19):
            for w in c.waiting:
                good(c, w)
            c.waiting = []
    with Scripted(script, on_connect=on_connect) as server:
        gateway = start(base_config([], workers=1, upstreams={"main": {"endpoints": [server.endpoint], "max_connections": 1}}, policies={"*": {"timeout": "3s"}}))
        with H2(gateway.port) as c:
            streams = [c.start("GET", "/test/v1/echo") for _ in range(20)]
            assert [s.finish().status for s in streams] == [200] * 20
        assert most[0] == 2 and server.accepted == 1
        gateway.stop()
    del lock, now
