#!/usr/bin/env bash
# Installs what a stage needs, from Debian 12, only when something is missing. Usage: contrib/packages.sh build|check|bench
set -euo pipefail
build=(gcc libc6-dev cmake ninja-build pkg-config python3 libnghttp2-dev libuv1-dev libprotobuf-c-dev protobuf-c-compiler
       protobuf-compiler libjansson-dev libc-ares-dev libhiredis-dev libbrotli-dev libzstd-dev zlib1g-dev libssl-dev curl ca-certificates)
check=("${build[@]}" clang clang-format clang-tidy libclang-rt-14-dev llvm libcmocka-dev python3-venv openssl nghttp2-client git xz-utils redis-server)
bench=("${build[@]}" libcmocka-dev python3-venv openssl nghttp2-client nghttp2-proxy util-linux xz-utils)
case "${1:-build}" in
build) want=("${build[@]}") ;;
check) want=("${check[@]}") ;;
bench) want=("${bench[@]}") ;;
*) echo "usage: $0 build|check|bench" >&2; exit 2 ;;
esac
missing=()
for p in "${want[@]}"; do
    dpkg-query -W -f='${Status}\n' "$p" 2>/dev/null | grep -q 'ok installed' || missing+=("$p")
done
[ ${#missing[@]} -eq 0 ] && exit 0
echo "installing: ${missing[*]}" >&2
sudo=
[ "$(id -u)" -eq 0 ] || sudo=sudo
$sudo apt-get update -qq
DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
