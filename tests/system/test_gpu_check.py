#!/usr/bin/env python3
"""scripts/gpu-check, on the emulated GPU: an installed and bundled ddp, beside an nvidia-smi that shows a GPU."""
import os
import pathlib
import shutil
import subprocess
import tarfile
import tempfile
import unittest

import harness
from harness import BIN, ROOT

BUILD = BIN.parent
PLUGIN = BUILD / "lib/libddp_cuda_emu.so"
CHECK = ROOT / "scripts/gpu-check"
SMALL = "model=linear data.train_count=1024 data.test_count=64 train.batch=64 train.epochs=1"


class GpuCheck(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.shared = pathlib.Path(tempfile.mkdtemp(prefix="ddp-test-gpu-check-"))
        cls.addClassCleanup(shutil.rmtree, cls.shared, ignore_errors=True)
        cls.prefix = cls.shared / "ddp"
        subprocess.run(["cmake", "--install", BUILD, "--prefix", cls.prefix], check=True, capture_output=True)
        subprocess.run([ROOT / "scripts/bundle", cls.prefix, BUILD], check=True, capture_output=True)

    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="case-", dir=self.shared))
        self.bin = self.dir / "bin"
        self.bin.mkdir()
        self.program("nvidia-smi", 'echo "Emulated GPU, 580.00, 2048 MiB, 9.0"')

    def program(self, name, text):
        (self.bin / name).write_text(f"#!/bin/sh\n{text}\n")
        (self.bin / name).chmod(0o755)

    def check(self, *args, code=0, plugin=PLUGIN, **env):
        env = {**harness.environment(self.dir), "PATH": f"{self.bin}:{os.environ['PATH']}", "GPU_CHECK_WORDS": SMALL, **env}
        env.pop("CUDA_VISIBLE_DEVICES")
        r = subprocess.run([CHECK, self.prefix, "--out", self.dir / "out", *(["--plugin", plugin] if plugin else []), *args], cwd=self.dir,
                           env=env, capture_output=True, text=True, timeout=240)
        self.assertEqual(r.returncode, code, r.stdout + r.stderr)
        return r.stdout + r.stderr

    def test_bits_are_compared_and_kept(self):
        first = self.check("--only", "bits")
        self.assertEqual(first.count("same bits ("), 6, first)
        self.assertRegex(first, "ddp starts here +ddp-train ")
        again = self.check("--only", "bits")  # what passed is not done again
        self.assertNotIn("same bits", again)
        table = (self.dir / "out/table.txt").read_text()
        self.assertEqual(table.count("same bits ("), 6, table)
        with tarfile.open(self.dir / "out/logs.tar.gz") as logs:
            self.assertTrue({"./table.txt", "./bits-2.err"} < set(logs.getnames()), logs.getnames())

    def test_other_bits_are_a_failure_that_is_tried_again(self):
        (self.dir / "out").mkdir()
        (self.dir / "out/reference").write_text("0123456789abcdef\n")
        self.assertEqual(self.check("--only", "bits", code=1).count("OTHER BITS (0123456789ab, "), 6)
        (self.dir / "out/reference").unlink()
        self.assertEqual(self.check("--only", "bits").count("same bits ("), 6)

    def test_a_run_that_fails_says_why(self):
        text = self.check("--only", "bits", code=1, GPU_CHECK_WORDS=f"{SMALL} train.batch=0")
        self.assertRegex(text, "the same run again +FAILED: .*train.batch")

    def test_the_plug_in_is_built_with_what_is_here(self):
        """Neither the compiler nor cmake sees the bundle's libraries; ninja will do where there is no make."""
        self.program("nvcc", 'echo "Cuda compilation tools, release 13.0, V13.0.48"')
        self.program("ninja", "exit 0")
        self.program("cmake", 'echo "$LD_LIBRARY_PATH|$OPAL_PREFIX|$*"; echo "Error: stop here"; exit 1')
        text = self.check("--no-bench", code=3, plugin=None, LD_LIBRARY_PATH="/own", CUDA_HOME=str(self.dir))
        self.assertIn("the plug-in cannot be built", text)
        said = (self.dir / "out/build.log").read_text()
        self.assertTrue(said.startswith("/own||-G Ninja -S "), said)

    def test_what_is_missing_is_named(self):
        self.assertIn("there is no piece 'speed'; there are: build load", self.check("--only", "speed", code=2))
        self.assertIn("does not load", self.check("--only", "load", code=3, plugin=BUILD / "lib/libddp.so"))
        self.program("nvidia-smi", "exit 9")
        self.assertIn("no CUDA device: nvidia-smi shows none", self.check(code=3))


if __name__ == "__main__":
    for need, why in ((PLUGIN, "no emulated GPU in this build"), (shutil.which("mpirun"), "no mpirun"), (shutil.which("ompi_info"), "no ompi_info")):
        if not need or not os.path.exists(need):
            print(f"skipped: {why}")
            raise SystemExit(harness.SKIP)
    version = subprocess.run(["mpirun", "--version"], capture_output=True, text=True).stdout
    if "Open MPI) 4." not in version:
        print("skipped: scripts/bundle knows Open MPI 4")
        raise SystemExit(harness.SKIP)
    harness.main()
