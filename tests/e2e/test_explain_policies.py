"""`transom explain`: which parts of a policy answer or refuse before a backend is asked, and what holds when a dependency fails."""
import json

import pytest

from env.gateway import base_config, run
from env.http1 import H1

SERVICE = "test.v1.EverythingService"
APP = "https://app.example.com"


@pytest.fixture
def explain(tmp_path):
    """explain({top-level keys}, verb, target, *headers): (exit status, lines)."""
    def ask(changes, verb, target, *headers):
        path = tmp_path / "c.json"
        path.write_text(json.dumps(base_config(["127.0.0.1:1"], **changes)))
        done = run("explain", "--config", path, verb, target, *[o for h in headers for o in ("-H", h)])
        assert not done.stderr, done.stderr
        return done.returncode, done.stdout.splitlines()
    return ask


# -- failures -------------------------------------------------------------------------------------------------------------------

def failures(lines):
    title = "when what it depends on fails:"
    if title not in lines:
        return []
    begin = lines.index(title) + 1
    end = next(i for i in range(begin, len(lines)) if not lines[i].startswith("  "))
    return [line.strip() for line in lines[begin:end]]


def provider(**more):
    return {"issuer": "https://issuer.test", "audiences": ["books"], **more}


FETCHED = provider(jwks={"uri": "https://issuer.test/jwks"})
SECRET = provider(algorithms=["HS256"], secret="s" * 32)
QUOTA = {"limit": 3, "window": "60s"}


@pytest.mark.parametrize("choice,holds", [(None, "refused: 503 AUTH_UNAVAILABLE   (authentication.on_unavailable = deny)"),
                                          ("deny", "refused: 503 AUTH_UNAVAILABLE   (authentication.on_unavailable = deny)"),
                                          ("allow", "pass without identity   (authentication.on_unavailable = allow)")])
@pytest.mark.parametrize("how", ["any_of", "all_of"])
def test_what_holds_when_keys_cannot_be_had(explain, how, choice, holds):
    policy = {how: ["fetched", "secret"], **({"on_unavailable": choice} if choice else {})}
    changes = {"authentication": {"providers": {"other": {**FETCHED, "issuer": "https://other.test"}, "fetched": FETCHED, "secret": SECRET}},
               "policies": {"*": {"authentication": policy}, SERVICE + ".Query": {"authentication": "none"}}}
    assert failures(explain(changes, "GET", "/test/v1/echo/x")[1]) == ['keys of "fetched": ' + holds]
    assert failures(explain(changes, "GET", "/test/v1/query")[1]) == []  # public


STORE = {"local": "counted by this process alone", "allow": "pass uncounted", "deny": "refused: 503 QUOTA_UNAVAILABLE"}


@pytest.mark.parametrize("store", [None, "local", "allow", "deny"])
@pytest.mark.parametrize("own", [None, "store", "local", "allow", "deny"])
def test_what_holds_when_the_store_of_quotas_fails(explain, store, own):
    quotas = [{"name": "a", **QUOTA, **({"on_failure": own} if own else {})}, {"name": "here", "store": "local", **QUOTA}]
    changes = {"quota_store": {"redis": "redis://127.0.0.1:1/0", **({"on_failure": store} if store else {})}, "policies": {"*": {"quotas": quotas}}}
    inherited = own in (None, "store")
    word = (store or "local") if inherited else own
    by = ("quota_store.on_failure = " if inherited else "its on_failure = ") + word
    assert failures(explain(changes, "GET", "/test/v1/echo/x")[1]) == [f'store of quota "a": {STORE[word]}   ({by})']


def test_what_depends_on_nothing_says_nothing(explain):
    assert failures(explain({"policies": {"*": {"quotas": [{"name": "a", **QUOTA}]}}}, "GET", "/test/v1/echo/x")[1]) == []


# -- preflights -----------------------------------------------------------------------------------------------------------------

PREFLIGHTS = {
    "allowed": ("/test/v1/echo/x", APP, "GET"),
    "another origin": ("/test/v1/echo/x", "https://evil.example", "GET"),
    "no method": ("/test/v1/any-verb/x", APP, "GET, PUT"),
    "any method": ("/test/v1/any-verb/x", APP, "CHECKOUT"),
    "native": (f"/{SERVICE}/Echo", APP, "POST"),
    "native, another verb": (f"/{SERVICE}/Echo", APP, "GET"),
    "without cors": ("/test/v1/query", APP, "GET"),
    "not routed": ("/test/v1/echo/x", APP, "DELETE"),
    "nowhere": ("/nowhere", APP, "GET"),
    "denied address": ("/test/v1/shadow", APP, "GET"),
}
CORS = {"trusted_hops": 1, "policies": {SERVICE + ".*": {"cors": {"origins": [APP]}}, SERVICE + ".Query": {"cors": "none"},
                                        SERVICE + ".Shadow": {"ip": {"deny": ["192.0.2.0/24"]}}}}


@pytest.mark.parametrize("case", PREFLIGHTS)
def test_a_preflight_is_told_as_it_is_answered(explain, gateways, backend, case):
    target, origin, method = PREFLIGHTS[case]
    headers = [("origin", origin), ("access-control-request-method", method), ("x-forwarded-for", "192.0.2.1")]
    with H1(gateways(**CORS).port) as c:
        r = c.request("OPTIONS", target, headers)
    status, lines = explain(CORS, "OPTIONS", target, *[f"{k}: {v}" for k, v in headers])
    said = "\n".join(lines)
    assert status == (r.status >= 400)
    if r.status >= 400:
        assert f"refused: {r.status} " in said
    elif r.header("allow"):
        assert "answered: 204 with Allow: " + r.header("allow") in said
    else:
        allowed = r.header("access-control-allow-origin") is not None
        assert ("the origin is allowed" in said, "the origin is not allowed" in said) == (allowed, not allowed)
        assert lines[0].startswith("preflight of: " + method)
    assert not backend.calls


def test_two_origins_are_none(explain):
    asked = ("origin: " + APP, "origin: " + APP, "access-control-request-method: GET")
    assert "the origin is not allowed" in "\n".join(explain(CORS, "OPTIONS", "/test/v1/echo/x", *asked)[1])


# -- addresses ------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("hops,forwarded,status,said", [
    (1, "192.0.2.7", 1, "address: 192.0.2.7: refused: 403 IP_DENIED"), (1, "192.0.2.7, [2001:db8::1]:80", 0, "address: 2001:db8::1 passes"),
    (1, "garbage", 0, "address: not decided here"), (0, "192.0.2.7", 0, "address: not decided here"), (1, None, 0, "address: not decided here")])
def test_address_rules(explain, hops, forwarded, status, said):
    changes = {"trusted_hops": hops, "policies": {"*": {"ip": {"deny": ["192.0.2.0/24"]}}, SERVICE + ".Query": {"ip": "none"}}}
    headers = ["x-forwarded-for: " + forwarded] if forwarded else []
    got, lines = explain(changes, "GET", "/test/v1/echo/x", *headers)
    assert got == status and any(line.startswith(said) for line in lines), lines
    got, lines = explain(changes, "GET", "/test/v1/query", *headers)
    assert got == 0 and not any(line.startswith("address:") for line in lines), lines
