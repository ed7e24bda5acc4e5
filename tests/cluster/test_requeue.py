#!/usr/bin/env python3
"""Jobs of Slurm that are put back, run out of their time or are cancelled in the middle of a save, to their very end: they go on,
to the weights of a run that nothing has disturbed. Slurm holds jobs that go back into the queue for two minutes: slow."""
import json
import re
import time

import cluster
from harness import LAUNCH, ROOT, TRAIN, wait_for

# an endless job for one core: what it does until the signal comes depends on the machine, and where it ends does not
WORDS = ["model=mlp", "data.train_count=640", "data.test_count=64", "train.batch=64", "train.shards=2", "train.epochs=100000",
         "eval.every_epochs=100000", "checkpoint.every_epochs=0", "log.every_steps=1", "log.progress=false"]


class Requeue(cluster.Case):
    hosts, slurm = 2, True

    def submit(self, *args, edit=lambda text: text):
        text = self.bed.head([LAUNCH, "--batch", "slurm", "-n", "2", "--nodes", "2", *args, ROOT / "configs/cnn.cfg", *WORDS, self.steps(), "run.dir=runs"],
                             cwd=self.dir, env=self.env, check=True).stdout
        (self.dir / "job.sh").write_text(edit(text))
        (self.dir / "runs").mkdir()
        return self.queue()

    def queue(self):
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

    def check_goes_on(self, job):
        """It has a stop and a place in the queue, and ends by itself."""
        wait_for(lambda: (self.record() or {}).get("status") == "stopped", 150, f"a stop: {self.log()}")
        self.assertIn(wait_for(lambda: self.state(job), 30, "a place in the queue"), ("PENDING", "COMPLETING", "CONFIGURING", "RUNNING"))
        wait_for(lambda: not self.state(job) or self.record()["status"] == "done", 400, f"the end of the job: {self.log()}")
        wait_for(lambda: not self.state(job), 60, "the job to leave the queue")
        self.check_end(["stopped", "done"])

    def check_end(self, legs):
        self.assertEqual([leg["status"] for leg in self.record()["legs"]], legs, self.log())
        alone = self.bed.head([TRAIN, "-q", ROOT / "configs/cnn.cfg", *WORDS, self.steps(), f"run.dir={self.dir}/alone"], cwd=self.dir,
                              env={k: v for k, v in self.env.items() if k != "DDP_TEST_DELAY"}, check=True, timeout=300)
        self.assertEqual(re.findall("^weights: .*$", self.log(), re.M)[-1:], re.findall("^weights: .*$", alone.stdout, re.M))
        self.assert_nothing_left(range(2))

    def test_requeue(self):
        self.max_steps = 3000
        job = self.submit()
        wait_for(lambda: self.metrics() > 20, 60, f"steps: {self.log()}")
        self.bed.head(["scontrol", "requeue", job], check=True)
        self.check_goes_on(job)

    def test_time_limit(self):
        """Two minutes; the signal is asked for 45 s before their end, and Slurm sends it up to a minute early. Steps take their time, so
        that all of them take longer than that on any machine; what is left has no limit."""
        self.max_steps = 3000
        self.env["DDP_TEST_DELAY"] = "1:forward:0-1000000:0.03"
        job = self.submit("--time=5", edit=lambda text: re.sub("USR1@[0-9]+", "USR1@45", re.sub("(?m)^(#SBATCH --time)=.*$", r"\1=2", text)))
        wait_for(lambda: (self.record() or {}).get("status") == "stopped" and self.state(job) == "PENDING", 200, f"a place in the queue: {self.log()}")
        self.bed.head(["scontrol", "update", f"JobId={job}", "TimeLimit=UNLIMITED"], check=True)
        self.check_goes_on(job)

    def test_cancelled_in_a_save(self):
        """Whether the save ends before Slurm kills or not: the same script goes on from a whole checkpoint."""
        self.max_steps = 400
        self.env["DDP_TEST_DELAY"] = "0:save:40-1000000:3"
        job = self.submit("checkpoint.every_steps=20")
        saves = lambda: list(self.dir.glob("runs/*/checkpoints/step-*"))  # noqa: E731
        wait_for(saves, 90, f"a checkpoint: {self.log()}")
        wait_for(lambda: self.metrics() >= 40, 60, f"the next: {self.log()}")
        time.sleep(1)  # into the three seconds that rank 0 takes for it
        self.bed.head(["scancel", job], check=True)
        wait_for(lambda: not self.state(job), 60, "the job to leave the queue")
        del self.env["DDP_TEST_DELAY"]
        job = self.queue()
        wait_for(lambda: not self.state(job), 300, f"the end of the job: {self.log()}")
        self.assertIn(self.record()["legs"][0]["status"], ("stopped", "failed"))
        self.check_end([self.record()["legs"][0]["status"], "done"])


if __name__ == "__main__":
    cluster.main(slurm=True)
