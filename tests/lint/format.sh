#!/bin/sh
# All C sources are as clang-format 14 leaves them (other versions differ in small things).
set -eu
cd "$1"
tool=$(command -v clang-format-14 || command -v clang-format || true)
[ -n "$tool" ] || { echo "skipped: no clang-format"; exit 77; }
"$tool" --version | grep -q 'version 14\.' || { echo "skipped: $("$tool" --version), the project is formatted with 14"; exit 77; }
find src include launcher bench tests examples \( -name '*.[ch]' -o -name '*.cu' -o -name '*.cuh' -o -name '*.cpp' \) -print0 | xargs -0 "$tool" --dry-run -Werror
echo "format: clean"
