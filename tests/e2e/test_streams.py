"""Streams (SPEC §5): the formats of server streams, errors in the middle, client streams, full duplex."""
import json
import struct
import time

import pytest

from env.build import SANITIZED, wait_until
from env.http1 import H1
from env.http2 import H2
from env.messages import types

JSON = [("content-type", "application/json")]
TE = [("te", "trailers")]


def get(http, query, accept=None, headers=()):
    return http.request("GET", "/test/v1/stream" + query, [*headers, *([("accept", accept)] if accept else [])])


def delimited(body):
    """Varint-delimited messages."""
    out = []
    while body:
        n = shift = 0
        while True:
            byte, body = body[0], body[1:]
            n |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        assert len(body) >= n, "cut in a message"
        out.append(types()["test.v1.StreamItem"].FromString(body[:n]))
        body = body[n:]
    return out


def events(body):
    """SSE events as (event, data)."""
    out = []
    for block in body.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if line and not line.startswith(":"))
        if fields:
            out.append((fields.get("event"), json.loads(fields["data"])))
    return out


ITEMS = [{"text": "item 0"}, {"index": 1, "text": "item 1"}, {"index": 2, "text": "item 2"}]


# -- formats ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("accept", [None, "*/*", "application/json", "text/html"])
def test_json_array(http, backend, accept):
    r = get(http, "?count=3", accept)
    assert r.status == 200 and r.header("content-type") == "application/json" and r.complete
    assert r.json() == ITEMS


def test_json_array_of_nothing(http, backend):
    r = get(http, "")
    assert r.status == 200 and r.json() == [] and r.complete


@pytest.mark.parametrize("accept,answer", [("application/x-ndjson", "application/x-ndjson"), ("application/jsonl", None)])
def test_ndjson(http, backend, accept, answer):
    r = get(http, "?count=3", accept)
    assert r.header("content-type") in ("application/x-ndjson", "application/jsonl")
    assert r.body.endswith(b"\n") and [json.loads(line) for line in r.body.splitlines()] == ITEMS


def test_sse(http, backend):
    r = get(http, "?count=3", "text/event-stream")
    assert r.header("content-type") == "text/event-stream" and r.header("cache-control") == "no-cache"
    assert events(r.body) == [(None, i) for i in ITEMS] + [("end", {})]


def test_json_seq(http, backend):
    r = get(http, "?count=3", "application/json-seq")
    assert r.header("content-type") == "application/json-seq"
    records = r.body.split(b"\x1e")
    assert records[0] == b"" and all(x.endswith(b"\n") for x in records[1:])
    assert [json.loads(x) for x in records[1:]] == ITEMS


def test_varint_delimited_protobuf(http, backend):
    r = get(http, "?count=3&size=300", "application/x-protobuf")
    assert r.header("content-type") == "application/x-protobuf"
    assert [(i.index, len(i.text)) for i in delimited(r.body)] == [(0, 300), (1, 300), (2, 300)]


def test_alt_proto_of_a_stream(http, backend):
    assert len(delimited(get(http, "?count=2&$alt=proto").body)) == 2


@pytest.mark.parametrize("accept", ["application/x-ndjson", "application/json-seq"])
def test_lines_of_nothing(http, backend, accept):
    r = get(http, "", accept)
    assert r.status == 200 and r.body == b"" and r.complete


def test_response_body_of_stream_messages(http, backend):
    assert http.request("GET", "/test/v1/stream/texts?count=2").json() == ["item 0", "item 1"]


def test_pretty_does_not_break_lines_of_a_stream(http, backend):
    r = get(http, "?count=2&$prettyPrint=true", "application/x-ndjson")
    assert len(r.body.splitlines()) == 2


# -- nothing waits ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("accept,first", [("application/json", b'[{"text":"item 0"}'), ("application/x-ndjson", b'{"text":"item 0"}\n'),
                                          ("text/event-stream", b'data: {"text":"item 0"}\n\n'), ("application/json-seq", b'\x1e{"text":"item 0"}\n')])
def test_no_message_waits_for_a_later_one(http, backend, accept, first):
    s = http.start("GET", "/test/v1/stream?count=2", [("accept", accept), ("x-test-hold-after", "1")])
    got = b""
    while len(got) < len(first):
        piece = s.read_some(5)
        assert piece
        got += piece
    assert got == first
    backend.release("after")
    assert s.finish().complete


def test_head_of_a_stream_answers_after_the_first_message_and_cancels(http, backend):
    r = http.request("HEAD", "/test/v1/stream?count=1000&pause=30s")
    assert r.status == 200 and r.body == b""
    assert backend.one_call().ended.wait(5)


# -- errors -------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("accept", ["application/json", "application/x-ndjson", "text/event-stream", "application/json-seq", "application/x-protobuf"])
def test_error_before_the_first_message_is_an_ordinary_one(http, backend, accept):
    r = get(http, "?count=0&code=5&message=none", accept)
    assert r.status == 404 and r.complete
    if accept == "application/x-protobuf":
        assert types()["google.rpc.Status"].FromString(r.body).code == 5
    else:
        assert r.header("content-type") == "application/json" and r.json() == {"code": 5, "message": "none"}


FAILING = "?count=5&failAfter=2&code=8&message=too+much"


def test_error_after_a_message_ends_lines_with_a_status(http, backend):
    r = get(http, FAILING, "application/x-ndjson")
    lines = [json.loads(line) for line in r.body.splitlines()]
    assert r.status == 200 and r.complete and lines == ITEMS[:2] + [{"error": {"code": 8, "message": "too much"}}]


def test_error_after_a_message_ends_json_seq_with_a_status(http, backend):
    r = get(http, FAILING, "application/json-seq")
    assert json.loads(r.body.split(b"\x1e")[-1]) == {"error": {"code": 8, "message": "too much"}}


def test_error_after_a_message_ends_sse_with_a_status(http, backend):
    r = get(http, FAILING, "text/event-stream")
    assert events(r.body) == [(None, ITEMS[0]), (None, ITEMS[1]), ("status", {"code": 8, "message": "too much"})]


@pytest.mark.parametrize("target,headers", [("/test/v1/stream" + FAILING, []), ("/test/v1/stream" + FAILING, [("accept", "application/x-protobuf")])])
def test_error_after_a_message_cuts_an_array_or_binary_stream(http, backend, target, headers):
    r = http.request("GET", target, headers)
    assert not r.complete
    if http.version == 2:
        assert r.reset == 2  # INTERNAL_ERROR; it overtakes what waited for the end of the turn
    assert r.status == 200 or http.version == 2
    if not headers:
        with pytest.raises(ValueError):
            json.loads(r.body)


@pytest.mark.parametrize("accept", ["application/x-ndjson", "text/event-stream", "application/json-seq"])
def test_trailers_tell_the_failure_too(http, backend, accept):
    r = get(http, FAILING, accept, TE)
    assert r.trailer("grpc-status") == "8" and r.trailer("grpc-message") == "too much" and r.trailer("x-trailing") == "kept"


def test_trailers_of_a_success(http, backend):
    r = get(http, "?count=1", None, TE)
    assert r.trailer("grpc-status") == "0"


# -- client streams -------------------------------------------------------------------------------------------------------

BODIES = {
    "array": b'[{"text":"a"},{"text":"b"} , {"text":"c"}]',
    "lines": b'{"text":"a"}\n{"text":"b"}\n{"text":"c"}\n',
    "lines without the last end": b'{"text":"a"}\r\n{"text":"b"}\n\n{"text":"c"}',
    "concatenated": b'{"text":"a"}{"text":"b"}{"text":"c"}',
    "spread": b' [ \n{"text"\n:"a"},{"text":"b"},\n{"text":"c"}\n]\n ',
}


@pytest.mark.parametrize("form", BODIES)
def test_client_stream_forms(http, backend, form):
    r = http.request("POST", "/test/v1/upload/", JSON, BODIES[form])
    assert r.status == 404  # the path needs a segment
    r = http.request("POST", "/test/v1/upload/p", JSON, BODIES[form])
    assert r.status == 200, r
    assert r.json() == {"count": 3, "bytes": "3", "texts": ["p", "b", "c"]}


def test_path_and_query_bind_into_the_first_message_only(http, backend):
    http.request("POST", "/test/v1/upload-leaves/t?index=4", JSON, '[{"text":"x"},{"number":2}]')
    first, second = backend.one_call().requests
    assert (first.text, first.index, first.leaf.text) == ("t", 4, "x")
    assert (second.text, second.index, second.leaf.number) == ("", 0, 2)


@pytest.mark.parametrize("body", [b"", b"[]", b" "])
def test_client_stream_of_nothing(http, backend, body):
    r = http.request("POST", "/test/v1/bidi", JSON, body)
    assert r.status == 200 and r.json() == []
    assert backend.one_call().requests == []


def test_client_stream_one_byte_at_a_time(http, backend):
    s = http.start("POST", "/test/v1/upload/p", JSON, -1)
    for i in BODIES["array"]:
        s.send(bytes([i]))
    s.end()
    assert s.finish().json()["count"] == 3


def test_messages_are_sent_as_they_arrive(http, backend):
    s = http.start("POST", "/test/v1/upload/p", JSON, -1)
    s.send(b'{"text":"a"}\n')
    wait_until("the first message arrives", lambda: backend.calls and len(backend.calls[0].requests) == 1)
    assert not backend.calls[0].half_closed
    s.send(b'{"text":"b"}\n{"text":')
    wait_until("the second arrives", lambda: len(backend.calls[0].requests) == 2)
    s.send(b'"c"}')
    s.end()
    assert s.finish().json()["count"] == 3 and backend.calls[0].half_closed


@pytest.mark.parametrize("bad", [b'[{"text":"a"},{"text":1}]', b'{"text":"a"}\n{"nope":1}\n', b'[{"text":"a"},]', b'[{"text":"a"}', b'{"text":"a"}\n{"text":',
                                 b'[{"text":"a"}] x', b'[{"text":"a"}][{"text":"b"}]'])
def test_bad_json_midway_cancels_and_is_400(http, backend, bad):
    s = http.start("POST", "/test/v1/upload/p", JSON, -1)
    good = bad.index(b"}") + 1
    s.send(bad[:good])
    call = wait_until("the call arrives", lambda: backend.calls)[0]
    wait_until("its first message arrives", lambda: call.requests)
    s.send(bad[good:])
    s.end()
    r = s.finish()
    assert r.status == 400 and r.json()["code"] == 3, r
    assert call.ended.wait(5) and call.cancelled


def test_a_backend_that_answers_early_is_relayed_at_once(http, backend):
    s = http.start("POST", "/test/v1/upload/p", JSON, -1)
    s.send(b'[{},{"text":"enough"},')
    head = s.read_head(5)
    assert head.status == 200
    assert s.read_some(5)
    assert json.loads(s.response.body)["count"] == 2


def test_a_backend_that_fails_early_is_relayed_at_once(http, backend):
    s = http.start("POST", "/test/v1/upload/p", JSON, -1)
    s.send(b'{"text":"a"}\n{"text":"why","failCode":9}\n')
    assert s.read_head(5).status == 400
    s.read_some(5)
    assert json.loads(s.response.body) == {"code": 9, "message": "why"}


def test_binary_client_stream(http, backend):
    item = types()["test.v1.StreamItem"]
    body = b"".join(bytes([len(m)]) + m for m in (item(text=t).SerializeToString() for t in "abc"))
    r = http.request("POST", "/test/v1/upload/p", [("content-type", "application/x-protobuf")], body)
    assert r.json() == {"count": 3, "bytes": "3", "texts": ["p", "b", "c"]}


def test_http_body_stream_is_cut_into_messages(http, backend):
    data = bytes(i * 7 & 255 for i in range(300_000))
    r = http.request("POST", "/test/v1/rawstream/dir/name?comment=c", [("content-type", "video/x")], data)
    got = r.json()
    assert (got["name"], got["contentType"], got["size"], got["comment"]) == ("dir/name", "video/x", "300000", "c")
    assert all(len(m.content.data) <= 65536 for m in backend.one_call().requests)
    assert b"".join(m.content.data for m in backend.calls[0].requests) == data


def test_http_body_bidi(http, backend):
    data = bytes(i * 11 & 255 for i in range(200_000))
    r = http.request("POST", "/test/v1/rawbidi", [("content-type", "application/x-thing")], data)
    assert r.status == 200 and r.header("content-type") == "application/x-thing" and r.body == data


# -- bidi ------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("accept", ["application/x-ndjson", "application/json"])
def test_bidi_is_full_duplex(http, backend, accept):
    s = http.start("POST", "/test/v1/bidi", [*JSON, ("accept", accept)], -1)
    seen = b""
    for i in range(5):
        s.send(b'{"text":"%d"}\n' % i)
        want = b'{"text":"%d"' % i
        while want not in seen:
            piece = s.read_some(5)
            assert piece
            seen += piece
    s.end()
    r = s.finish()
    assert r.complete
    out = [json.loads(line) for line in r.body.splitlines()] if "ndjson" in accept else r.json()
    assert [o["text"] for o in out] == list("01234")


def test_the_backend_may_speak_first(http, backend):
    s = http.start("POST", "/test/v1/bidi", [*JSON, ("accept", "application/x-ndjson"), ("x-test-greet", "1")], -1)
    assert s.read_some(5) == b'{"text":"hello"}\n'
    s.end()
    assert s.finish().complete


def test_bad_json_after_an_answer_never_looks_like_success(http, backend):
    s = http.start("POST", "/test/v1/bidi", [*JSON, ("accept", "application/x-ndjson")], -1)
    s.send(b'{"text":"a"}\n')
    assert s.read_some(5)
    s.send(b'{"text":}\n')
    r = s.finish(5)
    last = json.loads(r.body.splitlines()[-1])
    assert last["error"]["code"] == 3
    assert backend.calls[0].ended.wait(5) and backend.calls[0].cancelled


def test_bidi_error_midway(http, backend):
    s = http.start("POST", "/test/v1/bidi", [*JSON, ("accept", "application/x-ndjson")], -1)
    s.send(b'{"text":"a"}\n')
    assert s.read_some(5)
    s.send(b'{"failCode":10,"text":"aborted"}\n')
    r = s.finish(5)
    assert json.loads(r.body.splitlines()[-1]) == {"error": {"code": 10, "message": "aborted"}}


def test_httpx_streams_lines_over_http2(gateway, backend):
    import httpx
    with httpx.Client(base_url=gateway.url, trust_env=False, http1=False, http2=True) as client:
        with client.stream("GET", "/test/v1/stream?count=20", headers={"accept": "application/x-ndjson"}) as r:
            assert [json.loads(line).get("index", 0) for line in r.iter_lines()] == list(range(20))


def test_sse_keepalive_comment(connect, gateways, backend):
    http = connect(gateways(policies={"*": {"sse_keepalive": "50ms"}}))
    s = http.start("GET", "/test/v1/stream?count=1", [("accept", "text/event-stream"), ("x-test-hold-after", "1")])
    got = b""
    while b": keep-alive\n\n" not in got:
        piece = s.read_some(5)
        assert piece
        got += piece
    backend.release("after")
    r = s.finish()
    assert r.complete and events(r.body) == [(None, ITEMS[0]), ("end", {})]


# -- clients that leave, and that do not read ----------------------------------------------------------------------------------

@pytest.mark.parametrize("target", ["/test/v1/stream?count=100000&pause=0.01s", "/test/v1/sleep?duration=30s"])
def test_a_client_that_leaves_cancels(connect, gateway, backend, target):
    http = connect(gateway)
    http.start("GET", target)
    call = wait_until("the call arrives", lambda: backend.calls)[0]
    http.close()
    assert call.ended.wait(5) and call.cancelled


def test_a_reset_cancels_one_stream_alone(gateway, backend):
    with H2(gateway.port) as c:
        first = c.start("GET", "/test/v1/sleep?duration=30s")
        call = wait_until("the call arrives", lambda: backend.calls)[0]
        second = c.start("GET", "/test/v1/stream?count=2", [("x-test-hold-after", "1")])
        first.cancel()
        assert call.ended.wait(5) and call.cancelled
        backend.release("after")
        assert len(second.finish().json()) == 2


def test_the_end_of_input_while_an_answer_is_owed_cancels(gateway, backend):
    import socket
    with H1(gateway.port) as c:
        c.start("GET", "/test/v1/sleep?duration=30s")
        call = wait_until("the call arrives", lambda: backend.calls)[0]
        c.sock.shutdown(socket.SHUT_WR)
        assert call.ended.wait(5) and call.cancelled


def test_a_slow_reader_costs_a_bounded_number_of_bytes(http, backend, gateway):
    """400 MB are to come; the client reads a little and then nothing: the backend is held, memory is not used."""
    before = gateway.rss_bytes()
    s = http.start("GET", "/test/v1/stream?count=4000&size=100000")
    if http.version == 2:
        s.auto_ack = False
    assert s.read_some(5)
    call = backend.one_call()
    seen = [-1, 0]

    def held():
        # the backend's generator does not go on: the flow-control windows of its stream are full
        if call.sent != seen[0]:
            seen[:] = call.sent, time.monotonic()
        return call.sent > 1 and time.monotonic() - seen[1] > 0.3
    wait_until("the backend is held", held, 10)
    assert call.sent < 1000
    grown = gateway.rss_bytes() - before
    assert grown < (192 if SANITIZED else 48) << 20, grown
    http.close()
    assert call.ended.wait(10)


def test_a_backend_that_does_not_read_holds_the_client(gateway, backend):
    """An upload that the backend does not take: the client's window is not refilled."""
    with H2(gateway.port) as c:
        before = gateway.rss_bytes()
        s = c.start("POST", "/test/v1/rawstream/x", [("x-test-hold", "upload")], -1)
        sent = 0
        chunk = b"z" * 65536
        stalled_at = None
        while stalled_at is None or time.monotonic() - stalled_at < 0.5:
            n = s.try_send(chunk)
            sent += n
            if n:
                stalled_at = None
                assert sent < 64 << 20, "the gateway takes everything"
                continue
            stalled_at = stalled_at or time.monotonic()
            c.limit(0.1)
            try:
                c.pump()
            except TimeoutError:
                pass
        assert gateway.rss_bytes() - before < (128 if SANITIZED else 32) << 20
        backend.release("upload")
        s.send(b"", end=True)
        r = s.finish()
        assert r.status == 200 and int(r.json()["size"]) == sent, r


def test_grpc_frames_are_not_taken_for_client_streams(http, backend):
    r = http.request("POST", "/test/v1/upload/p", [("content-type", "application/x-protobuf")], struct.pack(">BI", 0, 3) + b"abc")
    assert r.status in (200, 400)


# -- early answers -----------------------------------------------------------------------------------------------------------------

def test_an_early_answer_reaches_a_client_that_goes_on_sending(gateway, backend):
    """HTTP/1.1: the rest of the body is drained or lingered over, so that no reset destroys the answer."""
    with H1(gateway.port) as c:
        s = c.start("POST", "/test/v1/upload/p", JSON, 3_000_000)
        s.send(b'{}\n{"text":"enough"}\n')
        call = wait_until("it arrives", lambda: backend.calls)[0]
        wait_until("the backend has enough", lambda: len(call.requests) == 2)
        try:
            for _ in range(20):
                s.send(b" " * 40_000)
        except OSError:
            pass
        r = s.finish(5)
        assert r.status == 200 and r.json()["count"] == 2


def test_an_early_answer_over_http2_ends_the_stream(gateway, backend):
    with H2(gateway.port) as c:
        s = c.start("POST", "/test/v1/upload/p", JSON, -1)
        s.try_send(b'{}\n{"text":"enough"}\n')
        r = s.finish(5)
        assert r.status == 200 and r.json()["count"] == 2
        assert c.request("GET", "/test/v1/echo/x").status == 200


def test_system_parameters_of_streams(http, backend):
    r = get(http, "?count=2&$fields=index")
    assert r.json() == [{}, {"index": 1}]
    r = get(http, "?count=2&$fields=index", "application/x-ndjson")
    assert r.body == b'{}\n{"index":1}\n'


def test_a_failed_stream_over_http1_gives_no_end_of_the_chunks(gateway, backend):
    with H1(gateway.port) as c:
        c.start("GET", "/test/v1/stream" + FAILING)
        assert not c.read_all(5).endswith(b"0\r\n\r\n")


def test_a_stream_over_http10_ends_with_the_connection(gateway, backend):
    with H1(gateway.port) as c:
        c.send(b"GET /test/v1/stream?count=2 HTTP/1.0\r\nAccept: application/x-ndjson\r\n\r\n")
        head, body = c.read_all(5).split(b"\r\n\r\n", 1)
        assert b"transfer-encoding" not in head.lower() and len(body.splitlines()) == 2
