#!/usr/bin/env python3
"""ddp-bench startup: phases that add up to the first step, for each number of ranks; nothing is left behind; slips are told."""
import json

import harness

BENCH = harness.BIN / "ddp-bench"
PHASES = ["config", "hosts", "plan", "start", "join", "read", "data", "model", "weights", "record", "step"]


class BenchStartup(harness.Case):
    def startup(self, *args, code=0):
        r = self.run_program(BENCH, "startup", *args, timeout=240)
        self.assertEqual(r.code, code, r.err + r.out)
        return r

    def test_phases_add_up(self):
        r = self.startup("-n", "1,3", "--repeat", 1, "--json", self.dir / "s.json", "--csv", self.dir / "s.csv", "--svg", self.dir / "s.svg")
        report = json.loads((self.dir / "s.json").read_text())
        self.assertEqual([row["ranks"] for row in report["startup"]], [1, 3])
        for row in report["startup"]:
            self.assertAlmostEqual(sum(row[p + "_ms"] for p in PHASES), row["first_step_ms"], delta=10)
            self.assertLess(row["first_step_ms"], row["command_ms"])
            self.assertGreater(row["start_ms"], 0)
            self.assertGreater(row["rss_mb"], 1)
        self.assertLess(0, report["nothing_ms"])
        for word in ("machine:", "load:", "first step ms", *PHASES):
            self.assertIn(word, r.out)
        self.assertEqual(sorted(p.name for p in self.dir.iterdir()), ["s.csv", "s.json", "s.svg"])

    def test_a_config_of_ones_own_and_a_host(self):
        config = self.dir / "own.cfg"
        config.write_text((harness.ROOT / "configs/cnn.cfg").read_text())
        args = [f"model={harness.ROOT}/configs/model/mlp.cfg", f"data={harness.ROOT}/configs/data/digits.cfg", "data.test_count=64"]
        r = self.startup("-n", 2, "--repeat", 1, "-H", "localhost", "--dir", self.dir, "--json", "-", config, *args)
        (row,) = json.loads(r.out)["startup"]
        self.assertEqual(row["ranks"], 2)

    def test_slips(self):
        for args, says, code in (
                (["-n", "0"], "-n 0: '0' is no whole number from 1 to", 2),
                (["-n", "2,x"], "'x' is no whole number", 2),
                (["--repeat", "0"], "--repeat 0", 2),
                (["a.cfg", "b.cfg"], "one CONFIG is enough", 2),
                (["-n", "1", "no-such.cfg"], "1 rank: .*no-such.cfg", 2),
                (["-n", "1", "--dir", "/nowhere"], "/nowhere: no folder can be made there", 3)):
            with self.subTest(args=args):
                r = self.startup(*args, code=code)
                self.assertRegex(r.err, says)
        self.assertEqual(list(self.dir.iterdir()), [])


if __name__ == "__main__":
    harness.main()
