"""h2load: one run, and what it and the gateway's process say about it."""

import pathlib
import re
import subprocess
import time

SHELF = "/v1/shelves/fiction"
JSON = ("content-type: application/json",)
GRPC = ("content-type: application/grpc", "te: trailers")


class Case:
    """What one request is, in JSON and as the gRPC call that it becomes."""

    def __init__(self, name, path, method, call, weight_us, body=None):
        self.name, self.path, self.body = name, path, body
        self.call, self.call_body = f"/bookstore.v1.Bookstore/{method}", call
        self.weight_us = weight_us  # a guess for the first calibration

    def args(self, env, translates):
        if translates and self.path:
            body = ["-d", str(pathlib.Path(env.data) / self.body)] if self.body else []
            return self.path, body + [a for h in (JSON if self.body else ()) for a in ("-H", h)]
        return self.call, ["-d", str(pathlib.Path(env.data) / self.call_body)] + [a for h in GRPC for a in ("-H", h)]


CASES = {c.name: c for c in (
    Case("small", f"{SHELF}/books/moby-dick/summary", "GetBookSummary", "get.frame", 40),
    Case("medium", "/v1/books:echo", "EchoBook", "medium.frame", 120, "medium.json"),
    Case("large", f"{SHELF}/books", "ListBooks", "list.frame", 800),
    Case("stream", f"{SHELF}/books:stream", "StreamBooks", "list.frame", 2500),
    Case("grpc", None, "GetBookSummary", "get.frame", 40),
)}


def percentile(ordered, p):
    return ordered[min(len(ordered) - 1, int(len(ordered) * p))] if ordered else float("nan")


def command(env, case, gateway, proto, secure, extra):
    path, args = case.args(env, gateway.translates)
    url = f"https://127.0.0.1:{gateway.tls}{path}" if secure else f"http://127.0.0.1:{gateway.plain}{path}"
    h1 = ["--h1"] if proto == "h1" else []
    return ["taskset", "-c", str(env.load_core), "h2load", *extra, *h1, *args, url]


def shape(proto, secure):
    """A hundred requests in flight: ten connections of ten streams, or a hundred connections. With TLS 20 of these, so that the
    requests are measured and not the handshakes."""
    return ["-c", "10", "-m", "10"] if proto == "h2" else ["-c", "20" if secure else "100", "-m", "1"]


def read_log(path):
    """Start and time, in microseconds, and status of every request."""
    rows = [line.split("\t") for line in pathlib.Path(path).read_text().splitlines()]
    return [(int(r[0]), int(r[2]), int(r[1])) for r in rows]


def once(env, case, gateway, proto, secure, count, how=None):
    """count requests as fast as they go."""
    log = pathlib.Path(env.folder) / "h2load.log"
    log.unlink(missing_ok=True)
    argv = command(env, case, gateway, proto, secure, ["-n", str(count), *(how or shape(proto, secure)), f"--log-file={log}"])
    cpu, wall = gateway.cpu_seconds(), time.monotonic()
    out = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    cpu, wall = gateway.cpu_seconds() - cpu, time.monotonic() - wall
    m = re.search(r"finished in ([\d.]+)(m?s|us), ([\d.]+) req/s", out.stdout)
    ok = re.search(r"(\d+) succeeded", out.stdout)
    if not m or not ok or int(ok[1]) != count:
        raise RuntimeError(f"{gateway.name} {case.name} {proto}: {out.stdout[-1500:]}{out.stderr[-500:]}")
    rows = read_log(log)
    if any(r[2] != 200 for r in rows):
        raise RuntimeError(f"{gateway.name} {case.name} {proto}: status {[r[2] for r in rows if r[2] != 200][0]}")
    times = sorted(r[1] for r in rows)
    return {"count": count, "rps": float(m[3]), "cpu_us": cpu / count * 1e6, "core": cpu / wall, "p50_us": percentile(times, 0.5),
            "p99_us": percentile(times, 0.99), "rss": gateway.rss()}


def calibrate(env, case, gateway, proto, secure, seconds):
    """How many requests take about that long; also the warm-up."""
    count = max(200, int(0.2e6 / case.weight_us))
    rps = once(env, case, gateway, proto, secure, count)["rps"]
    count = max(200, int(rps * seconds))
    return count - count % 100


def paced(env, case, gateway, proto, rps, seconds):
    """A fixed rate over ten connections; p50 and p99, the first fifth left out."""
    log = pathlib.Path(env.folder) / "h2load.log"
    log.unlink(missing_ok=True)
    each = max(1, round(rps / 10))
    extra = ["-D", f"{seconds}", "-c", "10", "-m", "10" if proto == "h2" else "1", f"--rps={each}", f"--log-file={log}"]
    subprocess.run(command(env, case, gateway, proto, False, extra), capture_output=True, text=True, timeout=120, check=True)
    rows = read_log(log)
    if not rows:
        raise RuntimeError(f"{gateway.name} {case.name}: no answers at {rps:.0f} requests/s")
    start = min(r[0] for r in rows) + seconds * 0.2e6
    times = sorted(r[1] for r in rows if r[0] >= start)
    return {"rps": each * 10, "got_rps": len(rows) / seconds, "p50_us": percentile(times, 0.5), "p99_us": percentile(times, 0.99)}
