"""Ranks that do not go on: the one that holds up the others is named, with what it is at, and never one that waits."""
import json
import os
import pathlib
import re
import signal
import time

import harness
from harness import ENDLESS as CONFIG, LAUNCH, tagged, wait_for

PHASES = {  # of a step that one rank never comes out of -> what is said of it
    "open": "opening its data sets",
    "setup": "setting up",
    "data": "reading data for step 4",
    "forward": "in the forward pass of step 4",
    "backward": "in the backward pass of step 4",
    "update": "in the reduction and update of step 4",
    "record": "writing records after step 4",
    "eval-data": "reading data to evaluate after step 10",
    "save": "saving a checkpoint after step 10",
}


def rank_pid(tag, rank):
    for pid in harness.ranks_of(tag):
        try:
            if f"DDP_RANK={rank}".encode() in pathlib.Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                return pid
        except OSError:
            pass
    return None


class Watch(harness.Case):
    def setUp(self):
        super().setUp()
        self.config = self.dir / "watch.cfg"
        self.config.write_text(CONFIG)
        self.tag = f"watch-{os.getpid()}-{self.id()}"
        self.addCleanup(lambda: [os.kill(p, signal.SIGKILL) for p in tagged(self.tag)])

    def go(self, *args, ranks=3, delay=None):
        env = {"SYSTEM_TEST_TAG": self.tag} | ({"DDP_TEST_DELAY": delay} if delay else {})
        return self.start(LAUNCH, "-n", ranks, "--quiet", self.config, f"run.dir={self.dir}/runs", *args, env=env)

    def end(self, p, code):
        out, err = p.communicate(timeout=120)
        self.assertEqual(p.returncode, code, err)
        wait_for(lambda: not tagged(self.tag), 10, "the end of all processes")
        return err

    def record(self):
        (run,) = (self.dir / "runs").iterdir()
        return json.loads((run / "run.json").read_text())

    def check_named(self, err, rank, text):
        """Rank and phase in the warning, in the verdict, and nobody else in either."""
        lines = [l for l in err.splitlines() if re.match(r"ddp-launch: rank \d+ on \S+ has ", l)]
        self.assertEqual(len(lines), 2, err)
        for line in lines:
            self.assertRegex(line, rf"^ddp-launch: rank {rank} on \S+ has been {re.escape(text)} for \d")
            self.assertRegex(line, r", and rank \d waits for it ")
            self.assertRegex(line, r"; (a thread of )?process \d+ ")
        self.assertIn("After ", lines[0])
        self.assertIn("The job is ended for it (launch.stuck_after", lines[1])

    def test_a_rank_that_never_arrives_is_named_in_every_phase(self):
        jobs = []  # all at once: they only sleep
        for i, (phase, text) in enumerate(PHASES.items()):
            rank = 0 if phase in ("record", "save") else i % 3
            step = (re.findall("[0-9]+", text) or "0")[0]
            p = self.go("launch.stuck_after=6", "train.max_steps=10", "train.trail_every=1", delay=f"{rank}:{phase}:{step}-10:1000000")
            jobs.append((p, rank, text))
        for p, rank, text in jobs:
            with self.subTest(text):
                out, err = p.communicate(timeout=120)
                self.assertEqual(p.returncode, 4, err)
                self.check_named(err, rank, text)

    def test_under_mpirun_too(self):
        p = self.go("launch.stuck_after=4", "--starter=mpirun", ranks=2, delay="1:forward:5-5:1000000")
        self.check_named(self.end(p, 4), 1, "in the forward pass of step 5")

    def test_the_record_says_why(self):
        self.end(self.go("launch.stuck_after=4", delay="2:data:30-30:1000000"), 4)
        r = self.record()
        self.assertEqual(r["status"], "failed")
        self.assertRegex(r["error"], r"^rank 2 on \S+ has been reading data for step 30 for .* and rank 0 waits for it in bucket 0 of step 30")

    def test_the_record_says_that_the_launcher_was_killed(self):
        p = self.go()
        wait_for(lambda: any('"step":5,' in m.read_text() for m in (self.dir / "runs").glob("*/metrics.jsonl")), 60, "step 5")
        p.kill()
        wait_for(lambda: self.record()["status"] != "running", 30, "the end in the record")
        self.assertEqual(self.record()["status"], "failed")
        self.assertIn("it was killed", self.record()["error"])

    def test_the_step_and_its_bucket_are_those_that_others_wait_in(self):
        # a bucket a layer: those of the last layers, which backward finishes first, are complete
        p = self.go("launch.stuck_after=4", "model=mlp", "reduce.bucket_mb=0.1", delay="1:forward:7-7:1000000")
        self.assertRegex(self.end(p, 4), r"in the forward pass of step 7 for .* waits for it in bucket 0 of step 7")

    def test_a_warning_alone_and_on_it_goes(self):
        p = self.go("launch.stuck_after=0", "train.max_steps=4000", delay="1:data:5-5:13")
        err = self.end(p, 0)
        lines = err.splitlines()
        self.assertEqual(len(lines), 2, err)
        self.assertRegex(lines[0], r"^ddp-launch: rank 1 on \S+ has been reading data for step 5 for 1\d s, and rank 0 waits for it")
        self.assertNotIn("is ended", lines[0])
        self.assertRegex(lines[1], r"^ddp-launch: rank 1 on \S+ goes on after 1\d s$")

    def test_long_steps_are_no_news(self):
        p = self.go("launch.stuck_after=6", "train.max_steps=5", ranks=2, delay="1:forward:1-5:1.2")
        self.assertEqual(self.end(p, 0), "")

    def test_a_stopped_rank_is_named_and_what_it_is(self):
        p = self.go("launch.stuck_after=4")
        wait_for(lambda: list((self.dir / "runs").glob("*/metrics.jsonl")), 60, "steps")
        time.sleep(0.5)
        os.kill(wait_for(lambda: rank_pid(self.tag, 1), 30, "rank 1"), signal.SIGSTOP)
        err = self.end(p, 4)
        self.assertRegex(err, r"rank 1 on \S+ has been .* process \d+ is stopped.*The job is ended for it")
        self.assertNotRegex(err, r"rank [02] on \S+ has been")

    def test_a_stop_that_takes_too_long_names_the_culprit(self):
        p = self.go("launch.grace=4", delay="1:data:30-30:1000000")  # agents must have looked, on a busy machine too
        wait_for(lambda: any('"step":29,' in m.read_text() for m in (self.dir / "runs").glob("*/metrics.jsonl")), 60, "step 29")
        p.send_signal(signal.SIGTERM)
        self.assertRegex(self.end(p, 4), r"rank 1 on \S+, which has been reading data for step 30 for \d+ s, and rank 0 waits for it in bucket "
                                         r"0 of step 30 .*; process \d+ sleeps.*, did not stop within 4 s of SIGTERM \(launch.grace\)")

    def test_a_config_that_does_not_come_is_named(self):
        fifo = self.dir / "never.cfg"
        os.mkfifo(fifo)
        p = self.start(LAUNCH, "-n", 2, fifo, env={"SYSTEM_TEST_TAG": self.tag})
        self.assertIn(f"ddp-launch: still reading {fifo}: a pipe that nobody writes to", p.stderr.readline())
        p.send_signal(signal.SIGTERM)
        self.assertEqual(p.wait(10), -signal.SIGTERM)
        p = self.start(LAUNCH, "-n", 2, "--quiet", fifo, f"run.dir={self.dir}/runs", "train.max_steps=2", env={"SYSTEM_TEST_TAG": self.tag})
        time.sleep(3.5)  # late, and read all the same
        fifo.write_text(CONFIG)
        out, err = p.communicate(timeout=60)
        self.assertEqual(p.returncode, 0, err)
        self.assertIn("still reading", err)
        self.assertIn("weights: ", out)

    def test_a_paused_job_is_not_stuck(self):
        p = self.go("launch.stuck_after=4", "train.max_steps=300", delay="1:data:1-300:0.01")
        wait_for(lambda: list((self.dir / "runs").glob("*/metrics.jsonl")), 60, "steps")
        for _ in range(2):
            stopped = [p.pid, *harness.ranks_of(self.tag)]
            for pid in stopped:
                os.kill(pid, signal.SIGSTOP)
            time.sleep(6)
            for pid in reversed(stopped):
                os.kill(pid, signal.SIGCONT)
            time.sleep(0.3)
        self.assertEqual(self.end(p, 0), "")

    def test_a_fifo_among_the_data_is_refused(self):
        data = self.dir / "data"
        data.mkdir()
        names = ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"]
        for name in names:
            os.mkfifo(data / name)
        p = self.go("data.format=idx", f"data.path={data}", ranks=2)
        self.assertRegex(self.end(p, 3), "t10k-images-idx3-ubyte: not a regular file")


class Slow(harness.Case):
    """Ranks that come, but late to every step."""

    alone = True

    def setUp(self):
        super().setUp()
        self.config = self.dir / "pace.cfg"
        self.config.write_text(CONFIG)

    def go(self, *args, ranks=2, delay=None):
        """(stderr, run directory) of a job that is not quiet."""
        r = self.run_program(LAUNCH, "-n", ranks, self.config, f"run.dir={self.dir}/runs", *args, timeout=200,
                             env={"DDP_TEST_DELAY": delay} if delay else {})
        self.assertEqual(r.code, 0, r.err)
        return r.err, pathlib.Path(re.search("^run: (.*)$", r.out, re.M)[1])

    def check_named(self, err, run, rank, first, cause):
        """By the launcher within 20 steps, in the metrics, in the record and at the end; nobody else anywhere."""
        early = f"(?:{cause}|it computes longer)"  # a busy machine may hide the cause in the first steps, not to the end
        lines = re.findall(r"^ddp-launch: rank .*\bslow\b.*$", err, re.M)
        self.assertEqual(len(lines), 2, err)
        named = re.match(rf"ddp-launch: rank {rank} on \S+ is slow: since step (\d+) it comes (\d+) ms late to each, and the others "
                         rf"wait \(until step (\d+)\); .*{early}", lines[0])
        self.assertTrue(named, err)
        self.assertLessEqual(int(named[3]), first + 20)
        self.assertGreaterEqual(int(named[1]), first - 1)
        self.assertRegex(lines[1], rf"rank {rank} on \S+ was slow from step {named[1]} to \d+: \d+ ms a step, \d.* s in all; .*{cause}")
        records = [r for r in map(json.loads, (run / "metrics.jsonl").read_text().splitlines()) if r["type"] == "slow"]
        self.assertEqual([(r["rank"], r["from_step"], r["over"]) for r in records], [(rank, int(named[1]), False)])
        self.assertRegex(records[0]["cause"], early)
        self.assertGreater(records[0]["late_s"], 0.03)
        (slow,) = json.loads((run / "run.json").read_text())["legs"][-1]["slow"]
        self.assertEqual((slow["rank"], slow["from_step"]), (rank, int(named[1])))
        self.assertGreaterEqual(slow["lost_s"], records[0]["lost_s"])
        self.assertGreaterEqual(slow["to_step"], int(named[3]))

    def test_fifty_milliseconds_are_named(self):
        err, run = self.go("train.max_steps=60", delay="1:forward:3-60:0.05")
        self.check_named(err, run, 1, 3, "asleep")

    def test_what_it_waits_for_is_named(self):
        err, run = self.go("train.max_steps=60", ranks=3, delay="0:data:3-60:0.05")
        self.check_named(err, run, 0, 3, "longer for its data")
        err, run = self.go("train.max_steps=60", ranks=3, delay="0:record:3-60:0.05")
        self.check_named(err, run, 0, 3, "records, hooks or evaluations")

    def test_under_mpirun_too(self):
        err, run = self.go("train.max_steps=60", "--starter=mpirun", delay="1:backward:3-60:0.05")
        self.check_named(err, run, 1, 3, "asleep")

    def test_it_is_over_when_it_is_over(self):
        err, run = self.go("train.max_steps=6000", "log.progress_every=0.1", ranks=3, delay="2:data:20-60:0.05")
        self.assertRegex(err, r"rank 2 on \S+ is slow: since step [23]\d")
        self.assertRegex(err, r"rank 2 on \S+ is slow no more after step [56]\d")
        records = [r for r in map(json.loads, (run / "metrics.jsonl").read_text().splitlines()) if r["type"] == "slow"]
        self.assertEqual([(r["rank"], r["over"]) for r in records], [(2, False), (2, True)])
        late = [bool(re.search(r"  rank 2 on \S+ \d+ ms late$", l)) for l in re.findall(r"^step .*$", err, re.M)]
        self.assertTrue(any(late), err)  # the progress line says it as well, and says it no more
        self.assertFalse(late[0] or late[-1], err)

    def test_without_a_plant_nobody_is_named(self):
        # more ranks than cores, uneven shares of the work, and somebody else at work on the same cores
        burners = [self.start("sh", "-c", "while :; do :; done") for _ in range(2)]
        for ranks, steps, args in ((2, 400, ()), (4, 200, ()), (3, 200, ("train.shards=4",)), (2, 60, ("model=mnist_cnn",))):
            err, run = self.go(f"train.max_steps={steps}", "train.batch=128", *args, ranks=ranks)
            self.assertNotIn("slow", err)
            self.assertNotIn('"slow"', (run / "metrics.jsonl").read_text() + (run / "run.json").read_text())
        self.assertTrue(all(b.poll() is None for b in burners))


harness.main(jobs=4)
