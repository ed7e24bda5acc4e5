#!/usr/bin/env python3
"""tests/simulate: ddp-train on simulated hosts takes as long as its measured times and the network say, sends what the plan of the
reduction sends, and shows both; skipped where SimGrid is not."""
import csv
import json
import os
import re
import shutil
import subprocess
import sys
import unittest

import harness
from harness import BIN, ROOT

SIMULATE = ROOT / "tests/simulate/simulate"
BLOCK = 4096 * 4  # bytes of what is owned as a whole

# 10 ms forward, 20 ms backward of 32 samples; all else is next to nothing
TIMES = {"data": 0, "rest": 0, "forward": 0.010 / 32, "backward": 0.020 / 32, "optimizer": 1e-12, "add": 1e-12, "wake": 1e-7, "poll": 1e-5}


def why_not():
    if not shutil.which("smpirun"):
        return "SimGrid is not installed (libsimgrid-dev)"
    return None if (BIN.parent / "lib/libddp_train_simulated.so").exists() else "ddp was built without SimGrid"


@unittest.skipIf(why_not(), why_not())
class Simulate(harness.Case):
    def setUp(self):
        super().setUp()
        times = {"model": "mlp", "batch": 32, "cores": 2, "machine": None, "alone": TIMES, "busy": TIMES}
        (self.dir / "times.json").write_text(json.dumps({"times": times, "steps": {"1": [30.0, 30.1], "2": [30.0], "4": [60.2]}}))

    def simulate(self, *args, code=0):
        r = self.run_program(sys.executable, SIMULATE, "--times", self.dir / "times.json", "--model", "mlp", "--batch", 32, "--json",
                             self.dir / "out.json", *args, env={"DDP_BIN": str(BIN), "PYTHONDONTWRITEBYTECODE": "1"}, timeout=100)
        self.assertEqual(r.code, code, r.out + r.err)
        return r.out, json.loads((self.dir / "out.json").read_text())["cluster"]

    def test_steps_of_one_machine(self):
        """One rank, two on two cores, four that share them; held against what the file says was measured."""
        out, _ = self.simulate("--only", "check")
        rows = re.findall(r"^\| (\d) \| ([\d.]+) \| .* \| ([\d.]+) \| ([+-][\d.]+) % \|$", out, re.M)
        self.assertEqual([r[0] for r in rows], ["1", "2", "4"], out)
        for n, simulated in ((0, 30), (1, 30), (2, 60)):
            self.assertAlmostEqual(float(rows[n][2]), simulated, delta=0.01 * simulated)
        times = json.loads((self.dir / "times.json").read_text())
        times["steps"]["2"] = [40]
        (self.dir / "times.json").write_text(json.dumps(times))
        out, _ = self.simulate("--only", "check", code=1)
        self.assertIn("not within 10 % of what was measured: 25 %", out)

    def test_a_cluster(self):
        _, (one, two, four) = self.simulate("--only", "cluster", "--ranks", "16,32,64", "--csv", self.dir / "c.csv")
        self.assertEqual([r["nodes"] for r in (one, two, four)], [1, 2, 4])
        self.assertEqual(one["sent"]["most"], 0)  # in shared memory
        self.assertGreater(one["waits"]["mean"], 0)
        # A host sends its sums of what it does not own, and its results to all others: each about a gradient in all.
        gradient = self.blocks() * BLOCK
        for r in (two, four):
            others = r["nodes"] - 1
            sent = r["sent_bytes"]["mean"] * 16
            self.assertAlmostEqual(sent, gradient * 2 * others / r["nodes"], delta=0.02 * gradient)
            self.assertEqual(r["sent"]["mean"], r["received"]["mean"])
            self.assertGreaterEqual(r["step_s"], 0.030)
            self.assertLess(r["step_s"], 0.033)
            self.assertAlmostEqual(r["samples_per_s"], r["ranks"] * 32 / r["step_s"], delta=1)
            self.assertAlmostEqual(r["parts"]["parts_ms"]["forward"], 10, delta=0.2)
        rows = list(csv.DictReader((self.dir / "c.csv").open()))
        self.assertEqual([(r["nodes"], r["ranks_per_node"], r["local_batch"]) for r in rows], [("1", "16", "32"), ("2", "16", "32"), ("4", "16", "32")])
        read = self.run_program(BIN / "ddp-bench", "scaling", "--read", self.dir / "c.csv")
        self.assertEqual(read.code, 0, read.err)
        # A network of a hundredth of the rate cannot hide a gradient of a megabyte behind 20 ms.
        _, (slow,) = self.simulate("--only", "cluster", "--ranks", "32", "--network", "gigabit")
        self.assertGreater(slow["step_s"], two["step_s"] + gradient / 0.117e9 - 0.020)
        self.assertEqual(slow["sent_bytes"], two["sent_bytes"])

    def test_parts_of_a_step_where_the_optimizer_is_slow(self):
        """Who applies while it waits for messages computes, and does not wait: no part is below 0, and they add up."""
        times = json.loads((self.dir / "times.json").read_text())
        times["times"]["busy"]["optimizer"] = 1e-6  # 100 ms of all elements, 3 of a rank's
        (self.dir / "times.json").write_text(json.dumps(times))
        _, (two,) = self.simulate("--only", "cluster", "--ranks", "32")
        parts = two["parts"]["parts_ms"]
        self.assertGreater(parts["optimizer"], 2)
        self.assertGreater(min(parts.values()), -0.001, parts)
        self.assertAlmostEqual(sum(parts.values()), two["parts"]["ms"], delta=0.05 * two["parts"]["ms"])

    def blocks(self):
        """Of the flat space of mlp: tensors padded to whole ones, and one of metrics."""
        r = self.launch("model=mlp", "train.max_steps=1", "data.test_count=32", "data.train_count=256")
        data = (self.dir / r.run_dir / "model.safetensors").read_bytes()
        tensors = json.loads(data[8:8 + int.from_bytes(data[:8], "little")])
        return 1 + sum(-(-(t["data_offsets"][1] - t["data_offsets"][0]) // BLOCK) for name, t in tensors.items() if name != "__metadata__")


class Slips(harness.Case):
    def test_what_is_refused_before_anything_is_measured(self):
        for args, says in ((["--only", "nix"], "'nix': the parts are check, cluster"), (["--only", "cluster", "--ranks", "0"], "at least 1"),
                           (["--ranks", "4,x"], "whole numbers"), (["--batch", "0"], "at least 1"), (["--steps", "1,2"], "whole numbers"),
                           (["--csv", self.dir / "none/x.csv"], "none/x.csv: No such file"), (["--json", self.dir], "Is a directory"),
                           (["--save", self.dir / "none/t"], "none/t: No such file")):
            with self.subTest(args=args):
                r = self.run_program(sys.executable, SIMULATE, *args)
                self.assertEqual(r.code, 2, r.err)
                self.assertIn(says, r.err)
                self.assertNotIn("Traceback", r.err)
        self.assertEqual(list(self.dir.iterdir()), [])


class Sources(unittest.TestCase):
    def test_reduction_and_transports_know_nothing_of_it(self):
        for folder in ("src/reduce", "src/comm"):
            for path in sorted((ROOT / folder).rglob("*.[ch]")):
                self.assertNotRegex(path.read_text(), r"(?i)smpi|simgrid|simulat", path)


if __name__ == "__main__":
    harness.main()
