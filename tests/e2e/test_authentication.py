"""Who asks: tokens, API keys, client certificates; what the backend learns, and what it must never see."""
import hashlib
import json
import os
import re
import time

import grpc
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from env.build import wait_until
from env.gateway import base_config, run
from env.http1 import H1
from env.http2 import H2
from test_native_grpc import OPTIONS, Stub, msg

ISSUER, AUDIENCE = "https://issuer.test", "books"
SECRET = "s" * 32


class Keys:
    def __init__(self):
        self.rsa = rsa.generate_private_key(65537, 2048)
        self.ec = ec.generate_private_key(ec.SECP256R1())
        self.ed = ed25519.Ed25519PrivateKey.generate()

    def jwks(self):
        out = []
        for kid, algorithm, key in (("r", jwt.algorithms.RSAAlgorithm, self.rsa), ("e", jwt.algorithms.ECAlgorithm, self.ec),
                                    ("d", jwt.algorithms.OKPAlgorithm, self.ed)):
            out.append({**algorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid})
        return {"keys": out}

    def token(self, algorithm="ES256", headers=None, key=None, **claims):
        kid, own = {"R": ("r", self.rsa), "P": ("r", self.rsa), "E": ("e", self.ec)}.get(algorithm[0], ("e", self.ec))
        if algorithm == "EdDSA":
            kid, own = "d", self.ed
        if algorithm.startswith("HS"):
            kid, own = None, SECRET
        payload = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "exp": int(time.time()) + 600, **claims}
        payload = {k: v for k, v in payload.items() if v is not None}
        return jwt.encode(payload, key or own, algorithm, headers={**({"kid": kid} if kid else {}), **(headers or {})})


@pytest.fixture(scope="module")
def keys():
    return Keys()


def provider(keys, **more):
    return {"issuer": ISSUER, "audiences": [AUDIENCE], "jwks": {"inline": keys.jwks()}, **more}


def config(backend, authentication, policy=None, **more):
    return base_config([backend.endpoint], workers=1, authentication=authentication, policies={"*": {
        "authentication": {"any_of": list(authentication.get("providers", {})) + (["api_key"] if "api_keys" in authentication else [])},
        **(policy or {})}}, **more)


def with_tokens(keys, backend, policy=None, **more):
    return config(backend, {"providers": {"one": provider(keys, **more)}}, policy)


def ask(http, token=None, headers=(), target="/test/v1/echo"):
    bearer = [("authorization", "Bearer " + token)] if token else []
    return http.request("GET", target, [*bearer, *headers], timeout=20)


# -- tokens ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "RS512", "PS256", "PS512", "ES256", "EdDSA"])
def test_a_good_token_passes_on_rest_and_native_grpc(gateways, connect, backend, keys, algorithm):
    c = with_tokens(keys, backend)
    gateway = gateways(authentication=c["authentication"], policies=c["policies"])
    assert ask(connect(gateway), keys.token(algorithm)).status == 200
    with grpc.insecure_channel(f"127.0.0.1:{gateway.port}", OPTIONS) as channel:
        Stub(channel).Echo(msg("Everything"), timeout=20, metadata=[("authorization", "Bearer " + keys.token(algorithm))])
    assert len(backend.calls) == 2


@pytest.mark.parametrize("wrong, reason", [
    (dict(aud="others"), "AUTH_INVALID"), (dict(iss="https://other"), "AUTH_INVALID"), (dict(exp=None), "AUTH_INVALID"),
    (dict(exp=1), "AUTH_EXPIRED"), (dict(nbf=int(time.time()) + 3600), "AUTH_EXPIRED"), (dict(exp="soon"), "AUTH_INVALID"),
    (dict(headers={"kid": "unknown"}), "AUTH_INVALID"), (dict(headers={"crit": ["x"], "x": 1}), "AUTH_INVALID"),
    (dict(key=ec.generate_private_key(ec.SECP256R1())), "AUTH_INVALID"), (dict(algorithm="HS256"), "AUTH_INVALID"),
    (dict(algorithm="none", key=""), "AUTH_INVALID"),
])
def test_a_wrong_token_is_401_with_a_challenge(gateways, connect, backend, keys, wrong, reason):
    c = with_tokens(keys, backend)
    gateway = gateways(authentication=c["authentication"], policies=c["policies"])
    if wrong.get("algorithm") == "none":
        head, payload, _ = keys.token().split(".")
        token = jwt.encode({"a": 1}, None, "none").split(".")[0] + "." + payload + "."
    else:
        token = keys.token(**wrong)
    with gateway.counts(reason):
        r = ask(connect(gateway), token)
    assert r.status == 401 and r.json()["code"] == 16 and r.json()["details"][0]["reason"] == reason
    assert re.match(r'Bearer realm="[^"]*", error="invalid_token", error_description="[^"]+"$', r.header("www-authenticate"))
    assert token not in r.body.decode() and not backend.calls


def test_embedded_keys_mean_nothing(gateways, connect, backend, keys):
    c = with_tokens(keys, backend)
    gateway = gateways(authentication=c["authentication"], policies=c["policies"])
    other = ec.generate_private_key(ec.SECP256R1())
    jwk = jwt.algorithms.ECAlgorithm.to_jwk(other.public_key(), as_dict=True)
    for headers in ({"jwk": jwk}, {"jku": "https://evil/keys"}, {"x5u": "https://evil/keys"}):
        assert ask(connect(gateway), keys.token(key=other, headers=headers)).status == 401


def test_a_public_key_is_no_shared_secret(gateways, connect, backend, keys):
    from cryptography.hazmat.primitives import serialization
    c = with_tokens(keys, backend)
    gateway = gateways(authentication=c["authentication"], policies=c["policies"])
    pem = keys.rsa.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    import base64
    import hmac
    b64 = lambda b: base64.urlsafe_b64encode(b).rstrip(b"=")
    signed = b64(b'{"alg":"HS256","kid":"r"}') + b"." + keys.token("RS256").split(".")[1].encode()
    token = signed + b"." + b64(hmac.new(pem, signed, hashlib.sha256).digest())
    assert ask(connect(gateway), token.decode()).status == 401


def test_a_token_is_verified_once_and_expires(start, connect, backend, keys):
    c = with_tokens(keys, backend, clock_skew="0s")
    gateway = start(c)
    http, token = connect(gateway), keys.token(exp=int(time.time()) + 4)
    assert [ask(http, token).status for _ in range(5)] == [200] * 5
    assert gateway.metric("transom_jwt_cache_total", result="hit") == 4
    wait_until("it expires", lambda: ask(http, token).status == 401, 20)
    assert ask(http, token[:-2] + ("AA" if token[-2:] != "AA" else "BB")).status == 401  # the whole token is compared


def test_a_shared_secret(start, connect, backend, keys):
    gateway = start(config(backend, {"providers": {"one": {"issuer": ISSUER, "audiences": "any", "secret": {"env": "TOKEN_SECRET"}}}}),
                    env={"TOKEN_SECRET": SECRET})
    http = connect(gateway)
    assert ask(http, keys.token("HS256", aud="whatever")).status == 200
    assert ask(http, keys.token("HS256", key="x" * 32)).status == 401
    assert ask(http, keys.token("ES256")).status == 401


def test_where_a_token_may_stand(start, connect, backend, keys):
    gateway = start(with_tokens(keys, backend, token_header="x-token", token_query="access_token", token_cookie="session"))
    http, token = connect(gateway), keys.token()
    assert ask(http, headers=[("x-token", token)]).status == 200
    assert ask(http, headers=[("x-token", "Bearer " + token)]).status == 200
    assert ask(http, headers=[("cookie", f"a=1; session={token}; b=2")]).status == 200
    assert backend.calls[-1].get("cookie") == "a=1; b=2"
    assert ask(http, target=f"/test/v1/echo?access_token={token}&f_string=x").status == 200
    assert backend.calls[-1].request.f_string == "x"
    assert ask(http, token).status == 401  # not in authorization
    for call in backend.calls:
        assert not any(token in v for _, v in call.metadata if isinstance(v, str)), call.metadata


def test_other_cookies_stay_as_they_are(start, connect, backend, keys):
    gateway = start(with_tokens(keys, backend, token_cookie="session"))
    http, token = connect(gateway), keys.token()
    for others in ([], ["a"], ["a=1", "b"], [f"c{i}" for i in range(300)], ["sessions=1", "Session=2", "a=session=3"]):
        for text in (";".join([*others, "session=" + token]), "; ".join(["session=" + token, *others, "session=x"]), ";;" + ";".join(["session=" + token, *others]) + ";"):
            assert ask(http, headers=[("cookie", text)]).status == 200, text
            assert backend.calls[-1].get("cookie") == ("; ".join(others) or None), text


def test_two_issuers(start, connect, backend, keys):
    other = Keys()
    gateway = start(config(backend, {"providers": {"one": provider(keys), "two": {**provider(other), "issuer": "https://other"}}}))
    http = connect(gateway)
    assert ask(http, keys.token()).status == 200
    assert ask(http, other.token(iss="https://other")).status == 200
    assert ask(http, other.token()).status == 401 and ask(http, keys.token(iss="https://other")).status == 401


# -- what the backend learns ---------------------------------------------------------------------------------------------------


def test_claims_become_headers_and_the_token_stays(start, connect, backend, keys):
    names = {"sub": "x-auth-subject", "plan.level": "x-auth-level", "roles": "x-auth-roles", "none": "x-auth-none"}
    gateway = start(with_tokens(keys, backend, claims_to_headers=names))
    assert ask(connect(gateway), keys.token(plan={"level": 3}, roles=["a", "b"])).status == 200
    call = backend.one_call()
    assert (call.get("x-auth-subject"), call.get("x-auth-level"), call.get("x-auth-roles")) == ("alice", "3", "a,b")
    assert call.get("x-auth-none") is None and call.get("authorization") is None


def test_the_token_goes_on_where_it_is_asked_for(start, connect, backend, keys):
    gateway = start(with_tokens(keys, backend, forward_token=True))
    token = keys.token()
    assert ask(connect(gateway), token).status == 200
    assert backend.one_call().get("authorization") == "Bearer " + token


def test_only_a_token_that_was_verified_goes_on(start, connect, backend, keys, tmp_path):
    """Not one beside another credential that was good, not a second header, not one in another place than the good one."""
    c = config(backend, {"providers": {"one": provider(keys, forward_token=True, token_query="t")}, "api_keys": api_keys(tmp_path, entry("k"))})
    gateway, good, wrong = start(c), keys.token(), keys.token(exp=1)
    key = [("x-api-key", "k")]
    assert ask(connect(gateway), wrong, key).status == 200 and backend.calls[-1].get("authorization") is None
    assert ask(connect(gateway), "anything", key).status == 200 and backend.calls[-1].get("authorization") is None
    assert ask(connect(gateway), None, [("authorization", "Basic YTpi")], f"/test/v1/echo?t={good}").status == 200
    assert backend.calls[-1].get("authorization") is None
    for second in ("Bearer " + wrong, "Basic YTpi", "Bearer " + good):
        r = ask(connect(gateway), good, [("authorization", second)])
        assert r.status == 200 and [v for k, v in backend.calls[-1].metadata if k == "authorization"] == ["Bearer " + good]
    assert ask(connect(gateway), wrong, [("authorization", "Bearer " + good)]).status == 401


def test_claims_that_are_no_header_are_left_out(start, connect, backend, keys):
    gateway = start(with_tokens(keys, backend, claims_to_headers={"sub": "x-sub", "a": "x-a", "b": "x-b", "c": "x-c"}))
    token = keys.token(sub="a\r\nx-b: c", a="é", b=[], c=["1", "\x00"])
    assert ask(connect(gateway), token, [("x-sub", "me"), ("x-a", "me"), ("x-b", "me")]).status == 200
    assert not [k for k, _ in backend.one_call().metadata if k in ("x-sub", "x-a", "x-b", "x-c")]


def test_identity_headers_of_clients_are_dropped_in_every_spelling_on_public_methods_too(start, backend, keys):
    c = with_tokens(keys, backend, claims_to_headers={"sub": "x-auth-subject"})
    c["policies"]["test.v1.EverythingService.Echo"] = {"authentication": "none"}
    gateway = start(c)
    for name in ("x-auth-subject", "X-Auth-Subject", "x_auth_subject", "X_AUTH-SUBJECT"):
        with H1(gateway.port) as http:
            assert ask(http, headers=[(name, "mallory")]).status == 200
        with H2(gateway.port) as http:
            assert ask(http, headers=[(name.lower(), "mallory")]).status == 200
    with grpc.insecure_channel(f"127.0.0.1:{gateway.port}", OPTIONS) as channel:
        Stub(channel).Echo(msg("Everything"), timeout=20, metadata=[("x-auth-subject", "mallory"), ("x_auth_subject", "mallory")])
    for call in backend.calls:
        assert not any("auth" in k and "subject" in k for k, _ in call.metadata), call.metadata


def test_credentials_stay_on_public_methods_too(start, connect, backend, keys, tmp_path):
    c = config(backend, {"providers": {"one": provider(keys, token_cookie="session", token_query="access_token", forward_token=True)},
                         "api_keys": api_keys(tmp_path, entry("k"))})
    c["policies"]["test.v1.EverythingService.Echo"] = {"authentication": "none"}
    token = keys.token()
    r = ask(connect(start(c)), token, [("cookie", f"session={token}"), ("x-api-key", "k")], f"/test/v1/echo?access%5Ftoken={token}&f_string=x")
    assert r.status == 200 and backend.one_call().request.f_string == "x"
    assert not any(token in str(v) or v == "k" for _, v in backend.calls[0].metadata), backend.calls[0].metadata


# -- combinations ---------------------------------------------------------------------------------------------------------------


def api_keys(tmp_path, *entries):
    path = tmp_path / "keys.json"
    path.write_text(json.dumps({"keys": list(entries)}))
    return {"file": str(path), "reload_interval": "100ms"}


def entry(key, consumer="acme", **more):
    return {"sha256": hashlib.sha256(key.encode()).hexdigest(), "consumer": consumer, **more}


def test_all_of_needs_all(start, connect, backend, keys, tmp_path):
    c = config(backend, {"providers": {"one": provider(keys)}, "api_keys": api_keys(tmp_path, entry("k"))},
               {"authentication": {"all_of": ["one", "api_key"], "any_of": None}})
    http, token = connect(start(c)), keys.token()
    assert ask(http, token, [("x-api-key", "k")]).status == 200
    assert ask(http, token).status == 401 and ask(http, headers=[("x-api-key", "k")]).status == 401
    assert ask(http, token, [("x-api-key", "wrong")]).status == 401


def test_allow_missing_lets_nobody_pass_but_not_somebody_wrong(start, connect, backend, keys):
    c = with_tokens(keys, backend, {"authentication": {"any_of": ["one"], "allow_missing": True}}, claims_to_headers={"sub": "x-who"})
    http = connect(start(c))
    assert ask(http).status == 200 and backend.calls[-1].get("x-who") is None
    assert ask(http, keys.token()).status == 200 and backend.calls[-1].get("x-who") == "alice"
    assert ask(http, keys.token(exp=1)).status == 401


def test_what_no_key_could_make_good_is_refused_though_keys_cannot_be_had(start, connect, backend, keys):
    """Fail-open is for what the failure leaves undecided; and who is refused anyway waits for nothing."""
    from test_spec_refusals import dead_port
    p = {**provider(keys, forward_token=True), "jwks": {"uri": f"http://127.0.0.1:{dead_port()}/keys"}}
    c = config(backend, {"providers": {"one": p}})
    c["policies"]["*"]["authentication"]["on_unavailable"] = "allow"
    gateway = start(c)
    http = connect(gateway)
    for wrong in ("x.y.z", "x", keys.token(exp=1), keys.token(iss="https://other"), keys.token(aud="others"), keys.token("HS256")):
        r = ask(http, wrong)
        assert r.status == 401 and r.header("www-authenticate").startswith("Bearer"), (wrong, r)
    assert not backend.calls
    r = ask(http, keys.token())
    assert r.status == 200 and backend.one_call().get("authorization") is None  # nobody verified it
    assert gateway.metric("transom_authentication_requests_total", result="fail_open") == 1


def test_a_method_is_public_only_by_a_word(tmp_path, backend, keys):
    c = with_tokens(keys, backend)
    c["policies"] = {}
    (tmp_path / "c.json").write_text(json.dumps(c))
    r = run("check", "--config", str(tmp_path / "c.json"))
    assert r.returncode == 1 and "no policy says how test.v1.EverythingService.Echo is authenticated" in r.stdout


# -- API keys --------------------------------------------------------------------------------------------------------------------


def test_an_api_key_and_its_consumer(start, connect, backend, tmp_path):
    c = config(backend, {"api_keys": {**api_keys(tmp_path, entry("first", "acme"), entry("second", "other")), "query": "key",
                                      "consumer_header": "x-consumer"}})
    http = connect(start(c))
    assert ask(http, headers=[("x-api-key", "second")]).status == 200
    assert backend.calls[-1].get("x-consumer") == "other" and backend.calls[-1].get("x-api-key") is None
    assert ask(http, target="/test/v1/echo?key=first").status == 200 and backend.calls[-1].get("x-consumer") == "acme"
    for headers in ([("x-api-key", "third")], [("x-api-key", "")], [("x-api-key", "x" * 600)], []):
        r = ask(http, headers=headers)
        assert r.status == 401 and r.header("www-authenticate").startswith("ApiKey")


def test_an_api_key_in_the_query_may_be_escaped(start, connect, backend, tmp_path):
    gateway = start(config(backend, {"api_keys": {**api_keys(tmp_path, entry("a+b/c=")), "query": "key"}}))
    http = connect(gateway)
    for text in ("a%2Bb%2Fc%3D", "a+b/c=", "%61%2bb%2fc="):
        assert ask(http, target=f"/test/v1/echo?key={text}&f_string=x").status == 200, text
    for text in ("a%2Bb%2Fc%3", "a%2", "%"):
        assert ask(http, target=f"/test/v1/echo?key={text}").status == 401, text


def test_the_file_of_keys_is_read_again_and_a_bad_one_changes_nothing(start, connect, backend, tmp_path):
    keys = api_keys(tmp_path, entry("old"))
    gateway = start(config(backend, {"api_keys": keys}))
    http = connect(gateway)

    def replace(text):
        (tmp_path / "new").write_text(text)
        os.replace(tmp_path / "new", keys["file"])
    assert ask(http, headers=[("x-api-key", "old")]).status == 200
    replace(json.dumps({"keys": [entry("new")]}))
    wait_until("the new key is known", lambda: ask(http, headers=[("x-api-key", "new")]).status == 200, 20)
    assert ask(http, headers=[("x-api-key", "old")]).status == 401
    replace('{"keys": [')
    wait_until("the mistake is told", lambda: "those in use stay" in gateway.stderr, 20)
    assert gateway.metric("transom_api_key_reads_total", result="ok") == 1 and gateway.metric("transom_api_key_reads_total", result="failed") == 1
    assert ask(http, headers=[("x-api-key", "new")]).status == 200


def test_api_key_new_makes_what_the_file_needs(start, connect, backend, tmp_path):
    r = run("api-key", "new", "--consumer", "acme", "--tier", "gold", "--scope", "read", "--scope=write")
    assert r.returncode == 0, r.stderr
    key, line = r.stdout.splitlines()[1], r.stdout.splitlines()[3]
    assert re.fullmatch(r"tk_[\w-]{43}", key) and key not in line
    stored = json.loads(line)
    assert stored == entry(key, "acme", tier="gold", scopes=["read", "write"])
    gateway = start(config(backend, {"api_keys": api_keys(tmp_path, stored)}))
    assert ask(connect(gateway), headers=[("x-api-key", key)]).status == 200
    assert run("api-key", "new").returncode == 2 and run("api-key").returncode == 2


# -- client certificates -----------------------------------------------------------------------------------------------------------


def test_a_client_certificate_stands_for_a_consumer(start, connect, backend, certificates):
    listener = {"address": "127.0.0.1:0", "tls": certificates.server("localhost", client_ca=str(certificates.ca), client_certificate="optional")}
    c = base_config([backend.endpoint], listeners=[listener], workers=1, authentication={
        "client_certificates": [{"consumer": "one", "san": "DNS:partner.test"}, {"consumer": "two", "subject": "CN=other.test"},
                                {"consumer": "no", "san": "DNS:other.test", "subject": "CN=somebody"}],
        "client_certificate_header": "x-partner"}, policies={"*": {"authentication": {"any_of": ["client_certificate"]}}})
    gateway = start(c)

    def as_client(name):
        context = certificates.client_context(None, name)
        context.check_hostname = False
        with H1(gateway.port, tls=context) as http:
            return http.request("GET", "/test/v1/echo", timeout=20).status
    assert as_client("partner.test") == 200 and backend.calls[-1].get("x-partner") == "one"
    assert as_client("other.test") == 200 and backend.calls[-1].get("x-partner") == "two"
    assert as_client("third.test") == 401
    assert as_client(None) == 401


# -- failures of one address ---------------------------------------------------------------------------------------------------------


def test_failures_of_one_address_are_bounded(start, connect, backend, keys):
    c = with_tokens(keys, backend)
    c["authentication"].update(max_failures=3, failure_window="3600s")
    c["trusted_hops"] = 1
    gateway = start(c)
    http, a, b = connect(gateway), [("x-forwarded-for", "192.0.2.1")], [("x-forwarded-for", "192.0.2.2")]
    assert [ask(http, "x.y.z", a).status for _ in range(5)] == [401, 401, 401, 429, 429]
    r = ask(http, keys.token(), a)
    assert r.status == 429 and int(r.header("retry-after")) > 0  # good ones too, until then
    assert ask(http, keys.token(), b).status == 200
    assert [ask(http, None, b).status for _ in range(5)] == [401] * 5  # asking without is no failure


def test_failures_of_one_network_of_ipv6_count_together(start, connect, backend, keys):
    c = with_tokens(keys, backend)
    c["authentication"].update(max_failures=3, failure_window="3600s")
    c["trusted_hops"] = 1
    http = connect(start(c))
    def refused(address):
        return ask(http, "x.y.z", [("x-forwarded-for", address)]).status
    assert [refused(f"2001:db8:0:1:{n:x}::{n:x}") for n in range(1, 6)] == [401, 401, 401, 429, 429]
    assert refused("2001:db8:0:2::1") == 401


# -- mistakes ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("changes, said", [
    ({"jwks": {"uri": "ftp://x"}}, "http"), ({"jwks": {"uri": "https://a/b", "file": "c"}}, "only one of"),
    ({"secret": "short"}, "secret"), ({"algorithms": ["RS257"]}, "RS256"), ({"algorithms": ["HS256"]}, "need a secret"),
    ({"audiences": []}, "audiences"), ({"jwks": {"inline": {"keys": []}}}, "usable"), ({"jwks": {}, "issuer": "http://x"}, "https"),
    ({"token_header": "a b"}, "header name"), ({"claims_to_headers": {"sub": "a b"}}, "header name"),
    *[({"claims_to_headers": {"sub": name}}, "cannot carry") for name in ("content-type", "Grpc-Timeout", "te", "host", "x-sub-bin")],
])
def test_mistakes_are_told_at_load(tmp_path, backend, keys, changes, said):
    p = {**provider(keys), **changes}
    if "secret" in changes:
        del p["jwks"]
    (tmp_path / "c.json").write_text(json.dumps(config(backend, {"providers": {"one": p}})))
    r = run("check", "--config", str(tmp_path / "c.json"))
    assert r.returncode == 1 and "/authentication/providers/one" in r.stdout and said in r.stdout, r.stdout


@pytest.mark.parametrize("policy, said", [
    ({"authentication": {"any_of": ["two"]}}, "authentication.providers has no \"two\""),
    ({"authentication": {"any_of": ["api_key"]}}, "api_key needs authentication.api_keys"),
    ({"authentication": {"allow_missing": True, "any_of": []}}, "name what must be shown"),
    ({"authorization": {}}, "name scopes"),
])
def test_mistakes_of_policies_are_told_at_load(tmp_path, backend, keys, policy, said):
    (tmp_path / "c.json").write_text(json.dumps(with_tokens(keys, backend, policy)))
    r = run("check", "--config", str(tmp_path / "c.json"))
    assert r.returncode == 1 and "/policies/*" in r.stdout and said in r.stdout, r.stdout


# -- explain -----------------------------------------------------------------------------------------------------------------------


def test_explain_says_who_it_would_be(tmp_path, backend, keys):
    fetched = {**provider(keys), "issuer": "https://far.test", "jwks": {"uri": "https://far.test/keys"}}
    c = config(backend, {"providers": {"one": provider(keys), "far": fetched}, "api_keys": api_keys(tmp_path, entry("k", scopes=["write"]))},
               {"authorization": {"scopes": ["write"]}})
    (tmp_path / "c.json").write_text(json.dumps(c))

    def explain(*headers):
        options = [o for h in headers for o in ("-H", h)]
        return run("explain", "--config", str(tmp_path / "c.json"), "GET", "/test/v1/echo", *options)
    for headers, status, said in (
            ([], 1, "authentication: refused: 401 AUTH_MISSING"), (["authorization: Bearer x.y.z"], 1, "authentication: refused: 401 AUTH_INVALID"),
            (["authorization: Bearer " + keys.token(exp=1)], 1, "authentication: refused: 401 AUTH_EXPIRED: the token has expired"),
            (["authorization: Bearer " + keys.token()], 1, "authorization: refused: 403 PERMISSION_DENIED"),
            (["authorization: Bearer " + keys.token(scope="read write")], 0, "one: a good token of alice"),
            (["authorization: Bearer " + keys.token(scope="read write")], 0, "authorization: passes"),
            (["authorization: Bearer " + keys.token(iss="https://far.test")], 0, "with the keys of https://far.test/keys"),
            (["x-api-key: k"], 0, "api_key: the key of acme"), (["x-api-key: other"], 1, "api_key: not in the file")):
        r = explain(*headers)
        assert r.returncode == status and said in r.stdout and "upstream: main" in r.stdout, (headers, r.stdout)
        assert not any(h.split()[-1] in r.stdout for h in headers if "Bearer" in h)
