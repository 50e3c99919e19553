"""Headers and metadata (SPEC §7)."""
import base64
import json
import time

import jwt
import pytest

from env.gateway import base_config
from env.http1 import H1
from env.http2 import H2
from env.messages import types
from env.scripted import frame

JSON = [("content-type", "application/json")]


def seen(http, headers, target="/test/v1/metadata"):
    """The metadata that the backend saw: name -> list of values."""
    r = http.request("GET", target, headers)
    assert r.status == 200, r
    out = {}
    for e in r.json().get("entries", []):
        out.setdefault(e["name"], []).append(base64.b64decode(e["bin"]) if "bin" in e else e.get("value", ""))
    return out


def test_headers_become_metadata_in_order(http, backend):
    got = seen(http, [("x-one", "1"), ("x-two", "a"), ("x-one", "2"), ("accept-language", "de")])
    assert got["x-one"] == ["1", "2"] and got["x-two"] == ["a"] and got["accept-language"] == ["de"]


def test_names_are_lower_case(backend, gateway):
    with H1(gateway.port) as c:
        assert seen(c, [("X-Mixed-CASE", "Value")])["x-mixed-case"] == ["Value"]


DROPPED = [("host", None), ("content-type", "application/json"), ("content-length", None), ("content-language", "en"), ("te", "trailers"),
           ("accept-encoding", "gzip"), ("grpc-status", "3"), ("grpc-message", "x"), ("grpc-odd", "1"), ("grpc-encoding", "gzip")]


@pytest.mark.parametrize("name,value", [d for d in DROPPED if d[1]], ids=[d[0] for d in DROPPED if d[1]])
def test_not_passed_on(http, backend, name, value):
    got = seen(http, [(name, value)])
    if name in ("content-type", "te"):  # grpc's own
        assert "application/json" not in got.get(name, [])
    else:
        assert name not in got


def test_hop_by_hop_headers(backend, gateway):
    with H1(gateway.port) as c:
        got = seen(c, [("connection", "x-hop, keep-alive"), ("x-hop", "1"), ("keep-alive", "timeout=5"), ("proxy-connection", "x"), ("x-kept", "1")])
    assert got["x-kept"] == ["1"]
    assert not {"connection", "x-hop", "keep-alive", "proxy-connection"} & set(got)


def test_upgrade_is_not_done(backend, gateway):
    with H1(gateway.port) as c:
        r = c.request("GET", "/test/v1/echo/x", [("connection", "upgrade"), ("upgrade", "websocket")])
        assert r.status == 200 and r.header("upgrade") is None


def test_binary_metadata(http, backend):
    got = seen(http, [("x-data-bin", base64.b64encode(b"\x00\xff").decode()), ("x-more-bin", base64.b64encode(b"abc").decode().rstrip("="))])
    assert got["x-data-bin"] == [b"\x00\xff"] and got["x-more-bin"] == [b"abc"]


@pytest.mark.parametrize("value,want", [("AP8=", [b"\x00\xff"]), ("_-8", [b"\xff\xef"]), ("YQ, Yg==,", [b"a", b"b", b""]), ("", [b""])])
def test_binary_metadata_reaches_the_backend_in_one_form(http, backend, value, want):
    """Lists and the alphabet of URLs are base64 too, but a gRPC server need not read them."""
    assert [v or b"" for v in seen(http, [("x-data-bin", value)])["x-data-bin"]] == want


def test_binary_metadata_that_is_not_base64_is_400(http, backend, gateway):
    with gateway.counts("BAD_METADATA"):
        r = http.request("GET", "/test/v1/metadata", [("x-data-bin", "?!")])
    assert r.status == 400 and r.json()["code"] == 3 and "x-data-bin" in r.json()["message"]
    assert not backend.calls


def test_values_outside_ascii_are_dropped_and_counted(http, backend, gateway):
    before = gateway.metric("transom_dropped_headers_total")
    got = seen(http, [("x-latin", "caf\xe9"), ("x-tab", "a\tb"), ("x-fine", "ok")])
    assert "x-latin" not in got and got["x-fine"] == ["ok"] and "x-tab" not in got
    assert gateway.metric("transom_dropped_headers_total") == before + 2


def test_cookie_crumbs_are_joined(backend, gateway):
    with H2(gateway.port) as c:
        assert seen(c, [("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3")])["cookie"] == ["a=1; b=2; c=3"]


def test_host_that_differs_from_authority_is_400(backend, gateway):
    with H2(gateway.port) as c:
        r = c.request("GET", "/test/v1/echo/x", [(":authority", "a.example"), (":method", "GET"), (":scheme", "http"), (":path", "/test/v1/echo/x"), ("host", "b.example")])
        assert r.status == 400 and not backend.calls
        r = c.request("GET", "/test/v1/echo/x", [(":authority", "a.example"), (":method", "GET"), (":scheme", "http"), (":path", "/test/v1/echo/x"), ("host", "a.example")])
        assert r.status == 200


def test_method_override_headers_mean_nothing(http, backend):
    r = http.request("POST", "/test/v1/nothing", [*JSON, ("x-http-method-override", "DELETE"), ("x-http-method", "DELETE")], "{}")
    assert r.status == 200 and backend.one_call().method == "Nothing"


# -- forwarded ---------------------------------------------------------------------------------------------------------------

def test_forwarded_headers_are_overwritten_by_default(http, backend):
    got = seen(http, [("x-forwarded-for", "1.2.3.4"), ("x-forwarded-proto", "https"), ("x-forwarded-host", "evil.example"), ("host" if isinstance(http, H1) else ":authority", "real.example")])
    assert got["x-forwarded-for"] == ["127.0.0.1"] and got["x-forwarded-proto"] == ["http"] and got["x-forwarded-host"] == ["real.example"]


def test_forwarded_headers_are_appended_under_trusted_hops(connect, gateways, backend):
    http = connect(gateways(trusted_hops=1))
    got = seen(http, [("x-forwarded-for", "1.2.3.4"), ("x-forwarded-for", "5.6.7.8"), ("x-forwarded-proto", "https"), ("x-forwarded-host", "front.example")])
    assert got["x-forwarded-for"] == ["1.2.3.4, 5.6.7.8, 127.0.0.1"]
    assert got["x-forwarded-proto"] == ["https"] and got["x-forwarded-host"] == ["front.example"]


def test_forwarded_headers_that_are_no_metadata_do_not_go_on(connect, gateways, backend):
    """Appending to such a line would make it one that gRPC refuses as a whole."""
    gateway = gateways(trusted_hops=1)
    got = seen(connect(gateway), [("x-forwarded-for", "caf\xe9"), ("x-forwarded-for", "1.2.3.4"), ("x-forwarded-proto", "\xe9"), ("x-forwarded-host", "\xe9")])
    assert got["x-forwarded-for"] == ["1.2.3.4, 127.0.0.1"] and got["x-forwarded-proto"] == ["http"]
    assert got["x-forwarded-host"] == [f"127.0.0.1:{gateway.port}"]


def test_of_several_lines_the_nearest_proxys_counts(connect, gateways, backend):
    """A proxy that adds a header instead of replacing it puts it behind what the client sent."""
    lines = [("x-forwarded-proto", "https"), ("x-forwarded-host", "evil.example"), ("x-forwarded-proto", "http"), ("x-forwarded-host", "front.example")]
    got = seen(connect(gateways(trusted_hops=1)), lines)
    assert got["x-forwarded-proto"] == ["http"] and got["x-forwarded-host"] == ["front.example"]


@pytest.mark.parametrize("hops", [0, 1])
def test_forwarded_headers_have_no_other_spelling(backend, gateways, hops):
    """Where '_' is '-' to a server, the client's word would stand beside the gateway's."""
    gateway = gateways(trusted_hops=hops)
    with H1(gateway.port) as c:
        got = seen(c, [("x_forwarded_for", "1.2.3.4"), ("X-Forwarded_Proto", "https"), ("x_forwarded-host", "evil.example"), ("x_forwarded", "kept")])
    assert {n: v for n, v in got.items() if "forwarded" in n} == {
        "x-forwarded-for": ["127.0.0.1"], "x-forwarded-proto": ["http"], "x-forwarded-host": [f"127.0.0.1:{gateway.port}"],
        "x_forwarded": ["kept"]}


def test_a_client_on_a_unix_socket_has_no_address(start, backend, tmp_path):
    import socket
    path = tmp_path / "s"
    start(base_config([backend.endpoint], listeners=[{"address": "127.0.0.1:0"}, {"address": f"unix:{path}"}]))
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(5)
        s.connect(str(path))
        s.sendall(b"GET /test/v1/metadata HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: s.recv(65536), b""))
    entries = {e["name"]: e.get("value") for e in json.loads(answer.split(b"\r\n\r\n", 1)[1])["entries"]}
    assert entries["x-forwarded-for"] == "unknown" and entries["x-forwarded-host"] == "a"


def test_request_id_is_made(http, backend):
    a, b = seen(http, [])["x-request-id"], seen(http, [])["x-request-id"]
    assert len(a) == 1 and len(a[0]) == 32 and a != b


@pytest.mark.parametrize("value", ["abc-123", "A" * 128, "!#$%&'*+.^_`|~"])
def test_request_id_is_kept(http, backend, value):
    assert seen(http, [("x-request-id", value)])["x-request-id"] == [value]


@pytest.mark.parametrize("value", ["", "a b", "A" * 129, "a,b", 'a"b'])
def test_bad_request_id_is_replaced(http, backend, value):
    got = seen(http, [("x-request-id", value)])["x-request-id"]
    assert len(got) == 1 and got != [value] and len(got[0]) == 32


def test_two_request_ids_are_none(http, backend):
    got = seen(http, [("x-request-id", "a"), ("x-request-id", "b")])["x-request-id"]
    assert len(got) == 1 and len(got[0]) == 32


def test_cookies_may_be_the_gateways_own(connect, gateways, backend):
    assert "cookie" not in seen(connect(gateways(identity_headers=["Cookie"])), [("cookie", "a=1"), ("cookie", "b=2")])


@pytest.mark.parametrize("name", ["x-user", "X-User", "x_user", "X_USER"])
def test_identity_headers_are_stripped_in_every_spelling(connect, gateways, backend, name):
    http = connect(gateways(identity_headers=["x-user"]))
    if name != name.lower() and isinstance(http, H2):
        name = name.lower()
    got = seen(http, [(name, "admin"), ("x-users", "kept")])
    assert got["x-users"] == ["kept"] and "admin" not in sum(got.values(), [])


def test_claims_that_are_no_header_value_are_dropped_and_counted(connect, gateways, backend):
    """No claim can begin another header; that it is missing is seen in the same counter as for headers of clients."""
    provider = {"issuer": "https://issuer.test", "audiences": ["books"], "algorithms": ["HS256"], "secret": "s" * 32,
                "claims_to_headers": {"sub": "x-sub", "name": "x-name", "plan": "x-plan"}}
    gateway = gateways(authentication={"providers": {"one": provider}}, policies={"*": {"authentication": {"any_of": ["one"]}}})
    claims = {"iss": "https://issuer.test", "aud": "books", "exp": int(time.time()) + 600, "sub": "a\r\nx-plan: gold", "name": "Jos\u00e9", "plan": "free"}
    before = gateway.metric("transom_dropped_headers_total")
    got = seen(connect(gateway), [("authorization", "Bearer " + jwt.encode(claims, "s" * 32, "HS256")), ("x-sub", "mallory"), ("x_name", "mallory")])
    assert got["x-plan"] == ["free"] and not {"x-sub", "x-name", "x_name"} & set(got)
    assert gateway.metric("transom_dropped_headers_total") == before + 2


def test_traceparent_passes(http, backend):
    value = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    assert seen(http, [("traceparent", value), ("tracestate", "a=b")])["traceparent"] == [value]


def test_authorization_passes(http, backend):
    assert seen(http, [("authorization", "Bearer x")])["authorization"] == ["Bearer x"]


# -- set and remove ------------------------------------------------------------------------------------------------------------

def test_set_and_remove_headers(connect, gateways, backend):
    http = connect(gateways(policies={"*": {"set_headers": {"request": {"x-set": "1"}, "response": {"x-answer": "2"}},
                                            "remove_headers": {"request": ["x-gone"], "response": ["x-init"]}}}))
    got = seen(http, [("x-set", "client"), ("x-gone", "1")], "/test/v1/metadata?initial[x-init]=a&initial[x-kept]=b")
    assert got["x-set"] == ["1"] and "x-gone" not in got
    r = http.request("GET", "/test/v1/metadata?initial[x-init]=a&initial[x-kept]=b")
    assert r.header("x-answer") == "2" and r.header("x-init") is None and r.header("x-kept") == "b"


def test_headers_are_set_on_every_answer(connect, gateways, backend):
    http = connect(gateways(policies={"*": {"set_headers": {"response": {"x-frame-options": "DENY"}}}}))
    for verb, target, headers, status in (("GET", "/test/v1/echo/x", [], 200), ("GET", "/test/v1/fail/5", [], 404), ("GET", "/nope", [], 404), ("PUT", "/test/v1/query", [], 405),
                                          ("OPTIONS", "/test/v1/query", [], 204), ("GET", "/test/v1/echo/%zz", [], 400), ("GET", "/test/v1/stream?count=1", [], 200),
                                          ("GET", "/test/v1/query", [("x-request-timeout", "soon")], 400), ("GET", "/test/v1/query", [("expect", "x")], 417)):
        r = http.request(verb, target, headers)
        assert r.status == status and r.header_list("x-frame-options") == ["DENY"], (target, r)
        if r.header("connection") == "close":
            http = connect(gateways(policies={"*": {"set_headers": {"response": {"x-frame-options": "DENY"}}}}))


def test_what_a_policy_removes_or_sets_does_not_come_as_a_trailer(connect, gateways, backend):
    """Trailing metadata of streams and of native gRPC: a name that the head must not have is not behind it either."""
    gateway = gateways(policies={"*": {"remove_headers": {"response": ["x-trailing", "x-inside"]}, "set_headers": {"response": {"x-served-by": "edge"}}}})
    r = connect(gateway).request("GET", "/test/v1/stream?count=1", [("te", "trailers")])
    assert r.status == 200 and r.trailer("grpc-status") == "0" and r.trailer("x-trailing") is None
    ask = types()["test.v1.MetadataRequest"](trailing={"x-inside": "host-7", "x-served-by": "host-7", "access-control-allow-origin": "*", "x-kept": "1"})
    for code in (0, 9):
        ask.code = code
        with H2(gateway.port) as c:
            r = c.request("POST", "/test.v1.EverythingService/Metadata", [("content-type", "application/grpc"), ("te", "trailers")], frame(ask.SerializeToString()))
        told = r.headers + r.trailers
        assert ("grpc-status", str(code)) in told and ("x-kept", "1") in told and [v for n, v in told if n == "x-served-by"] == ["edge"]
        assert not {n for n, _ in told} & {"x-inside", "access-control-allow-origin"}, told


def test_native_grpc_keeps_its_content_type(gateways, backend):
    """A policy holds for both dialects, and clients of native gRPC take no other type."""
    answers = []
    for change in ({"set_headers": {"response": {"content-type": "application/json; charset=utf-8", "x-set": "1"}}},
                   {"remove_headers": {"response": ["content-type"]}, "set_headers": {"response": {"x-set": "1"}}}):
        with H2(gateways(policies={"*": change}).port) as c:
            rest = c.request("GET", "/test/v1/echo/x")
            native = c.request("POST", "/test.v1.EverythingService/Echo", [("content-type", "application/grpc"), ("te", "trailers")], b"\0" * 5)
            refused = c.request("POST", "/test.v1.EverythingService/Nope", [("content-type", "application/grpc"), ("te", "trailers")], b"\0" * 5)
        answers.append(rest.header("content-type"))
        assert native.trailer("grpc-status") == "0" and refused.header("grpc-status") == "12"
        for r in (native, refused):
            assert r.header("content-type") == "application/grpc" and r.header("x-set") == "1"
    assert answers == ["application/json; charset=utf-8", None]


# -- answers -------------------------------------------------------------------------------------------------------------------

def test_initial_and_trailing_metadata_become_headers(http, backend):
    r = http.request("GET", "/test/v1/metadata?initial[x-a]=1&trailing[x-b]=2")
    assert r.header("x-a") == "1" and r.header("x-b") == "2"


def test_binary_metadata_of_answers_is_base64(http, backend):
    r = http.request("GET", "/test/v1/metadata?initialBin[x-a-bin]=AP8%3D&trailingBin[x-b-bin]=_w")
    for name, want in (("x-a-bin", b"\x00\xff"), ("x-b-bin", b"\xff")):
        value = r.header(name)
        assert base64.b64decode(value + "=" * (-len(value) % 4)) == want


def test_what_the_backend_says_of_an_error_is_not_said_twice(http, backend):
    r = http.request("GET", "/test/v1/metadata?initial[www-authenticate]=Basic&code=16")
    assert r.status == 401 and r.header_list("www-authenticate") == ["Basic"]


def test_grpc_headers_of_answers_stay_inside(http, backend):
    r = http.request("GET", "/test/v1/metadata?initial[x-a]=1")
    assert not [n for n, _ in r.headers if n.startswith("grpc-") or n in ("te", "trailer", "transfer-encoding", "connection")]
    assert r.header("content-type") == "application/json"


def test_a_backend_cannot_speak_for_the_connection(http, backend):
    """Not with headers of its metadata, leading or trailing; what is the gateway's stands once."""
    names = ("date", "proxy-authenticate", "content-encoding", "http2-settings", "trailer", "host")
    r = http.request("GET", "/test/v1/metadata?" + "&".join(f"{side}[{n}]=1" for side in ("initial", "trailing") for n in names) + "&initial[x-a]=1")
    assert r.status == 200 and r.header("x-a") == "1" and len(r.header_list("date")) == 1 and r.header("date") != "1"
    assert not {n for n, v in r.headers if n in names and v == "1"}


def test_metadata_of_errors(http, backend):
    r = http.request("GET", "/test/v1/metadata?initial[x-a]=1&trailing[x-b]=2&code=9")
    assert r.status == 400 and r.header("x-a") == "1" and r.header("x-b") == "2"


def test_date_is_always_sent(http, backend):
    for target in ("/test/v1/echo/x", "/nope", "/test/v1/stream?count=1"):
        assert len(http.request("GET", target).header_list("date")) == 1


def test_stream_trailers(http, backend):
    r = http.request("GET", "/test/v1/stream?count=1", [("te", "trailers")])
    assert r.trailer("grpc-status") == "0" and r.trailer("x-trailing") == "kept"


def test_http1_stream_without_te_has_no_trailers(backend, gateway):
    with H1(gateway.port) as c:
        r = c.request("GET", "/test/v1/stream?count=1")
    assert r.complete and r.trailers == []


def test_forwarded_proto_over_tls(start, backend, certificates):
    gateway = start(base_config([backend.endpoint], listeners=[{"address": "127.0.0.1:0", "tls": certificates.server("localhost")}]))
    with H2(gateway.port, tls=certificates.client_context(["h2"])) as c:
        assert seen(c, [])["x-forwarded-proto"] == ["https"]
    assert json.dumps(gateway.urls).count("https") == 1
