#!/usr/bin/env python3
"""GPUs on several hosts: a rank for each, planned, started and checked by the launcher, with the weights of one rank alone. Hosts have emulated
GPUs; what NCCL would send goes through sockets in a folder that all hosts see."""
import json
import pathlib
import sys

import cluster
import test_golden
from harness import BIN, LAUNCH, ROOT, SKIP

PLUGIN = BIN.parent / "lib/libddp_cuda_emu.so"
LINEAR = ["device=cuda", "model=linear", "train.batch=32", "data.train_count=320", "data.test_count=40", "optim.lr=0.001", "train.threads=1"]


class Case(cluster.Case):
    def setUp(self):
        super().setUp()
        self.env.update(DDP_CUDA_PLUGIN=str(PLUGIN), DDP_EMU_QUIET="1", DDP_EMU_DEVICES="2", CUDA_VISIBLE_DEVICES="0,1", DDP_EMU_NCCL_DIR=str(self.dir))

    def launch(self, *args, config=ROOT / "configs/cnn.cfg", code=0):
        r = self.bed.head([LAUNCH, *args, config, f"run.dir={self.dir}/runs", "log.progress=false"], env=self.env, cwd=self.dir, timeout=240)
        self.assertEqual(r.returncode, code, f"{args}\nstdout: {r.stdout[-2000:]}\nstderr: {r.stderr[-4000:]}")
        return r

    def weights(self, *args):
        lines = self.launch("-q", *args).stdout.splitlines()
        return (next(line[9:] for line in lines if line.startswith("weights: ")), next(line[5:] for line in lines if line.startswith("run: ")))


class Gpus(Case):
    hosts = 3

    def test_a_rank_for_each_gpu(self):
        golden = json.loads(test_golden.GOLDEN.read_text())["emulated gpu"]
        words = [*test_golden.COMMON, *test_golden.GPU["mnist_cnn"][1], "device=cuda"]
        weights, run = self.weights("-H", "n0,n1,n2", *words)
        self.assertEqual(weights, golden["mnist_cnn"])
        record = json.loads((pathlib.Path(run) / "run.json").read_text())
        self.assertEqual((record["ranks"], record["device"], len(record["hosts"])), (6, "cuda", 3))
        self.assertEqual(self.weights("-H", "n0:2,n1:1", *words)[0], golden["mnist_cnn"])
        # what nobody asked for in words
        self.assertEqual(self.weights("-H", "n1,n2", *words[:-1])[0], golden["mnist_cnn"])

    def test_resumed_on_other_hosts(self):
        words = [*LINEAR, "optim=adamw", "optim.clip_norm=0.5", "checkpoint.every_steps=4", "checkpoint.keep=10"]
        whole, _ = self.weights("-n", "1", *words, "train.max_steps=8")
        _, run = self.weights("-H", "n0,n1,n2", *words, "train.max_steps=4")
        self.assertEqual(self.weights("-H", "n1,n2:1", *words, "--resume", run, "train.max_steps=8"), (whole, run))

    def test_a_host_is_lost(self):
        """In the middle of a step, where the others wait in NCCL: training ends on the GPUs that are left."""
        words = [*LINEAR, "train.epochs=40", "eval.every_epochs=40", "checkpoint.every_steps=50", "log.every_steps=1"]
        whole, _ = self.weights("-n", "1", *words)
        self.check_goes_on_without_a_host([LAUNCH, "-q", "--restarts", "1", "-H", "n0,n1,n2", ROOT / "configs/cnn.cfg", *words], whole, self.env)

    def test_what_is_planned_and_looked_at(self):
        shown = self.launch("--map", "-H", "n0,n1", "device=cuda").stdout
        self.assertEqual(shown.count("Emulated GPU"), 4, shown)
        self.assertRegex(self.launch("--check", "-H", "n0,n1", "device=cuda").stdout, r"(?m)^GPUs +2$")

    def test_more_ranks_than_gpus(self):
        r = self.launch("-n", "5", "-H", "n0,n1", "device=cuda", code=3)
        self.assertIn("5 ranks, but 4 GPUs on the 2 hosts", r.stderr)

    def test_no_gpu_and_why(self):
        """What decides on the hosts is what the user has set."""
        self.env["DDP_CUDA_PLUGIN"] = "/no/such/plugin.so"
        r = self.launch("-n", "2", "-H", "n0,n1", "device=cuda", code=3)
        self.assertRegex(r.stderr, "no GPU on any of the 2 hosts; host n0: .*/no/such/plugin.so")


class Batch(Case):
    hosts, slurm, slots = 2, True, dict(cpus=4, gpus=2)

    def test_the_script_that_we_keep(self):
        """slurm/gpu-nodes.sbatch on two hosts: what the scheduler gives is what is planned."""
        whole, _ = self.weights("-n", "1", *LINEAR, "train.max_steps=8")
        log = self.dir / "job.log"
        self.bed.head(["sbatch", "--wait", "--nodes=2", "--gpus-per-node=2", "--ntasks-per-node=2", "--cpus-per-task=1", f"--output={log}",
                       ROOT / "slurm/gpu-nodes.sbatch", ROOT / "configs/cnn.cfg", *LINEAR, "train.max_steps=8", f"run.dir={self.dir}/runs"],
                      env={**self.env, "DDP_BIN": str(BIN)}, cwd=self.dir, timeout=300)
        self.assertIn(f"weights: {whole}", log.read_text())
        records = [json.loads(f.read_text()) for f in (self.dir / "runs").glob("*/run.json")]
        self.assertEqual([(r["ranks"], len(r["hosts"])) for r in records if len(r["hosts"]) > 1], [(4, 2)])


if not PLUGIN.exists():
    print(f"skipped: no {PLUGIN} (it is built with the tests where there is a C++ compiler)")
    sys.exit(SKIP)
cluster.main(slurm=True)
