"""A real gRPC server (grpcio) with the test service. No generated code: everything comes from the descriptors.

Each call is recorded (Backend.calls), so that a test can say what arrived, that one call arrived, or that none did. Request
metadata steers it: x-test-compress: gzip|deflate compresses the answers; x-test-hold: NAME waits until Backend.release(NAME);
x-test-pushback: VALUE gives grpc-retry-pushback-ms in the trailers of a failure without details."""
import concurrent.futures
import hashlib
import threading
import time

import grpc

from .build import wait_until
from .messages import types

SERVICE = "test.v1.EverythingService"
CODES = {c.value[0]: c for c in grpc.StatusCode}
COMPRESSION = {"gzip": grpc.Compression.Gzip, "deflate": grpc.Compression.Deflate}


class Call:
    def __init__(self, method, context):
        self.method = method
        self.metadata = [(k, v) for k, v in context.invocation_metadata()]
        self.requests = []
        self.half_closed = False
        self.sent = 0  # messages of a stream that the transport has taken
        self.context = context
        left = context.time_remaining()
        self.time_remaining = left if left is not None and left < 1e8 else None  # grpcio's "none" is a far date
        self.ended = threading.Event()
        self.cancelled = False
        if not context.add_callback(self._on_end):  # it is over already
            self._on_end()

    def _on_end(self):
        # grpcio tells a behaviour nothing but the end of the requests; its own record knows a reset from an end.
        self.cancelled = self.context._state.client == "cancelled"
        self.ended.set()

    def abort(self, code, message):
        self.context.abort(CODES[code], message)

    @property
    def request(self):
        assert len(self.requests) == 1, self.requests
        return self.requests[0]

    def all(self, name):
        return [v for k, v in self.metadata if k == name]

    def get(self, name, default=None):
        found = self.all(name)
        assert len(found) < 2, found
        return found[0] if found else default

    def __repr__(self):
        return f"<{self.method} {self.requests}>"


class Backend:
    """Serves SERVICE on 127.0.0.1 (or address). credentials: grpc.ServerCredentials for TLS."""

    def __init__(self, port=0, credentials=None, threads=64, options=(), address=None, name=""):
        self.name = name
        self.calls = []
        self.holds = {}
        self.fails = {}
        self.lock = threading.Lock()
        self.types = types()
        # Threads wait in streams; one pool for each backend, large enough for the tests of concurrency.
        self.pool = concurrent.futures.ThreadPoolExecutor(threads)
        self.server = grpc.server(self.pool, options=[("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", -1),
                                                      ("grpc.max_send_message_length", -1),
                                                      ("grpc.max_metadata_size", 65536),
                                                      ("grpc.absolute_max_metadata_size", 131072), *options])
        self.server.add_generic_rpc_handlers((self._handler(),))
        where = address or f"127.0.0.1:{port}"
        self.port = self.server.add_secure_port(where, credentials) if credentials else self.server.add_insecure_port(where)
        assert self.port, where
        self.server.start()

    @property
    def endpoint(self):
        return f"127.0.0.1:{self.port}"

    def stop(self, grace=None):
        self.release_all()
        self.server.stop(grace).wait(10)
        self.pool.shutdown(wait=False)

    def reset(self):
        """Before each test."""
        self.release_all()
        self.calls, self.holds, self.fails = [], {}, {}

    def hold(self, name):
        with self.lock:
            return self.holds.setdefault(name, threading.Event())

    def release(self, name):
        self.hold(name).set()

    def release_all(self):
        for event in list(self.holds.values()):
            event.set()

    def one_call(self, seconds=10):
        """The one call that arrived."""
        wait_until("a call arrives", lambda: self.calls, seconds)
        assert len(self.calls) == 1, self.calls
        return self.calls[0]

    # -- plumbing ----------------------------------------------------------------------------------------------

    def _handler(self):
        handlers = {}
        for method in self.types.service(SERVICE).methods:
            request = self.types[method.input_type.full_name]
            streams = (method.client_streaming, method.server_streaming)
            behaviour = self._wrap(method.name, getattr(self, "do_" + method.name), *streams)
            make = {(False, False): grpc.unary_unary_rpc_method_handler, (False, True): grpc.unary_stream_rpc_method_handler,
                    (True, False): grpc.stream_unary_rpc_method_handler, (True, True): grpc.stream_stream_rpc_method_handler}[streams]
            handlers[method.name] = make(behaviour, request.FromString, lambda m: m.SerializeToString())
        return grpc.method_handlers_generic_handler(SERVICE, handlers)

    def _begin(self, name, context):
        call = Call(name, context)
        if not call.ended.is_set():  # what was cancelled before it got here belongs to an earlier test
            with self.lock:
                self.calls.append(call)
        compress = call.get("x-test-compress")
        if compress:
            context.set_compression(COMPRESSION[compress])
        pushback = call.get("x-test-pushback")
        if pushback:
            context.set_trailing_metadata((("grpc-retry-pushback-ms", pushback),))
        hold = call.get("x-test-hold")
        if hold:
            event = self.hold(hold)
            while not event.wait(0.02):
                if call.ended.is_set():
                    break
        return call

    def _wrap(self, name, behaviour, up, down):
        def record(call, requests):
            for r in requests:
                call.requests.append(r)
                yield r
            call.half_closed = True

        def arg(call, request):
            if up:
                return record(call, request)
            call.requests.append(request)
            return request

        def unary(request, context):
            call = self._begin(name, context)
            return behaviour(call, arg(call, request))

        def stream(request, context):
            call = self._begin(name, context)
            for answer in behaviour(call, arg(call, request)):
                yield answer
                call.sent += 1

        return stream if down else unary

    # -- the service ---------------------------------------------------------------------------------------------

    def _echo(self, call, request):
        return request

    do_Echo = do_EchoLegacy = do_EchoAny = do_EchoValue = do_EchoTimestamp = do_EchoString = _echo
    do_Bare = do_Nothing = do_TakeScalar = do_Query = do_Shadow = do_EchoFile = _echo

    def do_Patch(self, call, r):
        out = self.types["test.v1.PatchResponse"](id=r.id, paths=r.update_mask.paths, has_mask=r.HasField("update_mask"))
        out.everything.CopyFrom(r.everything)
        return out

    def abort(self, call, r):
        """Ends the call with the status that a FailRequest asks for."""
        t = self.types
        details = list(r.details)
        if r.HasField("retry_after"):
            details.append(t.pack(t["google.rpc.RetryInfo"](retry_delay=r.retry_after)))
        if r.bad_request:
            details.append(t.pack(t["google.rpc.BadRequest"](field_violations=[{"field": "a.b", "description": "no"}])))
        if r.debug_info:
            details.append(t.pack(t["google.rpc.DebugInfo"](stack_entries=["at secret"], detail="secret")))
        if r.unknown_detail:
            details.append(t["google.protobuf.Any"](type_url="type.example.com/nobody.Knows", value=b"\x08\x01"))
        if details:
            status = t["google.rpc.Status"](code=r.code, message=r.message, details=details)
            call.context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()), ("x-trailing", "kept")))
        call.abort(r.code, r.message)

    def _fail(self, call, r):
        if r.key:
            with self.lock:
                self.fails[r.key] = self.fails.get(r.key, 0) + 1
            if self.fails[r.key] > r.times:
                return self.types["test.v1.FailResponse"](attempt=self.fails[r.key])
        if r.code:
            self.abort(call, r)
        return self.types["test.v1.FailResponse"](attempt=1)

    do_Fail = do_FailIdempotent = _fail

    def do_Sleep(self, call, r):
        out = self.types["test.v1.SleepResponse"]()
        if call.time_remaining is not None:
            out.time_remaining.FromNanoseconds(int(call.time_remaining * 1e9))
        if r.ignore_cancel:
            time.sleep(r.duration.ToNanoseconds() / 1e9)
        else:
            out.cancelled = call.ended.wait(r.duration.ToNanoseconds() / 1e9)
        return out

    def do_Metadata(self, call, r):
        out = self.types["test.v1.MetadataResponse"](peer=call.context.peer())
        for name, value in call.metadata:
            if name.endswith("-bin"):
                out.entries.add(name=name, bin=value)
            else:
                out.entries.add(name=name, value=value)
        if call.time_remaining is not None:
            out.time_remaining.FromNanoseconds(int(call.time_remaining * 1e9))
        initial = [*r.initial.items(), *r.initial_bin.items()]
        trailing = [*r.trailing.items(), *r.trailing_bin.items()]
        if initial:
            call.context.send_initial_metadata(initial)
        call.context.set_trailing_metadata(trailing)
        if r.code:
            call.abort(r.code, "as asked")
        return out

    def do_Big(self, call, r):
        out = self.types["test.v1.BigResponse"](text="x" * r.size, received=len(r.text))
        for i in range(r.count):
            out.leaves.add(text=f"leaf {i}", number=i)
        return out

    def do_Down(self, call, r):
        item = self.types["test.v1.StreamItem"]
        for i in range(r.count):
            if r.code and i == r.fail_after:
                break
            yield item(index=i, text="x" * r.size if r.size else f"item {i}")
            hold = call.get("x-test-hold-after")
            if hold and i + 1 == int(hold):
                while not self.hold("after").wait(0.02) and not call.ended.is_set():
                    pass
            if r.HasField("pause") and call.ended.wait(r.pause.ToNanoseconds() / 1e9):
                return
        if r.code:
            call.context.set_trailing_metadata((("x-trailing", "kept"),))
            call.abort(r.code, r.message)
        call.context.set_trailing_metadata((("x-trailing", "kept"),))

    def do_Up(self, call, items):
        out = self.types["test.v1.StreamSummary"]()
        for i in items:
            if i.fail_code:
                call.abort(i.fail_code, i.text)
            out.count += 1
            out.bytes += len(i.text)
            out.texts.append(i.text[:64])
            if i.text == "enough":
                break
        return out

    def do_Bidi(self, call, items):
        item = self.types["test.v1.StreamItem"]
        total = 0
        if call.get("x-test-greet"):
            yield item(text="hello")
        for i in items:
            if i.fail_code:
                call.abort(i.fail_code, i.text)
            total += len(i.text)
            yield item(index=i.index, text=i.text, total=total)
            if i.text == "enough":
                return

    def _file(self, r):
        for at in range(0, r.size, r.chunk_size or max(r.size, 1)):
            n = min(r.chunk_size or r.size, r.size - at)
            yield bytes((at + k) & 255 for k in range(n))

    def do_GetFile(self, call, r):
        body = self.types["google.api.HttpBody"](content_type=r.content_type or "text/plain; charset=utf-8")
        body.data = b"".join(self._file(r)) if r.size else r.name.encode()
        return body

    def do_PutFile(self, call, r):
        return self.types["test.v1.FileSummary"](name=r.name, content_type=r.content.content_type, size=len(r.content.data),
                                                 sha256=hashlib.sha256(r.content.data).digest(), messages=1, comment=r.comment)

    def do_DownFile(self, call, r):
        for piece in self._file(r):
            yield self.types["google.api.HttpBody"](content_type=r.content_type or "application/x-test", data=piece)

    def do_UpFile(self, call, pieces):
        out, digest = self.types["test.v1.FileSummary"](), hashlib.sha256()
        for p in pieces:
            if out.messages == 0:
                out.name, out.content_type, out.comment = p.name, p.content.content_type, p.comment
            out.messages += 1
            out.size += len(p.content.data)
            digest.update(p.content.data)
        out.sha256 = digest.digest()
        return out

    def do_BidiFile(self, call, pieces):
        for p in pieces:
            yield self.types["google.api.HttpBody"](content_type=p.content_type, data=p.data)
