"""transom beside Envoy and nghttpx; contrib/bench/run.sh builds what this needs and calls it. See contrib/doc/performance.md.

Usage: run.sh [--quick] [--rounds N] [--seconds S] [--json FILE] [PART...]
A PART is a case (small medium large stream grpc), optionally with where it runs (small/h2, medium/h1+tls), or one of p99, pipeline, idle,
transfer, check, lookup, alloc. Without any: all of them.
"""

import argparse
import contextlib
import datetime
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import types

import data
import extra
import load
import peers
import pipeline

KIB, MIB = 1024, 1024 * 1024
# case, protocol, TLS: the least that Envoy over transom must be (issue), None where nothing is asked
RATIOS = {("small", "h2"): 5, ("medium", "h2"): 8, ("large", "h2"): 10, ("stream", "h2"): 12,
          ("small", "h1"): 4, ("medium", "h1"): 6, ("large", "h1"): 9, ("stream", "h1"): 12}
NATIVE_MAX = 1.5  # transom over nghttpx
MATRIX = [(c, p, False) for c in ("small", "medium", "large", "stream") for p in ("h2", "h1")] + [("grpc", "h2", False)] + [
    (c, p, True) for c in ("small", "medium") for p in ("h2", "h1")]
PACED = [("small", "h2"), ("small", "h1"), ("medium", "h2"), ("medium", "h1"), ("large", "h2"), ("stream", "h2")]
EXTRAS = ("p99", "pipeline", "idle", "transfer", "check", "lookup", "alloc")


def label(case, proto, secure):
    return f"{case}/{proto}{'+tls' if secure else ''}"


def parse():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    p.add_argument("--rounds", type=int)
    p.add_argument("--seconds", type=float, help="of one round")
    p.add_argument("--json", help="write all figures there")
    p.add_argument("--build", required=True, help="a build folder of the release preset")
    p.add_argument("--only", default="transom,envoy,nghttpx", help="gateways, with commas")
    p.add_argument("part", nargs="*")
    a = p.parse_args()
    a.rounds = a.rounds or (3 if a.quick else 5)
    a.seconds = a.seconds or (0.3 if a.quick else 1.0)
    known = set(EXTRAS) | set(load.CASES) | {label(*m) for m in MATRIX}
    for part in a.part:
        if part not in known:
            p.error(f"unknown part '{part}'; there are {' '.join(sorted(known))}")
    return a


def wanted(args, *names):
    return not args.part or any(n in args.part for n in names)


def environment(args, folder):
    build = pathlib.Path(args.build).resolve()
    bench = build / "tests/bench/micro/bench_router"
    env = types.SimpleNamespace(
        folder=folder, data=folder, cert=f"{folder}/cert.pem", key=f"{folder}/key.pem", gateway_core=0, load_core=min(1, os.cpu_count() - 1),
        transom=str(build / "src/gateway/transom"), backend=str(build / "contrib/bench/bench_backend"),
        envoy=str(pathlib.Path(sys.prefix) / "bin/envoy"), router_bench=str(bench) if bench.exists() else None)
    sets = {peers.BOOKSTORE: build / "descriptors/bookstore.pb", peers.EVERYTHING: build / "descriptors/everything.pb"}
    env.set = sets.__getitem__
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
                    "/CN=localhost", "-keyout", env.key, "-out", env.cert], check=True, capture_output=True)
    env.envoy_set = f"{folder}/envoy.pb"
    data.set_for_envoy(env.set(peers.BOOKSTORE), env.envoy_set)
    env.sizes = data.make_data(env.set(peers.BOOKSTORE), folder)
    return env


def machine():
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "unknown")
    flags = next((line for line in open("/proc/cpuinfo") if line.startswith("flags")), "").split()
    widest = next((f for f in ("avx512bw", "avx2", "sse4_2") if f in flags), "sse2")
    commit = subprocess.run(["git", "-C", str(data.HERE), "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return {"cpu": f"{model} ({widest}), {os.cpu_count()} cores", "kernel": os.uname().release, "commit": commit.stdout.strip(),
            "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
            "load": os.getloadavg()[0]}


def medians(rounds):
    return {k: statistics.median(r[k] for r in rounds) for k in rounds[0]}


class Report:
    def __init__(self):
        self.short = []

    def verdict(self, what, ok):
        if not ok:
            self.short.append(what)
        return "ok" if ok else "short"


def run_case(env, args, gateways, name, proto, secure):
    case = load.CASES[name]
    counts = {g.name: load.calibrate(env, case, g, proto, secure, args.seconds) for g in gateways}
    rounds = {g.name: [] for g in gateways}
    for _ in range(args.rounds):
        for g in gateways:  # interleaved: what else the machine does hits all of them
            rounds[g.name].append(load.once(env, case, g, proto, secure, counts[g.name]))
    return {n: {**medians(r), "rounds": r} for n, r in rounds.items()}


def print_cases_head():
    print(f"\n{'case':<15}{'gateway':<9}{'req/s':>9}{'CPU us':>9}{'core':>6}{'p50 ms':>8}{'p99 ms':>8}{'RSS MiB':>9}   Envoy / transom (CPU)")


def print_case(report, where, result):
    name, _, proto = where.partition("/")
    for gateway, r in list(result.items()):
        text = ""
        if gateway == "transom" and "envoy" in result:
            ratio, least = result["envoy"]["cpu_us"] / r["cpu_us"], RATIOS.get((name, proto))
            text = f"{ratio:5.1f}x" + (f"  at least {least}x: {report.verdict(where, ratio >= least)}" if least else "")
            result["ratio"] = ratio
        if gateway == "transom" and "nghttpx" in result and name == "grpc":
            ratio = r["cpu_us"] / result["nghttpx"]["cpu_us"]
            text += f"  transom / nghttpx {ratio:.2f}x, at most {NATIVE_MAX}x: {report.verdict('grpc over nghttpx', ratio <= NATIVE_MAX)}"
            result["over_nghttpx"] = ratio
        print(f"{where:<15}{gateway:<9}{r['rps']:>9.0f}{r['cpu_us']:>9.1f}{r['core']:>6.0%}{r['p50_us'] / 1e3:>8.2f}{r['p99_us'] / 1e3:>8.2f}"
              f"{r['rss'] / MIB:>9.1f}   {text}", flush=True)
        where = ""


def run_cases(env, args, report, results):
    matrix = [m for m in MATRIX if wanted(args, m[0], label(*m))]
    if not matrix and not wanted(args, "p99", "alloc"):
        return
    with contextlib.ExitStack() as stack:
        backend = start(stack, lambda: peers.Backend(env, 1))
        gateways = [start(stack, lambda c=peers.GATEWAYS[n]: c(env, backend.port)) for n in args.only.split(",")]
        if matrix:
            print_cases_head()
        for m in matrix:
            r = run_case(env, args, gateways, *m)
            print_case(report, label(*m), r)
            results["cases"][label(*m)] = r
        transom = next((g for g in gateways if g.name == "transom"), None)
        if matrix:
            time.sleep(2)  # whatever a gateway does when it is quiet
            results["rss_after"] = {g.name: g.rss() for g in gateways}
            print("\nRSS after the run: " + ", ".join(f"{n} {b / MIB:.1f} MiB" for n, b in results["rss_after"].items()), end="")
            if transom:
                print(f"; transom below 15 MiB: {report.verdict('rss after', transom.rss() < 15 * MIB)}", end="")
            print(flush=True)
        if transom and wanted(args, "alloc"):
            run_alloc(env, args, report, results, transom)
        if wanted(args, "p99"):
            run_paced(env, args, report, results, gateways)


def run_alloc(env, args, report, results, transom):
    found = {k: extra.allocations(env, transom, k, 2000) for k in ("h2", "h1")}
    results["allocations"] = found
    if None in found.values():
        print("\nheap allocations: this build does not tell", flush=True)
        return
    text = ", ".join(f"{c}/{k} {n:g}" for k, r in found.items() for c, n in r.items())
    zero = all(n == 0 for r in found.values() for n in r.values())
    print(f"\nheap allocations per unary request, warm: {text}; 0: {report.verdict('allocations', zero)}", flush=True)


def run_paced(env, args, report, results, gateways):
    pair = [g for g in gateways if g.translates]
    if len(pair) < 2:
        return
    print(f"\n{'half of Envoy':<15}{'req/s':>9}{'transom p50':>13}{'p99 ms':>9}{'Envoy p50':>12}{'p99 ms':>9}")
    for name, proto in PACED[:2] if args.quick else PACED:
        case, where = load.CASES[name], f"{name}/{proto}"
        envoy = next(g for g in pair if g.name == "envoy")
        known = results["cases"].get(where, {}).get("envoy") or load.once(env, case, envoy, proto, False, max(400, int(1e6 / case.weight_us)))
        rounds = {g.name: [] for g in pair}
        for _ in range(args.rounds):
            for g in pair:
                rounds[g.name].append(load.paced(env, case, g, proto, known["rps"] / 2, 1 if args.quick else 2))
        r = {n: {**medians(v), "rounds": v} for n, v in rounds.items()}
        results["paced"][where] = r
        t, e = r["transom"], r["envoy"]
        print(f"{where:<15}{t['rps']:>9.0f}{t['p50_us'] / 1e3:>13.2f}{t['p99_us'] / 1e3:>9.2f}{e['p50_us'] / 1e3:>12.2f}{e['p99_us'] / 1e3:>9.2f}"
              f"   p99 below Envoy's: {report.verdict('p99 ' + where, t['p99_us'] < e['p99_us'])}", flush=True)


def start(stack, make):
    process = make()
    stack.callback(process.stop)
    return process


def run_idle(env, args, report, results):
    count = 200 if args.quick else 1000
    least = {"h2": 16 * KIB, "h1": 4 * KIB}
    print(f"\n{count} idle connections, each after one request")
    with contextlib.ExitStack() as stack:
        backend = start(stack, lambda: peers.Backend(env, 1))
        for kind in ("h2", "h1"):
            for name in args.only.split(","):
                r = extra.idle(env, lambda c=peers.GATEWAYS[name]: c(env, backend.port), kind, count)
                results["idle"].setdefault(kind, {})[name] = r
                text = ""
                if name == "transom":
                    text = f"   below {least[kind] // KIB} KiB: {report.verdict('idle ' + kind, r['each'] < least[kind])}"
                print(f"  {kind} {name:<9}{r['each'] / KIB:>8.1f} KiB each, RSS {r['rss_before'] / MIB:.1f} -> {r['rss'] / MIB:.1f} MiB{text}",
                      flush=True)
            both = results["idle"][kind]
            if kind == "h2" and "transom" in both and "envoy" in both:
                print(f"  RSS with them below Envoy's: {report.verdict('idle rss', both['transom']['rss'] < both['envoy']['rss'])}")


def run_transfers(env, args, report, results):
    mib = 32 if args.quick else 1024
    print(f"\n{mib} MiB through transom")
    for what in extra.TRANSFERS:
        for kind in ("h2", "h1"):
            with contextlib.ExitStack() as stack:  # fresh, so that each starts from the same memory
                backend = start(stack, lambda: peers.Backend(env, mib))
                g = start(stack, lambda: peers.Transom(env, backend.port, (peers.EVERYTHING,)))
                extra.transfer(env, g, what, kind, mib) if args.quick else None
                r = extra.transfer(env, g, what, kind, mib)
            results["transfer"][f"{what}/{kind}"] = r
            flat = r["rss_high"] - r["rss_low"] < 4 * MIB and r["rss_high"] < 32 * MIB
            print(f"  {what + '/' + kind:<13}{r['mib'] / r['seconds']:>7.0f} MiB/s, {r['cpu_seconds'] / r['mib'] * 1e3:.2f} ms CPU per MiB, RSS "
                  f"{r['rss_low'] / MIB:.1f} to {r['rss_high'] / MIB:.1f} MiB, flat: {report.verdict(f'{what}/{kind}', flat)}", flush=True)


def run_check(env, report, results):
    vectors = os.environ.get("TRANSOM_VECTORS")
    if not vectors or not (pathlib.Path(vectors) / "googleapis.pb.xz").exists():
        print("\ntransom check: set TRANSOM_VECTORS to a folder with googleapis.pb.xz")
        return
    r = extra.check_googleapis(env, vectors)
    results["check"] = r
    ok = r["exit"] == 0 and r["seconds"] < 1.5 and r["peak_rss"] < 200 * MIB
    print(f"\ntransom check, googleapis ({r['files']} files, {r['services']} services): {r['seconds']:.2f} s, peak RSS {r['peak_rss'] / MIB:.0f} MiB"
          f" ({r['said']}); below 1.5 s and 200 MiB: {report.verdict('check', ok)}", flush=True)


def run_lookup(env, report, results):
    vectors = os.environ.get("TRANSOM_VECTORS")
    r = extra.route_lookup(env, vectors) if vectors else None
    if not r:
        print("\nroute look-up: needs TRANSOM_VECTORS and bench_router")
        return
    results["lookup"] = r
    print(f"\nroute look-up among {r['routes']} routes {r['ns']:.0f} ns, among 10 {r['ns_of_10']:.0f} ns: {r['ratio']:.2f}x, at most 1.5x: "
          f"{report.verdict('lookup', r['ratio'] <= 1.5)}", flush=True)


def main():
    args = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    report = Report()
    with tempfile.TemporaryDirectory(prefix="transom-bench-") as folder:
        env = environment(args, folder)
        m = machine()
        results = {"machine": m, "sizes": env.sizes, "argv": sys.argv[1:], "cases": {}, "paced": {}, "pipeline": {}, "idle": {}, "transfer": {}}
        print(f"{m['date']}, commit {m['commit']}, {m['cpu']}, Linux {m['kernel']}, load {m['load']:.1f}")
        print(f"medians of {args.rounds} interleaved rounds of {args.seconds:g} s; CPU of the gateway's process; "
              + ", ".join(f"{n} {s['json']} bytes of JSON" for n, s in env.sizes.items()))
        run_cases(env, args, report, results)
        if wanted(args, "pipeline"):
            with contextlib.ExitStack() as stack:
                pipeline.run(env, args, report, results, start, stack, medians)
        if wanted(args, "idle"):
            run_idle(env, args, report, results)
        if wanted(args, "transfer"):
            run_transfers(env, args, report, results)
        if wanted(args, "check"):
            run_check(env, report, results)
        if wanted(args, "lookup"):
            run_lookup(env, report, results)
        if args.json:
            pathlib.Path(args.json).write_text(json.dumps(results, indent=1))
    print(f"\n{'short of the mark: ' + ', '.join(report.short) if report.short else 'all marks reached'}")
    return 1 if report.short else 0


if __name__ == "__main__":
    sys.exit(main())
