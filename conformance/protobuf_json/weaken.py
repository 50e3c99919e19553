#!/usr/bin/env python3
"""Copies an ELF file and makes some of the symbol versions it wants optional.

Usage: weaken.py SRC DST VERSION...

A program built against a newer C library names that library's versions in .gnu.version_r, and the loader refuses to start it where
one is missing, although the few functions of that version may be given by a preloaded library (compat.c). An entry whose flag
VER_FLG_WEAK is set is no reason to refuse.
"""
import os
import struct
import sys

SHT_GNU_VERNEED = 0x6FFFFFFE
VER_FLG_WEAK = 2


def sections(image):
    table, = struct.unpack_from("<Q", image, 40)
    size, count = struct.unpack_from("<HH", image, 58)
    for i in range(count):
        # type, file offset, link
        at = table + i * size
        kind, = struct.unpack_from("<I", image, at + 4)
        offset, = struct.unpack_from("<Q", image, at + 24)
        link, = struct.unpack_from("<I", image, at + 40)
        yield kind, offset, link


def weaken(image, names):
    found = list(sections(image))
    done = set()
    for kind, need, link in found:
        if kind != SHT_GNU_VERNEED:
            continue
        strings = found[link][1]
        while True:
            aux_offset, next_need = struct.unpack_from("<II", image, need + 8)
            aux = need + aux_offset
            while True:
                flags, = struct.unpack_from("<H", image, aux + 4)
                name_offset, next_aux = struct.unpack_from("<II", image, aux + 8)
                start = strings + name_offset
                name = image[start:image.index(0, start)].decode()
                if name in names:
                    struct.pack_into("<H", image, aux + 4, flags | VER_FLG_WEAK)
                    done.add(name)
                if not next_aux:
                    break
                aux += next_aux
            if not next_need:
                break
            need += next_need
    return done


def main():
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    source, target, *names = sys.argv[1:]
    with open(source, "rb") as f:
        image = bytearray(f.read())
    if image[:6] != b"\x7fELF\x02\x01":
        sys.exit(f"{source}: not a 64-bit little-endian ELF file")
    weaken(image, set(names))
    with open(target, "wb") as f:
        f.write(image)
    os.chmod(target, 0o755)


if __name__ == "__main__":
    main()
