#!/bin/sh
# Build a sanitizer preset and run the fast unit tests under it (no mpirun: its libraries are not instrumented).
set -eu
renice -n 19 $$ >/dev/null 2>&1 || true # other tests may run beside it
cd "$1"
preset=$2
export CC=gcc
if [ "$preset" = tsan ] && command -v clang >/dev/null 2>&1; then export CC=clang; fi
command -v "$CC" >/dev/null 2>&1 || { echo "skipped: no $CC"; exit 77; }
echo 'int main(void){return 0;}' >"${TMPDIR:-/tmp}/ddp-sanitize-$$.c"
flag=$([ "$preset" = tsan ] && echo thread || echo address,undefined)
if ! "$CC" -fsanitize=$flag -o "${TMPDIR:-/tmp}/ddp-sanitize-$$" "${TMPDIR:-/tmp}/ddp-sanitize-$$.c" 2>/dev/null; then
    rm -f "${TMPDIR:-/tmp}/ddp-sanitize-$$.c"
    echo "skipped: $CC has no -fsanitize=$flag here"
    exit 77
fi
rm -f "${TMPDIR:-/tmp}/ddp-sanitize-$$" "${TMPDIR:-/tmp}/ddp-sanitize-$$.c"
cmake --preset "$preset" >/dev/null
cmake --build --preset "$preset" -- -k 0 | grep -E 'FAILED|error|warning' || true
# one thread alone cannot race: what takes long and has no second one
[ "$preset" = tsan ] && alone='|^test_reduce_(tree|layout|ledger)$|^test_config_|^system_(config_faults|words)$|^fuzz_' || alone=''
ctest --test-dir "build/$preset" -L '^fast$' -LE 'mpi|lint' -E "^lint_$alone" --output-on-failure --no-tests=error -j 2
