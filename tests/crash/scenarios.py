"""What is recorded: jobs that save in every way there is. A scenario is a list of legs, one after the other on the same
disk; in each leg a program trains in runs/ of it, and may be told to go wrong at one of its calls."""
import collections
import json
import os
import pathlib
import re
import signal
import subprocess
import sys

import disk

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "system"))
import harness

RECORDER = os.environ.get("CRASH_RECORDER", str(harness.BIN.parent / "lib/libcrash_record.so"))
CONFIG = """
model: { base = "linear"; };
data: { base = "digits"; train_count = 96; test_count = 32; };
optim: { base = "sgd"; lr = 0.02; };
train: { batch = 32; epochs = 100000; shards = 4; threads = 1; trail_every = 1; max_steps = 5; };
eval: { every_epochs = 1; };
checkpoint: { every_epochs = 0; every_steps = 1; keep = 1; best = false; };
log: { every_steps = 1; progress = false; };
"""
TERM, KILL = int(signal.SIGTERM), int(signal.SIGKILL)

# resume: None, latest, RUN (the run of the leg before), STEP:N (its checkpoint). signal: SIG:NTH:TEXT of record_inject.c.
# code: what the program ends with, None: anything; back: the step that the leg goes back to.
Leg = collections.namedtuple("Leg", "args resume signal code ranks back", defaults=([], None, None, 0, 0, None))

BEST = ["checkpoint.best=true", "train.max_steps=7"]
STOPPED_AT_3 = Leg(signal=f'{TERM}:1:"step":2,', code=75)  # an epoch's end: its evaluation is owed
SCENARIOS = {
    "final": [Leg(["checkpoint.every_steps=0"])],
    "pruned": [Leg()],
    "best": [Leg(BEST)],
    "foreground": [Leg(["checkpoint.background=false", "checkpoint.keep=2", "optim.ema=0.9"])],
    "over": [STOPPED_AT_3, Leg(BEST, "RUN")],
    "killed": [Leg(["checkpoint.keep=2"], signal=f"{KILL}:2:step-00000003", code=-KILL), Leg(["checkpoint.keep=2"], "latest")],
    "back": [Leg(["checkpoint.keep=100", "train.max_steps=9"], signal=f'{KILL}:1:"step":6,', code=-KILL),
             Leg(["checkpoint.keep=100", "train.max_steps=6"], "STEP:3", back=3)],
    "fork": [Leg(), Leg(["optim.lr=0.05", "train.max_steps=7"], "RUN")],
    "twice": [Leg(["train.max_steps=3"]), Leg(["train.max_steps=3"])],
    "ranks": [Leg(BEST, ranks=2)],
    "resumed by ranks": [STOPPED_AT_3, Leg(BEST, "latest", ranks=2)],
}
Reference = collections.namedtuple("Reference", "weights trail metrics saved")  # saved: the weights' hash after each step
EVERY_STEP = ["checkpoint.every_steps=1", "checkpoint.keep=100"]


def read_metrics(path):
    """[(type, step, loss, accuracy)] of the lines that can be read."""
    found = []
    for line in pathlib.Path(path).read_bytes().split(b"\n"):
        try:
            r = json.loads(line)
            found.append((r["type"], r["step"], r["loss"], r["accuracy"]))
        except (ValueError, KeyError, TypeError):
            pass
    return found


def saved_weights(run):
    """{step: hash of the weights in its checkpoint}"""
    script = harness.ROOT / "scripts/weights-hash"
    return {int(p.name[5:]): subprocess.run([sys.executable, script, p / "model.safetensors"], capture_output=True, text=True,
                                            check=True).stdout.strip() for p in run.glob("checkpoints/step-*")}


class Recording:
    """A scenario, carried out once below `folder`: its history, and what it would be undisturbed."""

    def __init__(self, case, name, folder, legs=None, fault=None):
        self.case, self.name, self.legs = case, name, legs or SCENARIOS[name]
        self.folder = pathlib.Path(os.path.realpath(folder))
        self.disk, self.log = self.folder / "disk", self.folder / "log"
        self.config = self.folder / "crash.cfg"
        self.disk.mkdir(parents=True)
        self.config.write_text(CONFIG)
        self.results = []
        for i, leg in enumerate(self.legs):
            last = i == len(self.legs) - 1
            r = self.carry_out(leg, self.disk / "runs", {
                "LD_PRELOAD": RECORDER, "CRASH_ROOT": str(self.disk), "CRASH_LOG": str(self.log),
                **({"CRASH_SIGNAL": leg.signal} if leg.signal else {}), **({"CRASH_FAULT": fault} if fault and last else {})})
            if not (fault and last) and leg.code is not None and r.code != leg.code:
                raise AssertionError(f"{name}: leg {i} ended with {r.code}, not {leg.code}\n{r.out}\n{r.err}")
            disk.mark(self.log, f"exit {r.code}")
            self.results.append(r)
        self.history = disk.History(disk.read_log(self.log))
        whole = self.history.state(len(self.history.events), "kill", None)
        real = disk.read_tree(self.disk)
        if whole != real:
            different = sorted(k for k in whole.keys() | real.keys() if whole.get(k, 0) != real.get(k, 0))
            raise AssertionError(f"{name}: the recording is not what happened: {different}")

    def carry_out(self, leg, runs, env):
        program = [harness.LAUNCH, "-n", leg.ranks] if leg.ranks else [harness.TRAIN]
        resume = ["--resume", leg.resume] if leg.resume else []
        if leg.resume == "RUN":
            resume[1] = newest_run(runs)
        elif leg.resume and leg.resume.startswith("STEP:"):
            resume[1] = f"{newest_run(runs)}/checkpoints/step-{int(leg.resume[5:]):08d}"
        return run_program(self.case, [*program, "--quiet", self.config, f"run.dir={runs}", *leg.args, *resume], env)

    def references(self):
        """What each run of the scenario comes to undisturbed, in the order in which they are made."""
        if hasattr(self, "known"):
            return self.known
        runs, self.known = self.folder / "reference", []
        new = [leg for leg in self.legs if not leg.resume or "optim.lr=0.05" in leg.args]
        longest = [*self.legs[:-1], self.legs[-1]]
        for leg in new if len(new) > 1 else [longest[-1]._replace(resume=None)]:
            r = self.carry_out(leg._replace(args=[*leg.args, *EVERY_STEP], signal=None, ranks=0), runs, {})
            if r.code != 0:
                raise AssertionError(f"{self.name}: undisturbed: {r.code}\n{r.err}")
            run = pathlib.Path(r.run_dir)
            self.known.append(Reference(r.weights, run.joinpath("weights.trail").read_bytes(),
                                        read_metrics(run / "metrics.jsonl"), saved_weights(run)))
        return self.known

    def end(self, runs, resume="auto"):
        """Go on in a folder of runs, or start, as a batch script would: to the end of the last leg."""
        leg = self.legs[-1]
        return run_program(self.case, [harness.TRAIN, "--quiet", self.config, f"run.dir={runs}", *leg.args,
                                       "--resume", resume], {})


def newest_run(runs):
    return max(pathlib.Path(runs).iterdir(), key=lambda r: r.stat().st_ctime_ns)


def run_program(case, args, env):
    p = subprocess.run([str(a) for a in args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                       text=True, timeout=300, env=case.environment(**env), cwd=case.dir)
    return harness.Run(p.returncode, p.stdout, p.stderr)


RUN = re.compile(r"/runs/([^/]+)")
FINAL = re.compile(r"/runs/([^/]+)/checkpoints/step-(\d+)")
ASIDE = re.compile(r"/runs/([^/]+)/checkpoints/step-\d+\.tmp-\d+")


class Promises:
    """What the programs of a recording had reason to believe at each moment.

    A checkpoint that has its final name is promised as soon as its writer acts on it: begins the next one, removes
    another, ends well."""

    def __init__(self, recording):
        self.recording, self.runs, self.kept, self.published, self.ended = recording, [], {}, {}, []
        self.back = {}  # run: (first event of the leg that goes back, first record of it, to which step)
        legs, leg, pending = recording.legs, 0, {}
        events = recording.history.events
        for i, e in enumerate(events):
            target = e.to or e.path
            made = RUN.fullmatch(target) if e.kind == "names" else None
            if made and e.changes[-1][2] is not None:
                self.runs.append(made[1])
            final = FINAL.fullmatch(target) if e.kind == "names" else None
            if final and e.changes[-1][2] is not None:
                pending[final[1]] = int(final[2])
                self.published.setdefault(final[1], []).append((i, int(final[2])))
            aside = ASIDE.fullmatch(target) if e.kind == "names" else None
            if aside and e.changes[-1][2] is not None:
                self.promise(i, pending, [aside[1]])
            if e.kind == "say" and e.data in (b"exit 0", b"exit 75"):
                self.promise(i, pending, list(pending))
            if e.kind == "say" and e.data.startswith(b"exit "):
                self.ended.append((i, int(e.data[5:]), self.runs[-1] if self.runs else None))
                leg += 1
                if leg < len(legs) and legs[leg].back is not None:
                    pending.clear()
                    self.back[self.runs[-1]] = [i + 1, None, legs[leg].back]
            record = re.fullmatch(r"/runs/([^/]+)/metrics\.jsonl", e.path)
            if record and e.kind == "data" and self.back.get(record[1], [0, 0])[1] is None:
                self.back[record[1]][1] = i

    def touched(self, run, after):
        """The first event behind another that changes something in a run."""
        events = self.recording.history.events
        return next((i for i in range(after + 1, len(events)) if events[i].kind != "sync"
                     and events[i].path.startswith(f"/runs/{run}/")), len(events) + 1)

    def promise(self, i, pending, runs):
        for run in runs:
            if run in pending:
                self.kept.setdefault(run, []).append((i, pending.pop(run)))

    def bounds(self, run, cut):
        """(least, most) step that may be found."""
        kept = [(i, s) for i, s in self.kept.get(run, []) if i <= cut]
        there = [(i, s) for i, s in self.published.get(run, []) if i < cut]
        began, first, to = self.back.get(run, (None, None, 0))
        if began is None or cut < began:
            return max((s for _, s in kept), default=-1), max((s for _, s in there), default=-1)
        least = max((s for i, s in kept if i >= began), default=to)
        if first is None or cut <= first:
            return min(least, to), max(s for _, s in there)
        return least, max((s for i, s in there if i >= began), default=to)
