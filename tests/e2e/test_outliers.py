"""Outlier ejection and slow start, in both dialects."""
import socket

import pytest

from env.build import wait_until
from env.faulty import DIALECTS, backends, client  # noqa: F401  fixtures too
from env.gateway import base_config
from test_upstreams import names  # noqa: F401  a fixture


def config(servers, policies=None, workers=1, balancing="round_robin", upstream=None, **outlier):
    outlier = {"consecutive_failures": 4, "base_ejection": "120s", "max_ejected_percent": 50, **outlier}
    return base_config([], workers=workers, policies=policies or {},
                       upstreams={"main": {"endpoints": [b.endpoint for b in servers], "load_balancing": balancing,
                                           "outlier_detection": outlier, **(upstream or {})}})


def ejected(gateway):
    return gateway.metric("transom_upstream_endpoints_ejected", upstream="main")


def ejections(gateway):
    return gateway.metric("transom_upstream_ejections_total", upstream="main")


def warm(c, servers):
    """Until each has had a call."""
    wait_until("all are connected", lambda: c.echo().code == 0 and all(b.calls for b in servers), 20)
    for b in servers:
        b.calls.clear()


@pytest.mark.parametrize("balancing", ["round_robin", "least_request"])
def test_an_endpoint_that_fails_is_left_out(start, backends, client, balancing):
    servers = backends(3)
    gateway = start(config(servers, balancing=balancing))
    c = client(gateway)
    warm(c, servers)
    servers[1].fault = 14
    codes = []
    wait_until("it is ejected", lambda: codes.append(c.echo().code) or ejected(gateway), 20)
    assert codes.count(14) == 4 and len(servers[1].calls) == 4
    assert [c.echo().code for _ in range(30)] == [0] * 30
    assert len(servers[1].calls) == 4 and ejections(gateway) == 1
    wait_until("the log says it", lambda: "is left out for" in gateway.stderr)


def test_it_comes_back(start, backends, client):
    servers = backends(2)
    gateway = start(config(servers, base_ejection="300ms"))
    c = client(gateway)
    warm(c, servers)
    servers[0].fault = 13
    wait_until("it is ejected", lambda: c.echo() and ejections(gateway), 20)
    servers[0].fault = None
    seen = len(servers[0].calls)
    wait_until("it has calls again", lambda: c.echo().code == 0 and len(servers[0].calls) > seen, 20)
    assert ejected(gateway) == 0


def test_a_success_between_failures_keeps_it(start, backends, client):
    servers = backends(2)
    gateway = start(config(servers))
    c = client(gateway)
    warm(c, servers)
    for i in range(40):
        servers[0].fault = 14 if len(servers[0].calls) % 4 != 3 else None
        c.echo()
    assert ejections(gateway) == 0 and len(servers[0].calls) >= 16


def test_statuses_that_are_answers_do_not_eject(start, backends):
    servers = backends(2)
    gateway = start(config(servers, consecutive_failures=2))
    c = DIALECTS["rest"](gateway)
    warm(c, servers)
    for code in (1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 15, 16):
        servers[0].fault = code
        for _ in range(8):
            c.echo()
        assert ejections(gateway) == 0, code
    c.close()


def test_no_more_than_max_ejected_percent(start, backends, client):
    servers = backends(4)
    gateway = start(config(servers, max_ejected_percent=50))
    c = client(gateway)
    warm(c, servers)
    for b in servers:
        b.fault = 14
    for _ in range(60):
        assert c.echo().code == 14
    assert ejected(gateway) == 2
    for b in servers:
        b.fault = None
        b.calls.clear()
    assert [c.echo().code for _ in range(20)] == [0] * 20
    assert sum(bool(b.calls) for b in servers) == 2


def test_the_only_endpoint_is_never_ejected(start, backends, client):
    servers = backends(1)
    gateway = start(config(servers, max_ejected_percent=100))
    c = client(gateway)
    servers[0].fault = 14
    for _ in range(20):
        c.echo()
    assert len(servers[0].calls) == 20 and ejections(gateway) == 0


def test_when_all_are_ejected_all_are_used(start, backends, client):
    servers = backends(2)
    gateway = start(config(servers, max_ejected_percent=100))
    c = client(gateway)
    warm(c, servers)
    for b in servers:
        b.fault = 14
    for _ in range(30):
        assert c.echo().code == 14
    assert ejected(gateway) == 2
    assert sum(len(b.calls) for b in servers) == 30
    for b in servers:
        b.fault = None
    assert [c.echo().code for _ in range(10)] == [0] * 10
    wait_until("the log says it", lambda: "every endpoint is down, ejected or unhealthy" in gateway.stderr)


def test_a_slow_endpoint_is_ejected_by_our_deadline(start, backends, client):
    servers = backends(3)
    gateway = start(config(servers, consecutive_failures=2, policies={"*": {"timeout": "1s"}}))
    c = client(gateway)
    warm(c, servers)
    servers[2].delay = 30
    codes = []
    wait_until("it is ejected", lambda: codes.append(c.echo().code) or ejected(gateway), 30)
    assert codes.count(4) == 2
    assert 4 not in [c.echo().code for _ in range(20)]


def test_workers_share_it(start, backends):
    servers = backends(2)
    gateway = start(config(servers, workers=2, consecutive_failures=30, max_ejected_percent=50))
    clients = [DIALECTS["rest"](gateway) for _ in range(20)]
    for c in clients:
        warm(c, servers[:1])
    servers[0].fault = 14
    wait_until("it is ejected", lambda: [c.echo() for c in clients] and ejected(gateway), 20)
    n = len(servers[0].calls)
    assert 30 <= n <= 31 and ejections(gateway) == 1
    for c in clients:
        assert c.echo().code == 0
        c.close()
    assert len(servers[0].calls) == n


def test_slow_start_gives_it_a_small_share_at_first(start, backends, client):
    servers = backends(2)
    gateway = start(config(servers, base_ejection="300ms", upstream={"slow_start": "600s"}))
    c = client(gateway)
    warm(c, servers)
    servers[0].fault = 14
    wait_until("it is ejected", lambda: c.echo() and ejections(gateway), 20)
    servers[0].fault = None
    seen = len(servers[0].calls)
    wait_until("it has calls again", lambda: c.echo().code == 0 and len(servers[0].calls) > seen, 20)
    for b in servers:
        b.calls.clear()
    assert [c.echo().code for _ in range(220)] == [0] * 220
    assert 5 <= len(servers[0].calls) <= 60  # a tenth of a share, not half of all


def test_addresses_of_one_name_are_told_apart(start, backends, client, names):  # noqa: F811
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    servers = [backends(1, address=f"127.0.0.{i}:{port}")[0] for i in (1, 2, 3)]
    names.records["books.test"] = ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
    keys = config(servers)
    keys["upstreams"]["main"]["endpoints"] = [f"dns:///books.test:{port}"]
    gateway = start(keys, env={"TRANSOM_DNS_SERVERS": names.address})
    c = client(gateway)
    warm(c, servers)
    servers[1].fault = 14
    wait_until("it is ejected", lambda: c.echo() and ejected(gateway), 20)
    n = len(servers[1].calls)
    assert n == 4
    assert [c.echo().code for _ in range(20)] == [0] * 20
    assert len(servers[1].calls) == n and servers[0].calls and servers[2].calls
