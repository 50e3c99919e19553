#!/usr/bin/env python3
"""Holds the HTTP/1.1 decoders against the strict request cases of llhttp_cases.json (found through TRANSOM_VECTORS).

Usage: llhttp_cases.py H1_DUMP [EXPECTED]. A case passes when the verdict is the same and, where both accept, so are methods,
targets, headers and bodies. EXPECTED lists cases that are known to differ, `reason<TAB>ID` a line; a listed case that
passes is a failure. Last line: counts. Exit 77 without data.
"""
import json
import os
import pathlib
import re
import subprocess
import sys
import urllib.parse


def told(case: dict) -> tuple[list, bool]:
    """Messages and whether the input is refused, as llhttp's events tell them."""
    messages, now = [], None
    text = {"method": "", "url": "", "header_field": "", "header_value": "", "body": ""}

    def flush_header():
        if text["header_field"] or text["header_value"]:
            now["headers"].append((text["header_field"].lower(), text["header_value"].rstrip(" \t")))
        text["header_field"] = text["header_value"] = ""

    for event in case["events"]:
        if event.startswith("/"):
            continue
        m = re.match(r"off=\d+ len=\d+ span\[(\w+)\]=(.*)$", event, re.S)
        if "message begin" in event:
            now = {"method": "", "url": "", "headers": [], "body": "", "complete": False}
            messages.append(now)
        elif m and now is not None:
            kind, value = m.group(1), m.group(2)[1:-1]
            for escape, byte in (("\\r", "\r"), ("\\n", "\n"), ("\\t", "\t"), ("\\f", "\f"), ('\\"', '"')):
                value = value.replace(escape, byte)
            if kind == "header_field" and text["header_value"] and not now.get("headed"):
                flush_header()
            if kind in ("method", "url", "body"):
                now[kind] += value
            elif kind in text and not now.get("headed"):
                text[kind] += value
        elif "header_value complete" in event and not now.get("headed"):
            flush_header()
        elif "headers complete" in event:
            now["headed"] = True
        elif "message complete" in event:
            now["complete"] = True
    return messages, case["error"] is not None and case["error"]["code"] not in PAUSES


PAUSES = {21, 22, 23}  # the parser stops for an upgrade or because it was told to: no verdict on the bytes


def ours(lines: list[str]) -> tuple[list, bool]:
    messages, refused = [], False
    for line in lines:
        kind, *rest = line.split(" ")
        rest = [urllib.parse.unquote(r, "latin-1").encode("latin-1").decode("utf-8", "replace") for r in rest]
        if kind == "method":
            messages.append({"method": rest[0], "url": "", "headers": [], "body": "", "complete": False})
        elif kind == "target":
            messages[-1]["url"] = rest[0]
        elif kind == "header":
            messages[-1]["headers"].append((rest[0], rest[1]))
        elif kind == "body":
            messages[-1]["body"] = "".join(rest)
        elif kind == "complete":
            messages[-1]["complete"] = True
        elif kind == "error":
            refused = True
    return messages, refused


def ask(dump: subprocess.Popen, data: bytes) -> list[str]:
    dump.stdin.write(len(data).to_bytes(4, "little") + data)
    dump.stdin.flush()
    lines = []
    while (line := dump.stdout.readline().decode().rstrip("\n")) != "end":
        lines.append(line)
    return lines


def main() -> int:
    vectors = os.environ.get("TRANSOM_VECTORS")
    if not vectors:
        print("TRANSOM_VECTORS is not set: skipped")
        return 77
    known = {}
    if len(sys.argv) > 2:
        for line in pathlib.Path(sys.argv[2]).read_text().splitlines():
            if line and not line.startswith("#"):
                reason, _, name = line.partition("\t")
                known[name] = reason
    cases = json.loads((pathlib.Path(vectors) / "llhttp_cases.json").read_text())["cases"]
    passed = failed = skipped = 0
    with subprocess.Popen([sys.argv[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as dump:
        for case in cases:
            if case["type"] != "request":
                skipped += 1
                continue
            data = case["input"].encode()
            lines = ask(dump, data)
            (want, want_refused), (got, got_refused) = told(case), ours(lines)
            if want_refused and lines[-1:] == ["more"]:
                # A malformed line is judged when its end has come, some when the head is complete: bring both.
                lines = ask(dump, data + b"\r\n\r\n")
                got_refused = ours(lines)[1]
            wrong = ""
            if want_refused != got_refused:
                wrong = f"refused: want {want_refused}, got {got_refused} {lines[-1:]}"
            elif not got_refused:
                for w, g in zip([w for w in want if w["complete"]], [g for g in got if g["complete"]]):
                    w["headers"] = [h for h in w["headers"] if h[0] != "host"]
                    for key in ("method", "url", "headers", "body"):
                        if w[key] != g[key]:
                            wrong = f"{key}: want {w[key]!r}, got {g[key]!r}"
                if not wrong and sum(w["complete"] for w in want) != sum(g["complete"] for g in got):
                    wrong = f"messages: want {len(want)}, got {len(got)} {lines[-1:]}"
            if bool(wrong) == (known.pop(case["id"], None) is not None):
                passed += 1
            else:
                failed += 1
                print(f"FAILED: {case['id']}: {wrong or 'passes, but is listed as known to differ'}")
        dump.stdin.close()
    for name in known:
        failed += 1
        print(f"FAILED: {name} is listed but is no case")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
