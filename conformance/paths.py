#!/usr/bin/env python3
"""Path and template vectors on the router: paths.py ADAPTER CHOICES, with the data under TRANSOM_VECTORS.

Cases that the published rule decides (`agrees`) must give the listed result. Every other one has its own line in CHOICES,
`id | verdict | reason`; a result that is not the written verdict fails, and so does a choice that is not needed. Verdicts
of paths: `same` (as listed), `none`, `400`, `405`, `conflict`, or `route field=value ...` (values percent-encoded); of
templates: `valid` or `invalid`.
"""
import json
import os
import pathlib
import subprocess
import sys
import urllib.parse

MODES = {"all-except-slash": "slash", "all-except-reserved": "reserved", "all": "all"}


def hexed(text):
    return text.encode().hex()


def unhex(text):
    return bytes.fromhex(text).decode("utf-8", "surrogateescape")


class Batch:
    """Commands are gathered with what reads their answers, and run by one process."""

    def __init__(self):
        self.lines, self.readers = [], []

    def add(self, reader, *fields):
        self.lines.append("\t".join(fields))
        self.readers.append(reader)

    def run(self, adapter):
        done = subprocess.run([adapter], input="\n".join(self.lines) + "\n", capture_output=True, text=True, check=True)
        answers = done.stdout.split("\n")[:-1]
        assert len(answers) == len(self.readers), (len(answers), len(self.readers))
        for reader, answer in zip(self.readers, answers):
            if reader:
                reader(answer.split("\t"))


class Tally:
    def __init__(self, choices):
        self.passed = self.failed = 0
        self.choices, self.used = choices, set()

    def check(self, good, name, *detail):
        self.passed += bool(good)
        self.failed += not good
        if not good:
            print("FAIL", name, *detail)

    def choice(self, name):
        self.used.add(name)
        return self.choices.get(name)


def read_choices(path):
    choices = {}
    for line in pathlib.Path(path).read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            name, verdict, reason = (part.strip() for part in line.split("|", 2))
            assert reason and name not in choices, line
            choices[name] = verdict
    return choices


def request_path(request):
    if "path" in request:
        return request["path"].split("?")[0]
    return "".join(p if isinstance(p, str) else p["repeat"] * p["count"] for p in request["path_gen"])


def verdict_text(route, bindings):
    return " ".join([route] + [f"{f}={urllib.parse.quote(v, safe='')}" for f, v in bindings])


def add_path_case(batch, tally, case):
    state = {"conflict": False}
    options, request, expect = case.get("options", {}), case["request"], case["expect"]

    def added(answer):
        if answer[0] == "conflict":
            state["conflict"] = True
        # routes with nested variables are left out; where another is refused the case must be chosen so
        elif answer[0] == "no" and not (options.get("nested_variables") and "nest" in answer[2]):
            state["refused"] = True

    def matched(answer):
        got = "conflict" if state["conflict"] else answer[0]
        bindings = []
        if got.startswith("r") and len(answer) > 1:
            for part in answer[1].split(";")[:-1]:
                field, value = part.split("=")
                bindings.append((field, unhex(value)))
        listed = expect["route"] == got or (expect["route"] is None and got in ("none", "405", "400", "conflict"))
        if listed and got.startswith("r") and "bindings" in expect:
            query = [kv.split("=")[0] for kv in request.get("query", "").split("&") if kv]
            mine = dict(bindings)
            want = [(b["field"], b["value"]) for b in expect["bindings"]
                    if b["field"] not in query or b["field"] in mine]
            listed = sorted(want) == sorted(bindings)
        ours = verdict_text(got, bindings)
        choice = tally.choice(case["id"])
        if choice is None:
            tally.check(listed and case["spec"] == "agrees" and "refused" not in state, case["id"], case["spec"], "ours:", ours, "listed:",
                        expect, case.get("note", ""))
        elif choice == "same":
            tally.check(listed and case["spec"] != "agrees", case["id"], "ours:", ours, "chosen: as listed,", expect)
        else:
            tally.check(choice == ours, case["id"], "ours:", ours, "chosen:", choice)

    batch.add(None, "N")
    for route in case["routes"]:
        batch.add(added, "A", route["id"], route["method"], hexed(route["template"]))
    batch.add(None, "F")
    mode = MODES.get(options.get("path_unescape", "all-except-reserved"), "reserved")
    batch.add(matched, "M", request["method"], mode, hexed(request_path(request)))


def normal(literal):
    """The normal form of a literal, independently of the C code."""
    out, i = "", 0
    while i < len(literal):
        if literal[i] == "%":
            c = chr(int(literal[i + 1:i + 3], 16))
            out += c if c.isascii() and (c.isalnum() or c in "-._~") else literal[i:i + 3].upper()
            i += 3
        else:
            out += literal[i]
            i += 1
    return out


def add_template_case(batch, tally, case):
    def parsed(answer):
        ours = "valid" if answer[0] == "ok" else "invalid"
        choice = tally.choice(case["id"])
        if choice is None:
            tally.check(ours == case["consensus"], case["id"], case["template"], "ours:", ours, answer)
        else:
            tally.check(ours == choice and ours != case["consensus"], case["id"], case["template"], "ours:", ours, answer)
        if ours != "valid":
            return
        segments = [unhex(s) for s in answer[1].split(";")[:-1]]
        variables = sorted(tuple(v.split(":")) for v in answer[3].split(";")[:-1])
        for claim in case["assertions"]:
            name = case["id"] + " " + claim["implementation"]
            if "segments" in claim:
                tally.check(segments == [normal(s) for s in claim["segments"]], name, segments, claim["segments"])
            if "verb" in claim:
                tally.check(unhex(answer[2]) == normal(claim["verb"]), name, answer[2], claim["verb"])
            if claim.get("variables"):
                want = sorted((v["field"], str(v["start"]), str(v["end"])) for v in claim["variables"])
                tally.check(variables == want, name, variables, want)

    batch.add(parsed, "T", hexed(case["template"]))


def pieces(template):
    """Segments and verb of a template, for making paths that match it."""
    cut = template.rfind(":")
    verb = ""
    if cut > max(template.rfind("/"), template.rfind("}")):
        template, verb = template[:cut], template[cut:]
    flat = ""
    for part in template[1:].replace("{", "\0{").replace("}", "}\0").split("\0"):
        if part.startswith("{"):
            part = part[1:-1].split("=", 1)[1] if "=" in part else "*"
        flat += part
    return (flat.split("/") if flat else []), verb


def expansions(segments, length):
    """The segments with '**' as so many '*' that there are `length` of them."""
    if "**" not in segments:
        return segments if len(segments) == length else None
    at, more = segments.index("**"), length - len(segments) + 1
    return segments[:at] + ["*"] * more + segments[at + 1:] if more >= 0 else None


def witnesses(a, b):
    """Paths that are as likely to match both as any."""
    (sa, va), (sb, vb) = pieces(a), pieces(b)
    for length in range(0, len(sa) + len(sb) + 1):
        ea, eb = expansions(sa, length), expansions(sb, length)
        if ea is not None and eb is not None:
            for verb in {va, vb}:
                yield "/" + "/".join(y if x == "*" else x for x, y in zip(ea, eb)).replace("*", "w") + verb


def add_overlap_case(batch, tally, case):
    """Both in one router, under different verbs: they overlap when some path is served under either."""
    served = {"GET": set(), "POST": set()}

    def matched(verb, path):
        return lambda answer: answer[0] == "r" and served[verb].add(path)

    batch.add(None, "N")
    batch.add(None, "A", "r", "GET", hexed(case["a"]))
    batch.add(None, "A", "r", "POST", hexed(case["b"]))
    batch.add(None, "F")
    for path in witnesses(case["a"], case["b"]):
        for verb in served:
            batch.add(matched(verb, path), "M", verb, "slash", hexed(path))
    # judged when the last answer has been read
    batch.add(lambda _: tally.check(bool(served["GET"] & served["POST"]) == case["overlap"], case["id"], served), "N")


def add_googleapis(batch, tally, templates):
    known = []

    def added(template, kind, name):
        def read(answer):
            tally.check(answer[0] in ("ok", "conflict"), name, template, answer)
            if answer[0] == "ok":
                known.append(name)
        return read

    def found(template):
        def read(answer):
            tally.check(answer[0].startswith("g"), "found " + template, answer)
        return read

    batch.add(None, "N")
    for i, item in enumerate(templates):
        for kind in item["kinds"]:
            batch.add(added(item["template"], kind, f"g{i}"), "A", f"g{i}", kind.upper(), hexed(item["template"]))
    batch.add(lambda answer: print(f"googleapis: {answer[1]} routes are hidden by others"), "F")
    for item in templates:
        segments, verb = pieces(item["template"])
        path = "/" + "/".join("d1/d2" if s == "**" else "s1" if s == "*" else s for s in segments) + verb
        batch.add(found(item["template"]), "M", item["kinds"][0].upper(), "slash", hexed(path))


def main():
    adapter, choices_path = sys.argv[1:3]
    vectors = os.environ.get("TRANSOM_VECTORS")
    if not vectors:
        print("TRANSOM_VECTORS is not set")
        print("0 passed, 0 failed, 1 skipped")
        return 77
    folder = pathlib.Path(vectors)
    tally, batch = Tally(read_choices(choices_path)), Batch()
    for case in json.loads((folder / "path_vectors.json").read_text())["cases"]:
        add_path_case(batch, tally, case)
    templates = json.loads((folder / "template_parse_vectors.json").read_text())
    for case in templates["templates"]:
        add_template_case(batch, tally, case)
    for case in templates["overlap"]:
        add_overlap_case(batch, tally, case)
    add_googleapis(batch, tally, json.loads((folder / "googleapis_templates.json").read_text())["templates"])
    batch.run(adapter)
    for name in sorted(set(tally.choices) - tally.used):
        tally.check(False, name, "is in the choices and in no vector")
    print(f"{tally.passed} passed, {tally.failed} failed, 0 skipped")
    return 1 if tally.failed else 0


if __name__ == "__main__":
    sys.exit(main())
