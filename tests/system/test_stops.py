"""Stopping in the middle of something long: an evaluation is broken off after a batch, saved before, and made up for; a signal may
reach any process of the job; who does not stop is named and killed."""
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import time
import uuid

import harness
from harness import LAUNCH, TRAIN, tagged, wait_for

# Two steps an epoch, and an evaluation that takes seconds.
CONFIG = """
model = { layers = (
    {type = "flatten", name = "flat"}, {type = "linear", name = "fc", out = 10},
    {type = "softmax_cross_entropy", name = "loss"}); };
data: { format = "digits"; train_count = 64; test_count = 100000; };
train: { batch = 32; shards = 4; epochs = 2; threads = 1; };
log: { every_steps = 1; progress = false; };
"""
TIMES = ("time", "seconds", "samples_per_s", "images_per_s", "step_s", "data_wait", "comm_wait", "forward", "backward", "optimizer", "reduce")


def records(run):
    """metrics.jsonl without what depends on the clock."""
    lines = [json.loads(l) for l in (pathlib.Path(run) / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in l.items() if k not in TIMES} for l in lines]


class Stops(harness.Case):
    def setUp(self):
        super().setUp()
        self.config = self.dir / "T.cfg"
        self.config.write_text(CONFIG)
        self.runs = self.dir / "runs"

    def go(self, command, *args):
        """In the background: the process, its run directory once it is there, and the tag of all its processes."""
        known = set(self.runs.glob("*"))
        tag = f"stops-{uuid.uuid4()}"
        p = self.start(*command, self.config, f"run.dir={self.runs}", *args, env={"SYSTEM_TEST_TAG": tag})
        p.tag = tag
        p.run = wait_for(lambda: p.poll() is not None or set(self.runs.glob("*")) - known, 60, "a run").pop()
        return p

    def wait_for_step(self, p, step):
        path = p.run / "metrics.jsonl"
        wait_for(lambda: p.poll() is not None or f'"step":{step},' in (path.read_text() if path.exists() else ""), 60, f"step {step}")
        self.assertIsNone(p.poll())

    def end(self, p, code):
        out, err = p.communicate(timeout=60)
        self.assertEqual(p.returncode, code, f"stdout: {out}\nstderr: {err}")
        wait_for(lambda: not tagged(p.tag), 10, "the end of all processes")
        return out, err

    def stop_in_evaluation(self, command, step, sig, whom, *args):
        """Signals a run while it evaluates after this step; once more where the machine was too slow for us to be in time."""
        for _ in range(5):
            p = self.go(command, *args)
            records_of = p.run / "metrics.jsonl"
            wait_for(lambda: p.poll() is not None or f'"step":{step},' in (records_of.read_text() if records_of.exists() else ""),
                     60, f"step {step}")
            ranks = sorted(harness.ranks_of(p.tag))
            if p.poll() is not None or not ranks:
                continue
            for pid in {"launcher": [p.pid], "rank": ranks[-1:], "all": {p.pid, *ranks}}[whom]:
                with contextlib.suppress(ProcessLookupError):  # one that was told before may have ended the job
                    os.kill(pid, sig)
            late = f'"eval","step":{step},' in records_of.read_text()
            if late:
                p.communicate(timeout=60)
            else:
                self.end(p, 75)
                return p
        self.fail("no signal came in time")

    def resume(self, command, run):
        r = self.run_program(*command, "--resume", run)
        self.assertEqual(r.code, 0, r.err)
        return r

    # ---- in an evaluation --------------------------------------------------------------------------------

    def test_in_an_evaluation(self):
        """With the resume, weights and records are those of a run that nobody stopped."""
        whole = self.run_program(LAUNCH, "-q", "-n", 1, self.config, f"run.dir={self.dir}/whole")
        self.assertEqual(whole.code, 0, whole.err)
        wanted = records(whole.run_dir)
        self.assertEqual([r["step"] for r in wanted if r["type"] == "eval"], [2, 4])
        launch = [LAUNCH, "-q", "-n", 2]
        table = [  # how it is started, the step behind which it evaluates, the signal, to whom
            (launch, 2, signal.SIGTERM, "launcher"),
            (launch, 4, signal.SIGHUP, "launcher"),
            (launch, 2, signal.SIGUSR1, "rank"),
            (launch, 2, signal.SIGHUP, "all"),
            ([LAUNCH, "-q", "-n", 3], 4, signal.SIGINT, "all"),
            ([TRAIN, "--quiet"], 2, signal.SIGTERM, "all"),
            ([TRAIN, "--quiet"], 4, signal.SIGHUP, "all"),
        ]
        if shutil.which("mpirun"):
            table.append(([LAUNCH, "-q", "-n", 2, "--starter=mpirun"], 2, signal.SIGTERM, "launcher"))
        for command, step, sig, whom in table:
            with self.subTest(command=command, step=step, signal=sig.name, to=whom):
                p = self.stop_in_evaluation(command, step, sig, whom)
                self.assertEqual(json.loads((p.run / "run.json").read_text())["status"], "stopped")
                before = records(p.run)
                self.assertEqual(before, wanted[:len(before)])
                self.assertEqual((before[-1]["type"], before[-1]["step"]), ("step", step), "the evaluation was waited for")
                self.assertTrue((p.run / f"checkpoints/step-{step:08d}").is_dir())
                r = self.resume(command, p.run)
                self.assertEqual((r.run_dir, r.weights), (str(p.run), whole.weights))
                self.assertEqual(records(p.run), wanted)

    def test_at_an_end_that_is_no_epochs(self):
        """train.max_steps ends it in the middle of an epoch: that evaluation is made up for as well."""
        short = ["train.max_steps=3"]
        whole = self.run_program(LAUNCH, "-q", "-n", 1, self.config, f"run.dir={self.dir}/whole", *short)
        self.assertEqual(whole.code, 0, whole.err)
        p = self.stop_in_evaluation([LAUNCH, "-q", "-n", 2], 3, signal.SIGTERM, "launcher", *short)
        self.assertEqual(records(p.run), records(whole.run_dir)[:-1])
        self.resume([LAUNCH, "-q", "-n", 2], p.run)
        self.assertEqual(records(p.run), records(whole.run_dir))
        self.assertIsNotNone(records(p.run)[-1]["train_loss"])

    def test_what_only_evaluates(self):
        run = self.run_program(TRAIN, "--quiet", self.config, f"run.dir={self.runs}", "data.test_count=32").run_dir
        for command in ([LAUNCH, "-n", 2], [TRAIN]):
            with self.subTest(command=command):
                tag = f"stops-{uuid.uuid4()}"
                p = self.start(*command, "--eval", run, "data.test_count=3000000", env={"SYSTEM_TEST_TAG": tag})
                wait_for(lambda: p.poll() is not None or all_caught(harness.ranks_of(tag), len(command) > 1 and 2 or 1), 60, "its ranks")
                time.sleep(0.5)
                self.assertIsNone(p.poll())
                p.tag = tag
                p.send_signal(signal.SIGTERM)
                out, err = self.end(p, 75)
                self.assertNotIn("weights:", out)
                self.assertNotIn("accuracy", out)
                self.assertIn("before the evaluation was over", err)
                self.assertNotIn("saved", err)

    # ---- who does not stop -------------------------------------------------------------------------------

    def test_who_does_not_stop(self):
        p = self.go([LAUNCH, "-n", 2], "data.test_count=64", "train.epochs=1000000", "launch.grace=1.5",
                    "checkpoint.every_epochs=0", "checkpoint.every_steps=3", "eval.every_epochs=1000000")
        self.wait_for_step(p, 20)
        os.kill(sorted(harness.ranks_of(p.tag))[1], signal.SIGSTOP)  # the other waits for it
        time.sleep(0.3)
        began = time.monotonic()
        p.send_signal(signal.SIGTERM)
        out, err = self.end(p, 4)
        self.assertGreaterEqual(time.monotonic() - began, 1.4)
        # Who waits for whom is seen by the ranks' pulse; where the machine was too slow to look, all are named.
        who = r"(rank [01] on \S+, which has been .*, and rank [01] waits for it .*,|ranks 0 and 1 on \S+)"
        self.assertRegex(err, who + r" did not stop within 1\.5 s of SIGTERM \(launch\.grace\) and had to be killed")
        record = json.loads((p.run / "run.json").read_text())
        self.assertEqual(record["status"], "failed")
        self.assertIn("did not stop within 1.5 s", record["error"])
        self.assertTrue(any((p.run / "checkpoints").glob("step-*")))

    def test_one_request_that_comes_twice(self):
        """As `timeout` sends it, to a process and then to its group: no reason to hurry."""
        p = self.go([TRAIN, "--quiet"], "data.test_count=64", "train.epochs=1000000", "checkpoint.every_epochs=0",
                    "eval.every_epochs=1000000")
        self.wait_for_step(p, 5)
        p.send_signal(signal.SIGTERM)
        p.send_signal(signal.SIGTERM)
        self.end(p, 75)
        self.assertEqual(json.loads((p.run / "run.json").read_text())["status"], "stopped")


def all_caught(pids, n):
    """Whether so many ranks are there and catch SIGTERM."""
    def caught(pid):
        try:
            text = pathlib.Path(f"/proc/{pid}/status").read_text()
        except OSError:
            return False
        return int(re.search(r"^SigCgt:\s*(\w+)", text, re.M)[1], 16) >> (signal.SIGTERM - 1) & 1
    return len(pids) >= n and all(caught(pid) for pid in pids)


if __name__ == "__main__":
    harness.main()
