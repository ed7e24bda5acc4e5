"""Faults of a config by every way in: the launcher, --map, --dry-run and ddp-train alone. All of them are said at once and each
once, with file, line and key, before anything starts, and nothing is left behind."""
import gzip
import os
import pathlib
import random
import shutil
import stat
import struct
import time

import harness
from harness import LAUNCH, ROOT, TRAIN, tagged, wait_for

USAGE = 2

# The layers of a small model, each on a line of its own; LAYERS(...) replaces some.
FLAT, FC, LOSS = '{ type = "flatten"; }', '{ type = "linear"; name = "fc"; out = 10; }', '{ type = "softmax_cross_entropy"; }'


def model(*layers, more=""):
    return "model: { layers = (\n" + ",\n".join(layers) + " );" + more + " };\n"


GOOD = model(FLAT, FC, LOSS)
SMALL_DATA = "data: { train_count = 96; test_count = 16; };\n"

# name: (config text, overrides, [what is said, FILE standing for the config's path]), each said exactly once
FAULTS = {
    # keys
    "unknown key": ("train: {\n bach = 3; };\n", [], ["FILE:2: train.bach: unknown key"]),
    "unknown group": ("\ntrian: { batch = 3; };\n", [], ["FILE:2: trian: unknown key"]),
    "wrong type": ("seed = 1;\ntrain: { batch = 2.5; };\n", [], ["FILE:2: train.batch: wants an integer"]),
    "out of range": ("optim: { momentum = 1.5; };\n", [], ["FILE:1: optim.momentum: wants a number from 0 to 0.999999"]),
    "no such choice": ('optim: { schedule = "cosin"; };\n', [], ["FILE:1: optim.schedule: wants one of"]),
    "given twice": ("seed = 1;\nseed = 2;\n", [], ["FILE:2: seed: given twice"]),
    "syntax": ("train: {\n batch = ;\n};\n", [], ["FILE:2:"]),
    "on the command line": ("seed = 1;\n", ["optim.lrr=2"], ["command line: optim.lrr=2: unknown key"]),
    "no such group file": ("seed = 1;\n", ["model=linaer"], ["'linaer'"]),
    "no such file to include": ('\n@include "none.cfg"\n', [], ["FILE:2: @include"]),
    # keys that do not go together
    "batch below shards": ("train: {\n batch = 4; };\n", [], ["FILE:2: train.batch: a batch of 4 images"]),
    "milestones without any": ('optim: { schedule = "step"; };\n', [], ["optim.milestones: is empty"]),
    "milestones descending": ('optim: { schedule = "step"; milestones = [3, 2]; };\n', [], ["FILE:1: optim.milestones: wants ascending"]),
    "final_lr above lr": ('optim: { lr = 0.1;\n schedule = "cosine"; final_lr = 1.0; };\n', [], ["FILE:2: optim.final_lr: is above optim.lr"]),
    "nesterov without momentum": ("optim: { momentum = 0; nesterov = true; };\n", [], ["FILE:1: optim.nesterov: wants optim.momentum > 0"]),
    "loss scale": ("train: { loss_scale = 3; };\n", [], ["FILE:1: train.loss_scale: wants a power of two"]),
    "early stop without evaluations": ("train: { early_stop = 2; };\neval: { every_epochs = 0; };\n", [], ["FILE:1: train.early_stop"]),
    # layers
    "no layers": ("model: { layers = (); };\n", [], ["FILE:1: model.layers: the model has no layers"]),
    "unknown layer type": (model('{ type = "flaten"; }', FC, LOSS), [], ["FILE:2: model.layers[0]: unknown layer type 'flaten'"]),
    "layer without type": (model(FLAT, "{ out = 10; }", LOSS), [], ["FILE:3: model.layers[1]: has no type"]),
    "layer that is no group": (model(FLAT, "7", LOSS), [], ["model.layers[1]: a layer is a group in braces"]),
    "unknown key of a layer": (model(FLAT, '{ type = "linear"; out = 10; biass = false; }', LOSS), [],
                               ["FILE:3: model.layers[1].biass: unknown key; did you mean 'bias'"]),
    "key of a layer out of range": (model(FLAT, '{ type = "linear"; out = -1; }', LOSS), [], ["FILE:3: model.layers[1].out: wants"]),
    "missing key of a layer": (model(FLAT, '{ type = "linear"; }', LOSS), [], ["FILE:3: model.layers[1].out: is missing"]),
    "unknown input": (model(FLAT, '{ type = "linear"; out = 10; input = "flat"; }', LOSS), [], ["FILE:3: layer 'linear1' (linear): no layer is called 'flat'"]),
    "input that comes later": (model('{ type = "flatten"; input = "fc"; }', FC, LOSS), [], ["FILE:2: layer 'flatten1' (flatten): input 'fc' comes later"]),
    "wrong number of inputs": (model(FLAT, FC, '{ type = "add"; input = ["fc"]; }', LOSS), [], ["FILE:4: layer 'add1' (add): wants 2 inputs, got 1"]),
    "two layers of a name": (model(FLAT, FC, FC, LOSS), [], ["FILE:4: model.layers[2]: the name 'fc' is taken"]),
    "layer that nobody reads": (model('{ type = "flatten"; name = "f"; }', '{ type = "relu"; }', '{ type = "linear"; out = 10; input = "f"; }', LOSS), [],
                                ["FILE:3: layer 'relu1' (relu): no layer reads it"]),
    "no loss": (model(FLAT, FC), [], ["FILE:3: layer 'fc' (linear): the last layer must be a loss"]),
    # layers and data
    "shape": (model('{ type = "conv2d"; out = 4; kernel = 40; }', FLAT, FC, LOSS), [], ["FILE:2: layer 'conv2d1' (conv2d): got 1x28x28 from 'data'"]),
    "outputs against classes": (model(FLAT, '{ type = "linear"; out = 7; }', LOSS), [], ["FILE:4: layer 'softmax_cross_entropy1'", "the data has 10 classes"]),
    "features where pictures are wanted": (model(FLAT, FC, '{ type = "max_pool"; kernel = 2; }', LOSS), [], ["FILE:4: layer 'max_pool1' (max_pool)"]),
    "model.input": (model(FLAT, FC, LOSS, more=" input = [3, 32, 32];"), [], ["model.input: model 'inline' is made for 3x32x32"]),
    "batch against batch norm": (model(FLAT, FC, '{ type = "batch_norm"; name = "bn"; }', LOSS) + "train: { batch = 8; };\n", [],
                                 ["FILE:4: layer 'bn' (batch_norm): a batch of 8 samples in 8 shards"]),
    "last batch against batch norm": (model(FLAT, FC, '{ type = "batch_norm"; name = "bn"; }', LOSS) + "train: { batch = 88; };\n", [],
                                      ["the last batch of an epoch over 96 samples has 8", "FILE:4: layer 'bn'"]),
    # data
    "unknown format": ('data: {\n format = "digis"; };\n', [], ['FILE:2: data.format = "digis" is no known format']),
    "format without path": ('data: { format = "packed"; };\n', [], ['data.path: is empty; format "packed" wants']),
    "mean without std": ("data: { mean = [0.5]; };\n", [], ["FILE:1: data.mean: data.mean has 1 number"]),
    "means of too many channels": ("data: { mean = [0.5, 0.5]; std = [1.0, 1.0]; };\n", [], ["data.mean has 2 values"]),
    # optimizer groups
    "group without match": (GOOD + "optim: { groups = (\n { lr_scale = 2.0; } ); };\n", [], ["FILE:6: optim.groups[0].match: is missing"]),
    "unknown key of a group": (GOOD + 'optim: { groups = (\n { match = "*"; lr = 2.0; } ); };\n', [], ["FILE:6: optim.groups[0].lr: unknown key"]),
    "no_decay that fits nothing": (GOOD + 'optim: { no_decay =\n [ "conv*" ]; };\n', [], ['FILE:5: optim.no_decay: "conv*" fits none of the model']),
    "group that fits nothing": (GOOD + 'optim: { groups = (\n { match = "conv*"; } ); };\n', [], ['FILE:6: optim.groups[0].match = "conv*" fits none']),
}

# Several at once: what one round must say.
TOGETHER = {
    "keys, layers, data, groups, rules": (
        'seed = "x";\n' + model('{ type = "flaten"; }', '{ type = "linear"; out = 10; biass = false; }', LOSS) +
        'data: { format = "digis"; };\noptim: { schedule = "step"; groups = ( { mach = "x"; } ); };\n', ["train.batch=2", "optim.lrr=1"],
        ["FILE:1: seed", "FILE:3: model.layers[0]", "FILE:4: model.layers[1].biass", "FILE:6: data.format", "FILE:7: optim.groups[0].mach",
         "FILE:7: optim.groups[0].match", "optim.milestones: is empty", "train.batch: a batch of 2", "command line: optim.lrr=1"]),
    "shapes of two branches, batch, groups": (
        model('{ type = "conv2d"; name = "a"; out = 4; kernel = 40; }', '{ type = "conv2d"; name = "b"; out = 4; kernel = 50; input = "data"; }',
              '{ type = "add"; input = ["a", "b"]; }', FLAT, FC, LOSS), [], ["FILE:2: layer 'a' (conv2d)", "FILE:3: layer 'b' (conv2d)"]),
    "batch and two groups": (
        model(FLAT, FC, '{ type = "batch_norm"; name = "bn"; }', LOSS) + "train: { batch = 8; };\n" +
        'optim: { groups = ( { match = "x*"; },\n { match = "y*"; } ); };\n', [],
        ["FILE:4: layer 'bn' (batch_norm)", 'FILE:7: optim.groups[0].match = "x*"', 'FILE:8: optim.groups[1].match = "y*"']),
}

WAYS = ("launcher", "--map", "--dry-run", "ddp-train")


class ConfigFaults(harness.Case):
    def setUp(self):
        super().setUp()
        # the launcher beside a ddp-train that tells on itself
        self.bin = self.dir / "bin"
        self.bin.mkdir()
        shutil.copy(LAUNCH, self.bin)
        self.started = self.dir / "started"
        self.spy = self.bin / "ddp-train"
        self.spy.write_text(f"#!/bin/sh\necho >> {self.started}\nexit 4\n")
        self.spy.chmod(self.spy.stat().st_mode | stat.S_IXUSR)
        self.work = self.dir / "work"
        self.work.mkdir()
        self.config = self.dir / "my.cfg"

    def command(self, way, *args):
        if way == "ddp-train":
            return [TRAIN, self.config, *args]
        return [self.bin / "ddp-launch", "-n", 2, *([] if way == "launcher" else [way]), self.config, *args]

    def refused(self, way, text, overrides, says):
        tag = f"DDPTESTTAG-{os.getpid()}-{time.monotonic_ns()}"
        self.config.write_text(text if "data" in text else text + SMALL_DATA)
        r = self.run_program(*self.command(way, *overrides), env={"TESTTAG": tag}, cwd=self.work)
        said = r.out + r.err
        self.assertEqual(r.code, USAGE, said)
        for words in says:
            words = words.replace("FILE", str(self.config))
            self.assertEqual(said.count(words), 1, f"{words!r} is not said once:\n{said}")
        self.assertEqual(r.out, "", "something was shown as if all were well")
        self.assertFalse(self.started.exists(), f"a rank was started:\n{said}")
        self.assertEqual(list(self.work.iterdir()), [], said)
        wait_for(lambda: not tagged(tag), 10, f"the processes to end: {tagged(tag)}")
        return said

    def table(self, table):
        for name, (text, overrides, says) in table.items():
            texts = {}
            for way in WAYS:
                with self.subTest(fault=name, way=way):
                    texts[way] = self.refused(way, text, overrides, says)
            if len(texts) == len(WAYS):  # the same words from all, but for who says them
                plain = {w: sorted(l.split(": ", 1)[-1].removeprefix("[error").split("] ")[-1] for l in t.splitlines()) for w, t in texts.items()}
                with self.subTest(fault=name, way="all"):
                    self.assertEqual(plain["launcher"], plain["--map"])
                    self.assertEqual(plain["launcher"], plain["--dry-run"])
                    self.assertEqual(len(plain["launcher"]), len(plain["ddp-train"]), texts["ddp-train"])

    def test_each_fault_by_every_way(self):
        self.table(FAULTS)

    def test_all_faults_at_once(self):
        self.table(TOGETHER)

    def test_one_fault_brings_no_others_with_it(self):
        for text, overrides in (("train: { batch = \"x\"; shards = 256; };\n", []),  # not: a batch of 128 in 256 shards
                                ('optim: { schedule = "step"; milestones = ["x"]; };\n', []),
                                ('model = "nosuch";\n', []), ("seed = 1;\n", ["model.layers=(1"]), ("model = 7;\n", []),
                                ('data = "nosuch";\n', []), ("optim: { lr = -1.0; schedule = \"cosine\"; final_lr = 0.5; };\n", [])):
            with self.subTest(text=text, overrides=overrides):
                said = self.refused("launcher", text, overrides, [])
                self.assertEqual(len(said.strip().splitlines()), 1, said)

    def test_a_good_config_passes_by_every_way(self):
        self.config.write_text(GOOD + SMALL_DATA)
        for way, code in (("launcher", 4), ("--map", 0), ("--dry-run", 0)):
            r = self.run_program(*self.command(way), cwd=self.work)
            self.assertEqual(r.code, code, r.err)
            self.assertEqual(self.started.exists(), way == "launcher", way)
            self.started.unlink(missing_ok=True)
        r = self.run_program(TRAIN, self.config, "train.max_steps=1", cwd=self.work)
        self.assertEqual(r.code, 0, r.err)

    def test_every_shipped_config_passes_without_a_note(self):
        names = [p.stem for p in sorted((ROOT / "configs/model").glob("*.cfg")) if p.stem != "vgg11" and not p.stem.startswith("resnet")]
        optims = [p.stem for p in sorted((ROOT / "configs/optim").glob("*.cfg"))]
        for model_name in names:
            for optim in optims if model_name == "linear" else ["sgd"]:
                r = self.run_program(LAUNCH, "-n", 1, "--map", ROOT / "configs/cnn.cfg", f"model={model_name}", f"optim={optim}", "data=digits")
                self.assertEqual((r.code, r.err), (0, ""), f"{model_name} {optim}")

    def test_data_that_is_missing(self):
        """A plan may be made where the data is not; ranks are not started without it."""
        self.config.write_text('data = "mnist";\nmodel = "linear";\n')
        where = f"data.root={self.dir}/nothing"
        r = self.run_program(*self.command("launcher", where), cwd=self.work)
        self.assertEqual(r.code, 3, r.err)
        self.assertEqual(r.err.count("found no"), 1, r.err)
        self.assertFalse(self.started.exists())
        for way in ("--map", "--dry-run"):
            r = self.run_program(*self.command(way, where), cwd=self.work)
            self.assertEqual(r.code, 0, r.err)
            self.assertEqual(r.err.count("shapes are not checked: data 'mnist'"), 1, r.err)
            self.assertNotEqual(r.out, "")
            bad = self.run_program(*self.command(way, where, "+model.layers[1].biass=1"), cwd=self.work)
            self.assertEqual(bad.code, USAGE, bad.err)
            self.assertIn("model.layers[1].biass", bad.err)

    def test_data_is_only_glanced_at(self):
        """Shapes and counts come from headers: who plans does not unpack what ranks will unpack. (Pixels are missing here.)"""
        root = self.dir / "data" / "mnist"
        root.mkdir(parents=True)
        for part, n in (("train", 60000), ("t10k", 10000)):
            with gzip.open(root / f"{part}-images-idx3-ubyte.gz", "wb") as f:
                f.write(struct.pack(">iiii", 2051, n, 28, 28) + random.Random(1).randbytes(n * 784 // 1000))
            with gzip.open(root / f"{part}-labels-idx1-ubyte.gz", "wb") as f:
                f.write(struct.pack(">ii", 2049, n) + bytes(i % 10 for i in range(n)))
        self.config.write_text('data = "mnist";\n' + model(FLAT, '{ type = "linear"; out = 7; }', LOSS))
        where = f"data.root={root.parent}"
        for way in ("launcher", "--map", "--dry-run"):
            r = self.run_program(*self.command(way, where), cwd=self.work)
            self.assertEqual(r.code, USAGE, r.err)
            self.assertIn("the data has 10 classes", r.err)
            self.assertNotIn("truncated", r.err)
            self.assertFalse(self.started.exists())
        r = self.run_program(*self.command("--map", where, "model.layers[1].out=10"), cwd=self.work)
        self.assertEqual((r.code, r.err), (0, ""))
        r = self.run_program(TRAIN, self.config, where, "model.layers[1].out=10", cwd=self.work)
        self.assertEqual(r.code, 3, r.err)
        self.assertRegex(r.err, "truncated|damaged")

    def test_a_program_of_ones_own_may_know_more(self):
        """--program: layers and formats that ddp-launch does not know are its business; all else is checked."""
        self.config.write_text(model(FLAT, '{ type = "my_layer"; power = 3; }', FC, LOSS) + 'data: { format = "my_format"; };\n')
        r = self.run_program(self.bin / "ddp-launch", "-n", 2, "--program", self.spy, self.config, cwd=self.work)
        self.assertEqual(r.code, 4, r.err)
        self.assertTrue(self.started.exists())
        self.started.unlink()
        r = self.run_program(self.bin / "ddp-launch", "-n", 2, "--program", self.spy, self.config, "train.batch=1",
                             "model.layers.fc.out=-1", cwd=self.work)
        self.assertEqual(r.code, USAGE, r.err)
        self.assertIn("train.batch", r.err)
        self.assertIn("model.layers[2].out", r.err)
        self.assertFalse(self.started.exists())

    def test_more_faults_than_there_is_room_for(self):
        self.config.write_text("train: {\n" + "".join(f"key{i} = {i};\n" for i in range(200)) + "};\n")
        for way in WAYS:
            r = self.run_program(*self.command(way), cwd=self.work)
            self.assertEqual(r.code, USAGE)
            self.assertEqual(r.err.count("and more than there is room to list here"), 1, r.err)
            self.assertTrue(r.err.rstrip().endswith("list here"), r.err[-200:])


class KeysWithoutEffect(harness.Case):
    """Not wrong, but hardly what was meant: said once, and the run goes on."""

    NOTES = [
        (["data.crop_ratio=[1,1]"], "data.crop_ratio = [1.0, 1.0] has no effect: it is for data.crop_area"),
        (["data.path=somewhere"], "data.path = \"somewhere\" has no effect: it is for a data.format that is read from files"),
        (["data.format=friedman", "model.layers.fc.out=1", "model.layers.loss.type=mse", "data.path=somewhere"], "data.path = \"somewhere\" has no effect"),
        (["data.files=[a,b]"], "data.files = "),
        (["optim.warmup_steps=50"], "optim.warmup_steps = 50: the run ends after step 2"),
        (["optim.milestones=[3]"], "optim.milestones = [3.0] has no effect: it is for optim.schedule step"),
        (["optim.final_lr=0.01"], "optim.final_lr"),
        (["optim.beta1=0.5"], "optim.beta1 = 0.5 has no effect: it is for optim.type adam, adamw or lamb"),
        (["optim=adamw", "optim.momentum=0.5"], "optim.momentum = 0.5 has no effect"),
        (["train.loss_scale=1024"], "train.loss_scale"),
        (["data.normalize=false", "data.mean=[0.5]", "data.std=[0.5]"], "data.mean"),
    ]
    TINY = ["data.train_count=96", "data.test_count=16", "train.batch=16", "train.max_steps=2", "model=linear"]

    def test_each(self):
        for i, (args, words) in enumerate(self.NOTES):
            with self.subTest(args):
                config = [ROOT / "configs/cnn.cfg", *self.TINY, *args]
                r = self.run_program(LAUNCH, "-n", 1, "--map", *config)
                self.assertEqual(r.code, 0, r.err)
                self.assertEqual(r.err.count(words), 1, r.err)
                self.assertIn(f"command line: {args[-1].split('=')[0].split('.')[0]}", r.err)
                if i < 4:
                    for program in ([LAUNCH, "-n", 2], [TRAIN]):
                        r = self.run_program(*program, *config, f"run.dir={self.dir}/runs")
                        self.assertEqual(r.code, 0, r.err)
                        self.assertEqual(r.err.count(words), 1, r.err)

    def test_a_config_that_a_run_leaves_is_quiet(self):
        """Every key is given there."""
        r = self.run_program(LAUNCH, "-n", 2, ROOT / "configs/cnn.cfg", *self.TINY, f"run.dir={self.dir}/runs")
        again = self.run_program(LAUNCH, "-n", 1, "--map", pathlib.Path(r.run_dir) / "config.cfg")
        self.assertEqual((again.code, again.err), (0, ""))


harness.main()
