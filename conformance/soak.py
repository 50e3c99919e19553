#!/usr/bin/env python3
"""Two minutes of a bad day: load over HTTP/1.1 and HTTP/2 whose clients are killed in the middle, backends that are killed and come back,
connections that say half a thing. Afterwards nothing may be left: no request in flight, no call or place of one, no connection, no
descriptor, no report of a sanitizer, and SIGTERM ends the process with status 0.

Usage: TRANSOM_BUILD=build/asan conformance/soak.py [--seconds 120] [--workers 2] [--seed N]"""
import argparse
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "e2e"))

from env.build import wait_until  # noqa: E402
from env.gateway import Gateway, base_config  # noqa: E402
from env.http2 import H2  # noqa: E402

TARGETS = ["/test/v1/echo/x?fInt32=5", "/test/v1/query?text=a&numbers=1&numbers=2", "/test/v1/stream?count=50&size=500", "/test/v1/fail/9", "/test/v1/fail/14",
           "/test/v1/big?size=100000", "/nope", "/test/v1/query?number=x", "/test/v1/sleep?duration=0.05s", "/test/v1/rawstream/x?size=300000&chunkSize=20000"]
POSTS = ['{"fString":"é","rInt64":["1","-2"],"mLeaf":{"a":{"text":"t"}}}', '{"fInt32":', '{"nope":1}', '{"any":{"@type":"type.googleapis.com/test.v1.Leaf","text":"x"}}']

BACKEND = """
import sys, threading
sys.path.insert(0, {path!r})
from env.backend import Backend
b = Backend(port=int(sys.argv[1]))
class Nothing(list):
    def append(self, call):
        pass
b.calls = Nothing()
print("ready", flush=True)
threading.Event().wait()
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class BackendProcess:
    def __init__(self, port):
        self.port = port
        self.start()

    def start(self):
        path = str(Path(__file__).resolve().parents[1] / "tests" / "e2e")
        self.process = subprocess.Popen([sys.executable, "-c", BACKEND.format(path=path), str(self.port)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert self.process.stdout.readline() == b"ready\n"

    def kill(self, how):
        self.process.send_signal(how)
        self.process.wait()


class Soak:
    def __init__(self, gateway, rng, until):
        self.gateway, self.rng, self.until = gateway, rng, until
        self.loads = self.killed = self.cuts = self.restarts = 0

    def over(self):
        return time.monotonic() >= self.until

    def load(self, tmp, name):
        rng = random.Random(self.rng.random())
        n = 0
        while not self.over():
            n += 1
            base = f"http://127.0.0.1:{self.gateway.port}"
            args = ["h2load", "-D", "3", "-c", str(rng.choice([1, 4, 16])), "-t", "1", "-m", str(rng.choice([1, 10, 50]))]
            if rng.random() < 0.5:
                args += ["--h1"]
            if rng.random() < 0.3:
                body = tmp / f"{name}.json"
                body.write_text(rng.choice(POSTS))
                args += ["-d", str(body), "-H", "content-type: application/json", base + "/test/v1/echo"]
            else:
                if rng.random() < 0.3:
                    args += ["-H", rng.choice(["x-request-timeout: 0.02", "accept: application/x-ndjson", "accept: text/event-stream", "accept: application/x-protobuf"])]
                args += [base + t for t in rng.sample(TARGETS, 3)]
            process = subprocess.Popen(args, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            self.loads += 1
            if rng.random() < 0.7:
                time.sleep(rng.uniform(0.05, 2))
                process.kill()
                self.killed += 1
            process.wait()

    def cut(self):
        """Requests that are cut at any byte, and answers that nobody waits for."""
        rng = random.Random(self.rng.random())
        whole = [b"POST /test/v1/echo HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 20\r\n\r\n{\"fString\":\"abcdef\"}",
                 b"POST /test/v1/upload/p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n[{\"text\":\"abc\"},\r\n",
                 b"GET /test/v1/stream?count=1000&size=10000 HTTP/1.1\r\nHost: a\r\n\r\n",
                 b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0\0\0\x07\1\5\0\0\0\1\x82\x86\x84\x01\x01a"]
        while not self.over():
            data = rng.choice(whole)
            data = data[:rng.randint(1, len(data))]
            try:
                with socket.create_connection(("127.0.0.1", self.gateway.port), 5) as s:
                    s.sendall(data)
                    time.sleep(rng.uniform(0, 0.05))
            except OSError:
                pass
            self.cuts += 1

    def restart(self, backends):
        rng = random.Random(self.rng.random())
        while not self.over():
            time.sleep(rng.uniform(2, 5))
            backend = rng.choice(backends)
            backend.kill(rng.choice([signal.SIGKILL, signal.SIGTERM]))
            time.sleep(rng.uniform(0, 1))
            backend.start()
            self.restarts += 1


def settled(gateway):
    names = ("transom_requests_in_flight", "transom_upstream_requests_active", "transom_upstream_requests_pending", "transom_connections")
    return {name: value for name in names if (value := gateway.metric(name))}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    args = parser.parse_args()
    print(f"soak: seed {args.seed}")
    tmp = Path(tempfile.mkdtemp(prefix="soak"))
    backends = [BackendProcess(free_port()) for _ in range(2)]
    endpoints = [f"127.0.0.1:{b.port}" for b in backends]
    bound = 90
    main = {"endpoints": endpoints, "max_requests": bound, "max_pending": 50, "connect_timeout": "300ms"}
    gateway = Gateway(tmp / "gateway", base_config([], upstreams={"main": main}, workers=args.workers, limits={"keepalive_timeout": "5s"},
                                                   policies={"*": {"timeout": "3s", "stream_idle_timeout": "3s"}}))
    try:
        soak = Soak(gateway, random.Random(args.seed), time.monotonic() + args.seconds)
        fds = gateway.metric("process_open_fds")
        threads = [threading.Thread(target=soak.load, args=(tmp, f"load{i}")) for i in range(3)]
        threads += [threading.Thread(target=soak.cut), threading.Thread(target=soak.restart, args=(backends,))]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        wait_until(f"nothing is left: {settled(gateway)}", lambda: not settled(gateway), 20)
        connections = gateway.metric("transom_upstream_connections")
        left = gateway.metric("process_open_fds") - fds - connections
        with H2(gateway.port) as c:
            wait_until("requests are served", lambda: c.request("GET", "/test/v1/echo/x").status == 200)
            # no place of a call that has ended is still taken
            held = [c.start("GET", "/test/v1/sleep?duration=0.5s") for _ in range(bound)]
            assert {s.finish(20).status for s in held} == {200}
        print(f"soak: {gateway.metric('transom_http_requests_total'):.0f} requests of {soak.loads} loads ({soak.killed} killed), {soak.cuts} cuts, "
              f"{soak.restarts} restarts; descriptors left: {left:.0f} beside {connections:.0f} upstream connections; RSS {gateway.rss_bytes() >> 20} MiB")
        by_reason = {dict(labels)["reason"]: int(v) for (name, labels), v in gateway.metrics().items() if name == "transom_errors_total" and v}
        print("soak: " + ", ".join(f"{k} {v}" for k, v in sorted(by_reason.items())))
        assert left <= 0, "descriptors leak"
        assert not by_reason.get("INTERNAL"), "a defect"
        gateway.stop()
    finally:
        for b in backends:
            b.process.kill()
        if gateway.alive:
            gateway.process.kill()
        shutil.rmtree(tmp, ignore_errors=True)
    print("soak: nothing is left\n1 passed, 0 failed")


if __name__ == "__main__":
    main()
