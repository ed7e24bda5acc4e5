"""Going on where a run stopped: the same bits as the run that never stopped, whatever stopped it, at any number of ranks."""
import hashlib
import json
import os
import pathlib
import re
import shutil
import signal
import uuid

import harness
from harness import LAUNCH, wait_for

# All that a state consists of: batch norm, dropout, two moments, clipping, accumulation, augmentation, and an epoch that does
# not divide by the batch (200 = 6 * 32 + 8: seven steps).
CONFIG = """
model: {
    layers = (
        {type = "conv2d", name = "conv1", out = 8, kernel = 3, stride = 2, padding = 1},
        {type = "batch_norm", name = "bn1"},
        {type = "relu", name = "relu1"},
        {type = "max_pool", name = "pool1", kernel = 2},
        {type = "flatten", name = "flat"},
        {type = "dropout", name = "drop", p = 0.25},
        {type = "linear", name = "fc", out = 10},
        {type = "softmax_cross_entropy", name = "loss"}
    );
};
data: { base = "digits"; train_count = 200; test_count = 40; crop_padding = 2; flip = true; cutout = 5; rotate = 15; crop_area = [0.6, 1];
        contrast = 0.3; mixup = 0.4; };
optim: { base = "adamw"; lr = 0.003; clip_norm = 0.5; schedule = "cosine"; warmup_steps = 5; };
train: { batch = 16; accumulate = 2; shards = 4; epochs = 4; threads = 1; };
log: { every_steps = 1; };
"""
STEPS = 28


class Resume(harness.Case):
    def setUp(self):
        super().setUp()
        self.config = self.dir / "resume.cfg"
        self.config.write_text(CONFIG)

    def go(self, *args, ranks=1, **kw):
        return self.launch(*args, ranks=ranks, config=self.config, **kw)

    def copy_run(self, run_dir, name, last=None):
        """A copy of a run, as if it had been killed after the checkpoint of step `last`."""
        copy = self.dir / name
        shutil.copytree(run_dir, copy)
        for folder in (copy / "checkpoints").iterdir():
            if last is not None and step_of(folder) > last:
                shutil.rmtree(folder)
        for name in ("model.safetensors", "run.json"):
            (copy / name).unlink()
        return copy

    def check_metrics(self, run_dir, steps, evaluations):
        records = [json.loads(line) for line in (pathlib.Path(run_dir) / "metrics.jsonl").read_text().splitlines()]
        self.assertEqual([r["step"] for r in records if r["type"] == "step"], list(range(1, steps + 1)))
        self.assertEqual([r["step"] for r in records if r["type"] == "eval"], evaluations)

    def test_from_every_kind_of_step_at_other_ranks(self):
        whole = self.go("checkpoint.every_steps=1", "checkpoint.keep=100")
        self.check_metrics(whole.run_dir, STEPS, [7, 14, 21, 28])
        states = {int(f["step"]): f for f in map(state_of, checkpoints(whole.run_dir))}
        self.assertEqual(sorted(states), list(range(1, STEPS + 1)))
        self.assertEqual((states[10]["epoch"], states[10]["batch"]), (1, 3))
        self.assertEqual((states[14]["epoch"], states[14]["batch"]), (2, 0))
        for step, ranks in ((1, 3), (10, 2), (13, 4), (14, 3), (15, 1), (27, 2)):  # in an epoch, before, at and after its end
            run = self.copy_run(whole.run_dir, f"from-{step}", step)
            (run / "run.json.tmp-4711").write_text("half")  # of the killed process
            (run / f"checkpoints/step-{step + 1:08}.tmp-4711").mkdir()
            again = self.go("--resume", run, ranks=ranks)
            self.assertEqual(again.weights, whole.weights, f"from step {step} at {ranks} ranks")
            self.assertFalse(list(run.rglob("*.tmp*")))
            self.assertEqual(batches_tracked(run / "model.safetensors"), STEPS)
            self.assertEqual(again.run_dir, str(run))
            self.check_metrics(run, STEPS, [7, 14, 21, 28])
            j = again.json()
            self.assertEqual((j["train"]["steps"], j["eval"]), (STEPS, whole.json()["eval"]))
            for name in ("best_loss", "best_step", "evals_since_best", "evaluations", "epoch", "batch", "optimizer_sha256"):
                self.assertEqual(state_of(newest(run))[name], states[STEPS][name], f"from step {step}: {name}")

    def test_a_checkpoint_named_by_its_path(self):
        whole = self.go("checkpoint.every_steps=1", "checkpoint.keep=100")
        run = self.copy_run(whole.run_dir, "named")
        again = self.go("--resume", run / "checkpoints/step-00000009", ranks=3)
        self.assertEqual((again.weights, again.run_dir), (whole.weights, str(run)))
        self.check_metrics(run, STEPS, [7, 14, 21, 28])

    def test_killed_after_a_checkpoint(self):
        long = ["train.epochs=60", "checkpoint.every_steps=3", "checkpoint.keep=2"]
        whole = self.go(*long)
        for killed_ranks, ranks in ((2, 3), (3, 1)):
            tag = f"resume-{uuid.uuid4()}"
            runs = self.dir / f"killed-{killed_ranks}"
            p = self.start(LAUNCH, "-n", killed_ranks, "--quiet", self.config, f"run.dir={runs}", *long,
                           env={"SYSTEM_TEST_TAG": tag})
            wait_for(lambda: [c for c in runs.glob("*/checkpoints/step-*") if "." not in c.name
                              and step_of(c) >= 12], 60, "a checkpoint")
            self.assertIsNone(p.poll(), "the run was over before it could be killed")
            while harness.tagged(tag):  # whatever is started meanwhile
                for pid in harness.tagged(tag):
                    try:
                        os.kill(pid, signal.SIGKILL)
                    except ProcessLookupError:
                        pass
            p.wait(10)
            last = step_of(newest(next(runs.iterdir())))
            self.assertLess(last, 420)
            again = self.go("--resume", "latest", *long, f"run.dir={runs}", ranks=ranks)
            self.assertEqual(again.weights, whole.weights, f"killed at {killed_ranks} ranks after step {last}, resumed at {ranks}")
            self.check_metrics(again.run_dir, 420, list(range(7, 421, 7)))
            self.assertFalse(list(pathlib.Path(again.run_dir).rglob("*.tmp*")))

    def test_stopped_by_a_signal(self):
        long = ["train.epochs=60", "train.early_stop=50"]
        whole = self.go(*long)
        runs, resume, ranks, stops = self.dir / "stopped", [], 2, []
        for after in (3, 40, 100):
            p = self.start(LAUNCH, "-n", ranks, "--quiet", self.config, f"run.dir={runs}", *long, *resume)
            wait_for(lambda: sum(m.read_bytes().count(b"\n") for m in runs.glob("*/metrics.jsonl")) >= after, 60, "steps")
            p.send_signal(signal.SIGTERM)
            out, err = p.communicate(timeout=60)
            self.assertEqual(p.returncode, 75, err)
            run = re.search("^run: (.*)$", out, re.M)[1]
            self.assertEqual(json.loads(pathlib.Path(run, "run.json").read_text())["status"], "stopped")
            stops.append(step_of(newest(run)))
            resume, ranks = ["--resume", "latest"], ranks + 1
        self.assertEqual(stops, sorted(set(stops)))
        again = self.go(*long, f"run.dir={runs}", *resume)
        self.assertEqual(again.weights, whole.weights)
        self.assertEqual(again.json()["status"], "done")
        self.check_metrics(again.run_dir, 420, list(range(7, 421, 7)))

    def test_evaluation_that_a_stop_left_out_is_made_up_for(self):
        whole = self.go("checkpoint.every_steps=1", "checkpoint.keep=100", "train.early_stop=3")
        run = self.copy_run(whole.run_dir, "owing", 14)
        folder = newest(run)
        state = state_of(folder)
        before = state_of(pathlib.Path(whole.run_dir, "checkpoints/step-00000013"))
        for name in ("best_loss", "best_accuracy", "best_step", "evals_since_best", "evaluations"):
            state[name] = before[name]
        write_state(folder, state)
        lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
        (run / "metrics.jsonl").write_text("".join(l for l in lines if json.loads(l)["step"] < 14 or '"step"' in l[:14]))
        again = self.go("--resume", run, "train.early_stop=3")
        self.assertEqual(again.weights, whole.weights)
        self.check_metrics(run, STEPS, [7, 14, 21, 28])
        self.assertEqual(state_of(newest(run))["evaluations"], 4)

    def test_max_steps_then_more(self):
        # evaluations get worse soon: one that max_steps caused must not count for early stopping
        common = ["train.early_stop=2", "optim.schedule=constant", "optim.lr=0.001", "train.epochs=6"]
        whole = self.go(*common)
        for steps in ([10], [7, 9, 11, 14]):
            resume = []
            for n in steps:
                part = self.go(*common, f"train.max_steps={n}", *resume, ranks=2)
                self.assertEqual(part.json()["train"]["steps"], n)
                resume = ["--resume", part.run_dir]
            again = self.go(*common, *resume, ranks=3)
            self.assertEqual(again.weights, whole.weights, f"by way of {steps}")
            self.assertEqual(state_of(newest(again.run_dir))["evaluations"], state_of(newest(whole.run_dir))["evaluations"])

    def test_early_stopping(self):
        common = ["train.early_stop=2", "optim.lr=0.5", "optim.schedule=constant", "optim.clip_norm=0.0", "train.epochs=40",
                  "checkpoint.every_steps=1", "checkpoint.keep=1000"]
        whole = self.go(*common)
        last = whole.json()["train"]["steps"]
        self.assertLess(last, 280)
        self.assertEqual(last % 7, 0)
        self.assertEqual(state_of(newest(whole.run_dir))["evals_since_best"], 2)
        for step in (last - 7, last - 1, last):  # an evaluation worse than the best, two, over
            run = self.copy_run(whole.run_dir, f"early-{step}", step)
            again = self.go(*common, "--resume", run, ranks=2)
            self.assertEqual((again.json()["train"]["steps"], again.weights), (last, whole.weights), f"from step {step}")
            self.check_metrics(run, last, list(range(7, last + 1, 7)))
        more = self.go(*common, "train.early_stop=0", "--resume", whole.run_dir, f"train.max_steps={last + 3}")
        self.assertEqual(more.json()["train"]["steps"], last + 3)

    def test_a_finished_run(self):
        whole = self.go()
        metrics = pathlib.Path(whole.run_dir, "metrics.jsonl").read_text()
        again = self.go("--resume", whole.run_dir, ranks=2)
        self.assertEqual((again.weights, again.run_dir), (whole.weights, whole.run_dir))
        self.assertEqual(again.json()["eval"], whole.json()["eval"])
        self.assertEqual(again.json()["train"]["steps"], STEPS)
        self.assertEqual(pathlib.Path(whole.run_dir, "metrics.jsonl").read_text(), metrics)

    def test_keep_and_best(self):
        # the learning rate falls, then explodes: the best evaluation is not among the last
        common = ["optim.lr=0.3", "optim.schedule=onecycle", "optim.warmup_steps=0", "optim.pct_start=1.0",
                  "optim.div_factor=10000.0", "train.epochs=8", "checkpoint.every_steps=1", "checkpoint.keep=3"]
        for best in (True, False):
            r = self.go(*common, f"checkpoint.best={str(best).lower()}")
            steps = [step_of(f) for f in checkpoints(r.run_dir)]
            evals = [json.loads(l) for l in pathlib.Path(r.run_dir, "metrics.jsonl").read_text().splitlines() if '"eval"' in l]
            best_step = min(evals, key=lambda e: e["loss"])["step"]
            self.assertLess(best_step, 54, "no test of what is kept beside the last ones")
            self.assertEqual(steps, ([best_step] if best else []) + [54, 55, 56])
            if best:
                part = self.go(*common, "train.max_steps=50", ranks=2)
                again = self.go(*common, "--resume", part.run_dir, "checkpoint.keep=1", ranks=2)
                steps = [step_of(f) for f in checkpoints(again.run_dir)]
                self.assertEqual((steps[0], len(steps)), (best_step, 2), "the best one survives a resumed run")

    def test_damaged_checkpoints(self):
        whole = self.go("checkpoint.every_steps=1", "checkpoint.keep=100")

        def flip(path, at=-1):
            data = bytearray(path.read_bytes())
            data[at] ^= 1
            path.write_bytes(data)

        damages = {
            "model": lambda f: flip(f / "model.safetensors"),
            "optimizer": lambda f: flip(f / "optimizer.safetensors"),
            "header": lambda f: flip(f / "model.safetensors", 20),
            "state": lambda f: flip(f / "state.json", 30),
            "truncated": lambda f: os.truncate(f / "optimizer.safetensors", 1000),
            "empty": lambda f: (f / "state.json").write_bytes(b""),
            "missing": lambda f: (f / "model.safetensors").unlink(),
        }
        for name, damage in damages.items():
            run = self.copy_run(whole.run_dir, f"damaged-{name}", 12)
            damage(newest(run))
            again = self.run_program(LAUNCH, "-n", 2, self.config, f"run.dir={self.dir}/runs", "--resume", run)
            self.assertEqual((again.code, again.weights), (0, whole.weights), f"{name}: {again.err}")
            self.assertRegex(again.err + again.out, "checkpoint skipped: .*step-00000012", name)
            self.assertIn("step-00000011", json.loads((run / "run.json").read_text())["resumed_from"])
            self.check_metrics(run, STEPS, [7, 14, 21, 28])
        # named itself, or the only one: an error, and nothing is lost
        run = self.copy_run(whole.run_dir, "damaged-alone", 1)
        flip(newest(run) / "model.safetensors")
        for what in (run, newest(run)):
            r = self.go("--resume", what, code=3)
            self.assertIn("damaged", r.err)
            self.assertIn("model.safetensors", r.err)
        self.assertEqual(len(checkpoints(run)), 1)

    def test_another_model_or_optimizer(self):
        whole = self.go("train.max_steps=3")
        before = files(whole.run_dir)
        for override, tensor in (("model.layers.conv1.out=4", "conv1.weight"), ("+model.layers.fc.bias=false", "fc.bias"),
                                 ("optim=sgd", "momentum")):
            r = self.go(override, "--resume", whole.run_dir, ranks=2, code=3)
            self.assertIn(tensor, r.err)
            self.assertIn("--resume", r.err)
        self.assertEqual(files(whole.run_dir), before, "a refused run changes nothing")

    def test_what_is_no_run(self):
        r = self.go("--resume", "latest", code=2)
        self.assertIn("latest", r.err)
        r = self.go("--resume", self.dir / "nowhere", code=2)
        self.assertIn("nowhere", r.err)
        (self.dir / "empty").mkdir()
        r = self.go("--resume", self.dir / "empty", code=3)
        self.assertIn("no checkpoint", r.err)

    def test_another_config_is_said(self):
        part = self.go("train.max_steps=3")
        r = self.run_program(LAUNCH, "-n", 2, self.config, f"run.dir={self.dir}/runs", "--resume", part.run_dir, "optim.lr=0.1")
        self.assertEqual(r.code, 0, r.err)
        self.assertIn("differs", r.err)


def checkpoints(run_dir):
    return sorted(pathlib.Path(run_dir).glob("checkpoints/step-*"))


def newest(run_dir):
    return checkpoints(run_dir)[-1]


def step_of(folder):
    return int(re.search(r"step-(\d+)", folder.name)[1])


def state_of(folder):
    return json.loads((folder / "state.json").read_text())


def batches_tracked(path):
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    at = json.loads(data[8:8 + size])["bn1.num_batches_tracked"]["data_offsets"]
    return int.from_bytes(data[8 + size + at[0]:8 + size + at[1]], "little")


def write_state(folder, state):
    """state.json in the form in which it is written, its own check renewed."""
    path = folder / "state.json"
    lines = path.read_text().splitlines(keepends=True)
    for i, line in enumerate(lines):
        key = re.match(r'\s*"(\w+)":', line)
        if key and key[1] != "check":
            value = json.dumps(state[key[1]])
            lines[i] = re.sub(r": .*?(,?)\n$", lambda m: f": {value}{m[1]}\n", line)
    at = next(i for i, line in enumerate(lines) if '"check"' in line)
    check = hashlib.sha256("".join(lines[:at]).encode()).hexdigest()
    lines[at] = re.sub(r'"[0-9a-f]{64}"', f'"{check}"', lines[at])
    path.write_text("".join(lines))


def files(run_dir):
    return {str(p): p.read_bytes() for p in sorted(pathlib.Path(run_dir).rglob("*")) if p.is_file()}


harness.main()
