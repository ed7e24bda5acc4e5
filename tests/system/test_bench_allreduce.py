#!/usr/bin/env python3
"""ddp-bench allreduce: sums that are right by every way and size, bandwidths as nccl-tests defines them, slips that are told."""
import json
import shutil
import unittest

import harness

BENCH = harness.BIN / "ddp-bench"
PLUGIN = harness.BIN.parent / "lib/libddp_cuda_emu.so"
OURS = ["node", "node-copied", "node-fast", "threads", "threads-fast"]
MPI = ["mpi", "mpi-fast", "MPI", "MPI-han", "MPI-sm", "MPI-adapt"]


class BenchAllreduce(harness.Case):
    def allreduce(self, *args, code=0):
        r = self.run_program(BENCH, "allreduce", *args, timeout=280)
        self.assertEqual(r.code, code, r.err + r.out)
        return r

    def test_every_way_and_size_is_right(self):
        r = self.allreduce("-n", 3, "--sizes", "1K:256K", "--factor", 16, "--repeat", 1, "--json", self.dir / "a.json", "--csv",
                           self.dir / "a.csv", "--svg", self.dir / "a.svg", "--md", self.dir / "a.md")
        report = json.loads((self.dir / "a.json").read_text())
        self.assertEqual(report["ranks"], 3)
        rows = report["allreduce"]
        has_mpi = shutil.which("mpirun") and (harness.BIN / "ddp-bench-mpi").exists()
        ways = OURS + (MPI if has_mpi else [])
        for way in ways:
            mine = [x for x in rows if x["way"] == way]
            if way.startswith("MPI") and not mine:  # an Open MPI without that component
                self.assertIn(f"{way}: not measured", r.out)
                continue
            self.assertEqual([x["bytes"] for x in mine], [1024, 16384, 262144], way)
            for x in mine:
                self.assertEqual(x["wrong"], 0, x)
                self.assertGreaterEqual(x["us"], x["best_us"])
                if x["us"] > 0:
                    self.assertAlmostEqual(x["algbw_gbs"] * x["us"] * 1e3 / x["bytes"], 1, places=5)
                    self.assertAlmostEqual(x["busbw_gbs"] / x["algbw_gbs"], 2 * 2 / 3, places=5)
        self.assertIn("bus GB/s", r.out)
        self.assertIn("machine:", r.out)
        if has_mpi:
            self.assertEqual([x["bytes"] for x in report["against"]], [1024, 16384, 262144])
            self.assertTrue(all(x["ours"] in ("node", "mpi") and x["other"].startswith("MPI") for x in report["against"]))
        self.assertEqual(sorted(p.name for p in self.dir.iterdir()), ["a.csv", "a.json", "a.md", "a.svg"])

    @unittest.skipUnless(PLUGIN.exists(), f"no {PLUGIN}")
    def test_nccl_on_emulated_gpus(self):
        env = {"DDP_CUDA_PLUGIN": str(PLUGIN), "DDP_EMU_QUIET": "1"}
        r = self.run_program(BENCH, "allreduce", "-n", 3, "--sizes", "4100:65600", "--factor", 16, "--repeat", 1, "--json", "-", "nccl", env=env,
                             timeout=280)
        self.assertEqual(r.code, 0, r.err)
        report = json.loads(r.out)
        self.assertEqual([(x["way"], x["bytes"], x["wrong"]) for x in report["allreduce"]], [("NCCL", 4100, 0), ("NCCL", 65600, 0)])
        for x in report["allreduce"]:
            self.assertAlmostEqual(x["algbw_gbs"] * x["us"] * 1e3 / x["bytes"], 1, places=5)
            self.assertAlmostEqual(x["busbw_gbs"] / x["algbw_gbs"], 2 * 2 / 3, places=5)
        r = self.run_program(BENCH, "allreduce", "-n", 3, "--sizes", "4K", "--repeat", 1, "nccl", env={**env, "DDP_EMU_DEVICES": "2"})
        self.assertIn("NCCL: not measured: 3 ranks on 2 GPUs: each wants its own", r.out)
        wrong = self.run_program(BENCH, "allreduce", "-n", 2, "--sizes", "4K", "--repeat", 1, "nccl")
        self.assertIn("NCCL: not measured: no GPU: the plug-in or NVIDIA's driver is not there", wrong.out)

    def test_one_way_on_a_named_host(self):
        r = self.allreduce("-n", 2, "--sizes", "4100", "--repeat", 1, "--json", "-", "threads")  # no whole number of blocks
        rows = json.loads(r.out)["allreduce"]
        self.assertEqual([(x["way"], x["bytes"], x["wrong"]) for x in rows], [("threads", 4100, 0), ("threads-fast", 4100, 0)])

    def test_slips(self):
        for args, says in ((["-n", "0"], "-n 0"), (["--sizes", "1:2"], "whole floats"), (["--sizes", "4M:1K"], "a range of bytes"),
                           (["--sizes", "x"], "a range of bytes"), (["--factor", "1"], "--factor 1"), (["smoke"], "no way's name contains 'smoke'"),
                           (["a", "b"], "one WAY is enough"), (["-H", "a,b", "threads"], "works between hosts")):
            with self.subTest(args=args):
                self.assertIn(says, self.allreduce(*args, code=2).err)
        self.assertEqual(list(self.dir.iterdir()), [])


if __name__ == "__main__":
    harness.main()
