"""Runs the built binary on port 0 with a configuration written for the test."""
import copy
import json
import os
import re
import signal
import subprocess
import threading
import urllib.request
from pathlib import Path

from .build import BINARY, descriptor_set, wait_until

TEST_SERVICE = "test.v1.EverythingService"


def base_config(endpoints, **changes):
    """A configuration that serves the test service from these endpoints; changes replace top-level keys."""
    config = {
        "listeners": [{"address": "127.0.0.1:0"}],
        "admin": {"address": "127.0.0.1:0"},
        "workers": int(os.environ.get("TRANSOM_TEST_WORKERS", "2")),
        "drain_delay": "0s",
        "drain_timeout": "5s",
        "descriptors": [str(descriptor_set("everything"))],
        "upstreams": {"main": {"endpoints": list(endpoints)}},
        "services": [{"name": TEST_SERVICE, "upstream": "main"}],
        "policies": {},
        "limits": {},
    }
    for key, value in changes.items():
        config[key] = copy.deepcopy(value)
    return config


def sanitizer_env():
    env = dict(os.environ)
    env["ASAN_OPTIONS"] = "detect_leaks=1:abort_on_error=0:exitcode=99:quarantine_size_mb=16:" + env.get("ASAN_OPTIONS", "")
    env["UBSAN_OPTIONS"] = "print_stacktrace=1:" + env.get("UBSAN_OPTIONS", "")
    return env


REPORT = re.compile(r"ERROR: \w+Sanitizer|runtime error:|WARNING: ThreadSanitizer|assertion", re.I)


class Gateway:
    def __init__(self, tmp_path, config, env=None, name="transom.json"):
        self.dir = Path(tmp_path)
        self.dir.mkdir(parents=True, exist_ok=True)
        self.config_path = self.dir / name
        self.config_path.write_text(json.dumps(config, indent=1))
        self.stderr = ""
        full_env = sanitizer_env()
        full_env.update(env or {})
        self.process = subprocess.Popen(
            [str(BINARY), "serve", "--config", str(self.config_path)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=full_env)
        self._reader = threading.Thread(target=self._read_stderr, daemon=True)
        self._reader.start()
        line = self.process.stdout.readline()
        if not line.startswith("transom listening"):
            self.process.wait(10)
            self._reader.join(5)
            raise AssertionError(f"the gateway did not start (status {self.process.returncode}): {line!r}\n{self.stderr}")
        self.ready_line = line.strip()
        self.urls = [w for w in self.ready_line.split() if re.match(r"https?://", w)]
        self.url = self.urls[0]
        self.port = self.port_of(0)
        found = re.search(r"admin=(\S+)", line)
        self.admin = found.group(1) if found else None

    def port_of(self, listener):
        return int(self.urls[listener].rsplit(":", 1)[1])

    def _read_stderr(self):
        for line in self.process.stderr:
            self.stderr += line

    # -- metrics -----------------------------------------------------------------------------------------------

    def admin_get(self, path):
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(self.admin + path, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as e:
            return e.code, e.read().decode()

    def metrics(self):
        """{(name, frozenset of label pairs): value}"""
        status, text = self.admin_get("/metrics")
        assert status == 200
        out = {}
        for line in text.splitlines():
            if not line or line[0] == "#":
                continue
            name, labels, value = re.fullmatch(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)", line).groups()
            pairs = re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels or "")
            out[name, frozenset(pairs)] = float(value)
        return out

    def metric(self, name, **labels):
        """The sum of a metric over all its rows that have these labels."""
        want = set(labels.items())
        return sum(v for (n, l), v in self.metrics().items() if n == name and want <= l)

    def errors(self, reason):
        return self.metric("transom_errors_total", reason=reason)

    def counts(self, reason):
        """with gateway.counts("BODY_TOO_LARGE"): the block must raise that counter by one."""
        return _Counts(self, reason)

    # -- the end -----------------------------------------------------------------------------------------------

    @property
    def alive(self):
        return self.process.poll() is None

    def rss_bytes(self):
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def signal(self, signum=signal.SIGTERM):
        self.process.send_signal(signum)

    def wait(self, seconds=15):
        status = self.process.wait(seconds)
        self._reader.join(5)
        return status

    def stop(self):
        """SIGTERM; it must end by itself with status 0 and without a sanitizer's report."""
        if self.alive:
            self.signal()
        try:
            status = self.wait()
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGABRT)
            self.process.wait(10)
            raise AssertionError("the gateway did not end after SIGTERM\n" + self.stderr)
        assert not REPORT.search(self.stderr), self.stderr
        assert status == 0, f"the gateway ended with {status}\n{self.stderr}"

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self.stop()
        elif self.alive:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()


class _Counts:
    def __init__(self, gateway, reason):
        self.gateway, self.reason = gateway, reason

    def __enter__(self):
        self.before = self.gateway.errors(self.reason)

    def __exit__(self, kind, *_):
        if kind is None:
            wait_until(f"transom_errors_total{{reason={self.reason}}} grows by one (from {self.before})",
                       lambda: self.gateway.errors(self.reason) >= self.before + 1)
            assert self.gateway.errors(self.reason) == self.before + 1


def run(*args, input=None, timeout=60, env=None):
    """Runs a verb of the binary; returns the finished process."""
    full_env = sanitizer_env()
    full_env.update(env or {})
    done = subprocess.run([str(BINARY), *map(str, args)], input=input, capture_output=True, text=True, timeout=timeout, env=full_env)
    assert not REPORT.search(done.stderr), done.stderr
    return done
