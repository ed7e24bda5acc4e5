#!/usr/bin/env python3
"""Job scripts in a real Slurm: it takes all of them, and a job that is cancelled or put back stops at a checkpoint."""
import json
import re
import time
import unittest

import cluster
from cluster import BIN, ROOT

LAUNCH, TRAIN = BIN / "ddp-launch", BIN / "ddp-train"


def wait_for(what, found, seconds=60):
    deadline = time.monotonic() + seconds
    while not (value := found()):
        if time.monotonic() > deadline:
            raise AssertionError(f"after {seconds} s still no {what}")
        time.sleep(0.05)
    return value


class Accepted(cluster.Case):
    """Every script that we keep or write."""

    hosts, slurm, slots = 4, True, dict(cpus=64, gpus=4)

    def test_only(self):
        for args in (["--nodes=2", "-n", "8", "--time=02:00:00", "--partition=main"], ["--nodes=4", "--gpus-per-node=4", "-n", "16"],
                     ["--time=1-00:00:00", "train.threads=2", "--batch-arg=--exclusive"]):
            r = self.bed.head([LAUNCH, "--batch", "slurm", *args, ROOT / "configs/cnn.cfg"], check=True)
            (self.dir / f"made-{len(list(self.dir.iterdir()))}.sbatch").write_text(r.stdout)
        scripts = [*sorted((ROOT / "slurm").glob("*.sbatch")), ROOT / "examples/scaling-session/session.sbatch", *self.dir.glob("*.sbatch")]
        self.assertGreater(len(scripts), 8)
        for script in scripts:
            with self.subTest(script.name):
                r = self.bed.head(["sbatch", "--test-only", script])
                self.assertEqual(r.returncode, 0, r.stderr)
                self.assertIn("to start at", r.stderr)


class Hosts(cluster.Case):
    slurm = True

    def test_a_generated_script_trains_on_three_hosts(self):
        words = [ROOT / "configs/cnn.cfg", "data.train_count=240", "data.test_count=60", "train.batch=24", "train.shards=6", "train.max_steps=6"]
        alone = self.bed.head([TRAIN, "-q", *words, f"run.dir={self.dir}/alone"], env=self.env, check=True).stdout
        text = self.bed.head([LAUNCH, "--batch", "slurm", "-n", 6, "--nodes", 3, *words, "run.dir=runs"], cwd=self.dir, check=True).stdout
        (self.dir / "job.sh").write_text(text)
        self.bed.head(["sbatch", "--wait", "job.sh"], env=self.env, cwd=self.dir, timeout=300)
        log = next(self.dir.glob("runs/*.log")).read_text()
        weights = re.compile("^weights: .*$", re.M)
        self.assertEqual(weights.findall(log), weights.findall(alone), log)
        run = next(self.dir.glob("runs/*/run.json"))
        self.assertEqual(len(json.loads(run.read_text())["legs"][0]["hosts"]), 3)
        self.assertEqual((run.parent / "job.sh").read_text(), text)

    def test_the_scaling_session_is_measured_on_the_hosts_of_a_job(self):
        """By the script of examples/scaling-session, as its page says."""
        script, tiny = ROOT / "examples/scaling-session/session.sbatch", ["--batch", 24, "--steps", 5, "--repeat", 1, "model=mlp"]
        page = (script.parent / "README.md").read_text()
        self.assertIn("sbatch --nodes=2 --ntasks-per-node=2 examples/scaling-session/session.sbatch -n 1,2,3,4", page)
        self.bed.head(["sbatch", "--wait", "--nodes=2", "--ntasks-per-node=2", script, "-n", "1,4", "--weak", *tiny],
                      env={**self.env, "DDP_BIN": str(BIN)}, cwd=self.dir, timeout=300)
        log = next(self.dir.glob("scaling-session-*.log")).read_text()
        self.assertTrue((self.dir / "first.csv").exists(), log)
        rows = [line.split(",") for line in (self.dir / "first.csv").read_text().splitlines()]
        self.assertEqual([r[:3] for r in rows[1:]], [["1", "1", "24"], ["2", "2", "24"]], log)
        self.assertIn("<svg", (self.dir / "first.svg").read_text())
        self.assertIn("why it is not N times", (self.dir / "first.md").read_text())


class Jobs(cluster.Case):
    hosts, slurm = 1, True

    def submit(self, *args):
        text = self.bed.head([LAUNCH, "--batch", "slurm", "-n", "2", ROOT / "configs/cnn.cfg", "data.train_count=4000", "data.test_count=100",
                              "train.batch=32", "train.shards=2", "train.epochs=40", "run.dir=runs", *args], cwd=self.dir, check=True).stdout
        (self.dir / "job.sh").write_text(text)
        return self.bed.head(["sbatch", "--parsable", "job.sh"], cwd=self.dir, env=self.env, check=True).stdout.strip()

    def run_after_steps(self):
        run = wait_for("run", lambda: next(iter(self.dir.glob("runs/*/metrics.jsonl")), None)).parent
        wait_for("steps", lambda: (run / "metrics.jsonl").read_bytes().count(b"\n") > 2)
        return run

    def status(self, run):
        return json.loads((run / "run.json").read_text())["status"]

    def test_cancelled(self):
        job = self.submit()
        run = self.run_after_steps()
        self.bed.head(["scancel", job], check=True)
        wait_for("end of the job", lambda: not self.bed.head(["squeue", "-h", "-j", job]).stdout.strip())
        self.assertEqual(self.status(run), "stopped", (self.dir / f"runs/cnn-{job}.log").read_text())
        self.assertTrue(list(run.glob("checkpoints/step-*/state.json")))
        self.assertEqual((run / "job.sh").read_text(), (self.dir / "job.sh").read_text())

    def test_put_back(self):
        job = self.submit()
        run = self.run_after_steps()
        self.bed.head(["scontrol", "requeue", job], check=True)
        wait_for("stop", lambda: self.status(run) == "stopped")
        # Slurm holds it back for two minutes; what it does then is what the next job does now
        self.assertRegex(wait_for("place in the queue", lambda: self.bed.head(["squeue", "-h", "-o", "%T", "-j", job]).stdout.strip()), "PENDING|COMPLETING")
        self.bed.head(["scancel", job], check=True)
        wait_for("free host", lambda: not self.bed.head(["squeue", "-h"]).stdout.strip())
        job = self.submit("train.max_steps=400")
        wait_for("end", lambda: not self.bed.head(["squeue", "-h"]).stdout.strip(), 120)
        legs = json.loads((run / "run.json").read_text())["legs"]
        self.assertEqual([leg["status"] for leg in legs], ["stopped", "done"])
        log = (self.dir / f"runs/cnn-{job}.log").read_text()
        self.assertRegex(log, re.compile("^weights: [0-9a-f]{64}$", re.M))


if __name__ == "__main__":
    cluster.main(slurm=True)
