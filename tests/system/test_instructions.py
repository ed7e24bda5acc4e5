#!/usr/bin/env python3
"""What the hot kernels execute: instructions of one pass under valgrind's callgrind, which no other work on the machine
moves. On AVX2, because Debian 12's valgrind knows no AVX-512; kernels are one source for both.

A count that grew by more than a quarter (compilers differ by less) is a kernel that lost its registers, its unrolling or
its algorithm. One that shrank as much is a new number for the table: --update prints it."""
import pathlib
import re
import shutil
import sys
import unittest

import harness

PROGRAM = harness.BIN / "count_kernels"
LIMIT = 1.25
# layer: millions of instructions, forward and backward; gcc 12, -O3
COUNTS = {
    "conv_tiles": (2.090, 4.426),
    "conv_strided": (1.073, 2.251),
    "conv_first": (0.727, 4.150),
    "linear": (0.697, 1.748),
    "batch_norm": (0.070, 0.117),
    "max_pool": (0.083, 0.055),
}


def count(case, layer, way):
    r = case.run_program("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", "--collect-atstart=no",
                         "--toggle-collect=counted", PROGRAM, layer, way, timeout=300, env={"DDP_ISA": "avx2"})
    found = re.search(r"Collected : (\d+)", r.err)
    case.assertTrue(r.code == 0 and found, r.err)
    return int(found[1]) / 1e6


@unittest.skipUnless(shutil.which("valgrind"), "no valgrind here")
class Instructions(harness.Case):
    def test_no_kernel_executes_more_than_it_did(self):
        if not PROGRAM.exists() or "avx2" not in pathlib.Path("/proc/cpuinfo").read_text():
            self.skipTest("AVX2, and a build without sanitizers, are needed")
        update = "--update" in sys.argv
        for layer, counts in COUNTS.items():
            for way, before in zip(("forward", "backward"), counts):
                now = count(self, layer, way)
                if update:
                    print(f"{layer} {way}: {now:.3f}")
                    continue
                with self.subTest(f"{layer} {way}"):
                    self.assertLess(now, before * LIMIT, "millions of instructions")
                    self.assertGreater(now, before / LIMIT, "millions of instructions: better; renew the table")


if __name__ == "__main__":
    harness.main()
