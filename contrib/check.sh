#!/usr/bin/env bash
# Installs what is needed, builds (gcc; clang with sanitizers) and passes every test.
#
# Usage: contrib/check.sh [STAGE...]; without arguments all stages, in this order:
#   layers   format, includes, libraries, banned functions, documents: those generated from tables, names, links, examples
#   dev      gcc, debug: unit tests, corpora of the fuzz targets
#   asan     clang, address and undefined: the same
#   tidy     clang-tidy on src, as .clang-tidy has it
#   tsan     clang, thread: unit tests of what threads share
#   fuzz     every libFuzzer target for a fixed budget: the same 20,000 inputs in each run; FUZZ_SECONDS=N looks for new ones instead
#   e2e      end-to-end tests against real gRPC servers, on the release build and on the ASan build
#   conformance   the public suites (conformance/run.sh)
# Public test data is found through TRANSOM_VECTORS; where it is not set the suites that need it are left out and named.
set -euo pipefail
cd "$(dirname "$0")/.."
contrib/packages.sh check
jobs=$(nproc)
failed=()
started=$SECONDS

build() { # PRESET [TARGET...]
    local preset=$1
    shift
    cmake --preset "$preset" >build/"$preset".configure.log 2>&1 || { cat build/"$preset".configure.log; return 1; }
    cmake --build --preset "$preset" -j "$jobs" ${@:+--target "$@"} >build/"$preset".build.log 2>&1 || { grep -E 'error|warning|FAILED' build/"$preset".build.log | head -40; return 1; }
}
tests() { # PRESET [CTEST ARGUMENT...]
    local preset=$1
    shift
    ctest --preset "$preset" -j "$jobs" "$@" >build/"$preset".ctest.log 2>&1 || { tail -60 build/"$preset".ctest.log; return 1; }
    tail -4 build/"$preset".ctest.log
}
generated() { # the documents that tables make are those that the tables make now
    local t=build/dev/src/gateway/transom bad=0
    build dev transom || return 1
    diff -u contrib/doc/configuration.md <("$t" reference config) || bad=1
    diff -u contrib/doc/configuration.schema.json <("$t" reference schema) || bad=1
    diff -u contrib/doc/errors.md <("$t" reference errors) || bad=1
    return $bad
}
format() { # the whole tree, as .clang-format has it
    git ls-files 'src/*.[ch]' 'tests/*.[ch]' 'conformance/*.c' 'contrib/*.c' | xargs -P "$jobs" -n 16 clang-format-14 --dry-run -Werror
}
stage_layers() { format && python3 contrib/check-layers.py && generated && python3 contrib/check-docs.py --examples build/dev/src/gateway/transom; }
stage_dev() { build dev && tests dev -LE e2e; }
stage_asan() { build asan && tests asan -LE 'e2e|conformance'; }
stage_tidy() { # build asan has what is generated
    build asan || return 1
    git ls-files 'src/*.c' | xargs -P "$jobs" -n 4 clang-tidy-14 --quiet -p build/asan >build/tidy.log 2>&1 && return 0
    grep -E 'error:' build/tidy.log | sort -u | head -40
    return 1
}
stage_tsan() { build tsan && tests tsan -R 'unit/(base|io|upstream|obs|filters/quota_local)'; }
stage_fuzz() {
    build fuzz || return 1
    local bad=0 name ok
    for target in build/fuzz/tests/fuzz/fuzz_*; do
        [ -x "$target" ] && [ -f "$target" ] || continue
        name=${target##*/fuzz_}
        local budget=(-seed=1 -runs=20000 -max_total_time=12) new
        [ -z "${FUZZ_SECONDS:-}" ] || budget=(-max_total_time="$FUZZ_SECONDS")
        new=$(mktemp -d)
        timeout 600 "$target" "${budget[@]}" -timeout=10 -rss_limit_mb=2048 -artifact_prefix=build/fuzz/crash-"$name"- \
            "$new" tests/fuzz/corpus/"$name" >build/fuzz/"$name".log 2>&1 && ok=1 || ok=0
        rm -rf "$new"
        if [ $ok = 1 ]; then
            echo "fuzz $name: $(grep -oE 'Done [0-9]+ runs' build/fuzz/"$name".log || echo 'no count')"
        else
            echo "fuzz $name: FAILED"; tail -30 build/fuzz/"$name".log; bad=1
        fi
    done
    return $bad
}
# End-to-end tests on one binary. Real servers on a loaded machine can be late: what failed is run once more, and named.
e2e() { # NAME
    local cache=build/pytest-$1
    "$venv/bin/python" -m pytest -o addopts='-ra -q --strict-markers' --no-header -o cache_dir="$PWD/$cache" tests/e2e >build/e2e-"$1".log 2>&1 && { tail -1 build/e2e-"$1".log; return 0; }
    grep -aE '^(FAILED|ERROR)' build/e2e-"$1".log
    [ "$(grep -acE '^(FAILED|ERROR)' build/e2e-"$1".log)" -le 5 ] || { tail -60 build/e2e-"$1".log; return 1; }
    echo "once more:"
    "$venv/bin/python" -m pytest -o addopts='-ra -q --strict-markers' --no-header -o cache_dir="$PWD/$cache" --last-failed tests/e2e
}
stage_e2e() {
    build release transom descriptors bench_backend && build asan transom || return 1
    local venv bad=0
    venv=$(conformance/venv.sh) || return 1
    export TRANSOM_BUILD=$PWD/build/release
    e2e release || bad=1
    TRANSOM_BIN=$PWD/build/asan/src/gateway/transom e2e asan || bad=1
    return $bad
}
stage_conformance() { build release && conformance/run.sh; }

mkdir -p build
stages=("$@")
[ $# -gt 0 ] || stages=(layers dev asan tidy tsan fuzz e2e conformance)
for s in "${stages[@]}"; do
    t=$SECONDS
    echo "== $s"
    if "stage_$s"; then echo "== $s ok ($((SECONDS - t)) s)"; else echo "== $s FAILED ($((SECONDS - t)) s)"; failed+=("$s"); fi
done
echo "$((${#stages[@]} - ${#failed[@]})) stages passed in $((SECONDS - started)) s"
echo "$((${#stages[@]} - ${#failed[@]})) passed, ${#failed[@]} failed"
[ ${#failed[@]} -eq 0 ] || { echo "failed: ${failed[*]}"; exit 1; }
