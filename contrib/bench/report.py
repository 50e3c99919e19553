"""Markdown tables from the JSON that run.sh --json wrote, for contrib/doc/performance.md. Usage: report.py RESULT.json"""

import json
import sys

MIB = 1024 * 1024


def row(*cells):
    print("| " + " | ".join(str(c) for c in cells) + " |")


def table(*head):
    print()
    row(*head)
    print("|" + "|".join("---" if i == 0 else "---:" for i in range(len(head))) + "|")


def cases(r, least):
    table("case", "CPU µs: transom", "Envoy", "nghttpx", "Envoy / transom", "asked for", "req/s: transom", "Envoy")
    for where, c in r["cases"].items():
        t, e, n = c["transom"], c.get("envoy"), c.get("nghttpx")
        name, _, proto = where.partition("/")
        asked = least.get((name, proto))
        row(where, f"{t['cpu_us']:.1f}", f"{e['cpu_us']:.1f}" if e else "", f"{n['cpu_us']:.1f}" if n else "",
            f"{e['cpu_us'] / t['cpu_us']:.1f}x" if e else "", f"{asked}x" if asked else "", f"{t['rps']:,.0f}", f"{e['rps']:,.0f}" if e else "")


def paced(r):
    table("half of Envoy's rate", "req/s", "transom p50 ms", "p99", "Envoy p50 ms", "p99")
    for where, p in r["paced"].items():
        t, e = p["transom"], p["envoy"]
        row(where, f"{t['rps']:,}", *(f"{v / 1e3:.2f}" for v in (t["p50_us"], t["p99_us"], e["p50_us"], e["p99_us"])))


def memory(r):
    table("memory", "transom", "Envoy", "nghttpx")
    names = ("transom", "envoy", "nghttpx")
    row("RSS after the run, MiB", *(f"{r['rss_after'][n] / MIB:.1f}" for n in names))
    for kind, idle in r["idle"].items():
        row(f"an idle {kind} connection, KiB", *(f"{idle[n]['each'] / 1024:.1f}" for n in names))
        row(f"RSS with 1,000 of them, MiB", *(f"{idle[n]['rss'] / MIB:.1f}" for n in names))


def transfers(r):
    table("1 GiB through transom", "MiB/s", "CPU ms per MiB", "RSS lowest, MiB", "highest")
    for what, t in r["transfer"].items():
        row(what, f"{t['mib'] / t['seconds']:.0f}", f"{t['cpu_seconds'] / t['mib'] * 1e3:.2f}", f"{t['rss_low'] / MIB:.1f}",
            f"{t['rss_high'] / MIB:.1f}")


def pipeline(r):
    p = r.get("pipeline")
    if not p:
        return
    table("pipeline", "CPU µs: bare", "the same request, no pipeline", "with it", "adds", "Envoy", "Envoy / transom")
    for proto in ("h2", "h1"):
        c = {n: v["cpu_us"] for n, v in p[proto].items()}
        row(f"small/{proto}", f"{c['bare']:.1f}", f"{c['plain']:.1f}", f"{c['pipeline']:.1f}", f"{c['pipeline'] - c['plain']:.2f}",
            f"{c['envoy']:.1f}", f"{c['envoy'] / c['pipeline']:.1f}x")
    f, d = p["first_seen"], p.get("redis")
    print(f"\n- A token seen first: {f['first_us'] - f['again_us']:.1f} µs more than one seen before; OpenSSL's verification alone (`openssl speed`) "
          f"{f['verify_us']:.1f} µs.")
    if d:
        print(f"- The quota in Redis: {d['redis']['cpu_us']:.1f} µs of the gateway's CPU against {d['local']['cpu_us']:.1f} µs for a local one.")


def main():
    import run  # the marks; it needs what run.sh installs
    with open(sys.argv[1], encoding="utf-8") as f:
        r = json.load(f)
    m = r["machine"]
    print(f"{m['date']}, commit {m['commit']}, {m['cpu']}, Linux {m['kernel']}, load {m['load']:.1f} at the start.")
    cases(r, run.RATIOS)
    paced(r)
    pipeline(r)
    memory(r)
    transfers(r)
    check, lookup, heap = r.get("check"), r.get("lookup"), r.get("allocations")
    print()
    if check:
        print(f"- `transom check` on googleapis ({check['files']:,} files, {check['services']:,} services): {check['seconds']:.2f} s, "
              f"peak RSS {check['peak_rss'] / MIB:.0f} MiB.")
    if lookup:
        print(f"- Look-up among {lookup['routes']:,} routes: {lookup['ns']:.0f} ns, among 10: {lookup['ns_of_10']:.0f} ns.")
    if heap and None not in heap.values():
        print("- Heap allocations per warm unary request: "
              + ", ".join(f"{c}/{k} {n:g}" for k, v in heap.items() for c, n in v.items()) + ".")


if __name__ == "__main__":
    main()
