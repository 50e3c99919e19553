#!/usr/bin/env python3
"""Refuses an #include that points up the layers, a library outside its files, and banned functions.

Usage: contrib/check-layers.py [ROOT]; prints each violation and exits 1 when there is one.
"""
import pathlib
import re
import sys

LAYERS = [
    {"base"}, {"proto", "json", "io"}, {"http", "obs"}, {"transcode", "route", "upstream"},
    {"pipeline", "config"}, {"filters", "admin"}, {"gateway"},
]
RANK = {name: i for i, names in enumerate(LAYERS) for name in names}
# Siblings of one rank that may include one another, each with its reason.
SIBLINGS = {
    ("config", "pipeline"): "a snapshot holds the pipeline's chains",
    ("pipeline", "config"): "an exchange reads its effective policy",
    ("http", "obs"): "codecs count refusals",
    ("transcode", "route"): "a plan is made of a template",
}
LIBRARIES = {  # header prefix -> files that may include it
    "nghttp2/": r"http/h2_.*|gateway/demo_backend\.c|gateway/version\.c",
    "protobuf-c/": r"gateway/version\.c|proto/(typepool_load(_\w+)?|pbc_alloc|annot|.*\.pb-c)\.[ch]",
    "openssl/": r"io/tls_.*|filters/jwt_key\.c|base/digest\.c|gateway/version\.c",
    "jansson.h": r"config/.*|filters/(jwks|apikey|quota_compile)\.c|gateway/version\.c",
    "ares.h": r"io/dns\.c|gateway/version\.c",
    "uv.h": r"io/.*|gateway/version\.c",
    "hiredis": r"io/kv_redis_answer\.c",
    "zlib.h": r"http/coding_.*|gateway/version\.c",
    "brotli/": r"http/coding_.*|gateway/version\.c",
    "zstd.h": r"http/coding_.*|gateway/version\.c",
}
BANNED = re.compile(r"\b(strcpy|strcat|sprintf|strtok|atoi|atol|atof|gets|strncpy|localtime|gmtime)\s*\(")


def main() -> int:
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    bad = []
    for path in sorted((root / "src").rglob("*.[ch]")):
        rel = path.relative_to(root / "src").as_posix()
        layer = rel.split("/")[0]
        for number, line in enumerate(path.read_text().splitlines(), 1):
            m = re.match(r'\s*#\s*include\s+"([a-z0-9_]+)/', line)
            if m and m.group(1) in RANK and m.group(1) != layer:
                up = RANK[m.group(1)] >= RANK[layer]
                if up and (layer, m.group(1)) not in SIBLINGS:
                    bad.append(f"src/{rel}:{number}: {layer} may not include {m.group(1)}")
            m = re.match(r"\s*#\s*include\s+<([^>]+)>", line)
            if m:
                for prefix, files in LIBRARIES.items():
                    if m.group(1).startswith(prefix) and not re.fullmatch(files, rel):
                        bad.append(f"src/{rel}:{number}: {m.group(1)} belongs to {files}")
            code = re.sub(r'"(\\.|[^"\\])*"', '""', line.split("//")[0])
            if rel != "base/banned.h" and not code.lstrip().startswith(("*", "/*")):
                m = BANNED.search(code)
                if m:
                    bad.append(f"src/{rel}:{number}: {m.group(1)} is banned")
    print("\n".join(bad) if bad else "layers: no violation")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
