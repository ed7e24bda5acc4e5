#!/usr/bin/env python3
"""Training on several hosts: the weights of any ranks on any hosts, by any starter, are those of one process alone, also
resumed from many hosts on one and back; a host that loses power loses nothing that was saved."""
import json
import re
import time
import unittest

import cluster
from harness import LAUNCH, ROOT, TRAIN

SMALL = ["data.train_count=240", "data.test_count=60", "train.batch=24", "train.shards=6", "train.max_steps=6", "log.progress=false"]
MODELS = {
    "mnist_cnn": [],
    "fashion_cnn": ["model=fashion_cnn"],
    "adamw": ["model=mlp", "optim=adamw"],
    "lamb": ["model=mlp", "optim=lamb", "optim.clip_norm=0.5"],
    "sync": ["model=fashion_cnn", "+model.layers.layer1.1.sync=true", "optim.clip_norm=1.0", "train.accumulate=2"],
}
SHAPES = {"2+2+2": "n0:2,n1:2,n2:2", "3+3": "n0:3,n1:3", "1+1+1+1": "n0:1,n1:1,n2:1,n3:1", "3+2+1": "n0:3,n1:2,n2:1"}


class Case(cluster.Case):
    hosts, slurm, slots = 4, True, dict(cpus=3)

    def run_one(self, command, what):
        r = self.bed.head(command, env=self.env, cwd=self.dir, timeout=300)
        self.assertEqual(r.returncode, 0, f"{what}\nstdout: {r.stdout[-1500:]}\nstderr: {r.stderr[-4000:]}")
        found = re.findall("^weights: ([0-9a-f]{64})$", r.stdout, re.M)
        self.assertEqual(len(found), 1, f"{what}: {r.stdout}")
        return found[0], re.findall("^run: (.*)$", r.stdout, re.M)[-1]

    def launch(self, *args, before=()):
        return self.run_one([*before, LAUNCH, "-q", ROOT / "configs/cnn.cfg", *SMALL, f"run.dir={self.dir}/runs", *args], args)

    def alone(self, keys, *more):
        return self.run_one([TRAIN, "-q", ROOT / "configs/cnn.cfg", *SMALL, *keys, *more, f"run.dir={self.dir}/alone"], keys)[0]


class Bits(Case):
    def test_models(self):
        for name, keys in MODELS.items():
            want = self.alone(keys)
            for shape in ("3+2+1", "2+2+2") if name != "mnist_cnn" else SHAPES:
                with self.subTest(name, shape=shape):
                    hosts = SHAPES[shape]
                    n = sum(int(x[-1]) for x in hosts.split(","))
                    self.assertEqual(self.launch("-n", n, "-H", hosts, *keys)[0], want)

    def test_srun(self):
        want = self.alone([])
        self.assertEqual(self.launch(before=["salloc", "-N3", "-n6", "--quiet"])[0], want)

    def test_sbatch_of_a_generated_script(self):
        want = self.alone([])
        text = self.bed.head([LAUNCH, "--batch", "slurm", "-n", 6, "--nodes", 3, ROOT / "configs/cnn.cfg", *SMALL, "run.dir=runs"], env=self.env,
                             cwd=self.dir, check=True).stdout
        (self.dir / "job.sh").write_text(text)
        (self.dir / "runs").mkdir()
        self.bed.head(["sbatch", "--wait", "job.sh"], env=self.env, cwd=self.dir, timeout=300)
        log = next(self.dir.glob("runs/*.log")).read_text()
        self.assertEqual(re.findall("^weights: (.*)$", log, re.M), [want], log)

    def test_by_hand(self):
        want = self.alone([])
        command = [TRAIN, ROOT / "configs/cnn.cfg", *SMALL, f"run.dir={self.dir}/hand"]
        network = ["--mca", "btl_tcp_if_include", "10.77.0.0/24", "--mca", "oob_tcp_if_include", "10.77.0.0/24"]
        self.assertEqual(self.run_one(["srun", "--mpi=pmix", "-N3", "-n6", *command], "srun")[0], want)
        # the second: daemons of mpirun clear its folders on their hosts for some time after it has ended
        self.assertEqual(self.run_one(["mpirun", "--host", "n0:2,n1:2,n2:2", "--bind-to", "none", *network, *command], "mpirun")[0], want)

    def test_resumed_elsewhere(self):
        for keys in ([], ["model=mlp", "optim=adamw"]):
            with self.subTest(keys):
                want = self.alone(keys)
                run = self.launch("-n", 6, "-H", SHAPES["2+2+2"], *keys, "train.max_steps=2")[1]
                self.launch("-n", 2, "--starter", "local", "--resume", run, *keys, "train.max_steps=4")
                weights, again = self.launch("-n", 5, "-H", "n0:3,n1:2", "--resume", run, *keys)
                self.assertEqual((weights, again), (want, run))
                self.assertEqual(len(json.loads((self.dir / "runs" / run.split("/")[-1] / "run.json").read_text())["legs"]), 3)


class Faults(Case):
    def test_power_off_and_go_on(self):
        long = ["train.max_steps=200", "checkpoint.every_steps=10", "train.epochs=20"]
        want = self.alone(long)
        p = self.bed.start([LAUNCH, "-n", 6, "-H", SHAPES["2+2+2"], ROOT / "configs/cnn.cfg", *SMALL, *long, f"run.dir={self.dir}/runs"],
                           env=self.env, cwd=self.dir)
        deadline = time.monotonic() + 120
        while not list(self.dir.glob("runs/*/checkpoints/step-00000010/state.json")):
            self.assertIsNone(p.poll(), "ended early")
            self.assertLess(time.monotonic(), deadline, "no checkpoint")
            time.sleep(0.05)
        self.bed.power_off(1)
        try:
            _, err = p.communicate(timeout=60)
            self.assertEqual(p.returncode, 4, err)
            self.assertRegex(err, "host n1 is lost")
            run = next((self.dir / "runs").iterdir())
            record = json.loads((run / "run.json").read_text())
            self.assertEqual(record["status"], "failed")
            self.assertIn("n1", record["error"])
            self.assertEqual(self.launch("-n", 4, "-H", "n0:2,n2:2", "--resume", run, *long)[0], want)
        finally:
            self.bed.boot(1)


if __name__ == "__main__":
    cluster.main(slurm=True)
