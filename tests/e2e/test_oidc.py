"""Tokens of a certified OpenID Connect issuer (npm oidc-provider), found by discovery over https."""
import grpc
import pytest

from env.build import wait_until
from env.gateway import base_config
from env.issuer import authentication
from env.messages import types
from env.oidc import OidcIssuer

SERVICE = "test.v1.EverythingService"
TARGET = "/test/v1/echo/x"
PATIENCE = 20
pytestmark = pytest.mark.timeout(360)  # the first test installs the issuer


@pytest.fixture(scope="module")
def issuer(certificates):
    issuer = OidcIssuer(certificates)
    yield issuer
    issuer.stop()


@pytest.fixture
def serve(start, backend, issuer, certificates):
    def begin(audiences, jwks=None, policy=None):
        keys = authentication({"issuer": issuer.url, "audiences": audiences, "jwks": {"ca": str(certificates.ca), **(jwks or {})},
                               "claims_to_headers": {"sub": "x-auth-subject", "plan": "x-auth-plan", "scope": "x-auth-scope"}}, name="idp")
        keys["policies"]["*"].update(policy or {})
        return start(base_config([backend.endpoint], **keys))
    return begin


def get(http, token):
    return http.request("GET", TARGET, headers=[("authorization", f"Bearer {token}")], timeout=PATIENCE)


@pytest.mark.parametrize("resource,algorithm", [("urn:books", "ES256"), ("urn:books:rs256", "RS256"), ("urn:books:eddsa", "EdDSA")])
def test_access_tokens_are_taken(serve, issuer, connect, backend, resource, algorithm):
    gateway = serve([resource], policy={"authorization": {"scopes": ["books.read"]}})
    assert get(connect(gateway), issuer.token(resource)).status == 200
    call = backend.one_call()
    assert (call.get("x-auth-subject"), call.get("x-auth-plan"), call.get("x-auth-scope")) == ("robot", "gold", "books.read")
    assert call.get("authorization") is None


def test_access_tokens_are_taken_over_native_grpc(serve, issuer, backend):
    gateway = serve(["urn:books"])
    everything = types()["test.v1.Everything"]
    with grpc.insecure_channel(f"127.0.0.1:{gateway.port}", [("grpc.enable_http_proxy", 0)]) as channel:
        echo = channel.unary_unary(f"/{SERVICE}/Echo", request_serializer=lambda m: m.SerializeToString(), response_deserializer=everything.FromString)
        echo(everything(f_string="a"), metadata=[("authorization", "Bearer " + issuer.token())], timeout=PATIENCE)
    assert backend.one_call().get("x-auth-subject") == "robot"


def test_token_for_another_audience_is_refused(serve, issuer, connect, backend):
    gateway = serve(["urn:books"])
    answer = get(connect(gateway), issuer.token("urn:films"))
    assert answer.status == 401 and not backend.calls


def test_token_without_the_scope_is_403(serve, issuer, connect, backend):
    gateway = serve(["urn:books"], policy={"authorization": {"scopes": ["books.write"]}})
    http = connect(gateway)
    assert get(http, issuer.token(scope="books.read")).status == 403
    assert not backend.calls
    assert get(http, issuer.token(scope="books.read books.write")).status == 200


def test_damaged_token_is_refused(serve, issuer, connect, backend):
    gateway = serve(["urn:books"])
    head, claims, signature = issuer.token().split(".")
    changed = ("B" if signature[9] == "A" else "A").join((signature[:9], signature[10:]))
    assert get(connect(gateway), ".".join((head, claims, changed))).status == 401
    assert not backend.calls


def test_token_expires(serve, start, backend, issuer, certificates, connect):
    keys = authentication({"issuer": issuer.url, "audiences": ["urn:books:brief"], "clock_skew": "0s", "jwks": {"ca": str(certificates.ca)}}, name="idp")
    http = connect(start(base_config([backend.endpoint], **keys)))
    token = issuer.token("urn:books:brief")
    wait_until("it has expired", lambda: get(http, token).status == 401, PATIENCE)


def test_new_signing_keys_are_found(serve, issuer, connect):
    gateway = serve(["urn:books"])
    http = connect(gateway)
    old = issuer.token()
    assert get(http, old).status == 200
    issuer.renew()
    assert get(http, issuer.token()).status == 200
    assert get(http, old).status == 401
    assert gateway.metric("transom_jwks_fetches_total", provider="idp", result="ok") == 2
