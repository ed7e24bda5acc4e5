"""What must not be: wrong configs, damaged data and checkpoints, resources that are missing. Each case says what is wrong,
where, and the way out, once; ends quickly with the promised exit code; leaves no process; and loses nothing."""
import errno
import gzip
import hashlib
import os
import pathlib
import re
import shutil
import struct
import subprocess
import time
import zlib

import harness
from harness import BIN, DATA, LAUNCH, ROOT, TRAIN, tagged, wait_for

CNN = ROOT / "configs/cnn.cfg"
TINY = ["data.train_count=96", "data.test_count=16", "train.batch=16", "train.max_steps=2", "model=linear"]
USAGE, RESOURCE, RANK = 2, 3, 4


def tree(folder):
    """Every file below a folder with its digest."""
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in sorted(pathlib.Path(folder).rglob("*")) if p.is_file()}


def png(width, height, value):
    """A grey PNG of one value."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    rows = b"".join(b"\0" + bytes([value]) * width for _ in range(height))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def flip(path, at):
    """Change one byte; a negative place counts from the end."""
    data = bytearray(path.read_bytes())
    data[at] ^= 0x55
    path.write_bytes(data)


def cut(path, part):
    data = path.read_bytes()
    path.write_bytes(data[:int(len(data) * part)])


class Bad(harness.Case):
    def setUp(self):
        super().setUp()
        self.dir.chmod(0o755)
        self.runs = self.dir / "runs"

    def config(self, text, name="my.cfg"):
        path = self.dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def ends(self, command, code, *says, env=None, seconds=30, once=True):
        """Run a command that must fail with `code` and say every one of `says` (the first: exactly once)."""
        tag = f"DDPTESTTAG-{os.getpid()}-{time.monotonic_ns()}"
        began = time.monotonic()
        p = self.start(*command, env={"TESTTAG": tag, **(env or {})})
        out, err = p.communicate(timeout=120)
        took = time.monotonic() - began
        text = err + out
        self.assertEqual(p.returncode, code, f"{command}\n{text[-4000:]}")
        for part in says:
            self.assertIn(part, text)
        if once and says:
            self.assertEqual(text.count(says[0]), 1, f"said more than once:\n{text}")
        self.assertLess(took, seconds, f"{command} took {took:.1f} s")
        wait_for(lambda: not tagged(tag), 3, f"the processes of {command} to end: {tagged(tag)}")
        for base in ("/dev/shm", "/tmp"):
            self.assertEqual(list(pathlib.Path(base).glob(f"ddp-job-{p.pid}-*")), [])
        return text

    def bad(self, *args, code, says, config=CNN, ranks=3, tiny=True, **kw):
        """ddp-launch with tiny work, which must fail."""
        return self.ends([LAUNCH, "-n", ranks, config, *(TINY if tiny else []), f"run.dir={self.runs}", *args], code, *says, **kw)


class BadConfig(Bad):
    def test_unknown_key_names_file_line_and_the_nearest(self):
        c = self.config('data = "digits";\ntrain: {\n  bach = 3;\n};\noptim: { lr = 0.1; momentun = 0.5; };\n')
        text = self.bad(config=c, code=USAGE, says=[f"{c}:3", "train.bach", "unknown key", "train.batch"])
        self.assertIn(f"{c}:5", text)  # all errors at once
        self.assertIn("optim.momentum", text)
        self.assertFalse(self.runs.exists())

    def test_unknown_key_on_the_command_line(self):
        self.bad("optim.lrr=2", code=USAGE, says=["optim.lrr", "command line", "did you mean 'optim.lr'"])

    def test_every_rank_started_by_hand_finds_it_but_one_says_it(self):
        c = self.config('train: { bach = 3; };\n')
        command = ["mpirun", "--oversubscribe", "-n", 3, TRAIN, c]
        self.ends(command, USAGE, "train.bach", f"{c}:1", "train.batch")

    def test_unknown_key_in_a_layer(self):
        c = self.config('model: { layers = (\n{ type = "flatten"; },\n{ type = "linear"; out = 10; biass = false; },\n'
                        '{ type = "softmax_cross_entropy"; } ); };\n')
        self.bad(config=c, tiny=False, code=USAGE, says=[f"{c}:3", "model.layers[1].biass", "did you mean 'bias'"])

    def test_a_variable_that_means_nothing(self):
        self.bad(code=USAGE, says=["DDP_DATADIR", "DDP_DATA_DIR", "environment"], env={"DDP_DATADIR": "x"}, once=False)

    def test_wrong_types(self):
        for line, key, wants in (('optim: { lr = "fast"; };', "optim.lr", "a number from 0 to 1000"),
                                 ("train: { batch = 2.5; };", "train.batch", "an integer from 1 to"),
                                 ("data: { shuffle = 1; };", "data.shuffle", "true or false"),
                                 ("reduce: { mode = 3; };", "reduce.mode", '"canonical", "fast"'),
                                 ("train = 7;", "train", "group"),
                                 ("model: { layers = 3; };", "model.layers", "list")):
            with self.subTest(line):
                c = self.config("\n\n" + line + "\n")
                self.bad(config=c, tiny=False, code=USAGE, says=[f"{c}:3", key, wants])

    def test_out_of_range(self):
        for line, key, wants in (("train: { batch = 0; };", "train.batch", "an integer from 1 to 16777216"),
                                 ("optim: { momentum = 1.5; };", "optim.momentum", "from 0 to 0.999999"),
                                 ("optim: { lr = -1.0; };", "optim.lr", "from 0 to 1000"),
                                 ("train: { threads = 100000; };", "train.threads", "from 0 to 4096"),
                                 ('optim: { schedule = "cosin"; };', "optim.schedule", "cosine"),
                                 ("train: { epochs = 99999999999999999999; };", "train.epochs", ""),
                                 ("reduce: { bucket_mb = -1; };", "reduce.bucket_mb", "from 0 to 4096")):
            with self.subTest(line):
                c = self.config("\n" + line + "\n")
                self.bad(config=c, tiny=False, code=USAGE, says=[f"{c}:2", key if wants else "", wants])

    def test_missing_group_file_lists_those_there_are(self):
        self.bad("model=linaer", code=USAGE, says=["'linaer'", "linear", "lenet5", "resnet18"])
        c = self.config('data = "nosuch";\n')
        self.bad(config=c, tiny=False, code=USAGE, says=[f"{c}:1", "'nosuch'", "digits", "mnist"])

    def test_syntax_error_names_the_line(self):
        c = self.config('train: {\n  batch = ;\n};\n')
        self.bad(config=c, code=USAGE, says=[f"{c}:2"])

    def test_include_loop(self):
        a = self.config('@include "b.cfg"\n', "a.cfg")
        self.config('@include "a.cfg"\n', "b.cfg")
        text = self.bad(config=a, code=USAGE, says=["goes round in a circle", "b.cfg"])
        self.assertRegex(text, r"[ab]\.cfg:1")

    def test_include_of_a_missing_file(self):
        a = self.config('\n@include "none.cfg"\n', "a.cfg")
        self.bad(config=a, code=USAGE, says=[f"{a}:2", "none.cfg"])

    def test_missing_config(self):
        self.bad(config=self.dir / "none.cfg", code=USAGE, says=[f"{self.dir}/none.cfg", "No such file"])

    def test_a_folder_and_a_binary_are_no_config(self):
        self.bad(config=self.dir, code=USAGE, says=[str(self.dir), "directory"], once=False)
        self.bad(config=BIN / "ddp-launch", code=USAGE, says=["ddp-launch"], once=False)

    def test_batch_smaller_than_shards(self):
        self.bad("train.batch=4", code=USAGE, says=["train.batch: a batch of 4", "train.shards = 8", "lower train.shards to 4"])
        c = self.config("train: {\n batch = 4; };\n")
        self.bad(config=c, tiny=False, code=USAGE, says=[f"{c}:2", "train.batch", "train.shards"])

    def test_more_ranks_than_shards(self):
        self.bad(ranks=9, code=USAGE, says=["9 ranks, but only 8 shards", "(-n 8)", "train.shards=9"])
        command = ["mpirun", "--oversubscribe", "-n", 3, TRAIN, CNN, *TINY, "train.shards=2", f"run.dir={self.runs}"]
        self.ends(command, USAGE, "3 ranks, but only 2 shards", "train.shards=3")
        self.assertFalse(self.runs.exists())

    def test_shapes_of_model_and_data_that_disagree(self):
        cases = ((["model.layers[1].out=7"], ["layer 'loss'", "got 7", "10 classes", "linear.cfg:"]),
                 (["model=lenet5", "model.layers[0].kernel=40"], ["layer 'conv1'", "1x28x28", "40x40", "make kernel smaller"]),
                 (["model.input=[3,32,32]"], ["model.input", "1x28x28", "3x32x32"]),
                 (["model.layers.fc.input=none"], ["none"]),
                 (["data.mean=[0.1,0.2,0.3]", "data.std=[1,1,1]"], ["data.mean has 3 values", "1 channel", "one for each"]))
        for args, says in cases:
            with self.subTest(args):
                self.bad(*args, code=USAGE, says=says)
        self.assertFalse(self.runs.exists())

    def test_a_device_that_this_build_has_not(self):
        self.bad("device=cuda", code=RESOURCE, says=["device=cuda", "device=cpu"])


class BadData(Bad):
    """IDX, CIFAR and packed files of a few pictures, damaged in one way each."""

    def idx(self, n=24, gz=False):
        root = self.dir / "data" / "mnist"
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(parents=True)
        for split in ("train", "t10k"):
            pixels = bytes(i % 251 for i in range(n * 64))
            images = struct.pack(">IIII", 0x803, n, 8, 8) + pixels
            labels = struct.pack(">II", 0x801, n) + bytes(i % 10 for i in range(n))
            for name, data in ((f"{split}-images-idx3-ubyte", images), (f"{split}-labels-idx1-ubyte", labels)):
                (root / (name + (".gz" if gz else ""))).write_bytes(gzip.compress(data) if gz else data)
        return root

    IDX = ["data=mnist", "train.batch=8", "train.max_steps=2", "model=linear"]

    def bad_data(self, *says, data="mnist", args=(), ranks=3):
        return self.bad(f"data={data}", f"data.root={self.dir}/data", "train.batch=8", "train.max_steps=2", "model=linear", *args,
                        tiny=False, code=RESOURCE, says=says, ranks=ranks)

    def test_the_whole_files_are_fine(self):
        for gz in (False, True):
            self.idx(gz=gz)
            self.launch(*self.IDX, f"data.root={self.dir}/data", ranks=3)

    def test_missing_data_set_names_the_fetch(self):
        self.bad_data("ddp-data fetch mnist", "data.root", str(self.dir / "data"))
        self.bad_data("ddp-data fetch cifar10", "data.root", data="cifar10")
        self.bad("data=mnist", code=RESOURCE, says=["DDP_DATA_DIR", str(self.dir / "elsewhere")], once=False,
                 env={"DDP_DATA_DIR": str(self.dir / "elsewhere")})

    def test_damaged_idx(self):
        images, labels = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
        test = "t10k-images-idx3-ubyte"
        cases = {
            "truncated": (lambda r: cut(r / images, 0.5), [images, "truncated", "fetch it again"]),
            "truncated test": (lambda r: cut(r / test, 0.9), [test, "truncated", "fetch it again"]),
            "short header": (lambda r: (r / images).write_bytes(b"\0\0\x08"), [images, "truncated"]),
            "empty": (lambda r: (r / labels).write_bytes(b""), [labels, "truncated"]),
            "magic": (lambda r: flip(r / images, 2), [images, "no IDX file", "00 00 08 03"]),
            "size": (lambda r: flip(r / images, 4), [images, "promises"]),
            "tail": (lambda r: (r / images).write_bytes((r / images).read_bytes() + b"x"), [images, "bytes follow"]),
            "fewer labels": (lambda r: (r / labels).write_bytes(struct.pack(">II", 0x801, 20) + bytes(20)), [labels, "20 labels", "24 pictures"]),
            "label": (lambda r: flip(r / labels, -1), [labels, "label", "out of range"]),
        }
        for name, (damage, says) in cases.items():
            with self.subTest(name):
                damage(self.idx())
                self.bad_data(*says)
        self.assertFalse(self.runs.exists())

    def test_damaged_packed_idx(self):
        for name, damage in (("truncated", lambda p: cut(p, 0.6)), ("corrupted", lambda p: flip(p, p.stat().st_size // 2))):
            with self.subTest(name):
                path = self.idx(gz=True) / "train-images-idx3-ubyte.gz"
                damage(path)
                self.bad_data(path.name, "does not unpack", "fetch it again")

    def test_damaged_cifar(self):
        def make():
            root = self.dir / "data" / "cifar10"
            shutil.rmtree(root, ignore_errors=True)
            root.mkdir(parents=True)
            for name, n in (("one.bin", 16), ("test.bin", 8)):
                (root / name).write_bytes(b"".join(bytes([i % 10]) + bytes([i] * 3072) for i in range(n)))
            return root

        files = 'data.files=["one.bin","test.bin"]'
        make()
        self.launch("data=cifar10", files, f"data.root={self.dir}/data", "train.batch=8", "train.max_steps=2", "model=linear")
        cases = {
            "truncated": (lambda r: cut(r / "one.bin", 0.55), ["one.bin", "truncated", "3073"]),
            "truncated test": (lambda r: cut(r / "test.bin", 0.3), ["test.bin", "truncated"]),
            "empty": (lambda r: (r / "test.bin").write_bytes(b""), ["test.bin"]),
            "missing": (lambda r: (r / "test.bin").unlink(), ["test.bin", "data.root"]),
        }
        for name, (damage, says) in cases.items():
            with self.subTest(name):
                damage(make())
                self.bad_data(*says, data="cifar10", args=[files])
        # a label that is read only in the middle of a run
        root = make()
        data = bytearray((root / "one.bin").read_bytes())
        data[3073 * 5] = 77
        (root / "one.bin").write_bytes(data)
        self.bad_data("label 77", "one.bin", "record 5", "0..9", data="cifar10", args=[files, "train.max_steps=4"])
        # the published file has 10,000 records
        for name in ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"):
            (root / f"{name}.bin").write_bytes(bytes(3073 * 4))
        self.bad_data("truncated", "10000", "fetch it again", data="cifar10")

    def pictures(self):
        folder = self.dir / "pictures"
        shutil.rmtree(folder, ignore_errors=True)
        for split, n in (("train", 12), ("test", 4)):
            for c, name in enumerate(("dark", "light")):
                (folder / split / name).mkdir(parents=True)
                for i in range(n):
                    (folder / split / name / f"{i:02}.png").write_bytes(png(8, 8, 40 + 150 * c + i))
        return folder

    def pack(self):
        out = self.dir / "data" / "my.packed"
        out.parent.mkdir(exist_ok=True)
        r = self.run_program(DATA, "pack", self.pictures(), out, "--quiet")
        self.assertEqual(r.code, 0, r.err)
        return out

    def test_damaged_packed_file(self):
        args = ["data.path=my.packed"]  # two classes: the model takes their number from the data
        self.pack()
        self.launch("data=packed", f"data.root={self.dir}/data", "train.batch=8", "train.max_steps=2", "model=linear", *args)
        cases = {
            "truncated": (lambda p: cut(p, 0.7), "truncated"),
            "header alone": (lambda p: p.write_bytes(p.read_bytes()[:20]), "truncated"),
            "empty": (lambda p: p.write_bytes(b""), "truncated"),
            "no packed file": (lambda p: p.write_bytes(b"what is this" * 200), "ddp-data pack"),
            "header": (lambda p: flip(p, 24), "damaged"),
            "pictures": (lambda p: flip(p, p.read_bytes().index(bytes([190]) * 64) + 7), "damaged"),
            "end": (lambda p: flip(p, -1), "damaged"),
        }
        for name, (damage, says) in cases.items():
            with self.subTest(name):
                damage(self.pack())
                self.bad_data("my.packed", says, data="packed", args=args)
        self.bad("data=packed", code=USAGE, says=["data.path", "ddp-data pack"], once=False)

    def bad_pack(self, *says, before=None):
        """Packing must fail, leave nothing aside, and an older file of the name must stay as it was."""
        out = self.dir / "data" / "my.packed"
        self.pack()
        old = out.read_bytes()
        before(self.dir / "pictures")
        self.ends([DATA, "pack", self.dir / "pictures", out], RESOURCE, *says)
        self.assertEqual(out.read_bytes(), old)
        self.assertEqual([p.name for p in out.parent.iterdir()], ["my.packed"])

    def test_image_that_does_not_decode(self):
        self.bad_pack("train/light/03.png", "does not decode", before=lambda d: cut(d / "train/light/03.png", 0.5))
        self.bad_pack("train/light/03.png", "does not decode", before=lambda d: flip(d / "train/light/03.png", 45))
        self.bad_pack("03.png", "neither JPEG nor PNG", before=lambda d: (d / "test/light/03.png").write_text("hello"))
        self.bad_pack("03.jpg", "does not decode",
                      before=lambda d: (d / "train/dark/03.jpg").write_bytes(b"\xff\xd8\xff\xe0" + b"\0" * 40))

    def test_folders_without_packing(self):
        """The split at fault is named; what is no picture is counted, and what only seems to be gone is an error."""
        folder = self.pictures()
        args = ["data=folder", f"data.path={folder}", "train.batch=8", "train.max_steps=2", "model=linear"]
        (folder / "train/dark/notes.txt").write_text("x")
        r = self.run_program(LAUNCH, "-n", 2, CNN, *args, f"run.dir={self.runs}")
        self.assertEqual((r.code, (r.out + r.err).count("data 'folder': 1 other file left out")), (0, 1), r.err)
        (folder / "test/dark/lost.jpg").symlink_to("/nowhere/lost.jpg")
        self.bad(*args, code=RESOURCE, says=["data 'folder', test split: ", "lost.jpg cannot be looked at"], tiny=False)
        (folder / "test/dark/lost.jpg").unlink()
        cut(folder / "train/light/03.png", 0.5)
        self.bad(*args, code=RESOURCE, says=["data 'folder', train split: ", "train/light/03.png does not decode"], tiny=False)

    def test_class_folders_that_are_empty(self):
        def empty(d):
            for p in (d / "train/light").iterdir():
                p.unlink()
        self.bad_pack("train/light", "holds no picture", "fill it or remove it", before=empty)

        def no_classes(d):
            shutil.rmtree(d)
            d.mkdir()
        self.bad_pack("holds no class folders", "CLASS", before=no_classes)
        self.bad_pack("there is no folder", before=shutil.rmtree)

    def test_disk_full_while_packing(self):
        self.pack()
        old = tree(self.dir / "data")
        self.ends([DATA, "pack", self.dir / "pictures", self.dir / "data/my.packed"], RESOURCE, "the disk is full", "my.packed",
                  env={"DDP_TEST_FAULT": f"2:{errno.ENOSPC}:my.packed"})
        self.assertEqual(tree(self.dir / "data"), old)


class BadCheckpoint(Bad):
    STEPS = ["checkpoint.every_steps=1", "checkpoint.background=false"]

    def run_once(self, *args):
        r = self.launch(*TINY, *self.STEPS, "train.max_steps=3", *args)
        run = pathlib.Path(r.run_dir)
        return run, sorted(p for p in (run / "checkpoints").iterdir() if p.name.startswith("step-"))

    def test_checkpoint_of_another_model(self):
        run, steps = self.run_once()
        before = tree(run)
        self.bad("--resume", run, "model=mlp", code=RESOURCE, says=["--resume", "checkpoint of another model", str(steps[-1])])
        self.bad("--resume", run, "optim=adamw", code=RESOURCE, says=["--resume", "checkpoint of another"])
        self.assertEqual(tree(run), before)

    def test_damaged_checkpoint_gives_way_to_the_one_before(self):
        for name, damage in (("model.safetensors", lambda p: flip(p, -5)), ("model.safetensors", lambda p: cut(p, 0.5)),
                             ("optimizer.safetensors", lambda p: flip(p, 3)), ("state.json", lambda p: cut(p, 0.5)),
                             ("state.json", lambda p: flip(p, 30)), ("optimizer.safetensors", lambda p: p.unlink())):
            with self.subTest(name):
                run, steps = self.run_once()
                whole = self.launch(*TINY, "train.max_steps=4").weights
                damage(steps[-1] / name)
                r = self.run_program(LAUNCH, "-n", 3, CNN, *TINY, *self.STEPS, "train.max_steps=4", f"run.dir={self.runs}",
                                     "--resume", run)
                self.assertEqual(r.code, 0, r.err)
                self.assertEqual(r.weights, whole)
                self.assertEqual(r.err.count("checkpoint skipped"), 1, r.err)
                self.assertIn(f"{steps[-1].name}", r.err)

    def test_all_checkpoints_damaged(self):
        run, steps = self.run_once()
        for s in steps:
            flip(s / "model.safetensors", -1)
        for extra in (run / "checkpoints").iterdir():
            if extra.is_dir() and not extra.is_symlink() and extra not in steps:
                flip(extra / "model.safetensors", -1)
        before = tree(run)
        self.bad("--resume", run, code=RESOURCE, says=["all its checkpoints are damaged", str(run), "without --resume"])
        self.assertEqual(tree(run), before)

    def test_nothing_to_resume(self):
        self.bad("--resume", self.dir / "none", code=USAGE, says=["no such run", f"{self.dir}/none"])
        self.bad("--resume", "latest", code=USAGE, says=["--resume latest", str(self.runs)])
        (self.dir / "empty").mkdir()
        self.bad("--resume", self.dir / "empty", code=RESOURCE, says=["there is no checkpoint", str(self.dir / "empty")])

    def test_weights_of_another_model_or_damaged(self):
        run, _ = self.run_once()
        model = run / "model.safetensors"
        self.bad(f"init.from={model}", "model=mlp", code=RESOURCE, says=[str(model), "none of its", "this model"])
        self.bad("--eval", model, "model=mlp", code=RESOURCE, says=["none of its", str(model)])
        for damage, word in ((lambda p: cut(p, 0.5), "not a whole safetensors file"),
                             (lambda p: p.write_bytes(b""), "not a whole safetensors file"),
                             (lambda p: p.write_bytes(b"\xff" * 100), "not a whole safetensors file")):
            broken = self.dir / "broken.safetensors"
            shutil.copy(model, broken)
            damage(broken)
            self.bad(f"init.from={broken}", code=RESOURCE, says=[str(broken), word])
        self.bad(f"init.from={self.dir}/none.safetensors", code=RESOURCE, says=["none.safetensors", "No such file"])

    def test_disk_full_while_saving_keeps_the_checkpoint_before(self):
        """Writes below checkpoints/ fail from the N-th on; one checkpoint takes some 24: the first, the second, the third."""
        reference = self.launch(*TINY, "train.max_steps=4").weights
        most = 0
        for n, background in ((12, "false"), (28, "true"), (33, "false"), (38, "true"), (42, "false"), (45, "true"), (60, "false")):
            with self.subTest(n=n, background=background):
                shutil.rmtree(self.runs, ignore_errors=True)
                self.bad("checkpoint.every_steps=1", f"checkpoint.background={background}", "train.max_steps=4", code=RESOURCE,
                         says=["the disk is full", "run.dir", "checkpoints"], env={"DDP_TEST_FAULT": f"{n}:{errno.ENOSPC}:checkpoints"})
                (run,) = self.runs.iterdir()
                left = sorted(p.name for p in (run / "checkpoints").iterdir() if re.fullmatch(r"step-\d+", p.name))
                self.assertGreaterEqual(len(left), most)
                most = len(left)
                self.assertEqual(list(run.glob("model.safetensors")), [])
                if left:  # what is left resumes to the same end
                    r = self.launch(*TINY, "train.max_steps=4", "--resume", run, ranks=2)
                    self.assertEqual(r.weights, reference)
        self.assertGreater(most, 0, "no case left a checkpoint: the faults came too early")

    def test_disk_full_for_the_last_file(self):
        self.bad(code=RESOURCE, says=["the disk is full", "/model.safetensors"],
                 env={"DDP_TEST_FAULT": f"1:{errno.ENOSPC}:/model.safetensors"})
        self.bad(code=RESOURCE, says=["the disk is full", "metrics.jsonl"], env={"DDP_TEST_FAULT": f"1:{errno.ENOSPC}:metrics.jsonl"})

    def test_read_only_run_directory(self):
        for error, word in ((errno.EROFS, "read-only"), (errno.EACCES, "permission denied"), (errno.EDQUOT, "quota")):
            shutil.rmtree(self.runs, ignore_errors=True)
            self.bad(code=RESOURCE, says=[word, "run.dir"], env={"DDP_TEST_FAULT": f"1:{error}"})

    def test_run_directory_below_a_file(self):
        (self.dir / "file").write_text("x")
        self.bad(f"run.dir={self.dir}/file/runs", code=RESOURCE, says=["run.dir", f"{self.dir}/file", "run.dir=FOLDER"], once=False)


class OtherUser(Bad):
    """Root reads and writes everything: as somebody else, with copies of the programs that he may start."""

    def setUp(self):
        super().setUp()
        self.prefix = []
        if os.geteuid() == 0:
            if not shutil.which("setpriv"):
                self.skipTest("setpriv is not there")
            self.prefix = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
            if subprocess.run([*self.prefix, "true"], capture_output=True).returncode:
                self.skipTest("this root may not become another user")
        self.bin = self.dir / "bin"
        self.bin.mkdir()
        for p in (LAUNCH, TRAIN, BIN.parent / "lib/libddp_mpi.so"):
            shutil.copy(p, self.bin)
        shutil.copytree(ROOT / "configs", self.dir / "configs")
        for p in (self.dir / "configs").rglob("*"):
            p.chmod(0o755 if p.is_dir() else 0o644)
        (self.dir / "configs").chmod(0o755)
        (self.dir / "home").mkdir()
        (self.dir / "home").chmod(0o777)
        self.env = {"HOME": str(self.dir / "home"), "TMPDIR": "/tmp", "DDP_CONFIGS_DIR": str(self.dir / "configs")}

    def command(self, *args, config=None, run_dir=None):
        return [*self.prefix, self.bin / "ddp-launch", "-n", 2, config or self.dir / "configs/cnn.cfg", *TINY,
                f"run.dir={run_dir or self.dir / 'home/runs'}", *args]

    def test_he_can_train(self):
        r = self.run_program(*self.command(), env=self.env)
        self.assertEqual(r.code, 0, r.err)

    def test_unreadable_config(self):
        c = self.config("seed = 3;\n")
        c.chmod(0o000)
        self.ends(self.command(config=c), USAGE, str(c), "Permission denied", env=self.env)

    def test_unreadable_group_file(self):
        (self.dir / "configs/model/linear.cfg").chmod(0o000)
        self.ends(self.command(), USAGE, "linear.cfg", "Permission denied", env=self.env)

    def test_read_only_run_directory(self):
        (self.dir / "locked").mkdir(mode=0o755)
        if os.geteuid():
            (self.dir / "locked").chmod(0o555)
        self.ends(self.command(run_dir=self.dir / "locked"), RESOURCE, f"run.dir = \"{self.dir}/locked\"", "Permission denied",
                  "run.dir=FOLDER", env=self.env)
        self.assertEqual(list((self.dir / "locked").iterdir()), [])

    def test_unreadable_data(self):
        root = self.dir / "data/mnist"
        root.mkdir(parents=True)
        for name in ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"):
            (root / name).write_bytes(b"x")
            (root / name).chmod(0o000)
        self.ends(self.command("data=mnist", f"data.root={self.dir}/data"), RESOURCE, "idx", "Permission denied", env=self.env, once=False)


class FewResources(Bad):
    def test_model_too_large_for_memory_fails_before_step_0_with_the_plan(self):
        available = int(re.search(r"MemAvailable:\s+(\d+)", open("/proc/meminfo").read()).group(1)) * 1024
        # parameters alone would fit five times; with optimizer, gradients and the checkpoint's copy they do not
        out = min(int(available / 5 / (4 * (784 + 128))), 16777216)
        text = self.bad("model=mlp", f"model.layers[1].out={out}", code=RESOURCE, ranks=2,
                        says=["does not fit", "'mlp'", "parameters + ", "optimizer state", "gradients", "2 ranks x", "available", "-n"])
        self.assertRegex(text, r"takes [\d.]+ [GT]B of memory: .* [\d.]+ [MG]B are available")
        self.assertFalse(self.runs.exists())

    def test_far_more_threads_than_cores_train_with_a_warning(self):
        reference = self.launch(*TINY).weights
        r = self.run_program(LAUNCH, "-n", 2, CNN, *TINY, "train.threads=64", f"run.dir={self.runs}", timeout=100)
        self.assertEqual(r.code, 0, r.err)
        self.assertEqual(r.weights, reference)
        if os.cpu_count() < 64:
            self.assertEqual(r.err.count("threads take turns"), 1, r.err)

    def test_more_threads_than_the_system_gives(self):
        if os.geteuid():
            self.skipTest("only root can change user for a limit of processes that counts nobody else")
        if not shutil.which("setpriv") or not shutil.which("prlimit"):
            self.skipTest("setpriv or prlimit is not there")
        copy = self.dir / "ddp-train"
        shutil.copy(TRAIN, copy)
        home = self.dir / "home"
        home.mkdir()
        home.chmod(0o777)
        command = ["prlimit", "--nproc=20", "setpriv", "--reuid=65533", "--regid=65533", "--clear-groups", copy, CNN, *TINY,
                   "train.threads=64", f"run.dir={home}/runs"]
        probe = subprocess.run(["setpriv", "--reuid=65533", "--regid=65533", "--clear-groups", "cat", CNN], capture_output=True)
        if probe.returncode:
            self.skipTest("another user cannot read this checkout")
        self.ends(command, RESOURCE, "train.threads = 64", "cannot start thread", "ulimit -u", env={"HOME": str(home)})

    def test_mpirun_missing(self):
        self.bad("--starter=mpirun", code=RESOURCE, says=["mpirun"], env={"PATH": str(self.dir)}, once=False)


class OwnMounts(Bad):
    """A mount namespace of one's own: small, full, missing and read-only file systems for real."""

    # shared memory of some 240 MB: far beyond the 64 MB that containers have
    BIG = ["model=mlp", "model.layers[1].out=16384", "data.train_count=32", "data.test_count=8", "train.batch=8", "train.max_steps=1",
           "checkpoint.best=false"]

    def setUp(self):
        super().setUp()
        self.unshare = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-r", "-m"]
        probe = subprocess.run([*self.unshare, "sh", "-c", f"mount -t tmpfs -o size=1m tmpfs {self.dir}"], capture_output=True, text=True)
        if probe.returncode:
            self.skipTest(f"no mounts of one's own here: {probe.stderr.strip()}")

    def inside(self, script, *args, code=0, says=(), once=True, model=None):
        command = [LAUNCH, "-n", "2", "--quiet", CNN, *(model or TINY), f"run.dir={self.runs}", *args]
        shell = [*self.unshare, "sh", "-ec", script + '\nexec "$@"', "sh", *[str(c) for c in command]]
        if code:
            return self.ends(shell, code, *says, once=once)
        r = self.run_program(*shell)
        self.assertEqual(r.code, 0, f"{script}\n{r.err}")
        return r.weights

    def test_dev_shm_too_small_for_the_plan(self):
        reference = self.launch(*self.BIG).weights
        for size in ("64m", "1m"):
            self.assertEqual(self.inside(f"mount -t tmpfs -o size={size} tmpfs /dev/shm", model=self.BIG), reference, size)
            shutil.rmtree(self.runs)

    def test_dev_shm_full_read_only_or_missing(self):
        reference = self.launch(*TINY).weights
        scripts = {
            "full": "mount -t tmpfs -o size=64m tmpfs /dev/shm; dd if=/dev/zero of=/dev/shm/full bs=1M 2>/dev/null || true",
            "read-only": "mount -t tmpfs -o ro tmpfs /dev/shm",
            "missing": f"""mkdir {self.dir}/dev; mount --rbind /dev {self.dir}/dev; mount -t tmpfs -o mode=755 tmpfs /dev
                for f in null zero full random urandom tty; do touch /dev/$f; mount --bind {self.dir}/dev/$f /dev/$f; done
                mkdir /dev/pts; mount --rbind {self.dir}/dev/pts /dev/pts; ln -s pts/ptmx /dev/ptmx; ln -s /proc/self/fd /dev/fd
                test ! -e /dev/shm""",
        }
        for name, script in scripts.items():
            with self.subTest(name):
                self.assertEqual(self.inside(script), reference)
                shutil.rmtree(self.dir / "dev", ignore_errors=True)
        self.assertEqual([p.name for p in pathlib.Path("/tmp").glob("ddp-job-*") if not self.alive(p.name)], [])

    @staticmethod
    def alive(job):
        return pathlib.Path(f"/proc/{job.split('-')[2]}").exists()

    def test_no_room_for_the_files_of_mpirun_anywhere(self):
        script = f"""mount -t tmpfs -o size=1m tmpfs /mnt; mkdir /mnt/bin /mnt/configs
            mount --bind {BIN} /mnt/bin; mount --bind {ROOT}/configs /mnt/configs
            mount -t tmpfs -o size=1m tmpfs /dev/shm; mount -t tmpfs -o size=1m tmpfs /tmp
            cd /mnt; export DDP_CONFIGS_DIR=/mnt/configs TMPDIR=/tmp
            exec /mnt/bin/ddp-launch --starter mpirun -n 2 /mnt/configs/cnn.cfg {' '.join(TINY)} run.dir=/mnt/runs"""
        self.inside(script, code=RESOURCE, says=["neither /dev/shm nor /tmp", "MPI", "--shm-size", "TMPDIR"])

    def test_run_directory_on_a_read_only_file_system(self):
        self.runs.mkdir()
        self.inside(f"mount -t tmpfs -o ro tmpfs {self.runs}", code=RESOURCE, says=["Read-only file system", "run.dir=FOLDER"])

    def test_a_disk_that_is_full_for_real(self):
        self.runs.mkdir()
        keep = self.dir / "kept"
        script = f"mount -t tmpfs -o size=300k tmpfs {self.runs}; trap 'cp -r {self.runs} {keep}' EXIT"
        command = f"{LAUNCH} -n 2 --quiet {CNN} {' '.join(TINY)} run.dir={self.runs} checkpoint.every_steps=1 checkpoint.keep=50 " \
                  "train.max_steps=6"
        self.ends([*self.unshare, "bash", "-c", f"{script}; {command}"], RESOURCE, "the disk is full", f"{self.runs}/", "run.dir")
        (run,) = keep.iterdir()
        left = sorted(p.name for p in (run / "checkpoints").iterdir() if re.fullmatch(r"step-\d+", p.name))
        self.assertTrue(left)
        whole = self.launch(*TINY, "train.max_steps=6").weights
        self.assertEqual(self.launch(*TINY, "train.max_steps=6", "--resume", run).weights, whole)

    def test_no_inodes_left_is_not_called_a_full_disk(self):
        self.runs.mkdir()
        for inodes in (3, 12):
            with self.subTest(inodes=inodes):
                script = f"mount -t tmpfs -o size=40m,nr_inodes={inodes} tmpfs {self.runs}"
                command = f"{LAUNCH} -n 2 --quiet {CNN} {' '.join(TINY)} run.dir={self.runs} checkpoint.every_steps=1 " \
                          "checkpoint.keep=50 train.max_steps=6"
                self.ends([*self.unshare, "bash", "-c", f"{script}; {command}"], RESOURCE, "no inodes left", "run.dir")


harness.main()
