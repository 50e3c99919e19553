#!/usr/bin/env bash
# Installs what is needed, builds, starts `transom demo` and shows a handful of calls with their answers; then leaves it running
# until Ctrl-C. With DEMO_EXIT=1 it stops after the calls (for tests).
set -euo pipefail
cd "$(dirname "$0")/.."
contrib/packages.sh build
mkdir -p build
echo "building (a minute or two) ..." >&2
cmake --preset release -DTR_TESTS=OFF -B build/demo >build/demo.configure.log 2>&1 || { cat build/demo.configure.log; exit 1; }
cmake --build build/demo --target transom >build/demo.build.log 2>&1 || { tail -40 build/demo.build.log; exit 1; }

log=$(mktemp)
build/demo/src/gateway/transom demo --port "${PORT:-8080}" >"$log" 2>&1 &
pid=$!
trap 'kill -TERM "$pid" 2>/dev/null || true; wait "$pid" 2>/dev/null || true; rm -f "$log"' EXIT
for _ in $(seq 100); do
    base=$(sed -n 's/.* listening \(http:[^ ]*\).*/\1/p' "$log")
    [ -n "$base" ] && break
    kill -0 "$pid" 2>/dev/null || { cat "$log"; exit 1; }
    sleep 0.1
done
[ -n "${base:-}" ] || { cat "$log"; exit 1; }

show() { # as it could be typed
    local word
    printf '\n\033[1m$ curl'
    for word; do
        case $word in
        *[!A-Za-z0-9_./:=-]*) printf " '%s'" "$word" ;;
        *) printf ' %s' "$word" ;;
        esac
    done
    printf '\033[0m\n'
    curl -sS --max-time 10 "$@"
    echo
}
echo "transom demo: a gateway on $base, its gRPC backend in the same process"
show "$base/v1/shelves/fiction/books/moby-dick"
show -H "Content-Type: application/json" -d '{"title": "Ulysses", "authors": [{"name": "James Joyce"}], "pages": 730, "publishTime": "1922-02-02T00:00:00Z"}' "$base/v1/shelves/fiction/books?book_id=ulysses"
show "$base/v1/shelves/fiction/books?page_size=2&filter.genre=FICTION&\$fields=books(name,title),nextPageToken"
show -N -H "Accept: application/x-ndjson" "$base/v1/shelves/fiction/books:stream?\$fields=title"
show -i "$base/v1/shelves/fiction/books/nowhere"
show -i --http2-prior-knowledge "$base/v1/shelves/fiction"
[ -z "${DEMO_EXIT:-}" ] || exit 0
printf '\nrunning on %s until Ctrl-C\n' "$base"
trap 'exit 0' INT TERM
wait "$pid"
