"""Messages to responses (SPEC §5): formats, options, response_body, HttpBody, compressed answers."""
import json

import pytest

from env.messages import types

JSON = [("content-type", "application/json")]
PROTO = [("accept", "application/x-protobuf")]


def echo(http, message, headers=()):
    """Sends a message in binary, so that only the answer is JSON."""
    return http.request("POST", "/test/v1/echo", [("content-type", "application/x-protobuf"), *headers], message.SerializeToString())


def everything(**fields):
    return types()["test.v1.Everything"](**fields)


def test_json_is_compact(http, backend):
    r = echo(http, everything(f_int32=1, r_string=["a", "b"], m_string={"k": "v"}))
    assert r.body == b'{"fInt32":1,"rString":["a","b"],"mString":{"k":"v"}}'
    assert r.header("content-length") == str(len(r.body))
    assert r.header("date")


def test_well_known_types(http, backend):
    t = types()
    m = everything()
    m.timestamp.FromJsonString("2024-02-29T23:59:59.123456789Z")
    m.duration.FromJsonString("-1.000340012s")
    m.field_mask.paths.extend(["a_b", "c.d_e"])
    m.struct.update({"n": None, "b": True, "l": [1, "x"]})
    m.value.null_value = 0
    m.int64_value.value = 2**53 + 1
    m.bytes_value.value = b"\xff"
    m.any.CopyFrom(t.pack(t["google.protobuf.Duration"](seconds=3)))
    m.empty.SetInParent()
    r = echo(http, m)
    got = r.json()
    assert got["timestamp"] == "2024-02-29T23:59:59.123456789Z"
    assert got["duration"] == "-1.000340012s"
    assert got["fieldMask"] == "aB,c.dE"
    assert got["struct"] == {"n": None, "b": True, "l": [1, "x"]}
    assert got["value"] is None and "value" in got
    assert got["int64Value"] == "9007199254740993" and got["bytesValue"] == "/w=="
    assert got["any"] == {"@type": "type.googleapis.com/google.protobuf.Duration", "value": "3s"}
    assert got["empty"] == {}


OPTIONS = [
    ({"emit_defaults": True}, lambda got: got["fInt32"] == 0 and got["rString"] == [] and got["mString"] == {} and "oInt32" not in got and "fLeaf" not in got),
    ({"proto_names": True}, lambda got: got["f_string"] == "x"),
    ({"enums_as_numbers": True}, lambda got: got["fColor"] == 1),
]


@pytest.mark.parametrize("policy,check", OPTIONS, ids=[next(iter(o[0])) for o in OPTIONS])
def test_print_options(connect, gateways, backend, policy, check):
    http = connect(gateways(policies={"*": policy}))
    r = echo(http, everything(f_string="x", f_color=1))
    assert check(r.json()), r


def test_pretty(connect, gateways, backend):
    http = connect(gateways(policies={"*": {"pretty": True}}))
    r = echo(http, everything(f_string="x", r_int32=[1, 2]))
    assert b"\n" in r.body and r.json() == {"fString": "x", "rInt32": [1, 2]}
    assert r.header("content-length") == str(len(r.body))


TAKES = [("scalar", {"f_int64": 5}, "5"), ("string", {"f_string": "s"}, "s"), ("bytes", {"f_bytes": b"\x01"}, "AQ=="), ("enum", {"f_color": 2}, "GREEN"),
         ("message", {"f_leaf": {"text": "t"}}, {"text": "t"}), ("list", {"r_string": ["a", "b"]}, ["a", "b"]),
         ("messages", {"r_leaf": [{"number": 1}, {}]}, [{"number": 1}, {}]), ("map", {"m_leaf": {"k": {"number": 2}}}, {"k": {"number": 2}}),
         ("timestamp", {"timestamp": {"seconds": 0}}, "1970-01-01T00:00:00Z"), ("value", {"value": {"string_value": "v"}}, "v"),
         ("list", {}, []), ("map", {}, {}), ("messages", {}, [])]


@pytest.mark.parametrize("kind,fields,want", TAKES, ids=[f"{t[0]}-{i}" for i, t in enumerate(TAKES)])
def test_response_body_of_each_kind(http, backend, kind, fields, want):
    m = everything(**fields)
    r = http.request("POST", f"/test/v1/take/{kind}", [("content-type", "application/x-protobuf")], m.SerializeToString())
    assert r.status == 200 and r.header("content-type") == "application/json"
    assert r.json() == want


def test_response_body_any(http, backend):
    t = types()
    m = everything(any=t.pack(t["test.v1.Leaf"](text="x")))
    r = http.request("POST", "/test/v1/take/any", [("content-type", "application/x-protobuf")], m.SerializeToString())
    assert r.json() == {"@type": "type.googleapis.com/test.v1.Leaf", "text": "x"}


def test_empty_is_200_and_braces(http, backend):
    r = http.request("DELETE", "/test/v1/nothing")
    assert r.status == 200 and r.body == b"{}" and r.header("content-length") == "2"


@pytest.mark.parametrize("status", [201, 202, 204])
def test_success_status(connect, gateways, backend, status):
    http = connect(gateways(policies={"test.v1.EverythingService.Nothing": {"success_status": status}}))
    r = http.request("DELETE", "/test/v1/nothing")
    assert r.status == status and r.body == (b"" if status == 204 else b"{}") and r.complete
    if status == 204:
        assert r.header("content-length") is None and r.header("content-type") is None
    assert http.request("GET", "/test/v1/echo/x").status == 200


# -- Accept ---------------------------------------------------------------------------------------------------------------

ACCEPTS = [
    ("application/x-protobuf", True), ("application/protobuf", True), ("application/json", False), ("*/*", False), ("text/html", False), ("", False),
    ("application/*", False), ("application/json;q=0.5, application/x-protobuf", True), ("application/x-protobuf;q=0.4, application/json;q=0.5", False),
    ("application/x-protobuf;q=0", False), ("application/json;q=0, application/x-protobuf;q=0.1", True), ("text/html, application/xhtml+xml, */*;q=0.8", False),
]


@pytest.mark.parametrize("accept,binary", ACCEPTS, ids=[a[0] or "empty" for a in ACCEPTS])
def test_accept(http, backend, accept, binary):
    m = everything(f_string="a", f_color=1)
    r = echo(http, m, [("accept", accept)])
    assert r.status == 200 and "accept" in r.header("vary", "").lower()
    if binary:
        assert r.header("content-type") == "application/x-protobuf"
        assert types()["test.v1.Everything"].FromString(r.body) == m
    else:
        assert r.json() == {"fString": "a", "fColor": "RED"}


def test_errors_are_binary_when_protobuf_won(http, backend):
    r = http.request("GET", "/test/v1/fail/5?message=gone", PROTO)
    assert r.status == 404 and r.header("content-type") == "application/x-protobuf"
    status = types()["google.rpc.Status"].FromString(r.body)
    assert (status.code, status.message) == (5, "gone")


# -- HttpBody -------------------------------------------------------------------------------------------------------------

def test_http_body_sets_type_and_bytes(http, backend):
    r = http.request("GET", "/test/v1/raw/f?size=100000&contentType=image/png")
    assert r.header("content-type") == "image/png" and r.header("content-length") == "100000"
    assert r.body == bytes(i & 255 for i in range(100000))


def test_http_body_type_that_is_no_header_value(http, backend):
    r = http.request("GET", "/test/v1/raw/f?contentType=a%0d%0aset-cookie:%20x")
    assert r.status == 200 and r.header("content-type") == "application/octet-stream" and r.header("set-cookie") is None


def test_http_body_stream_has_nothing_inserted(http, backend):
    r = http.request("GET", "/test/v1/rawstream/f?size=50000&chunkSize=999&contentType=audio/x")
    assert r.status == 200 and r.header("content-type") == "audio/x" and r.complete
    assert r.body == bytes(i & 255 for i in range(50000))


def test_http_body_stream_of_nothing(http, backend):
    r = http.request("GET", "/test/v1/rawstream/f")
    assert r.status == 200 and r.body == b"" and r.complete


# -- what the wire may look like --------------------------------------------------------------------------------------------

def test_interleaved_fields_print_as_grouped_ones(http, backend):
    E, L = types()["test.v1.Everything"], types()["test.v1.Leaf"]
    parts = [E(r_string=["a"]), E(f_leaf=L(text="t")), E(f_int32=1), E(r_string=["b"]), E(f_leaf=L(number=2)), E(m_string={"k": "1"}), E(f_int32=3), E(m_string={"k": "2"})]
    wire = b"".join(p.SerializeToString() for p in parts)
    r = http.request("POST", "/test/v1/echo", [("content-type", "application/x-protobuf")], wire)
    assert r.json() == {"rString": ["a", "b"], "fLeaf": {"text": "t", "number": 2}, "fInt32": 3, "mString": {"k": "2"}}


def test_unknown_wire_fields_are_dropped(http, backend):
    wire = everything(f_int32=1).SerializeToString() + b"\xfa\x7f\x03abc"  # field 2047, bytes
    r = http.request("POST", "/test/v1/echo", [("content-type", "application/x-protobuf")], wire)
    assert r.status == 200 and r.json() == {"fInt32": 1}


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_compressed_grpc_answers_are_read(http, backend, coding):
    r = http.request("GET", "/test/v1/big?count=500", [("x-test-compress", coding)])
    assert r.status == 200, r
    assert len(r.json()["leaves"]) == 500 and r.json()["leaves"][499] == {"text": "leaf 499", "number": 499}
    offered = backend.one_call().get("grpc-accept-encoding") or ""
    r = http.request("GET", "/test/v1/stream?count=50&size=1000", [("x-test-compress", coding)])
    assert len(r.json()) == 50
    del offered


def test_large_answer(http, backend):
    r = http.request("GET", "/test/v1/big?size=3000000")
    assert r.status == 200 and len(r.json()["text"]) == 3000000


def test_pipelined_requests_are_answered_in_order(backend, gateway):
    from env.http1 import H1
    with H1(gateway.port) as c:
        head = b"GET /test/v1/echo/%d HTTP/1.1\r\nHost: x\r\n\r\n"
        c.send(b"".join(head % i for i in range(30)))
        from env.http1 import H1Stream
        for i in range(30):
            assert H1Stream(c, "GET").finish().json() == {"fString": str(i)}


def test_many_streams_at_once(backend, gateway):
    from env.http2 import H2
    with H2(gateway.port) as c:
        streams = [c.start("GET", f"/test/v1/echo/{i}") for i in range(90)]
        assert [s.finish().json()["fString"] for s in streams] == [str(i) for i in range(90)]


def test_http10_is_served_and_closed(backend, gateway):
    from env.http1 import H1
    with H1(gateway.port) as c:
        c.send(b"GET /test/v1/stream?count=3 HTTP/1.0\r\n\r\n")
        answer = c.read_all()
    head, body = answer.split(b"\r\n\r\n", 1)
    assert head.startswith(b"HTTP/1.1 200") and b"transfer-encoding" not in head.lower()
    assert len(json.loads(body)) == 3


def test_httpx_over_http2_and_http1(gateway, backend):
    import httpx
    for options in ({"http1": True, "http2": False}, {"http1": False, "http2": True}):
        with httpx.Client(base_url=gateway.url, trust_env=False, **options) as client:
            r = client.post("/test/v1/echo", json={"fString": "é\u2028", "rDouble": [0.1, 1e300]})
            assert r.status_code == 200 and r.json() == {"fString": "é\u2028", "rDouble": [0.1, 1e300]}
            assert r.http_version == ("HTTP/2" if options["http2"] else "HTTP/1.1")
