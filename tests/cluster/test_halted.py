#!/usr/bin/env python3
"""Somebody stops a process of a job on several hosts: a rank inside the start of MPI, the agent of a host, the daemon that MPI's launcher
has there, that launcher itself. The job ends by the limit for hangs, says what it was, and leaves nothing on any host."""
import os
import pathlib
import signal
import time

import cluster
from harness import LAUNCH, TRAIN, wait_for


class Halted(cluster.Endless):
    hosts = 2

    def go(self, *args, stuck_after=6):
        self.tag = f"halted-{os.getpid()}-{time.monotonic_ns()}"
        return self.bed.start([LAUNCH, "-n", 2, "-q", "-H", "n0,n1", *args, self.config, f"run.dir={self.runs}", f"launch.stuck_after={stuck_after}"],
                              env={**self.env, "SYSTEM_TEST_TAG": self.tag}, cwd=self.dir)

    def test_a_rank_where_mpi_starts(self):
        """Rank 1 waits there for rank 0, which is still to come, when it is stopped."""
        program = self.dir / "gated"
        program.write_text(f'#!/bin/sh\n[ "$OMPI_COMM_WORLD_RANK" != 0 ] || kill -STOP $$\nexec {TRAIN} "$@"\n')
        program.chmod(0o755)
        p = self.go("--program", program, stuck_after=15)
        first, second = self.find(0, r"^/bin/sh \S*/gated "), self.find(1, r"^\S*/ddp-train ")
        wait_for(lambda: "libddp_mpi" in pathlib.Path(f"/proc/{second}/maps").read_text(), 60, "its MPI")
        time.sleep(0.5)
        os.kill(second, signal.SIGSTOP)
        os.kill(first, signal.SIGCONT)
        self.end(p, r"rank 1 on n1 has been starting for \d+ s, and rank 0 waits for it where all ranks meet.*; process \d+ is stopped.*is ended for it")

    def test_an_agent(self):
        p = self.go()
        self.steps(5)
        os.kill(self.find(1, "ddp-launch --agent"), signal.SIGSTOP)
        self.end(p, r"host n1 does not answer: its agent has said nothing for \d s; is it stopped\? After 6 s of it the job is ended",
                 r"host n1 is lost: its agent has said nothing for \d s; is it stopped\?")

    def test_a_daemon_of_mpi(self):
        """Ranks do without it, up to the end of MPI; by then all is done."""
        p = self.go("train.max_steps=1500")
        self.steps(5)
        os.kill(self.find(1, r"^orted .*ddp-job-"), signal.SIGSTOP)
        self.end(p, r"a process of this job on n1 \(\d+, orted\) is stopped: 'kill -CONT \d+' lets it go on", code=0)

    def test_mpirun_before_it_has_started_ranks(self):
        p = self.go()
        os.kill(self.find(None, r"^mpirun .*ddp-job-"), signal.SIGSTOP)
        self.end(p, r"a process of this job on head \(\d+, mpirun\) is stopped: 'kill -CONT \d+' lets it go on",
                 r"rank \d on n\d has not reported to ddp-launch for \d+ s.*The job is ended for it")


if __name__ == "__main__":
    cluster.main()
