"""Key sets of issuers: fetched, refreshed, rotated, and what happens when their server is down, slow, wrong or enormous."""
import contextlib
import threading
import time

import grpc
import pytest

from env.build import SANITIZED, wait_until
from env.certs import Certificates
from env.gateway import base_config
from env.http1 import H1
from env.issuer import DOCUMENT, KEYS, Issuer, authentication
from env.messages import types

SERVICE = "test.v1.EverythingService"
PATIENCE = 20  # s: for what comes by itself
TARGET = "/test/v1/echo/x"


@pytest.fixture
def issuers():
    made = []

    def make(**options):
        made.append(Issuer(**options))
        return made[-1]
    yield make
    for issuer in made:
        issuer.stop()


@pytest.fixture
def issuer(issuers):
    return issuers()


@pytest.fixture
def serve(start, backend):
    """serve(issuer, jwks={}, provider={}, policy={}): a gateway that asks for the issuer's tokens."""
    def begin(issuer, jwks=None, provider=None, policy=None):
        keys = authentication({"issuer": issuer.issuer, "audiences": ["books"], "jwks": {"uri": issuer.url + KEYS, **(jwks or {})},
                               **(provider or {})}, max_failures=0)
        keys["policies"]["*"].update(policy or {})
        return start(base_config([backend.endpoint], **keys))
    return begin


def get(http, headers=(), timeout=PATIENCE):
    return http.request("GET", TARGET, headers=list(headers), timeout=timeout)


def reason(answer):
    return answer.json()["details"][0]["reason"]


def native(gateway, headers, timeout=PATIENCE):
    """The status code of a call over native gRPC."""
    with grpc.insecure_channel(f"127.0.0.1:{gateway.port}", [("grpc.enable_http_proxy", 0), ("grpc.enable_retries", 0),
                                                             ("grpc.use_local_subchannel_pool", 1)]) as channel:
        echo = channel.unary_unary(f"/{SERVICE}/Echo", request_serializer=lambda m: m.SerializeToString(),
                                   response_deserializer=types()["test.v1.Everything"].FromString)
        try:
            echo(types()["test.v1.Everything"](), metadata=list(headers), timeout=timeout)
            return grpc.StatusCode.OK
        except grpc.RpcError as e:
            return e.code()


def stale(gateway):
    return gateway.metric("transom_jwks_stale", provider="accounts")


def fetched(gateway, result="ok"):
    return gateway.metric("transom_jwks_fetches_total", provider="accounts", result=result)


# -- the ordinary life ---------------------------------------------------------------------------------------------------------

def test_keys_are_fetched_once_for_all_workers_before_anybody_asks(serve, issuer, connect):
    gateway = serve(issuer)
    wait_until("the keys are there", lambda: fetched(gateway) == 1, PATIENCE)
    http = connect(gateway)
    assert get(http, issuer.bearer()).status == 200
    assert native(gateway, issuer.bearer()) == grpc.StatusCode.OK
    for _ in range(8):  # on whichever worker
        with H1(gateway.port) as other:
            assert get(other, issuer.bearer()).status == 200
    assert issuer.requests == [KEYS]
    assert stale(gateway) == 0


def test_keys_are_fetched_again_before_they_age(serve, issuer):
    gateway = serve(issuer, jwks={"refresh_interval": "400ms"})
    wait_until("the keys are fetched thrice", lambda: fetched(gateway) >= 3, PATIENCE)
    assert gateway.metric("transom_jwks_age_seconds", provider="accounts") < 60


def test_max_age_shortens_the_interval(serve, issuer):
    issuer.max_age = 1
    gateway = serve(issuer, jwks={"refresh_interval": "1h", "unknown_kid_interval": "500ms"})
    wait_until("the keys are fetched again", lambda: fetched(gateway) >= 2, PATIENCE)


def test_rotated_key_is_taken_at_the_first_token(serve, issuer, connect, backend):
    gateway = serve(issuer)
    http = connect(gateway)
    old = issuer.bearer()
    assert get(http, old).status == 200
    issuer.rotate("second")
    assert get(http, issuer.bearer()).status == 200
    assert native(gateway, issuer.bearer()) == grpc.StatusCode.OK
    assert issuer.fetches() == 2
    refused = get(http, old)  # also where the old token was remembered
    assert refused.status == 401 and reason(refused) == "AUTH_INVALID"
    assert len(backend.calls) == 3


def test_rotation_by_native_grpc(serve, issuer):
    gateway = serve(issuer)
    assert native(gateway, issuer.bearer()) == grpc.StatusCode.OK
    issuer.rotate("second")
    assert native(gateway, issuer.bearer()) == grpc.StatusCode.OK


def test_new_key_comes_with_the_next_refresh_too(serve, issuer, connect):
    gateway = serve(issuer, jwks={"refresh_interval": "500ms", "unknown_kid_interval": "1h"})
    http = connect(gateway)
    assert get(http, issuer.bearer()).status == 200
    assert get(http, issuer.bearer("invented", key="first")).status == 401  # the one fetch in an hour
    issuer.rotate("second")
    wait_until("the new key is there", lambda: get(http, issuer.bearer()).status == 200, PATIENCE)


# -- down ----------------------------------------------------------------------------------------------------------------------

def test_down_at_start_is_503_until_it_is_up(serve, issuer, connect, backend):
    issuer.down()
    gateway = serve(issuer)
    http = connect(gateway)
    answer = get(http, issuer.bearer())
    assert answer.status == 503 and reason(answer) == "AUTH_UNAVAILABLE" and answer.json()["code"] == 14
    assert native(gateway, issuer.bearer()) == grpc.StatusCode.UNAVAILABLE
    assert stale(gateway) == 2
    assert fetched(gateway, "failed") >= 1
    assert not backend.calls
    missing = get(http)  # what needs no keys is known anyway
    assert missing.status == 401 and reason(missing) == "AUTH_MISSING"
    issuer.up()
    wait_until("tokens are taken", lambda: get(http, issuer.bearer()).status == 200, PATIENCE)
    assert native(gateway, issuer.bearer()) == grpc.StatusCode.OK
    assert stale(gateway) == 0


def test_down_at_start_with_on_unavailable_allow_passes_without_identity(serve, issuer, connect, backend):
    issuer.down()
    gateway = serve(issuer, provider={"claims_to_headers": {"sub": "x-auth-subject"}},
                    policy={"authentication": {"any_of": ["accounts"], "on_unavailable": "allow"}})
    http = connect(gateway)
    assert get(http, issuer.bearer() + [("x-auth-subject", "mallory")]).status == 200
    assert backend.one_call().get("x-auth-subject") is None


def test_later_down_the_old_keys_serve(serve, issuer, connect):
    gateway = serve(issuer, jwks={"refresh_interval": "300ms"})
    http = connect(gateway)
    assert get(http, issuer.bearer()).status == 200
    issuer.down()
    wait_until("the keys are stale", lambda: stale(gateway) == 1, PATIENCE)
    wait_until("fetches fail", lambda: fetched(gateway, "failed") >= 2, PATIENCE)
    assert get(http, issuer.bearer(sub="bob")).status == 200  # a token that was never seen
    assert native(gateway, issuer.bearer(sub="carol")) == grpc.StatusCode.OK
    unknown = get(http, issuer.bearer("second", key="first"))
    assert unknown.status in (401, 503)
    issuer.up()
    wait_until("the keys are fresh", lambda: stale(gateway) == 0, PATIENCE)


def test_later_down_for_longer_than_max_stale_is_503(serve, issuer, connect):
    gateway = serve(issuer, jwks={"refresh_interval": "200ms", "max_stale": "500ms"})
    http = connect(gateway)
    token = issuer.bearer()
    assert get(http, token).status == 200
    issuer.set(500)
    wait_until("the keys are gone", lambda: stale(gateway) == 2, PATIENCE)
    wait_until("the token that was remembered is refused", lambda: get(http, token).status == 503, PATIENCE)
    assert native(gateway, token) == grpc.StatusCode.UNAVAILABLE
    issuer.set("ok")
    wait_until("tokens are taken", lambda: get(http, token).status == 200, PATIENCE)


def test_attempts_on_a_server_that_is_down_are_few(serve, issuer, connect):
    issuer.set(500)
    begin = time.monotonic()
    gateway = serve(issuer)
    http = connect(gateway)
    for _ in range(300):
        assert get(http, issuer.bearer()).status == 503
    wait_until("a few attempts", lambda: issuer.fetches() >= 3, PATIENCE)
    elapsed = time.monotonic() - begin
    assert issuer.fetches() <= 3 + elapsed / 0.5  # the backoff begins at 1 s, less up to half


# -- slow ----------------------------------------------------------------------------------------------------------------------

def waiting(gateway, headers, count):
    """Requests on connections of their own, started and not answered; yields a list that fills with statuses."""
    statuses, threads = [], []

    def one():
        with H1(gateway.port) as http:
            statuses.append(get(http, headers).status)
    for _ in range(count):
        threads.append(threading.Thread(target=one, daemon=True))
        threads[-1].start()
    return statuses, threads


def test_requests_wait_for_the_first_keys(serve, issuer):
    issuer.set("hang")
    gateway = serve(issuer, jwks={"timeout": "30s"})
    statuses, threads = waiting(gateway, issuer.bearer(), 10)
    wait_until("all are in flight", lambda: gateway.metric("transom_requests_in_flight") == 10, PATIENCE)
    wait_until("the keys are fetched", lambda: issuer.fetches() == 1, PATIENCE)
    assert not statuses
    issuer.set("ok")
    for t in threads:
        t.join(PATIENCE)
    assert statuses == [200] * 10
    assert issuer.fetches() == 1


def test_requests_that_need_a_new_key_wait_for_it(serve, issuer, connect):
    gateway = serve(issuer, jwks={"timeout": "30s"})
    http = connect(gateway)
    old = issuer.bearer()
    assert get(http, old).status == 200
    issuer.rotate("second")
    issuer.set("hang")
    statuses, threads = waiting(gateway, issuer.bearer(), 8)
    wait_until("the keys are fetched", lambda: issuer.fetches() == 2, PATIENCE)
    assert get(http, old).status == 200  # others are not held up
    assert not statuses
    issuer.set("ok")
    for t in threads:
        t.join(PATIENCE)
    assert statuses == [200] * 8
    assert issuer.fetches() == 2


def test_waiting_ends_with_the_deadline(serve, issuer, connect, backend):
    issuer.set("hang")
    gateway = serve(issuer, jwks={"timeout": "30s"}, policy={"timeout": "300ms"})
    http = connect(gateway)
    answer = get(http, issuer.bearer())
    assert answer.status == 504 and reason(answer) == "DEADLINE"
    assert native(gateway, issuer.bearer()) == grpc.StatusCode.DEADLINE_EXCEEDED
    assert not backend.calls
    issuer.set("ok")
    wait_until("tokens are taken", lambda: get(http, issuer.bearer()).status == 200, PATIENCE)


def test_waiting_ends_with_the_fetch(serve, issuer, connect):
    issuer.set("hang")
    gateway = serve(issuer, jwks={"timeout": "300ms"})
    http = connect(gateway)
    answer = get(http, issuer.bearer())
    assert answer.status == 503 and reason(answer) == "AUTH_UNAVAILABLE"


def test_client_that_leaves_while_it_waits_is_forgotten(serve, issuer, connect):
    issuer.set("hang")
    gateway = serve(issuer, jwks={"timeout": "30s"})
    for _ in range(5):
        with H1(gateway.port) as http:
            http.start("GET", TARGET, headers=issuer.bearer())
            wait_until("it waits", lambda: gateway.metric("transom_requests_in_flight") == 1, PATIENCE)
        wait_until("it is gone", lambda: gateway.metric("transom_requests_in_flight") == 0, PATIENCE)
    issuer.set("ok")
    assert get(connect(gateway), issuer.bearer()).status == 200


def test_gateway_stops_while_a_fetch_hangs(serve, issuer):
    issuer.set("hang")
    gateway = serve(issuer, jwks={"timeout": "300s"})
    wait_until("the fetch is under way", lambda: issuer.fetches() == 1, PATIENCE)
    gateway.stop()


# -- wrong and enormous --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("mode", [404, 500, 204, "redirect"])
def test_only_200_brings_keys(serve, issuer, connect, mode):
    issuer.set(mode)
    gateway = serve(issuer)
    assert get(connect(gateway), issuer.bearer()).status == 503
    assert set(issuer.requests) == {KEYS}  # a redirect is not followed


def test_answer_without_end_is_cut(serve, issuer, connect):
    gateway = serve(issuer, jwks={"refresh_interval": "300ms"})
    http = connect(gateway)
    assert get(http, issuer.bearer()).status == 200
    before = gateway.rss_bytes()
    issuer.set("endless")
    wait_until("fetches fail", lambda: fetched(gateway, "failed") >= 3, PATIENCE)
    assert get(http, issuer.bearer(sub="bob")).status == 200
    assert issuer.sent < 64 << 20
    if not SANITIZED:
        assert gateway.rss_bytes() - before < 16 << 20


def test_max_bytes_is_the_bound(serve, issuer, connect):
    gateway = serve(issuer, jwks={"max_bytes": 256})
    issuer.published = {f"{i}": issuer.published["first"] for i in range(10)}
    http = connect(gateway)
    wait_until("it is refused", lambda: get(http, issuer.bearer("1", key="first")).status in (401, 503), PATIENCE)


def test_document_that_is_no_key_set_is_a_failure(serve, issuer, connect):
    issuer.body = lambda path: {"keys": "none"}
    gateway = serve(issuer)
    assert get(connect(gateway), issuer.bearer()).status == 503
    assert fetched(gateway, "failed") >= 1


# -- a flood -------------------------------------------------------------------------------------------------------------------

def test_flood_of_unknown_kids_fetches_at_a_bounded_rate(serve, issuer, connect, backend):
    interval = 2.0
    gateway = serve(issuer, jwks={"unknown_kid_interval": "2s"})
    http = connect(gateway)
    assert get(http, issuer.bearer()).status == 200
    begin = time.monotonic()
    answers = [get(http, issuer.bearer(f"invented-{i}", key="first")).status for i in range(400)]
    with contextlib.ExitStack() as stack:  # over all workers, and between them the good go on
        others = [stack.enter_context(H1(gateway.port)) for _ in range(6)]
        for i in range(300):
            answers.append(get(others[i % 6], issuer.bearer(f"other-{i}", key="first")).status)
            if i % 50 == 0:
                assert get(http, issuer.bearer(sub=f"s{i}")).status == 200
    elapsed = time.monotonic() - begin
    assert set(answers) == {401}
    assert issuer.fetches() <= 2 + elapsed / interval
    assert gateway.metric("transom_jwks_refetches_refused_total", provider="accounts") > 0
    assert all(c.get("authorization") is None for c in backend.calls)


# -- https ---------------------------------------------------------------------------------------------------------------------

def test_https_with_the_authority_of_the_configuration(serve, issuers, certificates, connect):
    issuer = issuers(tls=certificates.make("127.0.0.1"))
    gateway = serve(issuer, jwks={"ca": str(certificates.ca)})
    assert get(connect(gateway), issuer.bearer()).status == 200


@pytest.mark.parametrize("fault", ["name", "authority", "system roots"])
def test_https_verifies_the_certificate(serve, issuers, certificates, tmp_path, connect, fault):
    issuer = issuers(tls=certificates.make("elsewhere.test" if fault == "name" else "127.0.0.1"))
    other = Certificates(tmp_path, name="another CA")
    gateway = serve(issuer, jwks={"name": {"ca": str(certificates.ca)}, "authority": {"ca": str(other.ca)}, "system roots": {}}[fault])
    answer = get(connect(gateway), issuer.bearer())
    assert answer.status == 503 and reason(answer) == "AUTH_UNAVAILABLE"
    assert issuer.requests == []
    wait_until("the log says why", lambda: "TLS" in gateway.stderr, PATIENCE)


# -- discovery -----------------------------------------------------------------------------------------------------------------

@pytest.fixture
def discovered(issuers, certificates):
    issuer = issuers(tls=certificates.make("127.0.0.1"))
    return issuer, {"ca": str(certificates.ca), "uri": ""}


def test_discovery_finds_the_keys(serve, discovered, connect):
    issuer, jwks = discovered
    gateway = serve(issuer, jwks=jwks)
    assert get(connect(gateway), issuer.bearer()).status == 200
    assert native(gateway, issuer.bearer()) == grpc.StatusCode.OK
    assert issuer.requests == [DOCUMENT, KEYS]


@pytest.mark.parametrize("change, told", [
    ({"issuer": "https://other.test/"}, "discovery names another issuer: https://other.test/;"), ({"issuer": None}, "discovery names no issuer"),
    ({"issuer": "https://other.test\n"}, "discovery names no issuer"), ({"jwks_uri": "http://127.0.0.1:1/keys"}, "discovery"), ({"jwks_uri": None}, "no usable jwks_uri")])
def test_discovery_that_says_something_else_is_a_failure(serve, discovered, connect, change, told):
    issuer, jwks = discovered
    issuer.document = change
    gateway = serve(issuer, jwks=jwks)
    assert get(connect(gateway), issuer.bearer()).status == 503
    wait_until("the log tells it", lambda: told in gateway.stderr, PATIENCE)
    assert issuer.fetches() == 0


def test_keys_that_moved_are_found_by_the_document(serve, discovered, connect):
    issuer, jwks = discovered
    gateway = serve(issuer, jwks={**jwks, "refresh_interval": "300ms"})
    http = connect(gateway)
    assert get(http, issuer.bearer()).status == 200
    issuer.set(404)
    wait_until("fetches fail", lambda: fetched(gateway, "failed") >= 1, PATIENCE)
    issuer.document = {"jwks_uri": issuer.url + "/moved"}
    issuer.rotate("second")
    issuer.set("ok")
    wait_until("the new key is there", lambda: get(http, issuer.bearer()).status == 200, PATIENCE)
    assert "/moved" in issuer.requests
