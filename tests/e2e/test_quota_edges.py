"""Quotas at their edges: time within a turn, keys that could be mistaken for others, free calls, what a refusal by something else leaves."""
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
