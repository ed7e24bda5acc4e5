#!/usr/bin/env python3
"""Jobs of Slurm that go back into the queue, to their very end: they go on by themselves, to the weights of a run that nothing
has disturbed. Slurm holds such jobs back for two minutes: slow."""
import json
import re

import cluster
from harness import LAUNCH, ROOT, TRAIN, wait_for

# an endless job for one core: what it does until the signal comes depends on the machine, and where it ends does not
WORDS = ["model=mlp", "data.train_count=640", "data.test_count=64", "train.batch=64", "train.shards=2", "train.epochs=100000",
         "eval.every_epochs=100000", "checkpoint.every_epochs=0", "log.every_steps=1", "log.progress=false"]


class Requeue(cluster.Case):
    hosts, slurm = 2, True

    def submit(self, *args):
        text = self.bed.head([LAUNCH, "--batch", "slurm", "-n", "2", "--nodes", "2", *args, ROOT / "configs/cnn.cfg", *WORDS, self.steps(), "run.dir=runs"],
                             cwd=self.dir, env=self.env, check=True).stdout
        (self.dir / "job.sh").write_text(text)
        (self.dir / "runs").mkdir()
        return self.bed.head(["sbatch", "--parsable", "job.sh"], cwd=self.dir, env=self.env, check=True).stdout.strip()

    def steps(self):
        return f"train.max_steps={self.max_steps}"

    def state(self, job):
        return self.bed.head(["squeue", "-h", "-o", "%T", "-j", job]).stdout.strip()

    def record(self):
        for path in self.dir.glob("runs/*/run.json"):
            return json.loads(path.read_text())
        return None

    def log(self):
        return "".join(p.read_text() for p in self.dir.glob("runs/*.log"))

    def metrics(self):
        return sum(p.read_bytes().count(b"\n") for p in self.dir.glob("runs/*/metrics.jsonl"))

    def check_end(self, job):
        wait_for(lambda: (self.record() or {}).get("status") == "stopped", 150, f"a stop: {self.log()}")
        self.assertIn(wait_for(lambda: self.state(job), 30, "a place in the queue"), ("PENDING", "COMPLETING", "CONFIGURING", "RUNNING"))
        wait_for(lambda: not self.state(job) or self.record()["status"] == "done", 400, f"the end of the job: {self.log()}")
        wait_for(lambda: not self.state(job), 60, "the job to leave the queue")
        self.assertEqual([leg["status"] for leg in self.record()["legs"]], ["stopped", "done"], self.log())
        alone = self.bed.head([TRAIN, "-q", ROOT / "configs/cnn.cfg", *WORDS, self.steps(), f"run.dir={self.dir}/alone"], env=self.env, cwd=self.dir,
                              check=True, timeout=300)
        self.assertEqual(re.findall("^weights: .*$", self.log(), re.M)[-1:], re.findall("^weights: .*$", alone.stdout, re.M))
        self.assert_nothing_left(range(2))

    def test_requeue(self):
        self.max_steps = 3000
        job = self.submit()
        wait_for(lambda: self.metrics() > 20, 60, f"steps: {self.log()}")
        self.bed.head(["scontrol", "requeue", job], check=True)
        self.check_end(job)


if __name__ == "__main__":
    cluster.main(slurm=True)
