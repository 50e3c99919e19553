#!/usr/bin/env python3
"""Runs the exact cases of http1_probe_cases.json (found through TRANSOM_VECTORS) against an HTTP/1.1 server.

Usage: h1_probe.py [--expected FILE] [--count URL] (HOST PORT | SERVER)

SERVER is a program that is started with the argument 0 and prints "listening on HOST:PORT". FILE lists cases that are known
to differ, one `ID reason` a line; a listed case that passes is a failure. With --count, URL answers how many requests the
backend has seen: for each case, no more may have arrived than were answered with success. Last line: counts. Exit 77 without data.
"""
import argparse
import contextlib
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import urllib.request

QUIET = 0.4  # seconds without a byte after which a server is taken to be waiting


def talk(host: str, port: int, request: bytes) -> tuple[bytes, str]:
    """All bytes that come back, and how it ended: close or timeout."""
    got = b""
    with socket.create_connection((host, port), 5) as s:
        s.settimeout(QUIET)
        try:
            s.sendall(request)
            while True:
                part = s.recv(65536)
                if not part:
                    return got, "close"
                got += part
        except socket.timeout:
            return got, "timeout"
        except OSError:
            return got, "close"


def statuses(got: bytes, method: bytes) -> list[tuple[int, dict, bytes]]:
    """The answers in a run of bytes; a strict reader of what our own side may send."""
    answers = []
    while got:
        head, sep, rest = got.partition(b"\r\n\r\n")
        m = re.match(rb"HTTP/1\.1 (\d{3}) [^\r\n]*(?:\r\n|$)", head)
        if not sep or not m:
            raise ValueError(f"not an answer: {got[:60]!r}")
        fields = {}
        for line in head.split(b"\r\n")[1:]:
            name, colon, value = line.partition(b":")
            if not colon or not re.fullmatch(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
                raise ValueError(f"not a header line: {line!r}")
            fields[name.lower().decode()] = value.strip().decode("latin-1")
        status, body = int(m.group(1)), b""
        bodyless = status < 200 or status in (204, 304) or (method == b"HEAD" and not answers)
        if "transfer-encoding" in fields and not bodyless:
            while True:
                size, _, rest = rest.partition(b"\r\n")
                n = int(size, 16)
                body, rest = body + rest[:n], rest[n + 2:]
                if n == 0:
                    break
        elif not bodyless:
            n = int(fields.get("content-length", len(rest)))
            if len(rest) < n:
                raise ValueError("a body is cut short")
            body, rest = rest[:n], rest[n:]
        answers.append((status, fields, body))
        got = rest
    return answers


# What the words of a case ask beyond the status of the answer.
BEYOND = {
    "COMP-DATE-HEADER": lambda a, end: re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", a[1].get("date", "")),
    "COMP-CONTENT-TYPE": lambda a, end: "content-type" in a[1],
    "COMP-405-ALLOW": lambda a, end: "allow" in a[1],
    "COMP-OPTIONS-ALLOW": lambda a, end: "allow" in a[1],
    "COMP-NO-CL-IN-204": lambda a, end: "content-length" not in a[1],
    "COMP-CONNECTION-CLOSE": lambda a, end: end == "close",
    "COMP-HTTP10-DEFAULT-CLOSE": lambda a, end: end == "close",
}


def allows(rule: str, got: str) -> bool:
    if rule == "any":
        return True
    if rule.startswith("!"):
        return not allows(rule[1:], got)
    return rule == got or (rule.endswith("xx") and len(got) == 3 and rule[0] == got[0])


def judge(case: dict, host: str, port: int, count) -> str:
    """Empty when the case passes, else what is wrong."""
    before = count()
    request = case["request"].encode("latin-1")
    raw, end = talk(host, port, request)
    try:
        answers = statuses(raw, request.split(b" ")[0])
    except ValueError as e:
        return str(e)
    final = [a for a in answers if a[0] >= 200]
    got = str(answers[0][0]) if answers else end
    outcomes = {got} | ({str(final[0][0])} if final else set())
    if case["allowed"] and not any(allows(r, o) for r in case["allowed"] for o in outcomes if not r.startswith("!") or o == got):
        return f"got {got}, want {case['expected']}"
    if case["id"] in BEYOND and not BEYOND[case["id"]](final[0], end):
        return f"{got} without what is asked: {case['expected']}"
    refused = [a for a in final if 400 <= a[0] < 500 and a[0] not in (404, 405)]
    if refused and end != "close" and case["category"] in ("Smuggling", "Malformed Input"):
        return f"{got}, but the connection stays open"
    arrived = count() - before
    if arrived > sum(200 <= a[0] < 300 or a[0] in (404, 405) for a in final):
        return f"{arrived} requests arrived behind {len(final)} answers"
    return ""


def counter(url: str | None):
    if not url:
        return lambda: 0
    return lambda: int(urllib.request.urlopen(url, timeout=5).read())


@contextlib.contextmanager
def server(target: list[str]):
    if len(target) == 2:
        yield target[0], int(target[1])
        return
    with subprocess.Popen([target[0], "0"], stdout=subprocess.PIPE, text=True) as p:
        try:
            host, _, port = p.stdout.readline().split()[-1].rpartition(":")
            yield host, int(port)
        finally:
            p.terminate()


def main() -> int:
    ap = argparse.ArgumentParser()
    ap.add_argument("--expected")
    ap.add_argument("--count")
    ap.add_argument("target", nargs="+")
    args = ap.parse_args()
    vectors = os.environ.get("TRANSOM_VECTORS")
    if not vectors:
        print("TRANSOM_VECTORS is not set: skipped")
        return 77
    known = {}
    if args.expected:
        for line in pathlib.Path(args.expected).read_text().splitlines():
            if line and not line.startswith("#"):
                name, _, reason = line.partition(" ")
                known[name] = reason
    cases = json.loads((pathlib.Path(vectors) / "http1_probe_cases.json").read_text())["cases"]
    passed = failed = skipped = 0
    with server(args.target) as (host, port):
        own = len(args.target) == 1
        count = counter(args.count or (f"http://{host}:{port}/count" if own else None))
        for case in cases:
            if "request" not in case:
                skipped += 1
                continue
            wrong = judge(case, host, port, count)
            listed = known.pop(case["id"], None)
            if bool(wrong) == (listed is not None):
                passed += 1
                if wrong:
                    print(f"known: {case['id']}: {wrong} ({listed})")
            else:
                failed += 1
                print(f"FAILED: {case['id']}: {wrong or 'passes, but is listed as known to differ'}")
    for name in known:
        failed += 1
        print(f"FAILED: {name} is listed but is no case")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
