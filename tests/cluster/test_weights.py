#!/usr/bin/env python3
"""Training over several hosts: the weights are those of one process, whatever is trained and however ranks lie on the hosts."""
import json
import pathlib

import cluster
import test_golden
from harness import LAUNCH, ROOT, TRAIN

# what is trained: golden hashes, and the ranks of each host
GOLDEN = {
    "mnist_cnn": [(2, 2, 2), (3, 3), (1, 1, 1, 1), (3, 2, 1)],
    "fashion_cnn": [(1, 1, 1)],
    "adamw": [(3, 3)],
    "lamb": [(2, 2, 2)],
    "clipping": [(3, 2, 1)],
    "synchronised batch norm": [(2, 2, 2)],
}
SMALL = ["data.train_count=320", "data.test_count=32", "train.batch=32", "train.shards=6", "optim=adamw", "optim.clip_norm=0.5",
         "checkpoint.every_steps=5", "checkpoint.keep=100"]


class Weights(cluster.Case):
    hosts = 4

    def run_on(self, *command, words=()):
        r = self.bed.head([*command, ROOT / "configs/cnn.cfg", "device=cpu", f"run.dir={self.dir}/runs", "log.progress=false", *words],
                          env=self.env, cwd=self.dir, timeout=240)
        self.assertEqual(r.returncode, 0, f"{command}\nstdout: {r.stdout[-2000:]}\nstderr: {r.stderr[-4000:]}")
        lines = r.stdout.splitlines()
        return (next(line[9:] for line in lines if line.startswith("weights: ")),
                next(line[5:] for line in lines if line.startswith("run: ")))

    def launcher(self, ranks):
        hosts = ",".join(f"n{i}:{n}" for i, n in enumerate(ranks) if n)
        return [LAUNCH, "-q", "-n", str(sum(ranks)), "-H", hosts]

    def test_golden_weights(self):
        golden = json.loads(test_golden.GOLDEN.read_text())["cpu"]
        for name, shapes in GOLDEN.items():
            for ranks in shapes:
                weights, _ = self.run_on(*self.launcher(ranks), words=[*test_golden.COMMON, *test_golden.CPU[name][1]])
                self.assertEqual(weights, golden[name], f"{name} on {ranks}")

    def test_own_mpirun_and_ranks_in_turn(self):
        golden = json.loads(test_golden.GOLDEN.read_text())["cpu"]
        words = [*test_golden.COMMON, *test_golden.CPU["mnist_cnn"][1]]
        mpirun = ["mpirun", "--host", "n0:2,n1:2,n2:2", "-np", "5", "-x", "DDP_CONFIGS_DIR"]
        for more in ([], ["--map-by", "node"]):
            self.assertEqual(self.run_on(*mpirun, *more, TRAIN, "--quiet", words=words)[0], golden["mnist_cnn"], more)

    def test_resumed_on_one_host_and_back(self):
        whole, _ = self.run_on(LAUNCH, "-q", "-n", "1", words=[*SMALL, "train.epochs=2"])
        _, run = self.run_on(*self.launcher((3, 2, 1)), words=[*SMALL, "train.epochs=2", "train.max_steps=5"])
        self.run_on(LAUNCH, "-q", "-n", "2", "--resume", run, words=[*SMALL, "train.epochs=2", "train.max_steps=10"])
        weights, again = self.run_on(*self.launcher((1, 2, 1)), "--resume", run, words=[*SMALL, "train.epochs=2"])
        self.assertEqual((weights, again), (whole, run))
        legs = json.loads((pathlib.Path(run) / "run.json").read_text())["legs"]
        self.assertEqual([len(leg["hosts"]) for leg in legs], [3, 1, 3])


cluster.main()
