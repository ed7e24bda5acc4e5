#!/usr/bin/env python3
"""Power cuts by the thousand: records jobs, makes the states that a power cut may leave of them, reads and resumes these.

    tests/crash/crash.py                      # every scenario, 1,000 states of each, 50 of them resumed
    tests/crash/crash.py states over back     # these alone
    tests/crash/crash.py kills                # a second process killed at every call, then a power cut under a third
    tests/crash/crash.py faults               # every call fails once (EIO), it and all behind it (EIO, ENOSPC), short writes
    tests/crash/crash.py syncs                # which sync is noticed when it is left out
Options: --states N, --resumes N, --every N (of the calls, kills and faults), --seed S. DDP_BIN: the programs."""
import argparse
import collections
import errno
import os
import pathlib
import random
import re
import shutil
import sys
import tempfile

import disk
import scenarios
import states
from scenarios import harness

# Syncs that are left out, and the scenario that must notice: what the crash tests are worth. What a run has no
# reason to sync twice has no line here.
PLANTED = {
    "the bytes of a checkpoint": ("pruned", r".*/checkpoints/step-\d+\.tmp-\d+/\w+\.\w+\.tmp-\d+"),
    "the names in a checkpoint": ("pruned", r".*/checkpoints/step-\d+\.tmp-\d+"),
    "the checkpoints' folder": ("pruned", r".*/checkpoints"),
    "the checkpoints' folder, when one is replaced": ("over", r".*/checkpoints"),
    "metrics.jsonl": ("pruned", r".*/metrics\.jsonl"),
    "weights.trail": ("pruned", r".*/weights\.trail"),
    "the bytes of run.json": ("pruned", r".*/run\.json(\.tmp-\d+)?"),
    "the bytes of config.cfg": ("pruned", r"/runs/[^/]+/config\.cfg"),
    "the run directory": ("pruned", r"/runs/[^/]+"),
    "the folder of runs": ("pruned", r"/runs"),
    "the folder above it": ("pruned", r""),
}


class Scratch(harness.Case):
    """A folder to record and replay in: in memory where there is such a place, since all is written many times."""

    def setUp(self):
        super().setUp()
        where = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix="ddp-crash-", dir=where))
        self.addCleanup(shutil.rmtree, self.scratch, ignore_errors=True)
        self.number = 0

    def runTest(self):
        pass

    def fresh(self):
        self.number += 1
        return self.scratch / str(self.number)

    def record(self, name, **kw):
        """(recording, replayer); give both to done()."""
        recording = scenarios.Recording(self, name, self.fresh(), **kw)
        return recording, states.Replayer(recording, recording.folder)

    def done(self, recording, replayer):
        replayer.close()
        shutil.rmtree(recording.folder)


def describe(replayer, state, what):
    """A fault in words, with what led to it."""
    events = replayer.history.events[:state.cut]
    last = [f"{e.kind} {e.path} {e.to}".rstrip() for e in events[-4:]]
    return f"{replayer.recording.name}: {state}: {what}\n    behind: " + "\n            ".join(last)


def replay(case, name, n, resumes, seed, **kw):
    """(states read, faults in words) of a scenario."""
    recording, replayer = case.record(name, **kw)
    chosen = states.some_states(replayer.history, n, seed)
    found = [describe(replayer, s, w) for s, w in replayer.faults(chosen)]
    for state in random.Random(seed).sample(chosen, min(resumes, len(chosen))):
        what = replayer.resume(state)
        if what:
            found.append(describe(replayer, state, what))
    count = replayer.checked
    case.done(recording, replayer)
    return count, found


KILLED_IN = {"pruned": scenarios.Leg(), "over": scenarios.SCENARIOS["over"][1]}


def kill_at(case, name, call, seed, resumes=2):
    """A process killed before one of its calls, a second one that goes on, a power cut at any moment of it."""
    last = scenarios.SCENARIOS[name][-1]
    killed = last._replace(signal=f"{scenarios.KILL}:{call}:*", code=None)
    legs = [*scenarios.SCENARIOS[name][:-1], killed, last._replace(resume="auto")]
    recording, replayer = case.record(name, legs=legs)
    over = recording.results[-2].code >= 0
    begin = [i for i, _, _ in replayer.promises.ended][-2]
    chosen = states.some_states(replayer.history, 40, seed, begin)
    chosen += states.some_states(replayer.history, 120, seed, begin, begin + 40, 12)  # where it tidies up
    found = [describe(replayer, s, f"killed at call {call}: {w}") for s, w in replayer.faults(chosen)]
    for state in random.Random(seed).sample(chosen, min(resumes, len(chosen))):
        what = replayer.resume(state)
        if what:
            found.append(describe(replayer, state, f"killed at call {call}: {what}"))
    count = replayer.checked
    case.done(recording, replayer)
    return over, count, found


WORDS = {errno.EIO: "Input/output error", errno.ENOSPC: "the disk is full"}
FAULTS = (f"{errno.EIO}:once", f"{errno.EIO}", f"{errno.ENOSPC}", f"{errno.ENOSPC}:once", "short")


def fail_at(case, name, fault, seed):
    """A call fails; what is left, and what a power cut at the end may leave, is good to go on from."""
    recording, replayer = case.record(name, fault=fault)
    r, found = recording.results[-1], []
    end = len(replayer.history.events)
    kind = fault.split(":")[1]
    if kind == "short" and r.code != 0 or r.code not in (0, 3):
        found.append(f"{name}: {fault}: ended with {r.code}: {r.err}")
    if r.code > 0 and WORDS.get(int(kind) if kind.isdigit() else 0, "") not in r.err:
        found.append(f"{name}: {fault}: does not say why: {r.err}")
    chosen = [states.State(end, kind, seed + k) for k in range(4) for kind in disk.KINDS_OF_STATES]
    found += [describe(replayer, s, f"fault {fault}: {w}") for s, w in replayer.faults(chosen)]
    for state in chosen[:2]:
        what = replayer.resume(state)
        if what:
            found.append(describe(replayer, state, f"fault {fault}: {what}\n{r.err}"))
    over = not any(e for e in disk.read_log(recording.log) if e.error)
    case.done(recording, replayer)
    return over, found


def leave_out(case, name, pattern, n, seed):
    """How many states notice that the syncs of paths like `pattern` are left out."""
    recording, replayer = case.record(name)
    dropped = {i for i, e in enumerate(replayer.history.events) if e.kind == "sync" and re.fullmatch(pattern, e.path)}
    replayer.history.find_durable(dropped)
    found = replayer.faults(states.some_states(replayer.history, n, seed))
    case.done(recording, replayer)
    return len(dropped), len(found)


# ---- the commands

def command_states(case, o):
    total = 0
    for name in o.scenarios or scenarios.SCENARIOS:
        count, found = replay(case, name, o.states, o.resumes, o.seed)
        total += count
        yield from found
        print(f"{name}: {count} states, {len(found)} faults", flush=True)
    print(f"{total} states")


def command_kills(case, o):
    for name in o.scenarios or KILLED_IN:
        call, over, total = 1, False, 0
        while not over:
            over, count, found = kill_at(case, name, call, o.seed)
            total += count
            yield from found
            call += o.every
        print(f"{name}: killed at {(call - 1) // o.every} of its calls: {total} states", flush=True)


def command_faults(case, o):
    for name in o.scenarios or KILLED_IN:
        for fault in FAULTS:
            n, over = 1, False
            while not over:
                over, found = fail_at(case, name, f"{n}:{fault}", o.seed)
                over = over and (fault != "short" or n > 100)
                yield from found
                n += o.every
            print(f"{name}: {fault} at {(n - 1) // o.every} of its calls", flush=True)


def command_syncs(case, o):
    for name in o.scenarios or ["pruned", "over"]:
        recording, replayer = case.record(name)
        noticed = collections.Counter()
        for i, e in enumerate(replayer.history.events):
            if e.kind == "sync":
                replayer.history.find_durable({i})
                replayer.seen.clear()
                found = replayer.faults(states.some_states(replayer.history, o.states, o.seed))
                print(f"{name}: event {i}: {e.path or '/'}: {len(found)} states notice", flush=True)
        case.done(recording, replayer)
    yield from ()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("command", nargs="?", choices=["states", "kills", "faults", "syncs"], default="states")
    p.add_argument("scenarios", nargs="*", help=", ".join(scenarios.SCENARIOS))
    p.add_argument("--states", type=int, default=1000)
    p.add_argument("--resumes", type=int, default=50)
    p.add_argument("--every", type=int, default=1)
    p.add_argument("--show", type=int, default=20, help="faults that are printed")
    p.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 30))
    o = p.parse_args()
    print(f"seed {o.seed}", flush=True)
    case, bad = Scratch(), 0
    case.setUp()
    try:
        for what in globals()[f"command_{o.command}"](case, o):
            bad += 1
            if bad <= o.show:
                print(what, flush=True)
    finally:
        case.doCleanups()
    print(f"{bad} faults" if bad else "no faults")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
