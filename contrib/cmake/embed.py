#!/usr/bin/env python3
"""Writes a file as a C array: embed.py INPUT NAME OUTPUT.c OUTPUT.h gives `const char NAME[]` and `NAME_bytes`."""
import pathlib
import sys


def main() -> None:
    source, name, c_file, h_file = sys.argv[1:5]
    data = pathlib.Path(source).read_bytes()
    guard = f"TR_{name.upper()}_H"
    pathlib.Path(h_file).write_text(
        f"/* Made from {pathlib.Path(source).name} at build time. */\n#ifndef {guard}\n#define {guard}\n\n"
        f"#include <stddef.h>\n\nextern const unsigned char {name}[];\nextern const size_t {name}_bytes;\n\n#endif\n")
    rows = [", ".join(f"0x{b:02x}" for b in data[i:i + 16]) for i in range(0, len(data), 16)]
    pathlib.Path(c_file).write_text(
        f'#include "{pathlib.Path(h_file).name}"\n\nconst unsigned char {name}[] = {{\n' + ",\n".join(rows) +
        f"\n}};\nconst size_t {name}_bytes = sizeof {name};\n")


if __name__ == "__main__":
    main()
