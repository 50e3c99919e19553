"""The access log (SPEC §11, contrib/doc/access-log.md), over HTTP/1.1, HTTP/2 and native gRPC."""
import datetime
import hashlib
import json
import os
import re
import socket
import time

import grpc
import h2.settings
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from env.build import ROOT, SANITIZED, wait_until
from env.gateway import Gateway, base_config, run
from env.http1 import H1, H1Stream
from env.http2 import H2
from env.messages import types
from env.redis import Redis
from env.scripted import Scripted, good

SERVICE = "test.v1.EverythingService"
CLIENTS = {"h1": H1, "h2": H2}
SHARES = ["head_us", "filters_us", "body_us", "retries_us", "connect_us", "first_byte_us", "last_byte_us"]


def fields():
    return re.findall(r'^FIELD\(\w+, "(\w+)", \w+, "(\w+)"', (ROOT / "src/obs/accesslog.def").read_text(), re.M)


class Log:
    def __init__(self, path):
        self.path = path

    def lines(self):
        text = self.path.read_text() if self.path.exists() else ""
        return [json.loads(line) for line in text.split("\n")[:-1]]

    def one(self, seconds=20, **want):
        """The one line with these members."""
        def found():
            return [line for line in self.lines() if all(line.get(k) == v for k, v in want.items())]
        wait_until(f"a line with {want}", found, seconds)
        assert len(found()) == 1, found()
        line = found()[0]
        assert all(isinstance(line[s], int) for s in SHARES), line
        assert line["duration_us"] == sum(line[s] for s in SHARES), line
        assert line["key_wait_us"] + line["quota_wait_us"] <= line["filters_us"]
        return line


@pytest.fixture
def logged(start, backend, tmp_path):
    def begin(access_log=None, **changes):
        path = tmp_path / "access.log"
        gateway = start(base_config([backend.endpoint], access_log={"output": str(path), **(access_log or {})}, **changes))
        return gateway, Log(path)
    return begin


def test_a_request(logged, backend, version):
    gateway, log = logged(trusted_hops=1)
    before = datetime.datetime.now(datetime.timezone.utc)
    with CLIENTS[version](gateway.port) as c:
        r = c.request("POST", "/test/v1/echo?x=secret", [("content-type", "application/json"), ("x-request-id", "abc-1"),
                                                         ("x-forwarded-for", "203.0.113.7, 192.0.2.9")], b'{"fString":"x"}')
        r2 = c.request("POST", "/test/v1/echo", [("content-type", "application/json"), ("x-request-id", "abc-2")], b'{"fString":"x"}')
    assert r.status == 400 and r2.status == 200  # the query binds nothing
    line = log.one(request_id="abc-2")
    assert line["client"] == "127.0.0.1" and line["http"] == version[1].replace("1", "1.1")
    assert line["method"] == "POST" and line["path"] == "/test/v1/echo" and line["dialect"] == "rest"
    assert line["route"] == "/test/v1/echo" and line["rpc"] == SERVICE + ".Echo"
    assert line["upstream"] == "main" and line["endpoint"] == backend.endpoint and line["attempts"] == 1
    assert line["status"] == 200 and line["grpc_code"] == 0 and "reason" not in line
    assert line["bytes_in"] == 15 and line["bytes_out"] == len(r2.body) and line["deadline_us"] == 15_000_000
    assert abs(datetime.datetime.fromisoformat(line["time"].replace("Z", "+00:00")) - before) < datetime.timedelta(seconds=60)
    assert len(line["config"]) == 16 and "user_agent" not in line and "fail_open" not in line
    assert list(line) == [name for name, when in fields() if name in line]  # in the order of the table
    line = log.one(request_id="abc-1")
    assert line["status"] == 400 and line["reason"].startswith("QUERY_")
    assert line["client"] == "192.0.2.9" and line["attempts"] == 0 and "endpoint" not in line


def test_secrets_of_the_query_are_not_there(logged, backend, version):
    gateway, log = logged()
    with CLIENTS[version](gateway.port) as c:
        assert c.request("GET", "/test/v1/echo/x?key=s3cret-1&access_token=s3cret-2", [("x-request-id", "q"), ("authorization", "Bearer s3cret-3")]).status == 200
    assert log.one(request_id="q")["query"] == "key=***&access_token=***"
    assert "s3cret" not in log.path.read_text()


def test_native_grpc(logged, backend):
    gateway, log = logged()
    message = types()["test.v1.Everything"](f_string="x")
    with grpc.insecure_channel(f"127.0.0.1:{gateway.port}", [("grpc.enable_http_proxy", 0)]) as channel:
        echo = channel.unary_unary(f"/{SERVICE}/Echo", lambda m: m.SerializeToString(), types()["test.v1.Everything"].FromString)
        assert echo(message, timeout=10, metadata=[("x-request-id", "n1")]) == message
        fail = channel.unary_unary(f"/{SERVICE}/Fail", lambda m: m.SerializeToString(), types()["test.v1.FailResponse"].FromString)
        with pytest.raises(grpc.RpcError):
            fail(types()["test.v1.FailRequest"](code=7, message="no"), timeout=10, metadata=[("x-request-id", "n2")])
        down = channel.unary_stream(f"/{SERVICE}/Down", lambda m: m.SerializeToString(), types()["test.v1.StreamItem"].FromString)
        assert len(list(down(types()["test.v1.StreamRequest"](count=5), timeout=10, metadata=[("x-request-id", "n3")]))) == 5
    line = log.one(request_id="n1")
    assert line["dialect"] == "grpc" and line["route"] == f"/{SERVICE}/Echo" and line["status"] == 200 and line["grpc_code"] == 0
    assert 5_000_000 < line["deadline_us"] < 15_000_000  # the client rounds
    line = log.one(request_id="n2")
    assert line["status"] == 200 and line["grpc_code"] == 7 and "reason" not in line
    assert log.one(request_id="n3")["grpc_code"] == 0


def test_refusals_of_every_kind_have_a_line(logged, backend, version):
    gateway, log = logged(policies={SERVICE + ".Shadow": {"ip": {"deny": ["127.0.0.1"]}}}, limits={"max_header_bytes": 4096})
    cases = {"ROUTE_NOT_FOUND": ("GET", "/nowhere", [], 404), "METHOD_NOT_ALLOWED": ("DELETE", "/test/v1/echo/x", [], 405),
             "IP_DENIED": ("GET", "/test/v1/shadow", [], 403), "BAD_TIMEOUT": ("GET", "/test/v1/echo/x", [("grpc-timeout", "x")], 400),
             "BAD_TARGET": ("GET", "/test/v1/echo/%zz", [], 400), "HEADERS_TOO_LARGE": ("GET", "/test/v1/echo/x", [("x-large", "v" * 5000)], 431)}
    for reason, (method, target, headers, status) in cases.items():
        with CLIENTS[version](gateway.port) as c:
            assert c.request(method, target, headers).status == status
        line = log.one(reason=reason)
        assert line["status"] == status and line["attempts"] == 0 and line["method"] == method, line
    assert "route" not in log.one(reason="ROUTE_NOT_FOUND") and log.one(reason="IP_DENIED")["route"] == "/test/v1/shadow"


def test_what_cannot_be_parsed_has_a_line(logged, backend):
    gateway, log = logged()
    with H1(gateway.port) as c:
        c.send(b"GET /test/v1/echo/x HTTP/1.1\r\nHost: a\r\nx: 1\r\n folded\r\n\r\n")
        assert H1Stream(c, "GET").finish(10).status == 400
    assert log.one(reason="BAD_HEADER")["status"] == 400


@pytest.mark.parametrize("path", ["/a%22%7D%0a", '/x"},{"y":"', "/\\", "/" + "%22" * 600])
def test_clients_cannot_write_lines(logged, backend, version, path):
    gateway, log = logged({"fields": ["status", "path", "user_agent", "authority"]})
    agent = 'a"\\\t\x7f\xff{}' if version == "h1" else 'a"\\\t\xff{}'
    with CLIENTS[version](gateway.port) as c:
        status = c.request("GET", path, [("user-agent", agent)]).status
    wait_until("a line", lambda: log.lines(), 20)
    assert len(log.lines()) == 1 and log.lines()[0]["status"] == status
    assert log.lines()[0].get("path", path)[:1024] == path[:1024]
    assert all(len(line) < 4096 for line in log.path.read_text().split("\n"))


def test_no_reader_takes_a_string_for_the_end_of_a_line(logged, backend, version):
    """Python, for one, also ends lines at U+0085 and U+2028; a terminal obeys U+009B."""
    gateway, log = logged({"fields": ["status", "user_agent"]})
    agent = "a\u0085b\u2028c\u009b2Jd\u202eé"
    with CLIENTS[version](gateway.port) as c:
        assert c.request("GET", "/test/v1/echo/x", [("user-agent", agent.encode().decode("latin-1"))]).status == 200
    wait_until("a line", lambda: log.lines(), 20)
    text = log.path.read_text()
    assert len(text.splitlines()) == 1 and json.loads(text) == {"status": 200, "user_agent": agent}
    assert not set(agent) - set("abcd2Jé") & set(text)


def test_secrets_of_a_referer_are_not_there(logged, backend, version):
    gateway, log = logged({"fields": ["referer"]})
    with CLIENTS[version](gateway.port) as c:
        c.request("GET", "/test/v1/echo/x", [("referer", "https://a.example/p?x=1&access_token=s3cret#key=s3cret")])
    wait_until("a line", lambda: log.lines(), 20)
    assert log.lines() == [{"referer": "https://a.example/p?x=1&access_token=***"}]


def test_one_path_has_one_spelling(logged, backend, version):
    """SPEC §3: one canonical path is what router, policies and log all see."""
    gateway, log = logged({"fields": ["path", "status"]})
    cases = {"/test/v1/%65cho/a%62%2f%2Fc%20": ("/test/v1/echo/ab%2f%2Fc%20", 200), "/n%6Fwhere": ("/nowhere", 404),
             "/test/v1/%65cho/%zz": ("/test/v1/%65cho/%zz", 400), "/test/v1/%65cho/%2e%2e/x": ("/test/v1/%65cho/%2e%2e/x", 400)}
    for i, target in enumerate(cases):
        with CLIENTS[version](gateway.port) as c:
            c.request("GET", target)
        wait_until("its line", lambda: len(log.lines()) == i + 1, 20)
    assert [(line["path"], line["status"]) for line in log.lines()] == list(cases.values())


def test_native_grpc_is_written_as_sent(logged, backend):
    """It compares bytes: what looks like a method in the log must be one."""
    gateway, log = logged({"fields": ["path", "grpc_code"]})
    with H2(gateway.port) as c:
        c.request("POST", f"/{SERVICE}/%45cho", [("content-type", "application/grpc"), ("te", "trailers")], b"\0" * 5)
    wait_until("its line", lambda: log.lines(), 20)
    assert log.lines() == [{"path": f"/{SERVICE}/%45cho", "grpc_code": 12}]


def test_fields_are_chosen(logged, backend, version):
    names = ["status", "user_agent", "trace_id", "peer", "tls", "referer", "origin", "authority", "method"]
    gateway, log = logged({"fields": names})
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    with CLIENTS[version](gateway.port) as c:
        c.request("GET", "/test/v1/echo/x", [("user-agent", "me"), ("traceparent", f"00-{trace}-00f067aa0ba902b7-01"), ("origin", "https://a.example"),
                                             ("referer", "https://a.example/p")])
        c.request("GET", "/test/v1/echo/x", [("traceparent", "00-x")])
        c.request("GET", "/test/v1/echo/x", [("traceparent", f"00-{trace[:-1]}\"-00f067aa0ba902b7-01")])
    wait_until("all", lambda: len(log.lines()) == 3, 20)
    assert log.lines()[0] == {"status": 200, "user_agent": "me", "trace_id": trace, "peer": "127.0.0.1", "tls": False, "referer": "https://a.example/p",
                              "origin": "https://a.example", "authority": f"127.0.0.1:{gateway.port}", "method": "GET"}
    assert list(log.lines()[0]) == names
    assert "trace_id" not in log.lines()[1] and "trace_id" not in log.lines()[2]


def test_where_the_time_went(logged, backend, version):
    gateway, log = logged()
    with CLIENTS[version](gateway.port) as c:
        c.request("GET", "/test/v1/sleep?duration=0.5s", [("x-request-id", "slow")])
        c.request("GET", "/test/v1/stream?count=3&pause=0.2s", [("x-request-id", "stream"), ("accept", "application/x-ndjson")])
    line = log.one(request_id="slow")
    assert line["first_byte_us"] >= 450_000 and line["first_byte_us"] > line["last_byte_us"], line
    line = log.one(request_id="stream")
    assert line["last_byte_us"] >= 300_000, line


def test_a_slow_body(logged, backend):
    gateway, log = logged()
    with H1(gateway.port) as c:
        s = c.start("POST", "/test/v1/echo", [("content-type", "application/json"), ("x-request-id", "slow-body")], 15)
        wait_until("it has begun", lambda: gateway.metric("transom_requests_in_flight") == 1, 20)
        s.send(b'{"fString":"x"}')
        assert s.finish().status == 200
    line = log.one(request_id="slow-body")
    assert line["body_us"] > 0 and line["duration_us"] > line["body_us"] - 1, line


def test_a_backend_that_cannot_be_reached(start, backend, tmp_path, version):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        dead = s.getsockname()[1]
    path = tmp_path / "a.log"
    g = start(base_config([f"127.0.0.1:{dead}"], access_log={"output": str(path)}))
    with CLIENTS[version](g.port) as c:
        assert c.request("GET", "/test/v1/echo/x").status == 503
    line = Log(path).one(status=503)
    assert line["reason"] == "UPSTREAM_CONNECT" and line["grpc_code"] == 14 and line["attempts"] >= 1 and "endpoint" not in line
    assert line["first_byte_us"] == 0


def test_a_client_that_leaves(logged, backend, version):
    gateway, log = logged()
    with CLIENTS[version](gateway.port) as c:
        s = c.start("GET", "/test/v1/sleep?duration=20s", [("x-request-id", "left")])
        wait_until("the call arrives", lambda: backend.calls, 20)
        s.cancel()
        line = log.one(request_id="left")
    assert line["reason"] == "CLIENT_GONE" and line["status"] == 499 and line["grpc_code"] == 1


def test_preflights_and_health_have_lines(logged, backend, version):
    gateway, log = logged(listeners=[{"address": "127.0.0.1:0", "health": True}], policies={"*": {"cors": {"origins": ["*"]}}})
    with CLIENTS[version](gateway.port) as c:
        c.request("OPTIONS", "/test/v1/echo/x", [("origin", "https://a.example"), ("access-control-request-method", "GET")])
        c.request("GET", "/healthz")
    assert log.one(method="OPTIONS")["status"] == 204 and log.one(path="/healthz")["status"] == 200


def test_standard_output(start, backend, version):
    g = start(base_config([backend.endpoint], access_log={"output": "stdout", "fields": ["path", "status"]}))
    with CLIENTS[version](g.port) as c:
        for i in range(3):
            c.request("GET", f"/test/v1/echo/{i}")
    got = [json.loads(g.process.stdout.readline()) for _ in range(3)]
    assert got == [{"path": f"/test/v1/echo/{i}", "status": 200} for i in range(3)]


def test_lines_are_written_at_the_end(logged, backend):
    gateway, log = logged({"fields": ["path"]})
    with H2(gateway.port) as c:
        for i in range(100):
            c.request("GET", f"/test/v1/echo/{i}")
    gateway.stop()
    assert sorted(line["path"] for line in log.lines()) == sorted(f"/test/v1/echo/{i}" for i in range(100))


def test_rotation(logged, backend):
    gateway, log = logged({"fields": ["path"]})
    with H2(gateway.port) as c:
        c.request("GET", "/test/v1/echo/before")
        wait_until("the first line", lambda: log.lines(), 20)
        os.rename(log.path, str(log.path) + ".1")

        def goes_on():
            c.request("GET", "/test/v1/echo/after")
            return log.path.exists() and log.lines()
        wait_until("the new file has lines", goes_on, 30)
        os.remove(log.path)  # deleted
        wait_until("and again", goes_on, 30)
    assert Log(type(log.path)(str(log.path) + ".1")).lines()[0] == {"path": "/test/v1/echo/before"}
    assert gateway.metric("transom_access_log_dropped_total") == 0


def test_a_relative_path_begins_at_the_file(start, backend):
    g = start(base_config([backend.endpoint], access_log={"output": "here.log", "fields": ["status"]}))
    with H2(g.port) as c:
        c.request("GET", "/test/v1/echo/x")
    wait_until("a line", lambda: Log(g.dir / "here.log").lines() == [{"status": 200}], 20)


def test_a_reader_that_does_not_read_stops_nobody(tmp_path, backend):
    """A pipe that nobody reads: requests go on, lines are dropped and counted, the end comes all the same."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with Gateway(tmp_path / "g", base_config([backend.endpoint], workers=1, access_log={"output": str(fifo), "fields": ["path"]})) as g:
            with H2(g.port) as c:
                def dropped():
                    for _ in range(200):
                        assert c.request("GET", "/" + "x" * 1000).status == 404
                    return g.metric("transom_access_log_dropped_total") > 0
                wait_until("lines are dropped", dropped, 60)
                assert c.request("GET", "/test/v1/echo/x").status == 200
    finally:
        os.close(reader)


def test_a_log_that_cannot_be_opened_is_no_start(tmp_path):
    with pytest.raises(AssertionError, match="access log"):
        Gateway(tmp_path / "g", base_config(["127.0.0.1:1"], access_log={"output": "/nowhere/at/all"}))


def test_mistakes_are_found_at_load(tmp_path):
    path = tmp_path / "c.json"
    path.write_text(json.dumps(base_config(["127.0.0.1:1"], access_log={"output": "x.log", "fields": ["status", "nope", "status"]})))
    done = run("check", "--config", path)
    out = done.stdout + done.stderr
    assert done.returncode == 1 and 'no field is named "nope"' in out and '"status" is named twice' in out
    assert not (tmp_path / "x.log").exists()


@pytest.mark.skipif(SANITIZED, reason="arenas are emulated by the heap in this build")
def test_no_heap_allocation_for_it(logged, backend):
    gateway, log = logged(workers=1)
    with H2(gateway.port) as c:
        for _ in range(50):  # warm
            c.request("GET", "/test/v1/echo/x")
        before = gateway.metric("transom_heap_allocations_total")
        for _ in range(200):
            c.request("GET", "/test/v1/echo/x")
        assert gateway.metric("transom_heap_allocations_total") - before <= 2


@pytest.mark.parametrize("choice", ["allow", "local", "deny"])
def test_what_was_not_decided_by_the_store_is_said(logged, backend, version, choice):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        dead = s.getsockname()[1]
    gateway, log = logged(quota_store={"redis": f"redis://127.0.0.1:{dead}/0", "on_failure": choice}, workers=1,
                          policies={SERVICE + ".Echo": {"quotas": [{"name": "q", "limit": 1, "window": "3600s"}, {"name": "here", "store": "local", "limit": 9, "window": "60s"}]}})
    with CLIENTS[version](gateway.port) as c:
        got = [c.request("GET", f"/test/v1/echo/{i}").status for i in range(2)]
        assert got == {"allow": [200, 200], "local": [200, 429], "deny": [503, 503]}[choice]
        assert c.request("GET", "/test/v1/query").status == 200
    for i in range(2):  # refused or not
        line = log.one(path=f"/test/v1/echo/{i}")
        assert line.get("fail_open") == (["quota"] if choice == "allow" else None) and line.get("fail_local") == (["quota"] if choice == "local" else None)
        assert line.get("reason") == {("local", 1): "QUOTA_EXCEEDED", ("deny", 0): "QUOTA_UNAVAILABLE", ("deny", 1): "QUOTA_UNAVAILABLE"}.get((choice, i))
    assert not {"fail_open", "fail_local"} & set(log.one(path="/test/v1/query"))


SECRET = "s" * 32


def tokens(**provider):
    return {"providers": {"one": {"issuer": "https://issuer.test", "audiences": ["books"], **provider}}}


def bearer(subject="alice", kid=None):
    claims = {"iss": "https://issuer.test", "aud": "books", "sub": subject, "exp": int(time.time()) + 600}
    return ("authorization", "Bearer " + jwt.encode(claims, SECRET, "HS256", headers={"kid": kid} if kid else None))


def test_who_asked(logged, backend, version):
    gateway, log = logged(authentication=tokens(algorithms=["HS256"], secret=SECRET), policies={"*": {"authentication": {"any_of": ["one"]}}})
    with CLIENTS[version](gateway.port) as c:
        assert c.request("GET", "/test/v1/echo/x", [bearer('al"ice')]).status == 200
        assert c.request("GET", "/test/v1/query").status == 401
    line = log.one(path="/test/v1/echo/x")
    assert line["provider"] == "one" and line["subject"] == 'al"ice' and "consumer" not in line
    line = log.one(path="/test/v1/query")
    assert line["reason"] == "AUTH_MISSING" and "subject" not in line and line["attempts"] == 0
    assert "eyJ" not in log.path.read_text()


def test_waiting_for_keys(start, backend, tmp_path, version):
    """An issuer that does not answer: the wait is in the line, and that the policy let the request pass."""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        path = tmp_path / "a.log"
        g = start(base_config([backend.endpoint], workers=1, access_log={"output": str(path)},
                              authentication=tokens(jwks={"uri": f"http://127.0.0.1:{deaf.getsockname()[1]}/jwks", "timeout": "1s"}),
                              policies={"*": {"authentication": {"any_of": ["one"], "on_unavailable": "allow"}}}))
        key = ec.generate_private_key(ec.SECP256R1())
        token = jwt.encode({"iss": "https://issuer.test", "aud": "books", "sub": "a", "exp": int(time.time()) + 600}, key, "ES256", headers={"kid": "k"})
        with CLIENTS[version](g.port) as c:
            assert c.request("GET", "/test/v1/echo/x", [("authorization", "Bearer " + token)], timeout=30).status == 200
        line = Log(path).one(path="/test/v1/echo/x")
    assert line["fail_open"] == ["authentication"] and "subject" not in line
    assert line["filters_us"] >= line["key_wait_us"] >= 0


@pytest.mark.parametrize("early", [False, True])
def test_waiting_for_the_store_of_quotas(logged, backend, version, early):
    """A store that is frozen: the wait of its timeout is in the line, as a part of the filters' share."""
    redis = Redis()
    try:
        gateway, log = logged(workers=1, quota_store={"redis": "unix:" + redis.path, "timeout": "300ms", "on_failure": "allow"},
                              policies={SERVICE + ".Echo": {"quotas": [{"name": "q", "limit": 1000, "window": "60s", "before_authentication": early}]}})
        wait_until("the store is up", lambda: gateway.metric("transom_quota_store_up") == 1, 20)
        redis.freeze()
        with CLIENTS[version](gateway.port) as c:
            assert c.request("GET", "/test/v1/echo/frozen", timeout=20).status == 200
        line = log.one(path="/test/v1/echo/frozen")
    finally:
        redis.thaw()
        redis.close()
    assert line["fail_open"] == ["quota"] and 250_000 <= line["quota_wait_us"] <= line["filters_us"] and line["key_wait_us"] == 0, line


def test_retries_are_a_share_of_their_own(logged, backend, version):
    gateway, log = logged(policies={SERVICE + ".Fail": {"retry": {"attempts": 3, "backoff": {"base": "20ms", "max": "20ms"}}}})
    with CLIENTS[version](gateway.port) as c:
        assert c.request("GET", "/test/v1/fail/14", timeout=20).status == 503
    line = log.one(path="/test/v1/fail/14")
    assert line["attempts"] == 3 and line["retries_us"] > 0 and line["grpc_code"] == 14 and "reason" not in line, line


def test_attempts_that_failed_are_in_no_other_share(logged, backend, version):
    """Two tries of 300 ms: the first one's time is that of retries, the second one's of the answer; nothing is lost."""
    gateway, log = logged(policies={SERVICE + ".Sleep": {"retry": {"attempts": 2, "on": ["DEADLINE_EXCEEDED", "UNAVAILABLE"], "per_try_timeout": "300ms",
                                                                   "backoff": {"base": "1ms", "max": "1ms"}}}})
    with CLIENTS[version](gateway.port) as c:
        assert c.request("GET", "/test/v1/sleep?duration=20s", timeout=20).status == 504
    line = log.one(path="/test/v1/sleep")
    assert line["attempts"] == 2 and line["retries_us"] >= 280_000 and 280_000 <= line["connect_us"] + line["first_byte_us"] < line["duration_us"] - 270_000, line


def test_waiting_in_line_is_a_share_of_its_own(start, tmp_path, version):
    """A backend that takes one call at a time: the second one waits for the end of the first."""
    def on_connect(c):
        c.h2.local_settings = h2.settings.Settings(client=False, initial_values={3: 1})
        c.h2.initiate_connection()
        c.flush()

    def script(c, s, r):
        if len(slow.requests) == 2:
            time.sleep(0.6)  # what is under test: the time of the call that is before
        good(c, s)
    path = tmp_path / "a.log"
    with Scripted(script, on_connect=on_connect) as slow:
        gateway = start(base_config([], workers=1, upstreams={"main": {"endpoints": [slow.endpoint], "max_connections": 1}}, access_log={"output": str(path)}))
        with CLIENTS[version](gateway.port) as first, CLIENTS[version](gateway.port) as second:
            assert first.request("GET", "/test/v1/echo/settings").status == 200  # its limit is known
            begun = first.start("GET", "/test/v1/echo/first")
            wait_until("the first call arrives", lambda: len(slow.requests) == 2, 20)
            assert second.request("GET", "/test/v1/echo/second", timeout=20).status == 200
            assert begun.finish(20).status == 200
        line = Log(path).one(path="/test/v1/echo/second")
        assert line["connect_us"] >= 300_000 > line["first_byte_us"], line
        gateway.stop()


def test_only_a_good_request_id_is_written(logged, backend, version):
    """Of a request that no backend gets: the client's, if the backend would have got it."""
    gateway, log = logged({"fields": ["request_id", "status"]})
    ids = {"good-1": True, "a b": False, "x" * 129: False, "x" * 128: True, 'a"b': False}
    with CLIENTS[version](gateway.port) as c:
        for i, value in enumerate(ids):
            c.request("GET", "/nowhere", [("x-request-id", value)])
            wait_until("its line", lambda: len(log.lines()) == i + 1, 20)
        c.request("GET", "/nowhere", [("x-request-id", "one"), ("x-request-id", "two")])
        wait_until("its line", lambda: len(log.lines()) == len(ids) + 1, 20)
    assert log.lines() == [{"request_id": v, "status": 404} if good else {"status": 404} for v, good in ids.items()] + [{"status": 404}]


def test_over_tls_and_behind_a_proxy(logged, backend, version, certificates):
    gateway, log = logged({"fields": ["tls", "peer", "client", "http", "authority", "dialect"]}, trusted_hops=1,
                          listeners=[{"address": "127.0.0.1:0", "tls": certificates.server("localhost")}])
    alpn = {"h1": "http/1.1", "h2": "h2"}[version]
    with CLIENTS[version](gateway.port, tls=certificates.client_context([alpn])) as c:
        assert c.request("GET", "/test/v1/echo/x", [("x-forwarded-for", "203.0.113.7, 192.0.2.9")]).status == 200
    wait_until("a line", lambda: log.lines(), 20)
    line = log.lines()[0]
    assert line.pop("authority").split(":")[0] in ("localhost", "127.0.0.1")
    assert line == {"tls": True, "peer": "127.0.0.1", "client": "192.0.2.9", "http": {"h1": "1.1", "h2": "2"}[version], "dialect": "rest"}


def test_a_client_on_a_unix_socket_has_no_address(logged, backend, tmp_path):
    gateway, log = logged({"fields": ["peer", "client", "http", "status"]}, listeners=[{"address": "127.0.0.1:0"}, {"address": f"unix:{tmp_path}/s"}])
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(10)
        s.connect(str(tmp_path / "s"))
        s.sendall(b"GET /test/v1/echo/x HTTP/1.0\r\nHost: a\r\nX-Forwarded-For: 192.0.2.9\r\n\r\n")
        assert b" 200 " in s.recv(65536)
    wait_until("a line", lambda: log.lines(), 20)
    assert log.lines() == [{"http": "1.0", "status": 200}]


def test_a_stream_that_is_cut_short_says_why(logged, backend, version):
    """The status had left before: the reason and the code are all that tells of it."""
    gateway, log = logged(policies={"*": {"max_stream_duration": "300ms"}})
    with CLIENTS[version](gateway.port) as c:
        assert not c.request("GET", "/test/v1/stream?count=100&pause=0.1s", [("accept", "application/json")], timeout=20).complete
    line = log.one(path="/test/v1/stream")
    assert (line["status"], line["grpc_code"], line["reason"]) == (200, 4, "STREAM_DURATION") and line["bytes_out"] > 0


def test_the_time_is_that_of_the_first_byte(logged, backend, version):
    gateway, log = logged()
    before = datetime.datetime.now(datetime.timezone.utc)
    with CLIENTS[version](gateway.port) as c:
        c.request("GET", "/test/v1/sleep?duration=1s", timeout=20)
    line = log.one(path="/test/v1/sleep")
    began = datetime.datetime.fromisoformat(line["time"].replace("Z", "+00:00"))
    ended = datetime.datetime.now(datetime.timezone.utc)
    assert before - datetime.timedelta(milliseconds=50) <= began <= ended - datetime.timedelta(microseconds=line["duration_us"] - 50_000), line


def test_bodies_are_counted_each_by_itself(logged, backend, version):
    gateway, log = logged()
    body = b'{"fString":                 "x"}'
    with CLIENTS[version](gateway.port) as c:
        r = c.request("POST", "/test/v1/echo", [("content-type", "application/json")], body)
    line = log.one(path="/test/v1/echo")
    assert (line["bytes_in"], line["bytes_out"]) == (len(body), len(r.body)) and len(body) > len(r.body)


def test_errors_of_the_backend_name_its_endpoint_and_no_reason(logged, backend, version):
    gateway, log = logged()
    with CLIENTS[version](gateway.port) as c:
        assert c.request("GET", "/test/v1/fail/5").status == 404
    line = log.one(path="/test/v1/fail/5")
    assert (line["endpoint"], line["attempts"], line["grpc_code"], line["status"]) == (backend.endpoint, 1, 5, 404) and "reason" not in line


def test_a_consumer_and_no_key(logged, backend, tmp_path, version):
    """Keys and tokens of the query are masked under the names that the configuration gives them."""
    (tmp_path / "keys.json").write_text(json.dumps({"keys": [{"sha256": hashlib.sha256(b"s3cret").hexdigest(), "consumer": "acme"}]}))
    authentication = {"api_keys": {"file": str(tmp_path / "keys.json"), "query": "customer"},
                      "providers": {"one": {"issuer": "https://issuer.test", "audiences": ["books"], "algorithms": ["HS256"], "secret": SECRET, "token_query": "ticket"}}}
    gateway, log = logged(authentication=authentication, policies={"*": {"authentication": {"any_of": ["one", "api_key"]}}})
    token = bearer()[1].split()[1]
    with CLIENTS[version](gateway.port) as c:
        assert c.request("GET", "/test/v1/echo/x?customer=s3cret&fInt32=1").status == 200
        assert c.request("GET", f"/test/v1/echo/y?ticket={token}").status == 200
        c.request("GET", f"/nowhere?custome%72=s3cret&TICKET={token}")
    line = log.one(path="/test/v1/echo/x")
    assert (line["provider"], line["consumer"], line["subject"], line["query"]) == ("api_key", "acme", "acme", "customer=***&fInt32=1")
    line = log.one(path="/test/v1/echo/y")
    assert (line["provider"], line["subject"], line["query"]) == ("one", "alice", "ticket=***") and "consumer" not in line
    assert log.one(path="/nowhere")["query"] == "custome%72=***&TICKET=***"
    assert "s3cret" not in log.path.read_text() and token[:20] not in log.path.read_text()


def test_the_version_is_that_of_the_file(start, backend, tmp_path):
    seen = []
    for i, timeout in enumerate(("10s", "10s", "11s")):
        path = tmp_path / "a.log"
        g = start(base_config([backend.endpoint], policies={"*": {"timeout": timeout}}, access_log={"output": str(path), "fields": ["config"]}))
        with H2(g.port) as c:
            c.request("GET", "/test/v1/echo/x")
        wait_until("its line", lambda: len(Log(path).lines()) == i + 1, 20)
        seen.append(Log(path).lines()[-1]["config"])
    assert seen[0] == seen[1] != seen[2] and all(re.fullmatch("[0-9a-f]{16}", v) for v in seen)
