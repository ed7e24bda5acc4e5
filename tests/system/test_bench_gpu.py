"""ddp-bench gpu on the emulated GPU, where every access of a kernel is looked at: its table is whole, its bytes are those of the kernels'
headers, no kernel leaves its memory. Times mean nothing there."""
import json
import re
import sys

import harness

BENCH = harness.BIN / "ddp-bench"
PLUGIN = harness.BIN.parent / "lib/libddp_cuda_emu_checked.so"
N = 1 << 20  # bytes of a tensor
# Kernels that are not measured: they work on little (per channel, sample, block or tensor), or are rarely used
# (flatten, concat, norms of samples).
SMALL = {"norm_sync_apply", "guard", "softmax_cross_entropy", "mse", "mae", "huber", "metrics", "results", "sum_nodes", "sum_shards", "move_spans", "between", "stats", "flatten",
         "join", "split", "group_stats", "group_forward", "group_grad_stats", "group_grad"}
# Bytes in tensors of N bytes, the type's size cancelled: {bf16, fp32}; counted by hand from the headers of the .cu files.
BYTES = {
    "act_forward relu": (2, 2), "act_forward gelu": (2, 2), "act_backward relu": (3, 3), "act_backward gelu": (3, 3),
    "add_forward relu": (3, 3), "add_backward relu": (3, 3), "bias_forward relu": (2, 2), "bias_backward": (1, 1), "bias_backward relu": (3, 3),
    "norm_stats": (1, 1), "norm_forward relu": (2, 2), "norm_forward residual relu": (3, 3), "norm_eval relu": (2, 2),
    "norm_grad_stats relu": (2, 2), "norm_grad_stats residual relu": (4, 4), "norm_grad_stats two residual relu": (5, 5), "norm_grad relu": (3, 3),
    "max_pool 2x2": (1.375, 1.3125), "max_pool_grad 2x2": (1.375, 1.3125), "avg_pool 2x2": (1.25, 1.25), "avg_pool_grad 2x2": (1.25, 1.25),
    "dropout": (2, 2), "augment crop flip": (1.1875, 1.09375),
    "cast_from_float": (1.5, None), "cast_to_float": (1.5, None), "add_range": (None, 3), "norms, 4 nodes": (None, 5),
    "update sgd momentum": (5.5, 5), "update adamw": (7.5, 7), "copy": (None, 2), "copy at the end": (None, 2),
}


class BenchGpu(harness.Case):
    def bench(self, *args, plugin=PLUGIN, **env):
        return self.run_program(BENCH, "gpu", *args, env={"DDP_CUDA_PLUGIN": str(plugin), "DDP_EMU_FATAL": "1", **env})

    def small(self, *args):
        r = self.bench("--size", 1, "--rounds", 1, *args)
        self.assertEqual(r.code, 0, r.err)
        self.assertNotIn("emu:", r.err)
        return r.out

    def test_every_kernel_has_its_bytes(self):
        out = json.loads(self.small("--json", "-"))
        rows = {(r["name"], r["type"]): r for r in out["kernels"]}
        self.assertEqual(len(rows), len(out["kernels"]))
        wanted = {(name, t): b * N for name, both in BYTES.items() for t, b in zip(("bf16", "fp32"), both) if b is not None}
        self.assertEqual({k: r["bytes"] for k, r in rows.items()}, wanted)
        for r in rows.values():
            self.assertGreater(r["us"], 0)
            self.assertAlmostEqual(r["gb_s"], r["bytes"] / r["us"] * 1e-3, delta=1e-3 * r["gb_s"])
        self.assertEqual([r["kernels"] for r in out["launches"]], [1, 1, 100])

        headers = "".join(p.read_text() for p in sorted((harness.ROOT / "src").rglob("*_kernels.h")))
        tables = "".join(re.findall(r"^struct ddp_\w+_device_kernels \{$(.*?)^\};$", headers, re.M | re.S))
        known = set(re.findall(r"void \(\*(\w+)\)", tables)) | set(re.findall(r"^    ddp_gpu_\w+ \*(\w+);", tables, re.M))
        known.add("update")  # the stages of optimizers, which their own tables hold
        measured = {re.match(r"\w+", name)[0] for name, _ in rows} - {"copy"}
        self.assertEqual(measured | SMALL, known, "a kernel of a room's table without a row of ddp-bench gpu, or one that is gone")
        self.assertFalse(measured & SMALL)

    def test_other_shapes(self):
        for channels in (8, 24, 512):
            self.small("--channels", channels, "--json", "-")

    def test_table(self):
        out = self.small("--only", "max_pool")
        self.assertIn("GPU: Emulated GPU", out)
        table = out.split("\n\n")[1].splitlines()
        self.assertEqual([l[:16].strip() for l in table],
                         ["kernel", "copy", "max_pool 2x2", "max_pool 2x2", "max_pool_grad 2x2"[:16], "max_pool_grad 2x2"[:16], "copy at the end"])
        for line in table[1:]:
            percent, mark = re.match(r".{17} +\w+ +\S+ +\S+ +\S+ +(\S+) ? ([< ])", line).groups()
            self.assertTrue(abs(float(percent) - 80) < 0.1 or (mark == "<") == (float(percent) < 80), line)

    def test_wrong_use(self):
        for args in (["--size", "0"], ["--size"], ["--channels", "12"], ["--rounds", "100"], ["--only", "nothing"], ["--fast"]):
            self.assertEqual(self.bench(*args).code, 2, args)
        self.assertEqual(self.bench("--help").code, 0)

    def test_no_device(self):
        none = self.dir / "none.so"
        r = self.bench(plugin=none)
        self.assertEqual(r.code, 77)
        self.assertRegex(r.out, "^skipped: .*none.so")
        self.assertEqual(self.bench("--device", 0, plugin=none).code, 3)
        r = self.bench("--device", 100)
        self.assertEqual(r.code, 3)
        self.assertIn("--device 100", r.err)

    def test_too_little_memory(self):
        r = self.bench("--size", 16384)
        self.assertEqual(r.code, 3)
        self.assertIn("5 tensors of --size 16384 MB", r.err)


for needed in (BENCH, PLUGIN):
    if not needed.exists():
        print(f"skipped: no {needed}")
        sys.exit(harness.SKIP)
harness.main()
