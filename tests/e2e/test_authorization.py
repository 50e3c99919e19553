"""Who may do what: scopes, claims and consumers, decided for the method that will be called."""
import hashlib
import json

import grpc
import pytest

from env.gateway import base_config
from env.http1 import H1
from env.issuer import Issuer
from test_native_grpc import OPTIONS, Stub, msg

METHOD = "test.v1.EverythingService."


@pytest.fixture(scope="module")
def issuer():
    made = Issuer()
    yield made
    made.stop()


def config(backend, issuer, rule=None, authentication=None, methods=None):
    """Tokens of the issuer; `rule` is what all methods ask for, `methods` what some do."""
    provider = {"issuer": issuer.issuer, "audiences": ["books"], "jwks": {"inline": issuer.body("/keys")}}
    return base_config([backend.endpoint], workers=1, authentication={"providers": {"one": provider}, **(authentication or {})}, policies={
        "*": {"authentication": {"any_of": ["one"]}, **({"authorization": rule} if rule else {})},
        **{METHOD + name: {"authorization": right} for name, right in (methods or {}).items()}})


def ask(http, headers=(), method="GET", target="/test/v1/echo", **options):
    return http.request(method, target, list(headers), timeout=20, **options)


SCOPES = {"scopes": ["read", "write"]}
ANY = {"any_scope": ["write", "admin"]}
PLAN = {"claims": {"plan": ["gold", "platinum"]}}
NESTED = {"claims": {"realm_access.roles": "editor"}}
BOTH = {"scopes": ["read"], **PLAN}


@pytest.mark.parametrize("rule, claims, may", [
    (SCOPES, dict(scope="read write"), True), (SCOPES, dict(scope="write x read"), True), (SCOPES, dict(scope="read"), False),
    (SCOPES, dict(scope="readwrite"), False), (SCOPES, dict(scope="read,write"), False), (SCOPES, {}, False),
    (SCOPES, dict(scp=["read", "write"]), True), (SCOPES, dict(scp="read write"), True), (SCOPES, dict(scope="read", scp=["write"]), True),
    (SCOPES, dict(scope=["read", "write"]), True), (SCOPES, dict(scp=["read"]), False), (SCOPES, dict(scopes=["read", "write"]), False),
    (ANY, dict(scope="admin"), True), (ANY, dict(scope="read write"), True), (ANY, dict(scope="read"), False),
    (PLAN, dict(plan="gold"), True), (PLAN, dict(plan=["free", "platinum"]), True), (PLAN, dict(plan="golden"), False),
    (PLAN, dict(plan=["free"]), False), (PLAN, dict(plan={"gold": True}), False), (PLAN, {}, False),
    (NESTED, dict(realm_access={"roles": ["reader", "editor"]}), True), (NESTED, dict(realm_access={"roles": []}), False),
    (NESTED, dict(realm_access="editor"), False), (NESTED, dict(roles="editor"), False),
    ({"claims": {"verified": "true", "level": "3"}}, dict(verified=True, level=3), True),
    ({"claims": {"verified": "true", "level": "3"}}, dict(verified=False, level=3), False),
    (BOTH, dict(scope="read", plan="gold"), True), (BOTH, dict(scope="read", plan="free"), False), (BOTH, dict(scope="x", plan="gold"), False),
])
def test_rights_of_tokens(gateways, connect, backend, issuer, rule, claims, may):
    c = config(backend, issuer, rule)
    gateway = gateways(authentication=c["authentication"], policies=c["policies"])
    if may:
        assert ask(connect(gateway), issuer.bearer(**claims)).status == 200
        backend.one_call()
        return
    with gateway.counts("PERMISSION_DENIED"):
        r = ask(connect(gateway), issuer.bearer(**claims))
    assert r.status == 403 and r.json()["code"] == 7 and r.json()["details"][0]["reason"] == "PERMISSION_DENIED"
    assert r.header("www-authenticate") == 'Bearer realm="transom", error="insufficient_scope"' and not backend.calls


def test_scopes_of_the_client_change_nothing(gateways, connect, backend, issuer):
    """A right comes from what was verified: not from a header, a query or another token."""
    c = config(backend, issuer, SCOPES)
    http = connect(gateways(authentication=c["authentication"], policies=c["policies"]))
    for headers in ([("scope", "read write")], [("x-auth-scopes", "read write")], [("authorization", "Bearer " + issuer.token(scope="read write"))]):
        assert ask(http, [*issuer.bearer(scope="read"), *headers]).status == 403, headers
    assert not backend.calls


def test_nobody_has_no_rights(start, connect, backend, issuer):
    c = config(backend, issuer, SCOPES)
    c["policies"]["*"]["authentication"]["allow_missing"] = True
    c["policies"][METHOD + "Query"] = {"authorization": "none"}
    gateway = start(c)
    http = connect(gateway)
    r = ask(http)
    assert r.status == 401 and r.json()["details"][0]["reason"] == "AUTH_MISSING" and r.header("www-authenticate") == 'Bearer realm="transom"'
    assert ask(http, target="/test/v1/query").status == 200 and len(backend.calls) == 1
    assert gateway.metric("transom_authorization_decisions_total", result="denied") == 1


def test_consumers_of_keys(start, connect, backend, issuer, tmp_path):
    (tmp_path / "keys.json").write_text(json.dumps({"keys": [
        {"sha256": hashlib.sha256(name.encode()).hexdigest(), "consumer": name} for name in ("acme", "other", "acme2")]}))
    c = config(backend, issuer, {"consumers": ["acme", "partner"]}, {"api_keys": {"file": str(tmp_path / "keys.json")}})
    c["policies"]["*"]["authentication"]["any_of"] = ["one", "api_key"]
    http = connect(start(c))
    assert ask(http, [("x-api-key", "acme")]).status == 200
    for key in ("other", "acme2"):
        r = ask(http, [("x-api-key", key)])
        assert r.status == 403 and r.header("www-authenticate") is None  # RFC 6750 is of tokens
    assert ask(http, issuer.bearer(sub="acme", consumer="acme")).status == 403  # a token is of no consumer


def test_rights_of_two_credentials_add_up(start, connect, backend, issuer, tmp_path):
    (tmp_path / "keys.json").write_text(json.dumps({"keys": [
        {"sha256": hashlib.sha256(b"k").hexdigest(), "consumer": "acme", "scopes": ["write"]}]}))
    c = config(backend, issuer, {**SCOPES, "consumers": ["acme"]}, {"api_keys": {"file": str(tmp_path / "keys.json")}})
    c["policies"]["*"]["authentication"] = {"all_of": ["one", "api_key"]}
    http = connect(start(c))
    assert ask(http, [*issuer.bearer(scope="read"), ("x-api-key", "k")]).status == 200
    assert ask(http, [*issuer.bearer(scope="x"), ("x-api-key", "k")]).status == 403


# -- the method that will be called ----------------------------------------------------------------------------------------------


@pytest.fixture
def guarded(gateways, backend, issuer):
    """Everybody with a token may all but Echo and Down, which need a scope."""
    c = config(backend, issuer, methods={"Echo": {"scopes": ["write"]}, "Down": {"scopes": ["write"]}})
    return gateways(authentication=c["authentication"], policies=c["policies"])


JSON = [("content-type", "application/json")]
OVERRIDES = [("x-http-method-override", "GET"), ("x-http-method", "GET"), ("x-method-override", "GET"),
             ("x-original-url", "/test/v1/query"), ("x-rewrite-url", "/test/v1/query"), ("x-forwarded-prefix", "/test/v1/query")]


@pytest.mark.parametrize("method, target, body", [
    ("GET", "/test/v1/echo", None), ("HEAD", "/test/v1/echo", None), ("POST", "/test/v1/echo", b"{}"),
    ("GET", "/test/v1/%65cho", None), ("GET", "/test/%76%31/echo", None), ("GET", "/test/v1/echo/x", None), ("GET", "/test/v1/echo/%78", None),
    ("POST", "/test/v1/echo/x/strings", b'["a"]'), ("PUT", "/test/v1/echo/1/leaf/2", b"{}"), ("GET", "/test/v1/echo?f_string=/test/v1/query", None),
])
def test_every_way_to_a_method_asks_for_its_rights(guarded, connect, backend, issuer, method, target, body):
    http, options = connect(guarded), {"body": body} if body else {}
    headers = JSON if body else []
    for more in [[], *[[o] for o in OVERRIDES]]:
        r = ask(http, [*issuer.bearer(scope="read"), *headers, *more], method, target, **options)
        assert r.status == 403, (more, r)
    assert not backend.calls
    assert ask(http, [*issuer.bearer(scope="write"), *headers], method, target, **options).status == 200
    assert backend.one_call().method == "Echo"


def test_a_path_that_leads_elsewhere_asks_for_what_is_there(guarded, connect, backend, issuer):
    """Dots and doubled slashes are not resolved, so no path is judged as one and called as another."""
    http = connect(guarded)
    for target in ("/test/v1/query/../echo", "/test/v1/query/%2e%2e/echo", "/test/v1//echo", "//test/v1/echo", "/test/v1/echo/.", "/test/v1/./echo",
                   "/test/v1/query/..%2fecho", "/test/v1/echo;x=y", "/TEST/v1/echo"):
        ask(http, issuer.bearer(scope="read"), target=target)
    assert not any(call.method == "Echo" for call in backend.calls)


def test_native_grpc_has_the_same_rights(guarded, backend, issuer):
    with grpc.insecure_channel(f"127.0.0.1:{guarded.port}", OPTIONS) as channel:
        stub, reader, writer = Stub(channel), issuer.bearer(scope="read"), issuer.bearer(scope="write")
        for call in (lambda m: stub.Echo(msg("Everything"), timeout=20, metadata=m),
                     lambda m: list(stub.Down(msg("StreamRequest", count=2), timeout=20, metadata=m))):
            for metadata, code in ((reader, grpc.StatusCode.PERMISSION_DENIED), ([], grpc.StatusCode.UNAUTHENTICATED)):
                with pytest.raises(grpc.RpcError) as e:
                    call(metadata)
                assert e.value.code() == code
            reached = len(backend.calls)
            call(writer)
            assert len(backend.calls) == reached + 1
        stub.Query(msg("QueryRequest"), timeout=20, metadata=reader)


def test_a_native_call_in_another_spelling_is_not_found(guarded, backend, issuer):
    from env.http2 import H2
    headers = [*issuer.bearer(scope="read"), ("content-type", "application/grpc"), ("te", "trailers")]
    with H2(guarded.port) as http:
        for path in ("/test.v1.EverythingService/%45cho", "/test.v1.everythingservice/Echo", "//test.v1.EverythingService/Echo",
                     "/test.v1.EverythingService/Echo/"):
            r = http.request("POST", path, headers, b"\0\0\0\0\0", timeout=20)
            assert r.header("grpc-status") == "12" or r.status in (404, 501), (path, r)
    assert not backend.calls


# -- policies ----------------------------------------------------------------------------------------------------------------------


def test_a_method_may_ask_for_more_or_for_nothing(start, backend, issuer):
    c = config(backend, issuer, {"scopes": ["read"]}, methods={"Echo": {"scopes": ["write"]}, "Query": "none"})
    c["policies"][METHOD + "Nothing"] = {"authorization": {"claims": {"plan": "gold"}}}  # beside the inherited scope
    with H1(start(c).port) as http:
        assert ask(http, issuer.bearer(scope="read")).status == 403
        assert ask(http, issuer.bearer(scope="write")).status == 200  # an array replaces what is inherited
        assert ask(http, issuer.bearer(), target="/test/v1/query").status == 200
        assert ask(http, target="/test/v1/query").status == 401
        def nothing(**claims):
            return ask(http, issuer.bearer(**claims), method="DELETE", target="/test/v1/nothing").status
        assert (nothing(plan="gold"), nothing(scope="read"), nothing(scope="read", plan="gold")) == (403, 403, 200)


def test_rights_without_identity_are_a_mistake(tmp_path, backend, issuer):
    from env.gateway import run
    c = config(backend, issuer, SCOPES)
    c["policies"][METHOD + "Echo"] = {"authentication": "none"}
    (tmp_path / "c.json").write_text(json.dumps(c))
    r = run("check", "--config", str(tmp_path / "c.json"))
    assert r.returncode == 1 and "nobody could pass" in r.stdout, r.stdout
