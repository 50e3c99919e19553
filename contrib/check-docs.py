#!/usr/bin/env python3
"""Holds the documents against the sources: links, names, lists that must be complete, and examples.

Usage: contrib/check-docs.py [--examples TRANSOM] [--write] [ROOT]; prints each fault and exits 1 when there is one.

With --examples, the ```console blocks of the documents in EXAMPLES are run in order, each document against a new `transom demo`
(TRANSOM is the binary), and their output is compared with what stands there; --write puts it there instead, and the figures of
performance.md into the README. Other documents of contrib/doc may bring a gateway of their own: a block that follows a line which is
nothing but `` `NAME`: `` is a file; each time that `transom.json` is given, a gateway is started on it, whose backend
(127.0.0.1:50051 in the file) is the demo, and the console blocks up to the next one are run against it. The README's own service is made from its text, and what `transom check`, `routes` and `explain`
say of it is compared too.
"""
import argparse
import json
import pathlib
import re
import subprocess
import sys
import tempfile

PORT = "127.0.0.1:8080"  # of the demo, as the documents write it
ADMIN = "127.0.0.1:9901"
EXAMPLES = ["contrib/doc/transcoding.md", "contrib/doc/operating.md"]
SUFFIXES = ("_bucket", "_sum", "_count")
# Names in capitals that documents may use and errors.def does not have.
GRPC_CODES = set("OK CANCELLED UNKNOWN INVALID_ARGUMENT DEADLINE_EXCEEDED NOT_FOUND ALREADY_EXISTS PERMISSION_DENIED "
                 "RESOURCE_EXHAUSTED FAILED_PRECONDITION ABORTED OUT_OF_RANGE UNIMPLEMENTED INTERNAL UNAVAILABLE DATA_LOSS "
                 "UNAUTHENTICATED".split())
H2_CODES = set("NO_ERROR PROTOCOL_ERROR INTERNAL_ERROR FLOW_CONTROL_ERROR STREAM_CLOSED REFUSED_STREAM CANCEL "
               "ENHANCE_YOUR_CALM INADEQUATE_SECURITY HTTP_1_1_REQUIRED".split())
H2_WORDS = set("SETTINGS GOAWAY WINDOW_UPDATE CONTINUATION HEADERS DATA PING PRIORITY RST_STREAM MAX_CONCURRENT_STREAMS".split())
HTTP_METHODS = set("GET HEAD POST PUT PATCH DELETE OPTIONS CONNECT TRACE".split())
OTHER = set("SIGTERM SIGINT SIGHUP SIGPIPE TRANSOM_DNS_SERVERS TRANSOM_VECTORS TRANSOM_BUILD TRANSOM BUILD TR_VENV DEMO_EXIT PORT "
            "FUZZ_SECONDS LD_PRELOAD TCP_USER_TIMEOUT SO_REUSEPORT MSG_NOSIGNAL CR LF CRLF RS ALPN SNI TLS JSON EAGAIN EMFILE "
            "TR_ARENA_EMULATE TR_SANITIZE TR_FUZZ TR_LTO TR_TESTS NAME CN IDEMPOTENT NO_SIDE_EFFECTS "
            "CONTINUE PAUSE REPLY FAIL GUARD AUTHN AUTHZ QUOTA REWRITE BODY NEVER SAFE COUNTER GAUGE HISTOGRAM "
            "NOT_SENT SENT ANSWERED NDJSON SSE STATUS".split())


def read(root, path):
    return (root / path).read_text()


def slug(heading):
    text = re.sub(r"[`*]|\[|\]\([^)]*\)|\]", "", heading.strip().lower())
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def without_code(text):
    return re.sub(r"```.*?```", "", text, flags=re.S)


def check_links(root, docs, bad):
    for doc in docs:
        text = without_code(read(root, doc))
        for m in re.finditer(r"(?<!\!)\[[^\]]*\]\(([^)\s]+)\)", text):
            target = m.group(1)
            if re.match(r"[a-z]+:", target):
                continue
            path, _, anchor = target.partition("#")
            place = (root / doc).parent / path if path else root / doc
            if not place.exists():
                bad.append(f"{doc}: the link {target} leads nowhere")
            elif anchor and place.suffix == ".md":
                heads = {slug(h) for h in re.findall(r"^#+ (.*)$", place.read_text(), re.M)}
                if anchor not in heads:
                    bad.append(f"{doc}: the link {target} names no heading")


class Names:
    def __init__(self, root):
        self.errors = set(re.findall(r"^TR_ERR\((\w+)", read(root, "src/base/errors.def"), re.M))
        self.metrics = set(re.findall(r'^METRIC\(\w+, "(\w+)"', read(root, "src/obs/metrics.def"), re.M))
        self.steps = set(re.findall(r"^STEP\((\w+)", read(root, "src/pipeline/steps.def"), re.M))
        self.verbs = set(re.findall(r'^    \{"(\w+)", tr_cmd_', read(root, "src/gateway/main.c"), re.M))
        self.options = set(re.findall(r'\{"([a-z-]+)", (?:no|required)_argument', read(root, "src/gateway/args.c")))
        schema = json.loads(read(root, "contrib/doc/configuration.schema.json"))
        self.keys = {"": set(schema["properties"])}
        self.keys.update({title: set(d["properties"]) for title, d in schema["$defs"].items()})
        self.all_keys = set().union(*self.keys.values())

    def has_key(self, dotted):
        table, _, key = dotted.rpartition(".")
        if dotted in self.keys:
            return True
        return key in self.keys.get(table, ())


def check_names(root, docs, names, bad):
    known = names.errors | names.steps | GRPC_CODES | H2_CODES | H2_WORDS | HTTP_METHODS | OTHER
    tables = "|".join(sorted({t.split(".")[0].replace("[]", "") for t in names.keys if t}))
    for doc in docs:
        text = read(root, doc)
        for name in re.findall(r"\b((?:transom|process)_[a-z0-9_]+)\b", text):
            base = next((name[:-len(s)] for s in SUFFIXES if name.endswith(s)), name)
            if name.endswith("_") or re.fullmatch(r"transom_(x|pb|c|name)", name):
                continue
            if name not in names.metrics and base not in names.metrics:
                bad.append(f"{doc}: no metric is named {name}")
        prose = without_code(text)
        for token in re.findall(r"`([^`\n]+)`", prose):
            if re.fullmatch(r"(?!TR_|FUZZ_)[A-Z][A-Z0-9_]{2,}", token) and token not in known and doc.startswith(("README", "contrib/doc/")):
                bad.append(f"{doc}: `{token}` is neither an error nor a name known to check-docs.py")
            if re.fullmatch(rf"(?:{tables})(?:\[\])?\.[a-z_.*\[\]]+", token) and not names.has_key(token):
                bad.append(f"{doc}: no configuration key is named `{token}`")
        for block in re.findall(r"```json\n(.*?)```", text, re.S):
            try:
                value = json.loads(block)
            except ValueError as e:
                bad.append(f"{doc}: a json block is no JSON: {e}")
                continue
            if isinstance(value, dict) and {"descriptors", "upstreams", "services"} & set(value):
                check_config(doc, value, "", names, bad)


def check_config(doc, value, table, names, bad):
    for key, inner in value.items():
        if key not in names.keys[table]:
            bad.append(f"{doc}: a configuration has the key {table}.{key}, which does not exist")
            continue
        base = f"{table}.{key}" if table else key
        for sub, each in ((base, False), (base + "[]", False), (base + ".*", True)):
            if sub not in names.keys:
                continue
            items = inner.values() if each else inner if isinstance(inner, list) else [inner]
            for item in items:
                if isinstance(item, dict):
                    check_config(doc, item, sub, names, bad)


def check_complete(root, names, bad):
    reference = read(root, "contrib/doc/configuration.md")
    errors = read(root, "contrib/doc/errors.md")
    operating = read(root, "contrib/doc/operating.md")
    journey = read(root, "contrib/doc/life-of-a-request.md")
    man = read(root, "contrib/man/transom.1").replace("\\-", "-")
    completion = read(root, "contrib/completion/transom.bash")
    for title, keys in names.keys.items():
        if title and f"\n## {title}\n" not in reference:
            bad.append(f"configuration.md: no section {title}")
        bad += [f"configuration.md: the key {k} of {title or 'the file'} is missing" for k in sorted(keys) if f"| `{k}` |" not in reference]
    bad += [f"errors.md: {e} is missing" for e in sorted(names.errors) if f"| `{e}` |" not in errors]
    for name, kind, labels, text in re.findall(r'^METRIC\(\w+, "(\w+)", (\w+), "([^"]*)", "((?:[^"\\]|\\.)*)"\)', read(root, "src/obs/metrics.def"), re.M):
        row = f"| `{name}` | {kind.lower()} | {', '.join(f'`{label}`' for label in labels.split(',') if label)} | {text} |"
        if row not in operating:
            bad.append(f"operating.md: the row of a metric is missing:\n{row}")
    bad += [f"life-of-a-request.md: the step {s} is missing" for s in sorted(names.steps) if s not in journey]
    for verb in sorted(names.verbs):
        if not re.search(rf"^\.SS .*\b{verb}\b", man, re.M):
            bad.append(f"transom.1: the verb {verb} has no section")
        if not re.search(rf"\b{verb}\b", completion):
            bad.append(f"transom.bash: the verb {verb} is missing")
    for option in sorted(names.options):
        if f"--{option}" not in man:
            bad.append(f"transom.1: the option --{option} is missing")
        if f"--{option}" not in completion:
            bad.append(f"transom.bash: the option --{option} is missing")


def check_threats(root, bad):
    """Every key with which an operator bounds a peer stands in the table of limits."""
    text = read(root, "contrib/doc/threat-model.md")
    schema = json.loads(read(root, "contrib/doc/configuration.schema.json"))
    wanted = {f"limits.{k}" for k in schema["$defs"]["limits"]["properties"]}
    for title in ("policies.*", "upstreams.*", "listeners[]"):
        wanted |= {f"{title}.{k}" for k in schema["$defs"][title]["properties"] if k.startswith("max_") or k.endswith("timeout")}
    bad += [f"threat-model.md: the limit {k} is missing" for k in sorted(wanted) if f"`{k}`" not in text]


def check_adrs(root, bad):
    index = read(root, "contrib/adr/README.md")
    seen = {}
    for path in sorted((root / "contrib/adr").glob("[0-9]*.md")):
        number = path.name[:4]
        title = path.read_text().splitlines()[0]
        if seen.setdefault(number, path.name) != path.name:
            bad.append(f"adr: {path.name} and {seen[number]} have one number")
        if not re.match(rf"# {int(number)}\. \S", title):
            bad.append(f"adr: {path.name} begins with '{title}', not with '# {int(number)}. '")
        if f"({path.name})" not in index:
            bad.append(f"adr: {path.name} is not in README.md")


def check_figures(root, write, bad):
    """The figures of the README are those of performance.md; --write puts them there."""
    source, text = read(root, "contrib/doc/performance.md"), read(root, "README.md")
    when = re.search(r"^`contrib/bench/run.sh`: .*$", source, re.M)
    cases = re.findall(r"^(\| [a-z]+/h[12](?:\+tls)? (?:\| [^|]+ ){3}\| [^|]*x \|)", source, re.M)
    memory = re.findall(r"^(\| (?:RSS|an idle)[^|]*(?:\| [^|]+ ){3}\|)$", source, re.M)
    if not when or len(cases) < 10 or len(memory) < 4:
        bad.append("performance.md: the tables that the README shows are not found")
        return
    new = "\n".join([when.group(0), "", "| case | CPU µs a request: transom | Envoy | nghttpx | Envoy / transom |", "|---|---:|---:|---:|---:|", *cases, "",
                     "| memory | transom | Envoy | nghttpx |", "|---|---:|---:|---:|", *memory])
    m = re.search(r"(<!-- figures: from contrib/doc/performance.md -->\n\n)(.*?)(\n\n<!-- end of figures -->)", text, re.S)
    if write:
        (root / "README.md").write_text(text[:m.start(2)] + new + text[m.end(2):])
    elif m.group(2) != new:
        bad.append("README.md: the figures are not those of performance.md: contrib/check-docs.py --write")


class Demo:
    def __init__(self, transom):
        self.process = subprocess.Popen([transom, "demo", "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        line = self.process.stdout.readline()
        self.address = re.search(r"http://(\S+)", line).group(1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def run(self, command):
        out = subprocess.run(["bash", "-c", f'curl() {{ command curl -sS --max-time 10 "$@"; }}\n{command.replace(PORT, self.address)}'], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20)
        text = out.stdout.decode("utf-8", "backslashreplace").replace("\r", "").replace(self.address, PORT)
        return "\n".join(line.rstrip() for line in text.rstrip("\n").split("\n"))


def parse_console(block):
    """A list of [command, output], a command being what follows '$ ' with its continued lines."""
    pairs, lines = [], block.rstrip("\n").split("\n")
    while lines:
        line = lines.pop(0)
        if line.startswith("$ "):
            command = line[2:]
            while command.endswith("\\") or command.count("'") % 2:
                command += "\n" + lines.pop(0)
            pairs.append([command, []])
        elif pairs:
            pairs[-1][1].append(line)
    return [[c, "\n".join(o)] for c, o in pairs]


def normal(text):
    return re.sub(r"^date: .*$", "date: ...", text.strip("\n"), flags=re.M)


def check_examples(root, transom, write, bad):
    count = 0
    for doc in EXAMPLES:
        text = read(root, doc)
        with Demo(transom) as demo:
            def block(m):
                nonlocal count
                made = []
                for command, old in parse_console(m.group(1)):
                    count += 1
                    new = demo.run(command)
                    if normal(new) != normal(old):
                        if not write:
                            bad.append(f"{doc}: '{command}' answers\n{new}\nand not\n{old}")
                        old = new
                    made.append(f"$ {command}\n{old}".rstrip("\n"))
                return "```console\n" + "\n".join(made) + "\n```"
            new_text = re.sub(r"```console\n(.*?)```", block, text, flags=re.S)
        if write and new_text != text:
            (root / doc).write_text(new_text)
    return count


class Own:
    """A gateway on the files of a document, in front of the demo."""

    def __init__(self, transom, folder, demo):
        config = json.loads((folder / "transom.json").read_text().replace("127.0.0.1:50051", demo.address))
        (folder / "bookstore.pb").write_bytes((pathlib.Path(transom).parents[2] / "descriptors/bookstore.pb").read_bytes())
        config.update({"listeners": [{**listener, "address": "127.0.0.1:0"} for listener in config.get("listeners", [{}])],
                       "admin": {"address": "127.0.0.1:0"}, "workers": 1, "drain_delay": "0s"})
        (folder / "transom.json").write_text(json.dumps(config))
        self.folder, self.log = folder, open(folder / "log", "w+")
        self.process = subprocess.Popen([transom, "serve", "--config", "transom.json"], stdout=subprocess.PIPE, stderr=self.log, text=True, cwd=folder)
        found = re.search(r"//(127\.0\.0\.1:\d+).* admin=http://(\S+)", self.process.stdout.readline())
        if not found:
            self.log.seek(0)
            raise RuntimeError(self.log.read())
        self.address, self.admin = found.groups()

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.log.close()

    def run(self, command, transom):
        command = command.replace(PORT, self.address).replace(ADMIN, self.admin)
        out = subprocess.run(["bash", "-c", f'curl() {{ command curl -sS --max-time 10 "$@"; }}\ntransom() {{ "{transom}" "$@"; }}\n{command}'],
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30, cwd=self.folder)
        text = out.stdout.decode("utf-8", "backslashreplace").replace("\r", "").replace(self.address, PORT).replace(self.admin, ADMIN)
        return "\n".join(line.rstrip() for line in text.rstrip("\n").split("\n"))


def own_examples(doc, text, transom, write, bad):
    """The new text and how many commands were run."""
    count, own, pieces, at = 0, None, [], 0
    with tempfile.TemporaryDirectory() as name, Demo(transom) as demo:
        folder = pathlib.Path(name)
        for m in re.finditer(r"(?:^`([\w.-]+)`:\n\n)?```(\w+)\n(.*?)```", text, re.S | re.M):
            pieces.append(text[at:m.start()])
            at = m.end()
            block = m.group(0)
            if m.group(1):
                (folder / m.group(1)).write_text(m.group(3))
                if m.group(1) == "transom.json":
                    if own:
                        own.stop()
                    try:
                        own = Own(transom, folder, demo)
                    except (RuntimeError, ValueError) as e:
                        bad.append(f"{doc}: the gateway of the example does not start: {e}")
                        return text, count
            elif m.group(2) == "console" and own:
                made = []
                for command, old in parse_console(m.group(3)):
                    count += 1
                    new = own.run(command, transom)
                    if normal(new) != normal(old):
                        if not write:
                            bad.append(f"{doc}: '{command}' answers\n{new}\nand not\n{old}")
                        old = new
                    made.append(f"$ {command}\n{old}".rstrip("\n"))
                block = "```console\n" + "\n".join(made) + "\n```"
            pieces.append(block)
        if own:
            own.stop()
    return "".join(pieces) + text[at:], count


def check_own_examples(root, transom, write, bad):
    count = 0
    for path in sorted((root / "contrib/doc").glob("*.md")):
        doc, text = str(path.relative_to(root)), path.read_text()
        if doc in EXAMPLES or "\n`transom.json`:\n\n```json\n" not in text:
            continue
        new, n = own_examples(doc, text, transom, write, bad)
        count += n
        if write and new != text:
            path.write_text(new)
    return count


def check_readme(root, transom, bad):
    """One's own service, as the README tells it: its files, its descriptor set, and what transom says of them."""
    text, count = read(root, "README.md"), 0
    with tempfile.TemporaryDirectory() as folder:
        for kind, name in (("proto", "greeter.proto"), ("json", "transom.json")):
            pathlib.Path(folder, name).write_text(re.search(rf"```{kind}\n(.*?)```", text, re.S).group(1))
        subprocess.run(["protoc", "-I", ".", "-I", str(root / "protos"), "--include_imports", "--descriptor_set_out=greeter.pb", "greeter.proto"],
                       cwd=folder, check=True)
        for block in re.findall(r"```console\n(.*?)```", text, re.S):
            for command, old in parse_console(block):
                if not re.match(r"transom (check|routes|explain) ", command):
                    continue
                count += 1
                out = subprocess.run(["bash", "-c", f'transom() {{ "{transom}" "$@"; }}\n{command}'], cwd=folder, stdout=subprocess.PIPE,
                                     stderr=subprocess.STDOUT, text=True, timeout=20).stdout
                pattern = ".*".join(re.escape(part) for part in old.strip("\n").split("\n...\n"))  # a line of three dots: some were left out
                if not re.fullmatch(pattern, out.strip("\n"), re.S):
                    bad.append(f"README.md: '{command}' answers\n{out}")
        with Demo(transom) as demo:
            for block in re.findall(r"```console\n(.*?)```", text, re.S):
                pairs = parse_console(block)
                if all(c.startswith("curl ") for c, _ in pairs):
                    for command, old in pairs:
                        count += 1
                        if normal(demo.run(command)) != normal(old):
                            bad.append(f"README.md: '{command}' answers\n{demo.run(command)}")
    return count


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--examples", metavar="TRANSOM", type=lambda t: str(pathlib.Path(t).resolve()))
    p.add_argument("--write", action="store_true")
    p.add_argument("root", nargs="?", default=pathlib.Path(__file__).resolve().parent.parent)
    a = p.parse_args()
    root, bad = pathlib.Path(a.root).resolve(), []
    docs = sorted(str(d.relative_to(root)) for d in [*root.glob("*.md"), *root.glob("contrib/**/*.md"), *root.glob("conformance/**/*.md"),
                                                     *root.glob("tests/**/*.md")])
    names = Names(root)
    check_links(root, docs, bad)
    check_names(root, docs, names, bad)
    check_complete(root, names, bad)
    check_threats(root, bad)
    check_adrs(root, bad)
    check_figures(root, a.write, bad)
    ran = f", {check_examples(root, a.examples, a.write, bad) + check_own_examples(root, a.examples, a.write, bad) + check_readme(root, a.examples, bad)} examples run" if a.examples else ""
    print("\n".join(bad) if bad else f"docs: {len(docs)} documents{ran}, no fault")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
