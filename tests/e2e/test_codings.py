"""Content codings of requests (SPEC §4) and compressed messages of backends (§5), with encoders written out here."""
import gzip
import json
import zlib

import pytest

from env.gateway import base_config
from env.messages import types
from env.scripted import GRPC, Scripted, frame

JSON = [("content-type", "application/json")]


def brotli(data):
    """Stored meta-blocks (RFC 7932 §9.2)."""
    out = b""
    first = True
    for at in range(0, len(data), 65536):
        piece = data[at:at + 65536]
        m = len(piece) - 1
        if first:
            out += bytes([0x0B | (m & 1) << 7, m >> 1 & 0xFF, m >> 9 & 0x7F | 0x80]) + piece
            first = False
        else:  # ISLAST 0, MNIBBLES 0, MLEN - 1, ISUNCOMPRESSED 1
            bits = m << 3 | 1 << 19
            out += bits.to_bytes(3, "little") + piece
    return out + b"\x03"


def zstd(data):
    """Raw blocks (RFC 8878 §3.1.1)."""
    out = b"\x28\xb5\x2f\xfd" + b"\x00\x58"  # a window of 2 MiB, no content size
    pieces = [data[at:at + 65536] for at in range(0, len(data), 65536)] or [b""]
    for i, piece in enumerate(pieces):
        out += (len(piece) << 3 | (i + 1 == len(pieces))).to_bytes(3, "little") + piece
    return out


def zstd_rle(byte, n):
    """n times the same byte, in blocks of 128 KiB at most."""
    out = b"\x28\xb5\x2f\xfd" + b"\x00\x58"
    while n:
        size = min(n, 131072)
        n -= size
        out += (size << 3 | 2 | (n == 0)).to_bytes(3, "little") + byte
    return out


CODINGS = {"gzip": gzip.compress, "br": brotli, "zstd": zstd}


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("size", [0, 5, 70_000, 300_000])
def test_bodies_are_decoded(http, backend, coding, size):
    text = "".join(chr(97 + (i * i * 31 ^ i >> 3) % 26) for i in range(size))
    r = http.request("POST", "/test/v1/echo", [*JSON, ("content-encoding", coding)], CODINGS[coding](json.dumps({"fString": text}).encode()))
    assert r.status == 200 and r.json() == ({"fString": text} if text else {}), r


@pytest.mark.parametrize("coding", CODINGS)
def test_a_coding_in_small_pieces(http, backend, coding):
    data = CODINGS[coding](b'[{"text":"a"},{"text":"b"},{"text":"' + b"c" * 500 + b'"}]')
    s = http.start("POST", "/test/v1/upload/p", [*JSON, ("content-encoding", coding)], -1)
    for at in range(0, len(data), 7):
        s.send(data[at:at + 7])
    s.end()
    r = s.finish()
    assert r.status == 200 and r.json()["count"] == 3, r


@pytest.mark.parametrize("coding", CODINGS)
def test_names_are_case_insensitive(http, backend, coding):
    r = http.request("POST", "/test/v1/echo", [*JSON, ("content-encoding", coding.upper())], CODINGS[coding](b'{"fInt32":1}'))
    assert r.json() == {"fInt32": 1}


@pytest.mark.parametrize("coding", CODINGS)
def test_a_cut_coding_is_400(http, backend, coding):
    data = CODINGS[coding](b'{"fString":"some text that is long enough"}')
    for n in (1, len(data) // 2, len(data) - 1):
        r = http.request("POST", "/test/v1/echo", [*JSON, ("content-encoding", coding)], data[:n])
        assert r.status == 400 and r.json()["code"] == 3, (n, r)
    assert not backend.calls


@pytest.mark.parametrize("coding", CODINGS)
def test_bytes_after_the_end_are_400(http, backend, coding):
    r = http.request("POST", "/test/v1/echo", [*JSON, ("content-encoding", coding)], CODINGS[coding](b'{"fInt32":1}') + b"tail")
    assert r.status == 400 and not backend.calls


@pytest.mark.parametrize("coding,data", [("gzip", gzip.compress(b'{"fString":"' + b"x" * 30_000_000)), ("zstd", zstd_rle(b"[", 50_000_000))])
def test_bombs_are_413_and_cost_nothing(http, backend, gateway, coding, data):
    before = gateway.rss_bytes()
    r = http.request("POST", "/test/v1/echo", [*JSON, ("content-encoding", coding)], data)
    assert r.status in (413, 400) and not backend.calls, r
    assert gateway.rss_bytes() - before < 64 << 20


def test_zstd_with_a_large_window_is_refused(http, backend):
    data = b"\x28\xb5\x2f\xfd" + b"\x00\x88" + b"\x01\0\0"  # 128 MiB
    r = http.request("POST", "/test/v1/echo", [*JSON, ("content-encoding", "zstd")], data)
    assert r.status in (400, 413, 415) and not backend.calls


def test_http_body_is_decoded_too(http, backend):
    r = http.request("PUT", "/test/v1/raw/x", [("content-type", "text/plain"), ("content-encoding", "gzip")], gzip.compress(b"plain text"))
    assert r.json()["size"] == "10"


# -- backends ------------------------------------------------------------------------------------------------------------------

MESSAGE = types()["test.v1.Everything"](f_string="from far " * 1000)
ENCODINGS = {"gzip": gzip.compress, "deflate": zlib.compress, "zstd": zstd}


@pytest.fixture(scope="module")
def scripted(tmp_path_factory):
    from env.gateway import Gateway
    with Scripted(lambda *a: scripted_module.script(*a)) as server:
        scripted_module.gateway = Gateway(tmp_path_factory.mktemp("codings"), base_config([server.endpoint]))
        yield scripted_module
        scripted_module.gateway.stop()


class scripted_module:
    script = gateway = None


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_compressed_messages_of_backends(scripted, connect, encoding):
    def script(c, s, r):
        c.headers(s, [*GRPC, ("grpc-encoding", encoding)])
        c.data(s, frame(ENCODINGS[encoding](MESSAGE.SerializeToString()), compressed=1))
        c.trailers(s)
    scripted.script = script
    r = connect(scripted.gateway).request("GET", "/test/v1/echo")
    assert r.status == 200 and r.json() == {"fString": MESSAGE.f_string}, r


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_streams_mix_compressed_and_plain_messages(scripted, connect, encoding):
    item = types()["test.v1.StreamItem"]

    def script(c, s, r):
        c.headers(s, [*GRPC, ("grpc-encoding", encoding)])
        for i in range(6):
            m = item(index=i, text="t" * i * 100).SerializeToString()
            c.data(s, frame(ENCODINGS[encoding](m), compressed=1) if i % 2 else frame(m))
        c.trailers(s)
    scripted.script = script
    r = connect(scripted.gateway).request("GET", "/test/v1/stream")
    assert [len(m.get("text", "")) for m in r.json()] == [0, 100, 200, 300, 400, 500]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_damaged_message_is_502(scripted, connect, encoding):
    def script(c, s, r):
        c.headers(s, [*GRPC, ("grpc-encoding", encoding)])
        c.data(s, frame(ENCODINGS[encoding](MESSAGE.SerializeToString())[:-9], compressed=1))
        c.trailers(s)
    scripted.script = script
    r = connect(scripted.gateway).request("GET", "/test/v1/echo")
    assert r.status == 502 and r.json()["code"] == 13, r
