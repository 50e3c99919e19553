#!/usr/bin/env bash
# Runs the public suites; each is also run by name: conformance/run.sh [SUITE...]
#
#   json_test_suite jose protobuf_json paths llhttp h1_probe h2spec grpc_interop floods httplint googleapis
#
# and, two minutes long and only by name, soak.
#
# Needs a build (BUILD, default build/release). Suites whose data is found through TRANSOM_VECTORS are left out, and named,
# where it is not set. The last line is "N passed, N failed, N skipped"; exits 1 when a case failed that no list expects.
set -uo pipefail
cd "$(dirname "$0")/.."
build=${BUILD:-$PWD/build/release}
transom=$build/src/gateway/transom
out=$build/conformance/log
mkdir -p "$out"
passed=0 failed=0 skipped=0
bad=()

needs_vectors() { case $1 in json_test_suite | jose | paths | llhttp | h1_probe | googleapis) return 0 ;; *) return 1 ;; esac; }

suite_json_test_suite() { "$build/conformance/json_test_suite" "$TRANSOM_VECTORS/JSONTestSuite"; }
suite_jose() { python3 conformance/jose.py "$build/conformance/jose" conformance/jose_expected.txt; }
suite_protobuf_json() { conformance/protobuf_json/run.sh "$build"; }
suite_paths() { python3 conformance/paths.py "$build/conformance/paths" conformance/paths_choices.txt; }
suite_llhttp() { python3 conformance/llhttp_cases.py "$build/conformance/h1_dump" conformance/llhttp_expected.txt; }
# A gateway that serves every path; {port}, {tls_port} and {count} are filled in.
any_path() { "$(conformance/venv.sh)/bin/python" conformance/any_path.py "$transom" "$build/descriptors/bookstore.pb" "$@"; }
suite_h1_probe() { any_path python3 conformance/h1_probe.py --expected conformance/h1_gateway_expected.txt --count {count} 127.0.0.1 {port}; }
suite_h2spec() { any_path conformance/h2spec.sh 127.0.0.1 {port} {tls_port}; }
suite_grpc_interop() { TRANSOM=$transom conformance/grpc_interop.sh; }
suite_floods() { TRANSOM=$transom "$(conformance/venv.sh)/bin/python" conformance/floods.py; }
suite_httplint() { TRANSOM=$transom TRANSOM_BUILD=$build "$(conformance/venv.sh)/bin/python" conformance/httplint_answers.py; }
suite_soak() { TRANSOM_BUILD=$build "$(conformance/venv.sh)/bin/python" conformance/soak.py; }
suite_googleapis() { python3 conformance/googleapis.py "$transom"; }

suites=("$@")
[ $# -gt 0 ] || suites=(json_test_suite jose protobuf_json paths llhttp h1_probe h2spec grpc_interop floods httplint googleapis)
for s in "${suites[@]}"; do
    if needs_vectors "$s" && [ -z "${TRANSOM_VECTORS:-}" ]; then
        echo "$s: left out, TRANSOM_VECTORS is not set"
        skipped=$((skipped + 1))
        continue
    fi
    "suite_$s" >"$out/$s.log" 2>&1
    status=$?
    line=$(grep -aoE '[0-9]+ passed, [0-9]+ failed(, [0-9]+ skipped)?' "$out/$s.log" | tail -1)
    echo "$s: ${line:-did not finish}"
    if [ $status -ne 0 ] || [ -z "$line" ]; then
        bad+=("$s")
        tail -25 "$out/$s.log" | sed 's/^/    /'
    fi
    set -- $(echo "${line:-0 passed, 1 failed}" | tr -cd '0-9 ')
    passed=$((passed + $1)) failed=$((failed + $2)) skipped=$((skipped + ${3:-0}))
done
[ ${#bad[@]} -eq 0 ] || echo "failed: ${bad[*]}"
echo "$passed passed, $failed failed, $skipped skipped"
[ ${#bad[@]} -eq 0 ]
