"""Tokens that the gateway has not seen: their signatures are verified together, and nobody else waits for them."""
import base64
import json
import signal
import time

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from env.build import wait_until
from env.http2 import H2
from test_authentication import AUDIENCE, ISSUER, Keys, api_keys, ask, config, entry, provider

ECHO = "/test/v1/echo"


@pytest.fixture(scope="module")
def keys():
    return Keys()


@pytest.fixture
def gate(start, backend, keys):
    def make(authentication=None, any_of=("one",), all_of=None, **more):
        c = config(backend, {"providers": {"one": provider(keys)}, **(authentication or {})}, {"authentication": all_of or {"any_of": list(any_of)}},
                   **more)
        return start(c)
    return make


def bearer(token):
    return [("authorization", "Bearer " + token)]


def at_once(connection, requests):
    """All of them in one write, so that the gateway has them in one turn; the streams."""
    connection.flush()
    connection.flush, flush = lambda: None, connection.flush
    streams = [connection.start("GET", ECHO, headers) for headers in requests]
    connection.flush = flush
    flush()
    return streams


def statuses(streams):
    return [s.finish(30).status for s in streams]


def looked_at(gateway, **labels):
    return gateway.metric("transom_authentications_total", **labels)


def test_each_of_many_gets_its_own_answer(gate, backend, keys):
    gateway = gate({"providers": {"one": provider(keys, claims_to_headers={"sub": "x-user"})}})
    other = ec.generate_private_key(ec.SECP256R1())
    tokens, want = [], []
    for i in range(90):
        kind = i % 3
        tokens.append(keys.token(sub=f"user-{i}", **({"key": other} if kind == 1 else {"exp": 1} if kind == 2 else {})))
        want.append(200 if kind == 0 else 401)
    with H2(gateway.port) as http:
        streams = at_once(http, [bearer(t) for t in tokens])
        assert statuses(streams) == want
        reasons = [s.response.json()["details"][0]["reason"] for s in streams if s.response.status == 401]
        assert reasons == ["AUTH_INVALID", "AUTH_EXPIRED"] * 30
        assert sorted(c.get("x-user") for c in backend.calls) == sorted(f"user-{i}" for i in range(0, 90, 3))
        assert [looked_at(gateway, provider="one", result=r) for r in ("ok", "signature", "expired")] == [30, 30, 30]
        assert gateway.metric("transom_jwt_unseen_total", verified="end_of_turn") == 90
        good = [bearer(t) for t, status in zip(tokens, want) if status == 200]
        assert statuses(at_once(http, good)) == [200] * 30
    assert gateway.metric("transom_jwt_cache_total", result="hit") == 30
    assert gateway.metric("transom_jwt_cache_total", result="miss") == 90
    assert gateway.metric("transom_jwt_unseen_total", verified="end_of_turn") == 90  # those that are known wait for nothing


def test_what_no_key_can_make_good_is_refused_without_waiting(gate, keys):
    gateway = gate()
    wrong = [keys.token(iss="https://other"), keys.token("HS256", key="s" * 32), "x.y.z", keys.token(headers={"crit": ["x"], "x": 1}),
             keys.token(headers={"kid": "unknown"}), keys.token(headers={"kid": "r"})]
    with H2(gateway.port) as http:
        assert statuses(at_once(http, [bearer(t) for t in wrong])) == [401] * 6
    assert gateway.metric("transom_jwt_unseen_total") == 0


def test_one_new_token_of_many_requests_is_verified_once(gate, keys):
    gateway = gate()
    with H2(gateway.port) as http:
        assert statuses(at_once(http, [bearer(keys.token())] * 20)) == [200] * 20
    assert gateway.metric("transom_jwt_cache_total", result="miss") + gateway.metric("transom_jwt_cache_total", result="hit") == 20
    assert gateway.metric("transom_jwt_cache_total", result="miss") < 20 and looked_at(gateway, provider="one", result="ok") == 20


def test_a_token_is_not_read_again_for_other_issuers(gate, connect, keys):
    gateway = gate({"providers": {"one": provider(keys), "two": provider(keys, issuer="https://two.test")}}, any_of=("one", "two"))
    http, token = connect(gateway), keys.token(iss="https://two.test")
    for n in range(1, 4):
        assert ask(http, token).status == 200
        assert looked_at(gateway, provider="one", result="issuer") == n and looked_at(gateway, provider="two", result="ok") == n
        assert gateway.metric("transom_jwt_cache_total", result="hit") == n - 1
        assert gateway.metric("transom_jwt_cache_total", result="miss") == 2
    assert gateway.metric("transom_jwt_unseen_total", verified="end_of_turn") == 1


def test_what_else_a_request_shows_counts_once(gate, keys, connect, tmp_path):
    http = connect(gateway := gate({"api_keys": api_keys(tmp_path, entry("k"))}, all_of={"all_of": ["api_key", "one"]}))
    for n in (1, 2):
        assert ask(http, keys.token(sub=f"user-{n}"), [("x-api-key", "k")]).status == 200
        assert looked_at(gateway, provider="api_key", result="ok") == n and looked_at(gateway, provider="one", result="ok") == n


def test_failures_are_bounded_within_a_turn_too(gate, keys):
    other = ec.generate_private_key(ec.SECP256R1())
    gateway = gate({"max_failures": 3, "failure_window": "3600s"})
    with H2(gateway.port) as http:
        wrong = [bearer(keys.token(sub=f"user-{i}", key=other)) for i in range(10)]
        assert statuses(at_once(http, wrong)) == [401] * 3 + [429] * 7
    assert looked_at(gateway, provider="one", result="signature") == 3


def test_a_client_that_leaves_costs_no_signature(gate, backend, keys):
    gateway = gate()
    http = H2(gateway.port)
    http.flush()
    http.flush, flush = lambda: None, http.flush
    streams = [http.start("GET", ECHO, bearer(keys.token(sub=f"user-{i}"))) for i in range(40)]
    for s in streams[:39]:
        s.cancel()
    http.flush = flush
    flush()
    assert streams[39].finish(30).status == 200
    http.close()
    assert looked_at(gateway, provider="one") == 1 and len(backend.calls) == 1
    gone = [H2(gateway.port) for _ in range(4)]  # a connection that ends with what waits on it
    for i, connection in enumerate(gone):
        at_once(connection, [bearer(keys.token(sub=f"gone-{i}-{k}")) for k in range(90)])
        connection.close()
    wait_until("all have ended", lambda: gateway.metric("transom_requests_in_flight") == 0, 20)


def slow_keys():
    """P-521: OpenSSL has no fast path for it."""
    key = ec.generate_private_key(ec.SECP521R1())
    return key, {"keys": [{**jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": "slow"}]}


def test_others_do_not_wait_for_a_flood_of_new_tokens(gate, keys):
    key, jwks = slow_keys()
    gateway = gate({"providers": {"one": provider(keys), "slow": {"issuer": "https://slow.test", "audiences": [AUDIENCE], "jwks": {"inline": jwks}}}},
                   any_of=("one", "slow"))
    claims = {"iss": "https://slow.test", "aud": AUDIENCE, "exp": int(time.time()) + 600}
    flood = [H2(gateway.port) for _ in range(10)]
    bystander = H2(gateway.port)
    known = bearer(keys.token())
    assert statuses(at_once(bystander, [known])) == [200]
    tokens = [[bearer(jwt.encode({**claims, "sub": f"{i}-{k}"}, key, "ES512", headers={"kid": "slow"})) for k in range(90)] for i in range(10)]
    gateway.signal(signal.SIGSTOP)  # so that all of it comes in one turn
    for connection, requests in zip(flood, tokens):
        at_once(connection, requests)
    answer = at_once(bystander, [known])
    gateway.signal(signal.SIGCONT)
    assert statuses(answer) == [200]
    assert looked_at(gateway, provider="slow") < 900  # it did not wait for all of them
    for connection in flood:
        assert statuses(connection.streams.values()) == [200] * 90
        connection.close()
    bystander.close()


def refused_in_one_turn(gateway, connections, requests):
    """The same on each connection, all there before the gateway reads the first of them."""
    gateway.signal(signal.SIGSTOP)
    for connection in connections:
        at_once(connection, requests)
    gateway.signal(signal.SIGCONT)
    for connection in connections:
        assert statuses(connection.streams.values()) == [401] * len(requests)
        connection.close()


def test_no_more_than_a_bound_wait(gate, keys):
    key, jwks = slow_keys()
    gateway = gate({"providers": {"slow": {"issuer": ISSUER, "audiences": [AUDIENCE], "jwks": {"inline": jwks}}}, "max_failures": 0}, any_of=("slow",))
    token = bearer(keys.token(key=key, algorithm="ES512", headers={"kid": "slow"}))
    head, payload, signature = token[0][1].rsplit(".", 2)
    wrong = [("authorization", f"{head}.{payload}.{signature[:20]}{'AB'[signature[20] == 'A']}{signature[21:]}")]
    connections = [H2(gateway.port) for _ in range(30)]
    refused_in_one_turn(gateway, connections, [wrong] * 90)
    assert gateway.metric("transom_jwt_unseen_total", verified="end_of_turn") >= 2048
    assert gateway.metric("transom_jwt_unseen_total", verified="at_once") > 0
    assert looked_at(gateway, provider="slow", result="signature") == 2700


def test_what_waits_is_bounded_in_bytes_too(gate, keys):
    """A token of 16 KiB may hold thousands of values: read, it is much larger, and nobody has vouched for it."""
    key, jwks = slow_keys()
    gateway = gate({"providers": {"slow": {"issuer": ISSUER, "audiences": [AUDIENCE], "jwks": {"inline": jwks}}}, "max_failures": 0}, any_of=("slow",))
    scopes = "[" + ",".join("7" * 5800) + "]"
    header = base64.urlsafe_b64encode(json.dumps({"alg": "ES512", "kid": "slow"}).encode()).rstrip(b"=")
    payload = f'{{"iss":"{ISSUER}","aud":"{AUDIENCE}","exp":{int(time.time()) + 600},"scope":{scopes}}}'
    token = header + b"." + base64.urlsafe_b64encode(payload.encode()).rstrip(b"=") + b"." + base64.urlsafe_b64encode((b"\0" + b"s" * 65) * 2)
    assert len(token) <= 16384
    wrong = bearer(token.decode())
    connections = [H2(gateway.port) for _ in range(70)]
    refused_in_one_turn(gateway, connections, [wrong] * 5)
    assert gateway.metric("transom_jwt_unseen_total", verified="at_once") > 0
    assert looked_at(gateway, provider="slow", result="signature") == 350


@pytest.mark.parametrize("claims", [3, 70])
def test_two_providers_of_one_issuer_ask_for_one_token(gate, connect, keys, claims):
    gateway = gate({"providers": {"one": provider(keys), "two": provider(keys, audiences=["other"])}}, all_of={"all_of": ["one", "two"]})
    # PyJWT keeps the order: the issuer may stand behind more claims than are kept
    many = {f"x{i}": i for i in range(claims)}
    payload = {**many, "exp": int(time.time()) + 600, "aud": [AUDIENCE, "other"], "iss": ISSUER}
    token = jwt.encode(payload, keys.ec, "ES256", headers={"kid": "e"})
    http = connect(gateway)
    for n in (1, 2):
        assert ask(http, token).status == 200
        assert [looked_at(gateway, provider=p, result="ok") for p in ("one", "two")] == [n, n]
    assert ask(http, keys.token()).status == 401  # for one of them alone
    assert looked_at(gateway, provider="two", result="audience") == 1


def test_pipelined_requests_wait_one_after_another(gate, keys):
    """The answer of one lets the next begin, which has a new token of its own."""
    from env.http1 import H1, H1Stream
    gateway = gate()
    other = ec.generate_private_key(ec.SECP256R1())
    with H1(gateway.port) as http:
        http.send(b"".join(b"GET /test/v1/echo/%d HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n" %
                           (i, keys.token(sub=f"user-{i}", **({"key": other} if i % 3 == 1 else {})).encode()) for i in range(30)))
        for i in range(30):
            answer = H1Stream(http, "GET").finish(30)
            assert answer.status == (401 if i % 3 == 1 else 200)
            assert answer.status == 401 or answer.json() == {"fString": str(i)}
    assert gateway.metric("transom_jwt_unseen_total", verified="end_of_turn") == 30
    assert [looked_at(gateway, provider="one", result=r) for r in ("ok", "signature")] == [20, 10]


def test_a_body_that_comes_while_the_token_waits_is_kept(gate, keys):
    gateway = gate()
    with H2(gateway.port) as http:
        http.flush()
        http.flush, flush = lambda: None, http.flush
        streams = []
        for i in range(20):
            body = json.dumps({"fString": f"{i}" * 700}).encode()
            s = http.start("POST", ECHO, [*bearer(keys.token(sub=f"user-{i}")), ("content-type", "application/json")], len(body))
            http.h2.send_data(s.id, body, end_stream=True)
            streams.append(s)
        http.flush = flush
        flush()
        for i, s in enumerate(streams):
            answer = s.finish(30)
            assert answer.status == 200 and answer.json()["fString"] == f"{i}" * 700
    assert gateway.metric("transom_jwt_unseen_total", verified="end_of_turn") == 20


def flooded(gate, keys, hurry=False, **more):
    """A gateway with requests that wait for signatures which take long, and their connections."""
    key, jwks = slow_keys()
    gateway = gate({"providers": {"slow": {"issuer": ISSUER, "audiences": [AUDIENCE], "jwks": {"inline": jwks}}}}, any_of=("slow",), **more)
    connections = [H2(gateway.port, timeout=30) for _ in range(8)]
    tokens = [[bearer(keys.token(key=key, algorithm="ES512", headers={"kid": "slow"}, sub=f"{i}-{k}")) for k in range(95)] for i in range(8)]
    gateway.signal(signal.SIGSTOP)
    for connection, requests in zip(connections, tokens):
        at_once(connection, requests[:90])
        at_once(connection, [[*request, ("grpc-timeout", "1m")] for request in requests[90:]] if hurry else [])
    return gateway, connections


def test_a_gateway_ends_while_tokens_wait(gate, keys):
    gateway, connections = flooded(gate, keys)
    gateway.signal(signal.SIGTERM)
    gateway.signal(signal.SIGCONT)
    for connection in connections:
        assert set(statuses(connection.streams.values())) == {200}
        connection.close()
    gateway.stop()


def test_a_gateway_that_does_not_wait_for_its_requests_ends_too(gate, keys):
    gateway, connections = flooded(gate, keys, drain_timeout="0s")
    gateway.signal(signal.SIGTERM)
    gateway.signal(signal.SIGCONT)
    gateway.stop()
    for connection in connections:
        connection.close()


def test_time_may_run_out_while_a_token_waits(gate, keys):
    gateway, connections = flooded(gate, keys, hurry=True)
    gateway.signal(signal.SIGCONT)
    answers = [statuses(connection.streams.values()) for connection in connections]
    assert [a[:90] for a in answers] == [[200] * 90] * 8
    assert {status for a in answers for status in a[90:]} <= {200, 504} and 504 in answers[-1]
    for connection in connections:
        connection.close()
    assert looked_at(gateway, provider="slow", result="ok") < 8 * 95
