"""Active health checks by grpc.health.v1, in both dialects."""
import grpc
import pytest

from env.build import wait_until
from env.faulty import DIALECTS, NOT_SERVING, SERVING, backends, client  # noqa: F401  fixtures too
from env.gateway import base_config
from env.scripted import Scripted, good


def config(endpoints, workers=1, upstream=None, **check):
    check = {"interval": "50ms", "timeout": "5s", **check}
    return base_config([], workers=workers, upstreams={"main": {"endpoints": endpoints, "load_balancing": "round_robin",
                                                                "health_check": check, **(upstream or {})}})


def healthy(backends, n):
    servers = backends(n)
    for b in servers:
        b.health = SERVING
    return servers


def unhealthy(gateway):
    return gateway.metric("transom_upstream_endpoints_unhealthy", upstream="main")


def checks(gateway, result):
    return gateway.metric("transom_upstream_health_checks_total", upstream="main", result=result)


def served_by(c, servers, n=20):
    for b in servers:
        b.calls.clear()
    assert [c.echo().code for _ in range(n)] == [0] * n
    return {b.name for b in servers if b.calls}


def test_an_unhealthy_endpoint_gets_no_calls_until_it_is_healthy(start, backends, client):
    servers = healthy(backends, 3)
    gateway = start(config([b.endpoint for b in servers]))
    c = client(gateway)
    wait_until("all are asked", lambda: all(b.checks for b in servers) and checks(gateway, "healthy") >= 3, 20)
    wait_until("all serve", lambda: len(served_by(c, servers)) == 3, 20)
    servers[1].health = NOT_SERVING
    wait_until("it is found", lambda: unhealthy(gateway) == 1, 20)
    assert served_by(c, servers) == {"b0", "b2"}
    assert checks(gateway, "unhealthy") >= 1
    servers[1].health = SERVING
    wait_until("it is found", lambda: unhealthy(gateway) == 0, 20)
    assert served_by(c, servers) == {"b0", "b1", "b2"}
    wait_until("the log says both", lambda: "is unhealthy: it is not serving" in gateway.stderr and "is healthy again" in gateway.stderr)


def test_the_service_is_asked_for(start, backends):
    servers = healthy(backends, 1)
    start(config([servers[0].endpoint], service="bookstore.v1.Bookstore"))
    wait_until("it is asked", lambda: servers[0].checks, 20)
    assert set(servers[0].checks) == {"bookstore.v1.Bookstore"}


def test_the_server_as_a_whole_is_asked_for_by_default(start, backends):
    servers = healthy(backends, 1)
    start(config([servers[0].endpoint]))
    wait_until("it is asked", lambda: servers[0].checks, 20)
    assert set(servers[0].checks) == {""}


@pytest.mark.parametrize("health", [0, 3, -5, -14, -2, "silent"])
def test_whatever_is_not_serving_is_unhealthy(start, backends, health):
    servers = healthy(backends, 2)
    servers[0].health = health
    gateway = start(config([b.endpoint for b in servers], timeout="5s" if health != "silent" else "200ms"))
    c = DIALECTS["rest"](gateway)
    wait_until("it is found", lambda: unhealthy(gateway) == 1, 20)
    assert served_by(c, servers) == {"b1"}
    c.close()


@pytest.mark.parametrize("service", ["", "bookstore.v1.Bookstore"])
def test_a_backend_without_the_service_counts_as_healthy(start, backends, client, service):
    servers = backends(2)
    gateway = start(config([b.endpoint for b in servers], service=service))
    c = client(gateway)
    wait_until("they are asked", lambda: checks(gateway, "healthy") >= 6, 20)
    wait_until("both serve", lambda: len(served_by(c, servers)) == 2, 20)
    assert unhealthy(gateway) == 0 and checks(gateway, "unhealthy") == 0
    wait_until("the log says it", lambda: "does not implement grpc.health.v1" in gateway.stderr)
    gateway.stop()  # all that it wrote has been read
    assert gateway.stderr.count("does not implement grpc.health.v1") == 1


def test_when_all_are_unhealthy_all_are_used(start, backends, client):
    servers = healthy(backends, 2)
    gateway = start(config([b.endpoint for b in servers]))
    c = client(gateway)
    wait_until("both serve", lambda: len(served_by(c, servers)) == 2, 20)
    for b in servers:
        b.health = NOT_SERVING
    wait_until("it is found", lambda: unhealthy(gateway) == 2, 20)
    assert served_by(c, servers) == {"b0", "b1"}
    wait_until("the log says it", lambda: "every endpoint is down, ejected or unhealthy" in gateway.stderr)


def test_a_dead_endpoint_is_unhealthy_and_comes_back(start, backends, client):
    servers = healthy(backends, 2)
    gateway = start(config([b.endpoint for b in servers]))
    c = client(gateway)
    wait_until("both serve", lambda: len(served_by(c, servers)) == 2, 20)
    servers[0].stop()
    wait_until("it is found", lambda: unhealthy(gateway) == 1, 20)
    assert served_by(c, servers) == {"b1"}
    again, = backends(1, port=servers[0].port)
    again.health = SERVING
    wait_until("it is found", lambda: unhealthy(gateway) == 0, 20)
    wait_until("it serves", lambda: c.echo().code == 0 and again.calls, 20)


@pytest.mark.parametrize("how", ["refused", "goaway"])
def test_a_check_that_is_not_read_says_nothing(start, how):
    """Neither way: a backend that is healthy and about to go is healthy, and one that is not does not become so."""
    checked, health = [], [SERVING]

    def script(conn, stream_id, request):
        checked.append(request.get(":path"))
        if health[0] is not None:
            good(conn, stream_id, request, bytes([8, health[0]]))
        elif how == "refused":
            conn.reset(stream_id, 7)
        else:
            conn.goaway(last=stream_id - 2 if stream_id > 1 else 0)
            conn.close()
    with Scripted(script) as server:
        gateway = start(config([server.endpoint]))
        for status, result in [(SERVING, "healthy"), (NOT_SERVING, "unhealthy")]:
            health[0] = status
            count = checks(gateway, result)
            wait_until("it is asked", lambda: checks(gateway, result) > count + 1, 20)
            health[0] = None
            wait_until("it refuses", lambda: len(checked) and unhealthy(gateway) == (status != SERVING), 20)
            before, seen = [checks(gateway, r) for r in ("healthy", "unhealthy")], len(checked)
            wait_until("it has refused more", lambda: len(checked) >= seen + 4, 20)
            after = [checks(gateway, r) for r in ("healthy", "unhealthy")]
            assert unhealthy(gateway) == (status != SERVING) and sum(after) - sum(before) <= 1  # one may have been under way
        assert set(checked) == {"/grpc.health.v1.Health/Check"}


def test_checks_are_no_calls(start, backends):
    """They pass where max_requests are active, and neither breaker nor outlier detection hears of them."""
    servers = healthy(backends, 2)
    gateway = start(config([b.endpoint for b in servers], upstream={
        "max_requests": 1, "circuit_breaker": {"minimum_requests": 1}, "outlier_detection": {"consecutive_failures": 1}}))
    servers[0].health = -14
    wait_until("it is asked", lambda: checks(gateway, "unhealthy") >= 5, 20)
    assert gateway.metric("transom_upstream_breaker_state", upstream="main") == 0
    assert gateway.metric("transom_upstream_ejections_total", upstream="main") == 0
    assert gateway.metric("transom_upstream_requests_total", upstream="main") == 0
    assert not any(b.calls for b in servers)


def test_workers_share_the_result(start, backends):
    servers = healthy(backends, 2)
    servers[0].health = NOT_SERVING
    gateway = start(config([b.endpoint for b in servers], workers=2, interval="500ms"))
    wait_until("it is found", lambda: unhealthy(gateway) == 1, 20)
    servers[0].calls.clear()
    clients = [DIALECTS["rest"](gateway) for _ in range(20)]
    for c in clients:
        assert c.echo().code == 0
        c.close()
    assert not servers[0].calls


def test_checks_go_over_tls_too(start, backends, certificates):
    crt, key = certificates.make("books.internal")
    credentials = grpc.ssl_server_credentials([(key.read_bytes(), crt.read_bytes())])
    servers = backends(2, credentials=credentials)
    servers[0].health, servers[1].health = NOT_SERVING, SERVING
    gateway = start(config([b.endpoint for b in servers], upstream={"tls": {"ca": str(certificates.ca), "server_name": "books.internal"}}))
    c = DIALECTS["rest"](gateway)
    wait_until("it is found", lambda: unhealthy(gateway) == 1 and checks(gateway, "healthy"), 20)
    assert served_by(c, servers) == {"b1"}
    c.close()
