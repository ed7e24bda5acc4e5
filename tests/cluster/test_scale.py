#!/usr/bin/env python3
"""Many hosts with one tiny rank each: they start, train and end cleanly, to the weights of one process. Time and memory are
printed. Small and Large (this one is labelled slow) differ in the number of hosts."""
import pathlib
import re
import threading
import time
import unittest

import cluster
from harness import LAUNCH, ROOT, TRAIN

WORDS = ["model=linear", "train.shards=64", "train.batch=64", "data.train_count=320", "data.test_count=64", "train.max_steps=5", "train.epochs=1",
         "log.progress=false"]


def below(pid):
    """All processes that descend from one."""
    found, todo = [], [pid]
    while todo:
        try:
            children = pathlib.Path(f"/proc/{todo[-1]}/task/{todo[-1]}/children").read_text().split()
        except OSError:  # it has just ended
            children = []
        todo[-1:] = map(int, children)
        found += map(int, children)
    return found


def megabytes(pids):
    """What they hold, shared pages counted once."""
    kb = 0
    for pid in pids:
        try:
            kb += sum(map(int, re.findall(r"^Pss:\s+(\d+) kB", pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)))
        except OSError:
            pass
    return kb / 1024


class Hosts(cluster.Case):
    def processes(self, *more):
        return [q for pid in (self.bed.keeper.pid, *(p.pid for p, _ in self.bed.hosts.values()), *more) for q in below(pid)]

    def train(self):
        alone = self.bed.head([TRAIN, "-q", ROOT / "configs/cnn.cfg", *WORDS, f"run.dir={self.dir}/alone"], env=self.env, cwd=self.dir, check=True)
        empty = megabytes(self.processes())
        begin, peak = time.monotonic(), [0.0, 0]
        p = self.bed.start([LAUNCH, "-n", self.hosts, "-H", f"n[0-{self.hosts - 1}]", "--starter", "mpirun", ROOT / "configs/cnn.cfg", *WORDS,
                            f"run.dir={self.dir}/runs"], env=self.env, cwd=self.dir)
        over = threading.Event()

        def watch():
            while not over.wait(0.5):
                pids = self.processes(p.pid)
                peak[:] = max(peak[0], megabytes(pids)), max(peak[1], len(pids))

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            out, err = p.communicate(timeout=400)
        finally:
            over.set()
            watcher.join()
            p.poll() is None and p.kill()
        seconds = time.monotonic() - begin
        print(f"\n{self.hosts} hosts: {seconds:.1f} s, {peak[0] - empty:.0f} MB and {peak[1]} processes at most (bed: {empty:.0f} MB)")
        self.assertEqual(p.returncode, 0, f"stdout: {out[-2000:]}\nstderr: {err[-4000:]}")
        weights = re.findall("^weights: .*$", alone.stdout, re.M)
        self.assertEqual(len(weights), 1, alone.stdout)
        self.assertEqual(re.findall("^weights: .*$", out, re.M), weights)
        self.assert_nothing_left(range(self.hosts))


class Small(Hosts):
    hosts = 16

    def test(self):
        self.train()


class Large(Hosts):
    hosts = 64

    def test(self):
        self.train()


if __name__ == "__main__":
    cluster.main()
