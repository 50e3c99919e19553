"""Ring hash: requests that belong together go to one endpoint, in both dialects."""
import json

import pytest

from env.build import wait_until
from env.faulty import DIALECTS, backends, client  # noqa: F401  fixtures too
from env.gateway import base_config, run
from env.issuer import KEYS as ISSUER_KEYS
from env.issuer import Issuer, authentication


def config(servers, hash_on, workers=1, **upstream):
    return base_config([], workers=workers, upstreams={"main": {
        "endpoints": [b.endpoint for b in servers], "load_balancing": "ring_hash", "hash_on": hash_on, **upstream}})


def places(c, servers, ask, keys):
    """{key: name of the backend that served it}"""
    out = {}
    for key in keys:
        before = [len(b.calls) for b in servers]
        assert ask(c, key).code == 0
        hit = [b.name for b, n in zip(servers, before) if len(b.calls) > n]
        assert len(hit) == 1
        out[key] = hit[0]
    return out


def by_header(c, key):
    return c.echo(headers=[("x-user", key)])


def by_field(c, key):
    return c.echo(key)


KEYS = [f"user-{i}" for i in range(40)]
HOW = [("header:X-User", by_header), ("field:f_string", by_field), ("field:fString", by_field)]


@pytest.mark.parametrize("hash_on,ask", HOW, ids=[h for h, _ in HOW])
def test_a_key_has_its_endpoint(start, backends, client, hash_on, ask):
    servers = backends(4)
    gateway = start(config(servers, hash_on))
    c = client(gateway)
    first = places(c, servers, ask, KEYS)
    assert set(first.values()) == {b.name for b in servers}  # from the first request on, on connections that are not there yet
    for _ in range(3):
        assert places(c, servers, ask, KEYS) == first


def test_all_workers_agree(start, backends):
    servers = backends(3)
    gateway = start(config(servers, "header:x-user", workers=2))
    seen = []
    for _ in range(12):
        c = DIALECTS["rest"](gateway)
        seen.append(places(c, servers, by_header, KEYS[:8]))
        c.close()
    assert all(s == seen[0] for s in seen)


def test_keys_of_a_dead_endpoint_move_and_come_back(start, backends, client):
    servers = backends(3)
    gateway = start(config(servers, "header:x-user"))
    c = client(gateway)
    first = places(c, servers, by_header, KEYS)
    dead = servers[0]
    dead.stop()
    wait_until("its keys are served elsewhere", lambda: all(by_header(c, k).code == 0 for k in KEYS), 20)
    rest = places(c, servers, by_header, KEYS)
    assert dead.name not in rest.values()
    assert {k: v for k, v in rest.items() if first[k] != dead.name} == {k: v for k, v in first.items() if v != dead.name}
    again, = backends(1, port=dead.port)
    again.name = dead.name
    back = [again, *servers[1:]]
    wait_until("they are as they were", lambda: places(c, back, by_header, KEYS) == first, 20)


def test_a_request_without_the_key_goes_anywhere(start, backends, client):
    servers = backends(3)
    gateway = start(config(servers, "header:x-user"))
    c = client(gateway)
    wait_until("all have had some", lambda: c.echo().code == 0 and all(b.calls for b in servers), 20)


def test_it_walks_past_an_ejected_endpoint(start, backends, client):
    servers = backends(3)
    gateway = start(config(servers, "header:x-user", outlier_detection={"consecutive_failures": 3, "base_ejection": "120s"}))
    c = client(gateway)
    first = places(c, servers, by_header, KEYS)
    bad = next(b for b in servers if b.name == first["user-0"])
    bad.fault = 14
    assert [by_header(c, "user-0").code for _ in range(3)] == [14] * 3
    rest = places(c, servers, by_header, KEYS)
    assert bad.name not in rest.values()
    assert all(rest[k] == v for k, v in first.items() if v != bad.name)


def test_a_nested_field(start, backends):
    servers = backends(4)
    gateway = start(config(servers, "field:leaf.text"))
    c = DIALECTS["rest"](gateway)

    def ask(c, key):
        return c.request(f"/test/v1/query/{key}/7")
    first = places(c, servers, ask, KEYS)
    assert len(set(first.values())) == 4
    assert places(c, servers, ask, KEYS) == first
    c.close()


@pytest.mark.parametrize("claim", ["sub", "account.team"])
def test_a_claim(start, backends, client, claim):
    """A token of each user; what else is in it does not matter."""
    issuer = Issuer()
    try:
        servers = backends(4)
        keys = authentication({"issuer": issuer.issuer, "audiences": ["books"], "jwks": {"uri": issuer.url + ISSUER_KEYS}})
        gateway = start({**config(servers, f"claim:{claim}"), **keys})
        c = client(gateway)

        def ask(c, key):
            return c.echo(headers=issuer.bearer(sub=key, account={"team": key}))
        wait_until("keys are there", lambda: ask(c, "x").code == 0, 20)
        first = places(c, servers, ask, KEYS)
        assert len(set(first.values())) == 4
        assert places(c, servers, ask, KEYS) == first
    finally:
        issuer.stop()


@pytest.mark.parametrize("keys,says", [
    ({"load_balancing": "ring_hash"}, "header:NAME"),
    ({"load_balancing": "ring_hash", "hash_on": "user"}, "header:NAME"),
    ({"load_balancing": "ring_hash", "hash_on": "header:"}, "header:NAME"),
    ({"load_balancing": "ring_hash", "hash_on": "header:a b"}, "header:NAME"),
    ({"hash_on": "header:x"}, "ring_hash"),
    ({"load_balancing": "ring_hash", "hash_on": "field:no_such_field"}, "no_such_field"),
    ({"load_balancing": "ring_hash", "hash_on": "field:leaf"}, "no message"),
    ({"load_balancing": "ring_hash", "hash_on": "field:leaf.texts"}, "singular"),
])
def test_mistakes_are_found_at_load(tmp_path, keys, says):
    path = tmp_path / "transom.json"
    path.write_text(json.dumps(base_config([], upstreams={"main": {"endpoints": ["127.0.0.1:1"], **keys}})))
    done = run("check", "--config", path)
    assert done.returncode == 1
    assert "/upstreams/main/hash_on" in done.stdout + done.stderr and says in done.stdout + done.stderr
