"""Quotas: what passes, what each answer says, whose counter it is, tiers, costs, all or none; in this process and in Redis."""
import concurrent.futures
import re
import time

import grpc
import pytest

from env.gateway import base_config, run
from test_native_grpc import OPTIONS, Stub, msg


def quota(name="q", limit=3, window="3600s", **more):
    return {"name": name, "limit": limit, "window": window, **more}


def one(endpoint, *quotas, **more):
    return base_config([endpoint], policies={"*": {"quotas": list(quotas), **more}})


def get(http, path="/test/v1/echo/x", method="GET", **options):
    return http.request(method, path, timeout=20, **options)


def members(r, name):
    """{quota: {parameter: value}} of RateLimit or RateLimit-Policy."""
    found = re.findall(r'"([^"]+)"((?:;\w=\d+)*)', r.header(name) or "")
    return {n: {k: int(v) for k, v in re.findall(r";(\w)=(\d+)", rest)} for n, rest in found}


def statuses(http, n, **options):
    return [get(http, **options).status for _ in range(n)]


def test_burst_passes_then_429_with_retry_after(start, connect, backend):
    gateway = start(one(backend.endpoint, quota(limit=3)))
    http = connect(gateway)
    for left in (2, 1, 0):
        r = get(http)
        assert r.status == 200
        assert members(r, "ratelimit")["q"]["r"] == left
        assert members(r, "ratelimit-policy")["q"] == {"q": 3, "w": 3600}
    with gateway.counts("QUOTA_EXCEEDED"):
        r = get(http)
    assert r.status == 429 and r.json()["code"] == 8 and 'quota "q"' in r.json()["message"]
    assert r.json()["details"][0]["reason"] == "QUOTA_EXCEEDED"
    assert 1100 <= int(r.header("retry-after")) <= 1200  # 3600 / 3
    assert members(r, "ratelimit")["q"]["r"] == 0
    assert len(backend.calls) == 3  # a refusal costs the backend nothing
    assert gateway.metric("transom_quota_decisions_total", quota="q", result="allowed") == 3
    assert gateway.metric("transom_quota_decisions_total", quota="q", result="limited") == 1


def test_one_more_is_earned_each_interval(start, connect, backend):
    gateway = start(one(backend.endpoint, quota(limit=10, window="2s", burst=1)))
    http, began, passed = connect(gateway), time.monotonic(), 0
    while passed < 4 and time.monotonic() < began + 20:
        passed += get(http).status == 200
    took = time.monotonic() - began
    assert passed == 4 and took >= 3 * 0.2 - 0.05  # never one more than 1 + floor(elapsed / 0.2 s)


def test_rest_and_native_grpc_share_the_counter(start, connect, backend):
    gateway = start(one(backend.endpoint, quota(limit=2)))
    assert get(connect(gateway)).status == 200
    with grpc.insecure_channel(f"127.0.0.1:{gateway.port}", OPTIONS) as channel:
        stub = Stub(channel)
        call = stub.Echo.with_call(msg("Everything"), timeout=20)[1]
        assert '"q";r=0' in dict(call.initial_metadata())["ratelimit"]
        with pytest.raises(grpc.RpcError) as e:
            stub.Echo(msg("Everything"), timeout=20)
        assert e.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert get(connect(gateway)).status == 429


def test_all_workers_share_the_counter(start, connect, backend):
    config = one(backend.endpoint, quota(limit=50))
    config["workers"] = 4
    gateway = start(config)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        passed = sum(pool.map(lambda _: statuses(connect(gateway), 20).count(200), range(8)))
    assert passed == 50


def test_keys_have_counters_of_their_own(start, connect, backend):
    gateway = start(one(backend.endpoint, quota(limit=1, key=["header:X-Tenant", "method"])))
    http = connect(gateway)
    assert get(http, headers=[("x-tenant", "a")]).status == 200
    assert get(http, headers=[("x-tenant", "b")]).status == 200
    assert get(http, headers=[("x-tenant", "a")]).status == 429
    assert get(http).status == 200  # without a value: one that all those share
    assert get(http).status == 429
    with grpc.insecure_channel(f"127.0.0.1:{gateway.port}", OPTIONS) as channel:  # another method, another counter
        assert Stub(channel).Up(iter([msg("StreamItem")]), timeout=20, metadata=[("x-tenant", "a")]).count == 1


def test_client_address_is_the_trusted_one(start, connect, backend):
    config = one(backend.endpoint, quota(limit=1, key=["client_address"]))
    config["trusted_hops"] = 1
    gateway = start(config)
    http = connect(gateway)
    seen = [get(http, headers=[("x-forwarded-for", ip)]).status for ip in ("192.0.2.1", "192.0.2.2", "192.0.2.1, 192.0.2.2", "192.0.2.1")]
    assert seen == [200, 200, 429, 429]


def test_client_network_is_an_ipv4_address_or_the_64_bits_of_an_ipv6_one(start, connect, backend):
    config = one(backend.endpoint, quota(limit=1, key=["client_network"]))
    config["trusted_hops"] = 1
    http = connect(start(config))
    def asked(ip):
        return get(http, headers=[("x-forwarded-for", ip)]).status
    assert [asked(ip) for ip in ("192.0.2.1", "192.0.2.2", "192.0.2.1", "2001:db8:0:1::1", "2001:db8:0:1:ffff::2", "2001:db8:0:2::1")] == [200, 200, 429, 200, 429, 200]


def test_tier_says_how_much(start, connect, backend):
    tiers = {"from": "header:x-plan", "gold": {"limit": 5}, "slow": {"limit": 1, "window": "7200s"}}
    gateway = start(one(backend.endpoint, quota(limit=2, key=["header:x-plan"], tiers=tiers)))
    http = connect(gateway)
    assert statuses(http, 6, headers=[("x-plan", "gold")]) == [200] * 5 + [429]
    assert statuses(http, 3, headers=[("x-plan", "other")]) == [200, 200, 429]
    r = get(http, headers=[("x-plan", "slow")])
    assert members(r, "ratelimit-policy")["q"] == {"q": 1, "w": 7200}


def test_cost_of_a_method(start, connect, backend):
    gateway = start(one(backend.endpoint, quota(limit=10), quota_cost=4))
    http = connect(gateway)
    assert statuses(http, 3) == [200, 200, 429]
    assert members(get(http), "ratelimit")["q"]["r"] == 2


def test_none_is_charged_when_one_refuses(start, connect, backend):
    gateway = start(one(backend.endpoint, quota("wide", 10), quota("narrow", 1, key=["header:x-a"]), quota("last", 10)))
    http = connect(gateway)
    assert statuses(http, 4, headers=[("x-a", "1")]) == [200, 429, 429, 429]
    r = get(http, headers=[("x-a", "2")])
    assert r.status == 200
    assert [members(r, "ratelimit")[n]["r"] for n in ("wide", "narrow", "last")] == [8, 0, 8]


def test_methods_that_inherit_a_quota_share_it_and_null_removes_it(start, connect, backend):
    config = one(backend.endpoint, quota(limit=2))
    config["policies"]["test.v1.EverythingService.Echo"] = {"quotas": None}
    gateway = start(config)
    assert statuses(connect(gateway), 5) == [200] * 5
    with grpc.insecure_channel(f"127.0.0.1:{gateway.port}", OPTIONS) as channel:
        stub = Stub(channel)
        assert len(list(stub.Down(msg("StreamRequest", count=1), timeout=20))) == 1
        assert stub.Up(iter([msg("StreamItem")]), timeout=20).count == 1
        with pytest.raises(grpc.RpcError) as e:
            list(stub.Down(msg("StreamRequest", count=1), timeout=20))
        assert e.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_streams_are_charged_once(start, connect, backend):
    gateway = start(one(backend.endpoint, quota(limit=2)))
    with grpc.insecure_channel(f"127.0.0.1:{gateway.port}", OPTIONS) as channel:
        assert len(list(Stub(channel).Down(msg("StreamRequest", count=100, size=10), timeout=20))) == 100
    assert get(connect(gateway)).status == 200
    assert get(connect(gateway)).status == 429


def test_a_full_table_evicts_and_counts(start, connect, backend):
    config = one(backend.endpoint, quota(limit=1, key=["header:x-k"]))
    config["quota_store"] = {"local_entries": 64}
    gateway = start(config)
    http = connect(gateway)
    assert all(get(http, headers=[("x-k", str(i))]).status == 200 for i in range(300))
    assert gateway.metric("transom_quota_evictions_total") >= 300 - 64


@pytest.mark.parametrize("changes, where, said", [
    ({"key": ["nothing"]}, "/policies/*/quotas", "is no part of a key"),
    ({"name": "two words"}, "/policies/*/quotas", "a quota's name"),
    ({"tiers": {"gold": {"limit": 1}}}, "/policies/*/quotas", 'no "from"'),
    ({"tiers": {"from": "tier", "gold": {"limits": 1}}}, "/policies/*/quotas", "limits"),
    ({"key": ["claim:sub"], "before_authentication": True}, "/policies/*/quotas", "needs an identity"),
    ({"limit": 0}, "/policies/*/quotas/0/limit", "must be between"),
    ({"limit": 1, "window": "8784h", "burst": 19}, "/policies/*/quotas", "more than 18 years"),
])
def test_mistakes_are_told_at_load(tmp_path, backend, changes, where, said):
    import json
    config = one(backend.endpoint, {**quota(), **changes})
    (tmp_path / "c.json").write_text(json.dumps(config))
    r = run("check", "--config", str(tmp_path / "c.json"))
    assert r.returncode == 1 and where in r.stdout and said in r.stdout, r.stdout


def test_a_cost_above_the_burst_is_told_at_load(tmp_path, backend):
    import json
    (tmp_path / "c.json").write_text(json.dumps(one(backend.endpoint, quota(limit=3), quota_cost=4)))
    r = run("check", "--config", str(tmp_path / "c.json"))
    assert r.returncode == 1 and "more than its burst" in r.stdout
