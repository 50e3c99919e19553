"""What is no request rate: idle connections, big transfers, loading a big descriptor set, route look-up, heap allocations."""

import json
import lzma
import os
import pathlib
import re
import socket
import subprocess
import sys
import threading
import time

import data
import load

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"\0\0\0\x04\0\0\0\0\0"
SETTINGS_ACK = b"\0\0\0\x04\x01\0\0\0\0"


def literal(name, value):
    """A header field never indexed, no Huffman code (RFC 7541 §6.2.3)."""
    return b"\x10" + bytes([len(name)]) + name + bytes([len(value)]) + value


def frames(kind, path, body):
    method = b"POST" if body else b"GET"
    fields = [(b":method", method), (b":scheme", b"http"), (b":authority", b"bench"), (b":path", path.encode())]
    if body:
        fields += [(b"content-type", b"application/grpc"), (b"te", b"trailers")]
    if kind == "h1":
        text = f"{method.decode()} {path} HTTP/1.1\r\nhost: bench\r\n"
        if body:
            text += f"content-type: application/grpc\r\ncontent-length: {len(body)}\r\n"
        return text.encode() + b"\r\n" + body
    block = b"".join(literal(n, v) for n, v in fields)
    out = PREFACE + SETTINGS + SETTINGS_ACK + len(block).to_bytes(3, "big") + bytes([1, 4 if body else 5]) + b"\0\0\0\x01" + block
    return out + (len(body).to_bytes(3, "big") + b"\0\x01\0\0\0\x01" + body if body else b"")


def h2_ended(got):
    pos = 0
    while pos + 9 <= len(got):
        size, kind, flags = int.from_bytes(got[pos:pos + 3], "big"), got[pos + 3], got[pos + 4]
        if pos + 9 + size <= len(got) and kind in (0, 1) and flags & 1:
            return True
        pos += 9 + size
    return False


def h1_ended(got):
    head, blank, rest = got.partition(b"\r\n\r\n")
    m = re.search(rb"content-length: *(\d+)", head, re.I)
    return bool(blank) and (len(rest) >= int(m[1]) if m else rest.endswith(b"0\r\n\r\n") or b"\r\n0\r\n" in rest)


def one_request(port, kind, path, body):
    s = socket.create_connection(("127.0.0.1", port), 5)
    s.sendall(frames(kind, path, body))
    got = b""
    while not (h2_ended(got) if kind == "h2" else h1_ended(got)):
        piece = s.recv(65536)
        if not piece:
            raise RuntimeError(f"connection closed: {got[:200]!r}")
        got += piece
    if kind == "h1" and not got.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"{got[:200]!r}")
    return s


def idle(env, make, kind, count):
    """Memory of so many connections, each after one request, in a fresh gateway that has been warmed up."""
    gateway = make()
    try:
        case = load.CASES["small"]
        load.once(env, case, gateway, kind, False, 2000, ["-c", "1", "-m", "1"])
        path = case.path if gateway.translates else case.call
        body = b"" if gateway.translates else (pathlib.Path(env.data) / case.call_body).read_bytes()
        time.sleep(0.3)
        before = gateway.rss()
        held = [one_request(gateway.plain, kind, path, body) for _ in range(count)]
        time.sleep(0.5)
        after = gateway.rss()
        for s in held:
            s.close()
        return {"rss_before": before, "rss": after, "each": (after - before) / count}
    finally:
        gateway.stop()


class Sampler(threading.Thread):
    def __init__(self, gateway):
        super().__init__(daemon=True)
        self.gateway, self.done, self.rss = gateway, threading.Event(), []

    def run(self):
        while not self.done.wait(0.05):
            self.rss.append(self.gateway.rss())


TRANSFERS = {"stream": ("GET", "/test/v1/stream"), "download": ("GET", "/test/v1/rawstream/file"),
             "upload": ("POST", "/test/v1/rawstream/file")}


def transfer(env, gateway, what, kind, mib):
    """Moves mib megabytes by curl and watches the gateway's memory."""
    method, path = TRANSFERS[what]
    version = "--http1.1" if kind == "h1" else "--http2-prior-knowledge"
    curl = ["taskset", "-c", str(env.load_core), "curl", "-sS", version, "--max-time", "120", "-X", method,
            f"http://127.0.0.1:{gateway.plain}{path}"]
    sampler = Sampler(gateway)
    cpu, wall = gateway.cpu_seconds(), time.monotonic()
    sampler.start()
    if what == "upload":
        source = subprocess.Popen(["head", "-c", str(mib << 20), "/dev/zero"], stdout=subprocess.PIPE)
        out = subprocess.run([*curl, "-T", "-", "-H", "content-type: application/octet-stream", "-H", "expect:"],
                             stdin=source.stdout, capture_output=True, check=False)
        source.stdout.close()
        source.wait()
        done = int(json.loads(out.stdout or b"{}").get("size", 0)) >= mib << 20
    else:
        out = subprocess.run([*curl, "-o", "/dev/null", "-w", "%{http_code} %{size_download}"], capture_output=True, check=False)
        status, size = (out.stdout.split() + [b"0", b"0"])[:2]
        done = status == b"200" and int(size) >= (mib << 20) * 0.95
    cpu, wall = gateway.cpu_seconds() - cpu, time.monotonic() - wall
    sampler.done.set()
    sampler.join()
    if out.returncode or not done:
        raise RuntimeError(f"{what} {kind}: {out.stdout[:300]!r} {out.stderr[:300]!r}")
    settled = sampler.rss[len(sampler.rss) // 10:] or [gateway.rss()]
    return {"mib": mib, "seconds": wall, "cpu_seconds": cpu, "rss_low": min(settled), "rss_high": max(settled)}


def check_googleapis(env, vectors):
    """Time and peak memory of `transom check` with every service of the set."""
    packed = pathlib.Path(vectors) / "googleapis.pb.xz"
    raw = lzma.decompress(packed.read_bytes())
    folder = pathlib.Path(env.folder)
    (folder / "googleapis.pb").write_bytes(raw)
    services, files = data.all_services(raw)
    config = {"descriptors": ["googleapis.pb"], "on_route_conflict": "first", "listeners": [{"address": "127.0.0.1:0"}],
              "upstreams": {"u": {"endpoints": ["127.0.0.1:1"]}}, "services": [{"name": s, "upstream": "u"} for s in services]}
    (folder / "googleapis.json").write_text(json.dumps(config))
    # By an interpreter that holds nothing: a child's peak begins with what its parent held when it was started.
    timed = ("import os, sys, time\n"
             "start = time.monotonic()\n"
             "pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)\n"
             "_, status, usage = os.wait4(pid, 0)\n"
             "print(os.waitstatus_to_exitcode(status), time.monotonic() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, file=sys.stderr)")
    runs = []
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", timed, env.transom, "check", "--config", str(folder / "googleapis.json")],
                              stdout=(folder / "check.out").open("w"), stderr=subprocess.PIPE, text=True, check=True)
        code, *figures = done.stderr.split()[-4:]
        runs.append(tuple(map(float, figures)))
    last = (folder / "check.out").read_text().splitlines()[-1:]
    return {"files": files, "services": len(services), "bytes": len(raw), "exit": int(code),
            "said": last[0].rpartition("json: ")[2] if last else "", "seconds": sorted(r[0] for r in runs)[1],
            "cpu_seconds": sorted(r[1] for r in runs)[1], "peak_rss": int(sorted(r[2] for r in runs)[1])}


def route_lookup(env, vectors):
    """tests/bench/micro/router_bench on the templates of all of googleapis, against ten of them."""
    templates = pathlib.Path(vectors) / "googleapis_templates.json"
    if not env.router_bench or not templates.exists():
        return None
    runs = []
    for _ in range(5):  # other work on the machine takes the cache away: the median
        out = subprocess.run(["taskset", "-c", str(env.gateway_core), env.router_bench], capture_output=True, text=True, check=True,
                             env={**os.environ, "TRANSOM_VECTORS": str(vectors)}).stdout
        same = [(int(n), float(ns)) for n, ns in re.findall(r"^ *(\d+) routes: .*the same \d+ paths +([\d.]+) ns", out, re.M)]
        runs.append({"routes": same[-1][0], "ns_of_10": same[0][1], "ns": same[-1][1], "ratio": same[-1][1] / same[0][1], "text": out})
    return sorted(runs, key=lambda r: r["ratio"])[2]


def allocations(env, gateway, kind, count):
    """Heap allocations of transom's own code for each unary request once warm."""
    result = {}
    for case in (load.CASES[n] for n in ("small", "medium") + (("grpc",) if kind == "h2" else ())):
        load.once(env, case, gateway, kind, False, count)
        before = gateway.heap_allocations()
        if before is None:
            return None
        load.once(env, case, gateway, kind, False, count)
        again = gateway.heap_allocations()
        load.once(env, case, gateway, kind, False, 3 * count)
        after = gateway.heap_allocations()
        # what connections and /metrics itself take cancels out; once in a while more requests are in flight than ever before
        result[case.name] = max(0, round(((after - again) - (again - before)) / (2 * count), 2))
    return result
