"""The admin listener (SPEC §11, as far as it stands): /healthz, /readyz, /metrics."""
import re
import urllib.request

import pytest

from env.build import ROOT, wait_until
from env.gateway import base_config
from env.http1 import H1
from env.http2 import H2

LINE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(\{[a-zA-Z_]\w*="(?:[^"\\\n]|\\["\\n])*"(?:,[a-zA-Z_]\w*="(?:[^"\\\n]|\\["\\n])*")*\})? ([-+0-9.eE]+|[+-]Inf|NaN)$')


def admin(gateway):
    return H1(int(gateway.admin.rsplit(":", 1)[1]))


def test_health(gateway):
    with admin(gateway) as c:
        for path, body in (("/healthz", "ok\n"), ("/readyz", "ready\n")):
            r = c.request("GET", path)
            assert r.status == 200 and r.text == body and r.header("cache-control") == "no-store"
            r = c.request("HEAD", path)
            assert r.status == 200 and r.body == b""
        assert c.request("GET", "/nope").status == 404
        r = c.request("POST", "/metrics", body="x")
        assert r.status == 405 and "GET" in r.header("allow")


def test_metrics_are_prometheus_text(gateway, http, backend):
    for target in ("/test/v1/echo/x", "/nope", "/test/v1/fail/5", "/test/v1/stream?count=2"):
        http.request("GET", target)
    with admin(gateway) as c:
        r = c.request("GET", "/metrics")
    assert r.header("content-type").startswith("text/plain; version=0.0.4")
    helped, typed, seen, kinds = set(), {}, [], {}
    for line in r.text.splitlines():
        if line.startswith("# HELP "):
            helped.add(line.split()[2])
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            assert name not in typed, "twice: " + name
            typed[name] = kind
            kinds[name] = kind
        else:
            m = LINE.match(line)
            assert m, line
            name = re.sub(r"_(bucket|sum|count)$", "", m.group(1)) if re.sub(r"_(bucket|sum|count)$", "", m.group(1)) in typed else m.group(1)
            assert name in typed and name in helped, line
            assert not seen or seen[-1] == name or name not in seen, "families are not together: " + name
            seen.append(name)
            if kinds[name] == "counter":
                assert name.endswith("_total") and float(m.group(3)) >= 0, line
    names = re.findall(r'^METRIC\(\w+, "(\w+)"', (ROOT / "src/obs/metrics.def").read_text(), re.M)
    assert names and set(typed) <= set(names)


def test_histograms_add_up(gateway, http, backend):
    for _ in range(5):
        http.request("GET", "/test/v1/echo/x")
    rows = gateway.metrics()
    families = {}
    for (name, labels), value in rows.items():
        if name.endswith("_bucket"):
            key = (name[:-7], frozenset(p for p in labels if p[0] != "le"))
            families.setdefault(key, []).append((float(dict(labels)["le"].replace("+Inf", "inf")), value))
    assert families
    for (name, labels), buckets in families.items():
        values = [v for _, v in sorted(buckets)]
        assert values == sorted(values) and values[-1] == rows[name + "_count", labels]


def test_labels_are_templates_and_never_paths(gateway, http, backend):
    http.request("GET", "/test/v1/echo/secret-path")
    http.request("GET", "/nowhere/secret-path")
    with admin(gateway) as c:
        text = c.request("GET", "/metrics").text
    assert "secret-path" not in text and 'route="/test/v1/echo/{f_string}"' in text


def test_requests_are_counted_by_route_and_code(gateway, http, backend):
    labels = {"dialect": "rest", "verb": "GET", "route": "/test/v1/fail/{code}"}
    before = gateway.metric("transom_requests_total", **labels), gateway.metric("transom_http_responses_total", status="404")
    http.request("GET", "/test/v1/fail/5")
    wait_until("both grow", lambda: gateway.metric("transom_requests_total", **labels) == before[0] + 1
               and gateway.metric("transom_http_responses_total", status="404") == before[1] + 1)


def test_in_flight_and_connections(gateway, connect, backend):
    http = connect(gateway)
    base = wait_until("it is accepted", lambda: gateway.metric("transom_connections"))
    s = http.start("GET", "/test/v1/echo/x", [("x-test-hold", "f")])
    wait_until("it is in flight", lambda: gateway.metric("transom_requests_in_flight") == 1)
    assert gateway.metric("transom_upstream_requests_active", upstream="main") == 1
    assert base >= 1
    backend.release("f")
    assert s.finish().status == 200
    wait_until("it is not", lambda: gateway.metric("transom_requests_in_flight") == 0)


def test_no_admin_by_default(start, backend):
    config = base_config([backend.endpoint])
    del config["admin"]
    gateway = start(config)
    assert "admin" not in gateway.ready_line
    with H1(gateway.port) as c:
        assert c.request("GET", "/metrics").status == 404


def test_serve_warns_that_everything_is_public(start, backend):
    gateway = start(base_config([backend.endpoint]))
    wait_until("the warning", lambda: "public" in gateway.stderr)
    gateway.stop()  # all that it wrote has been read
    assert gateway.stderr.count("every exposed method is public") == 1


# -- listeners ----------------------------------------------------------------------------------------------------------------

def test_several_listeners(start, backend, certificates):
    gateway = start(base_config([backend.endpoint], listeners=[{"address": "127.0.0.1:0"}, {"address": "[::1]:0"}, {"address": "127.0.0.1:0", "tls": certificates.server("localhost")}]))
    assert len([u for u in gateway.urls if "admin" not in u]) >= 3
    with H1(gateway.port) as c:
        assert c.request("GET", "/test/v1/echo/x").status == 200
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(gateway.urls[1] + "/test/v1/echo/six", timeout=5) as r:
        assert r.read() == b'{"fString":"six"}'
    with H2(gateway.port_of(2), tls=certificates.client_context(["h2"])) as c:
        assert c.request("GET", "/test/v1/echo/x").status == 200


def test_a_unix_listener(start, backend, tmp_path):
    import socket
    path = tmp_path / "g.sock"
    gateway = start(base_config([backend.endpoint], listeners=[{"address": "127.0.0.1:0"}, {"address": f"unix:{path}"}]))
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(5)
        s.connect(str(path))
        s.sendall(b"GET /test/v1/echo/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        data = b""
        while piece := s.recv(65536):
            data += piece
    assert data.startswith(b"HTTP/1.1 200") and data.endswith(b'{"fString":"x"}')


@pytest.mark.parametrize("workers", [1, 4])
def test_workers(start, backend, workers):
    gateway = start(base_config([backend.endpoint], workers=workers))
    assert gateway.metric("transom_workers") == workers
    clients = [H1(gateway.port) for _ in range(20)]
    for c in clients:
        assert c.request("GET", "/test/v1/echo/x").status == 200
        c.close()
