"""Retries (SPEC §10): only what is safe, only before the first byte of the answer, within the deadline and the budget; on both dialects."""
import json
import threading
import time

import grpc
import pytest

from env.backend import Backend
from env.build import SANITIZED, wait_until
from env.gateway import Gateway, base_config, run
from env.http1 import H1
from env.http2 import H2
from env.messages import types
from env.scripted import GRPC, Scripted, frame, good

SERVICE = "test.v1.EverythingService"
OPTIONS = [("grpc.enable_http_proxy", 0), ("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)]
RETRY = {"attempts": 3, "on": ["UNAVAILABLE", "ABORTED"], "backoff": {"base": "1ms", "max": "5ms"}}
AMPLE = {"percent": 1000, "min_per_second": 1000}  # where the budget is not the subject
ITEM = types()["test.v1.StreamItem"](text="a").SerializeToString()
POLICIES = {"*": {"timeout": "20s", "retry": RETRY}}


def message(name, **fields):
    return types()["test.v1." + name](**fields)


class World:
    """A gateway with retries before scripted backends; each test puts its own script."""

    def __init__(self, tmp, servers=1, retry=None, budget=None, methods=None, **upstream):
        self.script, self.early = good, None
        self.early_ended = set()  # requests that were ended when their headers came
        self.lock = threading.Lock()
        self.seen = 0
        self.servers = [Scripted(self._run, early=self._early) for _ in range(servers)]
        self.gateway = Gateway(tmp, base_config(
            [], upstreams={"main": {"endpoints": [s.endpoint for s in self.servers], "connect_timeout": "2s",
                                    "retry_budget": budget or AMPLE, **upstream}},
            policies={"*": {"timeout": "20s", "retry": {**RETRY, **(retry or {})}}, **(methods or {})}))

    def _next(self):
        with self.lock:
            self.seen += 1
            return self.seen

    def _run(self, conn, stream_id, request):
        if id(request) not in self.early_ended:
            self.script(conn, stream_id, request)

    def _early(self, conn, stream_id, request):
        if self.early:
            self.early(conn, stream_id, request)

    def fails_first(self, n, how, then=good):
        """The first n requests of this test end by how(conn, stream_id, request), the others by then."""
        self.seen = 0
        for s in self.servers:
            s.requests.clear(), s.resets.clear()

        def script(conn, stream_id, request):
            (how if self._next() <= n else then)(conn, stream_id, request)
        self.script = script

    @property
    def requests(self):
        return [r for s in self.servers for r in s.requests]

    def refused(self, reason):
        return self.gateway.metric("transom_retries_refused_total", upstream="main", reason=reason)

    def close(self):
        wait_until("nothing is in flight", lambda: self.gateway.metric("transom_requests_in_flight") == 0, 20)
        self.gateway.stop()
        for s in self.servers:
            s.stop()


@pytest.fixture(scope="module")
def module_world(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("retries"))
    yield world
    world.close()


@pytest.fixture
def world(module_world):
    module_world.script, module_world.early = good, None
    yield module_world
    assert module_world.gateway.alive, module_world.gateway.stderr


@pytest.fixture
def worlds(tmp_path):
    """worlds(...): a World of this test alone."""
    made = []

    def make(**options):
        made.append(World(tmp_path / f"world{len(made)}", **options))
        return made[-1]
    yield make
    for w in made:
        w.close()


@pytest.fixture
def ask(version, world):
    """ask(idempotent=True): the answer to one unary POST of the version under test."""
    with (H1 if version == "h1" else H2)(world.gateway.port, timeout=25) as http:
        def make(idempotent=True, headers=(), size=0):
            path = "/test/v1/fail:idempotent" if idempotent else "/test/v1/fail"
            return http.request("POST", path, [("content-type", "application/json"), *headers], json.dumps({"message": "x" * size}))
        yield make


@pytest.fixture
def stub(world):
    with grpc.insecure_channel(f"127.0.0.1:{world.gateway.port}", OPTIONS) as channel:
        yield stub_of(channel)


def stub_of(channel):
    def call(name, request, **options):
        method = types().service(SERVICE).methods_by_name[name]
        kind = ("stream" if method.client_streaming else "unary") + "_" + ("stream" if method.server_streaming else "unary")
        return getattr(channel, kind)(f"/{SERVICE}/{name}", request_serializer=lambda m: m.SerializeToString(),
                                      response_deserializer=types()[method.output_type.full_name].FromString)(
                                          request, timeout=25, **options)
    return call


def code_of(fn):
    try:
        fn()
        return 0
    except grpc.RpcError as e:
        return e.code().value[0]


# -- faults of a backend --------------------------------------------------------------------------------------------------------

def status(code=14, **extra):
    fields = [(":status", "200"), ("content-type", "application/grpc"), ("grpc-status", str(code)), ("grpc-message", "not%20now"),
              *[(k.replace("_", "-"), v) for k, v in extra.items()]]
    return lambda conn, stream_id, request: conn.headers(stream_id, fields, end=True)


def headers_then_status(conn, stream_id, request):
    conn.headers(stream_id, GRPC + [("x-attempt", "failed")])
    conn.trailers(stream_id, [("grpc-status", "14")])


def message_then_status(conn, stream_id, request):
    conn.headers(stream_id)
    conn.data(stream_id, frame(ITEM))
    conn.trailers(stream_id, [("grpc-status", "14")])


def http_status(code):
    return lambda conn, stream_id, request: conn.headers(stream_id, [(":status", str(code))], end=True)


def http_status_with_body(conn, stream_id, request):
    conn.headers(stream_id, [(":status", "503"), ("content-type", "text/html")])
    conn.data(stream_id, b"<h1>later</h1>", end=True)


def reset(code):
    return lambda conn, stream_id, request: conn.reset(stream_id, code)


def reset_after_headers(conn, stream_id, request):
    conn.headers(stream_id, GRPC + [("x-attempt", "failed")])
    conn.reset(stream_id, 2)


def cut(conn, stream_id, request):
    conn.close(abort=True)


def cut_after_headers(conn, stream_id, request):
    conn.headers(stream_id)
    conn.close()


def goaway(conn, stream_id, request):
    conn.goaway(last=stream_id - 2 if stream_id > 1 else 0)
    conn.close()


def refused_after_headers(conn, stream_id, request):
    conn.headers(stream_id, GRPC + [("x-attempt", "failed")])
    conn.reset(stream_id, 7)  # which says that it has not been read


def goaway_after_headers(conn, stream_id, request):
    conn.headers(stream_id, GRPC + [("x-attempt", "failed")])
    goaway(conn, stream_id, request)  # and so does this


def says_attempt(conn, stream_id, request):
    conn.headers(stream_id, GRPC + [("x-attempt", "good"), ("x-previous", request.get("grpc-previous-rpc-attempts") or "none")])
    conn.data(stream_id, frame(b""))
    conn.trailers(stream_id)


MAYBE_ACTED = {"status": status(), "listed_status": status(10), "headers_then_status": headers_then_status, "http_503": http_status(503),
               "http_503_with_body": http_status_with_body, "reset": reset(2), "reset_cancel": reset(8),
               "reset_after_headers": reset_after_headers, "cut": cut, "cut_after_headers": cut_after_headers,
               "refused_after_headers": refused_after_headers, "goaway_after_headers": goaway_after_headers}
UNREAD = {"refused": reset(7), "goaway": goaway}


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


# -- streams ----------------------------------------------------------------------------------------------------------------------

def stream_of(items):
    def script(conn, stream_id, request):
        conn.headers(stream_id)
        for _ in range(items):
            conn.data(stream_id, frame(ITEM))
        conn.trailers(stream_id)
    return script


@pytest.mark.parametrize("fault", [*MAYBE_ACTED, *UNREAD])
def test_a_server_stream_is_repeated_before_its_first_message(world, version, connect, fault):
    world.fails_first(1, {**MAYBE_ACTED, **UNREAD}[fault], stream_of(3))
    r = connect(world.gateway).request("GET", "/test/v1/stream?count=3", timeout=25)
    assert r.status == 200 and len(r.json()) == 3
    assert len(world.requests) == 2


def test_a_server_stream_is_not_repeated_after_a_message(world, connect):
    world.fails_first(1, message_then_status, stream_of(3))
    r = connect(world.gateway).request("GET", "/test/v1/stream?count=3", [("accept", "application/x-ndjson")], timeout=25)
    assert r.status == 200 and '"error"' in r.text
    assert len(world.requests) == 1


@pytest.mark.parametrize("fault", [f for f in MAYBE_ACTED if f.endswith("after_headers")] + ["headers_then_status"])
def test_a_native_server_stream_is_not_repeated_after_its_head(world, stub, fault):
    """The client has the head already: that is a byte of the answer."""
    world.fails_first(1, MAYBE_ACTED[fault], stream_of(3))
    assert code_of(lambda: list(stub("DownFile", message("FileRequest")))) in (13, 14)
    assert len(world.requests) == 1
    world.fails_first(1, status(), good)  # though it may be repeated: its rules are GET
    assert code_of(lambda: list(stub("DownFile", message("FileRequest")))) == 0
    assert len(world.requests) == 2


def test_a_native_server_stream(stub, world):
    # POST rules make the method one that may not be repeated by itself
    world.fails_first(1, status(), stream_of(3))
    assert code_of(lambda: list(stub("Down", message("StreamRequest", count=3)))) == 14
    world.fails_first(1, reset(7), stream_of(3))
    assert len(list(stub("Down", message("StreamRequest", count=3)))) == 3


@pytest.mark.parametrize("fault,calls", [("refused", 2), ("goaway", 2), ("status", 1), ("reset", 1)])
def test_a_client_stream_only_when_it_was_not_read(world, version, connect, fault, calls):
    world.fails_first(1, {**MAYBE_ACTED, **UNREAD}[fault])
    r = connect(world.gateway).request("POST", "/test/v1/upload/a", [("content-type", "application/json")], '[{"text":"1"},{"text":"2"}]',
                                       timeout=25)
    assert (r.status == 200) == (calls == 2), r
    assert len(world.requests) == calls
    assert len({r.body for r in world.requests}) == 1


def test_a_client_stream_goes_on_while_its_call_waits_to_be_repeated(worlds):
    """Refused when its headers come, twice: the second retry has a delay, during which more of the body arrives."""
    world = worlds(retry={"backoff": {"base": "300ms", "max": "300ms"}})
    refused = []

    def early(conn, stream_id, request):
        if len(refused) < 2:
            refused.append(request)
            world.early_ended.add(id(request))
            conn.reset(stream_id, 7)
    world.early = early
    with H2(world.gateway.port, timeout=25) as http:
        for native in [False, True]:
            refused.clear()
            world.fails_first(0, good)
            if native:
                head = [("content-type", "application/grpc"), ("te", "trailers")]
                stream = http.start("POST", f"/{SERVICE}/Up", head, end=False)
                pieces = [frame(ITEM)] * 3
            else:
                stream = http.start("POST", "/test/v1/upload/a", [("content-type", "application/x-ndjson")], length=-1)
                pieces = [b'{"text":"a"}\n'] * 3
            stream.send(pieces[0])
            wait_until("it was refused twice or is about to be", lambda: refused, 20)
            stream.send(pieces[1])
            stream.send(pieces[2], end=True)
            r = stream.finish(25)
            assert r.status == 200 and (not native or r.trailer("grpc-status") == "0"), r
            answered = [r for r in world.requests if r not in refused]
            assert len(refused) == 2 and len(answered) == 1 and answered[0].body.count(frame(ITEM)) == (3 if native else 2)


@pytest.mark.parametrize("code,calls", [(14, 2), (5, 1)])
def test_a_unary_call_that_fails_before_its_message_has_arrived(world, code, calls):
    """The backend answers the headers alone; the message goes on arriving, and is there in full for the next attempt."""
    failed = []

    def early(conn, stream_id, request):
        if not failed:
            failed.append(request)
            world.early_ended.add(id(request))
            status(code)(conn, stream_id, request)
    world.fails_first(0, good)
    world.early = early
    body = frame(message("FailRequest", message="x" * 30000).SerializeToString())
    with H2(world.gateway.port, timeout=25) as http:
        stream = http.start("POST", f"/{SERVICE}/FailIdempotent", [("content-type", "application/grpc"), ("te", "trailers")], end=False)
        stream.send(body[:10000])
        wait_until("it has failed", lambda: failed, 20)
        for at in range(10000, len(body), 5000):
            stream.send(body[at:at + 5000])
        stream.end()
        r = stream.finish(25)
    assert (r.trailer("grpc-status") or r.header("grpc-status")) == ("0" if calls == 2 else str(code)), r
    answered = [r for r in world.requests if r not in failed]
    assert [r.body for r in answered] == [body] * (calls - 1)


@pytest.mark.parametrize("native", [False, True])
def test_a_stream_whose_beginning_was_dropped_is_never_repeated(world, native):
    """Refused, it says, and what is left in memory is small: but it is not the request."""
    before = world.refused("replay")
    world.fails_first(9, reset(7))
    begun = []
    world.early = lambda conn, stream_id, request: begun.append(request)
    with H2(world.gateway.port, timeout=25) as http:
        if native:
            message = frame(types()["test.v1.StreamItem"](text="x" * 1000).SerializeToString())
            stream = http.start("POST", f"/{SERVICE}/Up", [("content-type", "application/grpc"), ("te", "trailers")], end=False)
        else:
            message = b'{"text":"%s"}\n' % (b"x" * 1000)
            stream = http.start("POST", "/test/v1/upload/a", [("content-type", "application/x-ndjson")], length=-1)
        for _ in range(100):
            stream.send(message)
        wait_until("the backend has it", lambda: begun and len(begun[0].body) >= 100000, 20)
        for _ in range(3):
            stream.send(message)
        stream.end()
        r = stream.finish(25)
    assert r.status == (200 if native else 503) and (r.trailer("grpc-status") or r.header("grpc-status") or "14") == "14", r
    assert len(world.requests) == 1
    wait_until("it is counted", lambda: world.refused("replay") == before + 1)


def test_a_large_message_goes_on_while_its_call_waits_to_be_repeated(worlds, version):
    """One message of a client stream, larger than what may wait for a backend: only its end lets the backend have any of it."""
    world = worlds(retry={"backoff": {"base": "1s", "max": "1s"}})
    refused = []

    def early(conn, stream_id, request):
        if len(refused) < 2:
            refused.append(request)
            world.early_ended.add(id(request))
            conn.reset(stream_id, 7)
    world.early = early
    world.fails_first(0, good)
    with (H1 if version == "h1" else H2)(world.gateway.port, timeout=25) as http:
        stream = http.start("POST", "/test/v1/upload/a", [("content-type", "application/x-ndjson")], length=-1)
        stream.send(b'{"text":"first"}\n')
        wait_until("it was refused twice", lambda: len(refused) == 2, 20)
        for before, after in [(b'{"text":"', b'",'), (b'"leaf":{"text":"', b'"}}\n')]:
            stream.send(before)
            for _ in range(20):
                stream.send(b"x" * 50000)
            stream.send(after)
        stream.end()
        r = stream.finish(25)
        assert r.status == 200, r
        answered, = [r for r in world.requests if r not in refused]
        assert len(answered.body) > 2000000


# -- time -------------------------------------------------------------------------------------------------------------------------

def never(conn, stream_id, request):
    pass


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
