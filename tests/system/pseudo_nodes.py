"""What tests of ranks on several nodes share: nodes made of this machine (DDP_COMM_NODE), started by mpirun."""
import json
import os
import pathlib
import shlex
import shutil
import signal

import harness
from harness import TRAIN, wait_for

CONFIG = """
model: {
    layers = (
        {type = "conv2d", name = "conv1", out = 8, kernel = 3, stride = 2, padding = 1},
        {type = "batch_norm", name = "bn1", sync = true},
        {type = "relu", name = "relu1"},
        {type = "flatten", name = "flat"},
        {type = "dropout", name = "drop", p = 0.25},
        {type = "linear", name = "fc", out = 10},
        {type = "softmax_cross_entropy", name = "loss"}
    );
};
data: { base = "digits"; train_count = 200; test_count = 50; crop_padding = 2; flip = true; };
optim: { base = "adamw"; lr = 0.003; clip_norm = 0.5; ema = 0.75; schedule = "cosine"; warmup_steps = 5; };
train: { batch = 16; accumulate = 2; shards = 6; epochs = 3; threads = 1; };
checkpoint: { every_steps = 3; keep = 100; };
log: { every_steps = 1; };
reduce: { bucket_mb = 0.05; };
"""
STEPS = 21


def state(run, step):
    """The files that hold what a run goes on with."""
    folder = pathlib.Path(run) / "checkpoints" / f"step-{step:08d}"
    return {name: (folder / name).read_bytes() for name in ("model.safetensors", "optimizer.safetensors", "model_ema.safetensors")}


class Case(harness.Case):
    env = {}  # of all ranks

    def setUp(self):
        super().setUp()
        self.config = self.dir / "nodes.cfg"
        self.config.write_text(CONFIG)
        if not shutil.which("mpirun"):
            self.skipTest("no mpirun")

    def node_env(self, i, nodes):
        """NAME=value of the ranks of node i of so many."""
        return [f"DDP_COMM_NODE=node{i}"]

    def on_each(self, before, *args, quiet=True):
        """mpirun with a rank for each line of shell that is to run before it. One program for all: several (`mpirun -n 1 true : -n 1
        true`) crash the mpirun of Debian 13 (Open MPI 5.0.7)."""
        script = "case $OMPI_COMM_WORLD_RANK in\n" + "".join(f"{i}) {line};;\n" for i, line in enumerate(before)) + 'esac; exec "$@"'
        return ["mpirun", "--oversubscribe", "--bind-to", "none", "--mca", "mpi_yield_when_idle", "1", "-n", len(before),
                "sh", "-c", script, "sh", TRAIN, *(["--quiet"] if quiet else []), *args]

    def to_node(self, i, nodes):
        return shlex.join(["export", *self.node_env(i, nodes)])

    def command(self, nodes, *args, folders=None, **kw):
        """mpirun with len(nodes) nodes of so many ranks; folders: where the ranks of each node run."""
        before = [self.to_node(i, len(nodes)) + (f"; cd {folders[i]}" if folders else "") for i, ranks in enumerate(nodes) for _ in range(ranks)]
        return self.on_each(before, *args, **kw)

    def on(self, nodes, *args, code=0, **kw):
        args = args if any("run.dir=" in str(a) for a in args) else (*args, f"run.dir={self.dir}/runs")
        r = self.run_program(*self.command(nodes, *args, **kw), timeout=240, env=self.env)
        self.assertEqual(r.code, code, f"{nodes} {args}\nstdout: {r.out[-2000:]}\nstderr: {r.err[-4000:]}")
        return r

    def alone(self, *args, **kw):
        return self.launch(*args, ranks=1, config=self.config, **kw)

    def check_stopped_by_one(self, nodes, rank_of_last):
        """A signal to one rank of the last node (as they were started) ends all after one step."""
        p = self.start(*self.command(nodes, self.config, "train.epochs=2000", f"run.dir={self.dir}/runs"), env=self.env)

        def metrics():
            return [m for m in (self.dir / "runs").glob("*/metrics.jsonl") if m.read_text().count("\n") > 3]

        wait_for(metrics, 60, "steps")
        pids = [int(c) for c in pathlib.Path(f"/proc/{p.pid}/task/{p.pid}/children").read_text().split()]
        node = f"DDP_COMM_NODE=node{len(nodes) - 1}"
        last = [pid for pid in pids if node in pathlib.Path(f"/proc/{pid}/environ").read_text().split("\0")]
        self.assertEqual(len(last), nodes[-1])
        os.kill(last[rank_of_last], signal.SIGUSR1)
        _, err = p.communicate(timeout=60)
        run = metrics()[0].parent
        record = json.loads((run / "run.json").read_text())
        self.assertEqual(record["status"], "stopped", err)
        self.assertTrue((run / f"checkpoints/step-{record['legs'][0]['steps']:08d}").is_dir())

    def check_folders_of_their_own(self):
        """run.dir relative, and each node in a folder of its own: node 0 has the run, and each the logs of its ranks."""
        folders = [self.dir / "a", self.dir / "b"]
        for f in folders:
            f.mkdir()
        data = f"data.root={self.dir}/data"
        whole = self.alone("train.max_steps=7", data)
        r = self.on((2, 2), self.config, "train.max_steps=7", "run.dir=runs", data, folders=folders)
        self.assertEqual(r.weights, whole.weights)
        run = next((folders[0] / "runs").glob("*/run.json")).parent
        self.assertEqual(sorted(str(f.relative_to(folders[1])) for f in folders[1].rglob("*") if f.is_file()),
                         [f"runs/{run.name}/log/rank-{i}.log" for i in (2, 3)])
        self.assertTrue((run / "log/rank-1.log").exists())
        again = self.on((1, 2), self.config, "--resume", f"runs/{run.name}", "run.dir=runs", data, folders=folders)
        self.assertEqual(again.weights, self.alone("--resume", whole.run_dir, data).weights)

    def check_resumed_on_one_and_back(self, back):
        """From three nodes on one, and back on several: the states of a run that nothing stopped, and no other evaluations."""
        whole = self.alone()
        run = self.on((3, 2, 1), self.config, "train.max_steps=6").run_dir
        self.assertEqual(state(run, 6), state(whole.run_dir, 6))
        self.alone("--resume", run, "train.max_steps=12")
        self.assertEqual(state(run, 12), state(whole.run_dir, 12))
        end = self.on(back, self.config, "--resume", run)
        self.assertEqual(end.run_dir, run)
        self.assertEqual(end.weights, whole.weights)
        self.assertEqual(state(run, STEPS), state(whole.run_dir, STEPS))
        evals = [[(r["step"], r["loss"], r["accuracy"]) for r in map(json.loads, (pathlib.Path(d) / "metrics.jsonl").read_text().splitlines())
                  if r["type"] == "eval"] for d in (run, whole.run_dir)]
        self.assertTrue(evals[1])
        self.assertLessEqual(set(evals[1]), set(evals[0]))
