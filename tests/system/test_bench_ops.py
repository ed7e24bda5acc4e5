#!/usr/bin/env python3
"""ddp-bench ops: no rate above the core's peak, because what is compared with it are the products really done; and none so
far below it that a kernel must have lost something. Both are measured in turns, as CPU time: other work on the machine hits
them alike."""
import json

import harness

BENCH = harness.BIN / "ddp-bench"


# Part of the layer: rate by its definition, in parts of the core's peak, of each pass. Half of what a quiet machine gives.
FLOORS = {
    "mnist conv2": {"forward": 0.6, "data gradient": 0.45, "weight gradient": 0.55},
    "resnet 128-128": {"forward": 0.75, "data gradient": 0.75, "weight gradient": 0.65},
    "resnet 512-512": {"forward": 0.5, "data gradient": 0.45, "weight gradient": 0.5},
    "resnet 64-128 /2": {"forward": 0.35, "data gradient": 0.3, "weight gradient": 0.3},
    "mnist fc1": {"weight gradient": 0.15},
}


class BenchOps(harness.Case):
    def rows(self, text):
        r = self.run_program(BENCH, "ops", text, "--json", self.dir / "ops.json")
        self.assertEqual(r.code, 0, r.err)
        self.assertRegex(r.out, r"peak of one core: [0-9.]+ GFLOP/s")
        report = json.loads((self.dir / "ops.json").read_text())
        self.assertGreater(len(report["layers"]), 0, r.out)
        self.assertIn(report["layers"][0]["layer"], r.out)
        return [(l["layer"], l["pass"], l["algorithm"], l["ms"], l["direct_gflops"], l["done_gflops"], l["percent_of_peak"]) for l in report["layers"]]

    def test_rates_are_of_what_is_done(self):
        seen = {}
        for name, way, algorithm, ms, direct, done, percent in self.rows("resnet"):
            self.assertLess(percent, 110, f"{name} {way} ({algorithm})")  # the clock may move by a little between the two
            self.assertGreater(percent, 0)
            seen.setdefault(algorithm, set()).add(round(direct / done, 2))
        self.assertEqual(sorted(seen), ["Winograd F(4x4,3x3)", "direct"])
        self.assertTrue(all(abs(x - 4) < 0.04 for x in seen["Winograd F(4x4,3x3)"]), seen)
        self.assertTrue(all(abs(x - 1) < 0.02 for x in seen["direct"]), seen)

    def test_no_layer_lost_half_of_its_rate(self):
        """The best of three runs, each a median of rounds with the peak beside it."""
        for layer, floors in FLOORS.items():
            best = {}
            for _ in range(3):
                for name, way, _, _, direct, done, percent in self.rows(layer):
                    best[name, way] = max(best.get((name, way), 0), direct / done * percent / 100)
                if all(rate >= floors.get(way, 0) for (_, way), rate in best.items()):
                    break
            for (name, way), rate in best.items():
                with self.subTest(f"{name} {way}"):
                    self.assertGreaterEqual(rate, floors.get(way, 0))


if __name__ == "__main__":
    harness.main()
