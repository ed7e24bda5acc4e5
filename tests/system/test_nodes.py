"""Ranks that do not all share memory: nodes of all shapes give the bits of one rank, whatever is trained, and go on where the
others stopped. Nodes are made of this machine (DDP_COMM_NODE), started by mpirun: what passes between them are messages."""
import json
import os
import pathlib
import signal

import harness
import pseudo_nodes
import test_golden
from harness import ROOT, TRAIN, wait_for
from pseudo_nodes import STEPS, state

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
        whole = self.alone()
        run = self.on((3, 2, 1), self.config, "train.max_steps=6").run_dir
        self.assertEqual(state(run, 6), state(whole.run_dir, 6))
        self.alone("--resume", run, "train.max_steps=12")
        self.assertEqual(state(run, 12), state(whole.run_dir, 12))
        end = self.on((2, 1, 2), self.config, "--resume", run)
        self.assertEqual(end.run_dir, run)
        self.assertEqual(end.weights, whole.weights)
        self.assertEqual(state(run, STEPS), state(whole.run_dir, STEPS))
        evals = [[(r["step"], r["loss"], r["accuracy"]) for r in map(json.loads, (pathlib.Path(d) / "metrics.jsonl").read_text().splitlines())
                  if r["type"] == "eval"] for d in (run, whole.run_dir)]
        self.assertTrue(evals[1])
        self.assertLessEqual(set(evals[1]), set(evals[0]))

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
        p = self.start(*self.command((1, 1, 1), self.config, "train.epochs=2000", f"run.dir={self.dir}/runs"))

        def metrics():
            return [m for m in (self.dir / "runs").glob("*/metrics.jsonl") if m.read_text().count("\n") > 3]

        wait_for(metrics, 60, "steps")
        pids = [int(c) for c in pathlib.Path(f"/proc/{p.pid}/task/{p.pid}/children").read_text().split()]
        last = [pid for pid in pids if "DDP_COMM_NODE=node2" in pathlib.Path(f"/proc/{pid}/environ").read_text().split("\0")]
        self.assertEqual(len(last), 1)
        os.kill(last[0], signal.SIGUSR1)
        out, err = p.communicate(timeout=60)
        run = metrics()[0].parent
        record = json.loads((run / "run.json").read_text())
        self.assertEqual(record["status"], "stopped", err)
        self.assertTrue((run / f"checkpoints/step-{record['legs'][0]['steps']:08d}").is_dir())

    def test_a_loss_that_is_not_finite_is_named_once(self):
        r = self.run_program(*self.command((2, 2), ROOT / "configs/cnn.cfg", "model=mlp", *harness.SMALL, "optim.lr=1000",
                                           "optim.momentum=0.999", f"run.dir={self.dir}/runs"), timeout=120)
        self.assertEqual(r.code, 4, r.err)
        self.assertIn("shard", r.err)

    def test_a_node_that_does_not_see_the_run_directory(self):
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


harness.main()
