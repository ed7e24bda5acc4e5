"""All programs x what they may be started with: closed descriptors, a full disk or an unread pipe behind them, signals that
are ignored or blocked."""
import fcntl
import itertools
import json
import os
import pathlib
import re
import signal
import subprocess
import time

import harness
from harness import BIN, DATA, LAUNCH, TRAIN, tagged, wait_for

BENCH, RUNS = BIN / "ddp-bench", BIN / "ddp-runs"
RECORD = harness.ROOT / "examples/record"
CONFIG = """
model = { layers = (
    {type = "flatten", name = "flat"}, {type = "linear", name = "fc", out = 10},
    {type = "softmax_cross_entropy", name = "loss"}); };
data: { format = "digits"; train_count = 256; test_count = 64; };
train: { batch = 32; shards = 4; epochs = 2; threads = 1; };
log: { every_steps = 1; };
"""
ENDLESS = ["train.epochs=100000", "log.progress=false", "checkpoint.every_epochs=0", "eval.every_epochs=1"]
SIGNALS = [signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGPIPE, signal.SIGCHLD, signal.SIGALRM,
           signal.SIGUSR1, signal.SIGUSR2]


def ignore():
    for s in SIGNALS:
        signal.signal(s, signal.SIG_IGN)


def block():
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


def normal():
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    for s in SIGNALS:
        signal.signal(s, signal.SIG_DFL)


def full_pipe():
    """Both ends of a pipe that holds nothing more."""
    r, w = os.pipe()
    fcntl.fcntl(w, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(w, False)
    try:
        while True:
            os.write(w, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(w, True)
    return r, w


def minds(pid, sig):
    """Whether a process catches the signal, or has it blocked to look for it."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return any(int(re.search(rf"^{field}:\s*(\w+)", status, re.M)[1], 16) >> (sig - 1) & 1 for field in ("SigCgt", "SigBlk"))


class Streams(harness.Case):
    def setUp(self):
        super().setUp()
        self.config = self.dir / "T.cfg"
        self.config.write_text(CONFIG)
        c, runs = self.config, f"run.dir={self.dir}/runs"
        # what ends by itself and prints on standard output
        self.answers = {
            LAUNCH: [["--help"], ["--version"], ["--help-config"], ["--print-config", c], ["--map", c], ["--dry-run", c],
                     ["-n", 2, c, runs], ["-q", "-n", 1, c, runs]],
            TRAIN: [["--help"], ["--version"], ["--help-layers"], [c, runs], ["--quiet", c, runs]],
            DATA: [["--help"], ["fetch", "--help"], ["pack", "--help"], ["inspect", "--help"], ["inspect", c]],
            BENCH: [["--help"], ["ops", "--help"]],
            RUNS: [["--help"], ["list", "--help"], ["list", RECORD.parent], ["show", RECORD], ["verify", RECORD, RECORD],
                   ["reproduce", RECORD, "-n", 1, "--dir", f"{self.dir}/runs"]],
        }
        # what goes on for long, or prints without end, and the status with which SIGTERM ends it
        self.endless = {
            LAUNCH: [(["-n", 2, c, runs, "launch.grace=5", *ENDLESS], 75), (["--help-config"], -signal.SIGTERM)],
            TRAIN: [([c, runs, *ENDLESS], 75), (["--help-layers"], -signal.SIGTERM)],
            DATA: [(["inspect", c], -signal.SIGTERM)],
            BENCH: [(["ops"], -signal.SIGTERM)],
            RUNS: [(["show", RECORD], -signal.SIGTERM)],
        }

    def cases(self, table):
        for program, rows in table.items():
            for row in rows:
                yield program, row

    def call(self, program, args, shell="", before=normal, **streams):
        """A program to its end, `shell` being redirections: (status, stderr)."""
        command = [str(a) for a in (program, *args)]
        if shell:
            command = ["/bin/sh", "-c", f'exec "$0" "$@" {shell}', *command]
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, **streams}
        p = subprocess.run(command, env=self.environment(), cwd=self.dir, timeout=120, preexec_fn=before, **streams)
        return p.returncode, (p.stderr or b"").decode()

    def check_runs(self):
        """What was trained is whole: no line of a log is in a record."""
        runs = list((self.dir / "runs").glob("*"))
        for run in runs:
            for line in (run / "metrics.jsonl").read_text().splitlines():
                json.loads(line)
            self.assertEqual(json.loads((run / "run.json").read_text())["status"], "done")
        return len(runs)

    # ---- every program is in the tables ------------------------------------------------------------------

    def test_no_program_is_left_out(self):
        peers = {"ddp-bench-mpi"}  # MPI alone, for comparison
        ours = {p for p in BIN.iterdir() if p.name.startswith("ddp-") and p.name not in peers and os.access(p, os.X_OK) and p.is_file()}
        self.assertEqual(ours, set(self.answers))
        self.assertEqual(ours, set(self.endless))

    # ---- closed descriptors ------------------------------------------------------------------------------

    def test_closed_descriptors(self):
        words = {0: "<&-", 1: ">&-", 2: "2>&-"}
        for n in range(1, 4):
            for closed in itertools.combinations(words, n):
                for program, args in self.cases(self.answers):
                    with self.subTest(program=program.name, args=args, closed=closed):
                        status, err = self.call(program, args, shell=" ".join(words[fd] for fd in closed))
                        self.assertEqual(status, 0, err)
        self.assertGreater(self.check_runs(), 7 * 3)

    # ---- a full disk -------------------------------------------------------------------------------------

    def test_standard_output_on_a_full_disk(self):
        for program, args in self.cases(self.answers):
            with self.subTest(program=program.name, args=args), open("/dev/full", "wb") as full:
                status, err = self.call(program, args, stdout=full)
                self.assertEqual(status, 3, err)
                self.assertRegex(err.splitlines()[-1], rf"^{program.name}: standard output: (No space left|writing failed)")
        self.assertGreaterEqual(self.check_runs(), 4)  # what was trained is saved all the same

    def test_logs_on_a_full_disk(self):
        for program, args in self.cases(self.answers):
            with self.subTest(program=program.name, args=args), open("/dev/full", "wb") as full:
                self.assertEqual(self.call(program, args, stderr=full)[0], 0)
        self.assertGreaterEqual(self.check_runs(), 4)

    def test_a_reader_that_has_left(self):
        for program, args in self.cases(self.answers):
            for before in (normal, ignore):
                with self.subTest(program=program.name, args=args, signals=before.__name__):
                    r, w = os.pipe()
                    os.close(r)
                    try:
                        status, err = self.call(program, args, stdout=w, before=before)
                    finally:
                        os.close(w)
                    allowed = (0, -signal.SIGPIPE) if before is normal and f"{self.dir}/runs" not in str(args) else (0,)
                    self.assertIn(status, allowed, err)
        self.assertGreaterEqual(self.check_runs(), 8)

    # ---- a pipe that nobody reads ------------------------------------------------------------------------

    def test_a_pipe_that_nobody_reads(self):
        for program, (args, wanted) in self.cases(self.endless):
            for sig in (signal.SIGTERM, signal.SIGINT):
                with self.subTest(program=program.name, args=args, signal=sig.name):
                    r, w = full_pipe()
                    tag = f"streams-{program.name}-{os.getpid()}-{time.monotonic_ns()}"
                    p = self.start_on(w, program, args, tag)
                    os.close(w)
                    try:
                        if wanted > 0:  # it trains, or would if it could say so
                            wait_for(lambda: p.poll() is not None or minds(p.pid, sig), 60, "its start")
                        time.sleep(0.5)
                        self.assertIsNone(p.poll(), "it ended before it was asked to")
                        p.send_signal(sig)
                        status = p.wait(timeout=30)
                    finally:
                        os.close(r)
                    self.assertEqual(status, wanted if wanted > 0 else -sig)
                    wait_for(lambda: not tagged(tag), 10, "the end of all processes")
                    for run in (self.dir / "runs").glob("*"):
                        self.assertEqual(json.loads((run / "run.json").read_text())["status"], "stopped")

    def start_on(self, fd, program, args, tag, before=normal):
        p = subprocess.Popen([str(a) for a in (program, *args)], stdin=subprocess.DEVNULL, stdout=fd, stderr=fd, cwd=self.dir,
                             env=self.environment(SYSTEM_TEST_TAG=tag), start_new_session=True, preexec_fn=before)
        self.addCleanup(lambda: p.poll() is None and (p.kill(), p.wait()))
        return p

    # ---- signals that were ignored or blocked ------------------------------------------------------------

    def test_inherited_signals(self):
        for before in (ignore, block):
            for program, args in self.cases(self.answers):
                with self.subTest(program=program.name, args=args, signals=before.__name__):
                    status, err = self.call(program, args, before=before)
                    self.assertEqual(status, 0, err)
            if harness.shutil.which("mpirun"):  # a program that is waited for before anything else is started
                status, err = self.call(LAUNCH, ["--starter=mpirun", "-n", 2, self.config, f"run.dir={self.dir}/runs"], before=before)
                self.assertEqual(status, 0, err)

    def test_signals_that_were_ignored_stop_a_job(self):
        """SIGHUP stays ignored (nohup), the others are for us whatever a script has set them to."""
        for program in (LAUNCH, TRAIN):
            for before, deaf, heard in ((ignore, [signal.SIGHUP], signal.SIGINT), (ignore, [signal.SIGHUP], signal.SIGTERM),
                                        (ignore, [signal.SIGHUP], signal.SIGUSR1), (block, [], signal.SIGINT),
                                        (block, [], signal.SIGHUP), (block, [], signal.SIGUSR2)):
                with self.subTest(program=program.name, signals=before.__name__, heard=heard.name):
                    known = set((self.dir / "runs").glob("*"))
                    p = self.start_on(subprocess.DEVNULL, program, [self.config, f"run.dir={self.dir}/runs", *ENDLESS], "streams", before)
                    run = wait_for(lambda: set((self.dir / "runs").glob("*")) - known, 60, "a run").pop()
                    wait_for(lambda: (run / "metrics.jsonl").exists() and (run / "metrics.jsonl").stat().st_size > 0, 60, "a step")
                    for sig in deaf:
                        p.send_signal(sig)
                        at = (run / "metrics.jsonl").stat().st_size
                        wait_for(lambda: (run / "metrics.jsonl").stat().st_size > 2 * at + 10000, 60, "more steps")
                        self.assertIsNone(p.poll(), f"{sig.name} ended it")
                    p.send_signal(heard)
                    self.assertEqual(p.wait(timeout=60), 75)
                    self.assertEqual(json.loads((run / "run.json").read_text())["status"], "stopped")


if __name__ == "__main__":
    harness.main()
