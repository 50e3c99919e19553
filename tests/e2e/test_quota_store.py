"""Quotas that gateways share in a real Redis: exact between them, and what each on_failure does when it is away."""
import concurrent.futures
import contextlib
import hashlib
import re
import socket
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


@pytest.mark.parametrize("up", [True, False], ids=["store", "fallback"])
def test_what_the_store_or_its_fallback_refuses_is_taken_back_here(start, backend, redis, up):
    gateway = begin(start, config(backend, f"unix:{redis.path}", quota("mine", 9, store="local"), quota("shared", 1)))
    if not up:
        redis.stop()
        link_is(gateway, False)
    assert statuses(gateway, 5) == [200] + [429] * 4
    with contextlib.closing(H1(gateway.port)) as http:
        r = http.request("GET", "/test/v1/echo/x", timeout=20)
    assert r.status == 429 and '"mine";r=8;' in r.header("ratelimit")


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
        wait_until("all are counted", lambda: gateway.errors("QUOTA_UNAVAILABLE") >= 20)  # after the answer
        assert gateway.errors("QUOTA_UNAVAILABLE") == 20
        # the worker that was asked gives its link up; one that was not has nothing that is unanswered
        wait_until("a link is down", lambda: gateway.metric("transom_quota_store_up") < 2, 20)
    finally:
        redis.thaw()
    link_is(gateway, True)
    seen = []
    for _ in range(40):  # a machine that is busy may be late
        seen += statuses(gateway, 1)
    assert seen.count(200) <= 5 and 429 in seen  # those that were refused may have been charged, none is free


def test_each_quota_has_its_own_on_failure(start, backend, redis):
    conf = config(backend, f"unix:{redis.path}", quota("opened", 9, on_failure="allow"), quota("mine", 2, on_failure="local"),
                  quota("also", 9, on_failure="allow"), on_failure="deny")
    conf["policies"]["test.v1.EverythingService.Sleep"] = {"quotas": [quota("closed", 9), quota("opened", 9, on_failure="allow")]}
    gateway = begin(start, conf)
    redis.stop()
    link_is(gateway, False)
    with contextlib.closing(H1(gateway.port)) as http:
        answers = [http.request("GET", "/test/v1/echo/x", timeout=20) for _ in range(3)]
        r = http.request("GET", "/test/v1/sleep", timeout=20)
    assert [a.status for a in answers] == [200, 200, 429]
    assert re.fullmatch(r'"mine";r=1;t=\d+', answers[0].header("ratelimit"))
    assert '"mine" is used up' in answers[2].json()["message"]
    assert r.status == 503 and '"closed" cannot be checked' in r.json()["message"] and r.header("ratelimit") is None
    for name, result, n in (("opened", "failed_open", 2), ("also", "failed_open", 2), ("mine", "failed_local", 2), ("mine", "limited", 1),
                            ("closed", "failed_closed", 1)):
        assert gateway.metric("transom_quota_decisions_total", quota=name, result=result) == n, (name, result)


def test_costs_are_charged_in_the_store(start, backend, redis):
    conf = config(backend, f"unix:{redis.path}", quota(limit=10))
    conf["policies"]["*"]["quota_cost"] = 4
    gateways = [begin(start, conf) for _ in range(2)]
    assert [statuses(g, 1)[0] for g in (*gateways, *gateways)] == [200, 200, 429, 429]


@pytest.mark.parametrize("on_failure, status", [("deny", 503), ("allow", 200)])
def test_of_a_store_that_failed_no_numbers_are_told(start, backend, redis, on_failure, status):
    gateway = begin(start, config(backend, f"unix:{redis.path}", quota("mine", 9, store="local"), quota("shared", 5), on_failure=on_failure))
    redis.stop()
    link_is(gateway, False)
    with contextlib.closing(H1(gateway.port)) as http:
        for _ in range(2):
            r = http.request("GET", "/test/v1/echo/x", timeout=20)
        assert r.status == status
        assert r.header("ratelimit-policy") == '"mine";q=9;w=36000, "shared";q=5;w=36000'
        assert re.fullmatch(r'"mine";r=(\d);t=\d+', r.header("ratelimit"))[1] == ("9" if status == 503 else "7")


def test_what_is_free_needs_no_store(start, backend, redis):
    conf = config(backend, f"unix:{redis.path}", quota(limit=5), on_failure="deny")
    conf["policies"]["*"]["quota_cost"] = 0
    gateway = begin(start, conf)
    assert statuses(gateway, 7) == [200] * 7 and redis.say("DBSIZE") == ":0\r\n"
    redis.stop()
    link_is(gateway, False)
    assert statuses(gateway, 7) == [200] * 7


def test_a_request_that_is_gone_before_the_store_answers_is_charged_nowhere_else(start, backend, redis):
    gateway = begin(start, config(backend, f"unix:{redis.path}", quota("mine", 9, store="local"), quota("shared", 50), timeout="10s"))
    redis.freeze()
    try:
        with contextlib.closing(H1(gateway.port)) as http:
            for _ in range(5):
                assert http.request("GET", "/test/v1/echo/x", headers=[("x-request-timeout", "0.1")], timeout=20).status == 504
    finally:
        redis.thaw()
    with contextlib.closing(H1(gateway.port)) as http:
        r = http.request("GET", "/test/v1/echo/x", timeout=20)
    assert r.status == 200 and '"mine";r=8' in r.header("ratelimit")


def test_long_values_fill_neither_the_store_nor_pass_uncounted(start, backend, redis):
    conf = config(backend, f"unix:{redis.path}", quota(limit=1, key=["header:x-a", "header:x-a", "header:x-b"]), on_failure="allow")
    conf["limits"] = {"max_header_bytes": "1MiB"}
    gateway = begin(start, conf)
    with contextlib.closing(H1(gateway.port)) as http:
        def get(a, b):
            return http.request("GET", "/test/v1/echo/x", headers=[("x-a", a), ("x-b", b)], timeout=20).status
        for a, b in [("v" * 60000, "1"), ("v" * 59999 + "w", "1"), ("v" * 60000, "2"), ("v" * 128, "1"), ("v" * 129, "1")]:
            assert [get(a, b), get(a, b)] == [200, 429]
        digest = hashlib.sha256(b"v" * 129).hexdigest()
        assert get("#" + digest, "1") == 200  # what looks like a digest is none
    keys = [k for k in redis.say("KEYS *").split("\r\n") if k.startswith("{transom}:q ")]
    assert len(keys) == 6 and max(map(len, keys)) < 300
    assert f"{{transom}}:q #{digest} #{digest} 1:1" in keys
    assert gateway.metric("transom_quota_decisions_total", quota="q", result="failed_open") == 0


@pytest.mark.parametrize("stale", ["yes", "no"])
def test_a_store_that_becomes_a_replica_is_left_until_it_may_write(start, backend, redis, stale):
    gateway = begin(start, config(backend, f"unix:{redis.path}", quota(limit=4), on_failure="deny"))
    assert statuses(gateway, 1) == [200]
    redis.say(f"CONFIG SET replica-serve-stale-data {stale}", "REPLICAOF 127.0.0.1 1")
    assert set(statuses(gateway, 20)) == {503}
    wait_until("a link is lost", lambda: statuses(gateway, 1) == [503] and "it is a replica, or has become one" in gateway.stderr, 20)
    redis.say("REPLICAOF NO ONE")
    link_is(gateway, True)
    assert statuses(gateway, 5) == [200] * 3 + [429] * 2


def test_a_cluster_has_all_quotas_in_the_slot_of_one_node(start, backend):
    redis = Redis(cluster=True)
    try:
        quotas = [quota("one", 3), quota("two", 5, key=["method"]), quota("three", 9, key=["header:x-a"])]
        gateway = begin(start, config(backend, f"unix:{redis.path}", *quotas, on_failure="deny"))
        assert statuses(gateway, 2) == [503, 503]  # the slot has no node yet
        wait_until("the log says it", lambda: "CLUSTERDOWN" in gateway.stderr)
        redis.say("CLUSTER ADDSLOTSRANGE 0 16383")
        wait_until("the cluster serves", lambda: "cluster_state:ok" in redis.say("CLUSTER INFO"), 30)
        with contextlib.closing(H1(gateway.port)) as http:
            seen = [http.request("GET", "/test/v1/echo/x", headers=[("x-a", "{b}")], timeout=20).status for _ in range(4)]
        assert seen == [200, 200, 200, 429]
    finally:
        redis.close()


def test_a_store_that_loses_its_data_begins_anew(start, backend, redis):
    gateway = begin(start, config(backend, f"unix:{redis.path}", quota(limit=2), on_failure="deny"))
    assert statuses(gateway, 3) == [200, 200, 429]
    redis.say("FLUSHALL")
    assert statuses(gateway, 3) == [200, 200, 429]


def test_what_is_no_counter_is_a_failure_and_stays(start, backend, redis):
    gateway = begin(start, config(backend, f"unix:{redis.path}", quota(limit=2), on_failure="deny"))
    for value in ('SET "{transom}:q" hello', 'DEL "{transom}:q"', 'RPUSH "{transom}:q" a'):
        redis.say(value)
        if not value.startswith("DEL"):
            assert statuses(gateway, 2) == [503, 503]
    redis.say('DEL "{transom}:q"')
    assert statuses(gateway, 3) == [200, 200, 429]


def test_local_fallback_is_one_limit_for_all_workers(start, backend, redis):
    gateway = begin(start, config(backend, f"unix:{redis.path}", quota(limit=30), on_failure="local"))
    redis.stop()
    link_is(gateway, False)
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        flat = sum(pool.map(lambda _: statuses(gateway, 15), range(6)), [])
    assert flat.count(200) == 30 and flat.count(429) == 60


def test_rights_that_the_store_must_give(start, backend, redis):
    """Those that the documentation names suffice."""
    rights = "ACL SETUSER gateway on >pw resetkeys ~{transom}:* nocommands +auth +select +script|load +evalsha +eval +time +get +set"
    assert "+OK" in redis.say(rights)
    gateway = begin(start, config(backend, f"unix://gateway:pw@{redis.path}", quota(limit=2), on_failure="deny"))
    assert statuses(gateway, 3) == [200, 200, 429]
    redis.say("SCRIPT FLUSH", "FLUSHALL")
    assert statuses(gateway, 3) == [200, 200, 429]


def test_the_path_of_a_socket_is_relative_to_the_file(start, backend, redis, tmp_path):
    (tmp_path / "gateway0").mkdir()
    (tmp_path / "gateway0" / "redis.sock").symlink_to(redis.path)
    gateway = begin(start, config(backend, "unix:redis.sock", quota(limit=1), on_failure="deny"))
    assert statuses(gateway, 2) == [200, 429]


def test_password_and_database(start, backend):
    redis = Redis(password="s3cret")
    try:
        wrong = config(backend, f"unix://:oth3r@{redis.path}", quota(limit=5), on_failure="deny")
        wrong["workers"] = 2
        gateway = start(wrong)
        wait_until("AUTH is refused", lambda: "AUTH was refused" in gateway.stderr, 20)
        assert statuses(gateway, 1) == [503]
        gateway.stop()  # all that it wrote has been read
        assert "oth3r" not in gateway.stderr
        url = f"unix://:s3cret@{redis.path}?db=4"
        assert statuses(begin(start, config(backend, url, quota(limit=2))), 3) == [200, 200, 429]
        assert redis.say("SELECT 4", "DBSIZE").endswith(":1\r\n")
    finally:
        redis.close()


def test_a_gateway_ends_while_requests_wait_for_the_store(start, backend, redis):
    conf = config(backend, f"unix:{redis.path}", quota("mine", 9, store="local"), quota("shared", 50), timeout="10s")
    conf["drain_timeout"] = "300ms"
    gateway = begin(start, conf)
    redis.freeze()
    try:
        with contextlib.ExitStack() as stack:
            for _ in range(4):
                s = stack.enter_context(socket.create_connection(("127.0.0.1", gateway.port)))
                s.sendall(b"GET /test/v1/echo/x HTTP/1.1\r\nhost: a\r\n\r\n" * 2)
            wait_until("requests wait", lambda: gateway.metric("transom_requests_in_flight") >= 4, 20)
            gateway.stop()
        assert gateway.process.returncode == 0
    finally:
        redis.thaw()
