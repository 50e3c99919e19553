"""Messages of a client stream that are larger than what the gateway queues for a backend must still get through."""
import json

JSON = [("content-type", "application/json")]
TEXT = "x" * (1 << 20)


def test_a_stream_of_messages_of_a_mebibyte(http, backend):
    body = json.dumps([{"text": TEXT}, {"text": TEXT}, {"text": "end"}]).encode()
    r = http.request("POST", "/test/v1/upload/first", JSON, body, timeout=20)
    assert r.status == 200, r
    assert int(r.json()["count"]) == 3
