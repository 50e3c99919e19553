"""What the gateway does while something fails: contrib/bench/faults.sh builds what this needs and calls it.

Usage: faults.sh [--quick] [ROW...]      a ROW may be the beginning of one; see --list
Prints a table: the fault, what must be seen, what was seen. Exits 1 when a row is short of it.
"""

import argparse
import contextlib
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time
import types

from faults_world import GET, POST, Backend, Gateway, Load, Redis, failures, percentile

ROWS = []
RETRY = {"attempts": 3, "on": ["UNAVAILABLE"], "backoff": {"base": "10ms", "max": "100ms"}}


def row(must):
    def add(fn):
        ROWS.append((fn.__name__, must, fn))
        return fn
    return add


class World:
    """Starts things, and ends them when the row is over."""

    def __init__(self, env, stack, quick):
        self.env, self.stack, self.quick = env, stack, quick

    def keep(self, thing):
        self.stack.callback(thing.stop)
        return thing

    def backend(self, port=0):
        return self.keep(Backend(port))

    def gateway(self, backends, **options):
        return self.keep(Gateway(self.env, [b.port for b in backends], **options))

    def redis(self, port=0):
        return self.keep(Redis(port))


@row("attempts <= 1.2 x requests + 3 x seconds + bucket")
def total_failure_with_retries(w):
    seconds, rate = (6, 500) if w.quick else (20, 500)
    b = w.backend()
    b.tell("fail 14")
    g = w.gateway([b], upstream={"retry_budget": {"percent": 20, "min_per_second": 3}}, policy={"retry": RETRY})
    answers = Load([g.port], rate, seconds).run()
    attempts, bucket = b.stats()["attempts"], 100
    most = 1.2 * len(answers) + 3 * seconds + bucket
    return attempts <= most and attempts > len(answers) * 1.1, f"{len(answers)} requests, {attempts} attempts, at most {most:.0f}"


@row("below 5 % reach it while open; first success within open_for and a probe of its recovery")
def total_failure_with_breaker(w):
    fail_for, more, rate = (8, 4, 500) if w.quick else (20, 6, 500)
    b = w.backend()
    b.tell("fail 14")
    marks = {}

    def recover():
        marks["attempts"] = b.stats()["attempts"]
        b.tell("ok")
    g = w.gateway([b], upstream={"circuit_breaker": {"failure_ratio": 0.5, "minimum_requests": 20, "window": "10s", "open_for": "2s",
                                                     "probes": 3}}, policy={"retry": RETRY})
    answers = Load([g.port], rate, fail_for + more, meanwhile=[(fail_for, recover)]).run()
    asked = sum(a.at < fail_for for a in answers)
    good = [a.at - fail_for for a in answers if a.status == 200]
    reached = marks["attempts"] / asked
    ok = reached < 0.05 and good and good[0] <= 2 * 1.1 + 0.5
    return ok, f"{marks['attempts']} of {asked} requests reached it ({reached:.1%}); first success {good[0] if good else -1:.2f} s after it recovered"


@row("p99 of the rest unharmed within 2 s of ejection; only requests in flight fail; slow start on return")
def one_of_three(w):
    rate = 300
    backends = [w.backend() for _ in range(3)]
    for b in backends:
        b.tell("delay 5")
    port = backends[0].port
    g = w.gateway(backends, upstream={"outlier_detection": {"consecutive_failures": 5, "base_ejection": "2s"}, "slow_start": "2s",
                                      "health_check": {"interval": "200ms", "timeout": "1s"}},
                  policy={"retry": {**RETRY, "per_try_timeout": "1s"}})
    marks = {}

    def back():
        marks["back"] = w.backend(port)
        marks["back"].tell("delay 5")
    slow_at, dead_at, back_at, end = (3, 6, 9, 14)
    answers = Load([g.port], rate, end, meanwhile=[(slow_at, lambda: backends[0].tell("delay 50")), (dead_at, backends[0].kill),
                                                   (back_at, back)]).run()
    bad = failures(answers)
    before = percentile([a for a in answers if 1 <= a.at < slow_at], 0.99)
    after = percentile([a for a in answers if dead_at + 2 <= a.at < back_at], 0.99)
    share = marks["back"].stats()["attempts"]
    ok = not bad and after < before * 2 + 0.02 and 0 < share < len([a for a in answers if a.at >= back_at]) / 3 * 1.1
    return ok, (f"{len(answers)} requests, {len(bad)} failed; p99 {before * 1e3:.0f} ms before, {after * 1e3:.0f} ms 2 s after its death; "
                f"{share} requests after its return")


@row("no idempotent request fails; others only when they may have been acted on")
def restarts_under_load(w):
    rate, end = 300, 8 if w.quick else 14
    b = w.backend()
    port, lock = b.port, threading.Lock()
    state = {"now": b, "posts": 0}

    def replace(how):
        with lock:
            state["posts"] += state["now"].stats()["posts"]
            how(state["now"])
            time.sleep(0.3)  # refused meanwhile
            state["now"] = w.backend(port)

    def goaway(backend):
        backend.tell("grace 1")
        backend.process.wait(10)
    g = w.gateway([b],  # grpcio's server says CANCELLED of what is left when its grace is over
                  policy={"retry": {"attempts": 10, "on": ["UNAVAILABLE", "CANCELLED"], "backoff": {"base": "300ms", "max": "1s"}}},
                  upstream={"retry_budget": {"percent": 200, "min_per_second": 100}})
    times = [(1, lambda: replace(goaway)), (4, lambda: replace(Backend.kill))] + ([] if w.quick else [
        (7, lambda: replace(goaway)), (10, lambda: replace(Backend.kill))])
    answers = Load([g.port], rate, end, what=(GET, GET, GET, POST), meanwhile=times).run()
    gets = [a for a in failures(answers) if a.reason[0] == "GET"]
    posts = [a for a in failures(answers) if a.reason[0] == "POST"]
    sure = [a for a in posts if not re.search("lost|reset|reached|UPSTREAM_CLOSED|connection", a.reason[1])]
    why = f" ({gets[0].at:.2f} s: {gets[0].status} {gets[0].reason[1][:300]})" if gets else ""
    return not gets and not sure, (f"{len(answers)} requests over {len(times)} restarts: {len(gets)} GET failed{why}, {len(posts)} POST failed, "
                                   f"{len(sure)} of them for another reason than a lost connection")


def quota(name="all", limit=1000, window="60s", **more):
    return {"quotas": [{"name": name, "key": ["constant:all"], "limit": limit, "window": window, **more}]}


@row("each on_failure does what it says within 20 ms; the limit is exact again after")
def redis_killed_and_frozen(w):
    said, ok = [], True
    b = w.backend()
    for on_failure, expect in (("allow", 200), ("deny", 503), ("local", 200)):
        redis = w.redis()
        g = w.gateway([b], policy=quota(f"q-{on_failure}", 100000), quota_store={"redis": f"redis://127.0.0.1:{redis.port}/0",
                                                                                 "timeout": "20ms", "on_failure": on_failure})
        marks = {}

        def back(redis=redis, marks=marks):
            marks["redis"] = w.redis(redis.port)
        end = 8
        answers = Load([g.port], 200, end, meanwhile=[(1, lambda r=redis: r.signal(signal.SIGSTOP)), (3, lambda r=redis: r.signal(signal.SIGCONT)),
                                                      (4, lambda r=redis: r.process.kill()), (5.5, back)]).run()
        frozen = [a for a in answers if 1.3 <= a.at < 2.8]
        dead = [a for a in answers if 4.3 <= a.at < 5.3]
        well = [a for a in answers if a.at < 0.9 or a.at > 7.5]
        right = all(a.status == expect for a in frozen + dead) and all(a.status == 200 for a in well) and frozen and dead and well
        ok = ok and right
        said.append(f"{on_failure}: {'as said' if right else 'not as said'}, p50 {percentile(frozen, 0.5) * 1e3:.0f} ms frozen, "
                    f"{percentile(dead, 0.5) * 1e3:.0f} ms dead")
        ok = ok and percentile(frozen, 0.9) < 0.2
    return ok, "; ".join(said)


@row("admitted = capacity + floor(elapsed / interval), never one more")
def quota_of_two_gateways(w):
    total = 5000 if w.quick else 20000
    b, redis = w.backend(), w.redis()
    store = {"redis": f"redis://127.0.0.1:{redis.port}/0", "timeout": "1s", "on_failure": "deny"}
    gateways = [w.gateway([b], policy=quota("shared", 1000, "60s"), quota_store=store, workers=2) for _ in range(2)]
    before = time.time()
    answers = Load([g.port for g in gateways], 1000, total / 1000).run()
    elapsed = time.time() - before
    admitted = sum(a.status == 200 for a in answers)
    others = [a for a in answers if a.status not in (200, 429)]
    # the clock of the store: from the first request admitted to the last one answered
    good = [a for a in answers if a.status == 200]
    last = max((a.at + a.took for a in answers if a.status == 200), default=0) - good[0].at if good else 0
    most, least = 1000 + int(elapsed / 0.06), 1000 + int(last / 0.06) - 1
    ok = not others and least <= admitted <= most
    return ok, f"{len(answers)} requests in {elapsed:.2f} s, {admitted} admitted, between {least} and {most}; {len(others)} other answers"


@row("upstream streams cancelled, nothing left")
def client_leaves_while_retrying(w):
    b = w.backend()
    b.tell("fail 14")
    g = w.gateway([b], upstream={"retry_budget": {"percent": 1000, "min_per_second": 10000}},
                  policy={"retry": {"attempts": 10, "on": ["UNAVAILABLE"], "backoff": {"base": "200ms", "max": "200ms"}}})
    rounds = 3 if w.quick else 10
    sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "conformance"))
    from flood_world import Raw, get
    for i in range(rounds):
        if i % 2:
            b.tell("delay 100")
        c = Raw(g.port, h2=True)
        c.sock.sendall(b"".join(get(1 + 2 * n) for n in range(64)))
        c.read(0.15)
        c.close()
    end = time.monotonic() + 15
    while time.monotonic() < end:
        left = g.metric("transom_requests_in_flight"), g.metric("transom_upstream_requests_active"), b.stats()["open"]
        if left == (0, 0, 0):
            break
        time.sleep(0.05)
    return left == (0, 0, 0), f"{rounds} x 64 streams; left (requests, calls, on the backend): {tuple(int(n) for n in left)}"


@row("stale keys serve; fetches are bounded; requests that need the new key wait within their deadline")
def key_server_fails(w):
    sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "tests/e2e"))
    from env.issuer import KEYS, Issuer
    issuer = w.keep(Issuer())
    issuer.down()
    b = w.backend()
    jwks = {"uri": issuer.url + KEYS, "refresh_interval": "500ms", "timeout": "1s", "unknown_kid_interval": "1s", "max_bytes": "1MiB"}
    g = w.gateway([b], policy={"timeout": "5s", "authentication": {"any_of": ["one"]}}, authentication={"max_failures": 0, "providers": {
        "one": {"issuer": issuer.issuer, "audiences": ["books"], "jwks": jwks}}})
    said, ok = [], True

    def step(name, good, answers):
        nonlocal ok
        ok = ok and good
        codes = sorted({a.status for a in answers})
        said.append(f"{name}: {codes}, {len(answers)} requests, {max(a.took for a in answers) * 1e3:.0f} ms at most{'' if good else ' (!)'}")

    def ask(seconds, rate=100, token=None):
        return Load([g.port], rate, seconds, headers=f"authorization: Bearer {token or issuer.token()}\r\n").run()
    answers = ask(1, 10)
    step("down at start", all(a.status == 503 for a in answers), answers)
    issuer.up()
    end = time.monotonic() + 20
    while ask(0.1, 10)[0].status != 200 and time.monotonic() < end:
        pass
    for name, mode in (("slow", "hang"), ("500", 500), ("endless answer", "endless"), ("redirect", "redirect")):
        issuer.set(mode)
        answers = ask(2)
        step(name, all(a.status == 200 for a in answers), answers)
    issuer.set("ok")
    issuer.down()
    answers = ask(2)
    step("down later", all(a.status == 200 for a in answers), answers)
    issuer.up()
    before = issuer.fetches()
    flood = issuer.token().split(".")
    import base64
    head = base64.urlsafe_b64encode(b'{"alg":"ES256","kid":"nobody"}').rstrip(b"=").decode()
    answers = ask(3, 200, ".".join([head, *flood[1:]]))
    fetched = issuer.fetches() - before
    step(f"unknown key ids ({fetched} fetches)", all(a.status == 401 for a in answers) and fetched <= 3 / 0.5 * 2 + 4, answers)
    time.sleep(1.1)
    issuer.rotate("second")
    answers = ask(1)
    step("rotated", all(a.status == 200 for a in answers), answers)
    return ok, "; ".join(said)


@row("goodput within 10 % of capacity; a refused request below 15 us on h2")
def overload(w):
    seconds = 3 if w.quick else 6
    b = w.backend()
    b.tell("delay 200")  # long beside the 10 ms in which h2load bunches its requests
    g = w.gateway([b], upstream={"max_requests": 64, "max_pending": 64})

    def h2load(*how):
        before = g.cpu_seconds()
        out = subprocess.run(["h2load", *how, f"http://127.0.0.1:{g.port}/v1/shelves/1"], capture_output=True, text=True, check=True,
                             timeout=60).stdout
        m = re.search(r"(\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", out)
        return int(m[1]), int(m[4]), g.cpu_seconds() - before
    good, bad, cpu = h2load("-D", str(seconds), "-c", "1", "-m", "64")
    capacity, each = good / seconds, cpu / max(1, good)
    rate = max(10, round(capacity * 10 / 20))  # of each of twenty connections
    good, bad, cpu = h2load("-D", str(seconds), "-c", "20", "-m", "10", f"--rps={rate}")
    refused = (cpu - good * each) / max(1, bad) * 1e6
    ok = good / seconds >= capacity * 0.9 and refused < 15 and bad > good
    return ok, (f"capacity {capacity:.0f}/s; at {20 * rate}/s offered {good / seconds:.0f}/s served and {bad / seconds:.0f}/s refused at "
                f"{refused:.1f} us of CPU each")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--quick", action="store_true", help="shorter")
    p.add_argument("--list", action="store_true")
    p.add_argument("--build", default="build/release")
    p.add_argument("row", nargs="*")
    args = p.parse_args()
    if args.list:
        for name, must, _ in ROWS:
            print(f"{name}: {must}")
        return 0
    build = pathlib.Path(args.build).resolve()
    env = types.SimpleNamespace(transom=str(build / "src/gateway/transom"), descriptors=str(build / "descriptors/bookstore.pb"))
    chosen = [r for r in ROWS if not args.row or any(r[0].startswith(n) for n in args.row)]
    passed = failed = 0
    for name, must, fn in chosen:
        start = time.monotonic()
        with contextlib.ExitStack() as stack:
            ok, seen = fn(World(env, stack, args.quick))
        passed, failed = passed + bool(ok), failed + (not ok)
        print(f"{'ok  ' if ok else 'FAIL'} {name} ({time.monotonic() - start:.0f} s)\n     must: {must}\n     seen: {seen}", flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    os.chdir(pathlib.Path(__file__).resolve().parents[2])
    sys.exit(main())
