"""ddp-runs on runs of real programs: what it lists, shows, clears away, and that it changes nothing unasked."""
import json
import os
import pathlib
import shutil
import signal

import harness
from harness import BIN, TRAIN, wait_for

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


def snapshot(folder):
    """All bytes and times of change below a folder."""
    return {str(p.relative_to(folder)): (p.lstat().st_mtime_ns, p.read_bytes() if p.is_file() else b"")
            for p in sorted(pathlib.Path(folder).rglob("*"))}


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
        self.assertIn("no such run", self.ask("show", self.dir / "x", code=2).err)
        self.assertIn("no run.json", self.ask("show", self.dir, code=2).err)

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


harness.main()
