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


class Gpus(cluster.Case):
    hosts = 3

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
        words = ["device=cuda", "model=linear", "train.batch=32", "data.train_count=320", "data.test_count=40", "optim=adamw", "optim.lr=0.001",
                 "optim.clip_norm=0.5", "train.threads=1", "checkpoint.every_steps=4", "checkpoint.keep=10"]
        whole, _ = self.weights("-n", "1", *words, "train.max_steps=8")
        _, run = self.weights("-H", "n0,n1,n2", *words, "train.max_steps=4")
        self.assertEqual(self.weights("-H", "n1,n2:1", *words, "--resume", run, "train.max_steps=8"), (whole, run))

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


if not PLUGIN.exists():
    print(f"skipped: no {PLUGIN} (it is built with the tests where there is a C++ compiler)")
    sys.exit(SKIP)
cluster.main()
