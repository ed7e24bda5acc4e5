#!/usr/bin/env python3
"""How much of the communication between hosts does backward not hide? By hand, on a machine that does nothing else:

    python3 tests/cluster/exposed.py [--rounds 3] [--models mnist_cnn,resnet18] [--hosts 2,3] [--rates full,1gbit]

Pseudo-hosts with a rank each train on the same work in three ways, in turn: alone (a process on each host at the same time, no word between
them), with the canonical sum, and with MPI_Iallreduce on the same buckets (reduce.mode = "fast"). What a step takes beyond one alone is
exposed: waiting, and the processor's time for moving bytes. The floor beside it is the last bucket's time on the wire, which nothing can
hide: 2 (N - 1) / N of its bytes leave and reach each host. Ranks are not bound: each pseudo-host takes the machine's cores for its own, and
would take the same one first. Where there are more hosts than cores each gets the same part of them from the kernel (cgroups), all the time:
else three ranks on two cores wait for each other's turns in every step, whatever moves the bytes. Prints the table of docs/cluster.md."""
import argparse
import json
import os
import pathlib
import statistics
import sys
import unittest

import cluster
from harness import LAUNCH, ROOT, TRAIN

MODELS = {"mnist_cnn": (512, 12, 1), "resnet18": (64, 5, 4)}  # samples of a rank, steps, MB of a bucket
WAYS = ("alone", "canonical", "fast")
WARM = 3  # steps that are left out


def options():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--models", type=lambda s: s.split(","), default=list(MODELS))
    p.add_argument("--hosts", type=lambda s: [int(n) for n in s.split(",")], default=[2, 3])
    p.add_argument("--rates", type=lambda s: s.split(","), default=["full", "1gbit"])
    return p.parse_args()


class Part:
    """A part of a core for some processes, in turns of some milliseconds."""

    def __init__(self, name, cores):
        old = pathlib.Path("/sys/fs/cgroup/cpu")
        self.folder = (old if old.exists() else pathlib.Path("/sys/fs/cgroup")) / f"ddp-{os.getpid()}-{name}"
        self.folder.mkdir()
        quota = 3000  # microseconds
        if old.exists():
            (self.folder / "cpu.cfs_period_us").write_text(f"{quota / cores:.0f}")
            (self.folder / "cpu.cfs_quota_us").write_text(f"{quota}")
        else:
            (self.folder / "cpu.max").write_text(f"{quota} {quota / cores:.0f}")

    def take(self, pid):
        (self.folder / "cgroup.procs").write_text(f"{pid}")

    def words(self, command):
        """The command that runs `command` in it."""
        return ["sh", "-c", 'echo 0 > "$0" && exec "$@"', self.folder / "cgroup.procs", *command]

    def end(self):
        self.folder.rmdir()


class Exposed(cluster.Case):
    hosts = 3
    options = None
    parts = {}  # number of a host -> its part

    def share_cores(self, n):
        """Of a machine with fewer cores than hosts nine tenths: the rest is the kernel's, for the network."""
        for i, part in list(self.parts.items()):
            for pid in part.folder.joinpath("cgroup.procs").read_text().split():
                part.folder.parent.joinpath("cgroup.procs").write_text(pid)
            part.end()
            del self.parts[i]
        for i in range(n if n > os.cpu_count() else 0):
            self.parts[i] = Part(f"n{i}", 0.9 * os.cpu_count() / n)
            for pid in self.bed.processes(i):
                self.parts[i].take(pid)

    def words(self, model, way, ranks):
        batch, steps, bucket = MODELS[model]
        return [ROOT / "configs/cnn.cfg", f"model={model}", f"train.batch={batch * ranks}", f"train.shards={ranks}", "train.threads=1", "launch.bind=none",
                f"train.max_steps={steps + WARM}", f"data.train_count={batch * ranks * (steps + WARM)}", "data.test_count=16", "train.epochs=1",
                "eval.every_epochs=1000", "checkpoint.every_epochs=0", "log.every_steps=1", "log.progress=false", "data.workers=0",
                f"reduce.bucket_mb={bucket}", *(["reduce.mode=fast", "repro.level=fast"] if way == "fast" else [])]

    def step_s(self, folder):
        """Median seconds of a step, of the slowest run in this folder."""
        runs = [[json.loads(line) for line in f.read_text().splitlines()] for f in folder.glob("*/metrics.jsonl")]
        return max(statistics.median(s["step_s"] for s in r if s["type"] == "step" and s["step"] > WARM) for r in runs)

    def measure(self, model, way, n, number):
        folder = self.dir / f"{model}-{way}-{n}-{number}"
        if way == "alone":
            started = []
            for i in range(n):
                command = [TRAIN, "-q", *self.words(model, way, 1), f"run.dir={folder}"]
                started.append(self.bed.start(self.parts[i].words(command) if i in self.parts else command, env=self.env, cwd=self.dir, host=i))
        else:
            started = [self.bed.start([LAUNCH, "-q", "-n", n, "-H", ",".join(f"n{i}:1" for i in range(n)), *self.words(model, way, n),
                                       f"run.dir={folder}"], env=self.env, cwd=self.dir)]
        for p in started:
            _, err = p.communicate(timeout=600)
            self.assertEqual(p.returncode, 0, err)
        return self.step_s(folder)

    def row(self, model, n, rate):
        ms = {way: [] for way in WAYS}
        self.share_cores(n)
        for number in range(self.options.rounds):
            for way in WAYS:
                ms[way].append(1e3 * self.measure(model, way, n, f"{rate}-{number}"))
        alone, canonical, fast = (statistics.median(ms[w]) for w in WAYS)
        wire = 2 * (n - 1) / n * MODELS[model][2] * 1e6 * 8 / 1e9 * 1e3 if rate == "1gbit" else None
        spread = max((max(v) - min(v)) / statistics.median(v) for v in ms.values())
        print(f"| {model} | {n} | {rate} | {alone:.0f} | {canonical - alone:.1f} | {fast - alone:.1f} | {(canonical - alone) / (fast - alone):.2f} | "
              f"{f'{wire:.0f}' if wire else '-'} | {100 * spread:.0f} % |", flush=True)

    def test(self):
        print("\n| model | hosts | link | computing, ms | exposed, canonical | exposed, MPI_Iallreduce | ratio | last bucket on the wire | spread |\n"
              "| --- | --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
        for rate in self.options.rates:
            for i in range(self.hosts):
                self.bed.rate(i, None if rate == "full" else rate)
            for model in self.options.models:
                for n in self.options.hosts:
                    self.row(model, n, rate)
        self.share_cores(0)


if __name__ == "__main__":
    Exposed.options = options()
    reason = cluster.why_not()
    if reason:
        sys.exit(f"skipped: {reason}")
    print(f"{os.cpu_count()} cores")
    unittest.main(argv=sys.argv[:1])
