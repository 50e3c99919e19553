"""Upstreams: dead ones, restarts, TLS with client certificates, names, spreading, bounds."""
import socket
import struct
import threading
import time

import grpc
import pytest

from env.backend import Backend
from env.build import wait_until
from env.certs import Certificates
from env.gateway import base_config
from env.http1 import H1
from env.http2 import H2


def echo(http, word="x"):
    return http.request("GET", f"/test/v1/echo/{word}", timeout=8)


def upstream(*endpoints, **keys):
    return {"main": {"endpoints": list(endpoints), **keys}}


@pytest.fixture
def backends(backend):
    """backends(n): that many more gRPC servers of this test."""
    made = []

    def make(n, **options):
        made.extend(Backend(threads=16, name=f"b{len(made) + i}", **options) for i in range(n))
        return made[-n:]
    yield make
    for b in made:
        b.stop()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


# -- dead backends ------------------------------------------------------------------------------------------------------------

def test_a_refused_connection_is_503_at_once(start, connect):
    gateway = start(base_config([f"127.0.0.1:{free_port()}"], upstreams=upstream(f"127.0.0.1:{free_port()}", connect_timeout="5s")))
    http = connect(gateway)
    begin = time.monotonic()
    with gateway.counts("UPSTREAM_CONNECT"):
        r = echo(http)
    assert r.status == 503 and r.json()["code"] == 14 and time.monotonic() - begin < 2
    assert r.json()["details"][0]["reason"] == "UPSTREAM_CONNECT"


def test_the_log_says_once_why_an_endpoint_cannot_be_connected_to(start, connect, backends):
    port = free_port()
    gateway = start(base_config([f"127.0.0.1:{port}"], workers=2))
    http = connect(gateway)
    for _ in range(3):
        assert echo(http).status == 503
    line = f"upstream main: endpoint 127.0.0.1:{port} is down: Connection refused\n"
    wait_until("the log says it", lambda: line in gateway.stderr)
    backends(1, port=port)
    wait_until("it is served", lambda: echo(http).status == 200)
    wait_until("the log says it", lambda: f"upstream main: endpoint 127.0.0.1:{port} is up again\n" in gateway.stderr)
    gateway.stop()  # all that it wrote has been read
    assert gateway.stderr.count("is down") == 1


@pytest.mark.parametrize("tls, greeting, said", [
    ({}, b"", "TLS: "), (None, b"HTTP/1.1 400 Bad Request\r\n\r\n", "it does not speak HTTP/2"), (None, b"", "it closed the connection before it spoke HTTP/2")])
def test_the_log_says_what_kind_of_server_an_endpoint_is_not(start, connect, tls, greeting, said):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(16)

        def serve():
            while True:
                try:
                    peer = listener.accept()[0]
                except OSError:
                    return
                peer.recv(4096)
                peer.sendall(greeting)
                peer.shutdown(socket.SHUT_WR)
                peer.close()
        threading.Thread(target=serve, daemon=True).start()
        port = listener.getsockname()[1]
        gateway = start(base_config([], upstreams=upstream(f"127.0.0.1:{port}", **({"tls": tls} if tls is not None else {}))))
        assert echo(connect(gateway)).status in (502, 503)
        wait_until("the log says it", lambda: f"upstream main: endpoint 127.0.0.1:{port} is down: {said}" in gateway.stderr)
        listener.shutdown(socket.SHUT_RDWR)


def test_an_address_that_swallows_packets_is_503_within_connect_timeout(start, connect):
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        fill = [socket.socket() for _ in range(4)]
        for s in fill:
            s.setblocking(False)
            s.connect_ex(deaf.getsockname())
        gateway = start(base_config([], upstreams=upstream(f"127.0.0.1:{deaf.getsockname()[1]}", connect_timeout="300ms")))
        http = connect(gateway)
        begin = time.monotonic()
        assert echo(http).status == 503
        assert 0.2 < time.monotonic() - begin < 2
        for s in fill:
            s.close()


def test_recovery_by_itself(start, connect, backends):
    port = free_port()
    gateway = start(base_config([], upstreams=upstream(f"127.0.0.1:{port}", connect_timeout="500ms")))
    http = connect(gateway)
    for _ in range(3):
        assert echo(http).status == 503
    backends(1, port=port)
    wait_until("it is served again", lambda: echo(http).status == 200, 8)


def test_a_restart(start, connect, backends):
    port = free_port()
    first = backends(1, port=port)[0]
    gateway = start(base_config([], upstreams=upstream(f"127.0.0.1:{port}")))
    http = connect(gateway)
    assert echo(http).status == 200
    first.stop()
    r = echo(http)
    assert r.status == 503 and r.json()["code"] == 14
    backends(1, port=port)
    wait_until("it is served again", lambda: echo(http).status == 200, 8)


def test_restart_under_load_gives_truthful_answers(start, backends):
    """With another endpoint alive, a graceful restart (GOAWAY) of one loses nothing; answers are 200, or 503 for what was in flight."""
    a, b = backends(2)
    gateway = start(base_config([], upstreams=upstream(a.endpoint, b.endpoint)))
    statuses, stop = [], threading.Event()

    def client():
        with H1(gateway.port) as http:
            while not stop.is_set():
                r = echo(http)
                statuses.append(r.status)
    threads = [threading.Thread(target=client) for _ in range(4)]
    for t in threads:
        t.start()
    wait_until("load runs", lambda: len(statuses) > 100)
    a.server.stop(5)  # graceful
    count = len(statuses)
    wait_until("load goes on", lambda: len(statuses) > count + 200)
    again = Backend(port=a.port, threads=16)
    wait_until("the new one is used", lambda: again.calls, 10)
    stop.set()
    for t in threads:
        t.join(5)
    again.stop()
    # what grpcio gives up when it stops is reset with CANCEL: 499 by the gRPC mapping
    assert set(statuses) <= {200, 499, 503}
    assert len([s for s in statuses if s != 200]) <= 4, statuses


def test_a_dead_endpoint_beside_a_live_one_costs_nothing(start, connect, backends):
    live = backends(1)[0]
    gateway = start(base_config([], upstreams=upstream(f"127.0.0.1:{free_port()}", live.endpoint)))
    http = connect(gateway)
    assert [echo(http).status for _ in range(20)] == [200] * 20


# -- balancing --------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("policy", ["round_robin", "least_request"])
def test_requests_spread_by_stream(start, backends, policy):
    servers = backends(3)
    gateway = start(base_config([], workers=1, upstreams=upstream(*[b.endpoint for b in servers], load_balancing=policy)))
    with H2(gateway.port) as http:  # one connection: spreading is for each stream
        for _ in range(3):
            echo(http)
        wait_until("all are connected", lambda: echo(http) and all(b.calls for b in servers))
        for b in servers:
            b.reset()
        for _ in range(60):
            assert echo(http).status == 200
    counts = [len(b.calls) for b in servers]
    assert sum(counts) == 60
    if policy == "round_robin":
        assert counts == [20, 20, 20]
    else:
        assert min(counts) >= 5


def test_weights(start, backends):
    a, b = backends(2)
    gateway = start(base_config([], workers=1, upstreams=upstream({"address": a.endpoint, "weight": 3}, b.endpoint, load_balancing="round_robin")))
    with H2(gateway.port) as http:
        wait_until("both are connected", lambda: echo(http) and a.calls and b.calls)
        a.reset(), b.reset()
        for _ in range(40):
            echo(http)
    assert (len(a.calls), len(b.calls)) == (30, 10)


def test_least_request_avoids_the_busy_one(start, backends):
    a, b = backends(2)
    gateway = start(base_config([], workers=1, upstreams=upstream(a.endpoint, b.endpoint, load_balancing="least_request")))
    with H2(gateway.port) as http:
        wait_until("both are connected", lambda: echo(http) and a.calls and b.calls)
        a.reset(), b.reset()
        held = [http.start("GET", "/test/v1/echo/x", [("x-test-hold", "h")]) for _ in range(8)]
        wait_until("they arrive", lambda: len(a.calls) + len(b.calls) == 8)
        assert abs(len(a.calls) - len(b.calls)) <= 4
        a.release("h"), b.release("h")
        assert all(s.finish().status == 200 for s in held)


def test_many_requests_share_few_connections(start, backends):
    server = backends(1)[0]
    gateway = start(base_config([], workers=1, upstreams=upstream(server.endpoint, max_connections=2)))
    with H2(gateway.port) as http:
        streams = [http.start("GET", f"/test/v1/echo/{i}") for i in range(90)]
        assert all(s.finish().status == 200 for s in streams)
    assert gateway.metric("transom_upstream_connections") <= 2


# -- bounds -------------------------------------------------------------------------------------------------------------------------

def test_max_requests(start, backends):
    server = backends(1)[0]
    gateway = start(base_config([], workers=1, upstreams=upstream(server.endpoint, max_requests=3)))
    with H2(gateway.port) as http:
        held = [http.start("GET", "/test/v1/echo/x", [("x-test-hold", "h")]) for _ in range(3)]
        wait_until("three arrive", lambda: len(server.calls) == 3)
        with gateway.counts("UPSTREAM_ACTIVE"):
            r = echo(http)
        assert r.status == 503 and r.json()["code"] == 14
        server.release("h")
        assert all(s.finish().status == 200 for s in held)
        assert echo(http).status == 200


def test_max_pending(start):
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        fill = [socket.socket() for _ in range(4)]
        for s in fill:
            s.setblocking(False)
            s.connect_ex(deaf.getsockname())
        gateway = start(base_config([], workers=1, upstreams=upstream(f"127.0.0.1:{deaf.getsockname()[1]}", max_pending=2, connect_timeout="1s")))
        with H2(gateway.port) as http, gateway.counts("UPSTREAM_PENDING"):
            waiting = [http.start("GET", "/test/v1/echo/x") for _ in range(2)]
            wait_until("two wait", lambda: gateway.metric("transom_upstream_requests_pending") == 2)
            r = echo(http)
            assert r.status == 503 and r.json()["details"][0]["reason"] == "UPSTREAM_PENDING"
            assert all(s.finish().status == 503 for s in waiting)
        for s in fill:
            s.close()


# -- authority ------------------------------------------------------------------------------------------------------------------------

def authority_seen(gateway):
    return next(v for n, v in requests_of(gateway) if n == ":authority")


def requests_of(gateway):
    with H1(gateway.port) as http:
        assert http.request("GET", "/test/v1/echo").status == 200
    return gateway.server.requests[-1].headers


@pytest.mark.parametrize("authority", [None, "books.internal"])
def test_authority(start, authority):
    from env.scripted import Scripted, good
    with Scripted(good) as server:
        gateway = start(base_config([], upstreams=upstream(server.endpoint, **({"authority": authority} if authority else {}))))
        gateway.server = server
        headers = requests_of(gateway)
        assert dict(headers)[":authority"] == (authority or server.endpoint)
        assert (dict(headers)[":method"], dict(headers)[":scheme"], dict(headers)[":path"]) == ("POST", "http", "/test.v1.EverythingService/Echo")
        assert dict(headers)["te"] == "trailers" and dict(headers)["content-type"] == "application/grpc"
        assert "gzip" in dict(headers)["grpc-accept-encoding"]
        gateway.stop()


# -- other addresses --------------------------------------------------------------------------------------------------------------------

def test_unix_socket(start, connect, backend, tmp_path):
    path = tmp_path / "b.sock"
    server = Backend(address=f"unix:{path}", threads=4)
    try:
        gateway = start(base_config([], upstreams=upstream(f"unix:{path}")))
        assert echo(connect(gateway)).status == 200
        gateway.stop()
    finally:
        server.stop()


class Names(threading.Thread):
    """A name server for A records with a TTL of 1 s, over UDP."""

    def __init__(self):
        super().__init__(daemon=True)
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.records, self.asked, self.rcode, self.ttl = {}, [], 0, 1
        self.start()

    @property
    def address(self):
        return f"127.0.0.1:{self.sock.getsockname()[1]}"

    def run(self):
        while True:
            try:
                query, peer = self.sock.recvfrom(4096)
            except OSError:
                return
            labels, at = [], 12
            while query[at]:
                labels.append(query[at + 1:at + 1 + query[at]].decode())
                at += 1 + query[at]
            kind = struct.unpack(">H", query[at + 1:at + 3])[0]
            name = ".".join(labels)
            self.asked.append((name, kind))
            addresses = self.records.get(name, []) if kind == 1 and not self.rcode else []
            rcode = self.rcode or (0 if name in self.records else 3)
            answer = query[:2] + struct.pack(">HHHHH", 0x8180 | rcode, 1, len(addresses), 0, 0) + query[12:at + 5]
            for a in addresses:
                answer += b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, self.ttl, 4) + socket.inet_aton(a)
            self.sock.sendto(answer, peer)

    def close(self):
        self.sock.close()


@pytest.fixture
def names():
    server = Names()
    yield server
    server.close()


def test_names_are_resolved(start, connect, backend, names):
    names.records["books.test"] = ["127.0.0.1"]
    gateway = start(base_config([], upstreams=upstream(f"dns:///books.test:{backend.port}")), env={"TRANSOM_DNS_SERVERS": names.address})
    r = wait_until("it is served", lambda: (lambda r: r.status == 200 and r)(echo(connect(gateway))), 5)
    assert r.json() == {"fString": "x"} and ("books.test", 1) in names.asked


def test_names_are_resolved_again_by_ttl(start, connect, backends, names):
    port = free_port()
    first = backends(1, address=f"127.0.0.1:{port}")[0]
    second = backends(1, address=f"127.0.0.2:{port}")[0]
    names.records["books.test"] = ["127.0.0.1"]
    gateway = start(base_config([], upstreams=upstream(f"dns:///books.test:{port}")), env={"TRANSOM_DNS_SERVERS": names.address})
    http = connect(gateway)
    wait_until("the first is used", lambda: echo(http) and first.calls, 5)
    names.records["books.test"] = ["127.0.0.2"]
    wait_until("the second is used", lambda: echo(http).status == 200 and second.calls, 10)
    first.reset()
    for _ in range(10):
        assert echo(http).status == 200
    assert not first.calls or len(first.calls) < 10


def test_a_name_that_does_not_resolve_is_503(start, connect, names):
    gateway = start(base_config([], upstreams=upstream("dns:///none.test:1", connect_timeout="500ms")), env={"TRANSOM_DNS_SERVERS": names.address})
    r = echo(connect(gateway))
    assert r.status == 503 and r.json()["details"][0]["reason"] == "UPSTREAM_DNS"


def test_the_log_says_once_that_a_name_does_not_resolve(start, connect, backend, names):
    gateway = start(base_config([], upstreams=upstream(f"dns:///books.test:{backend.port}"), workers=2), env={"TRANSOM_DNS_SERVERS": names.address})
    lines = lambda text: gateway.stderr.count(text)
    wait_until("it failed for both workers, twice", lambda: gateway.metric("transom_upstream_dns_failures_total") >= 4, 30)
    wait_until("it is told", lambda: lines("the name books.test does not resolve: none is known"), 5)
    names.records["books.test"] = ["127.0.0.1"]
    wait_until("it is served", lambda: echo(connect(gateway)).status == 200, 20)
    wait_until("that is told too", lambda: lines("the name books.test resolves again"), 5)
    gateway.stop()  # all that it wrote has been read
    assert lines("does not resolve") == 1


# -- TLS ----------------------------------------------------------------------------------------------------------------------------------

def tls_backend(certificates, name, require_client=False):
    crt, key = certificates.make(name)
    credentials = grpc.ssl_server_credentials([(key.read_bytes(), crt.read_bytes())],
                                              root_certificates=certificates.ca.read_bytes() if require_client else None, require_client_auth=require_client)
    return Backend(credentials=credentials, threads=8)


@pytest.fixture
def tls_server(backend, certificates):
    servers = []

    def make(name="books.internal", **options):
        servers.append(tls_backend(certificates, name, **options))
        return servers[-1]
    yield make
    for s in servers:
        s.stop()


def test_tls_upstream(start, connect, certificates, tls_server):
    server = tls_server()
    gateway = start(base_config([], upstreams=upstream(server.endpoint, tls={"ca": str(certificates.ca), "server_name": "books.internal"})))
    assert echo(connect(gateway)).status == 200


@pytest.mark.parametrize("how", ["closes", "resets", "answers_garbage"])
def test_an_endpoint_that_dies_in_the_tls_handshake_costs_nothing(start, connect, certificates, tls_server, how):
    """Nothing was sent: calls of any method go to the other endpoint, without a policy too."""
    server, shaken = tls_server(), []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def serve():
            while True:
                try:
                    peer, _ = listener.accept()
                except OSError:
                    return
                shaken.append(peer.recv(4096))
                if how == "resets":
                    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                elif how == "answers_garbage":
                    peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                peer.close()
        threading.Thread(target=serve, daemon=True).start()
        gateway = start(base_config([], upstreams=upstream(f"127.0.0.1:{listener.getsockname()[1]}", server.endpoint, load_balancing="round_robin",
                                                           tls={"ca": str(certificates.ca), "server_name": "books.internal"})))
        http = connect(gateway)
        for _ in range(20):
            r = http.request("POST", "/test/v1/echo", [("content-type", "application/json")], "{}")
            assert r.status == 200, r
        assert shaken and len(server.calls) == 20
        assert gateway.metric("transom_upstream_endpoints_up", upstream="main") == 1
        listener.shutdown(socket.SHUT_RDWR)


def test_tls_upstream_with_a_client_certificate(start, connect, certificates, tls_server):
    server = tls_server(require_client=True)
    crt, key = certificates.make("gateway.internal")
    gateway = start(base_config([], upstreams=upstream(server.endpoint, tls={"ca": str(certificates.ca), "server_name": "books.internal", "certificate": str(crt), "private_key": str(key)})))
    assert echo(connect(gateway)).status == 200
    auth = server.calls[0].context.auth_context()
    assert auth["x509_common_name"] == [b"gateway.internal"]


def test_tls_upstream_that_wants_a_certificate_we_have_not(start, connect, certificates, tls_server):
    server = tls_server(require_client=True)
    gateway = start(base_config([], upstreams=upstream(server.endpoint, connect_timeout="1s", tls={"ca": str(certificates.ca), "server_name": "books.internal"})))
    r = echo(connect(gateway))
    assert r.status == 503 and r.json()["code"] == 14 and not server.calls


def test_tls_upstream_with_another_name_or_authority_is_503(start, connect, certificates, tls_server, tmp_path_factory):
    server = tls_server()
    other = Certificates(tmp_path_factory.mktemp("other"), "other CA")
    for tls in ({"ca": str(certificates.ca), "server_name": "wrong.internal"}, {"ca": str(other.ca), "server_name": "books.internal"}, {"server_name": "books.internal"}):
        gateway = start(base_config([], upstreams=upstream(server.endpoint, connect_timeout="1s", tls=tls)))
        r = echo(connect(gateway))
        assert r.status == 503 and r.json()["details"][0]["reason"] == "UPSTREAM_TLS", r
    assert not server.calls


def test_tls_to_a_cleartext_backend_is_503(start, connect, certificates, backend):
    gateway = start(base_config([], upstreams=upstream(backend.endpoint, connect_timeout="1s", tls={"ca": str(certificates.ca)})))
    assert echo(connect(gateway)).status == 503


# -- TLS of listeners -----------------------------------------------------------------------------------------------------------------------

def test_alpn(start, backend, certificates):
    gateway = start(base_config([backend.endpoint], listeners=[{"address": "127.0.0.1:0", "tls": certificates.server("localhost")}]))
    for offer, got, client in ((["h2", "http/1.1"], "h2", H2), (["http/1.1"], "http/1.1", H1), (None, None, H1), (["h2"], "h2", H2)):
        with client(gateway.port, tls=certificates.client_context(offer)) as c:
            assert c.sock.selected_alpn_protocol() == got
            assert c.sock.version() in ("TLSv1.2", "TLSv1.3")
            assert echo(c).status == 200


def test_sni_chooses_the_certificate(start, backend, certificates):
    crt, key = certificates.make("second.example")
    tls = certificates.server("localhost", certificates=[{"certificate": str(crt), "private_key": str(key)}])
    gateway = start(base_config([backend.endpoint], listeners=[{"address": "127.0.0.1:0", "tls": tls}]))
    for name in ("localhost", "second.example"):
        with H2(gateway.port, tls=certificates.client_context(["h2"]), server_name=name) as c:
            assert ("DNS", name) in c.sock.getpeercert()["subjectAltName"]


@pytest.mark.parametrize("mode", ["required", "optional"])
def test_client_certificates(start, backend, certificates, mode):
    tls = certificates.server("localhost", client_ca=str(certificates.ca), client_certificate=mode)
    gateway = start(base_config([backend.endpoint], listeners=[{"address": "127.0.0.1:0", "tls": tls}]))
    with H1(gateway.port, tls=certificates.client_context(["http/1.1"], client="partner")) as c:
        assert echo(c).status == 200
    try:
        with H1(gateway.port, tls=certificates.client_context(["http/1.1"])) as c:
            served = echo(c).status == 200
    except OSError:
        served = False
    assert served == (mode == "optional")


def test_cleartext_to_a_tls_listener(start, backend, certificates):
    gateway = start(base_config([backend.endpoint], listeners=[{"address": "127.0.0.1:0", "tls": certificates.server("localhost")}, {"address": "127.0.0.1:0"}]))
    with H1(gateway.port) as c:
        c.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert not c.read_all(5).startswith(b"HTTP/1.1 200")
    wait_until("it is counted", lambda: gateway.metric("transom_tls_failures_total") == 1)
    with H1(gateway.port_of(1)) as c:
        assert echo(c).status == 200


def test_old_tls_is_refused(start, backend, certificates):
    import ssl
    gateway = start(base_config([backend.endpoint], listeners=[{"address": "127.0.0.1:0", "tls": certificates.server("localhost")}]))
    context = certificates.client_context(["h2"])
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError):
        H2(gateway.port, tls=context)


def test_tls_handshake_timeout(start, backend, certificates):
    gateway = start(base_config([backend.endpoint], limits={"tls_handshake_timeout": "200ms"}, listeners=[{"address": "127.0.0.1:0", "tls": certificates.server("localhost")}]))
    with H1(gateway.port) as c:
        assert c.read_all(5) == b""
