"""Ranks that do not all share memory: nodes of all shapes give the bits of one rank, whatever is trained, and go on where the
others stopped. Nodes are made of this machine (DDP_COMM_NODE), started by mpirun: what passes between them are messages."""
import json

import harness
import pseudo_nodes
import test_golden
from harness import ROOT

# what is trained: the nodes that it is trained on
GOLDEN = {
    "mnist_cnn": [(1, 1), (1, 1, 1)],
    "fashion_cnn": [(2, 1), (3, 2, 1)],
    "adamw": [(1, 3), (2, 2, 2)],
    "lamb": [(2, 2), (1, 2, 1)],
    "clipping": [(3, 2), (2, 1, 1)],
    "clipping lars": [(4, 4)],
    "accumulation": [(1, 2, 3, 2)],
    "synchronised batch norm": [(2, 1), (1, 1, 1)],
    "synchronised resnet8": [(2, 2)],
    "five shards": [(2, 1, 1)],
}


class Nodes(pseudo_nodes.Case):
    def test_what_is_golden_is_so_on_nodes(self):
        golden = json.loads(test_golden.GOLDEN.read_text())["cpu"]
        for name, shapes in GOLDEN.items():
            for nodes in shapes:
                r = self.on(nodes, ROOT / "configs/cnn.cfg", *test_golden.COMMON, *test_golden.CPU[name][1])
                self.assertEqual(r.weights, golden[name], f"{name} on {nodes}")

    def test_threads_and_small_buckets(self):
        golden = json.loads(test_golden.GOLDEN.read_text())["cpu"]
        args = [a for a in test_golden.COMMON if "threads" not in a] + test_golden.CPU["mnist_cnn"][1]
        r = self.on((1, 2), ROOT / "configs/cnn.cfg", *args, "train.threads=3", "reduce.bucket_mb=0.02")
        self.assertEqual(r.weights, golden["mnist_cnn"])

    def test_ranks_dealt_out_in_turn(self):
        """As mpirun --map-by node does: neighbours in rank are on different nodes."""
        golden = json.loads(test_golden.GOLDEN.read_text())["cpu"]
        args = [ROOT / "configs/cnn.cfg", *test_golden.COMMON, *test_golden.CPU["synchronised batch norm"][1], f"run.dir={self.dir}/runs"]
        r = self.run_program(*self.on_each([self.to_node(rank % 2, 2) for rank in range(5)], *args), timeout=240)
        self.assertEqual((r.code, r.weights), (0, golden["synchronised batch norm"]), r.err[-3000:])

    def test_resumed_from_three_nodes_on_one_and_back(self):
        self.check_resumed_on_one_and_back((2, 1, 2))

    def test_evaluation_only(self):
        run = self.alone()
        e = self.on((2, 2), self.config, "--eval", run.run_dir, quiet=False)
        accuracy = run.json()["eval"]["accuracy"]
        self.assertIn(f"accuracy: {accuracy:.6f}", e.out)

    def test_record_names_the_hosts(self):
        r = self.on((1, 2), self.config, "train.max_steps=2")
        hosts = r.json()["hosts"]
        self.assertEqual([h.split("/")[-1] for h in hosts], ["node0", "node1"])
        self.assertEqual(r.json()["transport"], "mpi")

    def test_fast_sums_differ(self):
        a = self.alone("train.max_steps=9", "train.shards=7")
        b = self.on((2, 1), self.config, "train.max_steps=9", "train.shards=7", "reduce.mode=fast", "repro.level=fast")
        self.assertNotEqual(a.weights, b.weights)
        losses = [r.json()["eval"]["loss"] for r in (a, b)]
        self.assertAlmostEqual(*losses, delta=0.02 * losses[0])

    def test_a_stop_asked_of_one_rank_ends_all_after_one_step(self):
        self.check_stopped_by_one((1, 1, 1), 0)

    def test_a_loss_that_is_not_finite_is_named_once(self):
        r = self.run_program(*self.command((2, 2), ROOT / "configs/cnn.cfg", "model=mlp", *harness.SMALL, "optim.lr=1000",
                                           "optim.momentum=0.999", f"run.dir={self.dir}/runs"), timeout=120)
        self.assertEqual(r.code, 4, r.err)
        self.assertIn("shard", r.err)

    def test_a_node_that_does_not_see_the_run_directory(self):
        self.check_folders_of_their_own()


harness.main()
