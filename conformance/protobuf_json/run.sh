#!/bin/sh
# protobuf's own conformance suite, the cases with JSON in or out, against the transcoder.
# Usage: conformance/protobuf_json/run.sh [BUILD_DIR]
# The last line is "N passed, N failed, N skipped"; the exit status is 0 when nothing failed.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
build=${1:-$(dirname "$(dirname "$here")")/build}
venv=$("$here/../venv.sh")
package=$("$venv/bin/python" -c 'import os, protoc; print(os.path.dirname(protoc.__file__))')
work=$build/conformance/protobuf_json.work
testee=$build/conformance/protobuf_json_testee
[ -x "$testee" ] || { echo "no $testee: build first" >&2; exit 2; }
mkdir -p "$work"

messages=conformance/messages
"$package/_bin/protoc" -I "$package/include" --experimental_editions --include_imports --descriptor_set_out="$work/messages.pb" \
    $messages/test_messages_proto2.proto $messages/test_messages_proto3.proto \
    $messages/test_messages_proto2_editions.proto $messages/test_messages_proto3_editions.proto \
    $messages/test_messages_edition2023.proto $messages/test_messages_edition_unstable.proto

# The runner is built for a newer C library than Debian 12 has.
runner=$work/runner
cp "$package/_bin/conformance_test_runner" "$runner"
chmod +x "$runner"
preload=
if ! "$runner" --help >/dev/null 2>"$work/start.txt" && grep -q 'version .* not found' "$work/start.txt"; then
    "$venv/bin/python" "$here/weaken.py" "$package/_bin/conformance_test_runner" "$runner" GLIBC_2.38 GLIBCXX_3.4.32
    ${CC:-cc} -shared -fPIC -o "$work/compat.so" "$here/compat.c"
    preload=$work/compat.so
fi
cat >"$work/testee.sh" <<END
#!/bin/sh
unset LD_PRELOAD
exec "$testee" "$work/messages.pb"
END
chmod +x "$work/testee.sh"

status=0
LD_PRELOAD=$preload "$runner" --enforce_recommended --maximum_edition 2023 --failure_list "$here/failures.txt" \
    --output_dir "$work/" "$work/testee.sh" >"$work/log.txt" 2>&1 || status=$?
"$venv/bin/python" "$here/summary.py" "$work/log.txt" || status=1
exit $status
