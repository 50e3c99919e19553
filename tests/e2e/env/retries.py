"""A gateway with retries before scripted backends, and the faults that these show."""
import json
import threading

import grpc
import pytest

from .build import wait_until
from .gateway import Gateway, base_config
from .http1 import H1
from .http2 import H2
from .messages import types
from .scripted import GRPC, Scripted, frame, good

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


def never(conn, stream_id, request):
    pass
