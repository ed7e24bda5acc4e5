#!/usr/bin/env python3
"""ddp-bench over two hosts: with a narrow link between them what scaling loses is lost to communication; starts and sums."""
import json

import cluster
from harness import BIN

BENCH = BIN / "ddp-bench"


class Bench(cluster.Case):
    hosts = 2

    def scaling(self, *args):
        # Both hosts are this machine and know nothing of each other: bound, both ranks might be on its first core.
        out = self.dir / "scaling.json"
        r = self.bed.head([BENCH, "scaling", "-n", "1,2", "-H", "n0,n1", "--weak", "--batch", 64, "--repeat", 1, "--steps", 10, "--json", out,
                           "model=mlp", "launch.bind=none", *args], env=self.env, cwd=self.dir, timeout=240)
        self.assertEqual(r.returncode, 0, r.stderr + r.stdout)
        return json.loads(out.read_text())

    def test_a_narrow_link(self):
        for i in range(2):
            self.bed.rate(i, "40mbit")
        report = self.scaling()
        self.assertEqual([(p["nodes"], p["ranks_per_node"]) for p in report["curve"]], [(1, 1), (2, 1)])
        (loss,) = report["losses"]
        self.assertEqual(loss["first"], "communication", loss)
        # a megabyte of gradients, of which a host sends half, and half of the results
        self.assertGreater(loss["communication_ms"], 50)
        self.assertLess(abs(loss["remainder_ms"]), 0.3 * loss["loss_ms"])

    def bench(self, *args):
        out = self.dir / "bench.json"
        r = self.bed.head([BENCH, *args, "--repeat", 1, "--json", out], env=self.env, cwd=self.dir, timeout=240)
        self.assertEqual(r.returncode, 0, r.stderr + r.stdout)
        return json.loads(out.read_text())

    def test_phases_of_a_start(self):
        (row,) = self.bench("startup", "-n", 2, "-H", "n0,n1")["startup"]
        parts = sum(row[name] for name in ("config_ms", "hosts_ms", "plan_ms", "start_ms", "join_ms", "read_ms", "data_ms", "model_ms",
                                           "weights_ms", "record_ms", "step_ms"))
        self.assertAlmostEqual(parts, row["first_step_ms"], delta=0.1 * row["first_step_ms"])
        self.assertGreater(row["hosts_ms"], 1)  # they were called

    def test_sums_between_hosts(self):
        rows = self.bench("allreduce", "-n", 2, "-H", "n0:1,n1:1", "--sizes", "4K:256K", "--factor", 64, "mpi")["allreduce"]
        ours = [r for r in rows if r["way"] in ("mpi", "mpi-fast")]
        self.assertEqual([(r["way"], r["bytes"], r["wrong"]) for r in ours],
                         [("mpi", 4096, 0), ("mpi", 262144, 0), ("mpi-fast", 4096, 0), ("mpi-fast", 262144, 0)])
        self.assertTrue(all(r["wrong"] == 0 for r in rows), rows)


if __name__ == "__main__":
    cluster.main()
