"""Where the built things are. TRANSOM_BUILD names the build directory; without it, the `dev` preset's."""
import os
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
BUILD = Path(os.environ.get("TRANSOM_BUILD", ROOT / "build" / "dev")).resolve()
BINARY = Path(os.environ.get("TRANSOM_BIN", BUILD / "src" / "gateway" / "transom"))

SANITIZED = BINARY.exists() and any(name in BINARY.read_bytes() for name in (b"__asan_init", b"__tsan_init"))


def descriptor_set(name):
    return BUILD / "descriptors" / (name + ".pb")


def wait_until(what, condition, seconds=10.0):
    """Polls condition until it gives something true, and returns that. Tests have no sleeps; this is the only place that waits."""
    end = time.monotonic() + seconds
    while True:
        got = condition()
        if got:
            return got
        if time.monotonic() > end:
            raise AssertionError(f"timed out after {seconds} s: {what}")
        time.sleep(0.005)
