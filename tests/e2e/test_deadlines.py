"""Deadlines (SPEC §10 in their first form): policy, headers, the remainder upstream, 504, cancellation both ways."""
import time

import pytest

from env.build import wait_until
from env.gateway import base_config
from env.scripted import GRPC, Scripted

TEST = "test.v1.EverythingService."


def sleep(http, seconds, headers=()):
    return http.request("GET", f"/test/v1/sleep?duration={seconds}s", headers)


def remaining(http, headers=()):
    r = http.request("GET", "/test/v1/sleep", headers)
    assert r.status == 200, r
    text = r.json().get("timeRemaining")
    return float(text[:-1]) if text else None


def is_deadline(r):
    return r.status == 504 and r.json()["code"] == 4


def test_policy_timeout_is_504_and_cancels(connect, gateways, backend):
    gateway = gateways(policies={"*": {"timeout": "400ms"}})
    http = connect(gateway)
    begin = time.monotonic()
    r = sleep(http, 20)  # the backend has the same deadline, and may be the one that says so
    assert is_deadline(r) and 0.35 < time.monotonic() - begin < 3
    call = backend.one_call()
    assert call.ended.wait(5) and call.cancelled


def test_the_default_is_15_seconds_and_the_remainder_goes_upstream(http, backend):
    assert 14 < remaining(http) <= 15


HEADERS = [("grpc-timeout", "200m", 0.2), ("grpc-timeout", "3S", 3), ("grpc-timeout", "2000000u", 2), ("grpc-timeout", "99999999n", 0.1),
           ("x-request-timeout", "2", 2), ("x-request-timeout", "0.5", 0.5), ("x-request-timeout", "1.25", 1.25),
           ("x-request-timeout", "1.2000000000000002", 1.2)]


@pytest.mark.parametrize("name,value,seconds", HEADERS, ids=[h[1] for h in HEADERS])
def test_client_deadlines_go_upstream(http, backend, name, value, seconds):
    left = remaining(http, [(name, value)])
    assert left <= seconds and left > seconds * 0.5


def test_the_least_counts(http, backend):
    assert 1 < remaining(http, [("grpc-timeout", "5S"), ("x-request-timeout", "2")]) <= 2
    assert 1 < remaining(http, [("grpc-timeout", "2S"), ("x-request-timeout", "5")]) <= 2
    assert remaining(http, [("grpc-timeout", "1H")]) <= 15


@pytest.mark.parametrize("name,value", [("grpc-timeout", "5"), ("grpc-timeout", "123456789S"), ("grpc-timeout", "S"), ("grpc-timeout", "-1S"), ("grpc-timeout", "1 S"),
                                        ("grpc-timeout", "1.5S"), ("grpc-timeout", "1s"), ("x-request-timeout", "abc"), ("x-request-timeout", "-1"),
                                        ("x-request-timeout", "1e3"), ("x-request-timeout", "")])
def test_malformed_timeouts_are_400(http, gateway, backend, name, value):
    with gateway.counts("BAD_TIMEOUT"):
        r = http.request("GET", "/test/v1/sleep", [(name, value)])
    assert r.status == 400 and r.json()["code"] == 3 and not backend.calls


def test_a_client_deadline_is_504(http, backend):
    assert is_deadline(sleep(http, 20, [("x-request-timeout", "0.4")]))
    call = backend.one_call()
    assert call.ended.wait(5) and call.cancelled


def test_no_timeout_and_none_is_sent(connect, gateways, backend):
    http = connect(gateways(policies={"*": {"timeout": "0s"}}))
    assert remaining(http) is None
    assert "grpc-timeout" not in dict(backend.one_call().metadata)


def test_zero_is_never_sent(http, backend):
    r = http.request("GET", "/test/v1/sleep", [("grpc-timeout", "0S")])
    assert is_deadline(r)
    assert not backend.calls


def test_streams_have_no_timeout_of_unary_methods(connect, gateways, backend):
    http = connect(gateways(policies={"*": {"timeout": "50ms"}}))
    r = http.request("GET", "/test/v1/stream?count=4&pause=0.05s")
    assert len(r.json()) == 4 and r.complete


def test_a_client_deadline_holds_for_streams(http, backend):
    r = http.request("GET", "/test/v1/stream?count=1000&pause=0.01s", [("x-request-timeout", "0.6"), ("accept", "application/x-ndjson")])
    import json
    assert json.loads(r.body.splitlines()[-1])["error"]["code"] == 4
    assert backend.calls[0].ended.wait(5)


def test_stream_idle_timeout(connect, gateways, backend):
    gateway = gateways(policies={"*": {"stream_idle_timeout": "400ms"}})
    http = connect(gateway)
    with gateway.counts("STREAM_IDLE"):
        r = http.request("GET", "/test/v1/stream?count=2&pause=0.02s", [("x-test-hold-after", "2"), ("accept", "application/x-ndjson")])
    import json
    lines = r.body.splitlines()
    assert len(lines) == 3 and json.loads(lines[-1])["error"]["code"] == 4
    assert backend.calls[0].ended.wait(5) and backend.calls[0].cancelled


def test_max_stream_duration(connect, gateways, backend):
    gateway = gateways(policies={"*": {"max_stream_duration": "600ms"}})
    http = connect(gateway)
    with gateway.counts("STREAM_DURATION"):
        r = http.request("GET", "/test/v1/stream?count=100000&pause=0.01s")
    assert r.status == 200 and not r.complete
    assert backend.calls[0].ended.wait(5)


def test_connecting_is_taken_from_the_deadline(start, backend, connect):
    """An address that never answers: the deadline passes before connect_timeout does."""
    import socket
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        fill = [socket.socket() for _ in range(4)]  # its queue of connections is full
        for s in fill:
            s.setblocking(False)
            s.connect_ex(deaf.getsockname())
        gateway = start(base_config([f"127.0.0.1:{deaf.getsockname()[1]}"], upstreams={"main": {"endpoints": [f"127.0.0.1:{deaf.getsockname()[1]}"], "connect_timeout": "10s"}}))
        http = connect(gateway)
        begin = time.monotonic()
        assert is_deadline(sleep(http, 1, [("x-request-timeout", "0.2")]))
        assert time.monotonic() - begin < 3
        for s in fill:
            s.close()


@pytest.mark.parametrize("head", [False, True], ids=["alone", "after_the_head"])
def test_a_backend_that_cancels_the_stream_at_its_deadline_is_504(start, connect, head):
    """As grpc-go does, which measures grpc-timeout with a clock of its own: whoever is first, it is the deadline that has passed."""
    def script(conn, stream_id, request):
        text = request.get("grpc-timeout")
        time.sleep(max(0, int(text[:-1]) * {"n": 1e-9, "u": 1e-6, "m": 1e-3, "S": 1}[text[-1]] - 0.008))
        if head:
            conn.headers(stream_id, GRPC)
        conn.reset(stream_id, 8)
    server = Scripted(script)
    gateway = start(base_config([server.endpoint], policies={"*": {"retry": {"attempts": 3, "on": ["UNAVAILABLE", "CANCELLED"]}}}))
    http = connect(gateway)
    for _ in range(5):
        r = sleep(http, 1, [("x-request-timeout", "0.6")])
        assert is_deadline(r) and r.json()["details"][0]["reason"] == "DEADLINE", r
    assert len(server.requests) == 5
    server.stop()


def test_per_method_policies(connect, gateways, backend):
    http = connect(gateways(policies={"*": {"timeout": "9s"}, "test.v1.*": {"timeout": "8s"}, TEST + "*": {"timeout": "7s"}, TEST + "Sleep": {"timeout": "6s"}}))
    assert 5 < remaining(http) <= 6
    http.request("GET", "/test/v1/echo/x")
    wait_until("both arrived", lambda: len(backend.calls) == 2)
    assert 6 < backend.calls[1].time_remaining <= 7


def test_null_removes_an_inherited_key(connect, gateways, backend):
    http = connect(gateways(policies={"*": {"timeout": "9s"}, TEST + "Sleep": {"timeout": None}}))
    assert 14 < remaining(http) <= 15


@pytest.mark.parametrize("name", ["grpc-timeout", "x-request-timeout"])
def test_a_timeout_given_twice_is_400(http, backend, name):
    r = http.request("GET", "/test/v1/sleep", [(name, "1S" if name[0] == "g" else "1"), (name, "2S" if name[0] == "g" else "2")])
    assert r.status == 400 and not backend.calls
