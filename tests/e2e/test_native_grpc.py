"""Native gRPC through the gateway (SPEC §8), with grpcio's own client."""
import grpc
import pytest

from env.build import wait_until
from env.gateway import base_config
from env.http1 import H1
from env.http2 import H2
from env.messages import types

SERVICE = "test.v1.EverythingService"


class Stub:
    """Methods of the test service by name, on a channel."""

    def __init__(self, channel):
        self.channel = channel

    def __getattr__(self, name):
        method = types().service(SERVICE).methods_by_name[name]
        kind = ("stream" if method.client_streaming else "unary") + "_" + ("stream" if method.server_streaming else "unary")
        return getattr(self.channel, kind)(f"/{SERVICE}/{name}", request_serializer=lambda m: m.SerializeToString(),
                                           response_deserializer=types()[method.output_type.full_name].FromString)


def msg(name, **fields):
    return types()["test.v1." + name](**fields)


OPTIONS = [("grpc.enable_http_proxy", 0), ("grpc.max_receive_message_length", -1), ("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)]


@pytest.fixture
def stub(gateway):
    with grpc.insecure_channel(f"127.0.0.1:{gateway.port}", OPTIONS) as channel:
        yield Stub(channel)


def test_unary(stub, backend):
    m = msg("Everything", f_string="native", r_int64=[1, -2], m_string={"a": "b"})
    assert stub.Echo(m, timeout=5) == m
    assert backend.one_call().request == m


def test_server_stream(stub, backend):
    items = list(stub.Down(msg("StreamRequest", count=500, size=1000), timeout=10))
    assert [i.index for i in items] == list(range(500))


def test_client_stream(stub, backend):
    out = stub.Up(iter([msg("StreamItem", text=str(i)) for i in range(300)]), timeout=10)
    assert out.count == 300


def test_bidi_ping_pong(stub, backend):
    import queue
    q = queue.Queue()
    call = stub.Bidi(iter(q.get, None), timeout=10)
    for i in range(20):
        q.put(msg("StreamItem", text=str(i)))
        assert next(call).text == str(i)
    q.put(None)
    assert list(call) == [] and call.code() == grpc.StatusCode.OK


def test_large_messages(stub, backend):
    out = stub.Big(msg("BigRequest", size=3_000_000, text="y" * 3_000_000), timeout=20)
    assert len(out.text) == 3_000_000 and out.received == 3_000_000


@pytest.mark.parametrize("code", range(1, 17))
def test_each_error(stub, backend, code):
    with pytest.raises(grpc.RpcError) as e:
        stub.Fail(msg("FailRequest", code=code, message="because é"), timeout=5)
    assert e.value.code().value[0] == code and e.value.details() == "because é"


def test_details_and_trailing_metadata(stub, backend):
    with pytest.raises(grpc.RpcError) as e:
        stub.Fail(msg("FailRequest", code=3, message="m", bad_request=True, debug_info=True), timeout=5)
    trailing = dict(e.value.trailing_metadata())
    status = types()["google.rpc.Status"].FromString(trailing["grpc-status-details-bin"])
    assert [d.type_url.split("/")[1] for d in status.details] == ["google.rpc.BadRequest"] and (status.code, status.message) == (3, "m")
    assert trailing["x-trailing"] == "kept"


def test_debug_info_when_allowed(gateways, backend):
    gateway = gateways(policies={"*": {"debug_info": True}})
    with grpc.insecure_channel(f"127.0.0.1:{gateway.port}", OPTIONS) as channel, pytest.raises(grpc.RpcError) as e:
        Stub(channel).Fail(msg("FailRequest", code=3, debug_info=True), timeout=5)
    assert b"secret" in dict(e.value.trailing_metadata())["grpc-status-details-bin"]


def test_other_grpc_trailers_are_kept(start):
    """Such as the backend's wish about retries."""
    from env.scripted import GRPC, OK, Scripted, frame

    def script(c, s, r):
        c.headers(s, [*GRPC, ("grpc-encoding", "identity"), ("grpc-odd", "1")])
        c.data(s, frame(b""))
        c.trailers(s, [*OK, ("grpc-retry-pushback-ms", "70"), ("x-mine", "2")])
    with Scripted(script) as server:
        gateway = start(base_config([server.endpoint]))
        with H2(gateway.port) as c:
            r = c.request("POST", f"/{SERVICE}/Echo", [("content-type", "application/grpc"), ("te", "trailers")], b"\0\0\0\0\0")
            assert r.header("grpc-odd") == "1" and r.header_list("grpc-encoding") == ["identity"]
            assert dict(r.trailers) == {"grpc-status": "0", "grpc-retry-pushback-ms": "70", "x-mine": "2"}
            r = c.request("GET", "/test/v1/echo")  # of no meaning to others
            assert r.status == 200 and not [n for n, _ in r.headers if n.startswith("grpc-")] and r.header("x-mine") == "2"
        gateway.stop()


def test_metadata_both_ways(stub, backend):
    request = msg("MetadataRequest", initial={"x-i": "1"}, trailing={"x-t": "2"}, initial_bin={"x-i-bin": b"\x00\xff"}, trailing_bin={"x-t-bin": b"\x01"})
    out, call = stub.Metadata.with_call(request, timeout=5, metadata=[("x-a", "1"), ("x-a", "2"), ("x-b-bin", b"\xfe\x00"), ("x-empty", "")])
    got = [(e.name, e.bin or e.value) for e in out.entries]
    assert ("x-a", "1") in got and ("x-a", "2") in got and ("x-b-bin", b"\xfe\x00") in got
    assert ("x-i", "1") in call.initial_metadata() and ("x-i-bin", b"\x00\xff") in call.initial_metadata()
    assert ("x-t", "2") in call.trailing_metadata() and ("x-t-bin", b"\x01") in call.trailing_metadata()


def test_user_agent_and_forwarded(stub, backend):
    stub.Echo(msg("Everything"), timeout=5)
    call = backend.one_call()
    assert "grpc-python" in call.get("user-agent") and call.get("x-forwarded-for") == "127.0.0.1" and len(call.get("x-request-id")) == 32


def test_deadline_is_sent_on_and_less(stub, backend):
    stub.Echo(msg("Everything"), timeout=7)
    assert 5 < backend.one_call().time_remaining < 7.1  # grpcio rounds up when it sends


def test_deadline_passes(stub, backend):
    with pytest.raises(grpc.RpcError) as e:
        stub.Sleep(msg("SleepRequest", duration={"seconds": 20}), timeout=0.5)
    assert e.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    call = backend.one_call()
    assert call.ended.wait(5) and call.cancelled


def test_cancel_reaches_the_backend(stub, backend):
    call = stub.Sleep.future(msg("SleepRequest", duration={"seconds": 20}))
    seen = wait_until("the call arrives", lambda: backend.calls)[0]
    call.cancel()
    assert seen.ended.wait(5) and seen.cancelled


def test_cancel_of_a_stream_after_the_first_message(stub, backend):
    call = stub.Down(msg("StreamRequest", count=1000, pause={"nanos": 5_000_000}))
    next(call)
    call.cancel()
    assert backend.calls[0].ended.wait(5) and backend.calls[0].cancelled


def test_compressed_messages_pass_untouched(gateway, backend):
    with grpc.insecure_channel(f"127.0.0.1:{gateway.port}", OPTIONS, compression=grpc.Compression.Gzip) as channel:
        m = msg("Everything", r_string=["compress me"] * 500)
        assert Stub(channel).Echo(m, timeout=5, metadata=[("x-test-compress", "gzip")]) == m


# -- what is not reachable ----------------------------------------------------------------------------------------------------

def refusal(channel, path):
    with pytest.raises(grpc.RpcError) as e:
        channel.unary_unary(path, request_serializer=bytes, response_deserializer=bytes)(b"", timeout=5)
    return e.value


@pytest.mark.parametrize("path", [f"/{SERVICE}/Bare", f"/{SERVICE}/NoSuch", "/no.such.Service/Method", "/", f"/{SERVICE}/echo", f"/{SERVICE}/Echo/"])
def test_what_is_not_exposed_is_unimplemented(stub, backend, path):
    assert refusal(stub.channel, path).code() == grpc.StatusCode.UNIMPLEMENTED
    assert not backend.calls


def test_expose_all_reaches_the_others(gateways, backend):
    gateway = gateways(services=[{"name": SERVICE, "upstream": "main", "expose": "all"}])
    with grpc.insecure_channel(f"127.0.0.1:{gateway.port}", OPTIONS) as channel:
        assert Stub(channel).Bare(msg("Leaf", text="x"), timeout=5).text == "x"


def test_refusals_are_trailers_only_with_details(gateway, backend):
    with H2(gateway.port) as c:
        r = c.request("POST", f"/{SERVICE}/NoSuch", [("content-type", "application/grpc"), ("te", "trailers")], b"\0\0\0\0\0")
    assert r.status == 200 and r.header("content-type") == "application/grpc" and r.body == b""
    assert r.header("grpc-status") == "12" and r.header("grpc-message")
    import base64
    raw = r.header("grpc-status-details-bin")
    status = types()["google.rpc.Status"].FromString(base64.b64decode(raw + "=" * (-len(raw) % 4)))
    assert status.code == 12 and types()["google.rpc.ErrorInfo"].FromString(status.details[0].value).domain == "transom"


@pytest.mark.parametrize("content_type", ["application/grpc", "application/grpc+proto", "application/grpc;x=y", "application/grpc+odd"])
def test_content_types(gateway, backend, content_type):
    with H2(gateway.port) as c:
        r = c.request("POST", f"/{SERVICE}/Echo", [("content-type", content_type), ("te", "trailers")], b"\0\0\0\0\0")
    assert r.status == 200 and r.header("content-type").startswith("application/grpc")
    assert r.body == b"\0\0\0\0\0" and r.trailer("grpc-status") == "0"


def test_over_http1_is_505(gateway, backend):
    with gateway.counts("HTTP_VERSION"), H1(gateway.port) as c:
        r = c.request("POST", f"/{SERVICE}/Echo", [("content-type", "application/grpc")], b"\0\0\0\0\0")
    assert r.status == 505 and not backend.calls


@pytest.mark.parametrize("content_type", ["application/grpc-web", "application/grpc-web+proto", "application/grpc-web-text"])
def test_grpc_web_is_415(http, backend, content_type):
    r = http.request("POST", f"/{SERVICE}/Echo", [("content-type", content_type)], b"\0\0\0\0\0")
    assert r.status == 415 and not backend.calls


def test_other_methods_than_post(gateway, backend):
    with H2(gateway.port) as c:
        r = c.request("GET", f"/{SERVICE}/Echo", [("content-type", "application/grpc")])
    assert r.header("grpc-status") == "12" or r.status == 405
    assert not backend.calls


def test_too_large_a_message_is_resource_exhausted(gateways, backend):
    gateway = gateways(policies={"*": {"max_request_bytes": 1000}})
    with grpc.insecure_channel(f"127.0.0.1:{gateway.port}", OPTIONS) as channel, gateway.counts("BODY_TOO_LARGE"):
        with pytest.raises(grpc.RpcError) as e:
            Stub(channel).Echo(msg("Everything", f_string="x" * 2000), timeout=5)
        assert e.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_too_large_an_answer_is_resource_exhausted(gateways, backend):
    gateway = gateways(policies={"*": {"max_response_bytes": 1000}})
    with grpc.insecure_channel(f"127.0.0.1:{gateway.port}", OPTIONS) as channel, gateway.counts("UPSTREAM_OVERSIZED"):
        with pytest.raises(grpc.RpcError) as e:
            Stub(channel).Big(msg("BigRequest", size=2000), timeout=5)
        assert e.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_policy_timeout_holds_for_native_calls(gateways, backend):
    gateway = gateways(policies={"*": {"timeout": "150ms"}})
    with grpc.insecure_channel(f"127.0.0.1:{gateway.port}", OPTIONS) as channel:
        with pytest.raises(grpc.RpcError) as e:
            Stub(channel).Sleep(msg("SleepRequest", duration={"seconds": 20}), timeout=10)
        assert e.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED


def test_malformed_frames_end_the_call(gateway, backend):
    with H2(gateway.port) as c:
        r = c.request("POST", f"/{SERVICE}/Echo", [("content-type", "application/grpc"), ("te", "trailers")], b"\x07\0\0\0\0")
    assert (r.header("grpc-status") or r.trailer("grpc-status")) not in (None, "0")


@pytest.mark.parametrize("value", ["5", "1x", "123456789S", "-1S", "1.5S", "", "S"])
def test_a_malformed_grpc_timeout_is_refused(gateway, backend, value):
    with H2(gateway.port) as c:
        r = c.request("POST", f"/{SERVICE}/Echo", [("content-type", "application/grpc"), ("grpc-timeout", value)], b"\0\0\0\0\0")
    assert r.header("grpc-status") == "3" and not backend.calls


def test_over_tls_with_alpn(start, backend, certificates):
    gateway = start(base_config([backend.endpoint], listeners=[{"address": "127.0.0.1:0", "tls": certificates.server("localhost")}]))
    credentials = grpc.ssl_channel_credentials(certificates.ca.read_bytes())
    with grpc.secure_channel(f"127.0.0.1:{gateway.port}", credentials, [*OPTIONS, ("grpc.ssl_target_name_override", "localhost")]) as channel:
        assert Stub(channel).Echo(msg("Everything", f_int32=1), timeout=5).f_int32 == 1


def test_many_calls_at_once(stub, backend):
    calls = [stub.Echo.future(msg("Everything", f_int32=i), timeout=20) for i in range(300)]
    assert [c.result().f_int32 for c in calls] == list(range(300))
