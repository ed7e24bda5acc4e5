"""Sums over the batch that are not finite although every loss is: they end the run in the step where they come up, on all ranks with the
same words, wherever it computes; no parameter and no checkpoint has anything of them."""
import json
import math
import re
import struct

import harness
import pseudo_nodes

PLUGIN = harness.BIN.parent / "lib/libddp_cuda_emu.so"
GPU_ENV = {"DDP_CUDA_PLUGIN": str(PLUGIN), "DDP_EMU_QUIET": "1", "DDP_EMU_DEVICES": "8"}
# The gradient of a weight is the mean sign of the error times an input. Two inputs are so large that their sum is infinite; all others
# are 0, and nothing moves.
TABLE = """
model: { layers = ({type = "linear", name = "fc", out = "classes"}, {type = "mae", name = "loss"}); };
data: { format = "csv"; path = "table"; normalize = false; };
init: { from = "%s/zero.safetensors"; };
optim: { lr = 0.0; };
train: { batch = 16; epochs = 20; threads = 1; };
seed = 8;
checkpoint: { every_steps = 1; keep = 100; };
"""
# Pictures so large that their variance is infinite; what is normalised by it is 0.
PICTURES = """
model: { layers = ({type = "conv2d", name = "conv", out = 8, kernel = 3, bias = false}, {type = "batch_norm", name = "bn"},
                   {type = "flatten", name = "flat"}, {type = "linear", name = "fc", out = 10}, {type = "softmax_cross_entropy", name = "loss"}); };
data: { base = "digits"; train_count = 64; test_count = 16; mean = [0.0]; std = [1e-25]; };
train: { batch = 16; threads = 1; };
"""
ADDED = ["optim=lamb", "optim.lr=0"], ["optim.clip_norm=1"], ["optim=adamw", "optim.lr=0", "optim.ema=0.9"]


def safetensors(tensors):
    """Zeros of these shapes."""
    head, at = {}, 0
    for name, shape in tensors.items():
        size = 4
        for n in shape:
            size *= n
        head[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(head).encode()
    return struct.pack("<Q", len(text)) + text + bytes(at)


def numbers(path):
    """All of a file of floats, and nothing else."""
    whole = path.read_bytes()
    data = whole[8 + struct.unpack("<Q", whole[:8])[0]:]
    return struct.unpack(f"<{len(data) // 4}f", data)


class BadSums(pseudo_nodes.Case):
    def setUp(self):
        super().setUp()
        self.table = self.dir / "table.cfg"
        self.table.write_text(TABLE % self.dir)
        self.pictures = self.dir / "pictures.cfg"
        self.pictures.write_text(PICTURES)
        (self.dir / "zero.safetensors").write_bytes(safetensors({"fc.weight": [1, 3], "fc.bias": [1]}))
        (self.dir / "table").mkdir()
        for name, large in (("train", "3e38"), ("test", "0")):
            rows = [("0", "0", large if i in (20, 50) else "0", "1") for i in range(64)]
            (self.dir / "table" / f"{name}.csv").write_text("\n".join(["a,b,c,y", *map(",".join, rows)]) + "\n")

    def node_env(self, i, nodes):
        return [*super().node_env(i, nodes), f"CUDA_VISIBLE_DEVICES={2 * i},{2 * i + 1}"]

    def failed(self, r, what):
        """The step that the run ended in, and that it said so; r: it ended, with that code."""
        found = re.search(r"step (\d+): the loss is finite, but sums over the batch are not; first bad tensor: " + re.escape(what), r.err)
        self.assertTrue(found, r.err)
        self.assertNotIn("weights:", r.out)
        return int(found[1])

    def on_cpus(self, config, *args, ranks=1):
        return self.launch("device=cpu", *args, ranks=ranks, config=config, code=4)

    def on_gpus(self, config, *args, ranks=1):
        if not PLUGIN.exists():
            self.skipTest("no emulated GPU in this build")
        return self.launch("device=cuda", *args, ranks=ranks, config=config, code=4, env=GPU_ENV)

    def check(self, *runs):
        what = "gradient of parameter 'fc.weight'. Nothing was updated with it"
        for r in runs:
            self.assertEqual(self.failed(r, what), self.step)
        for run in (self.dir / "runs").iterdir():
            steps = sorted(run.glob("checkpoints/step-*"))
            self.assertEqual(steps[-1].name, f"step-{self.step - 1:08d}")
            for f in steps[-1].glob("*.safetensors"):
                self.assertTrue(all(map(math.isfinite, numbers(f))), f)

    def find_step(self):
        self.step = self.failed(self.on_cpus(self.table), "gradient of parameter 'fc.weight'")
        self.assertGreater(self.step, 1)  # they come together then

    def test_ranks_of_cpus(self):
        self.find_step()
        self.check(*(self.on_cpus(self.table, ranks=n) for n in (2, 3, 8)))
        self.check(*(self.on_cpus(self.table, *more, "checkpoint.every_steps=1", ranks=2) for more in ADDED))

    def test_ranks_of_gpus(self):
        self.find_step()
        self.check(*(self.on_gpus(self.table, ranks=n) for n in (1, 2, 3, 8)))
        self.check(*(self.on_gpus(self.table, *more, ranks=2) for more in (["gpu.graph=false"], ["train.precision=bf16"], *ADDED)))

    def test_nodes(self):
        self.find_step()
        self.check(self.run_program(*self.command((2, 1), self.table, f"run.dir={self.dir}/runs"), timeout=120))
        self.check(self.run_program(*self.command((2, 2), self.table, "optim.clip_norm=1", f"run.dir={self.dir}/runs"), timeout=120))
        if PLUGIN.exists():
            gpus = self.command((2, 1), self.table, "device=cuda", f"run.dir={self.dir}/runs")
            self.check(self.run_program(*gpus, timeout=120, env=GPU_ENV))

    def test_statistics(self):
        what = "running statistic 'bn.running_var'"
        for r in (self.on_cpus(self.pictures), self.on_cpus(self.pictures, ranks=3), self.on_gpus(self.pictures, ranks=2)):
            self.assertEqual(self.failed(r, what), 1)


if __name__ == "__main__":
    harness.main()
