"""The circuit breaker of an upstream, in both dialects."""
import socket
import time

import pytest

from env.build import wait_until
from env.faulty import DIALECTS, backends, client  # noqa: F401  fixtures too
from env.gateway import base_config
from env.http2 import H2
from env.scripted import Scripted


def config(*endpoints, policies=None, workers=1, **breaker):
    breaker = {"failure_ratio": 0.5, "minimum_requests": 10, "window": "60s", "open_for": "60s", "probes": 3, **breaker}
    return base_config([], workers=workers, policies=policies or {},
                       upstreams={"main": {"endpoints": list(endpoints), "circuit_breaker": breaker}})


def state(gateway):
    return gateway.metric("transom_upstream_breaker_state", upstream="main")


def opened(gateway):
    return gateway.metric("transom_upstream_breaker_opened_total", upstream="main")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def test_an_open_breaker_refuses_at_once_and_the_backend_hears_nothing(start, backends, client):
    b, = backends()
    gateway = start(config(b.endpoint))
    c = client(gateway)
    b.fault = 14
    assert [c.echo().code for _ in range(10)] == [14] * 10
    assert len(b.calls) == 10
    assert state(gateway) == 2 and opened(gateway) == 1
    for _ in range(5):
        a = c.echo()
        assert a.code == 14 and a.status in (None, 503)
        assert a.reason in ("BREAKER_OPEN", None) and (client.native or a.reason == "BREAKER_OPEN")
        assert 1 <= int(a.retry_after) <= 67
    assert len(b.calls) == 10
    assert gateway.metric("transom_upstream_breaker_refused_total", upstream="main") == 5
    assert gateway.errors("BREAKER_OPEN") == 5


def test_the_ratio_is_of_failures(start, backends, client):
    b, = backends()
    gateway = start(config(b.endpoint))
    c = client(gateway)
    assert [c.echo().code for _ in range(11)] == [0] * 11
    b.fault = 14
    assert [c.echo().code for _ in range(10)] == [14] * 10
    assert state(gateway) == 0
    c.echo()
    assert state(gateway) == 2


@pytest.mark.parametrize("code", range(1, 17))
def test_what_counts_is_the_grpc_status(start, backends, code):
    b, = backends()
    gateway = start(config(b.endpoint, minimum_requests=3))
    c = DIALECTS["rest"](gateway)
    b.fault = code
    for _ in range(5):
        c.echo()
    c.close()
    assert state(gateway) == (2 if code in (2, 13, 14) else 0)
    assert len(b.calls) == (3 if code in (2, 13, 14) else 5)


def test_our_deadline_counts(start, backends, client):
    b, = backends()
    gateway = start(config(b.endpoint, minimum_requests=3, policies={"*": {"timeout": "200ms"}}))
    c = client(gateway)
    assert [c.sleep(30).code for _ in range(3)] == [4] * 3
    a = c.sleep(30)
    assert a.code == 14 and state(gateway) == 2


@pytest.mark.parametrize("timeout,counts", [("0.005", False), ("0.3", True)])
def test_a_clients_own_deadline_counts_when_it_left_time(start, backends, timeout, counts):
    """Else a client could open the breaker for all others by asking for answers in no time."""
    b, = backends()
    gateway = start(config(b.endpoint, minimum_requests=3))
    c = DIALECTS["rest"](gateway)
    assert c.echo().code == 0  # connected
    for _ in range(6):
        c.request("/test/v1/sleep?duration=30s", [("x-request-timeout", timeout)])
    c.close()
    if counts:
        assert opened(gateway) == 1
    else:  # what a busy machine kept for 50 ms may count
        assert opened(gateway) == 0 or gateway.metric("transom_request_duration_seconds_sum") > 0.15


@pytest.mark.parametrize("path", ["Echo", "Up", "Bidi"])
@pytest.mark.parametrize("timeout", ["client", "per_try"])
def test_a_client_that_does_not_finish_its_request_does_not_count(start, backends, path, timeout):
    """Else anybody could open the breaker for all others by calls of which nothing comes but the head."""
    b, = backends()
    policies = {}
    if timeout == "per_try":
        policies = {"*": {"timeout": "2s", "max_stream_duration": "2s",
                          "retry": {"attempts": 2, "on": ["UNAVAILABLE"], "per_try_timeout": "500ms"}}}
    gateway = start(config(b.endpoint, minimum_requests=3, policies=policies))
    with H2(gateway.port, timeout=20) as http:
        assert http.request("GET", "/test/v1/echo/a").status == 200  # connected
        head = [("content-type", "application/grpc"), ("te", "trailers"), *([("grpc-timeout", "200m")] if timeout == "client" else [])]
        streams = [http.start("POST", f"/test.v1.EverythingService/{path}", head, end=False) for _ in range(6)]
        for s in streams:
            r = s.finish(20)
            assert (r.trailer("grpc-status") or r.header("grpc-status")) == "4", r
        assert http.request("GET", "/test/v1/echo/a").status == 200
    assert opened(gateway) == 0
    if timeout == "per_try":
        assert gateway.metric("transom_upstream_try_timeouts_total", upstream="main") == 0


@pytest.mark.parametrize("fault", ["per_try_timeout", "http_503"])
def test_what_the_gateway_ends_counts(start, client, fault):
    """An attempt that takes too long, and an HTTP status whose body has not ended: the gateway resets both streams."""
    def script(conn, stream_id, request):
        if fault == "http_503":
            conn.headers(stream_id, [(":status", "503")])
    with Scripted(script) as server:
        gateway = start(config(server.endpoint, minimum_requests=3, policies={"*": {"timeout": "15s", "retry": {"per_try_timeout": "500ms"}}}))
        c = client(gateway)
        assert [c.echo().code for _ in range(3)] == [4 if fault == "per_try_timeout" else 14] * 3
        assert state(gateway) == 2 and len(server.requests) == 3


def test_connect_errors_count(start, client):
    gateway = start(config(f"127.0.0.1:{free_port()}", minimum_requests=3))
    c = client(gateway)
    assert [c.echo().code for _ in range(3)] == [14] * 3
    with gateway.counts("BREAKER_OPEN"):
        c.echo()


def test_a_client_that_leaves_does_not_count(start, backends, client):
    b, = backends()
    gateway = start(config(b.endpoint, minimum_requests=3))
    c = client(gateway)
    for i in range(6):
        c.leave(headers=[("x-test-hold", "h")], when=lambda: wait_until("it is there", lambda: len(b.calls) == i + 1, 20))
    wait_until("all were cancelled", lambda: all(call.ended.is_set() for call in b.calls), 20)
    wait_until("the gateway is done", lambda: gateway.metric("transom_requests_in_flight") == 0, 20)
    assert c.echo().code == 0
    assert state(gateway) == 0 and opened(gateway) == 0


def test_it_closes_when_probes_succeed(start, backends, client):
    b, = backends()
    gateway = start(config(b.endpoint, open_for="300ms"))
    c = client(gateway)
    b.fault = 14
    for _ in range(10):
        c.echo()
    assert opened(gateway) == 1
    b.fault = None
    wait_until("a probe is let through", lambda: c.echo().code == 0, 20)
    assert [c.echo().code for _ in range(20)] == [0] * 20
    assert state(gateway) == 0 and opened(gateway) == 1


def test_a_failed_probe_opens_it_again(start, backends, client):
    b, = backends()
    gateway = start(config(b.endpoint, open_for="200ms"))
    c = client(gateway)
    b.fault = 14
    for _ in range(10):
        c.echo()
    sent = 10

    def probes():
        nonlocal sent
        c.echo()
        sent += 1
        return opened(gateway) >= 4
    wait_until("three probes failed", probes, 20)
    assert len(b.calls) == 13
    assert sent > 13 and gateway.metric("transom_upstream_breaker_refused_total", upstream="main") == sent - 13


def test_a_probe_that_is_cancelled_gives_its_slot_back(start, backends, client):
    b, = backends()
    gateway = start(config(b.endpoint, open_for="1s", probes=1, minimum_requests=3))
    c = client(gateway)
    b.fault = 14
    for _ in range(3):
        c.echo()
    b.fault = None
    hold = [("x-test-hold", "h")]

    def probed():
        c.leave(headers=hold, when=lambda: wait_until("it was refused or is there", lambda: len(b.calls) > 3 or
                                                      gateway.metric("transom_requests_in_flight") == 0, 20))
        return len(b.calls) > 3
    wait_until("a probe is with the backend", probed, 20)
    wait_until("it was cancelled", lambda: b.calls[-1].ended.is_set(), 20)
    wait_until("another one closes it", lambda: c.echo().code == 0, 20)
    assert state(gateway) == 0


def test_a_stream_that_has_begun_is_a_probe_that_succeeded(start, backends):
    """Else an upstream of long streams would stay half-open for as long as they last."""
    b, = backends()
    gateway = start(config(b.endpoint, open_for="200ms", probes=1, minimum_requests=3))
    c = DIALECTS["rest"](gateway)
    b.fault = 14
    for _ in range(3):
        c.echo()
    assert opened(gateway) == 1
    b.fault = None
    with H2(gateway.port, timeout=20) as http:
        def begun():
            stream = http.start("GET", "/test/v1/stream?count=2", [("x-test-hold-after", "1"), ("accept", "application/x-ndjson")])
            return stream if stream.read_head(20).status == 200 else None
        streams = []
        wait_until("a stream is let through", lambda: streams.append(begun()) or streams[-1], 20)
        wait_until("it has closed the breaker", lambda: state(gateway) == 0, 20)
        assert [c.echo().code for _ in range(5)] == [0] * 5
        b.release("after")
        assert streams[-1].finish(20).text.count("\n") == 2
    assert opened(gateway) == 1
    c.close()


def test_it_closes_though_every_answer_takes_longer_than_open_for(start, backends):
    b, = backends()
    gateway = start(config(b.endpoint, open_for="150ms", probes=2, minimum_requests=3))
    c = DIALECTS["rest"](gateway)
    b.fault = 14
    for _ in range(3):
        c.echo()
    b.fault, b.delay = None, 0.5
    with H2(gateway.port, timeout=20) as http:
        streams = []

        def closes():
            streams.append(http.start("GET", "/test/v1/echo/a"))
            time.sleep(0.02)
            return state(gateway) == 0
        wait_until("it closes", closes, 20)
        assert opened(gateway) == 1
        b.delay = 0
        for s in streams:
            s.finish(20)
    c.close()


def test_workers_share_it(start, backends):
    b, = backends()
    gateway = start(config(b.endpoint, workers=2, minimum_requests=40))
    clients = [DIALECTS["rest"](gateway) for _ in range(20)]  # spread over the workers
    b.fault = 14
    for _ in range(2):
        for c in clients:
            assert c.echo().reason is None
    assert len(b.calls) == 40 and opened(gateway) == 1
    assert [c.echo().reason for c in clients] == ["BREAKER_OPEN"] * 20
    for c in clients:
        c.close()
    assert len(b.calls) == 40


def test_it_is_off_without_its_key(start, backends):
    b, = backends()
    gateway = start(base_config([b.endpoint], workers=1))
    c = DIALECTS["rest"](gateway)
    b.fault = 14
    for _ in range(60):
        c.echo()
    c.close()
    assert len(b.calls) == 60
    assert not [n for n, _ in gateway.metrics() if n.startswith("transom_upstream_breaker_state")]
