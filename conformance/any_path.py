"""Runs a command against a gateway that serves every path, by GET and by POST with any body, from a backend that counts calls.

Usage: any_path.py TRANSOM BOOKSTORE_PB COMMAND...; in the command {port}, {tls_port} and {count} stand for the cleartext port, the
TLS port and the URL of the count. The exit status is the command's.
"""
import json
import pathlib
import re
import subprocess
import sys
import tempfile

from recorder import Recorder


def certificate(folder: pathlib.Path) -> dict:
    files = {"certificate": str(folder / "cert.pem"), "private_key": str(folder / "key.pem")}
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                    "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
                    "-keyout", files["private_key"], "-out", files["certificate"]], check=True, capture_output=True)
    return files


def main() -> int:
    transom, descriptors, *command = sys.argv[1:]
    with Recorder() as backend, tempfile.TemporaryDirectory() as folder:
        config = pathlib.Path(folder, "transom.json")
        config.write_text(json.dumps({
            "listeners": [{"address": "127.0.0.1:0"}, {"address": "127.0.0.1:0", "tls": certificate(pathlib.Path(folder))}],
            "workers": 1, "drain_delay": "0s",
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
            places = {"port": re.search(r"http://127\.0\.0\.1:(\d+)", line).group(1),
                      "tls_port": re.search(r"https://127\.0\.0\.1:(\d+)", line).group(1), "count": backend.count_url}
            return subprocess.run([arg.format(**places) for arg in command]).returncode
        finally:
            gateway.terminate()
            gateway.wait(10)


if __name__ == "__main__":
    sys.exit(main())
