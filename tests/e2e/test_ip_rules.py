"""IP rules on the trusted client address (SPEC §10, contrib/doc/ip-rules.md)."""
import contextlib
import http.client
import json
import socket

import grpc
import pytest

from env.gateway import base_config, run
from env.http1 import H1
from env.http2 import H2
from env.messages import types

SERVICE = "test.v1.EverythingService"
CONFIG = {
    "trusted_hops": 2,
    "policies": {
        "*": {"ip": {"allow": ["10.0.0.0/8", "2001:db8::/32", "127.0.0.0/8"], "deny": ["10.9.0.0/16", "10.1.2.3"]}},
        SERVICE + ".Query": {"ip": {"allow": ["192.0.2.7"], "deny": []}},
        SERVICE + ".Metadata": {"ip": {"allow": [], "deny": ["203.0.113.0/24"]}},
        SERVICE + ".EchoString": {"ip": "none"},
    },
}

# the value of x-forwarded-for (of which two entries are trusted), whether it may ask
CASES = {
    "no header: the peer": (None, True),
    "allowed network": ("10.200.0.1, 172.16.0.1", True),
    "not on the list": ("11.0.0.1, 172.16.0.1", False),
    "denied network in an allowed one": ("10.9.255.1, 172.16.0.1", False),
    "denied address": ("10.1.2.3, 172.16.0.1", False),
    "its neighbour": ("10.1.2.4, 172.16.0.1", True),
    "v6": ("2001:db8:1::5, 172.16.0.1", True),
    "v6 in brackets with a port": ("[2001:db8:1::5]:4000, 172.16.0.1", True),
    "other v6": ("2001:db9::5, 172.16.0.1", False),
    "v4 as v6": ("::ffff:10.1.2.3, 172.16.0.1", False),
    "v4 as v6, allowed": ("::ffff:10.1.2.4, 172.16.0.1", True),
    "v4 with a port": ("10.1.2.3:999, 172.16.0.1", False),
    "what stands further left says nothing": ("10.1.2.4, 11.0.0.1, 172.16.0.1", False),
    "too few entries: the last trustworthy one": ("10.1.2.3", False),
    "a malformed entry ends the walk": ("10.1.2.4, bad, 11.0.0.1", False),
    "a malformed last entry: the peer": ("11.0.0.1, bad", True),
}


def forwarded(value):
    return [("x-forwarded-for", value)] if value else []


@pytest.mark.parametrize("case", CASES)
def test_rules_hold_for_the_trusted_address(http, backend, gateway, case):
    value, allowed = CASES[case]
    with contextlib.nullcontext() if allowed else gateway.counts("IP_DENIED"):
        r = http.request("GET", "/test/v1/echo/x", forwarded(value))
    if allowed:
        assert r.status == 200, r
        backend.one_call()
    else:
        body = r.json()
        assert r.status == 403 and body["code"] == 7 and body["details"][0]["reason"] == "IP_DENIED"
        assert not backend.calls


def test_header_lines_are_one_list(http, backend):
    lines = [("x-forwarded-for", "10.1.2.4"), ("x-forwarded-for", "11.0.0.1"), ("x-forwarded-for", "172.16.0.1")]
    assert http.request("GET", "/test/v1/echo/x", lines).status == 403
    assert http.request("GET", "/test/v1/echo/x", lines[:1] + lines[2:]).status == 200


def test_a_policy_may_replace_the_lists(http, backend):
    assert http.request("GET", "/test/v1/query", forwarded("192.0.2.7, 172.16.0.1")).status == 200
    assert http.request("GET", "/test/v1/query", forwarded("10.0.0.1, 172.16.0.1")).status == 403
    assert http.request("GET", "/test/v1/metadata", forwarded("203.0.113.9, 172.16.0.1")).status == 403
    assert http.request("GET", "/test/v1/metadata", forwarded("203.0.114.9, 172.16.0.1")).status == 200
    assert http.request("POST", "/test/v1/string", [("content-type", "application/json"), *forwarded("203.0.113.9, 1.1.1.1")], b'"x"').status == 200


def test_decisions_are_counted(http, backend, gateway):
    before = {r: gateway.metric("transom_ip_decisions_total", result=r) for r in ("allowed", "denied")}
    http.request("GET", "/test/v1/echo/x", forwarded("10.1.2.3, 172.16.0.1"))
    http.request("GET", "/test/v1/echo/x", forwarded("10.1.2.4, 172.16.0.1"))
    http.request("GET", "/test/v1/echo/x", forwarded("10.1.2.5, 172.16.0.1"))
    http.request("POST", "/test/v1/string", [("content-type", "application/json")], b'"x"')  # has no rules
    after = {r: gateway.metric("transom_ip_decisions_total", result=r) for r in ("allowed", "denied")}
    assert after["allowed"] == before["allowed"] + 2 and after["denied"] == before["denied"] + 1


def test_native_grpc(gateway, backend):
    message = types()["test.v1.Everything"](f_string="x")
    with grpc.insecure_channel(f"127.0.0.1:{gateway.port}", [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]) as channel:
        call = channel.unary_unary(f"/{SERVICE}/Echo", lambda m: m.SerializeToString(), types()["test.v1.Everything"].FromString)
        assert call(message, timeout=10, metadata=[("x-forwarded-for", "10.0.0.1, 172.16.0.1")]) == message
        with pytest.raises(grpc.RpcError) as e:
            call(message, timeout=10, metadata=[("x-forwarded-for", "10.1.2.3, 172.16.0.1")])
    assert e.value.code() == grpc.StatusCode.PERMISSION_DENIED
    assert len(backend.calls) == 1


def test_without_trusted_hops_only_the_peer_counts(start, backend, version):
    g = start(base_config([backend.endpoint], policies={"*": {"ip": {"deny": ["10.0.0.0/8"]}},
                                                        SERVICE + ".Query": {"ip": {"deny": ["127.0.0.1"]}}}))
    with {"h1": H1, "h2": H2}[version](g.port) as c:
        assert c.request("GET", "/test/v1/echo/x", forwarded("10.0.0.1")).status == 200
        assert c.request("GET", "/test/v1/query", forwarded("11.0.0.1")).status == 403


@pytest.mark.parametrize("hops,said,statuses", [(0, None, [403, 200]), (0, "192.0.2.1", [403, 200]), (1, None, [403, 200]),
                                                (1, "192.0.2.1", [200, 200]), (1, "203.0.113.1", [403, 403]), (1, "unknown", [403, 200])])
def test_the_peer_of_a_unix_socket_has_no_address(start, backend, tmp_path, hops, said, statuses):
    """It is on no list: an allow list keeps it out, a deny list does not; a trusted proxy may say whose request it is."""
    path = tmp_path / "s"
    start(base_config([backend.endpoint], trusted_hops=hops, listeners=[{"address": "127.0.0.1:0"}, {"address": f"unix:{path}"}],
                      policies={SERVICE + ".Echo": {"ip": {"allow": ["0.0.0.0/1", "192.0.2.0/24", "::/0"]}},
                                SERVICE + ".Query": {"ip": {"deny": ["203.0.113.0/24", "::/0"]}}}))
    got = []
    for target in ("/test/v1/echo/x", "/test/v1/query"):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(10)
            s.connect(str(path))
            lines = [f"GET {target} HTTP/1.1", "Host: a", "Connection: close", *([f"X-Forwarded-For: {said}"] if said else []), "", ""]
            s.sendall("\r\n".join(lines).encode())
            got.append(int(b"".join(iter(lambda: s.recv(65536), b"")).split()[1]))
    assert got == statuses


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as s:
            s.bind(("::1", 0))
        return True
    except OSError:
        return False


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")
def test_a_peer_of_ipv6(start, backend):
    """Its own address, not one that a header names; what goes on to the backend is that address too."""
    g = start(base_config([backend.endpoint], listeners=[{"address": "[::1]:0"}],
                          policies={SERVICE + ".Echo": {"ip": {"allow": ["::1"]}}, SERVICE + ".Query": {"ip": {"allow": ["::2/127", "127.0.0.1"]}},
                                    SERVICE + ".Metadata": {"ip": {"deny": ["::/64"]}}}))
    got = []
    for target in ("/test/v1/echo/x", "/test/v1/query", "/test/v1/metadata"):
        c = http.client.HTTPConnection("::1", g.port, timeout=10)
        c.request("GET", target, headers={"X-Forwarded-For": "::2"})
        got.append(c.getresponse().status)
        c.close()
    assert got == [200, 403, 403]
    assert backend.one_call().get("x-forwarded-for") == "::1"


def test_a_denied_body_is_not_read(http, backend, gateway):
    """The refusal needs no body: a client that waits for 100 gets the 403 at once."""
    s = http.start("POST", "/test/v1/echo", [("content-type", "application/json"), ("expect", "100-continue"),
                                             *forwarded("10.1.2.3, 172.16.0.1")], 100_000)
    r = s.finish()
    assert r.status == 403 and not r.interim


def test_mistakes_are_found_at_load(tmp_path):
    bad = ["10.0.0.1/8", "10.0.0.0/33", "localhost", "", "2001:db8::/129", "10.0.0.0/"]
    path = tmp_path / "c.json"
    path.write_text(json.dumps(base_config(["127.0.0.1:1"], policies={"*": {"ip": {"allow": bad, "deny": ["::1", "fe80::1%lo"]}}})))
    done = run("check", "--config", path)
    assert done.returncode == 1
    lines = [line for line in (done.stdout + done.stderr).splitlines() if "neither an address" in line]
    assert len(lines) == len(bad) + 1, done.stdout + done.stderr
    assert all("/policies/*/ip" in line for line in lines)
