"""Training with device=cuda on the emulated GPU: the same promise as on CPUs. No GPU and no toolkit are needed; where the emulated plug-in
was not built (no C++ compiler) all of it is skipped.

GPU_TESTS=1 runs the same on a real GPU, which all ranks share, but for what only an emulated one can be told to do."""
import json
import os
import pathlib
import re
import signal
import sys
import time
import unittest

import harness
from harness import ROOT, wait_for
from pictures import narrow_resnet18, write_idx

REAL = os.environ.get("GPU_TESTS") == "1"
PLUGIN = harness.BIN.parent / "lib" / ("libddp_cuda.so" if REAL else "libddp_cuda_emu.so")
GPU_ENV = {"DDP_CUDA_PLUGIN": str(PLUGIN), "DDP_EMU_QUIET": "1"}
ON_GPU = ["device=cuda", "train.threads=1", *(["comm.share_gpu=true"] if REAL else [])]
# fp32 on both sides (TF32 is off unless asked for), but cuDNN may convolve by Winograd's method, which rounds more coarsely than a sum
SLACK = 4 if REAL else 1
EXACT = 1e-5 if REAL else 1e-6  # of a loss: what is left of a difference when no factor is rounded
PRECISIONS = ["bf16", "fp16"]  # what the GPU computes in, besides fp32
emulated_only = unittest.skipIf(REAL, "only an emulated GPU can be told to (DDP_EMU_*)")
MNIST = ["model=mnist_cnn", "train.batch=16", "data.train_count=200", "data.test_count=24", "train.max_steps=4", "optim.lr=0.02"]
LINEAR = ["model=linear", "train.batch=32", "data.train_count=320", "data.test_count=40", "train.max_steps=8", "optim.lr=0.02"]


class Gpu(harness.Case):
    def gpu(self, *args, ranks=2, env=None, **kw):
        return self.launch(*ON_GPU, *args, ranks=ranks, env={**GPU_ENV, **(env or {})}, **kw)

    def cpu(self, *args, ranks=2, **kw):
        return self.launch("device=cpu", "train.threads=1", *args, ranks=ranks, **kw)

    def same_at(self, args, ranks, **kw):
        """One hash at every number of ranks; returns it."""
        hashes = {n: self.gpu(*args, ranks=n, **kw).weights for n in ranks}
        self.assertEqual(len(set(hashes.values())), 1, hashes)
        return hashes[ranks[0]]

    def curve(self, run):
        records = map(json.loads, (pathlib.Path(run.run_dir) / "metrics.jsonl").read_text().splitlines())
        return [r["loss"] for r in records if r["type"] == "step"]

    def check_curves(self, args, tolerance):
        tolerance *= SLACK
        args = [*args, "log.every_steps=1"]
        gpu, cpu = self.gpu(*args), self.cpu(*args)
        a, b = self.curve(gpu), self.curve(cpu)
        self.assertEqual(len(a), len(b))
        for step, (x, y) in enumerate(zip(a, b), 1):
            self.assertLess(abs(x - y), tolerance * (abs(y) + 1), f"step {step}: {a} on the GPU, {b} on the CPU")
        self.assertAlmostEqual(gpu.json()["eval"]["loss"], cpu.json()["eval"]["loss"], delta=20 * tolerance)
        self.assertEqual(gpu.json()["eval"]["count"], cpu.json()["eval"]["count"])
        return gpu

    def pictures8(self):
        """Config arguments for a narrow ResNet-18 on pictures of 8x8."""
        folder = self.dir / "idx8"
        folder.mkdir(exist_ok=True)
        names = ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"]
        for name, data in zip(names, [*write_idx(folder, 96, seed=1), *write_idx(folder, 20, seed=2)]):
            (folder / name).write_bytes(data)
        config = self.dir / "resnet8x8.cfg"
        config.write_text(f"""
model: {{ name = "narrow-resnet18";
{narrow_resnet18()}
}};
data: {{ name = "blocks"; format = "idx"; path = "{folder}"; mean = [0.3]; std = [0.3]; crop_padding = 1; flip = true; cutout = 2; }};
optim: {{ base = "sgd"; lr = 0.05; weight_decay = 0.0005; }};
train: {{ batch = 16; shards = 8; epochs = 1; max_steps = 5; threads = 1; }};
""")
        return config

    def test_a_record_of_ops_is_refused(self):
        """Its steps are one captured graph."""
        r = self.gpu(*LINEAR, "probe.from=2", ranks=1, code=2)
        self.assertIn("probe.from = 2: what each op computes is recorded on CPUs only; use device=cpu", r.err)
        run = pathlib.Path(self.gpu(*LINEAR, ranks=1).run_dir)
        other = pathlib.Path(self.gpu(*LINEAR, "optim.lr=0.01", ranks=1).run_dir)
        r = self.run_program(harness.BIN / "ddp-runs", "bisect", run, other, env=GPU_ENV)
        self.assertEqual(r.code, 3, r.out + r.err)
        self.assertEqual(r.out.count("recorded on CPUs only"), 2, r.out)
        self.assertIn("neither can be done again here", r.out)

    # ---- the same bits

    def test_mnist_cnn_at_any_number_of_ranks(self):
        reference = self.same_at(MNIST, [1, 2, 3, 4, 8])
        self.assertRegex(reference, "^[0-9a-f]{64}$")
        self.assertEqual(self.gpu(*MNIST, "reduce.bucket_mb=0.5", ranks=3).weights, reference)
        self.assertEqual(self.gpu(*MNIST, "gpu.graph=false", ranks=2, env={"DDP_EMU_SEED": "77"}).weights, reference)
        self.assertEqual(self.gpu(*MNIST, "gpu.resident_data=on", ranks=2).weights, reference)
        # negative control: the backend's own order of summation is another one
        self.assertNotEqual(self.gpu(*MNIST, "reduce.mode=fast", "repro.level=fast", ranks=3).weights, reference)

    def test_fashion_cnn_at_any_number_of_ranks(self):
        self.same_at(["model=fashion_cnn", *MNIST[1:]], [1, 3, 8])

    def test_narrow_resnet18_at_any_number_of_ranks(self):
        config = self.pictures8()
        self.same_at([], [1, 2, 8], config=config)
        self.same_at(["gpu.resident_data=off", "train.batch=19"], [1, 4], config=config)

    def test_synchronised_batch_norm(self):
        args = ["model=fashion_cnn", *MNIST[1:], "train.shards=4"]
        self.assertNotEqual(self.same_at([*args, "+model.layers[1].sync=true"], [1, 2, 3]), self.gpu(*args).weights)

    def test_shards_side_by_side(self):
        one = self.gpu(*MNIST, "gpu.branches=1", ranks=1)
        for branches in (2, 3, 8):
            r = self.gpu(*MNIST, f"gpu.branches={branches}", ranks=1, env={"DDP_EMU_SEED": str(branches)})
            self.assertEqual((r.weights, r.json()["gpu"]["branches"]), (one.weights, branches))
        synchronised = ["model=fashion_cnn", *MNIST[1:], "train.shards=4", "+model.layers[1].sync=true", "gpu.graph=false"]
        self.assertEqual(len({self.gpu(*synchronised, f"gpu.branches={n}", ranks=1).weights for n in (1, 3)}), 1)

    @emulated_only
    def test_fewer_shards_side_by_side_where_memory_is_short(self):
        mb = {n: self.gpu(*MNIST, f"gpu.branches={n}", ranks=1).json()["gpu"]["memory_mb"] for n in (2, 8)}
        r = self.gpu(*MNIST, ranks=1, env={"DDP_EMU_MEMORY": str(int((mb[2] + mb[8]) / 2 * 1e6))})
        self.assertIn(r.json()["gpu"]["branches"], (2, 4), mb)

    def test_every_optimizer(self):
        seen = set()
        for more in (["optim=adamw", "optim.lr=0.001"], ["optim.type=lars", "optim.weight_decay=0.001"],
                     ["optim.type=lamb", "optim.lr=0.002", "optim.weight_decay=0.01"], ["optim.clip_norm=0.5"],
                     ["optim.type=lamb", "optim.lr=0.002", "optim.clip_norm=0.2"], ["optim.momentum=0.8", "optim.nesterov=true"]):
            seen.add(self.same_at([*LINEAR, *more], [1, 3]))
        self.assertEqual(len(seen), 6)

    def test_every_precision(self):
        hashes = [self.same_at([*MNIST, f"train.precision={p}"], [1, 3]) for p in PRECISIONS]
        self.assertEqual(len({*hashes, self.gpu(*MNIST).weights}), len(PRECISIONS) + 1)

    def test_what_is_recorded_where_ranks_have_half_precision_of_each_other(self):
        """Parameters in fp32 come from their owners: for the trail and for a checkpoint, which goes on at any number of ranks."""
        args = ["model=fashion_cnn", "train.batch=8", "train.shards=4", "data.train_count=40", "data.test_count=8", "train.max_steps=3",
                "train.trail_every=1", "optim.ema=0.9", "reduce.bucket_mb=0.5", f"train.precision={PRECISIONS[0]}"]
        runs = [self.gpu(*args, ranks=n) for n in (1, 3)]
        trails = [(pathlib.Path(r.run_dir) / "weights.trail").read_bytes() for r in runs]
        self.assertEqual(*trails)
        self.assertEqual(*(r.json()["eval"] for r in runs))
        half = self.gpu(*args, "train.max_steps=1", ranks=3).run_dir
        self.assertEqual(self.gpu(*args, "--resume", half, ranks=2).weights, runs[0].weights)

    @emulated_only
    def test_bias_and_relu_in_the_librarys_call_or_behind_it(self):
        """The stand-ins give the same bits either way; a lock is replayed with what it has."""
        def plans(run):
            return json.loads((pathlib.Path(run.run_dir) / "plan.lock.json").read_text())["plans"]
        args = ["model=mnist_cnn", "train.batch=4", "train.shards=2", "data.train_count=20", "data.test_count=4", "train.max_steps=2"]
        for more, matmuls in (["train.precision=bf16"], 0), ([], 2):
            whole, apart = (self.gpu(*args, *more, env=env) for env in ({}, {"DDP_EMU_EPILOGUE": "0"}))
            self.assertEqual(whole.weights, apart.weights)
            with_bias = [p for p in plans(whole) if " bias" in p]
            self.assertEqual([sum(p.startswith(kind) for p in with_bias) for kind in ("conv fwd", "matmul")], [2, matmuls], with_bias)
            self.assertEqual([p for p in plans(apart) if " bias" in p], [])
        half = self.gpu(*args, "train.max_steps=1", env={"DDP_EMU_EPILOGUE": "0"})
        again = self.gpu(*args, "--resume", half.run_dir, ranks=1)
        self.assertEqual((again.weights, plans(again)), (whole.weights, plans(half)))

    def test_accumulation_equals_the_big_batch(self):
        args = ["model=linear", "data.train_count=640", "data.test_count=40", "train.max_steps=5", "optim.lr=0.02"]
        self.assertEqual(self.gpu(*args, "train.batch=32", "train.shards=4", "train.accumulate=2", ranks=2).weights,
                         self.gpu(*args, "train.batch=64", "train.shards=8", ranks=3).weights)

    # ---- the same run as on the CPU

    def test_losses_follow_the_cpu(self):
        run = self.check_curves(MNIST, EXACT / SLACK)
        info = run.json()
        self.assertEqual(info["device"], "cuda")
        self.assertEqual(info["gpu"]["precision"], "fp32")
        self.assertTrue(info["gpu"]["graph"])
        self.assertRegex(info["gpu"]["plan_lock_sha256"], "^[0-9a-f]{64}$")
        self.assertTrue((pathlib.Path(run.run_dir) / "plan.lock.json").exists())
        self.check_curves(["model=fashion_cnn", *MNIST[1:]], 5e-4)

    def test_exact_fp32_follows_the_cpu_closely(self):
        """Only the order of sums differs, by 1e-7 or so; TF32, where it is asked for, shows."""
        for model in ("mlp", "lenet5"):
            args = [f"model={model}", *MNIST[1:]]
            self.check_curves(args, EXACT / SLACK)
            args = [*args, "log.every_steps=1"]
            exact, rounded = self.curve(self.cpu(*args)), self.curve(self.gpu(*args, "train.tf32=true"))
            self.assertGreater(max(abs(x - y) / (abs(y) + 1) for x, y in zip(rounded, exact)), 0 if REAL else EXACT)

    def test_losses_of_narrow_resnet18_follow_the_cpu(self):
        # few, large shards: statistics of two samples would blow up the least difference
        args = ["log.every_steps=1", "train.max_steps=4", "train.shards=2", "optim.lr=0.005"]
        config = self.pictures8()
        a, b = self.curve(self.gpu(*args, config=config)), self.curve(self.cpu(*args, config=config))
        for x, y in zip(a, b):
            self.assertLess(abs(x - y), 5e-3 * SLACK * (abs(y) + 1), f"{a} on the GPU, {b} on the CPU")

    def test_narrow_types_learn_alike(self):
        for precision in PRECISIONS:
            args = [*MNIST, "log.every_steps=1"]
            a, b = self.curve(self.gpu(*args, f"train.precision={precision}")), self.curve(self.gpu(*args))
            for x, y in zip(a, b):
                self.assertLess(abs(x - y), 0.05 * (abs(y) + 1), f"{a} in {precision}, {b} in fp32")

    def test_evaluation_only(self):
        run = self.gpu(*LINEAR)
        for device in ("cuda", "cpu"):
            r = (self.gpu if device == "cuda" else self.cpu)(*LINEAR, "--eval", run.run_dir, ranks=3)
            self.assertEqual(r.code, 0, r.err)

    # ---- interruptions

    def test_resume_at_another_number_of_ranks(self):
        for more in ([], ["optim=adamw", "optim.lr=0.001"], ["train.precision=fp16", "train.loss_scale_interval=3"], ["optim.clip_norm=0.5"]):
            args = [*LINEAR, *more, "checkpoint.every_steps=1"]
            whole = self.gpu(*args, "train.max_steps=8", ranks=1).weights
            part = self.gpu(*args, "train.max_steps=5", ranks=3)
            again = self.gpu(*args, "train.max_steps=8", "--resume", part.run_dir, ranks=2)
            self.assertEqual(again.weights, whole, more)

    def test_killed_and_resumed(self):
        args = [*LINEAR, "train.epochs=50", "checkpoint.every_steps=2"]
        whole = self.gpu(*args, "train.max_steps=30", ranks=2).weights
        p = self.start(harness.LAUNCH, "-n", 2, "--quiet", ROOT / "configs/cnn.cfg", f"run.dir={self.dir}/killed", *ON_GPU,
                       *args, "train.max_steps=100000", "train.epochs=100000", env=GPU_ENV)
        wait_for(lambda: list((self.dir / "killed").glob("*/checkpoints/step-???????2/state.json")), 60, "a checkpoint")
        p.kill()
        p.wait(20)
        run = next((self.dir / "killed").iterdir())
        time.sleep(0.5)  # the ranks end with their launcher
        steps = max(int(c.name[5:13]) for c in run.glob("checkpoints/step-????????"))
        self.assertGreater(steps, 0)
        again = self.gpu(*args, f"train.max_steps={steps + 3}", "train.epochs=100000", "--resume", run, ranks=3).weights
        self.assertEqual(again, self.gpu(*args, f"train.max_steps={steps + 3}", "train.epochs=100000", ranks=1).weights)
        self.assertRegex(whole, "^[0-9a-f]{64}$")

    def test_a_signal_stops_and_saves(self):
        p = self.start(harness.LAUNCH, "-n", 3, ROOT / "configs/cnn.cfg", f"run.dir={self.dir}/runs", *ON_GPU, *LINEAR,
                       "train.max_steps=100000", "train.epochs=100000", "log.every_steps=1", env=GPU_ENV)
        wait_for(lambda: any(m.read_text().count("\n") > 5 for m in (self.dir / "runs").glob("*/metrics.jsonl")), 60, "steps")
        p.send_signal(signal.SIGTERM)
        out, err = p.communicate(timeout=30)
        self.assertEqual(p.returncode, 75, err)
        run = re.search("^run: (.*)$", out, re.M)[1]
        steps = json.loads((pathlib.Path(run) / "run.json").read_text())["train"]["steps"] + 2
        limits = [f"train.max_steps={steps}", "train.epochs=100000"]
        self.assertEqual(self.gpu(*LINEAR, *limits, "--resume", run, ranks=1).weights, self.gpu(*LINEAR, *limits, ranks=2).weights)

    @emulated_only  # a real one is through before the signal comes
    def test_a_signal_breaks_an_evaluation_off(self):
        """The averaged weights are gathered before the first batch: no rank may leave before that."""
        args = [*LINEAR[:2], "data.train_count=64", "data.test_count=4800", "train.epochs=2", "optim.ema=0.9", "log.every_steps=1"]
        for n in range(5):  # once more where the machine was too slow for us to be in time
            runs = self.dir / f"runs-{n}"
            p = self.start(harness.LAUNCH, "-n", 3, "-q", ROOT / "configs/cnn.cfg", f"run.dir={runs}", *ON_GPU, *args, env=GPU_ENV)
            wait_for(lambda: any('"step":2,' in m.read_text() for m in runs.glob("*/metrics.jsonl")), 60, "steps")
            p.send_signal(signal.SIGTERM)
            records = next(runs.glob("*/metrics.jsonl"))
            late = '"eval"' in records.read_text()
            out, err = p.communicate(timeout=60)
            if not late:
                break
        self.assertFalse(late)
        self.assertEqual(p.returncode, 75, err)
        run = records.parent
        self.assertNotIn('"eval"', records.read_text())
        again, whole = self.gpu(*args, "--resume", run, ranks=2), self.gpu(*args, ranks=1)
        self.assertEqual((again.run_dir, again.weights), (str(run), whole.weights))
        evals = [[json.loads(l) for l in (pathlib.Path(r.run_dir) / "metrics.jsonl").read_text().splitlines() if '"eval"' in l]
                 for r in (again, whole)]
        for key in ("step", "loss", "accuracy", "train_loss", "best"):
            self.assertEqual([e[key] for e in evals[0]], [e[key] for e in evals[1]], key)

    def test_from_gpu_to_cpu_and_back(self):
        """A checkpoint is of no device: it goes on elsewhere, as another experiment, and says so."""
        run = self.gpu(*LINEAR, "train.max_steps=4")
        for go in (self.cpu, self.gpu):
            again = go(*LINEAR, "train.max_steps=6", "--resume", run.run_dir)
            self.assertEqual(again.json()["train"]["steps"], 6)

    # ---- what can go wrong

    def refused(self, code, text, *args, ranks=2, env=None):
        r = self.gpu(*args, ranks=ranks, env=env, code=None)
        self.assertEqual(r.code, code, r.err)
        self.assertRegex(r.err, text)
        return r

    @emulated_only
    def test_too_little_memory(self):
        r = self.refused(3, r"does not fit on the GPU.*the plan takes .*are free", *MNIST[:1], "train.batch=512", "train.shards=1",
                         "data.train_count=512", "data.test_count=8", ranks=1, env={"DDP_EMU_MEMORY": "60000000"})
        batch = int(re.search(r"train.batch = (\d+) is the largest", r.err)[1])
        self.assertTrue(0 < batch < 512, r.err)
        self.gpu(*MNIST[:1], f"train.batch={batch}", "train.shards=1", "train.max_steps=1", "data.train_count=512", "data.test_count=8",
                 ranks=1, env={"DDP_EMU_MEMORY": "60000000"})

    @emulated_only
    def test_a_lost_gpu(self):
        self.refused(4, r"GPU|device", *LINEAR, env={"DDP_EMU_LOST_AT": "60"})

    @emulated_only
    def test_a_lock_of_another_gpu(self):
        run = self.gpu(*LINEAR, "train.max_steps=4")
        args = [*LINEAR, "train.max_steps=6", "--resume", run.run_dir]
        self.refused(2, r"Another GPU.*--relock|--relock", *args, env={"DDP_EMU_NAME": "Another GPU"})
        self.gpu(*args, "--relock", env={"DDP_EMU_NAME": "Another GPU"})

    BLOW_UP = [*LINEAR, "model=mlp", "optim.lr=1000", "optim.momentum=0.999", "train.max_steps=60", "train.epochs=100"]

    def bad(self, err, what="step"):
        """Where a loss that is not finite came from: what the message says of step, shard and tensor."""
        found = re.search(what + r" (\d+): the loss of shard \d \(rank \d\) is (nan|infinite); first bad tensor: (\S+.*?'\S+').*? (is|holds) "
                          r"(nan|-?inf)\b", err)
        self.assertTrue(found, err)
        return int(found[1]), found[3]

    def test_a_loss_that_is_not_finite(self):
        """The host reads it a step late, or after this step (log.every_steps=1): no parameter has been touched either way, so the tensor
        is the same as on the CPU and the checkpoints are good."""
        seen = {self.bad(self.cpu(*self.BLOW_UP, ranks=1, code=4).err)}
        for ranks in (1, 2, 3):
            for more in ("log.every_steps=100", "log.every_steps=1", "gpu.graph=false", "reduce.mode=fast"):
                r = self.refused(4, "failed: step", *self.BLOW_UP, "repro.level=fast", more, ranks=ranks)
                self.assertNotIn("weights:", r.out)
                seen.add(self.bad(r.err))
        self.assertEqual(len(seen), 1, seen)
        step, tensor = seen.pop()
        self.assertRegex(tensor, r"output of layer '(fc|relu)\d'")

        limit = [f"train.max_steps={step - 2}"]  # of the step behind it the evaluation is not finite either
        whole = self.gpu(*self.BLOW_UP, *limit, ranks=1).weights
        for ranks in (1, 2, 3):
            runs = self.dir / f"broken{ranks}"
            self.refused(4, "failed: step", *self.BLOW_UP, f"run.dir={runs}", "checkpoint.every_steps=3", ranks=ranks)
            run = next(runs.iterdir())
            self.assertEqual(sorted(c.name for c in run.glob("checkpoints/step-*"))[-1], "step-00000003")
            self.assertEqual(self.gpu(*self.BLOW_UP, *limit, "--resume", run, ranks=3).weights, whole)

    def test_a_parameter_that_is_not_finite(self):
        """An update makes it so while the loss is finite; the next step's is not, and names it."""
        groups = 'optim.groups=({ match = "*.bias"; lr_scale = 1000000.0; weight_decay = 1000.0; })'
        args = [*LINEAR, "train.max_steps=9", "optim.lr=1000", groups]
        seen = {self.bad(self.cpu(*args, ranks=1, code=4).err), *(self.bad(self.refused(4, "first bad", *args, ranks=n).err) for n in (1, 3)),
                self.bad(self.refused(4, "first bad", *args, "train.precision=bf16").err)}
        self.assertEqual(seen, {(5, "parameter 'fc.bias'")})
        groups = groups.replace("bias", "weight")  # in bf16 it is seen in what the passes read
        seen = {self.bad(self.refused(4, "first bad", *args[:-1], groups, *more, ranks=n).err)
                for n, more in ((1, []), (1, ["train.precision=bf16"]), (3, ["train.precision=bf16"]))}
        self.assertEqual(len(seen), 1, seen)
        self.assertEqual(seen.pop()[1], "parameter 'fc.weight'")

    def test_a_loss_that_is_not_finite_in_other_kinds_of_runs(self):
        fp16 = [*self.BLOW_UP, "train.precision=fp16"]
        self.assertEqual(len({self.bad(self.refused(4, "first bad", *fp16, ranks=n).err) for n in (1, 3)}), 1)
        # synchronised layers: all ranks run the failed batch again
        sync = ["model=fashion_cnn", *MNIST[1:], "train.shards=4", "+model.layers[1].sync=true", "optim.lr=1000", "optim.momentum=0.99"]
        self.assertEqual(len({self.bad(self.refused(4, "first bad", *sync, ranks=n).err) for n in (1, 3)}), 1)

    def test_an_evaluation_that_is_not_finite(self):
        groups = 'optim.groups=({ match = "*"; lr_scale = 1000000.0; weight_decay = 1000.0; })'
        args = [*MNIST, "optim.lr=1000", "train.max_steps=1", groups]
        seen = {self.bad(self.refused(4, "first bad", *args, ranks=n).err, "evaluation after step") for n in (1, 2, 3)}
        self.assertEqual(len(seen), 1, seen)

    def test_an_op_without_a_form_for_the_device(self):
        self.refused(2, r"groups = 3 on a GPU.*multiples of 8",
                     "model.layers=({type=\"conv2d\", out=6, kernel=1}, {type=\"conv2d\", name=\"odd\", out=6, kernel=1, groups=3},"
                     " {type=\"flatten\"}, {type=\"linear\", out=10}, {type=\"softmax_cross_entropy\"})", *LINEAR[1:])


def skip(why):
    print(f"skipped: {why}")
    sys.exit(harness.SKIP)


if not PLUGIN.exists():
    skip(f"no CUDA device: no {PLUGIN}" if REAL else f"no {PLUGIN} (it is built with the tests where there is a C++ compiler)")
if REAL and harness.LAUNCH.exists():
    why = harness.why_not(*ON_GPU, *LINEAR, "train.precision=bf16", **GPU_ENV)
    if re.search("no NVIDIA driver|no CUDA device", why):
        skip(f"no CUDA device: {why}")
    if re.search("train.precision=bf16", why):
        PRECISIONS.remove("bf16")
harness.main()
