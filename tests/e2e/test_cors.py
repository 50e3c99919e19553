"""CORS (SPEC §10, contrib/doc/cors.md): preflights, and the headers of every answer, over HTTP/1.1, HTTP/2 and native gRPC."""
import json
import time
from urllib.parse import urlencode

import jwt
import pytest

from env.gateway import base_config, run
from env.http2 import H2
from env.messages import types
from env.scripted import frame

SERVICE = "test.v1.EverythingService"
APP = "https://app.example.com"
CONFIG = {
    "limits": {"max_path_bytes": 1024},
    "policies": {
        "*": {"cors": {"origins": ["https://fallback.example.com", "null"]}},
        SERVICE + ".Echo": {"cors": {"origins": [APP, "https://*.dev.example.com"], "credentials": True, "max_age": "90s",
                                     "expose_headers": ["x-request-id", "grpc-status"]}},
        SERVICE + ".Patch": {"cors": {"origins": [APP], "allow_headers": ["Authorization", "X-One"]}},
        SERVICE + ".Metadata": {"cors": {"origins": ["*"], "max_age": "0s"}},
        SERVICE + ".Query": {"cors": "none"},
        SERVICE + ".Nothing": {"cors": {"origins": [APP]}},
        SERVICE + ".GetFile": {"cors": {"origins": [APP, "https://both.example.com"]}},
        SERVICE + ".PutFile": {"cors": {"origins": ["https://other.example.com", "https://both.example.com"], "credentials": True}},
        SERVICE + ".Shadow": {"cors": {"origins": [APP]}, "ip": {"deny": ["127.0.0.1"]}},
        SERVICE + ".Down": {"cors": {"origins": [APP], "expose_headers": ["x-one"]}},
        SERVICE + ".Bare": {"cors": {"origins": [APP]}},
        SERVICE + ".Fail": {"cors": {"origins": [APP]}},
    },
}


def cors(response):
    return {n: v for n, v in response.headers if n.startswith("access-control-")}


def vary(response):
    return {v.strip().lower() for v in response.header("vary", "").split(",") if v.strip()}


def ask(http, target, method="GET", origin=APP, headers=()):
    return http.request("OPTIONS", target, [("origin", origin), ("access-control-request-method", method), *headers])


# -- preflights -----------------------------------------------------------------------------------------------------------------

def test_a_preflight_is_answered_from_the_route_table(http, backend):
    r = ask(http, "/test/v1/echo/x", headers=[("access-control-request-headers", "authorization,x-one")])
    assert r.status == 204 and r.body == b"" and not backend.calls
    got = cors(r)
    assert got.pop("access-control-allow-methods").split(", ")[0] == "GET"
    assert got == {"access-control-allow-origin": APP, "access-control-allow-credentials": "true",
                   "access-control-allow-headers": "authorization,x-one", "access-control-max-age": "90"}
    assert vary(r) >= {"origin", "access-control-request-method", "access-control-request-headers"}


@pytest.mark.parametrize("method", ["PATCH", "DELETE", "PUT", "REPORT", "POST"])
def test_methods_of_the_path_are_listed(http, backend, method):
    target = {"PATCH": "/test/v1/patch/5", "DELETE": "/test/v1/nothing", "PUT": "/test/v1/echo/5/leaf/6", "REPORT": "/test/v1/echo/x",
              "POST": "/test/v1/echo"}[method]
    r = ask(http, target, method)
    assert r.status == 204 and cors(r)["access-control-allow-origin"] == APP
    assert method in cors(r)["access-control-allow-methods"].split(", ")
    if method == "REPORT":
        assert {"GET", "HEAD", "REPORT"} <= set(cors(r)["access-control-allow-methods"].split(", "))


def test_a_method_whose_own_policy_is_closed_is_not_listed(http, backend):
    """A browser remembers the list for the whole path."""
    r = ask(http, "/test/v1/raw/name", "GET")
    assert set(cors(r)["access-control-allow-methods"].split(", ")) == {"GET", "HEAD"}
    assert cors(ask(http, "/test/v1/raw/name", "PUT")) == {}
    r = ask(http, "/test/v1/raw/name", "PUT", "https://other.example.com")
    assert cors(r)["access-control-allow-methods"] == "PUT"
    for method in ("GET", "PUT"):  # both are open to it, but not on the same terms
        r = ask(http, "/test/v1/raw/name", method, "https://both.example.com")
        assert set(cors(r)["access-control-allow-methods"].split(", ")) == {"GET": {"GET", "HEAD"}, "PUT": {"PUT"}}[method]
        assert (cors(r).get("access-control-allow-credentials") == "true") == (method == "PUT")


@pytest.mark.parametrize("origin", ["https://evil.example.com", "http://app.example.com", "https://app.example.com.evil.com", APP + ":8443", "null", "",
                                    "https://dev.example.com", "https://evil.com/.dev.example.com", "https://App.example.com", APP + ", " + APP])
def test_a_disallowed_preflight_is_204_without_them(http, backend, origin):
    r = ask(http, "/test/v1/echo/x", origin=origin)
    assert r.status == 204 and cors(r) == {} and not backend.calls
    assert "origin" in vary(r)


def test_two_origins_are_none(http, backend):
    r = http.request("OPTIONS", "/test/v1/echo/x", [("origin", APP), ("origin", APP), ("access-control-request-method", "GET")])
    assert r.status == 204 and cors(r) == {}


@pytest.mark.parametrize("origin", ["https://a.dev.example.com", "https://a.b.dev.example.com"])
def test_a_star_stands_for_labels(http, backend, origin):
    assert cors(ask(http, "/test/v1/echo/x", origin=origin))["access-control-allow-origin"] == origin


def test_all_origins(http, backend):
    r = ask(http, "/test/v1/metadata", origin="https://anyone.example")
    assert cors(r) == {"access-control-allow-origin": "*", "access-control-allow-methods": cors(r)["access-control-allow-methods"],
                       "access-control-max-age": "0"}
    assert set(cors(r)["access-control-allow-methods"].split(", ")) == {"GET", "HEAD", "POST"}


def test_headers_of_the_policy_replace_those_asked_for(http, backend):
    r = ask(http, "/test/v1/patch/5", "PATCH", headers=[("access-control-request-headers", "x-two")])
    assert cors(r)["access-control-allow-headers"] == "Authorization, X-One"


@pytest.mark.parametrize("asked", ["x one", "x-one: 1", "x-one;y", "\"x\"", "x" * 1025, ","])
def test_what_is_no_list_of_names_is_not_reflected(http, backend, asked):
    r = ask(http, "/test/v1/echo/x", headers=[("access-control-request-headers", asked)])
    assert r.status == 204 and cors(r)["access-control-allow-origin"] == APP
    assert cors(r).get("access-control-allow-headers", ",") == ","


def test_a_preflight_without_a_cors_policy_is_an_ordinary_options(http, backend):
    r = ask(http, "/test/v1/query")
    assert r.status == 204 and set(r.header("allow").split(", ")) == {"GET", "HEAD", "OPTIONS"} and "access-control-allow-methods" not in cors(r)


def test_a_preflight_for_a_method_that_is_not_routed(http, backend):
    r = ask(http, "/test/v1/echo/x", "DELETE")
    assert r.status == 204 and r.header("allow") and "access-control-allow-methods" not in cors(r)


@pytest.mark.parametrize("method", ["GET, PUT", "", "G T", "\xe9"])
def test_what_is_no_method_is_not_allowed(http, backend, method):
    """Where a route takes any verb."""
    r = ask(http, "/test/v1/any-verb/x", method)
    assert r.status == 204 and cors(r) == {}
    assert cors(ask(http, "/test/v1/any-verb/x", "CHECKOUT"))["access-control-allow-methods"].startswith("CHECKOUT, ")


@pytest.mark.parametrize("missing", ["origin", "access-control-request-method"])
def test_options_that_is_no_preflight(http, backend, missing):
    headers = [h for h in [("origin", APP), ("access-control-request-method", "GET")] if h[0] != missing]
    r = http.request("OPTIONS", "/test/v1/echo/x", headers)
    assert r.status == 204 and "GET" in r.header("allow") and "access-control-allow-methods" not in cors(r)


def test_options_that_is_mapped(http, backend):
    """A preflight is one also where another method maps OPTIONS."""
    r = ask(http, "/test/v1/any-verb/x", "OPTIONS")
    assert r.status == 204 and cors(r)["access-control-allow-origin"] == APP and not backend.calls
    r = http.request("OPTIONS", "/test/v1/any-verb/x", [("origin", APP)])
    assert r.status == 200 and cors(r)["access-control-allow-origin"] == APP
    backend.one_call()


def test_unknown_paths_and_bad_ones(http, backend):
    assert ask(http, "/nowhere").status == 404
    assert ask(http, "/test/v1/echo/%zz").status == 400


def test_ip_rules_come_first(http, backend):
    r = ask(http, "/test/v1/shadow")
    assert r.status == 403 and r.json()["details"][0]["reason"] == "IP_DENIED"
    assert cors(r) == {"access-control-allow-origin": APP}


def test_preflights_are_counted_and_no_request_of_the_route(http, backend, gateway):
    before = [gateway.metric("transom_cors_preflights_total", result=r) for r in ("allowed", "refused")]
    route = gateway.metric("transom_requests_total", route="/test/v1/echo/{f_string}")
    ask(http, "/test/v1/echo/x")
    ask(http, "/test/v1/echo/x", origin="https://evil.example.com")
    ask(http, "/test/v1/echo/x")
    assert [gateway.metric("transom_cors_preflights_total", result=r) for r in ("allowed", "refused")] == [before[0] + 2, before[1] + 1]
    assert gateway.metric("transom_requests_total", route="/test/v1/echo/{f_string}") == route


def test_a_preflight_with_a_body(http, backend):
    headers = [("origin", APP), ("access-control-request-method", "POST"), ("content-type", "application/json")]
    r = http.request("OPTIONS", "/test/v1/echo", headers, b"{}" * 100)
    assert r.status == 204 and cors(r)["access-control-allow-origin"] == APP
    assert http.request("GET", "/test/v1/echo/x").status == 200


# -- answers --------------------------------------------------------------------------------------------------------------------

def get(http, target, origin=APP, method="GET", headers=(), body=None):
    return http.request(method, target, [*([("origin", origin)] if origin else []), *headers], body)


def test_an_answer(http, backend):
    r = get(http, "/test/v1/echo/x")
    assert r.status == 200
    assert cors(r) == {"access-control-allow-origin": APP, "access-control-allow-credentials": "true",
                       "access-control-expose-headers": "x-request-id, grpc-status"}
    assert vary(r) == {"accept", "origin"} and len(r.header_list("vary")) == 1


@pytest.mark.parametrize("origin", [None, "https://evil.example.com", "null"])
def test_others_are_served_without_the_headers(http, backend, origin):
    r = get(http, "/test/v1/echo/x", origin)
    assert r.status == 200 and cors(r) == {} and "origin" in vary(r)


def test_refusals_have_them_too(http, backend):
    for target, status in (("/test/v1/echo/x?nope=1", 400), ("/test/v1/fail/5", 404), ("/test/v1/fail/13", 500), ("/test/v1/shadow", 403)):
        r = get(http, target)
        assert r.status == status and cors(r)["access-control-allow-origin"] == APP, r
        assert "origin" in vary(r)
    r = get(http, "/test/v1/echo", method="POST", headers=[("content-type", "text/plain")], body=b"x")
    assert r.status == 415 and cors(r)["access-control-allow-origin"] == APP
    r = get(http, "/test/v1/echo/x", headers=[("grpc-timeout", "x")])
    assert r.status == 400 and cors(r)["access-control-allow-origin"] == APP


@pytest.mark.parametrize("target,method,status", [("/nowhere", "GET", 404), ("/test/v1/echo/x", "DELETE", 405), ("/test/v1/echo/%zz", "GET", 400),
                                                  ("/" + "x" * 1100, "GET", 414)], ids=["unknown", "verb", "target", "long"])
def test_without_a_route_the_default_policy_holds(connect, gateway, backend, version, target, method, status):
    blind = status == 414 and version == "h1"  # HTTP/1.1 refuses it before there are headers
    for origin in ("https://fallback.example.com", "null", APP):
        r = get(connect(gateway), target, origin, method)
        assert r.status == status and cors(r) == ({} if blind or origin == APP else {"access-control-allow-origin": origin}), r


def test_the_backends_own_headers_are_dropped(http, backend):
    told = [("initial[access-control-allow-origin]", "https://backend.example"), ("initial[access-control-allow-methods]", "GET"),
            ("initial[x-kept]", "1"), ("initial[vary]", "x-one"), ("trailing[access-control-allow-credentials]", "true")]
    r = get(http, "/test/v1/metadata?" + urlencode(told))
    assert r.status == 200 and r.header("x-kept") == "1"
    assert cors(r) == {"access-control-allow-origin": "*"}
    assert {"origin", "x-one"} <= vary(r)
    r = get(http, "/test/v1/metadata?" + urlencode(told), None)
    assert cors(r) == {}


def test_without_a_policy_the_backends_are_dropped_too(connect, gateways, backend):
    """What no policy opens, no backend opens."""
    told = [("initial[access-control-allow-origin]", "*"), ("initial[x-kept]", "1"), ("trailing[access-control-expose-headers]", "x")]
    for changes in ({}, {"policies": {"*": {"cors": {"origins": [APP]}}, SERVICE + ".Metadata": {"cors": "none"}}}):
        for origin in (APP, None):
            r = get(connect(gateways(**changes)), "/test/v1/metadata?" + urlencode(told), origin)
            assert r.status == 200 and r.header("x-kept") == "1" and cors(r) == {} and "origin" not in vary(r)


def test_an_operators_vary_joins_the_others(connect, gateways, backend):
    """A cache that does not know of Origin would give one site the answer that was made for another."""
    http = connect(gateways(policies={"*": {"cors": {"origins": [APP]}, "set_headers": {"response": {"vary": "Accept-Encoding, accept"}}}}))
    for target in ("/test/v1/echo/x", "/nowhere", "/test/v1/metadata?" + urlencode([("initial[vary]", "x-one"), ("trailing[vary]", "X-ONE, x-two")])):
        words = vary(get(http, target))
        assert {"accept-encoding", "accept", "origin"} <= words and ("metadata" not in target or {"x-one", "x-two"} <= words)
    got = [v.strip().lower() for v in get(http, target).header("vary").split(",")]
    assert len(got) == len(set(got))


def test_a_vary_of_everything_stays(http, backend):
    r = get(http, "/test/v1/metadata?" + urlencode([("initial[vary]", "*")]))
    assert "*" in vary(r)


@pytest.mark.parametrize("accept", ["application/json", "application/x-ndjson", "text/event-stream"])
def test_streams(http, backend, accept):
    r = get(http, "/test/v1/stream?count=3", headers=[("accept", accept)])
    assert r.status == 200 and r.complete
    assert cors(r) == {"access-control-allow-origin": APP, "access-control-expose-headers": "x-one"} and "origin" in vary(r)


def test_head(http, backend):
    r = get(http, "/test/v1/echo/x", method="HEAD")
    assert r.status == 200 and cors(r)["access-control-allow-origin"] == APP


# -- native gRPC from scripts ------------------------------------------------------------------------------------------------------

NATIVE = [("content-type", "application/grpc"), ("te", "trailers")]


def test_native_grpc(gateway, backend):
    with H2(gateway.port) as c:
        r = ask(c, f"/{SERVICE}/Echo", "POST", headers=[("access-control-request-headers", "content-type,te")])
        assert r.status == 204 and cors(r)["access-control-allow-methods"] == "POST"
        assert cors(r)["access-control-allow-headers"] == "content-type,te"
        message = types()["test.v1.Everything"](f_string="x").SerializeToString()
        r = c.request("POST", f"/{SERVICE}/Echo", [*NATIVE, ("origin", APP)], frame(message))
        assert r.status == 200 and r.trailer("grpc-status") == "0" and r.body == frame(message)
        assert cors(r) == {"access-control-allow-origin": APP, "access-control-allow-credentials": "true",
                           "access-control-expose-headers": "x-request-id, grpc-status"}
        assert "origin" in vary(r)
        # refusals: trailers-only
        fail = types()["test.v1.FailRequest"](code=5, message="no").SerializeToString()
        r = c.request("POST", f"/{SERVICE}/Fail", [*NATIVE, ("origin", APP)], frame(fail))
        assert (r.header("grpc-status") or r.trailer("grpc-status")) == "5" and cors(r)["access-control-allow-origin"] == APP
        r = c.request("POST", f"/{SERVICE}/Shadow", [*NATIVE, ("origin", APP)], frame(b""))
        assert r.header("grpc-status") == "7" and cors(r)["access-control-allow-origin"] == APP
        # not exposed, or not the asked method
        assert ask(c, f"/{SERVICE}/NoSuch", "POST").status == 404
        assert ask(c, f"/{SERVICE}/Echo", "GET").status == 404


def test_native_grpc_streams(gateway, backend):
    with H2(gateway.port) as c:
        message = types()["test.v1.StreamRequest"](count=3).SerializeToString()
        r = c.request("POST", f"/{SERVICE}/Down", [*NATIVE, ("origin", APP)], frame(message))
        assert r.trailer("grpc-status") == "0" and cors(r)["access-control-allow-origin"] == APP


# -- authentication comes after ------------------------------------------------------------------------------------------------------

SECRET = "s" * 32


@pytest.fixture
def guarded(gateways):
    provider = {"issuer": "https://issuer.test", "audiences": ["books"], "algorithms": ["HS256"], "secret": SECRET}
    return gateways(authentication={"providers": {"one": provider}},
                    policies={"*": {"authentication": {"any_of": ["one"]}, "cors": {"origins": [APP], "credentials": True},
                                    "quotas": [{"name": "all", "limit": 1000, "window": "60s"}]}})


def token():
    return jwt.encode({"iss": "https://issuer.test", "aud": "books", "sub": "alice", "exp": int(time.time()) + 600}, SECRET, "HS256")


def test_a_preflight_needs_no_token_and_charges_no_quota(connect, guarded, backend):
    http = connect(guarded)
    before = guarded.metric("transom_quota_decisions_total")
    r = ask(http, "/test/v1/echo/x", headers=[("access-control-request-headers", "authorization")])
    assert r.status == 204 and cors(r)["access-control-allow-headers"] == "authorization" and cors(r)["access-control-allow-origin"] == APP
    assert guarded.metric("transom_quota_decisions_total") == before and not backend.calls


def test_a_script_sees_why_it_was_refused(connect, guarded, backend):
    http = connect(guarded)
    for headers in ([], [("authorization", "Bearer x.y.z")]):
        r = get(http, "/test/v1/echo/x", headers=headers)
        assert r.status == 401 and cors(r) == {"access-control-allow-origin": APP, "access-control-allow-credentials": "true"}, r
    r = get(http, "/test/v1/echo/x", headers=[("authorization", "Bearer " + token())])
    assert r.status == 200 and cors(r)["access-control-allow-origin"] == APP


def test_native_grpc_with_authentication(guarded, backend):
    with H2(guarded.port) as c:
        assert cors(ask(c, f"/{SERVICE}/Echo", "POST"))["access-control-allow-methods"] == "POST"
        r = c.request("POST", f"/{SERVICE}/Echo", [*NATIVE, ("origin", APP)], frame(b""))
        assert r.header("grpc-status") == "16" and cors(r)["access-control-allow-origin"] == APP
        assert not backend.calls


# -- load ---------------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("policy,reason", [
    ({"origins": ["*"], "credentials": True}, '"*" does not go with credentials'),
    ({"origins": ["app.example.com"]}, "is no origin"),
    ({"origins": ["https://app.example.com/path"]}, "is no origin"),
    ({"origins": ["https://*"]}, "is no origin"),
    ({"origins": [APP], "allow_headers": ["x one"]}, "is no name of a header"),
    ({"origins": [APP], "allow_headers": ["*"]}, "leave it empty"),
    ({"origins": [APP], "expose_headers": ["*"], "credentials": True}, "name the headers"),
])
def test_mistakes_are_found_at_load(tmp_path, policy, reason):
    path = tmp_path / "c.json"
    path.write_text(json.dumps(base_config(["127.0.0.1:1"], policies={"test.v1.*": {"cors": policy}})))
    done = run("check", "--config", path)
    lines = [line for line in (done.stdout + done.stderr).splitlines() if reason in line]
    assert done.returncode == 1 and len(lines) == 1 and "/policies/test.v1.*/cors" in lines[0], done.stdout + done.stderr


@pytest.mark.parametrize("policy,reason", [({"origins": [APP, "null"], "credentials": True}, 'whose origin is "null"'), ({"origins": [APP, "null"]}, None),
                                           ({"credentials": True}, "no origin is let in"), ("none", None), ({"origins": [APP], "credentials": True}, None)])
def test_what_is_probably_not_meant_is_told_at_load(tmp_path, policy, reason):
    path = tmp_path / "c.json"
    path.write_text(json.dumps(base_config(["127.0.0.1:1"], policies={"test.v1.*": {"cors": policy}})))
    done = run("check", "--config", path)
    lines = [line for line in (done.stdout + done.stderr).splitlines() if "warning: /policies" in line]
    assert done.returncode == 0 and len(lines) == (1 if reason else 0), done.stdout + done.stderr
    assert not reason or (reason in lines[0] and "/policies/test.v1.*/cors" in lines[0])
