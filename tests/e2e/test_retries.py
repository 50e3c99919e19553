"""Retries (SPEC §10): only what is safe, only before the first byte of the answer, at another endpoint; on both dialects."""
import json
import threading
import time

import grpc
import pytest

from env.backend import Backend
from env.build import wait_until
from env.gateway import base_config, run
from env.http1 import H1
from env.http2 import H2
from env.retries import AMPLE, MAYBE_ACTED, OPTIONS, POLICIES, SERVICE, UNREAD, ask, code_of, goaway, message, module_world, reset, says_attempt, status, stub, stub_of, world, worlds  # noqa: F401  fixtures too
from env.scripted import good

# -- what is repeated, and what is not ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("fault", [*MAYBE_ACTED, *UNREAD])
def test_an_idempotent_call_survives(ask, world, fault):
    world.fails_first(1, {**MAYBE_ACTED, **UNREAD}[fault], says_attempt)
    r = ask()
    assert r.status == 200, r
    assert r.header("x-attempt") == "good" and r.header_list("x-attempt") == ["good"]
    assert r.header("x-previous") == "1"
    assert len(world.requests) == 2 and world.requests[0].body == world.requests[1].body


@pytest.mark.parametrize("fault", MAYBE_ACTED)
def test_what_may_have_been_done_is_not_done_twice(ask, world, fault):
    world.fails_first(1, MAYBE_ACTED[fault])
    assert ask(idempotent=False).status >= 400
    assert len(world.requests) == 1


@pytest.mark.parametrize("fault", UNREAD)
def test_what_was_not_read_is_repeated_for_any_method(ask, world, fault):
    world.fails_first(1, UNREAD[fault])
    assert ask(idempotent=False).status == 200
    assert len(world.requests) == 2


@pytest.mark.parametrize("fault", [*MAYBE_ACTED, *UNREAD])
def test_native_calls_survive_too(stub, world, fault):
    world.fails_first(1, {**MAYBE_ACTED, **UNREAD}[fault], says_attempt)
    assert code_of(lambda: stub("FailIdempotent", message("FailRequest", message="x"))) == 0
    assert len(world.requests) == 2


@pytest.mark.parametrize("fault", MAYBE_ACTED)
def test_native_calls_that_are_not_idempotent_are_not_repeated(stub, world, fault):
    world.fails_first(1, MAYBE_ACTED[fault])
    assert code_of(lambda: stub("Fail", message("FailRequest", message="x"))) != 0
    assert len(world.requests) == 1


def test_a_native_call_is_idempotent_when_all_its_rules_are(stub, world):
    world.fails_first(1, status())
    assert code_of(lambda: stub("Sleep", message("SleepRequest"))) == 0
    assert len(world.requests) == 2


def test_a_get_is_idempotent(world, version, connect):
    world.fails_first(2, status())
    assert connect(world.gateway).request("GET", "/test/v1/fail/0", timeout=25).status == 200
    assert [r.get("grpc-previous-rpc-attempts") for r in world.requests] == [None, "1", "2"]


def test_the_attempts_of_a_client_count_too(stub, world):
    world.fails_first(1, status())
    stub("Sleep", message("SleepRequest"), metadata=[("grpc-previous-rpc-attempts", "4")])
    assert [r.get("grpc-previous-rpc-attempts") for r in world.requests] == ["4", "5"]


def test_attempts_are_bounded_and_the_last_failure_is_told(ask, world):
    before = world.refused("attempts")
    world.fails_first(99, status())
    r = ask()
    assert r.status == 503 and r.json()["message"] == "not now"
    assert len(world.requests) == 3
    wait_until("it is counted", lambda: world.refused("attempts") == before + 1)


def test_codes_that_are_not_listed_are_final(ask, world):
    world.fails_first(1, status(8))
    assert ask().status == 429
    assert len(world.requests) == 1


def test_without_a_policy_only_what_was_not_read_is_repeated(worlds, version):
    world = worlds(retry={"attempts": 1})
    with (H1 if version == "h1" else H2)(world.gateway.port, timeout=25) as http:
        for fault, calls in [(status(), 1), (reset(2), 1), (reset(7), 2), (goaway, 2)]:
            world.fails_first(1, fault)
            r = http.request("GET", "/test/v1/fail/0")
            assert (r.status == 200) == (calls == 2)
            assert len(world.requests) == calls
        world.fails_first(99, reset(7))
        assert http.request("GET", "/test/v1/fail/0").status == 503
        assert len(world.requests) == 3


def test_retries_are_counted_by_route(ask, world):
    name, labels = "transom_retries_total", {"route": "/test/v1/fail:idempotent"}
    before = world.gateway.metric(name, **labels)
    world.fails_first(2, status())
    assert ask().status == 200
    wait_until("two retries", lambda: world.gateway.metric(name, **labels) == before + 2)


# -- real backends --------------------------------------------------------------------------------------------------------------

def test_a_real_backend_that_fails_twice(start, backend, version, connect):
    gateway = start(base_config([backend.endpoint], policies=POLICIES))
    http = connect(gateway)
    r = http.request("GET", "/test/v1/fail/14?key=a&times=2", timeout=25)
    assert r.status == 200 and r.json()["attempt"] == 3
    assert len(backend.calls) == 3
    backend.reset()
    r = http.request("POST", "/test/v1/fail", [("content-type", "application/json")], '{"code": 14, "key": "b", "times": 1}', timeout=25)
    assert r.status == 503 and len(backend.calls) == 1


def test_a_real_native_call_that_fails_twice(start, backend):
    gateway = start(base_config([backend.endpoint], policies=POLICIES))
    with grpc.insecure_channel(f"127.0.0.1:{gateway.port}", OPTIONS) as channel:
        stub = stub_of(channel)
        assert stub("FailIdempotent", message("FailRequest", code=14, key="a", times=2)).attempt == 3
        assert len(backend.calls) == 3
        backend.reset()
        assert code_of(lambda: stub("Fail", message("FailRequest", code=14, key="b", times=2))) == 14
        assert len(backend.calls) == 1


def test_pushback_of_a_real_backend(start, backend, version, connect):
    gateway = start(base_config([backend.endpoint], policies=POLICIES))
    http = connect(gateway)
    begin = time.monotonic()
    r = http.request("GET", "/test/v1/fail/14?key=a&times=1", [("x-test-pushback", "400")], timeout=25)
    assert r.status == 200 and time.monotonic() - begin >= 0.4
    for value in ["-1", "soon", "1.5"]:
        backend.reset()
        r = http.request("GET", "/test/v1/fail/14?key=b&times=1", [("x-test-pushback", value)], timeout=25)
        assert r.status == 503 and len(backend.calls) == 1
    wait_until("they are counted", lambda: gateway.metric("transom_retries_refused_total", reason="pushback") == 3)


# -- where they go --------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("how", ["round_robin", "least_request"])
def test_another_endpoint_is_preferred(worlds, how):
    world = worlds(servers=2, load_balancing=how, retry={"attempts": 2})
    bad = world.servers[0].port

    def script(conn, stream_id, request):
        (status() if conn.sock.getsockname()[1] == bad else good)(conn, stream_id, request)
    world.script = script
    with H2(world.gateway.port, timeout=25) as http:
        def both_are_connected():
            http.request("GET", "/test/v1/fail/0")
            return all(s.requests for s in world.servers)
        wait_until("both are connected", both_are_connected, 20)
        assert [http.request("GET", "/test/v1/fail/0").status for _ in range(60)] == [200] * 60
    assert len(world.servers[0].requests) > 5


def test_a_backend_that_restarts_costs_idempotent_requests_nothing(start, backend):
    a, b = Backend(threads=16), Backend(threads=16)
    # grpcio ends what it gives up with CANCELLED
    gateway = start(base_config([], upstreams={"main": {"endpoints": [a.endpoint, b.endpoint], "retry_budget": AMPLE}},
                                policies={"*": {"timeout": "20s", "retry": {"attempts": 5, "on": ["UNAVAILABLE", "CANCELLED"], "backoff": {"base": "5ms", "max": "50ms"}}}}))
    statuses, stop = [], threading.Event()

    def client():
        with H1(gateway.port, timeout=25) as http:
            while not stop.is_set():
                statuses.append(http.request("GET", "/test/v1/echo/x").status)
    threads = [threading.Thread(target=client) for _ in range(4)]
    for t in threads:
        t.start()
    for grace in (5, None):
        count = len(statuses)
        wait_until("load runs", lambda: len(statuses) > count + 100, 30)
        a.server.stop(grace)
        count = len(statuses)
        wait_until("load goes on", lambda: len(statuses) > count + 100, 30)
        a = Backend(port=a.port, threads=16)
        wait_until("the new one is used", lambda: a.calls, 20)
    stop.set()
    for t in threads:
        t.join(20)
    a.stop(), b.stop()
    assert set(statuses) == {200}


# -- configuration ----------------------------------------------------------------------------------------------------------------

def test_codes_that_do_not_exist_are_problems(tmp_path, backend):
    config = base_config([backend.endpoint], policies={"*": {"retry": {"on": ["UNAVAILABLE", "unavailable", "OK"]}}})
    (tmp_path / "t.json").write_text(json.dumps(config))
    done = run("check", "--config", tmp_path / "t.json")
    assert done.returncode == 1
    assert '"unavailable" is not a gRPC code' in done.stdout + done.stderr and '"OK" is not' in done.stdout + done.stderr


def test_explain_says_what_is_repeated(tmp_path, backend):
    config = base_config([backend.endpoint], policies={"*": {"retry": {"attempts": 4}}})
    (tmp_path / "t.json").write_text(json.dumps(config))

    def explain(*args):
        return run("explain", "--config", tmp_path / "t.json", *args).stdout
    assert "attempts: at most 4; idempotent" in explain("GET", "/test/v1/fail/0")
    assert "attempts: at most 4; idempotent" in explain("POST", "/test/v1/fail:idempotent")
    assert "attempts: at most 4; not idempotent" in explain("POST", "/test/v1/fail")
    assert "attempts: at most 4; a client stream" in explain("POST", "/test/v1/bidi")
    assert "attempts: at most 4; not idempotent" in explain("POST", f"/{SERVICE}/Fail", "-H", "content-type: application/grpc")
