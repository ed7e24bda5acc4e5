#!/usr/bin/env python3
"""ddp-bench scaling over two hosts with a narrow link between them: what is lost is lost to communication."""
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


if __name__ == "__main__":
    cluster.main()
