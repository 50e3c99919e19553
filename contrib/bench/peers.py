"""The gateways under test and their backend: configuration, start, ports, CPU time and memory. Every process is ended by its pid."""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import time
import urllib.request

PAGE = os.sysconf("SC_PAGE_SIZE")
TICK = os.sysconf("SC_CLK_TCK")
BOOKSTORE = "bookstore.v1.Bookstore"
EVERYTHING = "test.v1.EverythingService"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(what, probe, seconds=10.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        got = probe()
        if got:
            return got
        time.sleep(0.02)
    raise RuntimeError(f"{what} did not start")


def connects(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


class Process:
    """A child pinned to one core, and its children."""

    def __init__(self, name, argv, core, folder):
        self.name = name
        self.log = pathlib.Path(folder) / f"{name}.log"
        with open(self.log, "wb") as out:
            self.child = subprocess.Popen(["taskset", "-c", str(core), *argv], stdout=out, stderr=subprocess.STDOUT,
                                          stdin=subprocess.DEVNULL, cwd=folder)
        self.pid = self.child.pid

    def output(self):
        if self.child.poll() is not None:
            raise RuntimeError(f"{self.name} ended: {self.log.read_text(errors='replace')[-2000:]}")
        return self.log.read_text(errors="replace")

    def pids(self):
        found, todo = [], [self.pid]
        while todo:
            pid = todo.pop()
            found.append(pid)
            for task in os.listdir(f"/proc/{pid}/task"):
                todo += [int(p) for p in pathlib.Path(f"/proc/{pid}/task/{task}/children").read_text().split()]
        return found

    def cpu_seconds(self):
        """Of all threads; nanoseconds where the kernel counts them, else its ticks."""
        total = 0.0
        for pid in self.pids():
            try:
                for task in os.listdir(f"/proc/{pid}/task"):
                    total += int(pathlib.Path(f"/proc/{pid}/task/{task}/schedstat").read_text().split()[0]) / 1e9
            except FileNotFoundError:
                fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                total += (int(fields[11]) + int(fields[12])) / TICK
        return total

    def rss(self):
        return sum(int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE for pid in self.pids())

    def stop(self):
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
            try:
                self.child.wait(5)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()


class Gateway(Process):
    plain = tls = None  # ports
    translates = True

    def heap_allocations(self):
        """Since the start, when the gateway tells; else None."""
        return None


class Backend(Process):
    def __init__(self, env, mib):
        super().__init__("backend", [env.backend, "0", env.data, str(mib)], env.load_core, env.folder)
        m = wait_for("backend", lambda: re.search(r"listening \S+:(\d+)", self.output()))
        self.port = int(m[1])


class Transom(Gateway):
    def __init__(self, env, backend_port, services=(BOOKSTORE,), **more):
        config = {
            "listeners": [{"address": "127.0.0.1:0"},
                          {"address": "127.0.0.1:0", "tls": {"certificate": env.cert, "private_key": env.key}}],
            "admin": {"address": "127.0.0.1:0"}, "workers": 1, "drain_delay": "0s", "drain_timeout": "1s", "log_level": "warn",
            "descriptors": [str(env.set(s)) for s in services],
            "upstreams": {"backend": {"endpoints": [f"127.0.0.1:{backend_port}"]}},
            "services": [{"name": s, "upstream": "backend"} for s in services], **more,
        }
        path = pathlib.Path(env.folder) / "transom.json"
        path.write_text(json.dumps(config, indent=1))
        super().__init__("transom", [env.transom, "serve", "--config", str(path)], env.gateway_core, env.folder)
        pattern = r"transom listening http://\S+:(\d+) https://\S+:(\d+) admin=http://\S+:(\d+)"
        m = wait_for("transom", lambda: re.search(pattern, self.output()))
        self.plain, self.tls, self.admin = map(int, m.groups())

    def heap_allocations(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/metrics", timeout=5) as r:
            text = r.read().decode()
        found = re.findall(r"^transom_heap_allocations_total(?:\{[^}]*\})? (\d+)", text, re.M)
        return sum(map(int, found)) if found else None


class Envoy(Gateway):
    """One worker and its JSON transcoder; everything else as Envoy has it by default."""

    def __init__(self, env, backend_port):
        paths = pathlib.Path(env.folder) / "envoy.yaml", pathlib.Path(env.folder) / "envoy.admin"
        paths[1].unlink(missing_ok=True)
        paths[0].write_text(json.dumps(self.config(env, backend_port), indent=1))  # YAML reads JSON
        super().__init__("envoy", [env.envoy, "-c", str(paths[0]), "--concurrency", "1", "--disable-hot-restart", "-l", "warn",
                                   "--admin-address-path", str(paths[1])], env.gateway_core, env.folder)
        admin = wait_for("envoy", lambda: self.output() is not None and paths[1].exists() and paths[1].read_text())

        def ports():
            with urllib.request.urlopen(f"http://{admin}/listeners?format=json", timeout=5) as r:
                found = {s["name"]: s["local_address"]["socket_address"]["port_value"]
                         for s in json.load(r).get("listener_statuses", [])}
            return found if len(found) == 2 and all(found.values()) else None

        found = wait_for("envoy", ports)
        self.plain, self.tls = found["plain"], found["tls"]
        wait_for("envoy", lambda: connects(self.plain))

    def config(self, env, backend_port):
        def any_of(name, **fields):
            return {"@type": f"type.googleapis.com/envoy.extensions.{name}", **fields}

        def address(port):
            return {"socket_address": {"address": "127.0.0.1", "port_value": port}}

        manager = any_of(
            "filters.network.http_connection_manager.v3.HttpConnectionManager", stat_prefix="bench", codec_type="AUTO",
            route_config={"virtual_hosts": [{"name": "all", "domains": ["*"],
                                             "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "backend"}}]}]},
            http_filters=[
                {"name": "transcoder", "typed_config": any_of(
                    "filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder", proto_descriptor=env.envoy_set,
                    services=[BOOKSTORE])},
                {"name": "router", "typed_config": any_of("filters.http.router.v3.Router")}])
        network = [{"name": "http", "typed_config": manager}]
        tls = any_of("transport_sockets.tls.v3.DownstreamTlsContext", common_tls_context={
            "alpn_protocols": ["h2", "http/1.1"],
            "tls_certificates": [{"certificate_chain": {"filename": env.cert}, "private_key": {"filename": env.key}}]})
        http2 = any_of("upstreams.http.v3.HttpProtocolOptions", explicit_http_config={"http2_protocol_options": {}})
        return {
            "admin": {"address": address(0)},
            "static_resources": {
                "listeners": [
                    {"name": "plain", "address": address(0), "filter_chains": [{"filters": network}]},
                    {"name": "tls", "address": address(0), "filter_chains": [
                        {"filters": network, "transport_socket": {"name": "tls", "typed_config": tls}}]}],
                "clusters": [{
                    "name": "backend", "type": "STATIC", "connect_timeout": "1s",
                    "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2},
                    "load_assignment": {"cluster_name": "backend", "endpoints": [
                        {"lb_endpoints": [{"endpoint": {"address": address(backend_port)}}]}]}}]}}


class Nghttpx(Gateway):
    """A plain HTTP/2 proxy: what moving the bytes alone costs."""
    translates = False

    def __init__(self, env, backend_port):
        self.plain, self.tls = free_port(), free_port()
        super().__init__("nghttpx", ["nghttpx", "--conf=/dev/null", f"--frontend=127.0.0.1,{self.plain};no-tls",
                                     f"--frontend=127.0.0.1,{self.tls}", f"--backend=127.0.0.1,{backend_port};;proto=h2",
                                     "--workers=1", "--accesslog-file=/dev/null", "--errorlog-file=/dev/stderr",
                                     "--log-level=WARN", env.key, env.cert], env.gateway_core, env.folder)
        wait_for("nghttpx", lambda: self.output() is not None and connects(self.plain))


GATEWAYS = {"transom": Transom, "envoy": Envoy, "nghttpx": Nghttpx}
