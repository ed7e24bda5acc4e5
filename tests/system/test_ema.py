"""The moving average of the weights: what the formula says, evaluated and saved, the same at any number of ranks and behind a resume."""
import json
import pathlib
import shutil
import struct

import harness

PLUGIN = harness.BIN.parent / "lib/libddp_cuda_emu.so"
GPU_ENV = {"DDP_CUDA_PLUGIN": str(PLUGIN), "DDP_EMU_QUIET": "1"}
DECAY = 0.75
EMA = f"optim.ema={DECAY}"
CONFIG = """
model: {
    layers = (
        {type = "conv2d", name = "conv1", out = 8, kernel = 3, stride = 2, padding = 1},
        {type = "batch_norm", name = "bn1"},
        {type = "relu", name = "relu1"},
        {type = "flatten", name = "flat"},
        {type = "linear", name = "fc", out = 10},
        {type = "softmax_cross_entropy", name = "loss"}
    );
};
data: { base = "digits"; train_count = 96; test_count = 40; };
optim: { base = "adamw"; lr = 0.01; clip_norm = 0.5; };
train: { batch = 16; shards = 4; epochs = 2; threads = 1; };
checkpoint: { every_steps = 1; keep = 100; };
reduce: { bucket_mb = 0.05; };
"""
STEPS = 12


def tensors(path):
    """Name -> values of the F32 tensors of a safetensors file."""
    raw = pathlib.Path(path).read_bytes()
    n = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8:8 + n])
    out = {}
    for name, t in header.items():
        if name != "__metadata__" and t["dtype"] == "F32":
            a, b = t["data_offsets"]
            out[name] = struct.unpack(f"<{(b - a) // 4}f", raw[8 + n + a:8 + n + b])
    return out


def average_of(run):
    return (pathlib.Path(run.run_dir) / "model_ema.safetensors").read_bytes()


class Ema(harness.Case):
    def setUp(self):
        super().setUp()
        self.config = self.dir / "ema.cfg"
        self.config.write_text(CONFIG)

    def go(self, *args, ranks=1, **kw):
        return self.launch("device=cpu", *args, ranks=ranks, config=self.config, **kw)

    def gpu(self, *args, ranks=1):
        return self.launch("device=cuda", *args, ranks=ranks, config=self.config, env=GPU_ENV)

    def step(self, run, n, name):
        return tensors(f"{run.run_dir}/checkpoints/step-{n:08}/{name}.safetensors")

    def test_the_formula_and_the_files(self):
        plain, run = self.go(), self.go(EMA)
        self.assertEqual(run.weights, plain.weights)
        self.assertFalse(list(pathlib.Path(plain.run_dir).rglob("model_ema*")))
        self.assertNotEqual(run.json()["eval"]["loss"], plain.json()["eval"]["loss"])
        self.assertIn("optim.ema", (pathlib.Path(run.run_dir) / "log/rank-0.log").read_text())
        want = None
        for n in range(1, STEPS + 1):
            model, average = self.step(run, n, "model"), self.step(run, n, "model_ema")
            self.assertEqual(list(model), list(average))
            for name, values in model.items():
                if "running" in name:
                    self.assertEqual(average[name], values)  # statistics are the model's own
                elif want:
                    for e, p, got in zip(want[name], values, average[name]):
                        self.assertAlmostEqual(got, DECAY * e + (1 - DECAY) * p, delta=1e-6)
            want = average
        last = pathlib.Path(run.run_dir) / f"checkpoints/step-{STEPS:08}/model_ema.safetensors"
        self.assertEqual(average_of(run), last.read_bytes())

    def test_any_number_of_ranks_and_a_resume(self):
        whole = self.go(EMA)
        for ranks in (2, 3, 4):
            other = self.go(EMA, ranks=ranks)
            self.assertEqual((average_of(other), other.json()["eval"]), (average_of(whole), whole.json()["eval"]), f"{ranks} ranks")
        for step, ranks in ((1, 3), (6, 2), (9, 4)):
            copy = self.dir / f"from-{step}"
            shutil.copytree(whole.run_dir, copy)
            for folder in (copy / "checkpoints").iterdir():
                if int(folder.name[5:]) > step:
                    shutil.rmtree(folder)
            for name in ("model.safetensors", "model_ema.safetensors", "run.json"):
                (copy / name).unlink()
            again = self.go(EMA, "--resume", copy, ranks=ranks)
            self.assertEqual((again.weights, average_of(again), again.json()["eval"]),
                             (whole.weights, average_of(whole), whole.json()["eval"]), f"from step {step} at {ranks} ranks")

    def test_damage_is_noticed(self):
        run = self.go(EMA)
        file = pathlib.Path(run.run_dir) / f"checkpoints/step-{STEPS:08}/model_ema.safetensors"
        raw = bytearray(file.read_bytes())
        raw[-1] ^= 1
        file.write_bytes(raw)
        again = self.run_program(harness.TRAIN, self.config, "device=cpu", EMA, "--resume", run.run_dir)
        self.assertIn("model_ema.safetensors: damaged", again.err)

    def test_evaluating_a_run_takes_what_its_evaluations_took(self):
        run = self.go(EMA)
        again = self.run_program(harness.TRAIN, "--eval", run.run_dir, self.config, EMA, "device=cpu", f"run.dir={self.dir}/other")
        self.assertEqual(again.code, 0, again.err)
        self.assertIn(f"loss {run.json()['eval']['loss']:.4f}", again.err)
        plain = self.run_program(harness.TRAIN, "--eval", run.run_dir, self.config, "device=cpu", f"run.dir={self.dir}/other")
        self.assertNotIn(f"loss {run.json()['eval']['loss']:.4f}", plain.err)

    def test_emulated_gpu(self):
        if not PLUGIN.exists():
            self.skipTest(f"no {PLUGIN}")
        sgd = ["optim=sgd", "optim.lr=0.05", EMA, "train.max_steps=4"]
        cpu, run = self.go(*sgd), self.gpu(*sgd)
        want, got = tensors(f"{cpu.run_dir}/model_ema.safetensors"), tensors(f"{run.run_dir}/model_ema.safetensors")
        for name, values in want.items():
            for a, b in zip(values, got[name]):
                self.assertAlmostEqual(a, b, delta=1e-4, msg=name)
        self.assertAlmostEqual(run.json()["eval"]["loss"], cpu.json()["eval"]["loss"], delta=1e-3)
        self.assertEqual(run.weights, self.gpu(*sgd, "optim.ema=0").weights)
        for more in ([], ["train.precision=bf16"], ["train.precision=fp16", "optim.type=lamb"], ["reduce.bucket_mb=0.02", "gpu.graph=false"]):
            one, three = (self.gpu(EMA, "train.max_steps=4", *more, ranks=n) for n in (1, 3))
            self.assertEqual((average_of(three), three.json()["eval"]), (average_of(one), one.json()["eval"]), f"{more}")
            self.assertNotEqual(three.json()["eval"]["loss"], self.gpu("train.max_steps=4", *more).json()["eval"]["loss"])


if __name__ == "__main__":
    harness.main()
