#!/usr/bin/env bash
# Installs a build into a scratch folder, and builds and runs a C program against what is there.
# Usage: check.sh BUILD_DIR
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
build=$1
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
prefix=$scratch/prefix

fail() { echo "FAILED: $*"; exit 1; }
cmake --install "$build" --prefix "$prefix" >/dev/null
lib=$(dirname "$(find "$prefix" -name librunnel.a)")
model=$(find "$prefix/share" -name '*.gguf' 2>/dev/null | head -n 1)

echo "== what is installed"
[ "$(ls "$prefix/include")" = runnel.h ] || fail "more than runnel.h in include/"
[ -e "$lib/librunnel.so" ] || fail "no shared library"
[ "$(objdump -p "$lib/librunnel.so" | awk '$1 == "SONAME" {print $2}')" = librunnel.so.0 ] ||
  fail "wrong SONAME"
exported=$(nm -D --defined-only "$lib/librunnel.so" | awk '{print $NF}' | sort)
[ -n "$exported" ] || fail "nothing is exported"
others=$(grep -v '^runnel_' <<<"$exported" || true)
[ -z "$others" ] || fail "exported beside runnel_*: $others"
declared=$(grep -oE '^RUNNEL_API[^;(]* \*?runnel_\w+\(' "$prefix/include/runnel.h" |
  grep -oE 'runnel_\w+\($' | tr -d '(' | sort)
[ "$declared" = "$exported" ] ||
  fail "declared and exported differ: $(diff <(echo "$declared") <(echo "$exported") || true)"

run() { # program folder-of-library
  local out
  out=$(LD_LIBRARY_PATH=$2 "$1" ${model:+"$model"}) || fail "$1 failed: $out"
  grep -q '^runnel 0\.' <<<"$out" || fail "$1 printed: $out"
  echo "ok: ${1#"$scratch"/}: $(tr '\n' ' ' <<<"$out")"
}

echo "== through CMake"
for kind in static shared default; do
  mkdir -p "$scratch/$kind"
  cp "$here/consumer.c" "$scratch/$kind/"
  cp "$here/consumer.cmake" "$scratch/$kind/CMakeLists.txt"
  cmake -S "$scratch/$kind" -B "$scratch/$kind/build" -DKIND=$kind -DCMAKE_PREFIX_PATH="$prefix" \
    >"$scratch/log" 2>&1 && cmake --build "$scratch/$kind/build" >>"$scratch/log" 2>&1 ||
    { cat "$scratch/log"; fail "CMake consumer, $kind"; }
  run "$scratch/$kind/build/consumer" ""
done
objdump -p "$scratch/static/build/consumer" | grep -q librunnel && fail "static consumer needs librunnel.so"
objdump -p "$scratch/shared/build/consumer" | grep -q librunnel.so.0 || fail "shared consumer lacks librunnel.so.0"

echo "== through pkg-config"
export PKG_CONFIG_PATH=$lib/pkgconfig
flags="-std=c99 -Wall -Wextra -Werror -Wno-unused-result"
cc $flags "$here/consumer.c" -o "$scratch/pc_shared" $(pkg-config --cflags --libs runnel)
run "$scratch/pc_shared" "$lib"
# Where both libraries lie side by side the linker takes the shared one; name the other for it.
static_flags=$(pkg-config --static --cflags --libs runnel | sed 's/-lrunnel\b/-l:librunnel.a/')
cc $flags "$here/consumer.c" -o "$scratch/pc_static" $static_flags
run "$scratch/pc_static" ""
objdump -p "$scratch/pc_static" | grep -q librunnel && fail "static pkg-config consumer needs librunnel.so"

if [ -x "$prefix/bin/runnel" ]; then
  echo "== the installed program"
  "$prefix/bin/runnel" --version </dev/null || fail "runnel --version"
fi
echo "install: all good"
