#!/usr/bin/env python3
"""More hosts than launch.fanout: the head talks to some, and through them to the others. Four hosts, two of them behind the first two
(n2 behind n0, n3 behind n1): the same weights, few connections, and each end of a host, an agent or a rank is told as it is."""
import os
import re
import signal

import cluster
from harness import LAUNCH, ROOT, wait_for

WORDS = ["model=linear", "train.shards=4", "train.batch=32", "data.train_count=640", "data.test_count=64", "log.progress=false", "launch.fanout=2"]


class Spread(cluster.Endless):
    hosts = 4

    def go(self, *words):
        return self.bed.start([LAUNCH, "-n", 4, "-q", "-H", "n[0-3]", self.config, f"run.dir={self.runs}", "launch.fanout=2", *words],
                              env=self.env, cwd=self.dir)

    def connections(self):
        """Those of the head's ddp-launch."""
        return [line for line in self.bed.head(["ss", "-Htnp", "state", "established"]).stdout.splitlines() if '"ddp-launch"' in line]

    def agents_of(self, host):
        """Connections that an agent has: to the head or another agent, and of those that are behind it."""
        return [line for line in self.bed.on(host, ["ss", "-Htnp", "state", "established"]).stdout.splitlines() if '"ddp-launch"' in line]

    def test_trains_through_two(self):
        p = self.go()
        self.steps(5)
        wait_for(lambda: len(self.connections()) == 2, 20, f"two connections: {self.connections()}")
        self.assertEqual([len(self.agents_of(i)) for i in range(4)], [2, 2, 1, 1])
        os.kill(self.find(None, r"ddp-launch -n 4 "), signal.SIGTERM)
        self.end(p, code=75)

    def test_the_same_weights(self):
        command = [LAUNCH, "-q", ROOT / "configs/cnn.cfg", *WORDS, "train.epochs=2", f"run.dir={self.runs}"]
        one = self.bed.head([*command, "-n", 1], env=self.env, cwd=self.dir, check=True).stdout
        for fanout in (1, 2, 3):
            four = self.bed.head([*command, "-n", 4, "-H", "n[0-3]", f"launch.fanout={fanout}"], env=self.env, cwd=self.dir, check=True).stdout
            self.assertEqual(re.findall("^weights: .*$", four, re.M), re.findall("^weights: .*$", one, re.M))
        self.assert_nothing_left([None, *self.bed.hosts])

    def test_a_rank_dies_behind(self):
        p = self.go()
        self.steps(5)
        os.kill(self.find(3, r"^\S*/ddp-train "), signal.SIGSEGV)
        self.end(p, r"rank 3 on n3 .*was killed by signal 11")

    def test_the_agent_in_the_middle_is_stopped(self):
        """Nothing is known of the host behind it, and nothing is said."""
        p = self.go("launch.stuck_after=6")
        self.steps(5)
        os.kill(self.find(1, "ddp-launch --agent"), signal.SIGSTOP)
        err = self.end(p, r"host n1 does not answer: its agent has said nothing for \d s", r"host n1 is lost: its agent has said nothing for \d s")
        self.assertNotIn("host n3", err)

    def test_goes_on_without_the_one_in_the_middle(self):
        """n3 is lost to the head with n1, and takes part again."""
        long = ["train.epochs=60", "checkpoint.every_steps=50", "eval.every_epochs=60", "log.every_steps=1"]
        one = self.bed.head([LAUNCH, "-n", 1, "-q", ROOT / "configs/cnn.cfg", *WORDS, *long, f"run.dir={self.runs}"],
                            env=self.env, cwd=self.dir, check=True).stdout
        weights = re.search("^weights: .*$", one, re.M)[0]
        self.check_goes_on_without_a_host([LAUNCH, "-n", 4, "-q", "--restarts", 1, "-H", "n0:1,n1:1,n2:1,n3:1", ROOT / "configs/cnn.cfg", *WORDS, *long],
                                          weights, self.env)


if __name__ == "__main__":
    cluster.main()
