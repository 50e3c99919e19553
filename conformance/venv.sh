#!/bin/sh
# Makes the Python environment of the suites and prints its path: $TR_VENV, or .venv at the top of the tree.
# Usage: venv=$(conformance/venv.sh)
set -eu
here=$(cd "$(dirname "$0")" && pwd)
venv=${TR_VENV:-$(dirname "$here")/.venv}
stamp=$venv/requirements.installed
if ! cmp -s "$here/requirements.txt" "$stamp" 2>/dev/null; then
    # one at a time: suites may be started side by side
    mkdir -p "$venv"
    exec 9>"$venv/.lock"
    flock 9
    if ! cmp -s "$here/requirements.txt" "$stamp" 2>/dev/null; then
        [ -x "$venv/bin/python" ] || python3 -m venv "$venv" >&2
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$here/requirements.txt" >&2
        cp "$here/requirements.txt" "$stamp"
    fi
fi
echo "$venv"
