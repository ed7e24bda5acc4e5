"""ddp-runs on runs of real programs: what it lists, shows, clears away, whether it finds where and why two runs part, and that it
changes nothing unasked."""
import json
import os
import pathlib
import random
import re
import shutil
import signal

import harness
from harness import BIN, TRAIN, snapshot, wait_for

RUNS = BIN / "ddp-runs"

CONFIG = """
model = { layers = (
    {type = "flatten", name = "flat"}, {type = "linear", name = "fc1", out = 16}, {type = "relu", name = "r1"},
    {type = "linear", name = "fc", out = 10}, {type = "softmax_cross_entropy", name = "loss"}); };
data: { format = "digits"; train_count = 128; test_count = 32; };
train: { batch = 16; shards = 4; epochs = 2; threads = 1; trail_every = 1; };
optim: { base = "sgd"; lr = 0.05; };
checkpoint: { every_epochs = 0; best = false; };
log: { every_steps = 1; };
"""
STEPS = 16


class Case(harness.Case):
    def setUp(self):
        super().setUp()
        self.config = self.dir / "T.cfg"
        self.config.write_text(CONFIG)
        self.runs = self.dir / "runs"

    def train(self, *args, code=0, **kw):
        """ddp-train alone: a run in a twentieth of a second."""
        r = self.run_program(TRAIN, "--quiet", self.config, f"run.dir={self.runs}", *args, **kw)
        self.assertEqual(r.code, code, f"{args}: {r.err}")
        return pathlib.Path(r.run_dir) if r.run_dir else None

    def ask(self, *args, code=0, **kw):
        r = self.run_program(RUNS, *args, **kw)
        self.assertEqual(r.code, code, f"{args}\n{r.out}\n{r.err}")
        return r

    def edit(self, run, change):
        doc = json.loads((run / "run.json").read_text())
        change(doc)
        (run / "run.json").write_text(json.dumps(doc))


class Folder(Case):
    def test_list_sorts_filters_and_shows_columns(self):
        for name, lr in (("a", 0.1), ("b", 0.3), ("c", 0.2)):
            self.train(f"optim.lr={lr}", f"run.name={name}")
        self.train("run.name=d", "train.max_steps=3", "optim.lr=0.3")
        names = lambda *args: [r["name"][0] for r in json.loads(self.ask("list", self.runs, "--json", *args).out)]
        self.assertEqual(sorted(names()), ["a", "b", "c", "d"])
        self.assertEqual(names("--sort", "optim.lr", "steps=16"), ["a", "c", "b"])
        self.assertEqual(names("--sort", "optim.lr", "-r", "steps=16"), ["b", "c", "a"])
        self.assertEqual(sorted(names("optim.lr=0.3")), ["b", "d"])
        self.assertEqual(names("optim.lr=0.3", "name!=d*"), ["b"])
        out = self.ask("list", self.runs, "optim.lr=0.2", "-c", "train.batch,device").out.splitlines()
        self.assertEqual(len(out), 2)
        self.assertEqual(out[0].split()[-3:], ["optim.lr", "train.batch", "device"])
        self.assertEqual(out[1].split()[-3:], ["0.2", "16", "cpu"])
        self.assertIn("the nearest is 'optim.lr'", self.ask("list", self.runs, "optim.lrs=1", code=2).err)
        self.assertIn("no run there", self.ask("list", self.runs, "optim.lr=7").err)
        self.assertIn("name the folder", self.ask("list", self.dir / "nowhere", code=2).err)

    def test_show(self):
        run = self.train("train.max_steps=4")
        self.run_program(TRAIN, "--quiet", "--resume", run, "train.max_steps=6")
        out = self.ask("show", run).out
        doc = json.loads((run / "run.json").read_text())
        for words in (doc["weights_hash"], doc["code"]["binary_sha256"], doc["data"][0]["sha256"], "--resume"):
            self.assertIn(words, out)
        self.assertEqual(len([l for l in out.splitlines() if " done " in l]), 2, "a line for each leg")
        self.assertEqual(self.ask("show", run.name).out.split("\n", 1)[1], out.split("\n", 1)[1], "by its name alone")
        self.assertIn("no such run", self.ask("show", self.dir / "x", code=2).err)
        self.assertIn("no run.json", self.ask("show", self.dir, code=2).err)

    def test_no_evaluation_is_none(self):
        """Stopped before the first one: not the best of all. Stopped right after a resume: that of before stays."""
        pending = ["env", "--block-signal=TERM", "sh", "-c", 'kill -TERM $$; exec "$@"', "sh"]  # asked to stop from the start
        none = self.run_program(*pending, TRAIN, "--quiet", self.config, f"run.dir={self.runs}", "run.name=none")
        self.assertEqual(none.code, 75, none.err)
        run = self.train("train.max_steps=9", "run.name=one")
        whole = json.loads((run / "run.json").read_text())["eval"]
        self.assertEqual(whole["count"], 32)
        r = self.run_program(*pending, TRAIN, "--quiet", "--resume", run, "train.max_steps=14")
        self.assertEqual(r.code, 75, r.err)
        doc = json.loads((run / "run.json").read_text())
        self.assertLess(doc["train"]["steps"], 14)
        self.assertEqual(doc["eval"], whole, "the last evaluation was overwritten")
        stopped = next(self.runs.glob("none-*"))
        self.assertIsNone(json.loads((stopped / "run.json").read_text())["eval"])
        for change in ({"eval": None}, {"eval": {"accuracy": 0.0, "loss": 0.0, "count": 0}}):  # as it is, and as it was once
            self.edit(stopped, lambda d: d.update(change))
            rows = json.loads(self.ask("list", self.runs, "--json", "--sort", "loss").out)
            self.assertEqual([(r["name"].split("-")[0], r["loss"] is None) for r in rows], [("one", False), ("none", True)])
            self.assertRegex(self.ask("show", stopped).out, r"(?m)^loss +-$")

    def test_plain_files_are_no_closed_folders(self):
        self.train()
        for name in ("slurm-17.out", "notes.txt"):
            (self.runs / name).write_text("words")
            (self.runs / name).chmod(0o644)
        self.assertNotIn("looked into", self.ask("list", self.runs).err)

    def make_wrecks(self):
        """Run directories in every bad state; name -> words that list has for it."""
        whole = self.train()

        def wreck(name, change):
            run = self.runs / name
            shutil.copytree(whole, run)
            change(run)
            for p in [run, *run.rglob("*")]:
                os.utime(p, (1e9, 1e9), follow_symlinks=False)

        def text(name, content):
            return lambda run: (run / name).write_text(content) if isinstance(content, str) else (run / name).write_bytes(content)

        record = (whole / "run.json").read_text()
        wreck("torn", text("run.json", record[:300]))
        wreck("empty", text("run.json", ""))
        wreck("zeros", text("run.json", b"\0" * 500))
        wreck("bytes", text("run.json", b"\xff\xfe{}"))
        wreck("list", text("run.json", "[1]"))
        wreck("types", text("run.json", json.dumps({"status": 3, "legs": 7, "train": [], "eval": "x", "hosts": {}})))
        wreck("deep", text("run.json", "[" * 100000))
        wreck("half", lambda run: (run / "run.json").unlink())
        wreck("noconfig", lambda run: [(run / n).unlink() for n in ("config.cfg", "config.json")])
        wreck("odd", text("run.json", json.dumps({"status": "done", "legs": 7, "train": [], "eval": "x", "hosts": {}, "data": [3],
                                                  "code": None, "machine": 1, "command": "word", "weights_hash": [1]})))
        wreck("gone", lambda run: self.edit(run, lambda doc: doc.update(status="running")))
        wreck("\x1b[31mred", lambda run: self.edit(run, lambda doc: doc.update(status="failed", error="\x1b]0;title\x07")))
        (self.runs / "dangling").symlink_to(self.dir / "nothing")
        (self.runs / "linked").symlink_to(whole)
        (self.runs / "file").write_text("not a run")
        (self.runs / "foreign").mkdir()
        (self.runs / "foreign/data.bin").write_bytes(b"x" * 100)
        return whole

    def test_nothing_is_changed_by_looking_at_wrecks(self):
        self.make_wrecks()
        before = snapshot(self.runs)
        out = self.ask("list", self.runs, "-c", "optim.lr,began,parent,hosts")
        for name, state in (("torn", "damaged"), ("empty", "damaged"), ("zeros", "damaged"), ("bytes", "damaged"), ("list", "damaged"),
                            ("types", "damaged"), ("deep", "damaged"), ("half", "half made"), ("noconfig", "done"), ("odd", "done"),
                            ("gone", "gone")):
            self.assertRegex(out.out, rf"(?m)^{name} +{state} ")
        self.assertNotIn("\x1b", out.out)
        self.assertNotIn("foreign", out.out)
        self.assertNotIn("linked", out.out)
        for run in sorted(p for p in self.runs.iterdir() if p.is_dir()):
            r = self.run_program(RUNS, "show", run)
            self.assertIn(r.code, (0, 2, 3), r.err)
            self.assertNotIn("\x1b", r.out + r.err)
        self.ask("gc", self.runs, "--older", "0")
        self.assertEqual(snapshot(self.runs), before)

    def test_gc_removes_what_it_showed_and_nothing_else(self):
        whole = self.make_wrecks()
        (self.runs / "list/notes.txt").write_text("mine")
        self.ask("mark", self.runs / "zeros", "--note", "to look into")
        self.assertEqual((self.runs / "zeros/KEEP").read_text(), "to look into\n")
        shown = self.ask("gc", self.runs).out
        goes = {l.split()[2] for l in shown.splitlines() if l.startswith("could go")}
        self.assertEqual(goes, {"torn", "empty", "bytes", "types", "deep", "half", "gone", "?[31mred"})
        self.assertIn("notes.txt in it was written by no run", self.ask("gc", self.runs, "--older", "0").out)
        self.assertIn("marked", shown)
        self.ask("gc", self.runs, "--remove")
        left = {p.name for p in self.runs.iterdir()}
        self.assertEqual(left, {whole.name, "list", "zeros", "noconfig", "odd", "dangling", "linked", "file", "foreign"})
        self.ask("mark", self.runs / "zeros", "--clear")
        self.assertFalse((self.runs / "zeros/KEEP").exists())
        self.ask("gc", self.runs, "--remove", "--older", "0")
        self.assertFalse((self.runs / "zeros").exists())

    def test_a_run_at_work_is_left_alone(self):
        p = self.start(TRAIN, "--quiet", self.config, f"run.dir={self.runs}", "train.epochs=1000000", "eval.every_epochs=1000000")
        wait_for(lambda: list(self.runs.glob("*/metrics.jsonl")) and list(self.runs.glob("*/run.json")), 60, "a run")
        run = next(self.runs.iterdir())
        row = json.loads(self.ask("list", self.runs, "--json").out)[0]
        self.assertEqual(row["state"], "running")
        self.assertIn("0 of 1 run could go", self.ask("gc", self.runs, "--older", "0", "--remove").out)
        self.ask("show", run)
        self.assertIsNone(p.poll(), "looking at a run ended it")
        p.send_signal(signal.SIGKILL)
        p.wait()
        self.assertEqual(json.loads(self.ask("list", self.runs, "--json").out)[0]["state"], "gone")
        self.assertEqual(json.loads((run / "run.json").read_text())["status"], "running", "looking closed the record")
        self.ask("gc", self.runs, "--older", "0", "--remove")
        self.assertFalse(run.exists())


TENSORS = ["fc1.weight", "fc1.bias", "fc.weight", "fc.bias"]
# What must not matter, and differs in every second run: threads, vectors, buckets, places, what is recorded.
ELSE = ["train.threads=2", "reduce.bucket_mb=0.02", "log.level=warn", "run.name=other", "checkpoint.keep=2", "data.workers=0"]


def layers(**change):
    """CONFIG with other layers."""
    kind = {"act": "relu", "p": 0.25, "out": 16, **change}
    return CONFIG.replace("""{type = "relu", name = "r1"},""",
                          """{type = "%(act)s", name = "r1"}, {type = "dropout", name = "d", p = %(p)s},""" % kind).replace(
                              "out = 16", "out = %d" % kind["out"])


def make_idx(folder, picture=None, label=None):
    """128 + 32 pictures; of the training pictures one pixel of one, or one label, is another."""
    folder.mkdir()
    for name, n in (("train", 128), ("t10k", 32)):
        pixels = bytearray((i * 7 + i // 97) % 251 for i in range(n * 784))
        labels = bytearray(i % 10 for i in range(n))
        if picture is not None and name == "train":
            pixels[picture * 784 + 400] ^= 64
        if label is not None and name == "train":
            labels[label] = (labels[label] + 1) % 10
        (folder / f"{name}-images-idx3-ubyte").write_bytes(
            bytes.fromhex("00000803") + n.to_bytes(4, "big") + (28).to_bytes(4, "big") * 2 + pixels)
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(bytes.fromhex("00000801") + n.to_bytes(4, "big") + labels)


class Hidden(Case):
    """Two runs that differ in one way: verify has to name the step, the tensors that part first, and the way."""

    def verify(self, a, b):
        r = self.run_program(RUNS, "verify", "--json", a, b)
        self.assertIn(r.code, (0, 1), r.err)
        return r.code, json.loads(r.out)

    def parameters(self, v):
        """Of the tensors that parted, the parameters they belong to."""
        return [t for t in TENSORS if any(x == t or x.startswith(t + ".") for x in v["tensors"])]

    def check(self, a, b, step, tensors, cause):
        code, v = self.verify(a, b)
        self.assertEqual((code, v["equal"], v["first_divergent_step"]), (1, False, step), v)
        self.assertEqual(self.parameters(v), tensors, v)
        self.assertEqual(v["causes"][0]["key"], cause, v)
        self.assertTrue(v["causes"][0]["likely"], v)
        self.assertLess(len(v["causes"]), 3, "causes that are none")
        out = self.ask("verify", a, b, code=1).out
        self.assertIn(f"different from step {step} on", out)
        self.assertIn(v["causes"][0]["text"], out)

    def pair(self, ours, theirs, config=(CONFIG, CONFIG)):
        self.config.write_text(config[0])
        a = self.train("run.name=one", *ours)
        self.config.write_text(config[1])
        b = self.train(*ELSE, *theirs, env={"DDP_ISA": "scalar"})
        return a, b

    def test_equal_where_only_what_must_not_matter_differs(self):
        a, b = self.pair([], [])
        self.assertEqual(self.verify(a, b)[0], 0)
        self.assertRegex(self.ask("verify", a, b).out, r"^equal: 16 steps, \d+ records on the way, and the final weights")

    def test_ways_of_the_config(self):
        both = TENSORS
        weights = ["fc1.weight", "fc.weight"]
        decay = ["optim.weight_decay=0.01"]
        cosine = ["optim.schedule=cosine"]
        table = [  # ours, theirs, first step, tensors, cause
            ([], ["seed=2"], 0, both, "seed"),
            ([], ["optim.lr=0.051"], 1, both, "optim.lr"),
            ([], ["optim.momentum=0.8"], 2, both, "optim.momentum"),
            ([], decay, 1, weights, "optim.weight_decay"),
            (decay, [*decay, 'optim.no_decay=["fc.weight"]'], 1, ["fc.weight"], "optim.no_decay"),
            ([], ['optim.groups=({match="fc1.weight"; lr_scale=0.5;})'], 1, ["fc1.weight"], "optim.groups"),
            ([], ["optim.clip_norm=0.1"], 1, both, "optim.clip_norm"),
            ([], ["optim.schedule=step", "optim.milestones=[1.0]"], 9, both, "optim.schedule"),
            (cosine, [*cosine, "train.epochs=3", "train.max_steps=16"], 2, both, "train.epochs"),
            (["optim=adam"], ["optim=adam", "optim.beta2=0.99"], 1, both, "optim.beta2"),
            ([], ["train.batch=32"], 1, both, "train.batch"),
            ([], ["train.accumulate=2"], 1, both, "train.accumulate"),
            ([], ["data.shuffle=false"], 1, both, "data.shuffle"),
            ([], ["data.seed=2"], 1, both, "data.seed"),
            ([], ["data.flip=true"], 1, both, "data.flip"),
            (["data.mean=[0.1]", "data.std=[0.3]"], ["data.mean=[0.2]", "data.std=[0.3]"], 1, both, "data.mean"),
        ]
        for ours, theirs, step, tensors, cause in table:
            with self.subTest(cause=cause, theirs=theirs):
                self.check(*self.pair(ours, theirs), step, tensors, cause)

    def test_ways_of_the_model(self):
        for change, cause in (({"act": "gelu"}, "model.layers[2].type"), ({"p": 0.26}, "model.layers[3].p")):
            with self.subTest(cause=cause):
                self.check(*self.pair([], [], (layers(), layers(**change))), 1, TENSORS, cause)

    def test_ways_of_the_data(self):
        """One pixel, and one label, of one picture: the step that meets it first."""
        make_idx(self.dir / "whole")
        make_idx(self.dir / "pixel", picture=40)
        make_idx(self.dir / "label", label=100)
        words = ["data.format=idx", "data.shuffle=false", "data.mean=[0.5]", "data.std=[0.3]"]
        for name, step in (("pixel", 40 // 16 + 1), ("label", 100 // 16 + 1)):
            with self.subTest(name=name):
                a, b = self.pair([*words, f"data.path={self.dir}/whole"], [*words, f"data.path={self.dir}/{name}"])
                self.check(a, b, step, TENSORS, "training data")

    def test_ways_of_the_beginning(self):
        """One bit of one tensor of the file that the weights begin with; a run that was forked at step 6."""
        start = self.train("train.max_steps=1", f"run.dir={self.dir}/start") / "model.safetensors"
        raw = bytearray(start.read_bytes())
        header = json.loads(raw[8:8 + int.from_bytes(raw[:8], "little")])
        last = max((k for k in header if k != "__metadata__"), key=lambda k: header[k]["data_offsets"])
        raw[-2] ^= 64
        same = self.dir / "same/model.safetensors"
        same.parent.mkdir()
        shutil.copy(start, same)
        a = self.train(f"init.from={same}", "init.strict=false")
        same.write_bytes(raw)
        b = self.train(f"init.from={same}", "init.strict=false", *ELSE)
        self.check(a, b, 0, [last], "init.sha256")
        a = self.train("checkpoint.every_steps=6", "checkpoint.keep=9")
        checkpoint = a / "checkpoints/step-00000006"
        b = self.run_program(TRAIN, "--quiet", "--resume", checkpoint, "optim.momentum=0.5", *ELSE)
        self.check(a, pathlib.Path(b.run_dir), 7, TENSORS, "optim.momentum")
        b = self.run_program(TRAIN, "--quiet", "--resume", checkpoint, "log.every_steps=3", f"run.dir={self.dir}/again")
        self.assertEqual(self.verify(a, pathlib.Path(b.run_dir))[0], 0, "going on changed it")

    def test_the_order_of_sums(self):
        """reduce.mode = fast is a function of the ranks; the keys are the same."""
        words = ["reduce.mode=fast", "train.shards=8", "repro.level=warn"]
        runs = [pathlib.Path(self.launch(*words, ranks=n, config=self.config).run_dir) for n in (3, 2)]
        code, v = self.verify(*runs)
        self.assertEqual((code, v["causes"][0]["key"]), (1, "reduce.mode"), v)
        self.assertEqual(json.loads((runs[0] / "run.json").read_text())["promise"], {"level": "warn", "broken_by": ["reduce.mode"]})
        canonical = [pathlib.Path(self.launch("train.shards=8", ranks=n, config=self.config).run_dir) for n in (3, 2)]
        self.assertEqual(self.verify(*canonical)[0], 0)

    def test_levels_of_the_promise(self):
        for program in (TRAIN, harness.LAUNCH):
            words = [program, self.config, f"run.dir={self.runs}", "reduce.mode=fast", "log.progress=false"]
            r = self.run_program(*words)
            self.assertEqual(r.code, 2, r.err)
            self.assertRegex(r.err, r"command line: reduce\.mode breaks the promise of the same bits.*repro\.level=fast")
            r = self.run_program(*words, "repro.level=warn")
            self.assertEqual((r.code, r.err.count("reduce.mode breaks the promise")), (0, 1), r.err)
            r = self.run_program(*words, "repro.level=fast")
            self.assertEqual((r.code, "breaks the promise" in r.err), (0, False), r.err)
        self.assertEqual(json.loads((self.train() / "run.json").read_text())["promise"], {"level": "bitwise", "broken_by": []})

    def copy(self, run, name, edit=lambda doc: None):
        to = self.runs / name
        shutil.copytree(run, to)
        self.edit(to, edit)
        return to

    def flip(self, run, step, part, tensor):
        """As if one bit of a tensor had changed in a step: its hash, and all that follows."""
        out = []
        for line in (run / "weights.trail").read_text().splitlines():
            doc = json.loads(line)
            if doc.get("step", 0) == step:
                doc[part]["tensors"][tensor] = "0123456789abcdef"
                doc[part]["hash"] = "0" * 64
            elif doc.get("step", 0) > step:
                for p in ("parameters", "optimizer"):
                    doc[p]["tensors"] = {k: "f" * 16 for k in doc[p]["tensors"]}
            out.append(json.dumps(doc))
        (run / "weights.trail").write_text("\n".join(out) + "\n")
        metrics = [json.loads(l) for l in (run / "metrics.jsonl").read_text().splitlines()]
        for doc in metrics:
            if doc["step"] > step:
                doc["loss"] += 1e-3
        (run / "metrics.jsonl").write_text("".join(json.dumps(d) + "\n" for d in metrics))

    def test_ways_of_code_libraries_and_machines(self):
        a = self.train()
        gpu = {"name": "H100", "versions": {"cudnn": 90800, "nccl": 21805}}
        other = {"name": "H100", "versions": {"cudnn": 91000, "nccl": 21805}}
        table = [
            ("bit", lambda d: None, lambda d: None, 7, "gradient", "fc1.bias", ""),
            ("code", lambda d: None, lambda d: d["code"].update(version="0.0.9+abc", binary_sha256="1" * 64), 1, "optimizer",
             "fc.weight.momentum", "code.version"),
            ("compiler", lambda d: None, lambda d: d["code"].update(compiler="clang 14", binary_sha256="2" * 64), 3, "optimizer",
             "fc1.weight.momentum", "code.compiler"),
            ("cudnn", lambda d: d.update(device="cuda", gpu=gpu), lambda d: d.update(device="cuda", gpu=other), 2, "optimizer",
             "fc1.weight.momentum", "gpu.versions.cudnn"),
            ("card", lambda d: d.update(device="cuda", gpu=gpu), lambda d: d.update(device="cuda", gpu={**gpu, "name": "A100"}), 1,
             "optimizer", "fc.weight.momentum", "gpu.name"),
            ("jpeg", lambda d: d["machine"]["loaded"].update({"libjpeg.so.62": {"file": "libjpeg.so.62.3.0", "build_id": "ab"}}),
             lambda d: d["machine"]["loaded"].update({"libjpeg.so.62": {"file": "libjpeg.so.62.4.0", "build_id": "cd"}}), 5, "parameters",
             "fc.bias", "machine.loaded.libjpeg.so.62"),
        ]
        for name, ours, theirs, step, part, tensor, cause in table:
            with self.subTest(name=name):
                x, y = self.copy(a, name + "-a", ours), self.copy(a, name + "-b", theirs)
                self.edit(y, lambda d: d.update(weights_hash="0" * 64))
                self.flip(y, step, part, tensor)
                code, v = self.verify(x, y)
                self.assertEqual((code, v["first_divergent_step"], v["last_equal_step"] or 0), (1, step, step - 1), v)
                self.assertEqual((v["part"], v["tensors"]), (part, [tensor]), v)
                self.assertEqual(v["causes"][0]["key"], cause, v)

    def test_evaluations_alone(self):
        a, b = self.pair([], ["data.test_count=40"])
        code, v = self.verify(a, b)
        self.assertEqual((code, v["part"], v["first_divergent_step"]), (1, "evaluation", 8), v)
        self.assertEqual(v["causes"][0]["key"], "data.test_count", v)

    def test_a_sparse_trail_is_helped_by_the_losses(self):
        """Hashes every 8 steps, losses every 2: the lr changes at step 9."""
        sparse = ["train.trail_every=8", "log.every_steps=2"]
        a, b = self.pair(sparse, [*sparse, "optim.schedule=step", "optim.milestones=[1.0]"])
        code, v = self.verify(a, b)
        self.assertEqual((v["first_divergent_step"], v["last_equal_step"], v["part"], v["tensors_step"]), (10, 8, "lr", 16), v)

    def test_a_trail_of_an_earlier_version_is_set_aside(self):
        run = self.train("train.max_steps=5")
        whole = self.train()
        old = (run / "weights.trail").read_text().replace('"version":2', '"version":1')
        (run / "weights.trail").write_text(old)
        self.train("--resume", run)
        self.assertEqual((run / "weights.trail.old").read_text(), old)
        records = [json.loads(l) for l in (run / "weights.trail").read_text().splitlines()]
        self.assertEqual((records[0]["version"], [r["step"] for r in records[1:]]), (2, list(range(6, 17))))
        self.assertEqual(self.verify(run, whole)[0], 0)

    def test_unequal_ends(self):
        whole, part = self.train(), self.train("train.max_steps=5")
        out = self.ask("verify", whole, part, code=1).out
        self.assertRegex(out, "^equal as far as both go: to step 5")
        code, v = self.verify(part, whole)
        self.assertEqual((code, v["equal"], v["verdict"], v["first_divergent_step"]), (1, False, "equal so far", None))
        empty = self.copy(whole, "empty")
        for name in ("weights.trail", "metrics.jsonl"):
            (empty / name).unlink()
        self.edit(empty, lambda d: d.pop("weights_hash"))
        self.assertIn("nothing to compare", self.ask("verify", whole, empty, code=3).out)

    def test_damaged_records_are_used_as_far_as_they_go(self):
        a = self.train()
        trail = (a / "weights.trail").read_text().splitlines(keepends=True)
        cases = [
            ("torn", "".join(trail[:-1]) + trail[-1][:40], 0, "no whole record"),
            ("zeros", "".join(trail[:5]) + "\0" * 300 + "\n" + "".join(trail[5:]), 0, "no whole record"),
            ("swapped", "".join(trail[:3] + [trail[5], trail[3]] + trail[6:]), 0, "out of order"),
            ("foreign", "hello\n" + "".join(trail[1:]), 0, "does not say that it is a ddp-trail"),
            ("later", trail[0].replace('"version":1', '"version":9').replace('"version":2', '"version":9') + "".join(trail[1:]), 0,
             "only 1 is known|only versions"),
            ("without", None, 0, ""),
        ]
        for name, text, code, says in cases:
            with self.subTest(name=name):
                b = self.copy(a, name)
                (b / "weights.trail").unlink()
                if text is not None:
                    (b / "weights.trail").write_text(text)
                before = snapshot(self.runs)
                r = self.ask("verify", a, b, code=code)
                self.assertRegex(r.out, says or "^equal")
                self.ask("diff", a, b, code=0)
                self.assertEqual(snapshot(self.runs), before)

    def test_diff_and_verify_refuse_what_is_no_run(self):
        a = self.train()
        half = self.copy(a, "half")
        (half / "run.json").write_text("{")
        for command in ("diff", "verify"):
            self.assertIn("damaged: run.json is no JSON", self.ask(command, a, half, code=3).err)
            self.assertIn("no such run", self.ask(command, self.dir / "none", a, code=2).err)
            self.assertIn("two runs are wanted", self.ask(command, a, code=2).err)

    def test_diff_shows_every_section(self):
        a, b = self.pair([], ["optim.lr=0.1", "data.test_count=40", "train.max_steps=9"])
        self.edit(b, lambda d: (d["code"].update(version="0.0.9+abc"), d["machine"].update(cpu="Z80", isa="scalar")))
        out = self.ask("diff", a, b, code=1).out
        for line in (r"config", r"\* optim\.lr +0\.05 +0\.1", r"  train\.threads +1 +2", r"code", r"\? code\.version +\S+ +0\.0\.9\+abc",
                     r"data", r"  held-out data ", r"machine", r"  machine\.cpu .* Z80", r"result", r"  weights_hash "):
            self.assertRegex(out, "(?m)^" + line)
        listed = {d["key"]: d for d in json.loads(self.ask("diff", "--json", a, b, code=1).out)}
        self.assertEqual((listed["optim.lr"]["a"], listed["optim.lr"]["b"], listed["optim.lr"]["affects"]), ("0.05", "0.1", "results"))
        self.assertEqual(listed["train.threads"]["affects"], "none")


class Reproduce(Case):
    def again(self, run, *args, code=0, **kw):
        return self.ask("reproduce", run, "--dir", self.dir / "again", *args, code=code, timeout=240, **kw)

    def test_the_bits_come_out_at_any_number_of_ranks(self):
        run = self.train("train.epochs=1")
        before = snapshot(self.runs)
        for n in (1, 3):
            r = self.again(run, "-n", n, "train.threads=2")
            self.assertRegex(r.out, r"(?m)^same +program +the same bytes")
            self.assertRegex(r.out, r"(?m)^same +training data")
            self.assertIn("\nequal: 8 steps", r.out)
            self.assertRegex(r.out, f"reproduced: .* has the bits of {run}")
            made = json.loads((pathlib.Path(re.search("^run: (.*)$", r.out, re.M)[1]) / "run.json").read_text())
            self.assertEqual((made["ranks"], made["threads"]), (n, 2))
        self.assertEqual(snapshot(self.runs), before, "the old run was changed")

    def test_the_record_in_the_examples(self):
        """Made by the plain C kernels on two ranks, by an earlier commit."""
        record = harness.ROOT / "examples/record"
        before = snapshot(record)
        r = self.again(record, "-n", 3)
        self.assertIn("equal: 40 steps", r.out)
        self.assertIn(json.loads((record / "run.json").read_text())["weights_hash"], r.out)
        self.assertEqual(snapshot(record), before)

    def test_a_request_to_stop_reaches_the_new_run(self):
        run = self.train("train.epochs=4000", "train.max_steps=20000", "train.trail_every=1000", "log.every_steps=1000",
                         "eval.every_epochs=4000")
        p = self.start(RUNS, "reproduce", run, "--dir", self.dir / "again", "-n", 1)
        wait_for(lambda: list((self.dir / "again").glob("*/run.json")), 60, "the new run")
        p.send_signal(signal.SIGTERM)
        out, err = p.communicate(timeout=60)
        status = json.loads(next((self.dir / "again").glob("*/run.json")).read_text())["status"]
        self.assertIn((p.returncode, status), [(75, "stopped"), (0, "done")], err)  # it may have been through

    def test_legs_forks_and_unfinished_runs(self):
        legs = self.train("train.max_steps=5", "run.name=legs")
        self.run_program(TRAIN, "--quiet", "--resume", legs, "train.max_steps=11")
        self.assertIn("equal: 11 steps", self.again(legs).out)
        early = self.train("checkpoint.every_steps=6", "checkpoint.keep=9", "run.name=early")
        fork = self.run_program(TRAIN, "--quiet", "--resume", early / "checkpoints/step-00000006", "optim.momentum=0.5")
        before = snapshot(self.runs)
        out = self.again(fork.run_dir).out
        self.assertIn("equal: 16 steps", out)
        self.assertRegex(out, r"(?m)^same +parent")
        self.assertEqual(snapshot(self.runs), before)
        killed = self.copy_of(self.train("run.name=killed"))
        for name, keep in (("weights.trail", 8), ("metrics.jsonl", 6)):
            lines = (killed / name).read_text().splitlines(keepends=True)
            (killed / name).write_text("".join(lines[:keep]) + lines[keep][:20])
        (killed / "model.safetensors").unlink()
        self.edit(killed, lambda d: [d.update(status="running"), *(d.pop(k) for k in ("weights_hash", "train", "eval"))])
        out = self.again(killed).out
        self.assertRegex(out, "equal as far as both go: to step [67]\n")
        self.assertIn("reproduced: ", out)
        shutil.rmtree(early)
        r = self.again(fork.run_dir, code=3)
        self.assertRegex(r.out, "(?m)^MISSING +parent +the checkpoint that it forked from is not there")

    def copy_of(self, run):
        to = self.dir / "copies" / run.name
        shutil.copytree(run, to)
        return to

    def test_what_is_missing_is_named_and_nothing_is_started(self):
        make_idx(self.dir / "set")
        run = self.train("data.format=idx", f"data.path={self.dir}/set")
        (self.dir / "set").rename(self.dir / "moved")
        r = self.again(run, code=3)
        self.assertRegex(r.out, r"(?m)^MISSING +(config|training data)")
        self.assertIn("cannot be reproduced here", r.err)
        self.assertIn("reproduced: ", self.again(run, f"data.path={self.dir}/moved").out)
        shutil.rmtree(self.dir / "again")
        shutil.rmtree(self.dir / "moved")
        make_idx(self.dir / "moved", picture=3)
        r = self.again(run, f"data.path={self.dir}/moved", code=3)
        self.assertRegex(r.out, r"(?m)^MISSING +training data +they are others")
        start = self.train("train.max_steps=1", "run.name=start") / "model.safetensors"
        weights = self.dir / "w.safetensors"
        shutil.copy(start, weights)
        run = self.train(f"init.from={weights}")
        weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
        self.assertRegex(self.again(run, code=3).out, r"(?m)^MISSING +init\.from +.* has other bytes")
        self.assertFalse((self.dir / "again").exists(), "something was started")
        self.assertIn("only keys that change no result", self.again(run, "optim.lr=0.3", code=2).err)
        self.assertIn("nothing to compare", self.again(self.copy_empty(run), code=3).err)

    def test_a_config_that_is_not_the_recorded_one(self):
        run = self.train()
        for words in ((), ("train.threads=2",)):
            self.assertRegex(self.again(run, "--check", *words).out, r"(?m)^same +config +as recorded")
        table = [
            (lambda c: "", r"\(train\.batch is 128, not 16; .*; and \d+ keys more\)"),
            (lambda c: re.sub(r"lr = 0\.05", "lr = 0.2", c), r"\(optim\.lr is 0\.2, not 0\.05\)"),
            (lambda c: c.replace("out = 16", "out = 17"), r"\(model\.layers\[1\]\.out is 17, not 16\)"),
        ]
        for change, says in table:
            bad = self.copy_of(run)
            text = (bad / "config.cfg").read_text()
            (bad / "config.cfg").write_text(change(text))
            self.assertNotEqual(change(text), text)
            r = self.again(bad, code=3)
            self.assertRegex(r.out, r"(?m)^MISSING +config +\S+/config\.cfg is not what the run recorded ")
            self.assertRegex(r.out, says)
            self.assertIn("config.json", r.out)
            self.assertFalse((self.dir / "again").exists(), "something was started")
            shutil.rmtree(bad)
        bad = self.copy_of(run)
        for name, ours, theirs in (("config.cfg", "lr = 0.05", "lr = 0.2"), ("config.json", '"lr": 0.05', '"lr": 0.2')):
            text = (bad / name).read_text()
            self.assertIn(ours, text)
            (bad / name).write_text(text.replace(ours, theirs))
        self.assertRegex(self.again(bad, code=3).out, r"(?m)^MISSING +config .* neither is its config\.json")
        other = self.train("optim.lr=0.06")
        r = self.ask("bisect", bad, other, "--dir", self.dir / "again", code=3)
        self.assertIn("is not what the run recorded", r.out)

    def test_a_program_of_ones_own(self):
        """Typed as it was called where it lies: found again from elsewhere, looked at first, and named anew."""
        program = (BIN / "planted_op_0").resolve()
        self.config.write_text(CONFIG.replace('{type = "relu", name = "r1"}', '{type = "planted", name = "mine"}'))
        words = [self.config, f"run.dir={self.runs}"]
        runs = []
        for lr in (0.05, 0.06):
            r = self.run_program(harness.LAUNCH, "-n", 1, "-q", "--program", "./planted_op_0", *words, f"optim.lr={lr}", cwd=program.parent)
            self.assertEqual(r.code, 0, r.err)
            runs.append(pathlib.Path(r.run_dir))
        doc = json.loads((runs[0] / "run.json").read_text())
        self.assertEqual((doc["program"], "./planted_op_0" in doc["command"]), (str(program), True))
        out = self.again(runs[0]).out
        self.assertRegex(out, rf"(?m)^same +own program +{program}, the same bytes")
        self.assertIn("reproduced: ", out)
        changes = (lambda d: d.update(program=str(self.dir)), lambda d: d.pop("program"))  # a folder; an old record
        for change, why in zip(changes, ("it is a folder", "No such file")):
            self.edit(runs[0], change)
            r = self.again(runs[0], "--check", code=3)
            self.assertRegex(r.out, rf"(?m)^MISSING +own program +\S+ cannot be run: {why}.*--program")
        self.assertIn("reproduced: ", self.again(runs[0], "--program", program).out)
        self.assertIn("own program", self.ask("bisect", *runs, code=3).out)
        self.assertIn("first    step 1: ", self.ask("bisect", *runs, "--program", program, code=1).out)

    def test_the_way_on_holds_in_any_folder(self):
        """The command that a stopped run is gone on with has the whole path of the program."""
        p = self.start(harness.LAUNCH, "-n", 1, "--program", os.path.relpath(TRAIN, self.dir), self.config, f"run.dir={self.runs}",
                       "train.epochs=1000000", "eval.every_epochs=1000000")
        wait_for(lambda: [m for m in self.runs.glob("*/metrics.jsonl") if m.stat().st_size], 60, "a step")
        p.send_signal(signal.SIGTERM)
        out, err = p.communicate(timeout=60)
        self.assertIn(f"--program={TRAIN.resolve()} --resume ", err, out)

    def copy_empty(self, run):
        to = self.copy_of(run)
        self.edit(to, lambda d: [d.update(status="failed"), *(d.pop(k) for k in ("weights_hash", "train"))])
        (to / "metrics.jsonl").write_text("")
        return to

    def test_another_program_and_other_bits(self):
        """A record made by other code: it is said, the run is made, and the bits decide."""
        run = self.copy_of(self.train())
        self.edit(run, lambda d: (d["code"].update(version="0.0.9+0123456789ab", binary_sha256="1" * 64, diff="code-x.diff.gz"),
                                  d["machine"]["loaded"]["libc.so.6"].update(build_id="12")))
        r = self.again(run)
        self.assertRegex(r.out, r"(?m)^other +code +0\.0\.9\+0123456789ab then")
        self.assertIn(f"git checkout 0123456789ab && zcat {run}/code-x.diff.gz | git apply", r.out)
        self.assertRegex(r.out, r"(?m)^other +library +libc\.so\.6")
        trail = (run / "weights.trail").read_text().splitlines()
        doc = json.loads(trail[9])
        doc["parameters"]["tensors"]["fc.bias"] = "0" * 16
        trail[9] = json.dumps(doc)
        (run / "weights.trail").write_text("\n".join(trail) + "\n")
        r = self.again(run, code=1)
        self.assertIn(f"different from step {doc['step']} on", r.out)
        self.assertIn("not reproduced: ", r.out)
        r = self.again(run, "--check")
        self.assertIn("ddp-launch -n 1 ", r.out)
        self.assertNotIn("weights: ", r.out)


class Damage(Case):
    """Every command on directories in every bad state: clear words, an end, and nothing changed."""

    def commands(self, good, bad):
        for words in (("show", bad), ("diff", good, bad), ("diff", bad, good), ("verify", good, bad), ("verify", "--json", bad, good),
                      ("reproduce", bad, "--check"), ("bisect", bad, good), ("list", bad.parent), ("list", bad.parent, "--json"),
                      ("gc", bad.parent, "--older", "0")):
            yield words

    def check(self, good, bad, name, as_nobody=False):
        before = snapshot(bad.parent)
        user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if as_nobody else []
        for words in self.commands(good, bad):
            r = self.run_program(*user, RUNS, *words, timeout=100)
            self.assertIn(r.code, (0, 1, 2, 3), f"{name}: {words}\n{r.out}\n{r.err}")
            self.assertTrue(r.out or r.err, f"{name}: {words}: not a word")
            self.assertNotIn("\x1b", r.out + r.err)
            if "--json" in words and r.code < 2:
                json.loads(r.out)
        self.assertEqual(snapshot(bad.parent), before, f"{name}: changed by looking")

    def wreck(self, good, run, name, change):
        bad = self.dir / "wrecks" / "x"
        shutil.copytree(run, bad)
        change(bad)
        self.check(good, bad, name)
        shutil.rmtree(bad.parent)

    def test_files_that_are_torn_or_noise(self):
        good, run = self.train("run.name=good"), self.train("run.name=bad", "optim.lr=0.04", "checkpoint.every_steps=4")
        rng = random.Random(11)
        for name in ("run.json", "config.json", "config.cfg", "weights.trail", "metrics.jsonl", "checkpoints/step-00000012/state.json",
                     "checkpoints/step-00000012/model.safetensors"):
            raw = (run / name).read_bytes()
            for at in rng.sample(range(len(raw)), 1):
                self.wreck(good, run, f"{name} cut at {at}", lambda x: (x / name).write_bytes(raw[:at]))
            flipped = bytearray(raw)
            for at in rng.sample(range(len(raw)), 8):
                flipped[at] ^= 1 << rng.randrange(8)
            self.wreck(good, run, f"{name} flipped", lambda x: (x / name).write_bytes(flipped))
            self.wreck(good, run, f"{name} noise", lambda x: (x / name).write_bytes(rng.randbytes(3000)))

    def test_entries_that_are_no_files(self):
        good, run = self.train("run.name=good"), self.train("run.name=bad", "optim.lr=0.04")
        for name in ("run.json", "config.json", "config.cfg", "weights.trail", "metrics.jsonl", "checkpoints", "log"):
            def gone(x):
                shutil.rmtree(x / name) if (x / name).is_dir() else (x / name).unlink()

            for what, put in (("gone", lambda p: None), ("a folder", lambda p: p.mkdir()), ("a pipe", os.mkfifo),
                              ("a loop", lambda p: p.symlink_to(p.name))):
                self.wreck(good, run, f"{name} is {what}", lambda x: (gone(x), put(x / name)))

    def test_values_of_the_wrong_kind(self):
        good, run = self.train("run.name=good"), self.train("run.name=bad", "optim.lr=0.04")
        doc, rng = json.loads((run / "run.json").read_text()), random.Random(12)

        def paths(o, at=()):
            for k, v in o.items() if isinstance(o, dict) else enumerate(o) if isinstance(o, list) else ():
                yield (*at, k)
                yield from paths(v, (*at, k))

        every = list(paths(doc))
        for i in range(8):
            changed = json.loads(json.dumps(doc))
            for at in rng.sample(every, 4):
                o = changed
                try:
                    for k in at[:-1]:
                        o = o[k]
                    o[at[-1]] = rng.choice([None, -1, 1e308, "x" * 5000, [], {}, [[]], "\x1b[31m", 2**62, True, "", "../../etc", "%s%n"])
                except (KeyError, IndexError, TypeError):
                    pass
            self.wreck(good, run, f"mutation {i}", lambda x: (x / "run.json").write_text(json.dumps(changed)))

    def test_a_run_that_is_being_written(self):
        good = self.train("run.name=good")
        p = self.start(TRAIN, "--quiet", self.config, f"run.dir={self.dir}/live", "train.epochs=1000000", "eval.every_epochs=1000000",
                       "optim.lr=0.04", "train.trail_every=1")
        wait_for(lambda: [m for m in (self.dir / "live").glob("*/metrics.jsonl") if m.stat().st_size > 2000], 60, "a run")
        live = next((self.dir / "live").iterdir())
        wait_for(lambda: (live / "run.json").exists(), 60, "its record")
        for words in self.commands(good, live):
            r = self.run_program(RUNS, *words, timeout=100)
            self.assertIn(r.code, (0, 1, 3), f"{words}\n{r.out}\n{r.err}")
        self.assertIn("different from step 1 on", self.ask("verify", good, live, code=1).out)
        self.assertIsNone(p.poll(), "looking at a run ended it")

    def test_what_may_not_be_read(self):
        if os.geteuid() != 0 or not shutil.which("setpriv"):
            self.skipTest("only root can be somebody else, by setpriv")
        for p in (self.dir, pathlib.Path(RUNS).resolve()):
            if self.run_program("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "test", "-x", p).code and p != self.dir:
                self.skipTest(f"{p} is not for everybody")
        self.dir.chmod(0o755)
        good, run = self.train("run.name=good"), self.train("run.name=bad", "optim.lr=0.04")
        for name in ("run.json", "config.json", "config.cfg", "weights.trail", "metrics.jsonl", "checkpoints", "log", "."):
            before = (run / name).stat().st_mode
            (run / name).chmod(0)
            self.check(good, run, f"{name} is closed", as_nobody=True)
            if name == ".":
                r = self.run_program("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", RUNS, "show", run)
                self.assertIn("cannot be looked into: Permission denied", r.err)
                r = self.run_program("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", RUNS, "list", self.runs)
                self.assertIn("1 folder there cannot be looked into", r.err)
            (run / name).chmod(before)


harness.main(jobs=2)
