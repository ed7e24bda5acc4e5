"""Crash states of a recording, read by the project's own readers and held against what was promised."""
import collections
import hashlib
import json
import pathlib
import random
import re
import shutil
import subprocess

import disk
import scenarios
from scenarios import harness

READER = harness.BIN / "crash_reader"
State = collections.namedtuple("State", "cut kind seed")  # what it takes to make it again


def all_states(history, more, seed=0, begin=0, end=None):
    """Every cut, every kind of state; of those that chance has a part in `more` each."""
    for cut in range(begin, min(len(history.events), end or len(history.events)) + 1):
        for kind, how in disk.KINDS_OF_STATES.items():
            for k in range(more if how.chance else 1):
                yield State(cut, kind, seed + 1000 * cut + k)


def some_states(history, n, seed, begin=0, end=None, more=2):
    everything = list(all_states(history, more, seed, begin, end))
    return random.Random(seed).sample(everything, min(n, len(everything)))


def digest(tree):
    h = hashlib.blake2b()
    for path in sorted(tree):
        h.update(path.encode() + (b"/" if tree[path] is None else b"%d" % len(tree[path])))
        h.update(tree[path] or b"")
    return h.digest()


class Replayer:
    """Makes states of one recording and says what is wrong with them."""

    def __init__(self, recording, scratch):
        self.recording, self.history = recording, recording.history
        self.promises = scenarios.Promises(recording)
        self.references = recording.references()
        self.scratch = pathlib.Path(scratch)
        self.reader = subprocess.Popen([str(READER), str(recording.config)], stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE, text=True, env=recording.case.environment())
        self.seen, self.checked = set(), 0

    def close(self):
        self.reader.stdin.close()
        self.reader.stdout.close()
        self.reader.wait()

    def make(self, state):
        return self.history.state(state.cut, state.kind, random.Random(state.seed))

    def put(self, tree):
        folder = self.scratch / "state"
        shutil.rmtree(folder, ignore_errors=True)
        disk.write_tree(tree, folder)
        return folder

    def faults(self, states):
        """[(state, what is wrong)]; a state that was there before is not read again."""
        found = []
        for state in states:
            tree = self.make(state)
            key = digest(tree) + repr(self.expected(state.cut)).encode()
            if key in self.seen:
                continue
            self.seen.add(key)
            self.checked += 1
            folder = self.put(tree)
            self.reader.stdin.write(f"{folder}\n")
            self.reader.stdin.flush()
            line = self.reader.stdout.readline()
            what = self.check(state, json.loads(line), folder) if line else "the reader died"
            if what:
                found.append((state, what))
        return found

    def expected(self, cut):
        over = [(code, run) for i, code, run in self.promises.ended if i < cut]
        return over[-1:], [(run, *self.promises.bounds(run, cut)) for run in self.promises.runs]

    # ---- what must hold; "" or what is wrong

    def check(self, state, seen, folder):
        for k, run in enumerate(self.promises.runs):
            least, most = self.promises.bounds(run, state.cut)
            what = self.check_run(seen["runs"].get(run), least, most, folder / "runs" / run,
                                  self.references[min(k, len(self.references) - 1)])
            if what:
                return f"{run}: {what}"
        return self.check_latest(state, seen) or self.check_ended(state, seen, folder)

    def check_run(self, got, least, most, folder, reference):
        if got is None:
            return f"the run is gone, and its step {least} was saved" if least >= 0 else ""
        if not least <= got["step"] <= most:
            return f"step {got['step']} is found, {least} to {most} may be ({got['why']})"
        if got["status"] == "running":
            return "its record says running, and nothing runs"
        if got["torn"]:
            return f"{got['torn']} has the name of a whole checkpoint, and is none"
        if got["step"] < 0:
            return ""
        if not got["status"] or not got["legs"]:
            return "it has a checkpoint, and its run.json cannot be read"
        if not got["config"]:
            return "it has a checkpoint, and its config.cfg cannot be read"
        if got["tidied"] != got["step"]:
            return f"step {got['step']} was there, and {got['tidied']} after tidying ({got['why']})"
        return self.check_records(got, folder, reference)

    def check_records(self, got, folder, reference):
        """The records up to the checkpoint, as a leg that goes on finds them: all, once, and none besides."""
        step = got["step"]
        lines = reference.trail.splitlines(keepends=True)
        upto = [l for l in lines[1:] if json.loads(l)["step"] <= step]
        if reference.saved.get(step, got["weights"]) != got["weights"]:
            return f"the weights of step {step} are not those of an undisturbed run: a torn checkpoint was accepted"
        trail = (folder / "weights.trail").read_bytes()
        if trail != b"".join([lines[0], *upto]):
            return f"weights.trail: {len(trail.splitlines())} lines up to step {step}, not {1 + len(upto)}"
        metrics = scenarios.read_metrics(folder / "metrics.jsonl")
        want = [r for r in reference.metrics if r[1] <= step]
        owed = [r for r in want if r[:2] != ("eval", step)]
        if metrics != (owed if got["owed"] else want):
            return f"metrics.jsonl: {len(metrics)} records up to step {step}, not {len(want)}"
        return ""

    def check_latest(self, state, seen):
        """The newest run with a checkpoint that is there; of the config's own experiment."""
        own = self.promises.runs[:1] if self.recording.name == "fork" else self.promises.runs
        whole = [run for run in own if seen["runs"].get(run, {"step": -1})["step"] >= 0]
        want = whole[-1] if whole else None
        return "" if seen["latest"] == want else f"latest is {seen['latest']}, not {want}"

    def check_ended(self, state, seen, folder):
        """What a program that has ended said of itself."""
        for i, code, run in self.promises.ended:
            want = {0: "done", 75: "stopped"}.get(code)
            if i >= state.cut or not want or self.promises.touched(run, i) < state.cut:
                continue
            status = seen["runs"].get(run, {"status": ""})["status"]
            if status != want:
                return f"{run} ended as {want}, and its record says '{status}'"
            if code == 0 and not (folder / "runs" / run / "model.safetensors").exists():
                return f"{run} ended well, and its model.safetensors is gone"
        return ""

    # ---- going on for good

    def resume(self, state):
        """Go on from a state as a batch script would; "" or what is wrong."""
        folder = self.put(self.make(state))
        runs = folder / "runs"
        promised = [run for run in self.promises.runs if self.promises.bounds(run, state.cut)[0] >= 0]
        resume = "auto"
        if self.recording.name == "fork" and len(promised) < 2:
            if not any(i <= state.cut and code == 0 for i, code, _ in self.promises.ended):
                return ""  # the one to fork from is not over yet
            resume = runs / promised[0]
        r = self.recording.end(runs, resume)
        if r.code != 0:
            return f"does not go on: {r.code}: {r.err}"
        k = self.promises.runs.index(pathlib.Path(r.run_dir).name) if pathlib.Path(r.run_dir).name in self.promises.runs else -1
        reference = self.references[k if 0 <= k < len(self.references) else -1]
        if r.weights != reference.weights:
            return f"went on in {r.run_dir} to other weights"
        if promised and self.recording.name != "fork" and pathlib.Path(r.run_dir).name not in self.promises.runs:
            return f"a new run was started, and {promised[-1]} could have gone on"
        left = [str(p.relative_to(runs)) for p in pathlib.Path(r.run_dir).rglob("*")
                if re.search(r"\.(tmp|old)-\d+$", p.name) and "abandoned" not in str(p)]
        if left:
            return f"left behind: {left}"
        if scenarios.read_metrics(f"{r.run_dir}/metrics.jsonl") != reference.metrics:
            return "metrics.jsonl is not that of an undisturbed run"
        if r.json()["status"] != "done":
            return f"run.json says {r.json()['status']}"
        return ""
