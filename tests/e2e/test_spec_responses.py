"""Answers, decision by decision (SPEC §5): what test_responses.py, test_streams.py and test_misbehaving_backends.py leave out."""
import gzip
import socket
import zlib

import pytest

from env.gateway import Gateway, base_config
from env.messages import types
from env.scripted import GRPC, OK, Scripted, frame, good

JSON = [("content-type", "application/json")]
PROTO = [("content-type", "application/x-protobuf")]
TE = [("te", "trailers")]
SERVICE = "test.v1.EverythingService."


def accept(value):
    return [("accept", value)]


# -- the exact bytes of streams -----------------------------------------------------------------------------------------------

ONE, TWO = b'{"text":"item 0"}', b'{"index":1,"text":"item 1"}'
ERROR = b'{"code":8,"message":"a\\nb"}'
FORMATS = {  # Accept: (no message, two messages, two and a failure)
    "application/json": (b"[]", b"[" + ONE + b"," + TWO + b"]", None),
    "application/x-ndjson": (b"", ONE + b"\n" + TWO + b"\n", ONE + b"\n" + TWO + b'\n{"error":' + ERROR + b"}\n"),
    "application/jsonl": (b"", ONE + b"\n" + TWO + b"\n", ONE + b"\n" + TWO + b'\n{"error":' + ERROR + b"}\n"),
    "text/event-stream": (b"event: end\ndata: {}\n\n", b"data: " + ONE + b"\n\ndata: " + TWO + b"\n\nevent: end\ndata: {}\n\n", b"data: " + ONE + b"\n\ndata: " + TWO + b"\n\nevent: status\ndata: " + ERROR + b"\n\n"),
    "application/json-seq": (b"", b"\x1e" + ONE + b"\n\x1e" + TWO + b"\n", b"\x1e" + ONE + b"\n\x1e" + TWO + b'\n\x1e{"error":' + ERROR + b"}\n"),
    "application/x-protobuf": (b"", b"\x08\x12\x06item 0\x0a\x08\x01\x12\x06item 1", None),
}


@pytest.mark.parametrize("kind", FORMATS)
def test_exact_bytes(http, backend, kind):
    none, two, failed = FORMATS[kind]
    for query, want in (("?count=0", none), ("?count=2", two)):
        r = http.request("GET", "/test/v1/stream" + query, accept(kind) + TE)
        assert (r.status, r.body, r.complete) == (200, want, True), r
        assert r.header("content-type") == kind and r.header("vary") == "Accept" and r.header("content-length") is None
        assert r.trailer("grpc-status") == "0" and r.trailer("x-trailing") == "kept"
    r = http.request("GET", "/test/v1/stream?count=3&failAfter=2&code=8&message=a%0Ab", accept(kind) + TE)
    if failed is None:  # left open, and ended so that nobody takes it for a whole
        open_end = two[:-1] if kind == "application/json" else two
        assert (r.status, r.body, r.complete) == (200, open_end, False) and not r.trailers
        assert r.reset == (2 if http.version == 2 else None)
    else:
        assert (r.status, r.body, r.complete) == (200, failed, True)
        assert (r.trailer("grpc-status"), r.trailer("grpc-message")) == ("8", "a%0Ab")


def test_http1_has_trailers_only_when_asked(gateway, backend):
    from env.http1 import H1
    with H1(gateway.port) as c:
        assert not c.request("GET", "/test/v1/stream?count=1").trailers
        assert c.request("GET", "/test/v1/stream?count=1", [("te", "gzip;q=0.5, trailers")]).trailer("grpc-status") == "0"


@pytest.mark.parametrize("kind,end", [("application/json", b'[{"text":"item 0"},{"index":1,"text":"item 1"}'), ("application/x-protobuf", FORMATS["application/x-protobuf"][1])])
def test_http10_cannot_mistake_a_failure_either(gateway, backend, kind, end):
    """There the end of the connection is the end of the body: it is reset."""
    with socket.create_connection(("127.0.0.1", gateway.port)) as s:
        s.settimeout(10)
        s.sendall(f"GET /test/v1/stream?count=3&failAfter=2&code=8 HTTP/1.0\r\nAccept: {kind}\r\n\r\n".encode())
        got = b""
        with pytest.raises(ConnectionResetError):
            while True:
                piece = s.recv(65536)
                assert piece, "closed as if it were whole"
                got += piece
    assert got.endswith(end)


STREAM_ACCEPTS = [
    ("application/jsonl;q=0.5, application/x-ndjson", "application/x-ndjson"), ("application/x-ndjson;q=0.5, application/jsonl", "application/jsonl"), ("text/*", "text/event-stream"), ("text/*, application/json;q=0.9", "text/event-stream"),
    ("application/json;q=0, */*;q=0.1", "application/x-ndjson"), ("application/protobuf", "application/x-protobuf"), ("image/png", "application/json"), ("text/event-stream;q=0", "application/json"), ("application/json-seq;q=0.2, application/json;q=0.1", "application/json-seq"),
    ("TEXT/EVENT-STREAM", "text/event-stream"), ("application/json, text/event-stream", "application/json"),
]


@pytest.mark.parametrize("value,kind", STREAM_ACCEPTS, ids=[a[0] for a in STREAM_ACCEPTS])
def test_accept_of_a_stream(http, backend, value, kind):
    assert http.request("GET", "/test/v1/stream?count=1", accept(value)).header("content-type") == kind


@pytest.mark.parametrize("value", ["application/x-ndjson", "text/event-stream", "application/json-seq"])
def test_a_unary_call_has_no_stream_formats(http, backend, value):
    assert http.request("GET", "/test/v1/echo/x", accept(value)).json() == {"fString": "x"}


def test_accept_in_several_fields(http, backend):
    r = http.request("GET", "/test/v1/echo/x", accept("text/html") + accept("application/x-protobuf;q=0.1"))
    assert r.header("content-type") == "application/x-protobuf"


def test_options_of_the_answer_hold_in_streams(http, backend):
    assert http.request("GET", "/test/v1/stream?count=2&$fields=text").json() == [{"text": "item 0"}, {"text": "item 1"}]
    r = http.request("GET", "/test/v1/stream?count=1&$prettyPrint=true", accept("text/event-stream"))
    assert r.body.startswith(b"data: " + ONE + b"\n\n")
    r = http.request("GET", "/test/v1/stream/texts?count=2", accept("application/json-seq"))
    assert r.body == b'\x1e"item 0"\n\x1e"item 1"\n'
    # the field is no message: there is no binary form of it
    assert http.request("GET", "/test/v1/stream/texts?count=2", accept("application/x-protobuf")).json() == ["item 0", "item 1"]


@pytest.mark.parametrize("kind", ["application/json", "application/x-ndjson", "text/event-stream"])
def test_head_of_streams(http, backend, kind):
    for query, status in (("?count=2", 200), ("?count=0", 200), ("?count=0&code=5", 404)):
        r = http.request("HEAD", "/test/v1/stream" + query, accept(kind))
        assert r.status == status and r.body == b"" and r.complete
        assert r.header("content-type") == (kind if status == 200 else "application/json")


# -- errors ---------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("target", ["/test/v1/fail/5", "/nope", "/test/v1/query?nope=1", "/test/v1/raw/x?nope=1"])
def test_errors_have_the_form_that_accept_asks_for(http, backend, target):
    r = http.request("GET", target)
    assert r.header("vary") == "Accept" and r.header("content-type") == "application/json" and r.json()["code"] in (3, 5)
    r = http.request("GET", target, accept("application/x-protobuf"))
    assert r.header("vary") == "Accept" and r.header("content-type") == "application/x-protobuf"
    assert types()["google.rpc.Status"].FromString(r.body).code in (3, 5) and r.header("content-length") == str(len(r.body))


def test_alt_decides_the_form_of_an_error(http, backend):
    r = http.request("GET", "/test/v1/query?$alt=proto&nope=1", accept("application/json"))
    assert r.status == 400 and r.header("content-type") == "application/x-protobuf"
    r = http.request("GET", "/test/v1/query?$alt=json&nope=1", accept("application/x-protobuf"))
    assert r.status == 400 and r.header("content-type") == "application/json"
    assert http.request("GET", "/test/v1/fail/5?$alt=proto").header("content-type") == "application/x-protobuf"
    assert b"\n" in http.request("GET", "/test/v1/fail/5?$prettyPrint=true").body


# -- unary answers --------------------------------------------------------------------------------------------------------------

def test_success_status_goes_with_everything(connect, gateways, backend):
    http = connect(gateways(policies={"*": {"success_status": 201}, SERVICE + "GetFile": {"success_status": 204}, SERVICE + "TakeScalar": {"success_status": 202}}))
    r = http.request("GET", "/test/v1/echo/x", accept("application/x-protobuf"))
    assert r.status == 201 and r.body == b"\x72\x01x"
    assert http.request("POST", "/test/v1/take/list", JSON, '{"rString":["a"]}').status == 202
    r = http.request("GET", "/test/v1/raw/x")
    assert r.status == 204 and r.body == b"" and r.header("content-type") is None and r.header("content-length") is None
    assert http.request("GET", "/test/v1/stream?count=1").status == 200  # it is said before the success is known
    assert http.request("GET", "/test/v1/fail/5").status == 404


def test_response_body_and_the_options_of_json(connect, gateways, backend):
    http = connect(gateways(policies={"*": {"emit_defaults": True}}))
    for kind, want in (("scalar", b'"0"'), ("string", b'""'), ("bytes", b'""'), ("enum", b'"COLOR_UNSPECIFIED"'), ("message", b'{"text":"","number":0}'), ("list", b"[]"), ("map", b"{}"), ("value", b"null")):
        assert http.request("POST", f"/test/v1/take/{kind}", JSON, "{}").body == want
    assert http.request("POST", "/test/v1/take/messages?$fields=number", JSON, '{"rLeaf":[{"number":3,"text":"a"}]}').json() == [{"number": 3}]
    assert http.request("POST", "/test/v1/take/enum?$alt=json%3Benum-encoding%3Dint", JSON, '{"fColor":"RED"}').body == b"1"
    assert http.request("POST", "/test/v1/take/list?prettyPrint=true", JSON, '{"rString":["a"]}').body == b'[\n  "a"\n]'


@pytest.mark.parametrize("kind,body,wire", [("message", '{"fLeaf":{"number":3}}', b"\x10\x03"), ("timestamp", '{"timestamp":"1970-01-01T00:00:01Z"}', b"\x08\x01"), ("message", "{}", b"")])
def test_binary_form_of_a_response_body(http, backend, kind, body, wire):
    r = http.request("POST", f"/test/v1/take/{kind}", JSON + accept("application/x-protobuf"), body)
    assert r.header("content-type") == "application/x-protobuf" and r.body == wire and r.header("vary") == "Accept"


def test_no_choice_no_vary(http, backend):
    for target in ("/test/v1/take/list", "/test/v1/take/scalar"):
        r = http.request("POST", target, JSON + accept("application/x-protobuf"), "{}")
        assert r.header("content-type") == "application/json" and r.header("vary") is None
    assert http.request("GET", "/test/v1/raw/x").header("vary") is None


UNPRINTABLE = [
    ("any", lambda m: setattr(m.any, "type_url", "type.googleapis.com/no.Such")), ("timestamp", lambda m: setattr(m.timestamp, "seconds", 10**15)), ("duration", lambda m: (setattr(m.duration, "seconds", 1), setattr(m.duration, "nanos", -1))),
    ("field_mask", lambda m: m.field_mask.paths.append("a_B")), ("value", lambda m: setattr(m.value, "number_value", float("nan"))), ("no value", lambda m: m.value.SetInParent()),
]


@pytest.mark.parametrize("name,change", UNPRINTABLE, ids=[u[0] for u in UNPRINTABLE])
def test_what_json_cannot_say_is_an_error(http, backend, name, change):
    m = types()["test.v1.Everything"]()
    change(m)
    if name == "any":
        m.any.value = b"\x08\x01"
    r = http.request("POST", "/test/v1/echo", PROTO, m.SerializeToString())
    assert r.status == 500 and r.json()["code"] == 13 and r.json()["details"][0]["reason"] == "PROTO_UNPRINTABLE"
    r = http.request("POST", "/test/v1/echo", PROTO + accept("application/x-protobuf"), m.SerializeToString())
    assert r.status == 200 and types()["test.v1.Everything"].FromString(r.body).SerializeToString() == m.SerializeToString()


# -- what a backend sends -----------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def scripted(tmp_path_factory):
    class Switch:
        script = staticmethod(good)
    switch = Switch()
    switch.server = Scripted(lambda *a: switch.script(*a))
    switch.gateway = Gateway(tmp_path_factory.mktemp("scripted"), base_config([switch.server.endpoint], policies={"*": {"timeout": "3s"}}))
    yield switch
    switch.gateway.stop()
    switch.server.stop()


@pytest.fixture
def ask(scripted, connect):
    http = connect(scripted.gateway)

    def ask(script, method, target, headers=()):
        scripted.script = script
        return http.request(method, target, headers)
    ask.version, ask.server = http.version, scripted.server
    return ask


def answer(*messages, head=(), trailers=OK, compressed=0):
    """All in one write."""
    def script(conn, stream_id, request):
        conn.h2.send_headers(stream_id, [*GRPC, *head])
        for m in messages:
            conn.h2.send_data(stream_id, frame(m, compressed))
        conn.h2.send_headers(stream_id, trailers, end_stream=True)
        conn.flush()
    return script


CODED = types()["test.v1.Everything"](f_string="coded").SerializeToString()
CODINGS = {"gzip": gzip.compress(CODED), "deflate": zlib.compress(CODED), "zstd": bytes.fromhex("28b52ffd20073900007205636f646564")}


@pytest.mark.parametrize("coding", CODINGS)
def test_compressed_frames(ask, coding):
    r = ask(answer(CODINGS[coding], head=[("grpc-encoding", coding)], compressed=1), "GET", "/test/v1/echo")
    assert r.status == 200 and r.json() == {"fString": "coded"}, r
    assert ask.server.requests[-1].get("grpc-accept-encoding") == "gzip, deflate, zstd"


@pytest.mark.parametrize("coding,data", [("deflate", zlib.compress(CODED)[2:-4]), ("zstd", CODINGS["zstd"][:-1]), ("gzip", CODINGS["zstd"])])
def test_frames_in_another_format_are_502(ask, coding, data):
    r = ask(answer(data, head=[("grpc-encoding", coding)], compressed=1), "GET", "/test/v1/echo")
    assert r.status == 502 and r.json()["details"][0]["reason"] == "UPSTREAM_MALFORMED"


@pytest.mark.parametrize("kind", FORMATS)
def test_stream_that_ends_in_its_head(ask, kind):
    def script(conn, stream_id, request):
        conn.headers(stream_id, [*GRPC, ("grpc-status", "0"), ("x-a", "b")], end=True)
    r = ask(script, "GET", "/test/v1/stream", accept(kind) + TE)
    assert (r.status, r.body, r.complete) == (200, FORMATS[kind][0], True)
    assert r.trailer("grpc-status") == "0" and r.trailer("x-a") == "b"


@pytest.mark.parametrize("target,kind,want", [("/test/v1/stream", "application/json", b'[{"text":"a"},{"text":"a"}'), ("/test/v1/stream", "application/x-protobuf", b"\x03\x12\x01a\x03\x12\x01a"), ("/test/v1/rawstream/f", "*/*", b"bodybody")])
def test_what_came_before_a_failure_is_sent_though_it_came_at_once(ask, target, kind, want):
    message = types()["google.api.HttpBody"](content_type="a/b", data=b"body").SerializeToString() if "raw" in target else b"\x12\x01a"
    r = ask(answer(message, message, trailers=[("grpc-status", "13")]), "GET", target, accept(kind) + TE)
    assert (r.status, r.body, r.complete) == (200, want, False) and not r.trailers
    assert r.reset == (2 if ask.version == 2 else None)


def http_body(**fields):
    return types()["google.api.HttpBody"](**fields).SerializeToString()


def test_http_body_fields_in_any_order(ask):
    r = ask(answer(http_body(data=b"abc") + http_body(content_type="c/d") + http_body(data=b"xyz")), "GET", "/test/v1/raw/f")
    assert r.header("content-type") == "c/d" and r.body == b"xyz" and r.header("content-length") == "3"


def test_http_body_stream_takes_the_type_of_its_first_message(ask):
    r = ask(answer(http_body(content_type="a/b", data=b"1"), http_body(content_type="c/d", data=b"2"), b"", http_body(data=b"3")), "GET", "/test/v1/rawstream/f")
    assert r.header("content-type") == "a/b" and r.body == b"123" and r.complete


@pytest.mark.parametrize("target,want", [("/test/v1/nothing", b"{}"), ("/test/v1/raw/f", b"")])
def test_an_empty_message_is_an_answer(ask, target, want):
    r = ask(answer(b""), "DELETE" if "nothing" in target else "GET", target)
    assert r.status == 200 and r.body == want and r.header("content-length") == str(len(want))


@pytest.mark.parametrize("messages", [(), (b"", b"")], ids=["none", "two"])
def test_unary_answers_have_one_message(ask, messages):
    for method, target in (("GET", "/test/v1/echo"), ("DELETE", "/test/v1/nothing"), ("GET", "/test/v1/raw/f"), ("HEAD", "/test/v1/echo")):
        r = ask(answer(*messages), method, target)
        assert r.status == 502
        if method != "HEAD":
            assert r.json()["code"] == 13 and r.json()["details"][0]["reason"] == "UPSTREAM_MESSAGES"
