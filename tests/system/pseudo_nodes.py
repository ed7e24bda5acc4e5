"""What tests of ranks on several nodes share: nodes made of this machine (DDP_COMM_NODE), started by mpirun."""
import pathlib
import shlex
import shutil

import harness
from harness import TRAIN

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

    def on(self, nodes, *args, code=0, env=None, **kw):
        args = args if any("run.dir=" in str(a) for a in args) else (*args, f"run.dir={self.dir}/runs")
        r = self.run_program(*self.command(nodes, *args, **kw), timeout=240, env=env)
        self.assertEqual(r.code, code, f"{nodes} {args}\nstdout: {r.out[-2000:]}\nstderr: {r.err[-4000:]}")
        return r

    def alone(self, *args, **kw):
        return self.launch(*args, ranks=1, config=self.config, **kw)
