"""Messages of a client stream that are larger than what the gateway queues for a backend must still get through."""
import json
import re
import subprocess

import pytest

from env.build import BINARY
from env.gateway import sanitizer_env

JSON = [("content-type", "application/json")]


@pytest.fixture(scope="module")
def demo_port():
    """The demo: its ImportBooks takes messages of many small fields."""
    demo = subprocess.Popen([str(BINARY), "demo", "--port", "0"], stdout=subprocess.PIPE, text=True, env=sanitizer_env())
    yield int(re.search(r"http://127\.0\.0\.1:(\d+)", demo.stdout.readline()).group(1))
    demo.terminate()
    assert demo.wait(15) == 0


def test_a_stream_of_messages_of_a_mebibyte(version, demo_port):
    from conftest import CLIENTS
    books = [{"book": {"title": f"{version} {i}", "tags": [f"tag-{i}-{k}" for k in range(60000)]}} for i in range(2)]
    body = json.dumps(books).encode()
    assert len(body) > 1 << 20
    with CLIENTS[version](demo_port) as http:
        r = http.request("POST", "/v1/shelves/science/books:import", JSON, body, timeout=20)
    assert r.status == 200, r
    assert r.json() == {"imported": 2}
