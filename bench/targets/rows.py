"""The table of targets. A row has sides, each a function that runs once and returns a number, and says how a value follows."""
import json
import pathlib
import statistics
import subprocess
import sys
import time

from .runs import NotHere, Watch

OURS = "ours"
MOST_OTHERS = 0.5  # CPUs that others may use meanwhile: with more of it no verdict is given


class Result:
    """Of a row: value and its spread by rounds, or why there is none."""

    def __init__(self, row, samples, missing, others):
        self.row, self.samples, self.missing, self.others = row, samples, missing, others
        self.date = time.strftime("%Y-%m-%d")
        self.rounds, self.value, self.reason = [], None, "; ".join(f"{k}: {v}" for k, v in missing.items())
        peers = [s for s in samples if s != OURS and samples[s]]
        if samples.get(OURS) and (peers or not row.needs_peer):
            self.value = row.value({s: statistics.median(v) for s, v in samples.items() if v})
            for i in range(min(len(v) for v in samples.values() if v)):
                self.rounds.append(row.value({s: v[i] for s, v in samples.items() if v}))

    @property
    def verdict(self):
        if self.value is None:
            return "not measured"
        if self.row.timed and self.others > MOST_OTHERS:
            return "busy machine"
        met = self.value >= self.row.target if self.row.sense == ">=" else self.value <= self.row.target
        return "met" if met else "missed"

    def record(self):
        return {"name": self.row.name, "what": self.row.what, "target": self.row.target, "sense": self.row.sense, "unit": self.row.unit,
                "value": self.value, "rounds": self.rounds, "verdict": self.verdict, "samples": self.samples, "missing": self.missing,
                "others_cpus": self.others, "date": self.date}


class Row:
    """sides: name -> function(place), the first being OURS; value: medians by side -> the number that has a target."""

    def __init__(self, name, what, sense, target, unit, sides, value, needs_peer=True, timed=True):
        self.name, self.what, self.sense, self.target, self.unit = name, what, sense, target, unit
        self.sides, self.value, self.needs_peer, self.timed = sides, value, needs_peer, timed  # timed: what else runs counts

    def run(self, place, repeat):
        samples, missing, watch = {s: [] for s in self.sides}, {}, Watch()
        for _ in range(repeat):
            for side, measure in self.sides.items():
                if side in missing:
                    continue
                try:
                    samples[side].append(measure(place))
                except NotHere as e:
                    missing[side] = str(e)
                except (RuntimeError, subprocess.TimeoutExpired, KeyError, StopIteration) as e:
                    missing[side] = f"failed: {str(e) or type(e).__name__}"
                    print(f"{self.name}: {side}: {missing[side]}", file=sys.stderr)
        return Result(self, samples, missing, watch.others())


# ---- values ----

def times_the_best(medians):
    """Ours over the best of the others, where more is better."""
    return medians[OURS] / max(v for s, v in medians.items() if s != OURS)


def alone(medians):
    return medians[OURS]


# ---- sides ----

def torch_sides(ranks, threads, model, batch):
    def side(layout, compiled):
        def measure(place):
            if compiled and not place.args.compiled:
                raise NotHere("only with --compiled")
            return place.torch_step(ranks, threads, model, batch, layout, compiled)["images_per_s"]
        return measure
    return {"PyTorch": side("nchw", False), "PyTorch, channels last": side("nhwc", False), "PyTorch, compiled": side("nchw", True)}


def training(name, ranks, threads, model, batch, target):
    sides = {OURS: lambda place: place.step(ranks, threads, model, batch)["images_per_s"], **torch_sides(ranks, threads, model, batch)}
    what = f"{model}, {ranks} rank{'s' * (ranks > 1)} x {threads} thread{'s' * (threads > 1)}, batch {batch} each, samples/s"
    return Row(name, what, ">=", target, "x PyTorch", sides, times_the_best)


def threads_row(name, model, batch):
    sides = {OURS: lambda place: place.step(1, 2, model, batch)["images_per_s"],
             "one thread": lambda place: place.step(1, 1, model, batch)["images_per_s"]}
    return Row(name, f"{model}, 1 rank, 2 threads against 1", ">=", 1.85, "x one thread", sides, times_the_best)


def worst_allreduce(ranks):
    """The least of the ratios over sizes; MPI's side is in the same run of ddp-bench."""
    def measure(place):
        report = place.bench("allreduce", "-n", ranks, "--sizes", "64K:64M", "--repeat", 1)
        if not report.get("against"):
            raise NotHere("; ".join(n for n in report.get("notes", []) if "not measured" in n) or "no MPI")
        return min(x["ratio"] for x in report["against"])
    return measure


def ours_64k(place):
    rows = place.bench("allreduce", "-n", 2, "--sizes", "64K:64K", "--repeat", 1, "node")["allreduce"]
    return next(x["us"] for x in rows if x["way"] == "node")


def alone_twice(place):
    """Samples/s of two runs of one rank beside each other, a CPU each: what the machine gives two ranks."""
    import os
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        raise NotHere("one CPU")
    command = [str(place.bin / "ddp-bench"), "step", "-n", "1", "--threads", "1", "--steps", "40", "--repeat", "1", "model=mnist_cnn",
               "train.batch=64", "train.shards=1", "--json", "-"]
    both = []
    for cpu in cpus[:2]:
        cores = place.folder / f"cores-{cpu}"
        cores.mkdir(exist_ok=True)
        both.append(subprocess.Popen(["taskset", "-c", str(cpu), *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                     cwd=place.folder, env={**os.environ, "DDP_CORES_DIR": str(cores)}))
    said = [p.communicate() for p in both]
    if any(p.returncode for p in both):
        raise RuntimeError(said[0][1][-300:] or said[1][1][-300:])
    return sum(json.loads(out)["images_per_s"] for out, _ in said)


class Layers:
    """Sides of a row of ddp-bench ops: the least rate by definition of the layers that are `wanted`, times `unit` in parts of the
    core's peak. Ours runs first; OpenBLAS's numbers are of the same run, PyTorch measures the layers of that report again."""

    def __init__(self, text, wanted=lambda layer: True, unit=1):
        self.text, self.wanted, self.unit, self.report = text, wanted, unit, None

    def least(self, rates):
        return self.unit * min(rates) / self.report["peak_gflops"]

    def ours(self, place):
        self.report = place.bench("ops", self.text)
        layers = self.report["layers"] = [x for x in self.report["layers"] if self.wanted(x)]
        if not layers:
            raise NotHere(f"ddp-bench ops has no such layer ({self.text})")
        return self.least(x["direct_gflops"] for x in layers)

    def openblas(self, place):
        if "openblas" not in self.report:
            raise NotHere("; ".join(n for n in self.report["notes"] if "OpenBLAS" in n) or "no OpenBLAS")
        place.beside.add(self.report["beside"])
        return self.least(x["blas_gflops"] for x in self.report["openblas"] if self.wanted(x))

    def onednn(self, place):
        report = place.folder / "ops.json"
        report.write_text(json.dumps(self.report))
        said = json.loads(place.peer("torch_ops.py", report.resolve()))
        place.beside.add(f"oneDNN {said['onednn']}")
        return self.least(x["gflops"] for x in said["layers"])


GEMM = Layers("linear 1024-1024", unit=100)
CONV = Layers("resnet", lambda layer: layer["kernel"] == 3 and layer["c"] > 3)


def first_step(ranks):
    return lambda place: place.bench("startup", "-n", ranks, "--repeat", 3)["startup"][0]["first_step_ms"] / 1e3


def torch_first_step(place):
    return place.torch_step(2, 1, "mnist_cnn", 64)["first_step_s"]


def memory(place):
    return place.step(2, 1, "mnist_cnn", 64)["rss_mb"]


def in_as_many_epochs(train):
    """Seconds from the command to its end, of the shortest run that reaches 99 %: 3 epochs, or as many as it takes."""
    def measure(place):
        accuracy = 0
        for epochs in (3, 4, 5, 6):
            began = time.time()
            accuracy = train(place, epochs)
            took = time.time() - began
            if accuracy >= 0.99:
                return took
        raise RuntimeError(f"reached {100 * accuracy:.2f} %")
    return measure


def to_99(place, epochs):
    root = place.data("mnist").parent
    config = pathlib.Path(__file__).resolve().parents[2] / "configs/cnn.cfg"
    out = place.run(place.bin / "ddp-launch", "-q", "-n", 2, config, "data=mnist", f"data.root={root}", f"train.epochs={epochs}",
                    "train.shards=2", "train.threads=1", f"run.dir={place.folder.resolve()}/runs")
    run = pathlib.Path(next(l for l in out.splitlines() if l.startswith("run: "))[5:])
    return json.loads((run / "run.json").read_text())["eval"]["accuracy"]


def torch_to_99(place, epochs):
    out = place.peer("torch_mnist.py", "--data", place.data("mnist"), "--epochs", epochs, ranks=2)
    return json.loads(next(l for l in out.splitlines() if l.startswith("{")))["accuracy"]


LIKE_TORCH = ["data.crop_padding=4", "data.flip=true", "data.mean=[0.4914,0.4822,0.4465]", "data.std=[0.2470,0.2435,0.2616]"]


def loader(batches, *words):
    """Samples/s with one thread: the training thread's own, or one that prefetches."""
    def measure(place):
        report = place.bench("loader", "--workers", "0,1", "--augment", "config", "--repeat", 1, "--batches", batches, *words, *LIKE_TORCH)
        return max(x["samples_per_s"] for x in report["loader"])
    return measure


def loader_of_jpegs(place):
    return loader(100, "data.format=folder", f"data.path={place.data('cifar10-jpeg')}")(place)


def torch_loader(*args):
    return lambda place: json.loads(place.torchvision("torch_loader.py", *args))["samples_per_s"]


def torch_loader_of_jpegs(place):
    return torch_loader("--folder", place.data("cifar10-jpeg") / "train")(place)


# ---- the table ----

def faster_than(medians):
    """How often ours goes into the best of the others, where less is better."""
    return min(v for s, v in medians.items() if s != OURS) / medians[OURS]


TABLE = [
    training("mnist-2x1", 2, 1, "mnist_cnn", 64, 3),
    training("fashion-2x1", 2, 1, "fashion_cnn", 64, 3),
    training("resnet18-2x1", 2, 1, "resnet18", 32, 2.2),
    training("mnist-1x2", 1, 2, "mnist_cnn", 64, 3),
    training("fashion-1x2", 1, 2, "fashion_cnn", 64, 3),
    training("resnet18-1x2", 1, 2, "resnet18", 32, 2.2),
    threads_row("threads-mnist", "mnist_cnn", 64),
    threads_row("threads-fashion", "fashion_cnn", 64),
    threads_row("threads-resnet18", "resnet18", 32),
    Row("gemm", "products of 1024 x 1024 x 1024 (a linear layer's three), one thread, the least of them", ">=", 90, "% of peak",
        {OURS: GEMM.ours, "OpenBLAS": GEMM.openblas, "PyTorch": GEMM.onednn}, alone, needs_peer=False),
    Row("conv", "3x3 layers of resnet18 by their direct FLOPs, one thread, the least", ">=", 1.6, "x peak",
        {OURS: CONV.ours, "PyTorch (oneDNN)": CONV.onednn}, alone, needs_peer=False),
    Row("allreduce-2", "all-reduce, 2 ranks of one node, the least of 64 KB to 64 MB", ">=", 3, "x MPI", {OURS: worst_allreduce(2)}, alone,
        needs_peer=False),
    Row("allreduce-4", "the same, 4 ranks", ">=", 3, "x MPI", {OURS: worst_allreduce(4)}, alone, needs_peer=False),
    Row("allreduce-gloo", "all-reduce of 64 KB, 2 ranks", ">=", 50, "x gloo",
        {OURS: ours_64k, "gloo": lambda place: place.gloo(2, 65536)}, faster_than),
    Row("exposed", "communication that a step waits for, mnist_cnn, 2 ranks", "<=", 3, "% of a step",
        {OURS: lambda place: place.step(2, 1, "mnist_cnn", 64)["exposed_percent"]}, alone, needs_peer=False),
    Row("scaling", "mnist_cnn, 2 ranks against two runs of one rank beside each other", ">=", 0.97, "x two runs",
        {OURS: lambda place: place.step(2, 1, "mnist_cnn", 64)["images_per_s"], "two runs": alone_twice}, times_the_best),
    Row("canonical", "canonical order of sums against fast, mnist_cnn, 2 ranks", ">=", 0.95, "x fast",
        {OURS: lambda place: place.step(2, 1, "mnist_cnn", 64)["images_per_s"],
         "fast": lambda place: place.step(2, 1, "mnist_cnn", 64, "reduce.mode=fast", "repro.level=fast")["images_per_s"]}, times_the_best),
    Row("shards", "8 shards (the default) against 2, mnist_cnn, 2 ranks", ">=", 0.85, "x 2 shards",
        {OURS: lambda place: place.step(2, 1, "mnist_cnn", 64, "train.shards=8")["images_per_s"],
         "2 shards": lambda place: place.step(2, 1, "mnist_cnn", 64)["images_per_s"]}, times_the_best),
    Row("start-2", "from the command to the first step, 2 ranks", "<=", 0.06, "s", {OURS: first_step(2), "PyTorch": torch_first_step}, alone,
        needs_peer=False),
    Row("start-64", "the same, 64 ranks", "<=", 0.5, "s", {OURS: first_step(64)}, alone, needs_peer=False),
    Row("memory", "of a rank, mnist_cnn, batch 64 each", "<=", 60, "MB",
        {OURS: memory, "PyTorch": lambda place: place.torch_step(2, 1, "mnist_cnn", 64)["rss_mb"]}, alone, needs_peer=False, timed=False),
    Row("mnist-99", "MNIST to 99 %, command to end, 2 ranks x 1 thread", ">=", 3, "x PyTorch",
        {OURS: in_as_many_epochs(to_99), "PyTorch": in_as_many_epochs(torch_to_99)}, faster_than),
    Row("loader", "CIFAR crop, flip, normalise, one thread, samples/s", ">=", 10, "x PyTorch",
        {OURS: loader(400, "data=noise", "data.shape=[3,32,32]"), "PyTorch": torch_loader()}, times_the_best),
    Row("jpeg", "folder of CIFAR JPEGs, decoded each epoch, the same, one thread", ">=", 3, "x PyTorch",
        {OURS: loader_of_jpegs, "PyTorch": torch_loader_of_jpegs}, times_the_best),
]
