"""What bounds retries (SPEC §10): time, the bytes that are kept, the budget, and clients that leave."""
import threading
import time

import grpc
import pytest

from env.build import SANITIZED, wait_until
from env.gateway import base_config
from env.http1 import H1
from env.http2 import H2
from env.retries import AMPLE, ITEM, OPTIONS, RETRY, SERVICE, ask, code_of, goaway, message, module_world, never, status, stub, stub_of, world, worlds  # noqa: F401  fixtures too
from env.scripted import frame

# -- time -------------------------------------------------------------------------------------------------------------------------

def test_per_try_timeout(worlds, version):
    world = worlds(retry={"per_try_timeout": "1s"})
    with (H1 if version == "h1" else H2)(world.gateway.port, timeout=25) as http:
        world.fails_first(1, never)
        assert http.request("GET", "/test/v1/fail/0").status == 200
        assert len(world.requests) == 2
        wait_until("the first is cancelled", lambda: [c for s in world.servers for _, c in s.resets] == [8], 20)
        assert world.gateway.metric("transom_upstream_try_timeouts_total", upstream="main") == 1
        # one that may have been acted on
        world.fails_first(1, never)
        r = http.request("POST", "/test/v1/fail", [("content-type", "application/json")], "{}")
        assert r.status == 504 and r.json()["details"][0]["reason"] == "UPSTREAM_TRY_TIMEOUT"
        assert len(world.requests) == 1


def test_per_try_timeout_of_a_native_call(worlds):
    world = worlds(retry={"per_try_timeout": "1s"})
    with grpc.insecure_channel(f"127.0.0.1:{world.gateway.port}", OPTIONS) as channel:
        stub = stub_of(channel)
        world.fails_first(1, never)
        assert code_of(lambda: stub("FailIdempotent", message("FailRequest"))) == 0
        world.fails_first(9, never)
        assert code_of(lambda: stub("FailIdempotent", message("FailRequest"))) == 4
        assert len(world.requests) == 3


def test_an_answer_that_began_before_the_request_ended_is_not_timed(worlds):
    world = worlds(retry={"per_try_timeout": "400ms"})

    def slow(conn, stream_id, request):
        time.sleep(1)
        conn.data(stream_id, frame(b""))
        conn.trailers(stream_id)
    world.fails_first(9, slow)
    begun = threading.Event()
    world.early = lambda conn, stream_id, request: (conn.headers(stream_id), begun.set())
    body = frame(message("FailRequest", message="x").SerializeToString())
    with H2(world.gateway.port, timeout=25) as http:
        stream = http.start("POST", f"/{SERVICE}/FailIdempotent", [("content-type", "application/grpc"), ("te", "trailers")], end=False)
        wait_until("its head is on its way back", begun.is_set, 20)
        world.gateway.metrics()  # the gateway has had a turn since; nothing tells of the head, which waits for a message
        time.sleep(0.1)
        stream.send(body, end=True)
        r = stream.finish(25)
    assert r.status == 200 and (r.trailer("grpc-status") or r.header("grpc-status")) == "0", r
    assert len(world.requests) == 1 and world.gateway.metric("transom_upstream_try_timeouts_total", upstream="main") == 0


def test_an_answer_that_has_begun_is_not_timed(worlds):
    world = worlds(retry={"per_try_timeout": "1s"})
    go = threading.Event()

    def slow(conn, stream_id, request):
        conn.headers(stream_id)
        go.wait(20)
        conn.data(stream_id, frame(ITEM))
        conn.trailers(stream_id)
    world.fails_first(9, slow)
    with H2(world.gateway.port, timeout=25) as http:
        stream = http.start("GET", "/test/v1/stream?count=1")
        wait_until("it arrives", lambda: world.requests, 20)
        with H1(world.gateway.port, timeout=25) as other:  # its attempts are not even read, and run out: so much time has passed
            world.script = never
            assert other.request("GET", "/test/v1/fail/0").status == 504
        go.set()
        assert stream.finish(25).json() == [{"text": "a"}]


def test_never_past_the_deadline(ask, world):
    before = world.refused("deadline")
    world.fails_first(9, status(grpc_retry_pushback_ms="15000"))
    begin = time.monotonic()
    r = ask(headers=[("x-request-timeout", "10")])
    assert r.status == 503 and r.json()["message"] == "not now"
    assert len(world.requests) == 1 and time.monotonic() - begin < 9
    wait_until("it is counted", lambda: world.refused("deadline") == before + 1)


def test_the_deadline_ends_a_wait(ask, world):
    world.fails_first(9, status(grpc_retry_pushback_ms="900"))
    r = ask(headers=[("x-request-timeout", "2")])
    assert r.status in (503, 504)
    assert len(world.requests) <= 3


def test_the_remainder_of_the_deadline_goes_with_each_attempt(ask, world):
    def millis(text):
        return int(text[:-1]) * {"n": 1e-6, "u": 1e-3, "m": 1, "S": 1e3, "M": 6e4, "H": 3.6e6}[text[-1]]
    world.fails_first(1, status(grpc_retry_pushback_ms="300"))
    assert ask(headers=[("x-request-timeout", "15")]).status == 200
    first, second = [millis(r.get("grpc-timeout")) for r in world.requests]
    assert first <= 15000 and second <= first - 300


# -- what is kept for it --------------------------------------------------------------------------------------------------------

def test_large_requests_are_not_replayed(ask, world):
    before = world.refused("replay")
    world.fails_first(1, status())
    assert ask(size=60000).status == 200
    a, b = world.requests
    assert a.body == b.body and len(a.body) > 60000
    world.fails_first(1, status())
    assert ask(size=70000).status == 503
    assert len(world.requests) == 1
    wait_until("it is counted", lambda: world.refused("replay") == before + 1)


def test_replay_bytes(worlds):
    world = worlds(retry={"replay_bytes": 600000})
    with grpc.insecure_channel(f"127.0.0.1:{world.gateway.port}", OPTIONS) as channel:
        stub = stub_of(channel)
        world.fails_first(2, status())
        assert code_of(lambda: stub("FailIdempotent", message("FailRequest", message="x" * 500000))) == 0
        assert len({r.body for r in world.requests}) == 1 and len(world.requests) == 3
        world.fails_first(2, status())
        assert code_of(lambda: stub("FailIdempotent", message("FailRequest", message="x" * 700000))) == 14
        assert len(world.requests) == 1


# -- the budget -------------------------------------------------------------------------------------------------------------------

def test_under_total_failure_the_budget_bounds_the_load(worlds, version):
    world = worlds(budget={"percent": 20, "min_per_second": 3})
    world.fails_first(10**9, status())
    begin = time.monotonic()
    with (H1 if version == "h1" else H2)(world.gateway.port, timeout=25) as http:
        for _ in range(400):
            assert http.request("GET", "/test/v1/fail/0").status == 503
    seconds = time.monotonic() - begin
    attempts = len(world.requests)
    assert 400 + 80 <= attempts <= 1.2 * 400 + 3 * seconds + 100
    assert world.refused("budget") > 0


def test_only_first_attempts_earn_budget(worlds):
    """Retries that earned would feed each other: half a token each would be two attempts a request, not one and a half."""
    world = worlds(budget={"percent": 50, "min_per_second": 0}, retry={"attempts": 10})
    world.fails_first(10**9, status())
    with H2(world.gateway.port, timeout=25) as http:
        for _ in range(100):
            assert http.request("GET", "/test/v1/fail/0").status == 503
    assert len(world.requests) == 150


def test_a_budget_of_nothing_repeats_nothing(worlds):
    world = worlds(budget={"percent": 0, "min_per_second": 0})
    world.fails_first(1, status())
    with H2(world.gateway.port, timeout=25) as http:
        assert http.request("GET", "/test/v1/fail/0").status == 503
        world.fails_first(1, goaway)  # what was never begun costs nothing
        assert http.request("GET", "/test/v1/fail/0").status == 200


@pytest.mark.skipif(SANITIZED, reason="arenas are emulated by the heap in this build")
def test_a_retry_allocates_nothing(start, backend, version, connect):
    gateway = start(base_config([], workers=1, upstreams={"main": {"endpoints": [backend.endpoint], "retry_budget": AMPLE}},
                                policies={"*": {"timeout": "20s", "retry": {**RETRY, "per_try_timeout": "15s"}}}))
    http = connect(gateway)

    def requests(kind, n):
        for i in range(n):
            r = http.request("GET", f"/test/v1/fail/14?key={kind}{i}&times=1", timeout=25)
            assert r.status == 200 and r.json()["attempt"] == 2
    requests("warm", 60)
    before = gateway.metric("transom_heap_allocations_total")
    requests("x", 100)
    assert gateway.metric("transom_heap_allocations_total") == before


# -- clients that leave -----------------------------------------------------------------------------------------------------------

def test_clients_that_leave_while_their_calls_wait(worlds):
    world = worlds()
    world.fails_first(10**9, status(grpc_retry_pushback_ms="15000"))
    for leave, count in [("reset", 64), ("close", 128)]:
        with H2(world.gateway.port, timeout=25) as http:
            streams = [http.start("GET", "/test/v1/fail/0") for _ in range(64)]
            wait_until("all have failed once", lambda: len(world.requests) == count, 20)
            for s in streams if leave == "reset" else []:
                s.cancel()
            if leave == "reset":
                wait_until("nothing is left", lambda: world.gateway.metric("transom_requests_in_flight") == 0, 20)
        wait_until("nothing is left", lambda: world.gateway.metric("transom_requests_in_flight") == 0, 20)
    assert len(world.requests) == 128
    assert world.gateway.metric("transom_upstream_active_requests") == 0


def test_clients_that_leave_while_the_second_attempt_runs(worlds):
    world = worlds()

    def script(conn, stream_id, request):
        (never if request.get("grpc-previous-rpc-attempts") else status())(conn, stream_id, request)
    world.script = script
    with H2(world.gateway.port, timeout=25) as http:
        streams = [http.start("GET", "/test/v1/fail/0") for _ in range(64)]
        wait_until("the second attempts run", lambda: len(world.requests) == 128, 20)
        for s in streams:
            s.cancel()
        wait_until("all are cancelled", lambda: sum(len(s.resets) for s in world.servers) == 64, 20)
        assert {code for s in world.servers for _, code in s.resets} == {8}
        wait_until("nothing is left", lambda: world.gateway.metric("transom_requests_in_flight") == 0, 20)
        assert world.gateway.metric("transom_upstream_active_requests") == 0
