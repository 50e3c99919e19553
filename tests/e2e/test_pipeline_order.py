"""The order of the pipeline: what comes first costs nothing of what comes after."""
import hashlib
import json

import grpc
import pytest

from env.gateway import base_config
from env.http1 import H1
from env.http2 import H2
from test_native_grpc import OPTIONS, Stub, msg

KEY, READER = [("x-api-key", "writer")], [("x-api-key", "reader")]


def config(backend, tmp_path, **policy):
    (tmp_path / "keys.json").write_text(json.dumps({"keys": [
        {"sha256": hashlib.sha256(name.encode()).hexdigest(), "consumer": name, "scopes": scopes}
        for name, scopes in (("writer", ["read", "write"]), ("reader", ["read"]))]}))
    return base_config([backend.endpoint], workers=1, trusted_hops=1, authentication={"api_keys": {"file": str(tmp_path / "keys.json")}},
                       policies={"*": {"authentication": {"any_of": ["api_key"]}, **policy}})


def quota(limit=2, **more):
    return {"name": "q", "limit": limit, "window": "3600s", **more}


def ask(http, headers=(), method="GET", target="/test/v1/echo", **options):
    return http.request(method, target, list(headers), timeout=20, **options)


def left(r):
    return r.header("ratelimit")


def test_a_refused_credential_and_a_refused_right_charge_no_quota(start, connect, backend, tmp_path):
    gateway = start(config(backend, tmp_path, quotas=[quota(1)], authorization={"scopes": ["write"]}))
    http = connect(gateway)
    assert [ask(http).status for _ in range(3)] == [401] * 3
    assert [ask(http, [("x-api-key", "nobody")]).status for _ in range(3)] == [401] * 3
    assert [ask(http, READER).status for _ in range(3)] == [403] * 3
    assert ask(http, KEY).status == 200 and ask(http, KEY).status == 429
    assert len(backend.calls) == 1


def test_a_quota_before_authentication_is_charged_by_refused_credentials(start, connect, backend, tmp_path):
    gateway = start(config(backend, tmp_path, quotas=[quota(2, key=["client_address"], before_authentication=True)]))
    http = connect(gateway)
    assert [ask(http).status for _ in range(3)] == [401, 401, 429]
    assert gateway.metric("transom_authentication_requests_total", result="refused") == 2


def test_a_preflight_needs_no_credential_and_charges_no_quota(start, connect, backend, tmp_path):
    gateway = start(config(backend, tmp_path, quotas=[quota(1)], cors={"origins": ["https://app.test"]}))
    http = connect(gateway)
    asked = [("origin", "https://app.test"), ("access-control-request-method", "GET")]
    for _ in range(3):
        r = ask(http, asked, "OPTIONS")
        assert r.status == 204 and r.header("access-control-allow-origin") == "https://app.test"
    r = ask(http, [("origin", "https://app.test")])
    assert r.status == 401 and r.header("access-control-allow-origin") == "https://app.test"  # refusals are readable too
    assert ask(http, KEY).status == 200


def test_a_preflight_charges_no_quota_before_authentication(start, connect, backend, tmp_path):
    gateway = start(config(backend, tmp_path, quotas=[quota(1, key=["client_address"], before_authentication=True)], cors={"origins": ["https://app.test"]}))
    http = connect(gateway)
    asked = [("origin", "https://app.test"), ("access-control-request-method", "GET")]
    assert [ask(http, asked, "OPTIONS").status for _ in range(3)] == [204] * 3
    assert ask(http, KEY).status == 200 and ask(http, KEY).status == 429


@pytest.mark.parametrize("what", ["set", "remove"])
def test_header_rules_come_after_identity(start, connect, backend, tmp_path, what):
    """They may replace or drop what the gateway says of the client, and give the gateway's own credential in the place of the client's."""
    rules = ({"set_headers": {"request": {"x-consumer": "edge", "x-api-key": "backend-key", "authorization": "Bearer backend"}}} if what == "set" else
             {"remove_headers": {"request": ["x-consumer"]}})
    c = config(backend, tmp_path, **rules)
    c["authentication"]["api_keys"]["consumer_header"] = "x-consumer"
    assert ask(connect(start(c)), [*KEY, ("x-consumer", "mallory"), ("authorization", "Bearer mine")]).status == 200
    got = {k: [v for n, v in backend.one_call().metadata if n == k] for k in ("x-consumer", "x-api-key", "authorization")}
    if what == "set":
        assert got == {"x-consumer": ["edge"], "x-api-key": ["backend-key"], "authorization": ["Bearer backend"]}
    else:
        assert got["x-consumer"] == [] and got["x-api-key"] == []


def test_an_address_that_may_not_ask_is_refused_before_all(start, connect, backend, tmp_path):
    gateway = start(config(backend, tmp_path, quotas=[quota(1)], ip={"deny": ["192.0.2.0/24"]}, cors={"origins": ["*"]}))
    http, there = connect(gateway), [("x-forwarded-for", "192.0.2.9")]
    asked = [("origin", "https://app.test"), ("access-control-request-method", "GET")]
    assert ask(http, [*KEY, *there]).status == 403 and ask(http, [*asked, *there], "OPTIONS").status == 403
    assert gateway.metric("transom_authentication_requests_total") == 0
    assert ask(http, KEY).status == 200


@pytest.fixture
def guarded(start, backend, tmp_path):
    c = config(backend, tmp_path)
    c["policies"]["test.v1.EverythingService.Echo"] = {"authorization": {"scopes": ["write"]}}
    return start(c)


@pytest.mark.parametrize("target", ["/test/v1/echo", "/test/v1/%65cho", "/test/v1/echo/%78", "/test/v1/echo?f_string=x"])
def test_authorization_sees_the_method_that_will_be_called(guarded, connect, backend, target):
    http = connect(guarded)
    for method in ("GET", "HEAD"):
        for override in ([], [("x-http-method-override", "OPTIONS")], [("x-http-method", "DELETE"), ("x-method-override", "POST")]):
            assert ask(http, [*READER, *override], method, target).status == 403
    assert not backend.calls
    assert ask(http, KEY, "GET", target).status == 200


@pytest.mark.parametrize("path", ["/{}/%45cho", "//{}/Echo", "/{}//Echo", "/{}/Echo/", "/{}/./Echo", "/x/../{}/Echo", "/{}/Echo;a", "/{}/echo", "/{}/Echo?a=1"])
def test_native_grpc_has_one_spelling_of_a_path(guarded, backend, path):
    """Any other names no method: nothing can be called past the rules of its policy."""
    with H2(guarded.port) as http:
        r = ask(http, [*READER, ("content-type", "application/grpc"), ("te", "trailers")], "POST", path.format("test.v1.EverythingService"), body=b"\0" * 5)
    assert r.header("grpc-status") == ("7" if "?" in path else "12") and not backend.calls


def test_authorization_is_the_same_for_native_grpc(guarded, backend):
    with grpc.insecure_channel(f"127.0.0.1:{guarded.port}", OPTIONS) as channel:
        for metadata, code in ((READER, grpc.StatusCode.PERMISSION_DENIED), ([], grpc.StatusCode.UNAUTHENTICATED)):
            with pytest.raises(grpc.RpcError) as e:
                Stub(channel).Echo(msg("Everything"), timeout=20, metadata=metadata)
            assert e.value.code() == code
        assert not backend.calls
        Stub(channel).Echo(msg("Everything"), timeout=20, metadata=KEY)
        assert len(list(Stub(channel).Down(msg("StreamRequest", count=2), timeout=20, metadata=READER))) == 2


def test_rights_by_consumer_and_any_scope(start, connect, backend, tmp_path):
    for rule, reader, writer in (({"consumers": ["writer"]}, 403, 200), ({"any_scope": ["write", "admin"]}, 403, 200),
                                 ({"any_scope": ["read", "admin"]}, 200, 200), ({"scopes": ["read", "write"]}, 403, 200)):
        gateway = start(config(backend, tmp_path, authorization=rule))
        http = connect(gateway)
        assert (ask(http, READER).status, ask(http, KEY).status) == (reader, writer), rule
        gateway.stop()


@pytest.mark.parametrize("client", [H1, H2])
def test_a_refusal_gives_no_continue_and_takes_no_body(start, backend, tmp_path, client):
    gateway = start(config(backend, tmp_path))
    with client(gateway.port) as http:
        r = http.request("POST", "/test/v1/echo", [("content-type", "application/json")], b"x" * 10000, timeout=20)
    assert r.status == 401 and not backend.calls
