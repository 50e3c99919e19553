"""Load shedding by memory and by event-loop lag (SPEC §10, contrib/doc/load-shedding.md)."""
import signal
import time

import grpc
import pytest

from env.build import wait_until
from env.gateway import base_config
from env.http1 import H1
from env.http2 import H2
from env.messages import types

SERVICE = "test.v1.EverythingService"
CLIENTS = {"h1": H1, "h2": H2}
CONFIG = {  # nothing is small enough
    "listeners": [{"address": "127.0.0.1:0", "health": True}],
    "load_shedding": {"max_memory": "1MiB"},
    "policies": {"*": {"ip": {"deny": ["127.0.0.1"]}, "cors": {"origins": ["https://app.example.com"]}}},
}


def is_shed(r):
    return r.status == 503 and r.json()["code"] == 14 and r.json()["details"][0]["reason"] == "OVERLOADED" and r.header("retry-after") == "1"


def test_above_the_bound_of_memory_all_is_refused_before_any_work(http, backend, gateway):
    before = gateway.metric("transom_shed_total", reason="memory"), gateway.errors("OVERLOADED")
    r = http.request("GET", "/test/v1/echo/x", [("origin", "https://app.example.com")])
    assert is_shed(r) and r.header("access-control-allow-origin") == "https://app.example.com"
    assert is_shed(http.request("OPTIONS", "/test/v1/echo/x", [("origin", "https://app.example.com"), ("access-control-request-method", "GET")]))
    wait_until("both are counted", lambda: gateway.errors("OVERLOADED") >= before[1] + 2)  # after the answer
    assert (gateway.metric("transom_shed_total", reason="memory"), gateway.errors("OVERLOADED")) == (before[0] + 2, before[1] + 2)
    assert gateway.metric("transom_shed_total", reason="lag") == 0
    assert gateway.metric("transom_ip_decisions_total") == 0  # comes after
    assert not backend.calls


def test_a_body_is_not_waited_for(http, backend):
    s = http.start("POST", "/test/v1/echo", [("content-type", "application/json"), ("expect", "100-continue")], 1_000_000)
    r = s.finish()
    assert is_shed(r) and not r.interim


def test_native_grpc(gateway, backend):
    with grpc.insecure_channel(f"127.0.0.1:{gateway.port}", [("grpc.enable_http_proxy", 0), ("grpc.enable_retries", 0)]) as channel:
        call = channel.unary_unary(f"/{SERVICE}/Echo", lambda m: m.SerializeToString(), types()["test.v1.Everything"].FromString)
        with pytest.raises(grpc.RpcError) as e:
            call(types()["test.v1.Everything"](), timeout=10)
    assert e.value.code() == grpc.StatusCode.UNAVAILABLE and "overloaded" in e.value.details()
    assert not backend.calls


def test_health_and_admin_are_never_shed(http, gateway):
    assert http.request("GET", "/healthz").status == 200
    assert http.request("GET", "/readyz").status == 200
    assert gateway.admin_get("/healthz")[0] == 200 and gateway.admin_get("/metrics")[0] == 200


def test_below_the_bounds_nothing_is_refused(start, backend, version):
    g = start(base_config([backend.endpoint], load_shedding={"max_memory": "64GiB", "max_lag": "60s"}))
    with CLIENTS[version](g.port) as c:
        for _ in range(50):
            assert c.request("GET", "/test/v1/echo/x").status == 200
    assert g.metric("transom_shed_total") == 0 and g.metric("transom_loop_lag_seconds") < 60


def test_lag_sheds_and_rest_ends_it(start, backend, version):
    """The process is stopped for a second, so that its loops are late; at rest they come back to time."""
    g = start(base_config([backend.endpoint], workers=1, load_shedding={"max_lag": "20ms"}))
    with CLIENTS[version](g.port) as c:
        wait_until("a request passes", lambda: c.request("GET", "/test/v1/echo/x").status == 200, 20)

        def some_is_shed():
            g.signal(signal.SIGSTOP)
            try:
                time.sleep(1)  # what is under test: a second in which the loop does not turn
            finally:
                g.signal(signal.SIGCONT)
            return any(is_shed(c.request("GET", "/test/v1/echo/x")) for _ in range(100))
        wait_until("one is refused", some_is_shed, 60)
        assert g.metric("transom_shed_total", reason="lag") > 0
        wait_until("requests pass again", lambda: c.request("GET", "/test/v1/echo/x").status == 200, 20)
        wait_until("the lag is gone", lambda: g.metric("transom_loop_lag_seconds") < 0.02, 20)


def test_lag_of_an_idle_loop_is_none(start, backend):
    """Nothing is asked for a while: the first request after it must not meet an old figure."""
    g = start(base_config([backend.endpoint], workers=1, load_shedding={"max_lag": "200ms"}))
    g.signal(signal.SIGSTOP)
    time.sleep(1)
    g.signal(signal.SIGCONT)
    wait_until("the lag is gone", lambda: g.metric("transom_loop_lag_seconds") < 0.01, 20)
    with H2(g.port) as c:
        wait_until("requests pass", lambda: c.request("GET", "/test/v1/echo/x").status == 200, 20)
