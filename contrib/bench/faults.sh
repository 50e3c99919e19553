#!/bin/sh
# What the gateway does while something fails, as a table. About three minutes; --quick less.
#
# Usage: contrib/bench/faults.sh [--quick] [ROW...]   (ROWs: faults.sh --list)
# Environment: BUILD (a folder of the release preset, build/release), TR_VENV
set -eu
here=$(cd "$(dirname "$0")" && pwd)
top=$(dirname "$(dirname "$here")")
build=${BUILD:-$top/build/release}
"$top/contrib/packages.sh" check >&2
(cd "$top" && cmake --preset release -B "$build" >/dev/null && ninja -C "$build" transom descriptors >/dev/null)
exec "$("$top/conformance/venv.sh")/bin/python" "$here/faults.py" --build "$build" "$@"
