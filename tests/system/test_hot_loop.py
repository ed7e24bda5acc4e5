#!/usr/bin/env python3
"""The hot loop: what one more step costs a rank in allocations, locks and system calls, by the difference of two runs of which
one has more steps. Nothing is allocated or mapped, no lock is taken, and the system calls are those that are meant."""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

import harness
from harness import TRAIN

LIBRARY = pathlib.Path(os.environ.get("COUNT_CALLS_LIBRARY", harness.BIN.parent / "lib/libcount_calls.so"))
FEW, MORE = 40, 120
# A step: the rank asks its launcher's socket whether to stop (recvfrom), and waits for the other ranks and wakes them (futex): twice
# each, for the bucket and for the end of the step; a wait that is woken early, or looks up after 100 ms, is one more.
PER_STEP = {"recvfrom": 1, "futex": 12}
# Calls by the clock, not by steps: looks at the time of day, scheduling, the launcher's news, a page of the heap.
NOW_AND_THEN = 12


class HotLoop(harness.Case):
    def args(self, steps, *more):
        return ["model=mlp", "train.shards=2", "train.batch=64", f"train.max_steps={steps}", "data.test_count=64",
                "data.train_count=16384", "log.every_steps=100000", "log.progress=false", "train.trail_every=0", *more]

    def counts(self, steps, *more):
        """What each rank counted of a whole run."""
        folder = self.dir / "counts"
        for old in (folder, self.dir / "runs"):  # a start looks at the runs that are there
            shutil.rmtree(old, ignore_errors=True)
        folder.mkdir()
        self.launch(*self.args(steps, *more), env={"LD_PRELOAD": str(LIBRARY), "COUNT_CALLS": str(folder)})
        return [json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1)]

    def assert_counts(self, locks, *more):
        few, many = self.counts(FEW, *more), self.counts(MORE, *more)
        for rank in (0, 1):
            self.assertGreater(few[rank]["allocations"], 100)  # the counting works
            for what in ("allocations", "frees", "maps"):
                more = abs(many[rank][what] - few[rank][what])  # a line about a slow rank takes some, by the clock
                self.assertLess(more, (MORE - FEW) / 2, f"{what} of rank {rank}: {few[rank]} and {many[rank]}")
            more = many[rank]["locks"] - few[rank]["locks"] - locks * (MORE - FEW)
            self.assertLess(abs(more), 8, f"locks of rank {rank}: {few[rank]} and {many[rank]}")  # logs take some, by the clock

    def test_steps_allocate_and_lock_nothing(self):
        if not LIBRARY.exists():
            self.skipTest(f"no {LIBRARY}: sanitizers count for themselves")
        for threads in (1, 2):
            for more in ([], ["optim.clip_norm=1"], ["train.shards=4"], ["reduce.bucket_mb=0.1"]):
                with self.subTest(threads=threads, more=more):
                    self.assert_counts(0, f"train.threads={threads}", "data.workers=0", *more)

    def test_a_loader_of_its_own_thread_locks_once_on_each_side(self):
        if not LIBRARY.exists():
            self.skipTest(f"no {LIBRARY}: sanitizers count for themselves")
        self.assert_counts(2, "train.threads=1", "data.workers=1")

    def system_calls(self, steps):
        """Calls of each rank in a whole run, by name."""
        folder = self.dir / "calls"
        for old in (folder, self.dir / "runs"):
            shutil.rmtree(old, ignore_errors=True)
        folder.mkdir()
        program = self.dir / "traced"
        program.write_text(f'#!/bin/sh\nexec strace -D -f -c -U name,calls -o "{folder}/$DDP_RANK" "{TRAIN}" "$@"\n')
        program.chmod(0o755)
        self.run_under(program, steps)
        found = []
        for rank in (0, 1):
            until = time.monotonic() + 60
            path = folder / str(rank)
            while not (path.exists() and "total" in path.read_text()):  # it is written behind the rank's end
                self.assertLess(time.monotonic(), until, "strace wrote no summary")
                time.sleep(0.05)
            lines = [l.split() for l in path.read_text().splitlines()]
            found.append({l[0]: int(l[1]) for l in lines if len(l) == 2 and l[1].isdigit() and l[0] != "total"})
        return found

    def run_under(self, program, steps):
        r = self.run_program(harness.LAUNCH, "-n", 2, "--quiet", "--program", program, harness.ROOT / "configs/cnn.cfg",
                             f"run.dir={self.dir}/runs", *self.args(steps, "train.threads=1", "data.workers=0"), timeout=240)
        self.assertEqual(r.code, 0, r.err)

    def test_steps_make_the_system_calls_that_are_meant(self):
        may = shutil.which("strace") and subprocess.run(["strace", "-c", "-o", os.devnull, "true"], capture_output=True).returncode == 0
        if not may:
            self.skipTest("strace is not here, or may not trace")
        few, many = self.system_calls(FEW), self.system_calls(MORE)
        for rank in (0, 1):
            self.assertIn("openat", few[rank])
            for name in many[rank]:
                more = many[rank][name] - few[rank].get(name, 0)
                allowed = PER_STEP.get(name, 0) * (MORE - FEW) + NOW_AND_THEN
                self.assertLessEqual(more, allowed, f"{name} of rank {rank}: {more} more for {MORE - FEW} steps")


if __name__ == "__main__":
    harness.main()
