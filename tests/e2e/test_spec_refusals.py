"""Every refusal that a client or a backend can cause, over HTTP/1.1 and over HTTP/2: its status, its google.rpc.Status body and its
counter (SPEC §3, §4, §6, §9). Each name of errors.def is in one of the tables below or in UNSEEN, with the reason."""
import base64
import gzip
import re
import socket
import struct

import pytest

from env.build import ROOT, wait_until
from env.gateway import Gateway, base_config
from env.http1 import H1, H1Stream
from env.http2 import H2, H2Stream
from env.messages import types
from env.scripted import GRPC, Scripted, frame, good, h2_frame

SERVICE = "test.v1.EverythingService"
JSON = [("content-type", "application/json")]
PROTO = [("content-type", "application/x-protobuf")]
NATIVE = [("content-type", "application/grpc"), ("te", "trailers")]

TABLE = {m[1]: (int(m[2]), int(m[3])) for m in re.finditer(r"^TR_ERR\((\w+), +(\d+), (\d+),", (ROOT / "src/base/errors.def").read_text(), re.M)}

# Neither a client nor a backend can cause these, or nobody is left to see them.
UNSEEN = {
    "AGAIN": "a parser's wish for more input, never an answer",
    "INTERNAL": "a defect of the gateway",
    "NOMEM": "the unit tests fail each allocation in turn",
    "CONFIG": "`check` and the start of `serve`, test_cli.py",
    "DESCRIPTOR": "`check` and the start of `serve`, test_cli.py",
    "IO": "an input or output error of the system; connections report their own",
    "EOF": "a reader's end of input, never an answer",
    "UPSTREAM_NO_ENDPOINT": "the configuration wants an endpoint, and a name without addresses is UPSTREAM_DNS",
    "DRAINING": "the process ends with it",
    "OVERLOADED": "the whole gateway gives it, test_shedding.py",
}


# -- the world ----------------------------------------------------------------------------------------------------------------

class World:
    """One gateway before the real backend, for what clients do, and one before a scripted backend."""

    def __init__(self, tmp, backend, certificates):
        self.backend = backend
        self.gateway = Gateway(tmp / "a", base_config(
            [backend.endpoint], listeners=[{"address": "127.0.0.1:0"}, {"address": "127.0.0.1:0", "tls": certificates.server("localhost")}],
            limits={"max_headers": 20, "max_header_bytes": 4096, "max_path_bytes": 1024, "header_timeout": "250ms", "body_idle_timeout": "250ms",
                    "write_timeout": "400ms", "max_resets": 50},
            policies={"*": {"max_request_bytes": 2000, "max_stream_bytes": 20000, "max_response_bytes": 5000},
                      SERVICE + ".EchoValue": {"max_request_bytes": "64MiB"},
                      SERVICE + ".Shadow": {"ip": {"deny": ["127.0.0.1"]}},
                      SERVICE + ".DownFile": {"max_response_bytes": "4MiB"},
                      SERVICE + ".Down": {"stream_idle_timeout": "200ms"},
                      SERVICE + ".Bidi": {"max_stream_duration": "200ms"}}))
        self.server = Scripted(lambda c, s, r: self.script(c, s, r))
        self.script = good
        self.scripted = Gateway(tmp / "b", base_config(
            [], workers=1, upstreams={"main": {"endpoints": [self.server.endpoint], "connect_timeout": "2s", "max_response_header_bytes": 4096}},
            policies={"*": {"timeout": "4s", "max_response_bytes": 5000}}))

    def stop(self):
        for gateway in (self.gateway, self.scripted):
            wait_until("nothing is in flight", lambda g=gateway: g.metric("transom_requests_in_flight") == 0)
            gateway.stop()
        self.server.stop()


@pytest.fixture(scope="module")
def module_world(tmp_path_factory, session_backend, certificates):
    world = World(tmp_path_factory.mktemp("refusals"), session_backend, certificates)
    yield world
    world.stop()


@pytest.fixture
def world(module_world, backend):
    yield module_world
    assert module_world.gateway.alive, module_world.gateway.stderr
    assert module_world.scripted.alive, module_world.scripted.stderr


def raw(data):
    """The answer to these bytes on an HTTP/1.1 connection."""
    def provoke(c, world):
        c.send(data)
        return H1Stream(c, "GET").finish(5)
    return provoke


def req(method, target, headers=(), body=None):
    return lambda c, world: c.request(method, target, headers, body, timeout=8)


def query(text):
    return req("GET", "/test/v1/query?" + text)


def body(text, target="/test/v1/echo", headers=JSON):
    return req("POST", target, headers, text.encode("latin-1") if isinstance(text, str) else text)


def slow_body(c, world):
    s = c.start("POST", "/test/v1/echo", JSON, 50)
    s.send(b'{"fString":')
    return s.finish(5)


def connect_h2(c, world):
    stream = H2Stream(c, c.h2.get_next_available_stream_id(), "CONNECT")
    c.streams[stream.id] = stream
    c.h2.send_headers(stream.id, [(b":method", b"CONNECT"), (b":authority", b"example.com:80")])
    c.flush()
    return stream.finish(5)


def never_ending_bidi(c, world):
    return c.start("POST", "/test/v1/bidi", JSON, -1).finish(5)


def deep_value(depth):
    """A google.protobuf.Value of lists, two messages a level."""
    def record(number, payload):
        length = len(payload)
        return bytes([number << 3 | 2, *([length] if length < 128 else [length & 127 | 128, length >> 7])]) + payload
    value = b""
    for _ in range(depth):
        value = record(6, record(1, value))  # list_value, values
    return value


RATIO_BOMB = gzip.compress(b'"' + b"x" * 30_000_000 + b'"')
OTHER_HOST = [(":authority", "a.example"), ("host", "b.example")]

# reason -> (over HTTP/1.1, over HTTP/2); None: cannot be said in that protocol
CLIENT = {
    "BAD_REQUEST_LINE": (raw(b"GET  /test/v1/echo/x HTTP/1.1\r\nHost: a\r\n\r\n"), None),
    "BAD_TARGET": 2 * (req("GET", "/test/v1/echo/%zz"),),
    "BAD_HOST": (raw(b"GET /test/v1/echo/x HTTP/1.1\r\n\r\n"), req("GET", "/test/v1/echo/x", OTHER_HOST)),
    "BAD_HEADER": (raw(b"GET /test/v1/echo/x HTTP/1.1\r\nHost: a\r\nx: 1\r\n folded\r\n\r\n"), req("POST", "/test/v1/echo", JSON + JSON, b"{}")),
    "BAD_FRAMING": (raw(b"POST /test/v1/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"), None),
    "BAD_CHUNK": (raw(b"POST /test/v1/echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n"), None),
    "TARGET_TOO_LONG": 2 * (req("GET", "/test/v1/echo/" + "x" * 1100),),
    "TOO_MANY_HEADERS": 2 * (req("GET", "/test/v1/echo/x", [(f"x-{i}", "1") for i in range(30)]),),
    "HEADERS_TOO_LARGE": 2 * (req("GET", "/test/v1/echo/x", [("x-large", "v" * 5000)]),),
    "HEADER_TIMEOUT": (raw(b"GET /test/v1/echo/x HTTP/1.1\r\nHos"), None),
    "BODY_TIMEOUT": 2 * (slow_body,),
    "IP_DENIED": 2 * (req("GET", "/test/v1/shadow"),),
    "EXPECTATION_FAILED": 2 * (body("{}", headers=[*JSON, ("expect", "200-maybe")]),),
    "HTTP_VERSION": (raw(b"GET /test/v1/echo/x HTTP/2.0\r\nHost: a\r\n\r\n"), None),
    "UPGRADE": (req("CONNECT", "example.com:80"), connect_h2),
    "ROUTE_NOT_FOUND": 2 * (req("GET", "/nope"),),
    "METHOD_NOT_ALLOWED": 2 * (req("DELETE", "/test/v1/echo"),),
    "UNSUPPORTED_MEDIA_TYPE": 2 * (body("{}", headers=[("content-type", "text/plain")]),),
    "UNSUPPORTED_CODING": 2 * (body("{}", headers=[*JSON, ("content-encoding", "deflate")]),),
    "BAD_CODING": 2 * (body(b"\x1f\x8b" + b"z" * 40, headers=[*JSON, ("content-encoding", "gzip")]),),
    "CODING_RATIO": 2 * (body(RATIO_BOMB, "/test/v1/value", [*JSON, ("content-encoding", "gzip")]),),
    "BODY_TOO_LARGE": 2 * (body('{"fString":"' + "x" * 2500 + '"}'),),
    "STREAM_TOO_LARGE": 2 * (body("[" + ",".join('{"text":"%s"}' % ("x" * 1000) for _ in range(30)) + "]", "/test/v1/upload/p"),),
    "BODY_NOT_ALLOWED": 2 * (req("GET", "/test/v1/echo", JSON, b"{}"),),
    "BAD_TIMEOUT": 2 * (req("GET", "/test/v1/echo/x", [("x-request-timeout", "soon")]),),
    "BAD_METADATA": 2 * (req("GET", "/test/v1/echo/x", [("x-data-bin", "?!")]),),
    "JSON_SYNTAX": 2 * (body('{"fInt32":1,}'),),
    "JSON_UTF8": 2 * (body('{"fString":"\xff"}'),),
    "JSON_TRUNCATED": 2 * (body('{"fInt32":'),),
    "JSON_DEPTH": 2 * (body("[" * 101 + "]" * 101, "/test/v1/value"),),
    "JSON_TYPE": 2 * (body('{"fInt32":"x"}'),),
    "JSON_RANGE": 2 * (body('{"fInt32":2147483648}'),),
    "JSON_UNKNOWN_FIELD": 2 * (body('{"nope":1}'),),
    "JSON_DUPLICATE": 2 * (body('{"fInt32":1,"f_int32":2}'),),
    "JSON_ONEOF": 2 * (body('{"cUint32":1,"cString":"x"}'),),
    "JSON_ENUM": 2 * (body('{"fColor":"PURPLE"}'),),
    "JSON_BASE64": 2 * (body('{"fBytes":"?"}'),),
    "JSON_NULL": 2 * (body('{"rInt32":[null]}'),),
    "JSON_WKT": 2 * (body('{"timestamp":"yesterday"}'),),
    "JSON_ANY": 2 * (body('{"any":{"@type":"type.googleapis.com/no.Such"}}'),),
    "PROTO_MALFORMED": 2 * (body(b"\xff\xff\xff", headers=PROTO),),
    "PROTO_DEPTH": 2 * (body(deep_value(60), "/test/v1/value", PROTO),),
    "PROTO_UTF8": 2 * (body(b"\x72\x01\xff", headers=PROTO),),
    "PATH_VALUE": 2 * (req("GET", "/test/v1/query/t/x"),),
    "QUERY_SYNTAX": 2 * (query("text=%ff"),),
    "QUERY_UNKNOWN": 2 * (query("nope=1"),),
    "QUERY_VALUE": 2 * (query("number=x"),),
    "QUERY_DUPLICATE": 2 * (query("text=a&text=a"),),
    "QUERY_ONEOF": 2 * (query("choiceText=a&choiceNumber=1"),),
    "QUERY_BOUND": 2 * (req("GET", "/test/v1/query/t/5?number=6"),),
    "QUERY_MESSAGE": 2 * (query("leaves.text=a"),),
    "SYSTEM_PARAMETER": 2 * (query("$alt=xml"),),
}

# These are refused while the call is under way, so that the backend has seen it.
AFTER_THE_CALL = {"STREAM_TOO_LARGE"}

# The client's time and the backend's, in the words of the gateway.
TIMES = {
    "STREAM_IDLE": 2 * (req("GET", "/test/v1/stream?count=1", [("x-test-hold", "idle")]),),
    "STREAM_DURATION": 2 * (never_ending_bidi,),
    "UPSTREAM_OVERSIZED": 2 * (req("GET", "/test/v1/big?size=6000"),),
}


def versions(table):
    return [pytest.param(reason, version, id=f"{reason}-{version}") for reason, pair in table.items() for version, how in zip(("h1", "h2"), pair) if how]


def is_refusal(r, reason, code=None, status=None):
    """The status, headers and google.rpc.Status of errors.def."""
    want_code, want_status = TABLE[reason]
    want_code, want_status = want_code if code is None else code, status or want_status
    assert r.status == want_status and r.complete, r
    assert r.header("content-type") == "application/json" and r.header("content-length") == str(len(r.body)) and r.header("date")
    got = r.json()
    assert set(got) == {"code", "message", "details"} and got["code"] == want_code and got["message"], got
    assert got["details"][0] == {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": "transom"}, got
    if want_code == 3:
        assert got["details"][1]["@type"] == "type.googleapis.com/google.rpc.BadRequest"
        assert got["details"][1]["fieldViolations"][0]["description"], got
    return True


def client(version, gateway, **options):
    return {"h1": H1, "h2": H2}[version](gateway.port, **options)


@pytest.mark.parametrize("reason,version", versions(CLIENT))
def test_what_a_client_does_wrong(world, reason, version):
    with world.gateway.counts(reason), client(version, world.gateway) as c:
        r = CLIENT[reason][version == "h2"](c, world)
    assert is_refusal(r, reason)
    assert reason in AFTER_THE_CALL or not world.backend.calls


@pytest.mark.parametrize("reason,version", versions(TIMES))
def test_what_takes_too_long_or_is_too_large(world, reason, version):
    with world.gateway.counts(reason), client(version, world.gateway) as c:
        assert is_refusal(TIMES[reason][version == "h2"](c, world), reason)
    assert world.backend.one_call().ended.wait(5)


# -- native gRPC: the same failures as trailers --------------------------------------------------------------------------------------

def native(path=f"/{SERVICE}/Echo", headers=(), data=frame(b"")):
    return lambda c: c.request("POST", path, [*NATIVE, *headers], data, timeout=8)


NATIVE_CASES = {
    "METHOD_UNIMPLEMENTED": native(f"/{SERVICE}/NoSuch"),
    "METHOD_NOT_ALLOWED": lambda c: c.request("GET", f"/{SERVICE}/Echo", NATIVE),
    "BAD_TIMEOUT": native(headers=[("grpc-timeout", "5")]),
    "BAD_METADATA": native(headers=[("x-data-bin", "?!")]),
    "IP_DENIED": native(f"/{SERVICE}/Shadow"),
    "BAD_GRPC_FRAME": native(data=b"\x07\0\0\0\0"),
    "BODY_TOO_LARGE": native(data=frame(b"\x72\xc4\x13" + b"x" * 2500)),
    "STREAM_TOO_LARGE": native(f"/{SERVICE}/Up", data=frame(b"\x12\x03abc") * 3000),
    "UPSTREAM_OVERSIZED": native(f"/{SERVICE}/Big", data=frame(types()["test.v1.BigRequest"](size=6000).SerializeToString())),
    # the codec's own refusals
    "TOO_MANY_HEADERS": native(headers=[(f"x-{i}", "1") for i in range(30)]),
    "HEADERS_TOO_LARGE": native(headers=[("x-large", "v" * 5000)]),
    "TARGET_TOO_LONG": native("/" + "x" * 1100),
    "BAD_TARGET": native(f"/{SERVICE}/Echo#f"),
    "BAD_HOST": native(headers=OTHER_HOST),
    "EXPECTATION_FAILED": native(headers=[("expect", "200-maybe")]),
}


@pytest.mark.parametrize("reason", NATIVE_CASES)
def test_a_grpc_client_gets_it_as_trailers(world, reason):
    with world.gateway.counts(reason), H2(world.gateway.port) as c:
        r = NATIVE_CASES[reason](c)
    assert r.status == 200 and r.complete and r.body == b"" and r.header("content-type") == "application/grpc", r
    end = dict(r.trailers or r.headers)  # the head is out already where the answer is too large
    assert end["grpc-status"] == str(TABLE[reason][0]) and end["grpc-message"]
    raw_details = end["grpc-status-details-bin"]
    status = types()["google.rpc.Status"].FromString(base64.b64decode(raw_details + "=" * (-len(raw_details) % 4)))
    assert status.code == TABLE[reason][0]
    assert types()["google.rpc.ErrorInfo"].FromString(status.details[0].value).reason == reason


def test_a_grpc_message_that_the_client_cuts_is_refused(world):
    with world.gateway.counts("BAD_GRPC_FRAME"), H2(world.gateway.port) as c:
        r = native(data=frame(b"abcdef")[:-2])(c)
    assert dict(r.trailers or r.headers)["grpc-status"] == "13", r


def test_native_grpc_over_http1_is_505(world):
    with world.gateway.counts("HTTP_VERSION"), H1(world.gateway.port) as c:
        assert is_refusal(c.request("POST", f"/{SERVICE}/Echo", NATIVE, frame(b"")), "HTTP_VERSION")


# -- failures that end a stream or a connection -------------------------------------------------------------------------------------

def pump(c, seconds=5):
    c.limit(seconds)
    while c.pump():
        pass
    return c


def start_h2(world):
    c = H2(world.gateway.port)
    assert c.request("GET", "/test/v1/echo/x").status == 200
    return c


def broken_frame(world):
    with start_h2(world) as c:
        c.sock.sendall(h2_frame(6, 0, 0, b"short"))
        assert pump(c).goaway[0] in (1, 6)


def pings(world):
    with start_h2(world) as c:
        c.sock.sendall(h2_frame(6, 1, 0, b"12345678") * 4000)
        try:
            pump(c)
        except OSError:
            pass
        assert c.eof


def resets(world):
    with start_h2(world) as c:
        try:
            for _ in range(120):
                c.start("GET", "/test/v1/echo/x").cancel()
            pump(c)
        except OSError:
            pass
        assert c.eof or c.goaway


def half_a_head(world):
    with start_h2(world) as c:
        c.sock.sendall(h2_frame(1, 1, c.h2.get_next_available_stream_id(), b"\x82"))
        assert pump(c).goaway is not None


def short_body(world):
    with start_h2(world) as c:
        s = c.start("POST", "/test/v1/echo", [*JSON, ("content-length", "10")], -1)
        s.send(b"{}", end=True)
        r = s.finish(5)
        assert r.reset == 1 or r.status == 400


def no_tls(world):
    with socket.create_connection(("127.0.0.1", world.gateway.port_of(1)), 5) as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        try:
            while s.recv(4096):
                pass
        except ConnectionResetError:
            pass


def leave(version):
    def provoke(world):
        with client(version, world.gateway) as c:
            c.start("GET", "/test/v1/sleep?duration=20s")
            wait_until("the call arrives", lambda: world.backend.calls)
        assert world.backend.one_call().ended.wait(5) and world.backend.one_call().cancelled
    return provoke


def half_close(world):
    with H1(world.gateway.port) as c:
        c.start("GET", "/test/v1/sleep?duration=20s")
        wait_until("the call arrives", lambda: world.backend.calls)
        c.sock.shutdown(socket.SHUT_WR)
        assert world.backend.one_call().ended.wait(5) and world.backend.one_call().cancelled


def cancel_stream(world):
    with start_h2(world) as c:
        world.backend.calls.clear()
        s = c.start("GET", "/test/v1/sleep?duration=20s")
        wait_until("the call arrives", lambda: world.backend.calls)
        s.cancel()
        assert world.backend.one_call().ended.wait(5) and world.backend.one_call().cancelled


FILE = "/test/v1/rawstream/x?size=200000000&chunkSize=100000"


def stall_h1(world):
    c = socket.socket()
    with c:
        c.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        c.connect(("127.0.0.1", world.gateway.port))
        c.sendall(f"GET {FILE} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        assert wait_until("the call arrives", lambda: world.backend.calls)[0].ended.wait(10)


def stall_h2(world):
    with H2(world.gateway.port) as c:
        s = c.start("GET", FILE)
        s.auto_ack = False
        pump(c, 8)
        assert c.goaway is not None or s.response.reset is not None
    assert world.backend.calls[0].ended.wait(5)


ENDINGS = [("H2_PROTOCOL", broken_frame), ("H2_FLOOD", pings), ("H2_RESETS", resets), ("HEADER_TIMEOUT", half_a_head), ("BAD_BODY_LENGTH", short_body), ("TLS", no_tls),
           ("CLIENT_GONE", leave("h1")), ("CLIENT_GONE", leave("h2")), ("CLIENT_GONE", half_close), ("CLIENT_GONE", cancel_stream),
           ("CLIENT_STALLED", stall_h1), ("CLIENT_STALLED", stall_h2)]


@pytest.mark.parametrize("reason,provoke", ENDINGS, ids=[f"{r}-{p.__name__}" for r, p in ENDINGS])
def test_what_ends_a_stream_or_a_connection_is_counted(world, reason, provoke):
    wait_until("nothing is in flight", lambda: world.gateway.metric("transom_requests_in_flight") == 0)
    before = world.gateway.errors(reason)
    provoke(world)
    wait_until(f"{reason} is counted", lambda: world.gateway.errors(reason) > before)
    wait_until("nothing is in flight", lambda: world.gateway.metric("transom_requests_in_flight") == 0)
    assert world.gateway.errors(reason) == before + 1
    with H1(world.gateway.port) as c:
        assert c.request("GET", "/test/v1/echo/x").status == 200


# -- what a backend does wrong --------------------------------------------------------------------------------------------------------

def answer(*messages, headers=GRPC):
    def script(c, s, r):
        c.headers(s, headers)
        c.data(s, b"".join(messages))
        c.trailers(s)
    return script


def go_away(c, s, r):
    c.goaway(0)
    c.close()


FAR = types()["test.v1.Everything"](timestamp={"seconds": 1 << 40}).SerializeToString()

# reason -> (script, gRPC code, HTTP status); None: those of errors.def
BACKEND = {
    "UPSTREAM_REFUSED": (lambda c, s, r: c.reset(s, 7), None, None),
    "UPSTREAM_GOAWAY": (go_away, None, None),
    "UPSTREAM_RESET": (lambda c, s, r: c.reset(s, 2), 13, 502),
    "UPSTREAM_CLOSED": (lambda c, s, r: c.close(), None, None),
    "UPSTREAM_PROTOCOL": (lambda c, s, r: c.raw(h2_frame(9, 4, s, b"")), None, None),
    "UPSTREAM_CONTENT_TYPE": (answer(headers=[(":status", "200"), ("content-type", "text/html")]), None, None),
    "UPSTREAM_MESSAGES": (answer(frame(b""), frame(b"")), None, None),
    "UPSTREAM_MALFORMED": (answer(frame(b"\xff\xff\xff\xff")), None, None),
    "UPSTREAM_COMPRESSION": (answer(frame(b"zz", compressed=1), headers=[*GRPC, ("grpc-encoding", "snappy")]), None, None),
    "UPSTREAM_OVERSIZED": (answer(struct.pack(">BI", 0, 6000) + b"x" * 6000), None, None),
    "UPSTREAM_HEADERS": (answer(frame(b""), headers=[*GRPC, ("x-large", "v" * 9000)]), None, None),
    "PROTO_UNPRINTABLE": (answer(frame(FAR)), None, None),
    "DEADLINE": (lambda c, s, r: None, None, None),  # a decent backend would say so itself, a moment before
}


@pytest.mark.parametrize("reason", BACKEND)
def test_what_a_backend_does_wrong(world, version, reason):
    script, code, status = BACKEND[reason]
    world.script = script
    try:
        with world.scripted.counts(reason), client(version, world.scripted) as c:
            headers = [("x-request-timeout", "0.2")] if reason == "DEADLINE" else []
            assert is_refusal(c.request("GET", "/test/v1/echo", headers, timeout=8), reason, code, status)
    finally:
        world.script = good
    with H1(world.scripted.port) as c:  # and the next request is served
        wait_until("the backend is reached again", lambda: c.request("GET", "/test/v1/echo").status == 200)


# What reaches a gRPC client untouched is its own to judge: messages and their number.
NATIVE_BACKEND = {k: v for k, v in BACKEND.items() if k not in ("UPSTREAM_MESSAGES", "UPSTREAM_COMPRESSION", "PROTO_UNPRINTABLE", "DEADLINE")}
NATIVE_BACKEND["UPSTREAM_MALFORMED"] = (answer(frame(b"abcdef")[:-2]), None, None)


def end_of(r):
    """grpc-status of an answer, wherever it stands; None: the stream was reset."""
    if r.reset is not None:
        return None
    end = dict(r.trailers or r.headers)
    return int(end["grpc-status"])


@pytest.mark.parametrize("reason", NATIVE_BACKEND)
def test_what_a_backend_does_wrong_to_a_grpc_client(world, reason):
    script, code, _ = NATIVE_BACKEND[reason]
    world.script = script
    try:
        with world.scripted.counts(reason), H2(world.scripted.port) as c:
            r = native()(c)
    finally:
        world.script = good
    if reason == "UPSTREAM_MALFORMED":  # in the middle of a message no trailers would be believed
        assert r.reset == 2, r
    else:
        assert r.status == 200 and end_of(r) == (TABLE[reason][0] if code is None else code), r
    with H1(world.scripted.port) as c:
        wait_until("the backend is reached again", lambda: c.request("GET", "/test/v1/echo").status == 200)


def test_an_answer_to_a_grpc_client_is_cut_at_each_byte(world):
    payload = types()["test.v1.Everything"](f_string="whole").SerializeToString()
    whole, n = False, 0
    try:
        while not whole:
            n += 1

            def cut(c, s, r, n=n):
                c.budget = n
                good(c, s, r, payload)
                if c.budget > 0:  # it was longer than the answer
                    c.budget = None
            world.script = cut
            with H2(world.scripted.port) as c:
                r = native()(c)
            whole = end_of(r) == 0
            assert not whole or (r.body == frame(payload) and r.complete), (n, r)
            assert whole or end_of(r) in (None, 13, 14), (n, r)
            assert n < 500
        assert n > 30
    finally:
        world.script = good


def test_a_deadline_of_a_grpc_client(world):
    world.script = lambda c, s, r: None
    try:
        with world.scripted.counts("DEADLINE"), H2(world.scripted.port) as c:
            r = native(headers=[("grpc-timeout", "200m")])(c)
    finally:
        world.script = good
    assert r.status == 200 and r.header("grpc-status") == "4", r


class Deaf:
    """An address whose queue of connections is full: connecting takes for ever."""

    def __enter__(self):
        self.sockets = [socket.socket() for _ in range(5)]
        listener = self.sockets[0]
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for s in self.sockets[1:]:
            s.setblocking(False)
            s.connect_ex(listener.getsockname())
        self.endpoint = "127.0.0.1:%d" % listener.getsockname()[1]
        return self

    def __exit__(self, *_):
        for s in self.sockets:
            s.close()


def dead_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def refused_by(start, version, reason, upstream, hold=None, env=None):
    gateway = start(base_config([], workers=1, upstreams={"main": upstream}), env=env)
    with H2(gateway.port) as other, client(version, gateway) as c:
        if hold:
            hold(gateway, other)
        with gateway.counts(reason):
            assert is_refusal(c.request("GET", "/test/v1/echo"), reason)
    gateway.stop()


def test_upstream_connect(start, version):
    refused_by(start, version, "UPSTREAM_CONNECT", {"endpoints": [f"127.0.0.1:{dead_port()}"], "connect_timeout": "1s"})


def test_upstream_dns(start, version):
    refused_by(start, version, "UPSTREAM_DNS", {"endpoints": ["dns:///none.test:1"], "connect_timeout": "300ms"},
               env={"TRANSOM_DNS_SERVERS": f"127.0.0.1:{dead_port()}"})


def test_upstream_tls(start, version, backend):
    refused_by(start, version, "UPSTREAM_TLS", {"endpoints": [backend.endpoint], "connect_timeout": "1s", "tls": {"server_name": "x"}})


def test_upstream_active(start, version, backend):
    def hold(gateway, other):
        other.start("GET", "/test/v1/sleep?duration=20s")
        wait_until("one is active", lambda: gateway.metric("transom_upstream_requests_active") == 1)
    refused_by(start, version, "UPSTREAM_ACTIVE", {"endpoints": [backend.endpoint], "max_requests": 1}, hold)


def test_upstream_pending(start, version):
    def hold(gateway, other):
        other.start("GET", "/test/v1/echo")
        wait_until("one waits", lambda: gateway.metric("transom_upstream_requests_pending") == 1)
    with Deaf() as deaf:
        refused_by(start, version, "UPSTREAM_PENDING", {"endpoints": [deaf.endpoint], "max_pending": 1, "connect_timeout": "2s"}, hold)


# -- the list is whole ------------------------------------------------------------------------------------------------------------------

def test_every_error_is_provoked_or_explained():
    from test_pipeline_refusals import PROVOKED
    single = {*PROVOKED, "UPSTREAM_CONNECT", "UPSTREAM_DNS", "UPSTREAM_TLS", "UPSTREAM_ACTIVE", "UPSTREAM_PENDING"}
    provoked = {*CLIENT, *TIMES, *NATIVE_CASES, *BACKEND, *single, *(r for r, _ in ENDINGS)}
    assert not provoked & set(UNSEEN)
    assert provoked | set(UNSEEN) == set(TABLE)
