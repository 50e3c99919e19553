"""Many clients that start, stop, reset and leave at random, before backends that do the same: nothing crashes, hangs or leaks, and a
decent client is served all the while. Most use comes from the sanitizer builds."""
import json
import os
import random
import threading
import time

import grpc
import pytest

from env.backend import Backend
from env.build import wait_until
from env.gateway import base_config
from env.http1 import H1
from env.http2 import H2
from env.messages import types
from env.scripted import GRPC, Scripted, frame, good

SECONDS = float(os.environ.get("TRANSOM_CHAOS_SECONDS", "4"))
SEED = int(os.environ.get("TRANSOM_SEED", "7"))
JSON = [("content-type", "application/json")]


def misbehave(seed):
    r = random.Random(seed)
    lock = threading.Lock()

    def script(c, s, request):
        with lock:
            what = r.randrange(14)
            n = r.randrange(200)
        if what < 5:
            good(c, s, request)
        elif what == 5:
            c.reset(s, n % 14)
        elif what == 6:
            c.close()
        elif what == 7:
            c.goaway(max(s - 2, 0) if n % 2 else s)
            good(c, s, request)
        elif what == 8:
            c.headers(s)
            c.close(abort=True)
        elif what == 9:
            c.budget = n
            good(c, s, request, b"x" * 50)
        elif what == 10:
            c.headers(s)
            c.data(s, frame(b"")[:n % 6])
            c.reset(s, 8)
        elif what == 11:
            c.headers(s, [*GRPC, ("grpc-status", str(n % 20))], end=True)
        elif what == 12:
            c.headers(s)
            c.data(s, frame(b"") * (n % 5))
            c.trailers(s)
        # 13: silence
    return script


TARGETS = ["/test/v1/echo/x", "/test/v1/stream?count=50&size=3000", "/test/v1/sleep?duration=0.02s", "/test/v1/fail/9?message=x", "/test/v1/big?size=200000",
           "/test/v1/stream?count=5&failAfter=2&code=8", "/nope", "/test/v1/query?number=x", "/test/v1/rawstream/a?size=100000&chunkSize=5000"]
ACCEPTS = ["application/json", "application/x-ndjson", "text/event-stream", "application/json-seq", "application/x-protobuf"]


def h1_client(port, r, stop):
    while not stop.is_set():
        try:
            with H1(port, timeout=5) as c:
                for _ in range(r.randrange(1, 5)):
                    accept = [("accept", r.choice(ACCEPTS)), ("x-request-timeout", r.choice(["0.02", "2"]))]
                    kind = r.randrange(6)
                    if kind < 3:
                        s = c.start("GET", r.choice(TARGETS), accept)
                    elif kind == 3:
                        s = c.start("POST", "/test/v1/echo", [*JSON, *accept], 100)
                        s.send(b'{"fString":"' + b"x" * r.randrange(86))
                        if r.random() < 0.7:
                            break  # leaves in the middle of the body
                        c.close()
                        break
                    else:
                        s = c.start("POST", r.choice(["/test/v1/bidi", "/test/v1/upload/p"]), [*JSON, *accept], -1)
                        for i in range(r.randrange(6)):
                            s.send(b'{"text":"%d"}\n' % i)
                        if r.random() < 0.3:
                            s.send(b'{"text":}')
                        if r.random() < 0.7:
                            s.end()
                        else:
                            break
                    if r.random() < 0.4:
                        if r.random() < 0.5:
                            s.read_some(1)
                        break
                    s.finish(5)
                    if not s.response.complete or s.response.header("connection") == "close":
                        break
        except (OSError, TimeoutError, AssertionError):
            pass


def h2_client(port, r, stop):
    import h2.exceptions
    while not stop.is_set():
        try:
            with H2(port, timeout=5, settings={4: r.choice([100, 65535])}) as c:
                streams = []
                for _ in range(r.randrange(1, 12)):
                    accept = [("accept", r.choice(ACCEPTS)), ("x-request-timeout", r.choice(["0.02", "2"]))]
                    if r.random() < 0.6:
                        streams.append(c.start("GET", r.choice(TARGETS), accept))
                    else:
                        s = c.start("POST", r.choice(["/test/v1/bidi", "/test/v1/upload/p"]), [*JSON, *accept], -1)
                        s.try_send(b'{"text":"a"}\n' * r.randrange(50))
                        if r.random() < 0.5:
                            s.end()
                        streams.append(s)
                    if r.random() < 0.3 and streams:
                        r.choice(streams).cancel(r.choice([8, 0, 2]))
                if r.random() < 0.5:
                    for s in streams:
                        if r.random() < 0.7:
                            s.end()
                            s.finish(3)
        except (OSError, TimeoutError, h2.exceptions.ProtocolError, KeyError):
            pass


def native_client(port, r, stop):
    service = "/test.v1.EverythingService/"
    item = types()["test.v1.StreamItem"]
    with grpc.insecure_channel(f"127.0.0.1:{port}", [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]) as channel:
        echo = channel.unary_unary(service + "Echo", request_serializer=bytes, response_deserializer=bytes)
        bidi = channel.stream_stream(service + "Bidi", request_serializer=lambda m: m.SerializeToString(), response_deserializer=bytes)
        while not stop.is_set():
            try:
                if r.random() < 0.5:
                    call = echo.future(b"", timeout=r.choice([0.005, 1]))
                    if r.random() < 0.3:
                        call.cancel()
                    else:
                        call.result()
                else:
                    call = bidi(iter([item(text="x")] * r.randrange(5)), timeout=1)
                    for n, _ in enumerate(call):
                        if r.random() < 0.3:
                            call.cancel()
            except (grpc.RpcError, grpc.FutureCancelledError):
                pass


@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", ["decent", "misbehaving"])
def test_chaos(start, backend, kind):
    stop = threading.Event()
    if kind == "decent":
        server = Backend(threads=100)
    else:
        server = Scripted(misbehave(SEED))
    gateway = start(base_config([server.endpoint], workers=2, policies={"*": {"timeout": "1s", "stream_idle_timeout": "1s", "sse_keepalive": "10ms"}},
                                limits={"body_idle_timeout": "500ms", "max_resets": 100000},
                                upstreams={"main": {"endpoints": [server.endpoint], "connect_timeout": "500ms"}}))
    clients = [(h1_client, 3), (h2_client, 3), (native_client, 2)]
    threads = [threading.Thread(target=f, args=(gateway.port, random.Random(f"{SEED}{f.__name__}{i}"), stop)) for f, n in clients for i in range(n)]
    for t in threads:
        t.start()
    end = time.monotonic() + SECONDS
    served = 0
    while time.monotonic() < end:
        with H1(gateway.port) as c:  # a decent client
            r = c.request("GET", "/test/v1/echo/ok", timeout=10)
            if kind == "decent":
                assert r.status == 200 and r.json() == {"fString": "ok"}
            else:
                assert r.status is not None and (r.status == 200 or json.loads(r.body)["code"])
            served += 1
    stop.set()
    for t in threads:
        t.join(15)
        assert not t.is_alive()
    assert served > 10
    wait_until("no request is in flight", lambda: gateway.metric("transom_requests_in_flight") == 0, 20)
    wait_until("no call is open", lambda: gateway.metric("transom_upstream_requests_active") == 0, 20)
    wait_until("no connection is open", lambda: gateway.metric("transom_connections") == 0, 20)
    gateway.stop()
    server.stop()
