"""curl as a user has it: both versions, TLS with ALPN, uploads with Expect, streams, errors by exit status."""
import json
import subprocess

import pytest

from env.gateway import base_config

VERSIONS = {"1.1": ["--http1.1"], "2": ["--http2-prior-knowledge"]}


@pytest.fixture(params=VERSIONS)
def curl(request, gateway):
    def run(target, *args, input=None, url=gateway.url):
        command = ["curl", "--silent", "--show-error", "--noproxy", "*", "--max-time", "20", *VERSIONS[request.param],
                   "--write-out", "\n%{http_code} %{http_version} %{content_type}", *args, url + target]
        done = subprocess.run(command, input=input, capture_output=True, timeout=30)
        body, _, last = done.stdout.rpartition(b"\n")
        code, version, kind = last.decode().split(" ", 2)
        assert version == request.param or not int(code)
        return done.returncode, int(code), kind, body
    return run


JSON = ["-H", "content-type: application/json"]


def test_get_and_post(curl, backend):
    assert curl("/test/v1/echo/x") == (0, 200, "application/json", b'{"fString":"x"}')
    status, code, _, body = curl("/test/v1/echo", *JSON, "-d", '{"rInt32":[1,2]}')
    assert (status, code, body) == (0, 200, b'{"rInt32":[1,2]}')


def test_an_error(curl, backend):
    status, code, _, body = curl("/test/v1/fail/5?message=gone")
    assert (status, code) == (0, 404) and json.loads(body) == {"code": 5, "message": "gone"}
    assert curl("/test/v1/fail/5", "--fail")[0] == 22


def test_a_large_upload_with_expect(curl, backend):
    body = json.dumps({"text": "u" * 3_000_000}).encode()
    status, code, _, answer = curl("/test/v1/big", *JSON, "-H", "expect: 100-continue", "--data-binary", "@-", input=body)
    assert (status, code) == (0, 200) and json.loads(answer) == {"received": "3000000"}


def test_a_chunked_upload(curl, backend):
    status, code, _, answer = curl("/test/v1/rawstream/name", "-H", "content-type: text/x", "-T", "-", "-X", "POST", input=b"z" * 200_000)
    assert (status, code) == (0, 200) and json.loads(answer)["size"] == "200000"


def test_a_download(curl, backend):
    status, code, kind, body = curl("/test/v1/raw/f?size=500000&contentType=image/gif")
    assert (status, code, kind, len(body)) == (0, 200, "image/gif", 500000)


def test_streams(curl, backend):
    status, code, kind, body = curl("/test/v1/stream?count=100", "-N", "-H", "accept: application/x-ndjson")
    assert (status, code, kind) == (0, 200, "application/x-ndjson") and len(body.splitlines()) in (99, 100)
    status, code, kind, body = curl("/test/v1/stream?count=2", "-N", "-H", "accept: text/event-stream")
    assert kind == "text/event-stream" and body.count(b"data: ") == 3


def test_a_cut_stream_is_no_success_to_curl(curl, backend):
    status, _, _, body = curl("/test/v1/stream?count=5&failAfter=2&code=8")
    assert status != 0  # 18: transfer closed with data outstanding; 92: stream error
    with pytest.raises(ValueError):
        json.loads(body or b"x")


def test_head_and_options(curl, backend):
    assert curl("/test/v1/echo/x", "--head")[:2] == (0, 200)
    assert curl("/test/v1/echo/x", "-X", "OPTIONS")[:2] == (0, 204)


def test_twenty_requests_on_one_connection(gateway, backend):
    done = subprocess.run(["curl", "--silent", "--noproxy", "*", "--write-out", "%{num_connects}\n", "-o", "/dev/null", f"{gateway.url}/test/v1/echo/[1-20]"],
                          capture_output=True, text=True, timeout=30)
    assert sum(int(n) for n in done.stdout.split()) == 1


@pytest.mark.parametrize("alpn,version", [("--http2", "2"), ("--http1.1", "1.1")])
def test_tls_with_alpn(start, backend, certificates, alpn, version):
    gateway = start(base_config([backend.endpoint], listeners=[{"address": "127.0.0.1:0", "tls": certificates.server("localhost")}]))
    done = subprocess.run(["curl", "--silent", "--show-error", "--noproxy", "*", alpn, "--cacert", str(certificates.ca), "--write-out", " %{http_version}",
                           f"https://localhost:{gateway.port}/test/v1/echo/t"], capture_output=True, text=True, timeout=30)
    assert done.stdout == '{"fString":"t"} ' + version, done.stderr
