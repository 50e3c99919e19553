"""Runs h1_probe.py against the gateway: every path leads, by GET and POST, to methods of a backend that counts what arrives.

Usage: h1_gateway.py TRANSOM BOOKSTORE_PB; the last line is that of h1_probe.py.
"""
import json
import pathlib
import re
import subprocess
import sys
import tempfile

from recorder import Recorder

HERE = pathlib.Path(__file__).parent


def main() -> int:
    transom, descriptors = sys.argv[1:3]
    with Recorder() as backend, tempfile.TemporaryDirectory() as folder:
        config = pathlib.Path(folder, "transom.json")
        config.write_text(json.dumps({
            "listeners": [{"address": "127.0.0.1:0"}], "workers": 1, "drain_delay": "0s",
            "descriptors": [descriptors],
            "upstreams": {"b": {"endpoints": [f"127.0.0.1:{backend.port}"]}},
            "services": [{"name": "bookstore.v1.Bookstore", "upstream": "b"}],
            "http_rules": [{"selector": "bookstore.v1.Bookstore.GetShelf", "get": "/**"},
                           {"selector": "bookstore.v1.Bookstore.UploadCover", "post": "/**", "body": "image"}],
            "policies": {"*": {"unknown_query": "ignore"}},
        }))
        gateway = subprocess.Popen([transom, "serve", "--config", config], stdout=subprocess.PIPE, text=True)
        try:
            line = gateway.stdout.readline()
            port = re.search(r"http://127\.0\.0\.1:(\d+)", line).group(1)
            return subprocess.run([sys.executable, HERE / "h1_probe.py", "--expected", HERE / "h1_gateway_expected.txt",
                                   "--count", backend.count_url, "127.0.0.1", port]).returncode
        finally:
            gateway.terminate()
            gateway.wait(10)


if __name__ == "__main__":
    sys.exit(main())
