#!/bin/sh
# HTTP/2 conformance by h2spec -S, 146 cases, each in cleartext and over TLS.
#
# Usage: conformance/h2spec.sh                      against conformance/h2_server of a build (BUILD=build/dev)
#        conformance/h2spec.sh HOST PORT [TLS_PORT] against a running gateway; H2SPEC_PATH (default /) must answer GET and
#                                                   POST with at least one byte
# The last line is "N passed, N failed, N skipped"; exits 1 when a case failed.
set -eu

here=$(cd "$(dirname "$0")/.." && pwd)
bin=${XDG_CACHE_HOME:-$HOME/.cache}/transom/bin
out=$(mktemp -d)
pids=
trap 'for p in $pids; do kill "$p" 2>/dev/null || :; done; rm -rf "$out"' EXIT INT TERM

if [ ! -x "$bin/h2spec" ]; then
    mkdir -p "$bin"
    go=$("$here/conformance/go.sh")
    GOBIN=$bin GOFLAGS=-mod=mod GOTOOLCHAIN=local "$go" install github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible >"$out/install" 2>&1 || {
        cat "$out/install" >&2
        exit 2
    }
fi

# Starts h2_server with the arguments; sets $port and adds to $pids.
start() {
    log=$out/server.$#
    : >"$log"
    "$server" 0 "$@" >"$log" 2>&1 &
    pids="$pids $!"
    port=
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        port=$(sed -n 's/^listening on .*:\([0-9]*\)$/\1/p' "$log")
        [ -n "$port" ] && return 0
        sleep 0.1
    done
    cat "$log" >&2
    return 1
}

passed=0 failed=0 skipped=0
# run NAME HOST PORT [FLAGS...]: one pass of the suite.
run() {
    name=$1 host=$2 p=$3
    shift 3
    "$bin/h2spec" -S -o 2 -h "$host" -p "$p" -P "${H2SPEC_PATH:-/}" "$@" >"$out/$name" 2>&1 || :
    line=$(sed -n 's/^\([0-9]* tests, [0-9]* passed, [0-9]* skipped, [0-9]* failed\)$/\1/p' "$out/$name" | tail -1)
    if [ -z "$line" ]; then
        tail -5 "$out/$name" >&2
        echo "$name: h2spec did not finish" >&2
        failed=$((failed + 1))
        return 0
    fi
    # the part of the failures, when there is any
    sed -n '/^Failures/,/^Finished/p' "$out/$name" | sed '$d'
    echo "$name: $line"
    set -- $(echo "$line" | tr -cd '0-9 ')
    passed=$((passed + $2)) skipped=$((skipped + $3)) failed=$((failed + $4))
}

if [ $# -ge 2 ]; then
    run cleartext "$1" "$2"
    if [ $# -ge 3 ]; then
        run tls "$1" "$3" -t -k
    fi
else
    server=${H2_SERVER:-$here/${BUILD:-build/dev}/conformance/h2_server}
    if [ ! -x "$server" ]; then
        echo "h2spec.sh: $server is not built (set BUILD or H2_SERVER)" >&2
        exit 2
    fi
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
        -keyout "$out/key.pem" -out "$out/cert.pem" >/dev/null 2>&1
    start
    run cleartext 127.0.0.1 "$port"
    start "$out/cert.pem" "$out/key.pem"
    run tls 127.0.0.1 "$port" -t -k
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
