"""Deaths and signals: who died is named, nobody survives, nothing is left lying about, no checkpoint is torn."""
import hashlib
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid

import harness
from harness import ENDLESS as CONFIG, LAUNCH, TRAIN, tagged, wait_for
from pictures import write_idx

# What a job may have made there. Names with a launcher's process number in them are ours only when the number is.
LITTER = re.compile(r"ddp-job-|ompi\.|openmpi|vader|osc_?sm|pmix|sm_segment|memfd|psm")
SLOW = float(os.environ.get("DDP_TEST_SLOW", "1"))  # factor on limits of time, for sanitizers


def checkpoints_of(runs):
    return [c for c in runs.glob("*/checkpoints/step-*") if "." not in c.name]


def alive(pid):
    return pathlib.Path(f"/proc/{pid}").exists()


class Faults(harness.Case):
    def setUp(self):
        super().setUp()
        self.config = self.dir / "faults.cfg"
        self.config.write_text(CONFIG)
        self.runs = self.dir / "runs"
        self.tags = []
        self.addCleanup(self.kill_leftovers)

    def kill_leftovers(self):
        for tag in self.tags:
            for pid in tagged(tag):
                kill(pid)

    def go(self, *args, ranks=3, program=None, quiet=True):
        """A job in the background: the process, with its tag as .tag and what lay about before as .before."""
        tag = f"faults-{uuid.uuid4()}"
        self.tags.append(tag)
        before = litter()
        command = program or [LAUNCH, "-n", ranks]
        p = self.start(*command, *(["--quiet"] if quiet else []), self.config, f"run.dir={self.runs}", *args,
                       env={"SYSTEM_TEST_TAG": tag})
        p.tag, p.before = tag, before
        return p

    def records(self):
        return sum(m.read_bytes().count(b"\n") for m in self.runs.glob("*/metrics.jsonl"))

    def wait_for_steps(self, p, n=5):
        wait_for(lambda: p.poll() is not None or self.records() >= n, 60, f"{n} steps")
        if p.poll() is not None:
            self.fail(f"ended too early with {p.returncode}: {p.communicate()}")

    def end(self, p, seconds, code):
        """(stdout, stderr) of a job that must be over, with this code, within so many seconds."""
        began = time.monotonic()
        try:
            out, err = p.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            self.fail(f"did not end; left: {tagged(p.tag)}")
        took = time.monotonic() - began
        self.assertEqual(p.returncode, code, f"stdout: {out}\nstderr: {err}")
        if os.environ.get("DDP_TEST_TIMES"):
            print(f"    {self._testMethodName}: {took:.3f} s to end", file=sys.stderr)
        self.assertLess(took, seconds * SLOW, err)
        return out, err

    def check_nothing_left(self, p, seconds=0.0):
        wait_for(lambda: not tagged(p.tag), seconds * SLOW + 0.01, f"the end of {tagged(p.tag)}")
        if p.args[0] == str(LAUNCH):
            wait_for(lambda: not self.left(p), seconds * SLOW + 0.01, f"{self.left(p)} to be removed")

    def left(self, p):
        mine, mpi = f"ddp-job-{p.pid}-", any("mpirun" in a for a in p.args)  # other litter may be somebody else's
        return [n for n in litter() - p.before
                if n.split("/")[-1].lstrip(".").startswith(mine) or mpi and "ddp-job-" not in n]

    def check_resumes(self, run, ranks=2):
        """The state in `run` gives the weights of a run that was never disturbed; metrics have each step once."""
        last = max(step_of(c) for c in checkpoints(run))
        steps = f"train.max_steps={last + 4}"
        common = [steps, f"run.dir={self.runs}"]
        again = self.launch(*common, "--resume", run, ranks=ranks, config=self.config)
        whole = self.launch(*common, ranks=1, config=self.config)
        self.assertEqual(again.weights, whole.weights, f"resumed after step {last}")
        records = map(json.loads, pathlib.Path(run, "metrics.jsonl").read_text().splitlines())
        self.assertEqual([r["step"] for r in records if r["type"] == "step"], list(range(1, last + 5)))

    # ---- deaths

    def test_kill_a_rank(self):
        for rank in range(3):
            p = self.go()
            self.wait_for_steps(p, self.records() + 5)
            kill(rank_pid(p.tag, rank))
            out, err = self.end(p, 2, 4)
            self.assertRegex(err, rf"rank {rank} on {re.escape(socket.gethostname())} .*(signal 9|SIGKILL|Killed)")
            self.assertNotIn("weights:", out)
            self.check_nothing_left(p)

    def test_kill_a_rank_before_it_trains(self):
        # as early as the rank can be seen: before it said hello, in MPI_Init, in set-up
        for delay in (0, 0.05, 0.15):
            p = self.go()
            pid = wait_for(lambda: rank_pid(p.tag, 1), 30, "rank 1")
            time.sleep(delay)
            kill(pid)
            out, err = self.end(p, 3, 4)
            self.assertRegex(err, "rank|ranks on")
            self.check_nothing_left(p)

    def test_restarts_go_on_from_the_last_checkpoint(self):
        steps = ["train.max_steps=2000", "checkpoint.every_steps=200"]
        p = self.go("--restarts", 2, *steps, ranks=2)
        for n in range(2):
            seen = self.records()
            wait_for(lambda: checkpoints_of(self.runs) and self.records() >= seen + 10, 60, "steps behind a checkpoint")
            pid = wait_for(lambda: rank_pid(p.tag, n), 30, "a rank")
            kill(pid)
            wait_for(lambda: not alive(pid), 30, "its end")
            wait_for(lambda: p.poll() is not None or rank_pid(p.tag, n), 30, "the restart")
        out, err = self.end(p, 60, 0)
        for n in (1, 2):
            self.assertRegex(err, f"restart {n} of 2: going on from the last checkpoint of ")
        whole = self.launch("train.max_steps=2000", f"run.dir={self.runs}", ranks=1, config=self.config)
        self.assertIn(f"weights: {whole.weights}", out)
        self.check_nothing_left(p, 2)

    def test_restarts_are_not_for_faults_of_the_job(self):
        p = self.go("--restarts", 3, "init.from=/nowhere.safetensors", ranks=2)
        out, err = self.end(p, 60, p.wait(60))
        self.assertNotEqual(p.returncode, 0)
        self.assertNotIn("restart", err)

    def test_a_segmentation_fault_is_named(self):
        p = self.go()
        self.wait_for_steps(p)
        kill(rank_pid(p.tag, 1), signal.SIGSEGV)
        out, err = self.end(p, 2, 4)
        self.assertRegex(err, r"rank 1 on .*(signal 11|SIGSEGV|[Ss]egmentation)")
        self.check_nothing_left(p)

    def test_a_data_file_cut_short_is_named(self):
        names = ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"]
        for name, data in zip(names, [*write_idx(self.dir, 4096, 28), *write_idx(self.dir, 16, 28)]):
            (self.dir / name).write_bytes(data)
        config = self.dir / "cut.cfg"
        config.write_text(f'''model = "linear";
data: {{ format = "idx"; path = "{self.dir}"; mean = [0.3]; std = [0.3]; }};
train: {{ batch = 32; epochs = 1000; }};
''')
        p = self.start(harness.LAUNCH, "-n", 2, config, f"run.dir={self.dir}/runs", "train.threads=1", "data.verify=false")
        runs = self.dir / "runs"
        wait_for(lambda: any((r / "metrics.jsonl").exists() and (r / "metrics.jsonl").stat().st_size for r in runs.glob("cut-*"))
                 if runs.exists() else False, 30, "the first record")
        os.truncate(self.dir / names[0], 8192)
        _, err = p.communicate(timeout=30)
        self.assertEqual(p.returncode, 4, err)
        self.assertIn(f"data file {self.dir}/{names[0]}: cut short", err)
        self.assertIn("signal 7", err)

    def test_kill_the_launcher(self):
        for _ in range(3):
            p = self.go()
            self.wait_for_steps(p, self.records() + 5)
            self.assertEqual(len(harness.ranks_of(p.tag)), 3)
            kill(p.pid)
            p.wait(10)
            self.check_nothing_left(p, 1)

    def test_kill_the_launcher_while_it_starts(self):
        for delay in (*(ms / 1000 for ms in range(2, 40, 2)), 0.05, 0.1, 0.2):
            p = self.go()
            time.sleep(delay)
            kill(p.pid)
            p.wait(10)
            self.check_nothing_left(p, 1)

    def test_kill_mpirun(self):
        p = self.go("--starter=mpirun")
        self.wait_for_steps(p)
        kill(next(pid for pid, cmd in tagged(p.tag).items() if re.match(r"(\S*/)?mpirun ", cmd)))
        out, err = self.end(p, 2, 4)
        self.assertRegex(err, "mpirun on .* signal 9")
        self.check_nothing_left(p)

    def test_kill_launcher_and_janitor_at_once(self):
        # the last resort: ranks die of the death of their parent, and the next job sweeps up
        p = self.go()
        self.wait_for_steps(p)
        for pid in sorted(tagged(p.tag)):
            if pid not in harness.ranks_of(p.tag):
                kill(pid)
        p.wait(10)
        wait_for(lambda: not tagged(p.tag), 1 * SLOW, "the end of all ranks")
        self.launch("train.max_steps=1", config=self.config)
        self.assertEqual(self.left(p), [])

    def test_a_nan_is_traced(self):
        p = self.go("model=mlp", "optim.lr=1000", "optim.momentum=0.999")
        out, err = self.end(p, 60, 4)
        self.assertRegex(err, r"rank \d on \S+ failed: step \d+: the loss of shard \d \(rank \d\) is (nan|infinite); first bad "
                              r"tensor: .*'fc\d'.* is (nan|inf)")
        self.assertNotIn("weights:", out)
        self.check_nothing_left(p)

    def test_a_nan_in_evaluation_is_traced(self):
        blow_up = '({ match = "*"; lr_scale = 1000000.0; weight_decay = 1000.0; })'  # one step, and nothing is finite
        p = self.go("model=mnist_cnn", "optim.lr=1000", f"optim.groups={blow_up}", "train.max_steps=1")
        out, err = self.end(p, 60, 4)
        self.assertRegex(err, r"failed: evaluation after step 1: the loss of shard \d \(rank \d\) is (nan|infinite); first bad tensor: ")
        self.assertNotIn("weights:", out)
        self.check_nothing_left(p)

    # ---- signals

    def test_one_signal_stops_and_saves(self):
        for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
            p = self.go(quiet=False)
            self.wait_for_steps(p, self.records() + 5)
            p.send_signal(sig)
            out, err = self.end(p, 3, 75)
            self.assertIn(sig.name, err)
            self.assertIn("--resume", err)
            self.check_nothing_left(p)
            run = re.search("^run: (.*)$", out, re.M)[1]
            self.assertEqual([l.split(":")[0] for l in out.splitlines()[-2:]], ["run", "weights"])
            self.check_all_checkpoints_are_whole()
            self.check_resumes(run)

    def test_a_signal_before_the_first_step(self):
        for delay in (0.1, 0.2):
            p = self.go()
            wait_for(lambda: harness.ranks_of(p.tag), 30, "ranks")
            time.sleep(delay)
            p.send_signal(signal.SIGINT)
            out, err = self.end(p, 10, 75)
            self.check_nothing_left(p)
            self.check_resumes(re.search("^run: (.*)$", out, re.M)[1])

    def test_a_signal_while_the_launcher_starts(self):
        # before it watches over a job it ends like any program, and leaves as little
        for delay in (*(ms / 1000 for ms in range(2, 40, 2)), 0.06, 0.08, 0.12):
            p = self.go()
            time.sleep(delay)
            p.send_signal(signal.SIGINT)
            p.communicate(timeout=20)
            self.assertIn(p.returncode, (-signal.SIGINT, 75), f"after {delay} s")
            self.check_nothing_left(p, 1)

    def test_the_second_signal_ends_at_once(self):
        for second in (signal.SIGINT, signal.SIGTERM):
            p = self.go()
            self.wait_for_steps(p, self.records() + 5)
            os.kill(rank_pid(p.tag, 1), signal.SIGSTOP)  # all others wait for it: no clean stop comes about
            p.send_signal(signal.SIGINT)
            time.sleep(0.5)
            self.assertIsNone(p.poll())
            p.send_signal(second)
            self.end(p, 1, 130)
            self.check_nothing_left(p)

    def test_a_rank_alone(self):
        p = self.go(program=[TRAIN])
        self.wait_for_steps(p)
        p.send_signal(signal.SIGTERM)
        out, err = self.end(p, 3, 75)
        self.check_resumes(re.search("^run: (.*)$", out, re.M)[1])
        # a step that takes seconds: the second signal does not wait for it
        before = len(list(self.runs.glob("*/metrics.jsonl")))
        p = self.go("model=mnist_cnn", "data.train_count=8000", "train.batch=8000", "train.shards=64", program=[TRAIN])
        wait_for(lambda: len(list(self.runs.glob("*/metrics.jsonl"))) > before, 60, "its start")
        p.send_signal(signal.SIGINT)
        time.sleep(0.3)
        self.assertIsNone(p.poll())
        p.send_signal(signal.SIGINT)
        self.end(p, 1, 130)

    # ---- a user's own mpirun

    def test_own_mpirun(self):
        mpirun = ["mpirun", "--oversubscribe", "-n", "3", TRAIN]
        p = self.go(program=mpirun)
        self.wait_for_steps(p)
        kill(rank_pid(p.tag, 2))
        p.communicate(timeout=20)
        self.assertNotEqual(p.returncode, 0)
        self.check_nothing_left(p, 2)
        # an error that all ranks agree on, one in the middle
        for args, code, text in ((["optim.lr=-1"], 2, "optim.lr"),
                                 (["model=mlp", "optim.lr=1000", "optim.momentum=0.999"], 4, "shard")):
            p = self.go(*args, program=mpirun)
            out, err = self.end(p, 60, code)
            self.assertIn(text, err + out)
            self.check_nothing_left(p, 2)

    def test_ranks_with_different_configs(self):
        common = ["--quiet", self.config, f"run.dir={self.runs}"]
        for other, text in (("optim.momentum=2", "optim.momentum"), ("seed=2", "'seed = 2;'")):
            last = f'[ $OMPI_COMM_WORLD_RANK -lt 2 ] || set -- "$@" "{other}"; exec "$@"'
            r = self.run_program("mpirun", "--oversubscribe", "-n", 3, "sh", "-c", last, "sh", TRAIN, *common, "train.max_steps=5", timeout=20)
            self.assertEqual(r.code, 2, r.err)
            self.assertIn("rank 2", r.err)
            self.assertIn(text, r.err)

    # ---- torn checkpoints

    def check_all_checkpoints_are_whole(self):
        for folder in self.runs.glob("*/checkpoints/*"):
            if not re.fullmatch(r"step-\d+(\.old-\d+)?", folder.name):
                self.assertRegex(folder.name, r"^step-\d+\.tmp-\d+$")
                continue
            if ".old" in folder.name and (folder.parent / folder.name.split(".")[0]).exists():
                continue  # replaced, and about to be removed
            text = (folder / "state.json").read_text()
            state = json.loads(text)
            at = text.index('  "check"')
            self.assertEqual(state["check"], hashlib.sha256(text[:at].encode()).hexdigest(), folder)
            for name in ("model", "optimizer"):
                digest = hashlib.sha256((folder / f"{name}.safetensors").read_bytes()).hexdigest()
                self.assertEqual(state[f"{name}_sha256"], digest, folder)
            self.assertEqual(state["step"], step_of(folder))

    # ---- the record of who is gone

    def open_records(self):
        """{run.json that says running: its number of legs}."""
        found = {}
        for path in self.runs.glob("*/run.json"):
            o = json.loads(path.read_text())
            if o["status"] == "running" or o["legs"][-1]["status"] == "running":
                found[path] = len(o["legs"])
        return found

    def kill_all(self, p):
        wait_for(lambda: [kill(pid) for pid in tagged(p.tag)] == [], 10, f"the end of {tagged(p.tag)}")
        p.wait(10)

    def test_the_next_start_of_any_program_closes_what_is_open(self):
        more = ["train.max_steps=1", f"run.dir={self.runs}"]
        for command in ([TRAIN, self.config, *more], [LAUNCH, "-n", 2, self.config, *more],
                        [LAUNCH, "-n", 2, "--resume", "RUN", *more], [TRAIN, "--resume", "latest", self.config, *more],
                        [TRAIN, "--eval", "RUN", self.config, f"run.dir={self.runs}"]):
            p = self.go("checkpoint.every_steps=1")
            wait_for(lambda: p.poll() is not None or self.open_records() and self.newest_step() > 1, 60, "a checkpoint")
            self.kill_all(p)
            self.assertEqual(list(self.open_records().values()), [1], "there is nobody who could have closed it")
            run = next(iter(self.open_records())).parent
            r = self.run_program(*[run if word == "RUN" else word for word in command])
            self.assertEqual(r.code, 0, r.err)
            self.assertEqual(self.open_records(), {}, command)
            self.assertIn("its process is gone", run.joinpath("run.json").read_text())
            shutil.rmtree(self.runs)

    # ---- any moment

    def kill_at_random(self, p, how, chance, what):
        """End a job in one of the ways that a job ends unasked, and one in which it is asked."""
        if how == "rank":
            pids = wait_for(lambda: harness.ranks_of(p.tag) or p.poll() is not None, 30, "ranks")
            self.assertIsNone(p.poll(), what)
            kill(chance.choice(sorted(pids)))
            self.end(p, 4, 4)
        elif how == "launcher":
            kill(p.pid)
            p.wait(10)
        elif how == "all":
            self.kill_all(p)
        else:
            if not harness.ranks_of(p.tag):  # an interrupt before there is a job ends it like any program
                wait_for(lambda: harness.ranks_of(p.tag), 30, "ranks")
            p.send_signal(signal.SIGINT)
            self.end(p, 10, 75)

    def random_kills(self, n, seed):
        """n jobs, each going on where the one before was killed. Nothing may be torn, orphaned, left behind, or open."""
        chance = random.Random(seed)
        every = ["checkpoint.every_steps=1", "checkpoint.keep=2"]
        run, last, seen, unswept, opened = None, 0, {}, [], {}
        for i in range(n):
            ranks = chance.randint(1, 4)
            p = self.go(*every, *(["--resume", run] if run else []), ranks=ranks)
            how = chance.choice(["rank", "rank", "launcher", "launcher", "all", "interrupt"])
            what = f"seed {seed}, kill {i} ({how}, {ranks} ranks, run {run})"
            # three of four while it trains, the others at any moment of the start
            trains = chance.random() < 0.75
            if trains:
                before = last
                wait_for(lambda: p.poll() is not None or self.newest_step() > before, 60, f"{what}: a checkpoint")
                self.assertEqual([q for q in unswept if self.left(q)], [], f"{what}: litter of a killed job")
                now, unswept = self.open_records(), []
                self.assertEqual([r for r, legs in opened.items() if now.get(r, 0) == legs], [], f"{what}: left open")
                time.sleep(chance.random() * 0.05)
            else:
                time.sleep(chance.random() * 0.3)
            self.kill_at_random(p, how, chance, what)
            seen[how] = seen.get(how, 0) + 1
            if how == "all":
                unswept.append(p)  # nobody is left to do it: the next job does
            else:
                self.check_nothing_left(p, 1)
            already, opened = opened, self.open_records()
            if how in ("rank", "interrupt"):  # what this job opened; it may have died before it closed older ones
                self.assertEqual({r: n for r, n in opened.items() if already.get(r) != n}, {}, f"{what}: left open")
            self.check_all_checkpoints_are_whole()
            runs = [r for r in self.runs.glob("*") if any(re.fullmatch(r"step-\d+", c.name) for c in checkpoints(r))]
            run = max(runs, key=lambda r: max(step_of(c) for c in checkpoints(r))) if runs else None
            self.assertGreaterEqual(self.newest_step(), last, f"{what}: lost a checkpoint")
            last = self.newest_step()
        self.assertEqual(len(seen), 4, seen)
        self.assertGreater(last, n // 2, "nothing was trained between the kills")
        self.check_resumes(run, ranks=3)
        self.assertFalse(list(pathlib.Path(run).rglob("*.tmp*")), "what killed writers left is tidied up")
        evaluated = self.run_program(TRAIN, "--quiet", self.config, "--eval", run)
        self.assertEqual(evaluated.code, 0, evaluated.err)
        self.assertEqual(self.open_records(), {})
        self.assertEqual([q for q in unswept if self.left(q)], [])

    def test_fifty_random_kills(self):
        self.random_kills(50, int(os.environ.get("DDP_TEST_SEED", "20")))

    def newest_step(self):
        return max((step_of(c) for r in self.runs.glob("*") for c in checkpoints(r) if "." not in c.name), default=0)


def litter():
    found = set()
    for folder in ("/dev/shm", os.environ.get("TMPDIR", "/tmp"), "/tmp"):
        found |= {f"{folder}/{n}" for n in os.listdir(folder) if LITTER.match(n)}
    return found


def kill(pid, sig=signal.SIGKILL):
    try:
        os.kill(pid, sig)
    except ProcessLookupError:
        pass


def rank_pid(tag, rank):
    for pid in harness.ranks_of(tag):
        try:
            environment = pathlib.Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            if {f"DDP_RANK={rank}".encode(), f"OMPI_COMM_WORLD_RANK={rank}".encode()} & set(environment):
                return pid
        except OSError:
            pass
    return None


def checkpoints(run):
    return sorted(pathlib.Path(run).glob("checkpoints/step-*"))


def step_of(folder):
    return int(re.search(r"step-(\d+)", folder.name)[1])


if __name__ == "__main__":
    harness.main()
