"""Processes of a job that somebody has stopped, wherever in its life they are: the job ends by the limit for hangs, and says who it was.
Once all ranks are done, what does not come to its end is no failure."""
import os
import pathlib
import re
import shutil
import signal
import time
import unittest

import harness
from harness import ENDLESS, LAUNCH, TRAIN, tagged, wait_for

MPIRUN = shutil.which("mpirun")
STOPPED = r"process \d+ is stopped"


def variable(pid, name):
    try:
        words = pathlib.Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return None
    return next((w.split(b"=", 1)[1].decode() for w in words if w.startswith(name.encode() + b"=")), None)


class Halted(harness.Case):
    def setUp(self):
        super().setUp()
        self.config = self.dir / "halted.cfg"
        self.config.write_text(ENDLESS)
        self.tag = f"halted-{os.getpid()}-{self.id()}"
        self.addCleanup(lambda: [os.kill(p, signal.SIGKILL) for p in tagged(self.tag)])

    def go(self, *args, starter="local", ranks=2, delay=None, gate=None, stuck_after=6):
        """gate: the rank that stops itself before it is a program of ours."""
        program = self.dir / "gated"
        program.write_text(f'#!/bin/sh\n[ "${{DDP_RANK:-$OMPI_COMM_WORLD_RANK}}" != {gate} ] || kill -STOP $$\nexec {TRAIN} "$@"\n')
        program.chmod(0o755)
        if starter == "mpirun" and not MPIRUN:
            raise unittest.SkipTest("no mpirun")
        return self.start(LAUNCH, "-n", ranks, "--quiet", "--starter", starter, "--program", program, self.config, f"run.dir={self.dir}/runs",
                          f"launch.stuck_after={stuck_after}", *args, env={"SYSTEM_TEST_TAG": self.tag} | ({"DDP_TEST_DELAY": delay} if delay else {}))

    def rank(self, number):
        """The process of a rank, once there is one, gated or not."""
        def find():
            for pid, command in tagged(self.tag).items():
                if re.match(r"(/bin/sh )?\S*/(ddp-train|gated) ", command) and number == (
                        variable(pid, "DDP_RANK") or variable(pid, "OMPI_COMM_WORLD_RANK")):
                    return pid
            return None
        number = str(number)
        return wait_for(find, 60, f"rank {number}")

    def end(self, p, *texts, code=4):
        """It ends so, says each of these in a line, and leaves nothing behind."""
        out, err = p.communicate(timeout=120)
        self.assertEqual(p.returncode, code, err)
        self.assertEqual("\nweights: " in out, code == 0, out)
        for text in texts:
            self.assertRegex(err, rf"(?m)^ddp-launch: {text}")
        wait_for(lambda: not tagged(self.tag), 20, f"the end of {tagged(self.tag)}")

    def stop(self, pid, stopped=True):
        os.kill(pid, signal.SIGSTOP if stopped else signal.SIGCONT)

    def steps(self, n):
        wait_for(lambda: sum(m.read_bytes().count(b'"type":"step"') for m in (self.dir / "runs").glob("*/metrics.jsonl")) >= n, 60, f"{n} steps")

    # ---- before there are steps ----

    def check_before_it_reports(self, starter):
        self.end(self.go(starter=starter, gate=1), r"a process of this job on \S+ \(\d+, \S+\) is stopped: 'kill -CONT \d+' lets it go on",
                 r"rank 1 on \S+ has not reported to ddp-launch for \d+ s.*The job is ended for it")

    def test_before_it_reports(self):
        self.check_before_it_reports("local")

    def test_before_it_reports_under_mpirun(self):
        self.check_before_it_reports("mpirun")

    def check_where_ranks_meet(self, starter):
        """Rank 1 waits for rank 0 when it is stopped: inside MPI_Init under mpirun."""
        p = self.go(starter=starter, gate=0, stuck_after=12)
        first, second = self.rank(0), self.rank(1)
        wait_for(lambda: "ddp-train" in tagged(self.tag).get(second, ""), 60, "rank 1")
        if starter == "mpirun":
            wait_for(lambda: "libddp_mpi" in pathlib.Path(f"/proc/{second}/maps").read_text(), 60, "its MPI")
        time.sleep(0.5)
        self.stop(second)
        self.stop(first, False)
        self.end(p, rf"rank 1 on \S+ has been starting for \d+ s, and rank 0 waits for it where all ranks meet.*{STOPPED}.*The job is ended for it")

    def test_where_ranks_meet(self):
        self.check_where_ranks_meet("local")

    def test_where_ranks_meet_under_mpirun(self):
        self.check_where_ranks_meet("mpirun")

    def test_before_its_first_step(self):
        p = self.go(delay="1:setup:0-0:1000000")
        rank = self.rank(1)
        time.sleep(1)
        self.stop(rank)
        self.end(p, rf"rank 1 on \S+ has been (starting|opening its data sets|setting up) for \d+ s, and rank 0 waits for it.*{STOPPED}.*The job is ended")

    # ---- and behind them ----

    def test_behind_its_goodbye(self):
        """Rank 1 has nothing more to say and waits for rank 0 in the end of MPI."""
        p = self.go("train.max_steps=20", starter="mpirun", delay="0:leave:20-20:6")
        wait_for(lambda: any('"done"' in r.read_text() for r in (self.dir / "runs").glob("*/run.json")), 60, "the end of training")
        time.sleep(1)
        self.stop(self.rank(1))
        self.end(p, rf"rank 1 on \S+ has been leaving the job for \d+ s, and rank 0 waits for it where all ranks meet.*{STOPPED}.*The job is ended")

    # ---- more than a rank ----

    def test_all_ranks(self):
        p = self.go(ranks=3)
        self.steps(5)
        for r in range(3):
            self.stop(self.rank(r))
        self.end(p, rf"rank \d on \S+ has been .* for \d+ s; {STOPPED}.*The job is ended for it")

    def test_mpirun(self):
        p = self.go("train.max_steps=300", starter="mpirun", delay="1:data:1-300:0.01")
        self.steps(5)
        mpirun = next(pid for pid, command in tagged(self.tag).items() if command.startswith("mpirun "))
        self.stop(mpirun)
        self.end(p, rf"a process of this job on \S+ \({mpirun}, mpirun\) is stopped: 'kill -CONT {mpirun}' lets it go on", code=0)

    def test_a_death_behind_its_goodbye(self):
        """The other one waits for it in the end of MPI."""
        p = self.go("train.max_steps=20", starter="mpirun", delay="0:leave:20-20:3")
        wait_for(lambda: any('"done"' in r.read_text() for r in (self.dir / "runs").glob("*/run.json")), 60, "the end of training")
        time.sleep(1)
        os.kill(self.rank(1), signal.SIGKILL)
        self.end(p, code=0)


harness.main(jobs=4)
