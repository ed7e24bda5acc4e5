#!/usr/bin/env python3
"""ddp-bench loader: every setting has its rate, the same data from another place, slips are told."""
import json
import shutil
import struct

import harness

BENCH = harness.BIN / "ddp-bench"
QUICK = ["--batches", 4, "--repeat", 2]


class BenchLoader(harness.Case):
    def loader(self, *args, code=0):
        r = self.run_program(BENCH, "loader", *args)
        self.assertEqual(r.code, code, r.err + r.out)
        return r

    def report(self, *args):
        r = self.loader(*QUICK, "--json", self.dir / "l.json", *args)
        report = json.loads((self.dir / "l.json").read_text())
        self.assertIn(report["advice"], r.out)
        return report

    def test_every_setting(self):
        report = self.report("--workers", "0,2", "--augment", "none,config,full", "--svg", self.dir / "l.svg", "data=noise", "train.batch=32",
                             "data.shape=[3,32,32]")
        self.assertEqual([(r["augmentation"], r["workers"]) for r in report["loader"]],
                         [(a, w) for a in ("none", "config", "full") for w in (0, 2)])
        for r in report["loader"]:
            self.assertLessEqual(r["low"], r["samples_per_s"])
            self.assertGreaterEqual(r["high"], r["samples_per_s"])
            self.assertGreater(r["samples_per_s"], 0)
            self.assertGreater(r["cpu_us"], 0)
            self.assertGreaterEqual(r["deviation"], 0)
        self.assertEqual(report["batch"], 32)
        self.assertIn("<circle", (self.dir / "l.svg").read_text())

    def test_what_it_needs(self):
        self.assertIn("Nothing to fix", self.report("--need", 1, "--workers", "1", "data=noise")["advice"])
        self.assertIn("Training waits", self.report("--need", 10**9, "--workers", "1", "data=noise")["advice"])

    def idx(self, folder):
        folder.mkdir()
        for part, n in (("train", 64), ("t10k", 8)):
            (folder / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">4B3I", 0, 0, 8, 3, n, 28, 28) + bytes(i % 251 for i in range(n * 784)))
            (folder / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">4BI", 0, 0, 8, 1, n) + bytes(i % 10 for i in range(n)))
        return folder

    def test_other_stores(self):
        one = self.idx(self.dir / "one")
        shutil.copytree(one, self.dir / "two")
        report = self.report("--store", self.dir / "two", "--cold", "--workers", "1", "data.format=idx", f"data.path={one}", "train.batch=16")
        self.assertEqual({r["store"] for r in report["loader"]}, {"as it is", str(self.dir / "two")})
        (self.dir / "two/train-labels-idx1-ubyte").unlink()
        r = self.loader(*QUICK, "--store", self.dir / "two", "data.format=idx", f"data.path={one}", code=3)
        self.assertRegex(r.err, r"two: .*found no train-labels-idx1-ubyte")

    def test_slips(self):
        for args, says, code in (
                (["--workers", "x"], "'x' is no whole number", 2), (["--augment", "config,ful"], "'ful' is none of none, config and full", 2),
                (["--store", "/nowhere"], "--store /nowhere: there is nothing", 2), (["no.cfg"], "no.cfg", 2),
                (["a.cfg", "b.cfg"], "one CONFIG is enough", 2), (["data.workrs=1"], "did you mean", 2)):
            with self.subTest(args=args):
                self.assertIn(says, self.loader(*args, code=code).err)


if __name__ == "__main__":
    harness.main()
