#!/usr/bin/env python3
"""All of googleapis as one configuration: every service loads, every conflict is named once, in bounded time and memory.

Usage: googleapis.py TRANSOM      reads $TRANSOM_VECTORS/googleapis.pb.xz; standard library only

What must come out is computed here from the descriptor set by a reader of its own: services, bindings, and which bindings claim a verb
and a shape (the template without its variables' names) that an earlier one has. The numbers of the public snapshot are asserted too, so
that a reader that sees nothing does not pass. The last line is "N passed, N failed, N skipped"; exits 1 when a check failed.
"""
import collections
import json
import lzma
import os
import re
import subprocess
import sys
import tempfile
import time

# What the snapshot holds: files, services, bindings; (verb, template) pairs claimed more than once.
FILES, SERVICES, BINDINGS, TEXT_CONFLICTS = 6631, 1521, 12791, 293
CPU_S, RSS_MIB, ROUNDS = 1.5, 200, 3
VERBS = {2: "GET", 3: "PUT", 4: "POST", 5: "DELETE", 6: "PATCH"}
HTTP_RULE = 72295728


def varint(b, i):
    value = shift = 0
    while True:
        c = b[i]
        i += 1
        value |= (c & 127) << shift
        shift += 7
        if c < 128:
            return value, i


def records(b, i, end, want):
    """(number, start, end) of the length-delimited fields in want."""
    while i < end:
        key, i = varint(b, i)
        kind = key & 7
        if kind == 2:
            n, i = varint(b, i)
            if key >> 3 in want:
                yield key >> 3, i, i + n
            i += n
        elif kind == 0:
            i = varint(b, i)[1]
        else:
            i += 8 if kind == 1 else 4


def text(b, i, end, number):
    for _, a, e in records(b, i, end, {number}):
        return b[a:e].decode()
    return ""


def bindings(b, i, end):
    verb = path = None
    for n, a, e in records(b, i, end, {*VERBS, 8}):
        if n in VERBS:
            verb, path = VERBS[n], b[a:e].decode()
        else:
            verb, path = text(b, a, e, 1), text(b, a, e, 2)
    yield verb, path
    for _, a, e in records(b, i, end, {11}):
        yield from bindings(b, a, e)


def read_set(b):
    """Number of files, services in order, {service: [(verb, template, method)]}."""
    files, services = 0, collections.OrderedDict()
    for _, a, e in records(b, 0, len(b), {1}):
        files += 1
        package = text(b, a, e, 2)
        for _, sa, se in records(b, a, e, {6}):
            name = ".".join(filter(None, [package, text(b, sa, se, 1)]))
            rules = services.setdefault(name, [])
            for _, ma, me in records(b, sa, se, {2}):
                method = name + "." + text(b, ma, me, 1)
                for _, oa, oe in records(b, ma, me, {4}):
                    for _, ra, re_ in records(b, oa, oe, {HTTP_RULE}):
                        rules.extend((verb, path, method) for verb, path in bindings(b, ra, re_))
    return files, services


def shape(template):
    """The template as the router sees it: variables without their names."""
    return re.sub(r"\{[^}=]*\}", "*", re.sub(r"\{[^}=]*=([^}]*)\}", r"\1", template))


def losers(services):
    """(verb, template, method, verb, template, method of the one that has it already), in order."""
    taken, out = {}, []
    for rules in services.values():
        for verb, path, method in rules:
            first = taken.setdefault((verb, shape(path)), (verb, path, method))
            if first != (verb, path, method):
                out.append((verb, path, method, *first))
    return out


def run(command, out):
    """Status, wall seconds, CPU seconds, peak RSS in MiB."""
    start = time.monotonic()
    child = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
    _, status, use = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    return child.returncode, time.monotonic() - start, use.ru_utime + use.ru_stime, use.ru_maxrss / 1024


class Tally:
    def __init__(self):
        self.passed = self.failed = 0

    def check(self, what, ok, detail=""):
        self.passed += bool(ok)
        self.failed += not ok
        print(f"{'ok  ' if ok else 'FAIL'} {what}{': ' + str(detail) if detail != '' else ''}", flush=True)


UNREACHABLE = re.compile(r"warning: /services/\d+: no method of (\S+) is reachable: none has a google\.api\.http rule, and expose is not all$")
WARNING = re.compile(r"warning: /services/\d+: (\S+) (\S+) of (\S+) is already taken by (\S+) (\S+) of (\S+); the first one serves it$")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    vectors = os.environ.get("TRANSOM_VECTORS")
    if not vectors:
        print("TRANSOM_VECTORS is not set\n0 passed, 0 failed, 1 skipped")
        return 0
    transom, t = sys.argv[1], Tally()
    with open(transom, "rb") as f:
        sanitized = b"__asan_init" in f.read()
    with tempfile.TemporaryDirectory() as tmp:
        path = os.path.join(tmp, "googleapis.pb")
        data = lzma.open(os.path.join(vectors, "googleapis.pb.xz")).read()
        with open(path, "wb") as f:
            f.write(data)
        files, services = read_set(data)
        total = sum(len(r) for r in services.values())
        expected = losers(services)
        pairs = collections.Counter((v, p) for rules in services.values() for v, p, _ in rules)
        same_text = sum(1 for n in pairs.values() if n > 1)
        t.check("the set is read here", (files, len(services), total, same_text) == (FILES, SERVICES, BINDINGS, TEXT_CONFLICTS),
                f"{files} files, {len(services)} services, {total} bindings, {same_text} (verb, template) pairs claimed more than once, "
                f"{len(set(e[3:] for e in expected))} counting variables of other names, {len(expected)} bindings too many")
        config = os.path.join(tmp, "googleapis.json")
        with open(config, "w") as f:
            json.dump({"descriptors": ["googleapis.pb"], "upstreams": {"all": {"endpoints": ["127.0.0.1:9"]}},
                       "services": [{"name": s, "upstream": "all"} for s in services], "on_route_conflict": "first"}, f)

        out = os.path.join(tmp, "out")
        best = None
        for _ in range(1 if sanitized else ROUNDS):
            with open(out, "w") as f:
                got = run([transom, "check", "--config", config], f)
            best = got if best is None or got[2] < best[2] else best
            if got[0] or best[2] < CPU_S / 2:
                break
        status, wall, cpu, rss = best
        with open(out) as f:
            lines = f.read().splitlines()
        t.check("check: exit status 0", status == 0, "" if status == 0 else "\n".join(lines[-10:]))
        figures = f"{cpu:.2f} s of CPU, {wall:.2f} s in all, {rss:.0f} MiB"
        if sanitized:
            print("     with a sanitizer, not asserted: " + figures)
        else:
            t.check(f"check: under {CPU_S} s of CPU", cpu < CPU_S, figures)
            t.check(f"check: under {RSS_MIB} MiB", rss < RSS_MIB, f"{rss:.0f} MiB")
        warnings = [WARNING.search(x) for x in lines if "warning:" in x and not UNREACHABLE.search(x)]
        t.check("check: no other warning", all(warnings), [x for x in lines if "warning:" in x and not WARNING.search(x) and not UNREACHABLE.search(x)][:3] or "")
        unreachable = [m[1] for m in map(UNREACHABLE.search, lines) if m]
        without = [name for name, rules in services.items() if not rules]
        t.check("check: each service without a rule is named once", without and sorted(unreachable) == sorted(without),
                f"{len(unreachable)} named, {len(without)} without")
        named = [w.groups() for w in warnings if w]
        t.check("check: each binding too many is named once, with the one that has its place",
                sorted(named) == sorted(expected), f"{len(named)} warnings, {len(set(named))} different")

        with open(out, "w") as f:
            status = run([transom, "routes", "--config", config, "--json"], f)[0]
        with open(out) as f:
            raw = f.read()
        t.check("routes: exit status 0", status == 0, raw[-300:] if status else "")
        routes = json.loads(raw) if status == 0 else []
        rest = sorted((r["verb"], r["template"], r["method"]) for r in routes if r["dialect"] == "rest")
        lost = collections.Counter(e[:3] for e in expected)
        want = sorted((collections.Counter((v, p, m) for rules in services.values() for v, p, m in rules) - lost).elements())
        t.check("routes: every other binding is a route", rest == want, f"{len(rest)} routes and {len(named)} conflicts: {len(rest) + len(named)} bindings")
        t.check("routes: every method with a rule is there for gRPC",
                {r["method"] for r in routes if r["dialect"] == "grpc"} == {m for rules in services.values() for _, _, m in rules})
    print(f"{t.passed} passed, {t.failed} failed, 0 skipped")
    return 1 if t.failed else 0


if __name__ == "__main__":
    sys.exit(main())
