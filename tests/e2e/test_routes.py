"""Routes (SPEC §3): matching, verbs, captures, what is refused."""
import pytest

from env.build import wait_until
from env.gateway import base_config

JSON = [("content-type", "application/json")]


def get(http, target):
    return http.request("GET", target)


CAPTURES = [
    ("/test/v1/echo/plain", "plain"),
    ("/test/v1/echo/a%2Fb", "a/b"),
    ("/test/v1/echo/a%2fb", "a/b"),
    ("/test/v1/echo/%C3%A9", "é"),
    ("/test/v1/echo/a+b", "a+b"),
    ("/test/v1/echo/a:b", "a:b"),
    ("/test/v1/files/a/b/c", "a/b/c"),
    ("/test/v1/files/a%2Fb/c%20d", "a%2Fb/c d"),
    ("/test/v1/files/a%2fb", "a%2fb"),
    ("/test/v1/files/a//b", "a//b"),
    ("/test/v1/files/a/", "a/"),
    ("/test/v1/deep/a/x/b/y/z/end", "a/x/b/y/z"),
    ("/test/v1/deep/a/x/b/end", "a/x/b"),
    ("/test/v1/deep/a/x/b/end/end", "a/x/b/end"),
    ("/test/%761/echo/v", "v"),  # an escaped unreserved letter in a literal
]


@pytest.mark.parametrize("target,value", CAPTURES, ids=[c[0] for c in CAPTURES])
def test_captures(http, backend, target, value):
    r = get(http, target)
    assert r.status == 200 and r.json() == {"fString": value}, r


def test_two_segment_wildcard_matches_nothing_too(http, backend):
    assert get(http, "/test/v1/files").status == 200
    assert backend.one_call().request.f_string == ""


def test_nested_capture_with_verb(http, backend):
    assert get(http, "/test/v1/trees/t/oak:walk").json() == {"fNested": {"leaf": {"text": "t/oak"}}}


def test_verb_of_post(http, backend):
    r = http.request("POST", "/test/v1/echo/a:custom", JSON, '{"fInt32":1}')
    assert r.json() == {"fString": "a", "fInt32": 1}


def test_last_colon_divides(http, backend):
    r = http.request("POST", "/test/v1/echo/a:b:custom", JSON, "{}")
    assert r.json() == {"fString": "a:b"}


def test_verb_under_another_method_is_405(http, backend):
    r = get(http, "/test/v1/echo/a:custom")
    assert r.status == 405 and "POST" in r.header("allow")


def test_unregistered_verb_is_data(http, backend):
    assert get(http, "/test/v1/echo/a:nothing").json() == {"fString": "a:nothing"}


def test_custom_verb(http, backend):
    assert http.request("REPORT", "/test/v1/echo/r").json() == {"fString": "r"}


@pytest.mark.parametrize("verb", ["GET", "POST", "PUT", "DELETE", "PATCH", "PROPFIND", "X-ODD"])
def test_any_verb(http, backend, verb):
    r = http.request(verb, "/test/v1/any-verb/q", JSON, '{"fInt32":2}' if verb != "GET" else None)
    assert r.status == 200 and r.json()["fString"] == "q", r


NOT_FOUND = ["/", "/test", "/test/v1/echo/", "/test/v1/echo/a/", "/test/v1//echo", "//test/v1/echo", "/test/v1/echo/a/b/c",
             "/Test/v1/echo", "/test/v1/trees/t/oak", "/test/v1/trees/x/oak:walk", "/test/v1/deep/a/x/c/end",
             "/test.v1.EverythingService/Echo"]


@pytest.mark.parametrize("target", NOT_FOUND)
def test_unknown_path_is_404(http, backend, gateway, target):
    with gateway.counts("ROUTE_NOT_FOUND"):
        r = get(http, target)
    assert r.status == 404 and r.header("content-type") == "application/json"
    assert r.json()["code"] == 5 and not backend.calls


BAD_TARGETS = ["/test/v1/echo/..", "/test/v1/echo/.", "/test/v1/./echo", "/test/v1/../v1/echo", "/test/v1/echo/%2e%2e", "/test/v1/echo/%2E",
               "/test/v1/echo/.%2e", "/test/v1/echo/a%00b", "/test/v1/echo/%zz", "/test/v1/echo/%", "/test/v1/echo/%4",
               "/test/v1/echo/%ff", "/test/v1/echo/%c3%28", "/test/v1/files/%c3", "/test/v1/echo/a\"b", "/test/v1/echo/a<b", "/test/v1/echo/a\\b",
               "/test/v1/echo/a{b}", "/test/v1/echo/a^b", "/test/v1/echo/\xe9", "/test/v1/echo/a|b"]


@pytest.mark.parametrize("target", BAD_TARGETS, ids=[t.encode("ascii", "backslashreplace").decode() for t in BAD_TARGETS])
def test_bad_path_is_400(http, backend, gateway, target):
    with gateway.counts("BAD_TARGET"):
        r = get(http, target)
    assert r.status == 400 and r.json()["code"] == 3, r
    assert not backend.calls


def test_other_verb_is_405_with_allow(http, backend, gateway):
    with gateway.counts("METHOD_NOT_ALLOWED"):
        r = http.request("DELETE", "/test/v1/echo")
    assert r.status == 405 and r.json()["code"] == 12
    assert {v.strip() for v in r.header("allow").split(",")} == {"GET", "HEAD", "POST", "OPTIONS"}
    assert not backend.calls


def test_options_is_204_with_allow(http, backend):
    r = http.request("OPTIONS", "/test/v1/echo/x")
    assert r.status == 204 and r.body == b"" and r.header("content-length") is None
    assert {v.strip() for v in r.header("allow").split(",")} == {"GET", "HEAD", "REPORT", "OPTIONS"}


def test_options_of_an_unknown_path_is_404(http, backend):
    assert http.request("OPTIONS", "/nope").status == 404


def test_options_star(http, backend):
    r = http.request("OPTIONS", "*")
    assert r.status == 204 and not backend.calls


def test_other_methods_of_star_are_refused(http, backend):
    r = get(http, "*")
    assert r.status == 400 or r.reset == 1  # HTTP/2: malformed (RFC 9113 §8.3.1)
    assert not backend.calls


def test_head_where_get_is(http, backend):
    with_get = get(http, "/test/v1/echo/x")
    r = http.request("HEAD", "/test/v1/echo/x")
    assert r.status == 200 and r.body == b"" and r.complete
    assert r.header("content-length") == with_get.header("content-length")
    assert r.header("content-type") == "application/json"
    assert len(backend.calls) == 2


def test_head_of_an_error(http, backend):
    r = http.request("HEAD", "/test/v1/fail/5")
    assert r.status == 404 and r.body == b"" and int(r.header("content-length")) > 0
    assert http.request("HEAD", "/nope").status == 404


def test_head_where_only_post_is_is_405(http, backend):
    assert http.request("HEAD", "/test/v1/legacy").status == 405


def test_absolute_form(backend, gateway):
    from env.http1 import H1
    with H1(gateway.port) as c:
        r = c.request("GET", "http://other.example:81/test/v1/metadata", [("host", "ignored.example")])
    assert r.status == 200
    assert {"name": "x-forwarded-host", "value": "other.example:81"} in r.json()["entries"]


@pytest.mark.parametrize("target", ["test/v1/echo", "example.com:80", "ftp://x/test/v1/echo", "http:///test/v1/echo", "/test/v1/echo#frag"])
def test_other_forms_of_the_target_are_400(backend, gateway, target):
    from env.http1 import H1
    with H1(gateway.port) as c:
        r = c.request("GET", target)
    assert r.status == 400 and not backend.calls


def test_connect_is_refused(backend, gateway):
    from env.http1 import H1
    with H1(gateway.port) as c:
        r = c.request("CONNECT", "example.com:80")
    assert r.status in (400, 501) and not backend.calls


# -- from the configuration ---------------------------------------------------------------------------------------------

def test_http_rules_replace_the_annotation(connect, gateways, backend):
    http = connect(gateways(http_rules=[{"selector": "test.v1.EverythingService.Bare", "get": "/bare/{text}"},
                                        {"selector": "test.v1.EverythingService.EchoLegacy", "get": "/only/{id}"}]))
    assert get(http, "/bare/x").json() == {"text": "x"}
    assert get(http, "/only/y").json() == {"id": "y"}
    assert http.request("POST", "/test/v1/legacy", JSON, '{"id":"z"}').status == 404


def test_the_last_rule_of_a_selector_wins(connect, gateways, backend):
    http = connect(gateways(http_rules=[{"selector": "test.v1.EverythingService.Bare", "get": "/bare-one"},
                                        {"selector": "test.v1.EverythingService.Bare", "get": "/bare-two"}]))
    assert get(http, "/bare-one").status == 404
    assert get(http, "/bare-two").status == 200


def test_expose_all_gives_methods_without_a_rule_a_path(connect, gateways, backend):
    http = connect(gateways(services=[{"name": "test.v1.EverythingService", "upstream": "main", "expose": "all"}]))
    r = http.request("POST", "/test.v1.EverythingService/Bare", JSON, '{"text":"b"}')
    assert r.status == 200 and r.json() == {"text": "b"}
    assert http.request("GET", "/test.v1.EverythingService/Bare").status == 405


def test_path_prefix(connect, gateways, backend):
    http = connect(gateways(services=[{"name": "test.v1.EverythingService", "upstream": "main", "path_prefix": "/pre/fix"}]))
    assert get(http, "/pre/fix/test/v1/echo/x").json() == {"fString": "x"}
    assert get(http, "/test/v1/echo/x").status == 404


@pytest.mark.parametrize("unescape,want", [("all_except_slash", "a%2Fb c:d+é"), ("all_except_reserved", "a%2Fb c%3Ad%2Bé"), ("all", "a/b c:d+é")])
def test_path_unescape(connect, gateways, backend, unescape, want):
    http = connect(gateways(policies={"*": {"url_unescape": unescape}}))
    assert get(http, "/test/v1/files/a%2Fb%20c%3Ad%2B%C3%A9").json() == {"fString": want}


def test_conflict_first_wins_with_a_warning(start, backend):
    rules = [{"selector": "test.v1.EverythingService.EchoString", "get": "/same/{value}"},
             {"selector": "test.v1.EverythingService.Bare", "get": "/same/{text}"}]
    gateway = start(base_config([backend.endpoint], http_rules=rules, on_route_conflict="first"))
    wait_until("both methods are named", lambda: "test.v1.EverythingService.Bare" in gateway.stderr and "test.v1.EverythingService.EchoString" in gateway.stderr)
    from env.http1 import H1
    with H1(gateway.port) as http:
        assert get(http, "/same/x").json() == "x"


def test_health_on_a_public_listener(connect, gateways, backend):
    http = connect(gateways(listeners=[{"address": "127.0.0.1:0", "health": True}]))
    assert (get(http, "/healthz").status, get(http, "/readyz").status) == (200, 200)


def test_health_is_not_public_by_default(http, backend):
    assert get(http, "/healthz").status == 404
