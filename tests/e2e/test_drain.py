"""Signals: draining, and stopping at once (SPEC §1)."""
import signal
import time

import pytest

from env.build import wait_until
from env.gateway import base_config
from env.http1 import H1
from env.http2 import H2


@pytest.fixture
def draining(start, backend):
    def begin(**changes):
        return start(base_config([backend.endpoint], **{"drain_delay": "0s", "drain_timeout": "5s", **changes}))
    return begin


def test_readyz_fails_before_connections_are_asked_to_go(draining, backend):
    gateway = draining(drain_delay="60s")
    assert gateway.admin_get("/readyz")[0] == 200 and gateway.admin_get("/healthz")[0] == 200
    gateway.signal()
    wait_until("/readyz is 503", lambda: gateway.admin_get("/readyz")[0] == 503)
    assert gateway.admin_get("/healthz")[0] == 200
    with H1(gateway.port) as c:  # the delay has not passed: all is served
        r = c.request("GET", "/test/v1/echo/x")
        assert r.status == 200 and r.header("connection") is None
    gateway.signal(signal.SIGINT)
    assert gateway.wait(5) == 0 or gateway.process.returncode in (1, 130)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_gateway_ends_at_once(draining, signum):
    gateway = draining()
    begin = time.monotonic()
    gateway.signal(signum)
    assert gateway.wait(5) == 0 and time.monotonic() - begin < 3


def test_requests_finish(draining, backend):
    gateway = draining()
    with H1(gateway.port) as one, H2(gateway.port) as two:
        a = one.start("GET", "/test/v1/echo/one", [("x-test-hold", "d")])
        b = two.start("GET", "/test/v1/echo/two", [("x-test-hold", "d")])
        wait_until("both arrive", lambda: len(backend.calls) == 2)
        gateway.signal()
        two.limit(5)
        while two.goaway is None:
            assert two.pump()
        assert two.goaway[0] == 0
        backend.release("d")
        r = a.finish()
        assert r.json() == {"fString": "one"} and r.header("connection") == "close"
        assert b.finish().json() == {"fString": "two"}
        assert one.read_all(5) == b""
    assert gateway.wait(5) == 0


def test_goaway_comes_in_two_steps(draining, backend):
    gateway = draining()
    with H2(gateway.port) as c:
        s = c.start("GET", "/test/v1/echo/x", [("x-test-hold", "d")])
        wait_until("it arrives", lambda: backend.calls)
        seen = []
        was = c._on

        def on(e):
            was(e)
            if c.goaway and c.goaway not in seen:
                seen.append(c.goaway)
        c._on = on
        gateway.signal()
        c.limit(5)
        while not seen:
            assert c.pump()
        assert seen[0] == (0, 2**31 - 1)
        backend.release("d")
        assert s.finish().status == 200
        c.limit(5)
        while c.pump():
            pass
        assert seen[-1] == (0, 1) or len(seen) == 1
    assert gateway.wait(5) == 0


def test_idle_keep_alive_connections_are_closed(draining, backend):
    gateway = draining()
    with H1(gateway.port) as c:
        assert c.request("GET", "/test/v1/echo/x").status == 200
        gateway.signal()
        assert c.read_all(5) == b""
    assert gateway.wait(5) == 0


def test_streams_finish_too(draining, backend):
    gateway = draining()
    with H2(gateway.port) as c:
        s = c.start("GET", "/test/v1/stream?count=3", [("x-test-hold-after", "1")])
        assert s.read_some(5)
        gateway.signal()
        wait_until("/readyz is 503", lambda: gateway.admin_get("/readyz")[0] == 503)
        backend.release("after")
        assert len(s.finish().json()) == 3
    assert gateway.wait(5) == 0


def test_drain_timeout_ends_what_does_not_finish(draining, backend):
    gateway = draining(drain_timeout="200ms")
    with H1(gateway.port) as c:
        c.start("GET", "/test/v1/sleep?duration=60s")
        call = wait_until("it arrives", lambda: backend.calls)[0]
        begin = time.monotonic()
        gateway.signal()
        assert gateway.wait(5) == 0
        assert 0.15 < time.monotonic() - begin < 3
        assert call.ended.wait(5)


def test_drain_timeout_includes_the_two_steps_of_goaway(draining, backend):
    gateway = draining(drain_timeout="1500ms")
    with H2(gateway.port) as c:
        s = c.start("GET", "/test/v1/sleep?duration=60s")
        wait_until("it arrives", lambda: backend.calls)
        begin = time.monotonic()
        gateway.signal()
        c.limit(5)
        while c.pump():
            pass
        assert c.goaway == (0, 1)
        assert gateway.wait(5) == 0 and 1.3 < time.monotonic() - begin < 2.9  # each step in full would be 3 s
        assert not s.response.complete and backend.calls[0].ended.wait(5)


def test_a_second_signal_exits_at_once(draining, backend):
    gateway = draining(drain_timeout="60s")
    with H1(gateway.port) as c:
        c.start("GET", "/test/v1/sleep?duration=60s")
        call = wait_until("it arrives", lambda: backend.calls)[0]
        gateway.signal()
        wait_until("/readyz is 503", lambda: gateway.admin_get("/readyz")[0] == 503)
        gateway.signal()
        begin = time.monotonic()
        gateway.wait(5)
        assert time.monotonic() - begin < 2
        assert call.ended.wait(5)


def test_no_request_is_lost_under_load(draining, backend):
    """Clients that honour Connection: close and GOAWAY see only good answers."""
    import threading
    gateway = draining(workers=2)
    bad, good, stop = [], [0], threading.Event()

    def client():
        while not stop.is_set():
            try:
                c = H1(gateway.port)
            except OSError:
                return
            with c:
                while not stop.is_set():
                    try:
                        r = c.request("GET", "/test/v1/echo/x")
                    except OSError:
                        break
                    if r.status is None:
                        break  # closed between two requests
                    if r.status != 200 or not r.complete:
                        bad.append(r)
                    good[0] += 1
                    if r.header("connection") == "close":
                        break
    threads = [threading.Thread(target=client) for _ in range(4)]
    for t in threads:
        t.start()
    wait_until("load runs", lambda: good[0] > 100)
    gateway.signal()
    assert gateway.wait(8) == 0
    stop.set()
    for t in threads:
        t.join(5)
    assert not bad
