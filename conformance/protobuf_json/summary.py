#!/usr/bin/env python3
"""The counts of a log of conformance_test_runner, and its failures; the last line is "N passed, N failed, N skipped".

Usage: summary.py LOG; exits 1 when something failed or fewer cases passed than the suite has with JSON.
"""
import re
import sys

CASES = 2814  # with JSON in or out, editions up to 2023 and the unstable ones; the others are answered "skipped"


def main():
    with open(sys.argv[1], encoding="utf-8", errors="replace") as f:
        log = f.read()
    found = re.findall(
        r"^CONFORMANCE SUITE (\w+): (\d+) successes, (\d+) skipped, (\d+) expected failures, (\d+) unexpected failures",
        log, re.M)
    if not found:
        print(log[-2000:])
        print("0 passed, 1 failed, 0 skipped")
        return 1
    passed = failed = skipped = 0
    for verdict, ok, skip, expected, unexpected in found:
        passed += int(ok)
        skipped += int(skip)
        failed += int(expected) + int(unexpected)
    bad = failed or any(verdict != "PASSED" for verdict, *_ in found)
    if bad:
        for line in log.splitlines():
            if line.startswith("ERROR"):
                print(line[:400])
    if passed < CASES:
        print(f"{passed} cases passed, the suite has {CASES} with JSON")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if bad or passed < CASES else 0


if __name__ == "__main__":
    sys.exit(main())
