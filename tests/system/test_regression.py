"""Real-valued targets: the shipped example to its known loss, tables and IDX files of one's own, the same bits at 1, 2, 3
ranks, on CPUs and the emulated GPU; what is said in place of an accuracy, and what is refused."""
import json
import pathlib
import re
import struct

import harness
from harness import DATA, LAUNCH, ROOT, TRAIN

PLUGIN = harness.BIN.parent / "lib/libddp_cuda_emu.so"
GPU = {"DDP_CUDA_PLUGIN": str(PLUGIN), "DDP_EMU_QUIET": "1"}
LINEAR = """
model: { layers = ({type = "linear", name = "fc", out = "classes"}, {type = "%s", name = "loss"}); };
data: { format = "csv"; path = "table"; normalize_targets = true; };
optim: { lr = 0.05; schedule = "cosine"; };
train: { batch = 32; epochs = 40; threads = 1; };
"""


def noise(seed):
    """Numbers in [0, 1) that look random and are the same everywhere."""
    x = seed * 2654435761 + 1
    while True:
        x = (x * 6364136223846793005 + 1442695040888963407) & (1 << 64) - 1
        yield (x >> 40) / (1 << 24)


def rows(n, seed):
    """year, area, idle -> price, size: exact, in units far from 1."""
    r = noise(seed)
    for _ in range(n):
        year, area, idle = 1950 + 70 * next(r), 40 + 200 * next(r), next(r)
        yield year, area, idle, 150000 + 900 * (year - 1980) + 2000 * area, 3 * area - year / 2


def write_table(folder, head='year,area,"the idle, one",price,size', line="{:.3f},{:.4f},{:.5f},{:.1f},{:.2f}\n"):
    folder.mkdir(exist_ok=True)
    for name, n, seed in (("train.csv", 300, 1), ("test.csv", 80, 2)):
        (folder / name).write_text(head + "\n" + "".join(line.format(*row) for row in rows(n, seed)))


class Regression(harness.Case):
    def config(self, loss="mse"):
        path = self.dir / "table.cfg"
        path.write_text(LINEAR % loss)
        if not (self.dir / "table").exists():
            write_table(self.dir / "table")
        return path

    def error(self, run):
        return run.json()["eval"]["mean_absolute_error"]

    def test_the_example_reaches_its_known_loss(self):
        """The noise of the data alone has a mean absolute error of 0.798, and a squared one of 1, which is 0.041 of the variance."""
        found = {}
        for ranks in (1, 2, 3):
            r = self.launch(ranks=ranks, config=ROOT / "configs/regression.cfg")
            found[r.weights] = r
        self.assertEqual(len(found), 1)
        doc = r.json()
        self.assertEqual(set(doc["eval"]), {"mean_absolute_error", "loss", "count"})
        self.assertTrue(0.78 < doc["eval"]["mean_absolute_error"] < 0.95, doc["eval"])
        self.assertTrue(0.038 < doc["eval"]["loss"] < 0.058, doc["eval"])
        self.assertAlmostEqual(doc["target_scaling"]["mean"][0], 14.4, delta=0.4)
        self.assertAlmostEqual(doc["target_scaling"]["std"][0], 4.97, delta=0.2)
        self.assertEqual(len(doc["input_scaling"]["std"]), 10)
        e = self.run_program(TRAIN, "--eval", r.run_dir)
        self.assertIn(f"mean absolute error: {self.error(r):.6f}", e.out)
        records = [json.loads(l) for l in (pathlib.Path(r.run_dir) / "metrics.jsonl").read_text().splitlines()]
        for kind, wants in (("step", {"loss"}), ("eval", {"loss", "mean_absolute_error"})):
            (*_, last) = (x for x in records if x["type"] == kind)
            self.assertLessEqual(wants, set(last))
            self.assertNotIn("accuracy", last)

    def test_a_table_and_every_loss(self):
        """A linear problem: each loss finds it, at any number of ranks alike."""
        for loss in ("mse", "mae", "huber"):
            with self.subTest(loss=loss):
                runs = [self.launch(ranks=n, config=self.config(loss), *["data.targets=[\"price\"]"]) for n in (1, 2, 3)]
                self.assertEqual(len({r.weights for r in runs}), 1)
                self.assertLess(self.error(runs[0]), 9000)  # of prices that deviate by 120,000
        two = self.launch('data.targets=["price", "size"]', 'data.inputs=["year", "area"]', config=self.config())
        self.assertLess(self.error(two), 0.05)  # of several targets: in deviations
        self.assertEqual(len(two.json()["target_scaling"]["mean"]), 2)
        limit = self.launch('data.targets=["price"]', "data.limit_train=64", "train.epochs=2", config=self.config())
        self.assertEqual(limit.json()["eval"]["count"], 80)

    def test_idx_files_of_numbers_are_the_same_data(self):
        """Doubles, floats and the table of the same numbers give one result."""
        found = set()
        for kind, code, form in (("doubles", 0xE, ">d"), ("floats", 0xD, ">f")):
            folder = self.dir / kind
            folder.mkdir()
            for split, n, seed in (("train", 300, 1), ("test", 80, 2)):
                table = [[float(f"{v:.2f}") for v in row] for row in rows(n, seed)]
                for name, columns in (("inputs", slice(0, 3)), ("targets", slice(3, 4))):
                    values = [row[columns] for row in table]
                    (folder / f"{split}-{name}.idx").write_bytes(
                        bytes([0, 0, code, 2]) + struct.pack(">II", n, len(values[0]))
                        + b"".join(struct.pack(form, v) for row in values for v in row))
            r = self.launch("data.format=idx_real", f"data.path={folder}", "train.epochs=3", config=self.config())
            found.add((r.weights, r.json()["data"][0]["sha256"]))
        self.assertEqual(len(found), 1)
        write_table(self.dir / "rounded", line="{:.2f},{:.2f},{:.2f},{:.2f},{:.2f}\n")
        r = self.launch(f"data.path={self.dir}/rounded", 'data.targets=["price"]', 'data.inputs=["year","area","the idle, one"]',
                        "train.epochs=3", config=self.config())
        self.assertEqual({r.weights}, {w for w, _ in found})

    def test_resume_gives_the_same_bits(self):
        args = ['data.targets=["price"]', "train.epochs=4"]
        whole = self.launch(*args, config=self.config())
        first = self.launch(*args, "train.max_steps=17", config=self.config(), ranks=3)
        rest = self.launch(*args, "--resume", first.run_dir, config=self.config(), ranks=1)
        self.assertEqual(rest.weights, whole.weights)

    def test_the_emulated_gpu_agrees(self):
        if not PLUGIN.exists():
            self.skipTest(f"no {PLUGIN}")
        small = ["data.train_count=256", "data.test_count=64", "train.epochs=2", "train.batch=32", "train.shards=4"]
        for loss in ("mse", "mae", "huber"):
            with self.subTest(loss=loss):
                words = [*small, f"model.layers[5].type={loss}"]
                cpu = self.launch(*words, config=ROOT / "configs/regression.cfg")
                gpu = [self.launch(*words, "device=cuda", f"gpu.resident_data={resident}", ranks=n, env=GPU,
                                   config=ROOT / "configs/regression.cfg") for n, resident in ((1, "on"), (2, "off"))]
                self.assertEqual(gpu[0].weights, gpu[1].weights)
                self.assertAlmostEqual(self.error(gpu[0]), self.error(cpu), delta=0.01 * self.error(cpu))

    def test_what_is_refused(self):
        config = self.config()
        bad = self.dir / "bad"
        for why, change, says in (
                ("a word", lambda t: t.replace("\n", "\n,1,2,3,4\n", 1), r'train.csv:2: column "year" holds ""'),
                ("fields", lambda t: t + "1,2,3\n", r"train.csv:302: 3 fields, but the first line has 5 names"),
                ("quote", lambda t: t + '1,2,"3,4,5\n', r"train.csv:302: a quoted field"),
                ("no rows", lambda t: t.splitlines()[0], r"no line below"),
                ("nothing", lambda t: "", r"is empty")):
            with self.subTest(why):
                write_table(bad)
                (bad / "train.csv").write_text(change((bad / "train.csv").read_text()))
                r = self.launch(f"data.path={bad}", config=config, code=None)
                self.assertNotEqual(r.code, 0)
                self.assertRegex(r.err, says)
                self.assertIn(", train split: ", r.err)
                self.assertNotIn("test split", r.err)
        for words, says in (
                (['data.targets=["prize"]'], 'no column is named "prize"'),
                (['data.targets=["price"]', 'data.inputs=["price"]'], "is in data.inputs and in data.targets"),
                (['data.targets=["price", "price"]'], "data 'inline': column"),
                (["data.flip=true"], "command line: data.flip is for pictures"),
                (["model.layers[1].type=softmax_cross_entropy"], "take mse, mae or huber"),
                (["model.layers[0].out=3"], "the data has 1 target: the layer before the loss")):
            with self.subTest(words=words):
                r = self.launch(*words, config=config, code=None)
                self.assertNotEqual(r.code, 0)
                self.assertNotIn(" split: ", r.err)
                self.assertIn(says, re.sub(r"\s+", " ", r.err))
        for words, says in (("data.normalize_targets=true", "is for real targets"), ("data.hue=0.1", "is for pictures in colour"),
                            ("data.crop_area=[0.9,0.2]", "= [0.9, 0.2] begins above")):
            r = self.launch(words, code=None)
            self.assertRegex(re.sub(r"\s+", " ", r.err), re.escape(f"command line: {words.split('=')[0]} ") + ".*" + re.escape(says))
            self.assertNotIn(" split", r.err)


if __name__ == "__main__":
    harness.main()
