#!/bin/sh
# Everything compiles without a warning under clang too (the release build of CI is gcc's, see lint of quickstart).
set -eu
cd "$1"
command -v clang >/dev/null 2>&1 || { echo "skipped: no clang"; exit 77; }
for cc in gcc clang; do
    CC=$cc cmake -S . -B "build/warnings-$cc" -G Ninja -DCMAKE_BUILD_TYPE=Release -DDDP_WERROR=ON -DDDP_TESTS=ON >/dev/null
    cmake --build "build/warnings-$cc" >"build/warnings-$cc/log" 2>&1 || { grep -E 'error|warning' "build/warnings-$cc/log" | head -n 40; exit 1; }
done
echo "warnings: none"
