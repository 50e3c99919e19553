"""Each refusal of the pipeline: status, google.rpc.Status and counter over HTTP/1.1 and HTTP/2, trailers for native gRPC; the backend sees
nothing of it."""
import time

import pytest

from env.gateway import base_config
from env.http1 import H1
from env.http2 import H2
from env.issuer import Issuer
from test_spec_refusals import TABLE, dead_port, is_refusal, native

ECHO = ("GET", "/test/v1/echo")


@pytest.fixture(scope="module")
def issuer():
    made = Issuer()
    yield made
    made.stop()


def with_tokens(issuer, jwks=None, authentication=None, **policy):
    """A configuration whose methods need a token of the issuer."""
    keys = {"inline": {"keys": list(issuer.published.values())}} if jwks is None else jwks
    provider = {"issuer": issuer.issuer, "audiences": ["books"], "jwks": keys}
    return {"authentication": {"providers": {"one": provider}, **(authentication or {})},
            "policies": {"*": {"authentication": {"any_of": ["one"]}, **policy}}}


def quota(**more):
    return {"policies": {"*": {"quotas": [{"name": "q", "limit": 1, "window": "3600s"}]}}, **more}


# reason -> (configuration, headers, how many requests come before)
CASES = {
    "AUTH_MISSING": lambda i: (with_tokens(i), [], 0),
    "AUTH_INVALID": lambda i: (with_tokens(i), i.bearer(aud="others"), 0),
    "AUTH_EXPIRED": lambda i: (with_tokens(i), i.bearer(exp=int(time.time()) - 3600), 0),
    "AUTH_UNAVAILABLE": lambda i: (with_tokens(i, jwks={"uri": f"http://127.0.0.1:{dead_port()}/keys"}), i.bearer(), 0),
    "AUTH_TOO_MANY": lambda i: (with_tokens(i, authentication={"max_failures": 1}), i.bearer(aud="others"), 1),
    "PERMISSION_DENIED": lambda i: (with_tokens(i, authorization={"scopes": ["never"]}), i.bearer(scope="some others"), 0),
    "QUOTA_EXCEEDED": lambda i: (quota(), [], 1),
    "QUOTA_UNAVAILABLE": lambda i: (quota(quota_store={"redis": f"redis://127.0.0.1:{dead_port()}/0", "on_failure": "deny"}), [], 0),
    "BREAKER_OPEN": lambda i: ({"upstreams": {"main": {"endpoints": [f"127.0.0.1:{dead_port()}"], "circuit_breaker": {
        "minimum_requests": 1, "open_for": "600s"}}}}, [], 1),
}


@pytest.mark.parametrize("reason", CASES)
@pytest.mark.parametrize("dialect", ["h1", "h2", "grpc"])
def test_refusal(start, backend, issuer, reason, dialect):
    config, headers, before = CASES[reason](issuer)
    config = {**config, "workers": 1}
    gateway = start(base_config([backend.endpoint], **config))
    with (H1 if dialect == "h1" else H2)(gateway.port) as c:
        def ask():
            return native(headers=headers)(c) if dialect == "grpc" else c.request(*ECHO, headers, timeout=20)
        for _ in range(before):
            ask()
        reached = len(backend.calls)
        with gateway.counts(reason):
            r = ask()
    if dialect == "grpc":
        assert r.status == 200 and r.header("grpc-status") == str(TABLE[reason][0]) and r.header("grpc-message"), r
    else:
        assert is_refusal(r, reason)
    if TABLE[reason][1] == 401:
        assert r.header("www-authenticate", "").lower().startswith("bearer"), r
    if TABLE[reason][1] == 429 or reason == "BREAKER_OPEN":
        assert int(r.header("retry-after")) >= 1, r
    assert len(backend.calls) == reached


@pytest.mark.parametrize("dialect", ["h1", "h2", "grpc"])
def test_an_attempt_that_takes_too_long(start, backend, dialect):
    gateway = start(base_config([backend.endpoint], policies={"*": {"retry": {"attempts": 2, "per_try_timeout": "200ms"}}}))
    headers = [("x-test-hold", "slow")]
    with gateway.counts("UPSTREAM_TRY_TIMEOUT"), (H1 if dialect == "h1" else H2)(gateway.port) as c:
        r = native(headers=headers)(c) if dialect == "grpc" else c.request(*ECHO, headers, timeout=20)
    if dialect == "grpc":
        assert r.header("grpc-status") == "4", r
    else:
        assert is_refusal(r, "UPSTREAM_TRY_TIMEOUT")
    backend.release_all()


PROVOKED = {*CASES, "UPSTREAM_TRY_TIMEOUT"}
