"""Quotas at their edges: time within a turn, keys that could be mistaken for others, free calls, what a refusal by something else leaves."""
import base64
import contextlib
import json

import pytest

from env.gateway import base_config, run
from env.http2 import H2
from test_authentication import ISSUER, Keys, api_keys, ask, config, entry, provider


def quota(name="q", limit=3, window="3600s", **more):
    return {"name": name, "limit": limit, "window": window, **more}


def one(endpoint, *quotas, **more):
    return base_config([endpoint], policies={"*": {"quotas": list(quotas), **more}})


def test_what_is_earned_within_a_turn_of_the_loop_counts(start, backend):
    """Requests that are read at once take longer than the microsecond in which the next one is earned."""
    gateway = start(one(backend.endpoint, quota(limit=1000000, window="1s", burst=2)))
    with contextlib.closing(H2(gateway.port)) as client:
        client.flush = lambda: None
        streams = [client.start("GET", "/test/v1/echo/x") for _ in range(80)]
        del client.flush
        client.flush()
        statuses = [s.finish(20).status for s in streams]
    assert statuses.count(200) >= 70, statuses


def get(http, **headers):
    return http.request("GET", "/test/v1/echo/x", headers=[(n.replace("_", "-"), v) for n, v in headers.items()], timeout=20)


def test_values_that_look_alike_when_they_stand_together_are_not_one_key(start, connect, backend):
    gateway = start(one(backend.endpoint, quota(limit=1, key=["header:x-a", "header:x-b"])))
    http = connect(gateway)
    pairs = [("a", "bc"), ("ab", "c"), ("abc", ""), ("", "abc"), ("a 2:bc", ""), ("a 2:bc 0:", ""), ("1:a", "bc"), ("a", "b\xe9c"), ("a", "b%e9c"), ("A", "bc"), ("a b", "c"), ("a", "b c")]
    for a, b in pairs:
        seen = [get(http, x_a=a, x_b=b).status for _ in range(2)]
        assert seen == [200, 429], (a, b)


def test_a_key_of_eight_long_parts_is_as_good_as_another(start, connect, backend):
    config = one(backend.endpoint, quota(limit=1, key=["header:x-a"] * 8))
    http = connect(start(config))
    value = "v" * 30000
    assert [get(http, x_a=value + end).status for end in ("1", "2", "1", "2")] == [200, 200, 429, 429]


def test_what_costs_nothing_passes_when_nothing_is_left(start, connect, backend):
    config = one(backend.endpoint, quota(limit=2))
    config["policies"]["test.v1.EverythingService.Sleep"] = {"quota_cost": 0}
    http = connect(start(config))
    assert [get(http).status for _ in range(3)] == [200, 200, 429]
    r = http.request("GET", "/test/v1/sleep", timeout=20)
    assert r.status == 200 and '"q";r=0;t=' in r.header("ratelimit")


def test_reset_of_a_quota_that_refused_is_what_retry_after_says(start, connect, backend):
    http = connect(start(one(backend.endpoint, quota("q", 4, "400s"), quota("wide", 10, "1000s"))))
    assert [get(http).status for _ in range(4)] == [200] * 4
    r = get(http)
    assert r.status == 429 and 98 <= int(r.header("retry-after")) <= 100
    assert r.json()["details"][1] == {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": r.header("retry-after") + "s"}
    assert f'"q";r=0;t={r.header("retry-after")}, "wide";r=6;t=' in r.header("ratelimit")


def test_retry_after_is_when_all_have_room(start, connect, backend):
    http = connect(start(one(backend.endpoint, quota("short", 1, "100s"), quota("long", 1, "1000s"), quota("mid", 1, "500s"))))
    assert get(http).status == 200
    r = get(http)
    assert r.status == 429 and 990 <= int(r.header("retry-after")) <= 1000


def varint(n):
    return bytes([n & 127 | 128]) + varint(n >> 7) if n > 127 else bytes([n])


def test_native_grpc_is_refused_by_one_frame_that_says_when(start, backend):
    """Trailers-only: one HEADERS frame that ends the stream, with all that a REST client is told."""
    gateway = start(one(backend.endpoint, quota(limit=1)))
    with contextlib.closing(H2(gateway.port)) as client:
        answers = []
        for _ in range(2):
            stream = client.start("POST", "/test.v1.EverythingService/Echo", [("content-type", "application/grpc"), ("te", "trailers")], length=-1)
            stream.send(b"\0\0\0\0\0", end=True)
            answers.append(stream.finish(20))
    assert dict(answers[0].trailers)["grpc-status"] == "0"
    r = answers[1]
    assert r.status == 200 and r.trailers == [] and r.body == b""
    head = dict(r.headers)
    assert head["grpc-status"] == "8" and head["content-type"] == "application/grpc"
    details = base64.b64decode(head["grpc-status-details-bin"] + "==")  # google.rpc.Status: RetryInfo {retry_delay {seconds}}
    assert b"google.rpc.RetryInfo" in details and details.endswith(b"\x12\x05\x0a\x03\x08" + varint(int(head["retry-after"])))
    assert "used up" in head["grpc-message"] and 3590 <= int(head["retry-after"]) <= 3600
    assert head["ratelimit"].startswith('"q";r=0;t=') and head["ratelimit-policy"] == '"q";q=1;w=3600'


def test_a_day_and_a_microsecond(start, connect, backend):
    gateway = start(one(backend.endpoint, quota("day", 1, "24h", key=["header:x-day"]), quota("fast", 1000000, "1s", key=["header:x-fast"]),
                        quota("short", 5, "10ms"), quota("year", 1, "8784h", key=["header:x-year"])))
    http = connect(gateway)
    r = get(http, x_day="1", x_fast="1", x_year="1")
    assert r.status == 200
    assert r.header("ratelimit-policy") == '"day";q=1;w=86400, "fast";q=1000000;w=1, "short";q=5;w=1, "year";q=1;w=31622400'
    assert '"day";r=0;t=86400, "fast";r=999999;t=1, "short";r=4;t=1, "year";r=0;t=31622400' == r.header("ratelimit")
    assert get(http, x_day="2", x_fast="1", x_year="2").status == 200
    r = get(http, x_day="1", x_fast="1", x_year="3")
    assert r.status == 429 and 86390 <= int(r.header("retry-after")) <= 86400


# -- whose counter: identities ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def keys():
    return Keys()


def test_claims_say_whose_counter_and_how_much(start, connect, backend, keys):
    tiers = {"from": "claim:plan.name", "gold": {"limit": 3}}
    policy = {"quotas": [quota(limit=1, key=["claim:sub"], tiers=tiers)], "authentication": {"any_of": ["one"], "allow_missing": True}}
    http = connect(start(config(backend, {"providers": {"one": provider(keys)}}, policy)))

    def seen(n, **claims):
        token = keys.token(**claims) if claims else None
        return [ask(http, token).status for _ in range(n)]
    assert seen(2, sub="alice") == [200, 429]
    assert seen(2, sub="bob") == [200, 429]
    assert seen(4, sub="carol", plan={"name": "gold"}) == [200, 200, 200, 429]
    assert seen(2, sub="dave", plan={"name": "other"}) == [200, 429]
    assert seen(2) == [200, 429]  # without a token: a value that all those share
    assert seen(1, sub=None) == [429]  # as do those whose token has no such claim


def test_of_two_issuers_iss_keeps_subjects_apart(start, connect, backend, keys):
    other = {**provider(keys), "issuer": "https://other.test"}
    policy = {"quotas": [quota(limit=1, key=["claim:iss", "claim:sub"])]}
    http = connect(start(config(backend, {"providers": {"one": provider(keys), "two": other}}, policy)))
    seen = [ask(http, keys.token(iss=iss)).status for iss in (ISSUER, "https://other.test", ISSUER, "https://other.test")]
    assert seen == [200, 200, 429, 429]


def test_consumers_and_tiers_of_api_keys(start, connect, backend, tmp_path):
    entries = [entry("a1", "acme"), entry("a2", "acme"), entry("b", "bits", tier="gold")]
    policy = {"quotas": [quota(limit=1, key=["consumer"], tiers={"from": "tier", "gold": {"limit": 3}})]}
    http = connect(start(config(backend, {"api_keys": api_keys(tmp_path, *entries)}, policy)))
    assert [ask(http, headers=[("x-api-key", k)]).status for k in ("a1", "a2", "a1")] == [200, 429, 429]  # two keys, one consumer
    assert [ask(http, headers=[("x-api-key", "b")]).status for _ in range(4)] == [200] * 3 + [429]


def test_what_an_unknown_credential_or_a_missing_tier_gets(start, connect, backend):
    tiers = {"from": "tier", "gold": {"limit": 5}, "": {"limit": 2}}
    http = connect(start(one(backend.endpoint, quota(limit=4, tiers=tiers))))  # nobody is authenticated here
    assert [get(http).status for _ in range(3)] == [200, 200, 429]


def test_a_tier_has_what_it_leaves_out_from_the_quota(start, connect, backend):
    tiers = {"from": "header:x-plan", "more": {"limit": 5}, "slow": {"window": "7200s"}, "bursty": {"burst": 6}}
    http = connect(start(one(backend.endpoint, quota(limit=10, burst=2, key=["header:x-plan"], tiers=tiers))))
    for plan, passes, policy in (("none", 2, "q=10;w=3600"), ("more", 5, "q=5;w=3600"), ("slow", 2, "q=10;w=7200"), ("bursty", 6, "q=10;w=3600")):
        answers = [get(http, x_plan=plan) for _ in range(passes + 1)]
        assert [r.status for r in answers] == [200] * passes + [429], plan
        assert answers[0].header("ratelimit-policy") == f'"q";{policy}'


def test_constants_part_quotas_of_one_name(start, connect, backend):
    config = one(backend.endpoint, quota(limit=1, key=["constant:reads"]))
    config["policies"]["test.v1.EverythingService.Sleep"] = {"quotas": [quota(limit=1, key=["constant:waits"])]}
    http = connect(start(config))
    assert [http.request("GET", t, timeout=20).status for t in ("/test/v1/echo", "/test/v1/sleep", "/test/v1/echo", "/test/v1/sleep")] == [200, 200, 429, 429]


def test_a_constant_and_the_first_of_two_values(start, connect, backend):
    quotas = [quota("one", 2, key=["constant:a", "header:x-a"]), quota("two", 5, key=["constant:b"])]
    http = connect(start(one(backend.endpoint, *quotas)))
    seen = [http.request("GET", "/test/v1/echo/x", [("x-a", "1"), ("X-A", str(i))], timeout=20).status for i in range(3)]
    assert seen == [200, 200, 429]
    assert [get(http, x_a="2").status for _ in range(3)] == [200, 200, 429]
    r = get(http, x_a="3")
    assert r.status == 200 and '"two";r=0' in r.header("ratelimit") and get(http, x_a="3").status == 429


# -- mistakes -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("quotas, said", [
    ([quota("n" * 65)], "a quota's name has 1 to 64"),
    ([quota('say"')], "a quota's name has 1 to 64"),
    ([quota(key=["method"] * 9)], "more than 8 parts"),
    ([quota(f"q{i}") for i in range(17)], "more than 16 quotas"),
    ([quota(), quota()], "two quotas are named"),
    ([quota(before_authentication=True, tiers={"from": "tier", "gold": {"limit": 1}})], "needs an identity"),
    ([quota(tiers={"from": "header:x", "gold": {"window": "999us"}})], "a duration from 1ms"),
    ([quota(tiers={"from": "header:x", "gold": {"limit": 0}})], "integers from 1"),
    ([quota(tiers={"from": "header:x", "gold": {"limit": "9"}})], "integers from 1"),
    ([quota(tiers={"from": "method:x"})], "tiers.from"),
    ([quota(tiers=["gold"])], "not an object"),
    ([quota(key=["header:a b"])], "is no part of a key"),
    ([quota(key=["claim:"])], "is no part of a key"),
    ([quota(key=["consumer:x"])], "is no part of a key"),
    ([quota(window="0s")], "must be between"),
])
def test_more_mistakes_are_told_at_load(tmp_path, backend, quotas, said):
    (tmp_path / "c.json").write_text(json.dumps(one(backend.endpoint, *quotas)))
    r = run("check", "--config", str(tmp_path / "c.json"))
    assert r.returncode == 1 and "/policies/*/quotas" in r.stdout and said in r.stdout, r.stdout


def test_names_of_sixty_four_and_sixteen_quotas_are_served(start, connect, backend):
    names = [f"{i:02}" + "-._:" + "n" * 58 for i in range(16)]
    r = get(connect(start(one(backend.endpoint, *[quota(n, 9) for n in names]))))
    assert r.status == 200
    for header in ("ratelimit", "ratelimit-policy"):
        assert [m.split('"')[1] for m in r.header(header).split(", ")] == names
