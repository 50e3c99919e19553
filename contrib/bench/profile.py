"""Where a case's instructions go: transom under callgrind, by layer and by function. Exact counts, the same on a busy machine.

Usage: VENV/bin/python contrib/bench/profile.py --build BUILD [CASE[/h1|/h2]...]     BUILD: of the preset `bench` (no LTO, so that
functions keep their names and files). Needs valgrind. Default: small, medium, large and stream on h2 and h1.
"""

import argparse
import collections
import contextlib
import pathlib
import re
import signal
import subprocess
import tempfile
import types

import load
import peers
import run

COUNTS = {"small": 2000, "medium": 2000, "large": 200, "stream": 100, "grpc": 2000}


class Valgrind(peers.Transom):
    """Transom.__init__ starts whatever env.transom says: here a wrapper script."""

    def stop(self):
        # SIGTERM drains; callgrind writes its file at exit, which takes longer than for a gateway alone
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
            self.child.wait(60)


def wrapper(env, out):
    script = pathlib.Path(env.folder) / "under-valgrind"
    script.write_text("#!/bin/sh\nexec valgrind --tool=callgrind --instr-atstart=no --callgrind-out-file="
                      f"{out} {env.transom} \"$@\"\n")
    script.chmod(0o755)
    return str(script)


def self_cost(path):
    """Instructions of each (object, file, function) from a callgrind file (its format: names are given once, then by number)."""
    names = collections.defaultdict(dict)
    cost = collections.Counter()
    where = {"ob": "?", "fl": "?", "fn": "?"}
    skip = False
    for line in open(path, encoding="utf-8", errors="replace"):
        line = line.rstrip("\n")
        m = re.match(r"(c?(?:ob|fl|fi|fe|fn))=\((\d+)\)(?: (.*))?$", line)
        if m:
            kind = m[1].lstrip("c")
            table = "fl" if kind in ("fl", "fi", "fe") else kind
            if m[3] is not None:
                names[table][m[2]] = m[3]
            if not m[1].startswith("c"):
                where[table] = names[table].get(m[2], "?")
        elif line.startswith("calls="):
            skip = True  # the next line is the callee's, inclusive
        elif re.match(r"[+\-*\d]", line):
            if skip:
                skip = False
                continue
            parts = line.split()
            if len(parts) >= 2:
                cost[where["ob"], where["fl"], where["fn"]] += int(parts[1])
    return cost


def part_of(obj, file):
    m = re.search(r"/src/(\w+)/", file)
    if m and "transom" in obj:
        return m[1]
    name = pathlib.Path(obj).name
    for known in ("libnghttp2", "libc", "libuv", "libcrypto", "libssl", "ld-linux"):
        if name.startswith(known + ".") or name.startswith(known + "-"):
            return known
    return "inlined libc" if "transom" in obj else name


def profile(env, where, folder):
    name, _, proto = where.partition("/")
    proto, case = proto or "h2", load.CASES[name]
    out = pathlib.Path(folder) / "callgrind.out"
    plain, env.transom = env.transom, wrapper(env, out)
    n = COUNTS[name]
    try:
        with contextlib.ExitStack() as stack:
            backend = run.start(stack, lambda: peers.Backend(env, 1))
            g = run.start(stack, lambda: Valgrind(env, backend.port))
            load.once(env, case, g, proto, False, n)  # warm
            subprocess.run(["callgrind_control", "-i", "on", str(g.pid)], check=True, capture_output=True)
            load.once(env, case, g, proto, False, n)
            subprocess.run(["callgrind_control", "-i", "off", str(g.pid)], check=True, capture_output=True)
    finally:
        env.transom = plain
    cost = self_cost(out)
    total = sum(cost.values())
    parts, functions = collections.Counter(), collections.Counter()
    for (obj, file, fn), c in cost.items():
        parts[part_of(obj, file)] += c
        functions[re.sub(r"'\d+$", "", fn), part_of(obj, file)] += c
    print(f"\n{where}: {total / n:,.0f} instructions a request")
    print("  " + ", ".join(f"{p} {c / total:.1%}" for p, c in parts.most_common() if c / total >= 0.005))
    for (fn, part), c in functions.most_common(12):
        print(f"  {c / n:>10,.0f} {c / total:>6.1%}  {part}: {fn}")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--build", required=True)
    p.add_argument("case", nargs="*")
    args = p.parse_args()
    with tempfile.TemporaryDirectory(prefix="transom-profile-") as folder:
        env = run.environment(types.SimpleNamespace(build=args.build), folder)
        for where in args.case or [f"{c}/{p}" for c in ("small", "medium", "large", "stream") for p in ("h2", "h1")]:
            profile(env, where, folder)


if __name__ == "__main__":
    main()
