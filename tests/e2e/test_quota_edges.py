"""Quotas at their edges: time within a turn, keys that could be mistaken for others, free calls, what a refusal by something else leaves."""
import base64
import contextlib

from env.gateway import base_config
from env.http2 import H2


def quota(name="q", limit=3, window="3600s", **more):
    return {"name": name, "limit": limit, "window": window, **more}


def one(endpoint, *quotas, **more):
    return base_config([endpoint], policies={"*": {"quotas": list(quotas), **more}})


def test_what_is_earned_within_a_turn_of_the_loop_counts(start, backend):
    """Requests that are read at once take longer than the microsecond in which the next one is earned."""
    gateway = start(one(backend.endpoint, quota(limit=1000000, window="1s", burst=2)))
    with contextlib.closing(H2(gateway.port)) as client:
        client.flush = lambda: None
        streams = [client.start("GET", "/test/v1/echo/x") for _ in range(80)]
        del client.flush
        client.flush()
        statuses = [s.finish(20).status for s in streams]
    assert statuses.count(200) >= 70, statuses


def get(http, **headers):
    return http.request("GET", "/test/v1/echo/x", headers=[(n.replace("_", "-"), v) for n, v in headers.items()], timeout=20)


def test_values_that_look_alike_when_they_stand_together_are_not_one_key(start, connect, backend):
    gateway = start(one(backend.endpoint, quota(limit=1, key=["header:x-a", "header:x-b"])))
    http = connect(gateway)
    pairs = [("a", "bc"), ("ab", "c"), ("abc", ""), ("", "abc"), ("a 2:bc", ""), ("a 2:bc 0:", ""), ("1:a", "bc"), ("a", "b\xe9c"), ("a", "b%e9c"), ("A", "bc"), ("a b", "c"), ("a", "b c")]
    for a, b in pairs:
        seen = [get(http, x_a=a, x_b=b).status for _ in range(2)]
        assert seen == [200, 429], (a, b)


def test_a_key_of_eight_long_parts_is_as_good_as_another(start, connect, backend):
    config = one(backend.endpoint, quota(limit=1, key=["header:x-a"] * 8))
    http = connect(start(config))
    value = "v" * 30000
    assert [get(http, x_a=value + end).status for end in ("1", "2", "1", "2")] == [200, 200, 429, 429]


def test_what_costs_nothing_passes_when_nothing_is_left(start, connect, backend):
    config = one(backend.endpoint, quota(limit=2))
    config["policies"]["test.v1.EverythingService.Sleep"] = {"quota_cost": 0}
    http = connect(start(config))
    assert [get(http).status for _ in range(3)] == [200, 200, 429]
    r = http.request("GET", "/test/v1/sleep", timeout=20)
    assert r.status == 200 and '"q";r=0;t=' in r.header("ratelimit")


def test_reset_of_a_quota_that_refused_is_what_retry_after_says(start, connect, backend):
    http = connect(start(one(backend.endpoint, quota("q", 4, "400s"), quota("wide", 10, "1000s"))))
    assert [get(http).status for _ in range(4)] == [200] * 4
    r = get(http)
    assert r.status == 429 and 98 <= int(r.header("retry-after")) <= 100
    assert r.json()["details"][1] == {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": r.header("retry-after") + "s"}
    assert f'"q";r=0;t={r.header("retry-after")}, "wide";r=6;t=' in r.header("ratelimit")


def varint(n):
    return bytes([n & 127 | 128]) + varint(n >> 7) if n > 127 else bytes([n])


def test_native_grpc_is_refused_by_one_frame_that_says_when(start, backend):
    """Trailers-only: one HEADERS frame that ends the stream, with all that a REST client is told."""
    gateway = start(one(backend.endpoint, quota(limit=1)))
    with contextlib.closing(H2(gateway.port)) as client:
        answers = []
        for _ in range(2):
            stream = client.start("POST", "/test.v1.EverythingService/Echo", [("content-type", "application/grpc"), ("te", "trailers")], length=-1)
            stream.send(b"\0\0\0\0\0", end=True)
            answers.append(stream.finish(20))
    assert dict(answers[0].trailers)["grpc-status"] == "0"
    r = answers[1]
    assert r.status == 200 and r.trailers == [] and r.body == b""
    head = dict(r.headers)
    assert head["grpc-status"] == "8" and head["content-type"] == "application/grpc"
    details = base64.b64decode(head["grpc-status-details-bin"] + "==")  # google.rpc.Status: RetryInfo {retry_delay {seconds}}
    assert b"google.rpc.RetryInfo" in details and details.endswith(b"\x12\x05\x0a\x03\x08" + varint(int(head["retry-after"])))
    assert "used up" in head["grpc-message"] and 3590 <= int(head["retry-after"]) <= 3600
    assert head["ratelimit"].startswith('"q";r=0;t=') and head["ratelimit-policy"] == '"q";q=1;w=3600'


def test_a_day_and_a_microsecond(start, connect, backend):
    gateway = start(one(backend.endpoint, quota("day", 1, "24h", key=["header:x-day"]), quota("fast", 1000000, "1s", key=["header:x-fast"]),
                        quota("short", 5, "10ms"), quota("year", 1, "8784h", key=["header:x-year"])))
    http = connect(gateway)
    r = get(http, x_day="1", x_fast="1", x_year="1")
    assert r.status == 200
    assert r.header("ratelimit-policy") == '"day";q=1;w=86400, "fast";q=1000000;w=1, "short";q=5;w=1, "year";q=1;w=31622400'
    assert '"day";r=0;t=86400, "fast";r=999999;t=1, "short";r=4;t=1, "year";r=0;t=31622400' == r.header("ratelimit")
    assert get(http, x_day="2", x_fast="1", x_year="2").status == 200
    r = get(http, x_day="1", x_fast="1", x_year="3")
    assert r.status == 429 and 86390 <= int(r.header("retry-after")) <= 86400
