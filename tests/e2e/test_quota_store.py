"""Quotas that gateways share in a real Redis: exact between them, and what each on_failure does when it is away."""
import concurrent.futures
import contextlib
import time

import pytest

from env.build import wait_until
from env.gateway import base_config
from env.http1 import H1
from env.redis import SERVER, Redis

pytestmark = pytest.mark.skipif(not SERVER, reason="redis-server is not installed")


@pytest.fixture
def redis():
    server = Redis()
    yield server
    server.close()


def config(backend, url, *quotas, **store):
    return base_config([backend.endpoint], quota_store={"redis": url, "timeout": "5s", **store},
                       policies={"*": {"quotas": list(quotas)}})


def quota(name="q", limit=5, **more):
    return {"name": name, "limit": limit, "window": "36000s", **more}


def link_is(gateway, up):
    wait_until(f"links up: {up}", lambda: gateway.metric("transom_quota_store_up") == (2 if up else 0), 20)


def begin(start, conf):
    conf["workers"] = 2
    gateway = start(conf)
    link_is(gateway, True)
    return gateway


def statuses(gateway, n):
    with contextlib.closing(H1(gateway.port)) as http:
        return [http.request("GET", "/test/v1/echo/x", timeout=20).status for _ in range(n)]


def test_two_gateways_of_two_workers_admit_the_limit_and_never_one_more(start, backend, redis):
    gateways = [begin(start, config(backend, f"unix:{redis.path}", quota(limit=70))) for _ in range(2)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda i: statuses(gateways[i % 2], 25), range(8)))
    flat = sum(results, [])
    assert set(flat) == {200, 429} and flat.count(200) == 70
    assert sum(g.metric("transom_quota_decisions_total", quota="q", result="allowed") for g in gateways) == 70
    assert len(backend.calls) == 70


def test_what_is_earned_is_earned_once_for_all_gateways(start, backend, redis):
    limited = {"name": "q", "limit": 20, "window": "1s", "burst": 5}
    gateways = [begin(start, config(backend, f"unix:{redis.path}", limited)) for _ in range(2)]
    began = time.time()
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        passed = sum(pool.map(lambda i: statuses(gateways[i % 2], 60).count(200), range(4)))
    took = time.time() - began
    assert 5 <= passed <= 5 + int(took * 20)


def test_nothing_is_charged_when_the_other_store_refuses(start, backend, redis):
    gateway = begin(start, config(backend, f"unix:{redis.path}", quota("shared", 50), quota("mine", 3, store="local")))
    assert statuses(gateway, 10) == [200] * 3 + [429] * 7
    with contextlib.closing(H1(gateway.port)) as http:
        r = http.request("GET", "/test/v1/echo/x", timeout=20)
    assert r.status == 429 and '"mine";r=0' in r.header("ratelimit")
    other = begin(start, config(backend, f"unix:{redis.path}", quota("shared", 50)))
    assert statuses(other, 60).count(200) == 47


def test_store_that_forgets_its_script_or_hangs_up_loses_no_count(start, backend, redis):
    gateway = begin(start, config(backend, f"unix:{redis.path}", quota(limit=6), on_failure="deny"))
    assert statuses(gateway, 2) == [200, 200]
    redis.say("SCRIPT FLUSH")
    assert statuses(gateway, 2) == [200, 200]
    redis.say("CLIENT KILL TYPE normal SKIPME yes")
    wait_until("a link is lost", lambda: "it closed the connection" in gateway.stderr or "broke" in gateway.stderr, 20)
    link_is(gateway, True)
    assert statuses(gateway, 3) == [200, 200, 429]


@pytest.mark.parametrize("on_failure, want, result", [
    ("local", [200] * 5 + [429] * 5, "failed_local"),
    ("allow", [200] * 10, "failed_open"),
    ("deny", [503] * 10, "failed_closed"),
])
def test_store_is_killed_and_comes_back(start, backend, redis, on_failure, want, result):
    gateway = begin(start, config(backend, f"unix:{redis.path}", quota(limit=5), on_failure=on_failure))
    assert statuses(gateway, 2) == [200, 200]
    redis.stop()
    link_is(gateway, False)
    assert statuses(gateway, 10) == want
    assert gateway.metric("transom_quota_decisions_total", quota="q", result=result) >= want.count(want[0])
    redis.start()
    link_is(gateway, True)
    assert statuses(gateway, 8) == [200] * 5 + [429] * 3  # exact again: a new store, that knows of none


def test_store_that_is_frozen_fails_within_its_timeout_and_counts_on(start, backend, redis):
    gateway = begin(start, config(backend, f"unix:{redis.path}", quota(limit=5), on_failure="deny", timeout="50ms"))
    redis.freeze()
    try:
        assert statuses(gateway, 20) == [503] * 20
        assert gateway.metric("transom_errors_total", reason="QUOTA_UNAVAILABLE") == 20
        # the worker that was asked gives its link up; one that was not has nothing that is unanswered
        wait_until("a link is down", lambda: gateway.metric("transom_quota_store_up") < 2, 20)
    finally:
        redis.thaw()
    link_is(gateway, True)
    seen = []
    for _ in range(40):  # a machine that is busy may be late
        seen += statuses(gateway, 1)
    assert seen.count(200) <= 5 and 429 in seen  # those that were refused may have been charged, none is free


def test_password_and_database(start, backend):
    redis = Redis(password="s3cret")
    try:
        wrong = config(backend, f"unix://:oth3r@{redis.path}", quota(limit=5), on_failure="deny")
        wrong["workers"] = 2
        gateway = start(wrong)
        wait_until("AUTH is refused", lambda: "AUTH was refused" in gateway.stderr, 20)
        assert statuses(gateway, 1) == [503]
        assert "oth3r" not in gateway.stderr
        url = f"unix://:s3cret@{redis.path}?db=4"
        assert statuses(begin(start, config(backend, url, quota(limit=2))), 3) == [200, 200, 429]
        assert redis.say("SELECT 4", "DBSIZE").endswith(":1\r\n")
    finally:
        redis.close()
