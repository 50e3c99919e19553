#!/usr/bin/env python3
"""Writes src/base/num_table.c: the powers of ten that src/base/num.c multiplies by.

Entry k is g = ceil(10^k / 2^r) with r = floor(log2(10^k)) - 127, so that 2^127 <= g < 2^128. Printing (Schubfach)
wants the rounded-up value for every k; parsing (Eisel-Lemire) wants it rounded up for k < 0 and cut off for k >= 0,
which is g - 1 wherever the power is not exact (k > 55).
"""
import sys

MIN, MAX = -342, 324


def entry(k):
    num, den = (10**k, 1) if k >= 0 else (1, 10**-k)
    # floor(log2(num / den)), exactly
    e = num.bit_length() - den.bit_length()
    if (num << max(0, -e)) < (den << max(0, e)):
        e -= 1
    r = e - 127
    num, den = num << max(0, -r), den << max(0, r)
    g = -(-num // den)
    assert 2**127 <= g < 2**128
    # what num.c computes r from, and the borrow that it takes for granted
    assert e == (k * 1741647) >> 19
    assert e == (217706 * k) >> 16
    assert k <= 55 or g & (2**64 - 1) != 0
    return g


def main():
    out = [
        "/* Made by contrib/gen-num-table.py; do not edit. */",
        '#include "base/num_table.h"',
        "",
        "/* clang-format off */",
        "const struct tr_pow10 tr_pow10_table[TR_POW10_MAX - TR_POW10_MIN + 1] = {",
    ]
    for k in range(MIN, MAX + 1):
        g = entry(k)
        out.append(f"    {{0x{g >> 64:016X}u, 0x{g & (2**64 - 1):016X}u}}, /* {k} */")
    out += ["};", "/* clang-format on */", ""]
    sys.stdout.write("\n".join(out))


if __name__ == "__main__":
    main()
