#!/usr/bin/env python3
"""ddp-bench ops: no rate above the core's peak, because what is compared with it are the products really done; and none so
far below it that a kernel must have lost something. Both are measured in turns, as CPU time: other work on the machine hits
them alike. The least bytes of a pass are those of its operands, once each; OpenBLAS stands beside linear layers."""
import json

import harness

BENCH = harness.BIN / "ddp-bench"
STANDIN = harness.BIN.parent / "lib/libopenblas_standin.so"

# Part of the layer: rate by its definition, in parts of the core's peak, of each pass. Half of what a quiet machine gives.
FLOORS = {
    "mnist conv2": {"forward": 0.6, "data gradient": 0.45, "weight gradient": 0.55},
    "resnet 128-128": {"forward": 0.75, "data gradient": 0.75, "weight gradient": 0.65},
    "resnet 512-512": {"forward": 0.5, "data gradient": 0.45, "weight gradient": 0.5},
    "resnet 64-128 /2": {"forward": 0.35, "data gradient": 0.3, "weight gradient": 0.3},
    "mnist fc1": {"weight gradient": 0.15},
}


# Tensors of the size of the one that comes in that a pass reads and writes: forward, backward.
STREAMS = {
    "batch_norm, relu": (2, 3),  # in, out; in, gradients of out and in
    "batch_norm, add, relu": (3, 5),  # a second one comes in; the mask is in out, and there are two gradients
    "max_pool 2x2": (1.25 + 1 / 16, 1.25 + 1 / 16),  # a byte says where a maximum was
    "dropout": (2 + 1 / 32, 2 + 1 / 32),  # a bit says what was kept
    "dropout, features": (2 + 1 / 32, 2 + 1 / 32),
    "relu": (2, 3),  # by out
    "gelu": (2, 3),  # by in
}


class BenchOps(harness.Case):
    def report(self, *args, code=0, **env):
        r = self.run_program(BENCH, "ops", *args, "--json", self.dir / "ops.json", env=env)
        self.assertEqual(r.code, code, r.err)
        return r, json.loads((self.dir / "ops.json").read_text()) if code == 0 else None

    def rows(self, text):
        r, report = self.report(text, "--openblas", "none")
        self.assertRegex(r.out, r"peak of one core: [0-9.]+ GFLOP/s")
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

    def test_bytes_are_those_of_the_operands(self):
        _, report = self.report("64 32x32", "--openblas", "none")
        seen = set()
        for l in report["layers"]:
            with self.subTest(f"{l['layer']} {l['batch']} {l['pass']}"):
                self.assertAlmostEqual(l["gb_s"], l["mb"] / l["ms"], delta=1e-3 * l["gb_s"])
                self.assertAlmostEqual(l["percent_of_memory"], 100 * l["gb_s"] / l["ceiling_gb_s"], delta=0.1)
                name, tensor = l["layer"].removesuffix(" 64 32x32"), 4 * l["batch"] * l["c"] * l["h"] * l["w"] / 1e6
                if name not in STREAMS:
                    continue
                seen.add((name, l["pass"]))
                self.assertAlmostEqual(l["mb"] / tensor, STREAMS[name][l["pass"] == "backward"], delta=2e-3)
                self.assertIsNone(l["direct_gflops"])
                self.assertTrue(0 < l["percent_of_memory"] < 150, l)  # a stream that writes beside it reads what it writes first
        self.assertEqual(seen, {(name, way) for name in STREAMS for way in ("forward", "backward")})
        self.assertEqual(report["memory_gb_s"], report["memory"][-1]["gb_s"])
        self.assertTrue(all(x["gb_s"] > 0 for x in report["memory"]))

    def test_openblas_beside_linear_layers(self):
        r, report = self.report("fc1", "--openblas", STANDIN)
        self.assertIn("OpenBLAS 9.8.7 (kernels for Standin)", next(l for l in r.out.splitlines() if l.startswith("versions: ")))
        self.assertEqual(report["beside"], "OpenBLAS 9.8.7 (kernels for Standin)")
        ours = {(l["layer"], l["batch"], l["pass"]): l["direct_gflops"] for l in report["layers"]}
        self.assertEqual({(l["layer"], l["batch"], l["pass"]): l["gflops"] for l in report["openblas"]}, ours)
        for l in report["openblas"]:
            self.assertAlmostEqual(l["ratio"], l["gflops"] / l["blas_gflops"], delta=1e-3 * l["ratio"])
            values = l["batch"] * 9216 + 9216 * 128 + l["batch"] * 128
            self.assertEqual({x["mb"] for x in report["layers"] if x["batch"] == l["batch"]}, {4e-6 * values})

    def test_openblas_that_is_not_there_or_wrong(self):
        r, report = self.report("fc1", "--openblas", STANDIN, code=3, STANDIN_WRONG="1")
        self.assertRegex(r.err, r"mnist fc1 9216-128, forward: OpenBLAS's numbers differ from ours by up to .* of at most")
        r, _ = self.report("fc1", "--openblas", "/nowhere/libopenblas.so", code=3)
        self.assertIn("--openblas /nowhere/libopenblas.so: ", r.err)
        r, _ = self.report("fc1", "--openblas", "libc.so.6", code=3)
        self.assertIn("it is no OpenBLAS", r.err)
        r, report = self.report("cross_entropy 10", "--openblas", "none")
        self.assertIn("OpenBLAS is not beside linear layers: --openblas none", report["notes"])
        self.assertNotIn("openblas", report)


if __name__ == "__main__":
    harness.main()
