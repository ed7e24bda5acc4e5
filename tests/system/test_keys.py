"""Every key of the config table: those marked as changing the result do, no other does, and the config hash knows which.

One row for each key, in the order of the table; a key without a row fails the test. Runs are tiny (a softmax regression
on 96 drawn digits) and go two at a time.
"""
import concurrent.futures
import re
import shutil
import struct
import threading
import zlib

import harness
from harness import DATA, LAUNCH, TRAIN

CONFIG = """
model: { base = "linear"; };
data: { base = "digits"; train_count = 96; test_count = 32; };
optim: { base = "sgd"; };
train: { batch = 32; epochs = 2; shards = 8; threads = 1; };
log: { progress = false; };
"""

# Runs in which evaluations get worse now and then: what early stopping looks at decides when they end.
STOPS = ["train.early_stop=1", "train.epochs=8", "optim.lr=4", "optim.momentum=0.5"]
IDX = ["data.format=idx", "data.root={dir}/idx", "data.path=one"]
CSV = ["data.format=csv", "data.path={dir}/table",
       'model.layers=({type = "linear", name = "fc", out = "classes"}, {type = "mse", name = "loss"})', "optim.lr=0.01"]
NOISE = ["data.format=noise", "data.shape=[3, 8, 8]"]
RANKS = {"ranks": 3}  # under ddp-launch


class Row:
    """Overrides under which the key matters, and other values for it: with a key that changes the result each one must.

    any_of: one of the values has to, where it is the data that decides. base for keys that matter by early stop: what is
    added to STOPS. other: of a key that matters by content, a value with other content than the rest.
    """

    def __init__(self, *values, base=(), ranks=0, any_of=False, other=None):
        self.values, self.base, self.ranks, self.any_of, self.other = values, list(base), ranks, any_of, other


ADAMW, LARS, LAMB, RMSPROP = (["optim=" + name, "optim.lr=0.01", "optim.warmup_steps=0"] for name in ("adamw", "lars", "lamb", "rmsprop"))
ONECYCLE = ["optim.schedule=onecycle"]
STEP = ["optim.schedule=step", "optim.milestones=[1]"]

# Change what a GPU computes. On the CPU precision and tf32 are refused and the scale of the fp16 loss is never used, so no
# run of this test can show it: the tests of GPU runs perturb these.
GPU_ONLY = None

ROWS = {
    "seed": Row("2"),
    "device": Row("cpu"),
    "train.batch": Row("24"),
    "train.batch_per_rank": Row("24"),
    "train.shards": Row("5", "ranks"),
    "train.accumulate": Row("2"),
    "train.epochs": Row("3"),
    "train.max_steps": Row("5"),
    "train.threads": Row("2", "3", "0"),
    "train.trail_every": Row("1"),
    "train.precision": GPU_ONLY,
    "train.tf32": GPU_ONLY,
    "train.loss_scale": GPU_ONLY,
    "train.loss_scale_interval": GPU_ONLY,
    "train.early_stop": Row("0", base=STOPS),
    "model.name": Row("other"),
    "model.layers": Row('({type = "flatten", name = "flat"}, {type = "linear", name = "fc", out = 10, bias = false}, '
                        '{type = "softmax_cross_entropy", name = "loss"})'),
    "model.input": Row("[1, 28, 28]"),
    "data.name": Row("other"),
    "data.format": Row("idx", base=["data.root={dir}/idx", "data.path=one"]),
    "data.root": Row("{dir}/idx-copy", base=IDX, other="{dir}/idx-other"),
    "data.path": Row("one-copy", "{dir}/idx-copy/one", base=IDX, other="two"),
    "data.files": Row('["b-images", "b-labels", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"]', base=IDX),
    "data.inputs": Row('["a"]', base=CSV),
    "data.targets": Row('["b"]', base=CSV),
    "data.train_count": Row("80"),
    "data.test_count": Row("1", "2", "3", "5", any_of=True),
    "data.shape": Row("[1, 20, 20]", base=["data.format=noise"]),
    "data.classes": Row("7", base=["data.format=noise"]),
    "data.seed": Row("2"),
    "data.limit_train": Row("64"),
    "data.limit_test": Row("1", "2", "3", "5", any_of=True),
    "data.normalize": Row("false"),
    "data.normalize_targets": Row("true", base=CSV),
    "data.mean": Row("[0.4]", base=["data.mean=[0.2]", "data.std=[0.3]"]),
    "data.std": Row("[0.5]", base=["data.mean=[0.2]", "data.std=[0.3]"]),
    "data.crop_padding": Row("2"),
    "data.flip": Row("true"),
    "data.cutout": Row("6"),
    "data.crop_area": Row("[0.5, 1]"),
    "data.crop_ratio": Row("[1, 1]", base=["data.crop_area=[0.5, 1]"]),
    "data.rotate": Row("20"),
    "data.translate": Row("0.2"),
    "data.scale": Row("[0.8, 1.2]"),
    "data.shear": Row("20"),
    "data.brightness": Row("0.4"),
    "data.contrast": Row("0.4"),
    "data.saturation": Row("0.4", base=NOISE),
    "data.hue": Row("0.2", base=NOISE),
    "data.mixup": Row("0.4"),
    "data.shuffle": Row("false"),
    "data.prefetch": Row("1", "9"),
    "data.workers": Row("0", "3"),
    "data.verify": Row("false", base=["data.format=packed", "data.path={dir}/pictures.pack", "train.batch=8"]),
    "optim.name": Row("other"),
    "optim.type": Row("adamw", "lars", "lamb", "adam", "rmsprop"),
    "optim.lr": Row("0.05"),
    "optim.lr_rule": Row("linear", "sqrt", base=["train.batch_per_rank=16"], ranks=3),
    "optim.momentum": Row("0.8", "0"),
    "optim.dampening": Row("0.5"),
    "optim.weight_decay": Row("0.01"),
    "optim.beta1": Row("0.8", base=ADAMW),
    "optim.beta2": Row("0.9", base=LAMB),
    "optim.alpha": Row("0.9", base=RMSPROP),
    "optim.centered": Row("true", base=RMSPROP),
    "optim.eps": Row("0.01", base=ADAMW),
    "optim.trust": Row("0.1", base=LARS),
    "optim.nesterov": Row("true"),
    "optim.clip_norm": Row("0.5"),
    "optim.ema": Row("0.9"),
    "optim.schedule": Row("step", "cosine", "onecycle", "poly", base=["optim.milestones=[1]"]),
    "optim.warmup_steps": Row("3"),
    "optim.warmup_start": Row("0.5", base=["optim.warmup_steps=3"]),
    "optim.milestones": Row("[0.5]", "[1, 1.5]", base=STEP),
    "optim.gamma": Row("0.5", base=STEP),
    "optim.final_lr": Row("0.05", base=["optim.schedule=cosine"]),
    "optim.power": Row("2", base=["optim.schedule=poly"]),
    "optim.pct_start": Row("0.6", base=ONECYCLE),
    "optim.div_factor": Row("5", base=ONECYCLE),
    "optim.final_div_factor": Row("1", base=ONECYCLE),
    "optim.no_decay": Row('["fc.weight"]', base=["optim.weight_decay=0.1"]),
    "optim.groups": Row('({match = "fc.*", lr_scale = 0.5})', '({match = "*.weight", weight_decay = 0.1})'),
    "reduce.mode": Row("fast", base=["model=mlp", "repro.level=fast"], **RANKS),
    "reduce.bucket_mb": Row("0.02", "100", base=["model=mlp"], **RANKS),
    "repro.level": Row("warn", "fast"),
    "probe.from": Row("2"),
    "probe.to": Row("3", base=["probe.from=1"]),
    "probe.values": Row('["*"]', base=["probe.from=1"], **RANKS),
    "comm.share_gpu": Row("true", **RANKS),
    "comm.interface": Row("lo", **RANKS),
    "comm.timeout_s": Row("30", **RANKS),
    "gpu.tune": Row("true"),
    "gpu.graph": Row("false"),
    "gpu.branches": Row("2"),
    "gpu.resident_data": Row("on", "off"),
    "eval.every_epochs": Row("3"),
    "checkpoint.every_steps": Row("2"),
    "checkpoint.every_epochs": Row("0", "2"),
    "checkpoint.keep": Row("1"),
    "checkpoint.best": Row("false"),
    "checkpoint.background": Row("false"),
    "init.from": Row("{dir}/start.safetensors"),
    "init.strict": Row("false", base=["init.from={dir}/start.safetensors"]),
    "run.dir": Row("{dir}/elsewhere"),
    "run.name": Row("other"),
    "log.every_steps": Row("1"),
    "log.level": Row("debug", "error"),
    "log.progress": Row("true"),
    "log.progress_every": Row("0.2"),
    "launch.bind": Row("spread", "none", **RANKS),
    "launch.memory_bind": Row("false", **RANKS),
    "launch.hyperthreads": Row("true", **RANKS),
    "launch.grace": Row("0", "5", **RANKS),
    "launch.stuck_after": Row("0", "60", **RANKS),
    "launch.fanout": Row("1", **RANKS),
}


def png(side, pixels):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = b"".join(b"\0" + pixels[i * side:(i + 1) * side] for i in range(side))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def noise(seed, n):
    """Bytes that look random and are the same everywhere."""
    out, x = bytearray(), seed * 2654435761 + 1
    for _ in range(n):
        x = (x * 6364136223846793005 + 1442695040888963407) & (1 << 64) - 1
        out.append(x >> 56)
    return bytes(out)


def write_idx(folder, names, seed, count, side=8):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / names[0]).write_bytes(struct.pack(">IIII", 0x803, count, side, side) + noise(seed, count * side * side))
    (folder / names[1]).write_bytes(struct.pack(">II", 0x801, count) + bytes(i % 10 for i in range(count)))


class Keys(harness.Case):
    @classmethod
    def setUpClass(cls):
        text = harness.subprocess.run([LAUNCH, "--help-config", "--markdown"], capture_output=True, text=True, check=True).stdout
        cls.table = dict(re.findall(r"^\| `([a-z_.0-9]+)` \|[^\n]*?\| (yes|no|by early stop|by content) \|", text, re.M))

    def prepare(self):
        """The files that rows speak of."""
        self.config = self.dir / "keys.cfg"
        self.config.write_text(CONFIG)
        train, test = [[f"{kind}-images-idx3-ubyte", f"{kind}-labels-idx1-ubyte"] for kind in ("train", "t10k")]
        for folder, seed in (("one", 1), ("two", 2)):
            write_idx(self.dir / "idx" / folder, train, seed, 96)
            write_idx(self.dir / "idx" / folder, test, 3, 32)
        write_idx(self.dir / "idx/one", ["b-images", "b-labels"], 4, 96)
        shutil.copytree(self.dir / "idx/one", self.dir / "idx/one-copy")
        shutil.copytree(self.dir / "idx", self.dir / "idx-copy")
        shutil.copytree(self.dir / "idx/two", self.dir / "idx-other/one")
        (self.dir / "table").mkdir()
        for name, rows, seed in (("train", 96, 5), ("test", 32, 6)):
            x = noise(seed, 3 * rows)
            (self.dir / f"table/{name}.csv").write_text(
                "a,b,c\n" + "".join(f"{x[i]},{x[i + rows]},{x[i] + x[i + 2 * rows] / 9}\n" for i in range(rows)))
        for split, count in (("train", 8), ("test", 2)):
            for label in range(10):
                folder = self.dir / f"pictures/{split}/class-{label}"
                folder.mkdir(parents=True)
                for i in range(count):
                    (folder / f"{i}.png").write_bytes(png(8, noise(label * 10 + i, 64)))
        packed = self.run_program(DATA, "pack", self.dir / "pictures", self.dir / "pictures.pack", "--quiet")
        self.assertEqual(packed.code, 0, packed.err)
        start = self.run_program(TRAIN, "--quiet", self.config, "seed=77", "train.max_steps=1", f"run.dir={self.dir}/runs")
        self.assertEqual(start.code, 0, start.err)
        shutil.copy(f"{start.run_dir}/model.safetensors", self.dir / "start.safetensors")

    def result(self, overrides, ranks):
        """(weights hash, config hash) of a run; each set of overrides is run once."""
        overrides = [o.replace("{dir}", str(self.dir)) for o in overrides]
        if not any(o.startswith("run.dir=") for o in overrides):
            overrides.append(f"run.dir={self.dir}/runs")
        key = (*overrides, ranks)
        with self.lock:
            first = key not in self.results
            future = self.results.setdefault(key, concurrent.futures.Future())
        if first:
            program = [LAUNCH, "-n", ranks] if ranks else [TRAIN]
            try:
                r = self.run_program(*program, "--quiet", self.config, *overrides)
                if r.code != 0:
                    raise AssertionError(f"{' '.join(overrides)}: exit {r.code}\n{r.err}")
                future.set_result((r.weights, r.json()["config_hash"]))
                shutil.rmtree(r.run_dir)
            except Exception as e:
                future.set_exception(e)
        return future.result()

    def compare(self, key, row, base):
        """What each value does: [(value, weights differ, config hash differs)]."""
        weights, config = self.result(base, row.ranks)
        out = []
        for value in row.values:
            other = self.result([*base, f"{key}={value}"], row.ranks)
            out.append((value, other[0] != weights, other[1] != config))
        return out

    def verdict(self, key, row):
        """What is wrong with a key, as lines."""
        kind, wrong = self.table[key], []

        def expect(base, changes, what):
            got = self.compare(key, row, base)
            if row.any_of and changes:
                if not any(differs for _, differs, _ in got):
                    wrong.append(f"{key}: none of {row.values} changes the weights {what}")
            else:
                wrong.extend(f"{key}={value}: the weights {'differ' if differs else 'are the same'} {what}, but the table says "
                             f"{kind}" for value, differs, _ in got if differs != changes)
            wrong.extend(f"{key}={value}: the config hash {'differs' if hashed else 'is the same'} {what}, but the table says "
                         f"{kind}" for value, _, hashed in got if hashed != changes)

        try:
            if kind == "by early stop":
                expect(row.base, False, "without early stop")
                expect([*STOPS, *row.base], True, "with early stop")
            else:
                expect(row.base, kind == "yes", f"({' '.join(row.base) or 'no other override'})")
            if kind == "by content":
                (_, differs, hashed), = self.compare(key, Row(row.other, ranks=row.ranks), row.base)
                if not differs or hashed:
                    wrong.append(f"{key}={row.other}: other content {'is in the config hash' if hashed else 'gives the same weights'}")
        except AssertionError as e:
            wrong.append(str(e))
        return wrong

    def test_every_key_does_what_the_table_says(self):
        self.lock, self.results = threading.Lock(), {}
        self.prepare()
        known = [key for key, row in ROWS.items() if row and key in self.table]
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            wrong = list(pool.map(lambda key: self.verdict(key, ROWS[key]), known))
        wrong = [line for lines in wrong for line in lines]
        self.assertFalse(wrong, "\n" + "\n".join(wrong))

    def test_keys_of_the_gpu_count_in_the_config_hash_and_leave_the_cpu_alone(self):
        self.lock, self.results = threading.Lock(), {}
        self.config = self.dir / "keys.cfg"
        self.config.write_text(CONFIG)
        start = self.result(["device=cpu"], 0)
        for override in ("train.loss_scale=1024", "train.loss_scale_interval=10"):
            weights, config = self.result(["device=cpu", override], 0)
            self.assertEqual(weights, start[0], override)
            self.assertNotEqual(config, start[1], override)
        self.assertEqual([self.table[key] for key, row in ROWS.items() if row is GPU_ONLY], ["yes"] * 4)

    def test_every_key_has_a_row(self):
        self.assertGreater(len(self.table), 60)
        self.assertEqual(sorted(set(self.table) - set(ROWS)), [], "keys without a row in tests/system/test_keys.py")
        self.assertEqual(sorted(set(ROWS) - set(self.table)), [], "rows of keys that are gone")
        self.assertEqual({key for key, kind in self.table.items() if kind == "by early stop"},
                         {"data.test_count", "data.limit_test", "eval.every_epochs", "optim.ema"})


harness.main()
