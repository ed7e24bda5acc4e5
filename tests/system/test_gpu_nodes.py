"""Training with device=cuda on several nodes gives the bits of one rank, and goes on where others stopped. Nodes are made of this machine
(DDP_COMM_NODE); each has emulated GPUs of its own, and NCCL's stand-in carries what passes between them.

GPU_TESTS=1 runs the same on a real GPU, which all ranks share; NCCL then takes each for a host of its own."""
import json
import os
import re
import sys

import harness
import pseudo_nodes
import test_golden
from harness import ROOT
from pseudo_nodes import state

REAL = os.environ.get("GPU_TESTS") == "1"
PLUGIN = harness.BIN.parent / "lib" / ("libddp_cuda.so" if REAL else "libddp_cuda_emu.so")
DEVICES = 4  # of a node
ENV = {"DDP_CUDA_PLUGIN": str(PLUGIN), "DDP_EMU_QUIET": "1", "DDP_EMU_DEVICES": str(4 * DEVICES)}
ON_GPU = ["device=cuda", *(["comm.share_gpu=true"] if REAL else [])]
# what is trained: the nodes that it is trained on
SHAPES = {
    "mnist_cnn": [(2, 2), (1, 1, 1)],
    "fashion_cnn": [(3, 2, 1)],
    "adamw": [(2, 2)],
    "lamb": [(2, 1)],
    "clipping": [(1, 3)],
    "clipping lamb": [(2, 1, 1)],
    "clipping lars": [(4, 4)],
    "accumulation": [(1, 2, 3, 2)],
    "synchronised batch norm": [(2, 2), (2, 1, 1)],
    "dropout and augmentation": [(1, 2)],
    "bf16": [(2, 1)],
    "fp16": [(2, 2)],
}


class GpuNodes(pseudo_nodes.Case):
    env = ENV

    def node_env(self, i, nodes):
        mine = ",".join(str(DEVICES * i + d) for d in range(DEVICES))
        return [f"DDP_COMM_NODE=node{i}", *([] if REAL else [f"CUDA_VISIBLE_DEVICES={mine}"])]

    def command(self, nodes, *args, **kw):
        return super().command(nodes, *args, *ON_GPU, **kw)

    def alone(self, *args):
        return self.launch(*args, *ON_GPU, ranks=1, config=self.config, env=ENV)

    def test_what_is_golden_is_so_on_nodes(self):
        golden = {} if REAL else json.loads(test_golden.GOLDEN.read_text())["emulated gpu"]
        for name, shapes in SHAPES.items():
            words = [*test_golden.COMMON, *test_golden.GPU[name][1]]
            want = golden.get(name) or self.launch(*words, *ON_GPU, ranks=1, env=ENV).weights
            for nodes in shapes:
                self.assertEqual(self.on(nodes, ROOT / "configs/cnn.cfg", *words).weights, want, f"{name} on {nodes}")

    def test_buckets_published_in_place(self):
        """Buckets of whole multiples of the ranks, and many of them; steps that are captured and not."""
        want = self.alone("train.max_steps=5").weights
        for more in (["reduce.bucket_mb=0.07"], ["reduce.bucket_mb=0.3", "gpu.graph=false"]):
            self.assertEqual(self.on((2, 2), self.config, "train.max_steps=5", *more).weights, want, more)

    def test_ranks_dealt_out_in_turn(self):
        """As mpirun --map-by node does: neighbours in rank are on different nodes."""
        words = [ROOT / "configs/cnn.cfg", *test_golden.COMMON, *test_golden.GPU["clipping"][1], *ON_GPU]
        want = self.launch(*words[1:], ranks=1, env=ENV).weights
        command = self.on_each([self.to_node(rank % 2, 2) for rank in range(5)], *words, f"run.dir={self.dir}/runs")
        r = self.run_program(*command, timeout=240, env=ENV)
        self.assertEqual((r.code, r.weights), (0, want), r.err[-3000:])

    def test_resumed_from_three_nodes_on_one_and_back(self):
        self.check_resumed_on_one_and_back((2, 2))

    def test_a_fast_run_goes_on(self):
        """Each rank updates everything then: the whole state has to come to every node."""
        words = [self.config, "reduce.mode=fast", "repro.level=fast", "train.max_steps=9"]
        whole, run = self.on((2, 1), *words), self.on((2, 1), *words[:3], "train.max_steps=6").run_dir
        again = self.on((2, 1), *words, "--resume", run)
        self.assertEqual(state(run, 9), state(whole.run_dir, 9))
        self.assertEqual(again.weights, whole.weights)
        self.assertNotEqual(whole.weights, self.alone("train.max_steps=9").weights)

    def test_evaluation_only(self):
        run = self.alone()
        e = self.on((2, 1), self.config, "--eval", run.run_dir, quiet=False)
        self.assertIn(f"accuracy: {run.json()['eval']['accuracy']:.6f}", e.out)

    def test_a_node_that_does_not_see_the_run_directory(self):
        self.check_folders_of_their_own()

    def test_a_stop_asked_of_one_rank_ends_all_after_one_step(self):
        self.check_stopped_by_one((1, 2), 1)

    def test_a_loss_that_is_not_finite_is_named(self):
        r = self.run_program(*self.command((2, 2), ROOT / "configs/cnn.cfg", "model=mlp", *harness.SMALL, "optim.lr=1000",
                                           "optim.momentum=0.999", f"run.dir={self.dir}/runs"), timeout=120, env=ENV)
        self.assertEqual(r.code, 4, r.err)
        self.assertRegex(r.err, r"the loss of shard \d \(rank \d\) is (nan|infinite)")


def skip(why):
    print(f"skipped: {why}")
    sys.exit(harness.SKIP)


if not PLUGIN.exists():
    skip(f"no CUDA device: no {PLUGIN}" if REAL else f"no {PLUGIN} (it is built with the tests where there is a C++ compiler)")
if REAL and harness.LAUNCH.exists():
    why = harness.why_not(*ON_GPU, "model=linear", *harness.SMALL, **ENV)
    if re.search("no NVIDIA driver|no CUDA device", why):
        skip(f"no CUDA device: {why}")
harness.main()
