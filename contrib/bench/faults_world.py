"""What the faults need: a backend that does what it is told, gateways, an open-loop load. Everything on loopback, ended by its pid."""

import asyncio
import concurrent.futures
import json
import os
import pathlib
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

import peers

SERVICE = "bookstore.v1.Bookstore"
GET = ("GET", "/v1/shelves/1", b"")
POST = ("POST", "/v1/shelves", b'{"theme":"x"}')


# ---- the backend: `python faults_world.py backend PORT` -------------------------------------------------------------


def backend_main(port):
    """Commands on standard input, one a line: "fail CODE", "delay MS", "ok", "grace S" (GOAWAY, then the end); "stats" answers a line."""
    import grpc
    state = {"code": 0, "delay": 0.0, "attempts": 0, "posts": 0, "cancelled": 0, "open": 0, "previous": 0}
    shelf = b"\x0a\x09shelves/1"

    def behave(request, context):
        state["attempts"] += 1
        state["open"] += 1
        if any(k == "grpc-previous-rpc-attempts" for k, _ in context.invocation_metadata()):
            state["previous"] += 1
        try:
            end = time.monotonic() + state["delay"]
            while time.monotonic() < end:
                if not context.is_active():
                    state["cancelled"] += 1
                    return shelf
                time.sleep(min(0.005, max(0.0, end - time.monotonic())))
            if state["code"]:
                context.abort(next(c for c in grpc.StatusCode if c.value[0] == state["code"]), "as it was told to")
            return shelf
        finally:
            state["open"] -= 1

    class Handler(grpc.GenericRpcHandler):
        def service(self, call):
            if call.method.endswith("/CreateShelf"):
                def create(request, context):
                    state["posts"] += 1
                    return behave(request, context)
                return grpc.unary_unary_rpc_method_handler(create)
            return grpc.unary_unary_rpc_method_handler(behave)

    server = grpc.server(concurrent.futures.ThreadPoolExecutor(128), options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((Handler(),))
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    print(bound, flush=True)
    for line in sys.stdin:
        word, _, value = line.strip().partition(" ")
        if word == "fail":
            state["code"] = int(value)
        elif word == "delay":
            state["delay"] = float(value) / 1e3
        elif word == "ok":
            state["code"], state["delay"] = 0, 0.0
        elif word == "grace":
            server.stop(float(value)).wait(10)
            break
        elif word == "stats":
            print(json.dumps(state), flush=True)
    os._exit(0)  # the threads of calls that are still open


class Backend:
    def __init__(self, port=0):
        self.process = subprocess.Popen([sys.executable, os.path.abspath(__file__), "backend", str(port)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"no backend on port {port}")
        self.port = int(line)

    def tell(self, text):
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def stats(self):
        self.tell("stats")
        return json.loads(self.process.stdout.readline())

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def stop(self):
        if self.process.poll() is None:
            self.process.stdin.close()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()


# ---- gateways ---------------------------------------------------------------------------------------------------------


class Gateway:
    def __init__(self, env, ports, upstream=None, policy=None, workers=1, **more):
        self.folder = tempfile.TemporaryDirectory()
        config = {
            "listeners": [{"address": "127.0.0.1:0"}], "admin": {"address": "127.0.0.1:0"}, "workers": workers, "drain_delay": "0s",
            "drain_timeout": "2s", "log_level": "error", "descriptors": [env.descriptors],
            "upstreams": {"books": {"endpoints": [f"127.0.0.1:{p}" for p in ports], **(upstream or {})}},
            "services": [{"name": SERVICE, "upstream": "books"}], "policies": {"*": policy or {}}, **more}
        path = pathlib.Path(self.folder.name) / "transom.json"
        path.write_text(json.dumps(config))
        self.log = open(pathlib.Path(self.folder.name) / "log", "w+")
        self.process = subprocess.Popen([env.transom, "serve", "--config", str(path)], stdout=subprocess.PIPE, stderr=self.log, text=True)
        line = self.process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+).*admin=http://127\.0\.0\.1:(\d+)", line)
        if not found:
            self.log.seek(0)
            raise RuntimeError(f"the gateway did not start: {line}{self.log.read()}")
        self.port, self.admin = int(found[1]), int(found[2])

    def metrics(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/metrics", timeout=10) as r:
            text = r.read().decode()
        return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line and line[0] != "#"}

    def metric(self, name, **labels):
        """The sum of the samples of a family that have these labels."""
        wanted = [f'{k}="{v}"' for k, v in labels.items()]
        return sum(v for k, v in self.metrics().items() if k.partition("{")[0] == name and all(w in k for w in wanted))

    def cpu_seconds(self):
        tasks = pathlib.Path(f"/proc/{self.process.pid}/task")
        return sum(int((t / "schedstat").read_text().split()[0]) for t in tasks.iterdir()) / 1e9

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(5)
        self.log.close()
        self.folder.cleanup()


class Redis:
    def __init__(self, port=0):
        self.port = port or peers.free_port()
        self.folder = tempfile.TemporaryDirectory()
        self.process = subprocess.Popen(["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
                                         "--dir", self.folder.name], stdout=subprocess.DEVNULL)
        peers.wait_for("redis", lambda: peers.connects(self.port))

    def signal(self, number):
        self.process.send_signal(number)

    def stop(self):
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        self.process.wait(10)
        self.folder.cleanup()


# ---- load -------------------------------------------------------------------------------------------------------------


class Answer:
    __slots__ = ("at", "took", "status", "reason")

    def __init__(self, at, took, status, reason):
        self.at, self.took, self.status, self.reason = at, took, status, reason


class Load:
    """Requests at a fixed rate, whatever the answers: over kept HTTP/1.1 connections, one more when all are busy."""

    def __init__(self, ports, rate, seconds, what=(GET,), headers="", meanwhile=()):
        """meanwhile: (second, function) pairs, called on a thread when their time has come."""
        self.ports, self.rate, self.seconds, self.what, self.headers = list(ports), rate, seconds, what, headers
        self.meanwhile = sorted(meanwhile, key=lambda m: m[0])
        self.answers, self.idle = [], {p: [] for p in self.ports}

    async def ask(self, n, start):
        port = self.ports[n % len(self.ports)]
        method, path, body = self.what[n % len(self.what)]
        at = time.monotonic()
        status, reason = 0, "connection"
        try:
            reader, writer = self.idle[port].pop() if self.idle[port] else await asyncio.open_connection("127.0.0.1", port)
            kind = "content-type: application/json\r\n" if body else ""
            writer.write(f"{method} {path} HTTP/1.1\r\nhost: a\r\n{kind}{self.headers}content-length: {len(body)}\r\n\r\n".encode() + body)
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            length = re.search(r"content-length: (\d+)", head, re.I)
            answer = await reader.readexactly(int(length[1])) if length else b""
            status = int(head.split(" ", 2)[1])
            reason = answer.decode(errors="replace") if status != 200 else ""
            if "connection: close" in head.lower():
                writer.close()
            else:
                self.idle[port].append((reader, writer))
        except (OSError, asyncio.IncompleteReadError):
            pass
        self.answers.append(Answer(at - start, time.monotonic() - at, status, (method, reason)))

    async def main(self):
        start, tasks, n = time.monotonic(), set(), 0
        waiting, loop, running = list(self.meanwhile), asyncio.get_running_loop(), []
        while (now := time.monotonic() - start) < self.seconds:
            while waiting and waiting[0][0] <= now:
                running.append(loop.run_in_executor(None, waiting.pop(0)[1]))
            while n < now * self.rate:
                task = asyncio.create_task(self.ask(n, start))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
                n += 1
            await asyncio.sleep(0.002)
        if tasks:
            await asyncio.wait(tasks, timeout=30)
        await asyncio.gather(*running)
        for pool in self.idle.values():
            for _, writer in pool:
                writer.close()

    def run(self):
        asyncio.run(self.main())
        return sorted(self.answers, key=lambda a: a.at)


def percentile(answers, p):
    times = sorted(a.took for a in answers)
    return times[min(len(times) - 1, int(len(times) * p))] if times else float("nan")


def failures(answers):
    return [a for a in answers if a.status != 200]


def median(values):
    return statistics.median(values) if values else float("nan")


if __name__ == "__main__" and sys.argv[1:2] == ["backend"]:
    backend_main(int(sys.argv[2]))
