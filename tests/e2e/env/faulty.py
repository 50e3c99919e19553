"""A backend that fails, is slow or is unhealthy on command, and a client that speaks both dialects to the gateway."""
import threading
import time

import grpc
import pytest

from .backend import CODES, SERVICE, Backend
from .http1 import H1
from .messages import types

HEALTH = "/grpc.health.v1.Health/Check"
SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3
OPTIONS = [("grpc.enable_http_proxy", 0), ("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)]


class FaultyBackend(Backend):
    """fault: a gRPC code that every call ends with, or None. delay: seconds before each answer (or until the call ends).
    health: a status, a negative gRPC code, "silent", or None for a server without the service."""

    def __init__(self, **options):
        self.fault, self.delay, self.health = None, 0, None
        self.checks = []  # names of services that were asked for
        super().__init__(**{"threads": 24, **options})

    def _begin(self, name, context):
        call = super()._begin(name, context)
        if self.delay:
            call.ended.wait(self.delay)
        if self.fault is not None:
            context.abort(CODES[self.fault], "as told")
        return call

    def _handler(self):
        return _WithHealth(self, super()._handler())

    def _check(self, request, context):
        self.checks.append(request[2:].decode() if request else "")
        if self.health == "silent":
            ended = threading.Event()
            context.add_callback(ended.set)
            ended.wait(60)
        if isinstance(self.health, int) and self.health < 0:
            context.abort(CODES[-self.health], "as told")
        return bytes([8, self.health]) if isinstance(self.health, int) else b""


class _WithHealth(grpc.GenericRpcHandler):
    def __init__(self, backend, rest):
        self.backend, self.rest = backend, rest

    def service(self, details):
        if details.method == HEALTH and self.backend.health is not None:
            return grpc.unary_unary_rpc_method_handler(self.backend._check)
        return self.rest.service(details)


class Answer:
    def __init__(self, code, status=None, reason=None, retry_after=None, took=0.0):
        self.code, self.status, self.reason, self.retry_after, self.took = code, status, reason, retry_after, took

    def __repr__(self):
        return f"<{self.code} {self.reason}>"


class RestClient:
    """echo() over HTTP/1.1; one connection, made again when it was closed."""
    native = False

    def __init__(self, gateway):
        self.gateway, self.http = gateway, None

    def request(self, path, headers=()):
        if self.http is None:
            self.http = H1(self.gateway.port)
        begin = time.monotonic()
        r = self.http.request("GET", path, headers=list(headers), timeout=30)
        if r.header("connection") == "close":
            self.http.close()
            self.http = None
        if r.status == 200:
            return Answer(0, 200)
        body = r.json()
        reasons = [d["reason"] for d in body.get("details", []) if "reason" in d]
        return Answer(body["code"], r.status, reasons[0] if reasons else None, r.header("retry-after"), time.monotonic() - begin)

    def echo(self, word="x", headers=()):
        return self.request(f"/test/v1/echo/{word}", headers)

    def sleep(self, seconds):
        return self.request(f"/test/v1/sleep?duration={seconds}s")

    def leave(self, word="x", headers=(), when=lambda: True):
        """Sends a request, and leaves without its answer when `when` has come true."""
        http = H1(self.gateway.port)
        http.send(f"GET /test/v1/echo/{word} HTTP/1.1\r\nHost: a\r\n".encode() +
                  b"".join(f"{n}: {v}\r\n".encode() for n, v in headers) + b"\r\n")
        when()
        http.close()

    def close(self):
        if self.http:
            self.http.close()


class NativeClient:
    """The same with grpcio."""
    native = True

    def __init__(self, gateway):
        self.channel = grpc.insecure_channel(f"127.0.0.1:{gateway.port}", OPTIONS)

    def _call(self, method, request):
        m = types().service(SERVICE).methods_by_name[method]
        return self.channel.unary_unary(f"/{SERVICE}/{method}", request_serializer=lambda r: r.SerializeToString(),
                                        response_deserializer=types()[m.output_type.full_name].FromString), request

    def echo(self, word="x", headers=()):
        return self._try(*self._call("Echo", types()["test.v1.Everything"](f_string=word)), headers)

    def sleep(self, seconds):
        request = types()["test.v1.SleepRequest"]()
        request.duration.FromNanoseconds(int(seconds * 1e9))
        return self._try(*self._call("Sleep", request), ())

    def _try(self, call, request, headers):
        begin = time.monotonic()
        try:
            call(request, timeout=30, metadata=list(headers), wait_for_ready=True)
            return Answer(0)
        except grpc.RpcError as e:
            trailers = dict((e.initial_metadata() or ())) | dict(e.trailing_metadata() or ())
            reason = None
            if "grpc-status-details-bin" in trailers:
                status = types()["google.rpc.Status"].FromString(trailers["grpc-status-details-bin"])
                for d in status.details:
                    if d.type_url.endswith("google.rpc.ErrorInfo"):
                        reason = types()["google.rpc.ErrorInfo"].FromString(d.value).reason
            return Answer(e.code().value[0], None, reason, trailers.get("retry-after"), time.monotonic() - begin)

    def leave(self, word="x", headers=(), when=lambda: True):
        call, request = self._call("Echo", types()["test.v1.Everything"](f_string=word))
        future = call.future(request, timeout=30, metadata=list(headers), wait_for_ready=True)
        when()
        future.cancel()

    def close(self):
        self.channel.close()


DIALECTS = {"rest": RestClient, "native": NativeClient}


# -- fixtures, for tests that import them -----------------------------------------------------------------------------

@pytest.fixture
def backends():
    """backends(n): that many gRPC servers that fail on command."""
    made = []

    def make(n=1, **options):
        made.extend([FaultyBackend(name=f"b{len(made) + i}", **options) for i in range(n)])
        return made[-n:]
    yield make
    for b in made:
        b.stop()


@pytest.fixture(params=["rest", "native"])
def client(request):
    """client(gateway): a client of the dialect under test."""
    made = []

    def make(gateway):
        made.append(DIALECTS[request.param](gateway))
        return made[-1]
    make.native = request.param == "native"
    yield make
    for c in made:
        c.close()
