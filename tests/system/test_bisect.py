"""ddp-runs bisect on pairs of runs with one planted difference: whether it names the op, and what it says where it cannot."""
import json
import os
import pathlib
import shutil
import signal

import harness
import pseudo_nodes
from harness import BIN, TRAIN, snapshot, wait_for

RUNS = BIN / "ddp-runs"

CONFIG = """
model = { layers = (
    {type = "conv2d", name = "conv", out = 4, kernel = 5, stride = 4}, {type = "batch_norm", name = "bn"},
    {type = "relu", name = "r1"}, {type = "flatten", name = "flat"}, {type = "dropout", name = "d", p = 0.25},
    {type = "linear", name = "fc", out = 10}, {type = "softmax_cross_entropy", name = "loss"}); };
data: { format = "digits"; train_count = 128; test_count = 32; };
train: { batch = 16; shards = 4; epochs = 2; threads = 1; trail_every = 1; };
optim: { base = "sgd"; lr = 0.05; };
checkpoint: { every_epochs = 0; best = false; };
log: { every_steps = 1; };
"""
# What must not matter, and differs in every second run.
ELSE = ["train.threads=2", "reduce.bucket_mb=0.02", "data.workers=0", "log.level=warn"]


class Case(harness.Case):
    def setUp(self):
        super().setUp()
        self.config = self.dir / "T.cfg"
        self.runs = self.dir / "runs"

    def train(self, *args, config=CONFIG, **kw):
        self.config.write_text(config)
        r = self.run_program(TRAIN, "--quiet", self.config, f"run.dir={self.runs}", *args, **kw)
        self.assertEqual(r.code, 0, f"{args}: {r.err}")
        return pathlib.Path(r.run_dir)

    def ask(self, *args, code=1, **kw):
        r = self.run_program(RUNS, "bisect", *args, timeout=240, **kw)
        self.assertEqual(r.code, code, f"{args}\n{r.out}\n{r.err}")
        return r

    def bisect(self, a, b, *args, code=1, **kw):
        before = snapshot(self.runs)
        found = json.loads(self.ask("--json", a, b, *args, code=code, **kw).out)
        self.assertEqual(snapshot(self.runs), before, "an old run was changed")
        return found


class Ops(Case):
    def check(self, a, b, step, kind, name, *args, **kw):
        v = self.bisect(a, b, *args, **kw)
        self.assertEqual(v["end"], "found", v)
        f = v["found"]
        self.assertEqual((f["step"], f["kind"], f["name"]), (step, kind, name), v)
        self.assertTrue(all(r["reproduced"] for r in v["runs"]), v)
        return f

    def test_ways_of_the_config(self):
        """Each shows first in one op of one step; the same on one rank with other threads and buckets, and on three."""
        decay = ["optim.weight_decay=0.01"]
        table = [  # ours, theirs, step, kind, name
            ([], ["seed=2"], 1, "begin", "conv.weight"),
            ([], ["data.shuffle=false"], 1, "input", "samples"),
            ([], ["train.shards=2"], 1, "input", "samples"),
            ([], ["data.seed=2"], 1, "input", "targets"),
            ([], ["data.flip=true"], 1, "input", "data"),
            ([], ["optim.schedule=step", "optim.milestones=[1.0]"], 9, "scale", "lr"),
            (["optim.clip_norm=9"], ["optim.clip_norm=0.1"], 1, "update", "conv.weight.momentum"),
            ([], ["optim.momentum=0.8"], 2, "update", "conv.weight.momentum"),
            (decay, [*decay, 'optim.no_decay=["fc.weight"]'], 1, "update", "fc.weight.momentum"),
            ([], ['optim.groups=({match="fc.bias"; lr_scale=0.5;})'], 1, "update", "fc.bias"),
            (["optim=adam"], ["optim=adam", "optim.beta2=0.99"], 1, "update", "conv.weight.exp_avg_sq"),
            (["optim=lamb"], ["optim=lamb", "optim.eps=1e-3"], 1, "update", "conv.weight"),
            (["optim.ema=0.9"], ["optim.ema=0.8"], 1, "update", "conv.weight.ema"),
        ]
        for i, (ours, theirs, step, kind, name) in enumerate(table):
            with self.subTest(theirs=theirs):
                a, b = self.train("run.name=one", *ours), self.train("run.name=two", *ELSE, *theirs, env={"DDP_ISA": "scalar"})
                f = self.check(a, b, step, kind, name, *(["-n", 2] if i % 3 == 0 else []))
                if theirs != ["train.shards=2"]:
                    self.assertGreaterEqual(f["elements_differ"], 1)

    def test_ways_of_the_model(self):
        table = [  # what is replaced in CONFIG, by what, kind, name, op of A and of B
            ('"relu", name = "r1"', '"gelu", name = "r1"', "forward", "r1", "batch_norm+relu", "gelu"),
            ("p = 0.25", "p = 0.26", "forward", "d", "dropout", "dropout"),
            ('name = "bn"}', 'name = "bn", eps = 1e-4}', "forward", "r1", "batch_norm+relu", "batch_norm+relu"),
            ('name = "bn"}', 'name = "bn", momentum = 0.2}', "update", "bn.running_mean", "", ""),
            ('name = "loss"', 'name = "loss", label_smoothing = 0.1', "forward", "loss", "softmax_cross_entropy",
             "softmax_cross_entropy"),
        ]
        for old, new, kind, name, op, op_b in table:
            with self.subTest(new=new):
                f = self.check(self.train("run.name=one"), self.train(*ELSE, config=CONFIG.replace(old, new)), 1, kind, name)
                self.assertEqual((f["op"], f["op_b"]), (op, op_b))

    def test_an_op_of_another_program(self):
        """One bit of one gradient that an op of one's own computes, for one sample: recorded by two programs, which are taken again."""
        config = CONFIG.replace('{type = "dropout", name = "d", p = 0.25}', '{type = "planted", name = "mine"}')
        runs = []
        self.config.write_text(config)
        for fault in (0, 1):
            r = self.run_program(harness.LAUNCH, "-n", 2 - fault, "--quiet", "--program", BIN / f"planted_op_{fault}", self.config,
                                 f"run.dir={self.runs}", f"run.name=fault{fault}")
            self.assertEqual(r.code, 0, r.err)
            runs.append(pathlib.Path(r.run_dir))
        step = json.loads(self.run_program(RUNS, "verify", "--json", *runs).out)["first_divergent_step"]
        f = self.check(*runs, step, "backward", "mine.input")
        self.assertEqual((f["op"], f["parts_differ"], f["elements_differ"], f["index"][2:]), ("planted", 1, 1, [0, 0]))
        a, b = (float.fromhex(f[k]) for k in "ab")
        self.assertTrue(0 < abs(a - b) < 0.02 * abs(a), f)
        out = self.ask(*runs).out
        self.assertRegex(out, rf"(?m)^first +step {step}: gradient of input in backward of 'mine' \(planted\)$")
        self.assertRegex(out, r"(?m)^  in +shard \d, the first of 1 that differs, of 4$")
        self.assertRegex(out, r"(?m)^  element +\[\d, \d+, 0, 0\]: .*; 1 of \d+ differs$")

    def test_a_fault_that_does_not_come_back(self):
        """The same program, and a state of its process that no record holds."""
        config = CONFIG.replace('{type = "dropout", name = "d", p = 0.25}', '{type = "planted", name = "mine"}')
        self.config.write_text(config)
        runs = []
        for env in ({}, {"PLANTED": "1"}):
            r = self.run_program(harness.LAUNCH, "-n", 1, "--quiet", "--program", BIN / "planted_op_0", self.config,
                                 f"run.dir={self.runs}", "run.name=env", env=env)
            self.assertEqual(r.code, 0, r.err)
            runs.append(pathlib.Path(r.run_dir))
        v = self.bisect(*runs)
        self.assertEqual((v["end"], [r["reproduced"] for r in v["runs"]], v["crossed"]), ("agree", [True, False], True), v)
        out = self.ask(*runs).out
        self.assertIn("the difference did not come back", out)
        self.assertRegex(out, f"(?m)^meaning +the record of {runs[1]} is the odd one")

    def test_data(self):
        """One pixel of one picture."""
        for name in ("whole", "other"):
            folder = self.dir / name
            folder.mkdir()
            for split, n in (("train", 128), ("t10k", 32)):
                pixels = bytearray((i * 7 + i // 97) % 251 for i in range(n * 784))
                if (name, split) == ("other", "train"):
                    pixels[40 * 784 + 30] ^= 64
                (folder / f"{split}-images-idx3-ubyte").write_bytes(
                    bytes.fromhex("00000803") + n.to_bytes(4, "big") + (28).to_bytes(4, "big") * 2 + pixels)
                (folder / f"{split}-labels-idx1-ubyte").write_bytes(
                    bytes.fromhex("00000801") + n.to_bytes(4, "big") + bytes(i % 10 for i in range(n)))
        words = ["data.format=idx", "data.shuffle=false", "data.mean=[0.5]", "data.std=[0.3]"]
        a, b = (self.train(*words, f"data.path={self.dir}/{name}") for name in ("whole", "other"))
        f = self.check(a, b, 40 // 16 + 1, "input", "data")
        self.assertEqual((f["index"], f["elements_differ"], f["part"]), ([0, 0, 1, 2], 1, 2))
        (self.dir / "other").rename(self.dir / "gone")
        v = self.bisect(a, b, code=3)
        self.assertEqual((v["end"], [r["possible"] for r in v["runs"]], v["found"]), ("missing", [True, False], None))
        self.assertTrue(v["runs"][0]["reproduced"])
        out = self.ask(a, b, code=3).out
        self.assertRegex(out, rf"(?m)^MISSING +{b}: (training data|config)")
        self.assertIn("no op can be named", out)
        self.assertIn("different from step 3 on", out)

    def test_the_order_of_sums(self):
        words = ["reduce.mode=fast", "train.shards=8", "repro.level=warn"]
        self.config.write_text(CONFIG)
        runs = [pathlib.Path(self.launch(*words, ranks=n, config=self.config).run_dir) for n in (3, 2)]
        step = json.loads(self.run_program(RUNS, "verify", "--json", *runs).out)["first_divergent_step"]
        f = self.check(*runs, step, "sum", "conv.weight")
        self.assertIn("reduction", f["text"])

    def test_from_a_checkpoint_that_is_the_same(self):
        """Sparse records: between step 8 and 12 lies the truth, and checkpoints of steps 4, 8 and 12 stay."""
        sparse = ["train.trail_every=4", "log.every_steps=4", "checkpoint.every_steps=4", "checkpoint.keep=9"]
        a = self.train(*sparse, "optim.schedule=step", "optim.milestones=[1.25]")
        b = self.train(*sparse, *ELSE, "run.name=plain", env={"DDP_ISA": "scalar"})
        v = self.bisect(a, b, "--dir", self.dir / "kept")
        self.assertEqual((v["checkpoint"], v["found"]["step"], v["found"]["name"]), (8, 11, "lr"), v)
        self.assertEqual(len(list((self.dir / "kept").iterdir())), 4)
        for run in (self.dir / "kept").iterdir():  # by the kernels that it had
            isa = json.loads((run / "run.json").read_text())["machine"]["isa"]
            self.assertEqual(isa, "scalar" if run.name.startswith("plain") else json.loads((a / "run.json").read_text())["machine"]["isa"])
        for run in (a, b):
            shutil.rmtree(run / "checkpoints/step-00000008")
        v = self.bisect(a, b)
        self.assertEqual((v["checkpoint"], v["found"]["step"], v["found"]["name"]), (4, 11, "lr"), v)
        self.assertRegex(self.ask(a, b).out, r"(?m)^again .*from its checkpoint of step 4 to step 12: what it recorded came out again")

    def test_programs_of_each_side(self):
        """Each is done again by the programs in its folder: here they note that they were called."""
        a, b = self.train(), self.train("optim.lr=0.04")
        folders = []
        for side in "ab":
            folder = self.dir / f"programs-{side}"
            folder.mkdir()
            shutil.copy(harness.LAUNCH, folder)
            (folder / "ddp-train").write_text(f'#!/bin/sh\necho "$*" >> {folder}.log\nexec {TRAIN} "$@"\n')
            (folder / "ddp-train").chmod(0o755)
            folders += [f"--programs-{side}", folder]
        self.assertEqual(self.check(a, b, 1, "scale", "lr", *folders)["elements_differ"], 1)
        for side, run in (("a", a), ("b", b)):
            calls = (self.dir / f"programs-{side}.log").read_text().splitlines()
            trained = [c for c in calls if "probe.from" in c]
            self.assertTrue(trained and all(f"{run}/config.cfg" in c for c in trained), calls)

    def test_losses_that_agree_over_states_that_do_not(self):
        """A momentum that differs shows in no loss of the same step: the record that is equal is no equal state."""
        words = ["train.trail_every=0", "checkpoint.every_steps=1", "checkpoint.keep=99"]
        a, b = self.train(*words), self.train(*words, "optim.momentum=0.8")
        v = json.loads(self.run_program(RUNS, "verify", "--json", a, b).out)
        self.assertEqual((v["last_equal_step"], v["first_divergent_step"]), (2, 3))
        self.check(a, b, 2, "update", "conv.weight.momentum")
        words = ["train.trail_every=0"]  # an average of the weights that differs for long before any loss does
        a, b = self.train(*words, "optim.ema=0.9"), self.train(*words, "optim.ema=0.8", "optim.schedule=step", "optim.milestones=[1.0]",
                                                               "eval.every_epochs=0")
        v = json.loads(self.run_program(RUNS, "verify", "--json", a, b).out)
        self.assertEqual((v["last_equal_step"], v["first_divergent_step"], v["part"]), (8, 9, "lr"))
        self.check(a, b, 1, "update", "conv.weight.ema")


class Ends(Case):
    def test_equal_runs_and_evaluations(self):
        a, b = self.train(), self.train(*ELSE)
        self.assertEqual(self.bisect(a, b, code=0)["end"], "equal")
        self.assertRegex(self.ask(a, b, code=0).out, "^equal: 16 steps")
        c = self.train("data.test_count=40")
        self.assertIn("only evaluations differ", self.ask(a, c).out)

    def test_records_that_were_edited(self):
        a = self.train()
        b = self.runs / "edited"
        shutil.copytree(a, b)
        lines = (b / "weights.trail").read_text().splitlines()
        doc = json.loads(lines[4])
        doc["parameters"]["tensors"]["fc.bias"] = "0" * 16
        lines[4] = json.dumps(doc)
        (b / "weights.trail").write_text("\n".join(lines) + "\n")
        v = self.bisect(a, b)
        self.assertEqual((v["end"], [r["other_from_step"] for r in v["runs"]]), ("agree", [None, 3]), v)

    def test_runs_of_a_gpu_and_wrecks(self):
        a = self.train()
        b = self.train("optim.lr=0.1")
        gpu = self.runs / "gpu"
        shutil.copytree(b, gpu)
        doc = json.loads((gpu / "run.json").read_text())
        doc["device"] = "cuda"
        (gpu / "run.json").write_text(json.dumps(doc))
        self.assertRegex(self.ask(a, gpu, code=3).out, r"(?m)^MISSING +.*gpu: ops: what each op computes is recorded on CPUs only")
        for name, change in (("torn", lambda r: (r / "run.json").write_text('{"status"')), ("half", lambda r: (r / "run.json").unlink()),
                             ("noconfig", lambda r: (r / "config.cfg").unlink()),
                             ("pipe", lambda r: ((r / "config.cfg").unlink(), os.mkfifo(r / "config.cfg"))),
                             ("loop", lambda r: ((r / "config.cfg").unlink(), (r / "config.cfg").symlink_to("config.cfg"))),
                             ("folder", lambda r: ((r / "run.json").unlink(), (r / "run.json").mkdir()))):
            with self.subTest(name=name):
                shutil.copytree(b, self.runs / name)
                change(self.runs / name)
                before = snapshot(self.runs)
                r = self.ask(a, self.runs / name, code=3)
                self.assertRegex(r.err + r.out, f"{name}: .*(damaged|half made|config.cfg is not there)")
                self.assertEqual(snapshot(self.runs), before)
        self.assertIn("two runs are wanted", self.ask(a, code=2).err)
        self.assertIn("only keys that change no result", self.ask(a, b, "optim.lr=1", code=2).err)

    def test_a_request_to_stop(self):
        words = ["train.epochs=4000", "train.max_steps=9000", "train.trail_every=3000", "log.every_steps=3000", "eval.every_epochs=4000"]
        a, b = self.train(*words), self.train(*words, "optim.lr=0.04")
        p = self.start(RUNS, "bisect", a, b, "--dir", self.dir / "again")
        wait_for(lambda: list((self.dir / "again").glob("*/run.json")), 60, "the new run")
        p.send_signal(signal.SIGTERM)
        p.communicate(timeout=120)
        self.assertIn(p.returncode, (75, 1))  # it may have been through


class Record(Case):
    """RUN/probe itself."""

    def parts(self, run):
        """(step, kind, name, part) -> hash, of the files of all ranks."""
        out = {}
        for path in sorted((run / "probe").glob("rank-*.jsonl")):
            lines = path.read_text().splitlines()
            self.assertEqual(json.loads(lines[0])["format"], "ddp-probe")
            for line in map(json.loads, lines[1:]):
                self.assertEqual(len(line["hash"]) % 16, 0)
                for i in range(len(line["hash"]) // 16):
                    key = (line["step"], line["kind"], line["name"], line["first"] + i)
                    self.assertNotIn(key, out)
                    out[key] = line["hash"][16 * i:16 * i + 16]
        return out

    def test_the_same_at_any_number_of_ranks_and_legs(self):
        words = ["probe.from=3", "probe.to=5", "optim.ema=0.9", "optim.clip_norm=1"]
        one = self.train(*words, "run.name=one")
        whole = self.parts(one)
        self.assertEqual({k[0] for k in whole}, {3, 4, 5})
        self.assertEqual({k[1] for k in whole}, {"begin", "input", "forward", "backward", "sum", "scale", "update"})
        three = pathlib.Path(self.launch(*words, *ELSE, ranks=3, config=self.config).run_dir)
        self.assertEqual(len(list((three / "probe").glob("rank-*.jsonl"))), 3)
        self.assertEqual(self.parts(three), whole)
        legs = self.train(*words, "train.max_steps=4", "run.name=legs")
        self.train("--resume", legs, *words)
        part = self.parts(legs)
        self.assertEqual({k: v for k, v in part.items() if k[1] != "begin"}, {k: v for k, v in whole.items() if k[1] != "begin"})
        self.assertFalse((self.train() / "probe").exists(), "off by default")

    def test_values_are_those_of_the_run(self):
        run = self.train("probe.from=16", 'probe.values=["update/*"]')
        read = lambda path: (lambda raw, n: {k: raw[8 + n:][v["data_offsets"][0]:v["data_offsets"][1]] for k, v in json.loads(raw[8:8 + n]).items()
                                             if k != "__metadata__"})(path.read_bytes(), int.from_bytes(path.read_bytes()[:8], "little"))
        values, final = read(run / "probe/step-00000016-rank-0.safetensors"), read(run / "model.safetensors")
        for name in ("conv.weight", "bn.running_var", "fc.bias"):
            self.assertEqual(values[f"update/{name}"], final[name], name)

    def test_refusals(self):
        self.config.write_text(CONFIG)
        r = self.run_program(TRAIN, self.config, f"run.dir={self.runs}", "probe.from=1", 'probe.values=["forwards/*"]')
        self.assertEqual(r.code, 2, r.err)
        self.assertIn("probe.values: 'forwards/*' fits nothing", r.err)


class Nodes(pseudo_nodes.Case):
    def test_the_same_on_nodes(self):
        words = ["probe.from=2", f"run.dir={self.dir}/runs"]
        found = []
        for name, command in (("one", [TRAIN, "--quiet", self.config, *words]),
                              ("nodes", self.on_each([" ".join(self.node_env(i, 2)) + " && export DDP_COMM_NODE" for i in range(2)],
                                                     self.config, *words))):
            r = self.run_program(*command, f"run.name={name}", timeout=240)
            self.assertEqual(r.code, 0, r.err)
            run = pathlib.Path(next((self.dir / "runs").glob(f"{name}-*")))
            found.append({(l["kind"], l["name"], l["first"] + i): l["hash"][16 * i:16 * i + 16]
                          for p in (run / "probe").glob("rank-*.jsonl") for l in map(json.loads, p.read_text().splitlines()[1:])
                          if l["kind"] != "begin" for i in range(len(l["hash"]) // 16)})
        self.assertGreater(len(found[0]), 50)
        self.assertEqual(found[0], found[1])


harness.main(jobs=2)
