#!/usr/bin/env python3
"""ddp-bench scaling: a curve whose losses add up, planted causes that come out first, the CSV of course sessions there and back, rounds
that end as they should."""
import csv
import json
import os
import subprocess
import sys
import unittest

import harness
from harness import ROOT

BENCH = harness.BIN / "ddp-bench"
CAUSES = ["data", "communication", "imbalance", "shared_core", "memory", "frequency", "serial", "remainder"]
QUICK = ["-n", "1,2", "--repeat", 1, "--steps", 12]
MLP = ["model=mlp", "--batch", 32]
# Six passes over pictures of which a batch does not fit into a cache, and next to nothing to compute or to reduce.
HOG = """model: { layers = (%s {type = "global_avg_pool"}, {type = "flatten"}, {type = "linear", out = "classes"},
                            {type = "softmax_cross_entropy"}); };
data: { format = "noise"; name = "noise"; shape = [1, 64, 64]; classes = 10; train_count = 4096; test_count = 64; };
""" % " ".join('{type = "batch_norm"}, {type = "relu"},' for _ in range(6))


class BenchScaling(harness.Case):
    def scaling(self, *args, code=0, env=None):
        r = self.run_program(BENCH, "scaling", *args, timeout=400, env=env)
        self.assertEqual(r.code, code, r.err + r.out)
        return r

    def report(self, *args, env=None):
        r = self.scaling("--json", self.dir / "s.json", *args, env=env)
        report = json.loads((self.dir / "s.json").read_text())
        report["text"] = r.out
        return report

    def test_the_curve_and_its_losses(self):
        report = self.report(*QUICK, *MLP, "--csv", self.dir / "s.csv", "--svg", self.dir / "s.svg", "--md", self.dir / "s.md")
        curve = {(p["scaling"], p["ranks"]): p for p in report["curve"]}
        self.assertEqual(sorted(curve), [("strong", 1), ("strong", 2), ("weak", 1), ("weak", 2)])
        self.assertEqual([curve[k]["local_batch"] for k in sorted(curve)], [32, 16, 32, 32])
        for p in curve.values():
            base = curve[p["scaling"], 1]
            self.assertAlmostEqual(p["speedup"], p["samples_per_s"] / base["samples_per_s"], places=6)
            self.assertAlmostEqual(p["efficiency_percent"], 100 * p["speedup"] / p["ranks"], places=4)
            self.assertAlmostEqual(p["hours"], 6e6 / p["samples_per_s"] / 3600, places=6)
            self.assertAlmostEqual(p["rank_hours"], p["hours"] * p["ranks"], places=6)
        self.assertEqual(sum("fastest" in p["best"] for p in curve.values()), 1)
        self.assertEqual(sum("cheapest" in p["best"] for p in curve.values()), 1)
        self.assertEqual([(l["scaling"], l["ranks"]) for l in report["losses"]], [("weak", 2), ("strong", 2)])
        for l in report["losses"]:
            self.assertAlmostEqual(sum(l[c + "_ms"] for c in CAUSES), l["loss_ms"], delta=1e-6 * l["step_ms"])
            self.assertAlmostEqual(l["step_ms"] - l["ideal_ms"], l["loss_ms"], delta=1e-6 * l["step_ms"])
        self.assertEqual({m["model"] for m in report["models"]}, {"constant", "tree", "shared", "Amdahl"})
        self.assertIn("no error of a model can be told", report["text"])
        self.assertEqual(report["predictions"], [])
        self.assertIn("too few for intervals of 95 %", report["text"])
        self.assertIn("the most that were asked for (--repeat)", report["text"])
        self.assertIn("How long a run must be", report["text"])
        self.assertIn("stroke-dasharray", (self.dir / "s.svg").read_text())  # the ideal

        self.assertEqual([m["ranks_per_host"] for m in report["machine_at_once"]], [1, 2])
        self.assertTrue(all(m["ghz"] > 0.1 and m["gb_s"] > 0 for m in report["machine_at_once"]))
        # Its CSV begins as those of courses do, and is read again with the same result.
        rows = list(csv.reader((self.dir / "s.csv").read_text().splitlines()))
        self.assertEqual(rows[0][:4], ["nodes", "ranks_per_node", "local_batch", "samples_per_s"])
        again = self.report("--read", self.dir / "s.csv")
        self.assertEqual([round(p["speedup"], 5) for p in again["curve"]], [round(p["speedup"], 5) for p in report["curve"]])
        self.assertNotIn("losses", again)

    def first(self, *args, env=None):
        """What takes most of the loss of two ranks; the best of three tries, because whatever else runs here is a cause, too."""
        for _ in range(3):
            report = self.report(*QUICK, "--weak", *args, env=env)
            (loss,) = report["losses"]
            self.assertAlmostEqual(sum(loss[c + "_ms"] for c in CAUSES), loss["loss_ms"], delta=1e-6 * loss["step_ms"])
            yield loss

    def assert_first(self, cause, *args, env=None):
        losses = []
        for loss in self.first(*args, env=env):
            if loss["first"] == cause:
                return loss
            losses.append(loss)
        self.fail(f"{cause} never came first: {losses}")

    def test_a_slow_loader(self):
        loss = self.assert_first("data", *MLP, env={"DDP_TEST_DELAY": "1:data:1-1000:0.25"})
        self.assertGreater(loss["data_ms"], 200)

    def test_a_slow_rank(self):
        loss = self.assert_first("imbalance", *MLP, env={"DDP_TEST_DELAY": "1:backward:1-1000:0.25"})
        self.assertGreater(loss["imbalance_ms"], 200)

    @unittest.skipIf(len(os.sched_getaffinity(0)) < 2, "wants two cores")
    def test_a_shared_core(self):
        """Five busy processes on the second rank's core: it has a sixth of it, and steps are longer than their turns."""
        cpu = sorted(os.sched_getaffinity(0))[1]
        if os.getloadavg()[0] > 2 * os.cpu_count():
            self.skipTest("the cores are shared already: one rank alone has as little of its own")
        hog = f"import os\nos.sched_setaffinity(0, [{cpu}])\nwhile True: pass"
        for _ in range(5):
            p = subprocess.Popen([sys.executable, "-c", hog], stdin=subprocess.DEVNULL)
            self.addCleanup(p.wait)
            self.addCleanup(p.kill)
        self.assert_first("shared core", "model=mnist_cnn", "--batch", 48)

    @unittest.skipIf(len(os.sched_getaffinity(0)) < 2, "wants two cores")
    def test_ranks_that_want_the_same_memory(self):
        """Each rank is a hog to the other: what two at once get of the memory is less than what one alone gets."""
        (self.dir / "hog.cfg").write_text(HOG)
        losses = []
        for _ in range(3):
            report = self.report(*QUICK, "--weak", "--batch", 24, self.dir / "hog.cfg")
            alone, both = report["machine_at_once"]
            losses.append((alone["gb_s"], both["gb_s"], report["losses"][0]))
            if report["losses"][0]["first"] == "memory":
                self.assertGreater(report["losses"][0]["memory_ms"], 0.1 * report["losses"][0]["step_ms"])
                return
        if all(both > 0.85 * alone for alone, both, _ in losses):
            self.skipTest("this machine has memory enough for two")
        if all(l["shared_core_ms"] > 0.05 * l["step_ms"] for *_, l in losses):
            self.skipTest("the cores are shared with others: that comes first")
        self.fail(f"memory never came first: {losses}")

    def test_rounds_end_when_medians_are_known(self):
        report = self.report("-n", "1", "--weak", "--steps", 5, "--within", 100, "--repeat", 8, *MLP)
        self.assertEqual((report["curve"][0]["rounds"], report["curve"][0]["covers"]), (6, 0.96875))
        self.assertIn("every median is known within", report["text"])
        report = self.report("-n", "1", "--weak", "--steps", 5, "--within", 0.01, "--repeat", 50, "--time", 1, *MLP)
        self.assertLess(report["curve"][0]["rounds"], 50)
        self.assertIn("as another would take too long (--time)", report["text"])

    def test_models_of_a_csv(self):
        (self.dir / "course.csv").write_text("nodes,gpus_per_node,batch_size,images_per_sec\n" + "".join(
            f"{n},1,{256 // n},{256 / (0.002 + 0.2 / n)}\n" for n in (1, 2, 4, 8)))
        report = self.report("--read", self.dir / "course.csv", "--predict", "64", "--target", 1000000)
        self.assertEqual(report["models"][0]["model"], "Amdahl")
        self.assertAlmostEqual(report["models"][0]["a_ms"], 2, places=4)
        self.assertLess(report["models"][0]["outside_percent"], 0.01)
        (p,) = report["predictions"]
        self.assertAlmostEqual(p["samples_per_s"], 256 / (0.002 + 0.2 / 64), delta=1)
        self.assertIn("1.0 % of the step is serial: never more than 101 times as fast", report["text"])
        self.assertEqual(report["curve"][-1]["best"], "fastest")
        self.assertEqual(report["curve"][0]["best"], "cheapest")

    def test_slips(self):
        (self.dir / "bad.csv").write_text("nodes,ranks_per_node,local_batch\n1,1,1\n")
        for args, says, code in (
                (["-n", "1,x"], "'x' is no whole number", 2), (["--within", "0"], "--within 0: wants a number", 2),
                (["--read", self.dir / "none.csv"], "none.csv", 3), (["--read", self.dir / "bad.csv"], "bad.csv:1: has no column samples_per_s", 3),
                (["a.cfg", "b.cfg"], "one CONFIG is enough", 2), ([*QUICK, "no-such.cfg"], "no-such.cfg", 2),
                ([*QUICK, "--batch", 1, "--strong", "model=mlp"], "2 ranks: .*a batch of 1 image cannot be cut", 2)):
            with self.subTest(args=args):
                self.assertRegex(self.scaling(*args, code=code).err, says)
        self.assertEqual([p.name for p in self.dir.iterdir()], ["bad.csv"])


if __name__ == "__main__":
    harness.main()
