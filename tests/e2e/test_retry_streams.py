"""Retries of streams (SPEC §10): before the first message, and while the client goes on sending."""
import pytest

from env.build import wait_until
from env.http1 import H1
from env.http2 import H2
from env.messages import types
from env.retries import ITEM, MAYBE_ACTED, SERVICE, UNREAD, code_of, message, message_then_status, module_world, reset, status, stub, world, worlds  # noqa: F401  fixtures too
from env.scripted import frame, good

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


def refuses_early_twice(world):
    """REFUSED_STREAM as soon as the headers come; the list of the requests that it was said to: whoever clears it starts anew."""
    refused = []

    def early(conn, stream_id, request):
        if len(refused) < 2:
            refused.append(request)
            world.early_ended.add(id(request))
            conn.reset(stream_id, 7)
    world.early = early
    return refused


def test_a_client_stream_goes_on_while_its_call_waits_to_be_repeated(worlds):
    """Refused when its headers come, twice: the second retry has a delay, during which more of the body arrives."""
    world = worlds(retry={"backoff": {"base": "300ms", "max": "300ms"}})
    refused = refuses_early_twice(world)
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
    refused = refuses_early_twice(world)
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
