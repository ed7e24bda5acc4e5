#!/usr/bin/env python3
"""Random faults in training on several hosts, one job for each:

    tests/cluster/faults.py [--count 100] [--seed S] [--only K]

A death or a stop of a random rank, a cut link, a power-off or a freeze (all its processes are stopped) of a random host; in the
start, between steps, in a save or at the end. Each ends in the right message or the right weights, no process and no shared memory stay on any host, and what was
saved is whole: a run that goes on from it ends with the weights of one that was never disturbed. The same seed makes the same
plan (the moment itself is the machine's). Failed ones are told with their number: --only K makes that one alone.
"""
import argparse
import json
import os
import pathlib
import random
import re
import signal
import sys
import tempfile
import time

import cluster
from bed import Bed, why_not
from harness import BIN, LAUNCH, ROOT, SKIP, tagged, wait_for

CONFIG = """
model: { base = "linear"; };
data: { base = "digits"; train_count = 320; test_count = 32; };
optim: { base = "adamw"; lr = 0.002; };
train: { batch = 32; epochs = 100; max_steps = 400; shards = 4; threads = 1; };
eval: { every_epochs = 100; };
checkpoint: { every_steps = 20; };
log: { every_steps = 1; progress = false; };
"""
HOSTS, HOST_OF = "n0:2,n1:1,n2:1", [0, 0, 1, 2]
STEPS = 400
KINDS = ["death", "stop", "cut", "power-off", "freeze"]
OF_HOSTS = {"cut": ("cut", "heal"), "power-off": ("power_off", "boot"), "freeze": ("freeze", "thaw")}
PHASES = ["start", "steps", "save", "end"]
# seconds until it must be over: a stopped rank that has not reported yet is given up after 30 s
LIMITS = {"death": 30, "stop": 90, "cut": 60, "power-off": 60, "freeze": 60}
# longer than it takes to see that a host is gone
STUCK_AFTER = {"death": 60, "stop": 4, "cut": 60, "power-off": 60, "freeze": 4}


class Plan:
    def __init__(self, number, rng):
        self.number = number
        self.kind, self.phase = KINDS[number % len(KINDS)], rng.choice(PHASES)
        self.rank = rng.randrange(len(HOST_OF))
        self.host = HOST_OF[self.rank]
        self.after_steps = rng.randrange(1, STEPS - 20)
        self.delay = rng.random()  # of the time that a phase may take

    def __str__(self):
        return f"{self.number}: {self.kind} of rank {self.rank} on n{self.host} in {self.phase} (step {self.after_steps}, {self.delay:.3f})"


class Bench:
    """The bed, and the weights of a run that nobody disturbs."""

    def __init__(self, bed):
        self.bed = bed
        self.config = bed.dir / "faults.cfg"
        self.config.write_text(CONFIG)
        self.env = {"DDP_CONFIGS_DIR": str(ROOT / "configs")}
        self.want = self.train("alone")

    def train(self, runs, *more):
        r = self.bed.head([LAUNCH, "-n", 1, "-q", *more, self.config, f"run.dir={self.bed.dir}/{runs}"], env=self.env, cwd=self.bed.dir)
        if r.returncode:
            raise AssertionError(f"undisturbed run ended with {r.returncode}: {r.stderr[-3000:]}")
        return weights(r.stdout)


def weights(text):
    return re.findall("^weights: ([0-9a-f]{64})$", text, re.M)


class Trial:
    def __init__(self, bench, plan):
        self.bench, self.bed, self.plan = bench, bench.bed, plan
        self.tag = f"fault-{os.getpid()}-{plan.number}-{time.monotonic_ns()}"
        self.runs = self.bed.dir / f"runs-{plan.number}"
        self.lost = None

    def go(self):
        self.p = self.bed.start([LAUNCH, "-n", len(HOST_OF), "-q", "-H", HOSTS, self.bench.config, f"run.dir={self.runs}",
                                 f"launch.stuck_after={STUCK_AFTER[self.plan.kind]}"],
                                env={**self.bench.env, "SYSTEM_TEST_TAG": self.tag}, cwd=self.bed.dir)
        try:
            self.wait_for_moment()
            struck = self.strike()
            try:
                self.out, self.err = self.p.communicate(timeout=LIMITS[self.plan.kind])
            except Exception:
                raise AssertionError(f"not over after {LIMITS[self.plan.kind]} s: {tagged(self.tag)}") from None
            self.check_ending(struck)
            self.check_nothing_left()
        finally:
            self.repair()
        self.check_saved()

    # ---- the fault ----

    def over(self):
        return self.p.poll() is not None

    def steps(self):
        return sum(m.read_bytes().count(b'"type":"step"') for m in self.runs.glob("*/metrics.jsonl"))

    def rank_process(self):
        for pid, command in tagged(self.tag).items():
            if re.match(r"\S*/ddp-train ", command) and self.environment_of(pid).get("OMPI_COMM_WORLD_RANK") == str(self.plan.rank):
                return pid
        return None

    @staticmethod
    def environment_of(pid):
        try:
            words = pathlib.Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            return {}
        return dict(w.split("=", 1) for w in words if "=" in w)

    def saving(self):
        return any("." in c.name for c in self.runs.glob("*/checkpoints/*"))

    def wait_for_moment(self):
        plan, over = self.plan, self.over
        if plan.phase == "start":
            if plan.kind in ("death", "stop"):
                wait_for(lambda: over() or self.rank_process(), 60, "the rank")
                time.sleep(0.4 * plan.delay)
            else:
                time.sleep(2.5 * plan.delay)
            return
        steps = STEPS - 5 if plan.phase == "end" else plan.after_steps
        wait_for(lambda: over() or self.steps() >= steps, 120, f"step {steps}")
        if plan.phase == "save":
            deadline = time.monotonic() + 30
            while not over() and not self.saving() and time.monotonic() < deadline:
                pass  # a save takes milliseconds
            time.sleep(0.01 * plan.delay)
        else:
            time.sleep(0.1 * plan.delay)

    def strike(self):
        """False: what it was meant for is over."""
        plan = self.plan
        if plan.kind in ("death", "stop"):
            pid = self.rank_process()
            try:
                pid and os.kill(pid, signal.SIGKILL if plan.kind == "death" else signal.SIGSTOP)
            except ProcessLookupError:
                pid = None
            assert pid or plan.phase == "end" or self.over(), f"no rank {plan.rank} in {tagged(self.tag)}"
            return pid is not None
        self.lost = plan.host
        getattr(self.bed, OF_HOSTS[plan.kind][0])(plan.host)
        return True

    def repair(self):
        for i in (None, *self.bed.hosts):  # nothing where all is well
            self.bed.head(["pkill", "-KILL", "-x", "|".join(cluster.PROCESSES)], host=i)
        if self.p.poll() is None:  # all that hold its pipes are gone by now
            self.p.kill()
            self.p.communicate(timeout=60)
        if self.lost is not None:
            getattr(self.bed, OF_HOSTS[self.plan.kind][1])(self.lost)

    # ---- what it came to ----

    def right_message(self):
        plan = self.plan
        if plan.kind == "death":
            return rf"^ddp-launch: (rank {plan.rank}|a rank) on n{plan.host} .*(signal 9|ended before)"
        if plan.kind == "stop":
            return (rf"^ddp-launch: rank {plan.rank} on n{plan.host} has (been|not reported) .*stuck_after|"
                    rf"^ddp-launch: .*n{plan.host}.* did not start")
        return rf"^ddp-launch: (host )?n{plan.host}[ :]|^ddp-launch: hosts did not report: n{plan.host}\b"

    def check_ending(self, struck):
        said = f"stdout: {self.out[-1000:]}\nstderr: {self.err[-3000:]}"
        if self.p.returncode == 0:
            assert weights(self.out) == self.bench.want, f"wrong weights\n{said}"
            return
        assert struck, f"ended with {self.p.returncode} without a fault\n{said}"
        assert self.p.returncode in (3, 4), f"ended with {self.p.returncode}\n{said}"
        assert re.search(self.right_message(), self.err, re.M), f"no right message\n{said}"
        for record in self.runs.glob("*/run.json"):
            status = json.loads(record.read_text())["status"]
            assert status in ("failed", "done"), f"{record} says {status}\n{said}"

    def check_nothing_left(self):
        """Also behind a cut link, where the agent has to see it for itself; and on a frozen host, once it goes on."""
        if self.plan.kind == "freeze":
            self.bed.thaw(self.lost)
        deadline = time.monotonic() + 40
        while left := cluster.left_on(self.bed, [None, *self.bed.hosts]):
            assert time.monotonic() < deadline, f"left: {left}; {self.processes()}"
            time.sleep(0.1)

    def processes(self):
        lines = self.bed.head(["ps", "-eo", "pid,ppid,stat,etime,comm,args"]).stdout.splitlines()
        return "\n".join(l[:600] for l in lines if set(cluster.PROCESSES) & set(l.split()[:5]))

    def check_saved(self):
        runs = list(self.runs.glob("*"))
        resume = any("." not in c.name for c in self.runs.glob("*/checkpoints/step-*"))
        assert len(runs) < 2, runs
        got = self.bench.train(self.runs.name, *(["--resume", runs[0]] if resume else []))
        for record in map(json.loads, (r.read_text() for r in self.runs.glob("*/run.json"))):
            legs = [leg["status"] for leg in record["legs"]]
            over = ("done",) if resume else ("done", "failed")  # what cannot be resumed stays as it ended
            assert record["status"] in over and legs[-1] == record["status"] and "running" not in legs, legs
        assert got == self.bench.want, f"{'resumed' if resume else 'started again'}: {got}, not {self.bench.want}"


def run(count, seed, only=None, say=print):
    """Messages of the faults that did not end well."""
    rng, bad = random.Random(seed), []
    plans = [Plan(i, rng) for i in range(count)]
    with Bed(3, keep=[BIN]) as bed:
        bench = Bench(bed)
        for plan in plans:
            if only is not None and plan.number != only:
                continue
            begin = time.monotonic()
            try:
                trial = Trial(bench, plan)
                trial.go()
                word = "right weights" if trial.p.returncode == 0 else next(
                    m.group() for m in re.finditer(r"^ddp-launch: .*$", trial.err, re.M) if re.search(trial.right_message(), m.group()))
            except AssertionError as e:
                word = f"BAD: {e}"
                bad.append(f"{plan}: {e}")
            say(f"{plan}: {time.monotonic() - begin:.1f} s: {word}", flush=True)
    return bad


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--count", type=int, default=5)
    a.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    a.add_argument("--only", type=int)
    args = a.parse_args()
    reason = why_not()
    if reason:
        print(f"skipped: {reason}")
        sys.exit(1 if os.environ.get("CLUSTER_TESTS") == "must" else SKIP)
    print(f"seed {args.seed}", flush=True)
    bad = run(args.count, args.seed, args.only)
    print(f"{len(bad)} of {args.count} did not end well (seed {args.seed})")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
