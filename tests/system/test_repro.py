#!/usr/bin/env python3
"""ddp-bench repro: the reduced matrix, a few drawn models, and controls that must differ: programs with one fault each
(tests/system/planted), which it has to find, name and date."""
import json
import pathlib
import shutil
import signal

import harness
from harness import BIN, TRAIN

BENCH = BIN / "ddp-bench"


class Case(harness.Case):
    def bench(self, *args, code=0, **kw):
        r = self.run_program(BENCH, "repro", "-j", 2, *args, timeout=600, **kw)
        self.assertEqual(r.code, code, f"{args}\n{r.out[-6000:]}\n{r.err[-2000:]}")
        return r

    def report(self, *args, code=0):
        """The cells by their ids, and the whole."""
        self.bench(*args, "--json", self.dir / "r.json", code=code)
        doc = json.loads((self.dir / "r.json").read_text())
        return {c["id"]: c for c in doc["cells"]}, doc


class Matrix(Case):
    def test_reduced(self):
        cells, doc = self.report("--quick")
        ran = [c for c in cells.values() if c["result"] != "skipped"]
        self.assertEqual({c["result"] for c in ran}, {"equal"})
        self.assertEqual((doc["equal"], doc["differs"], doc["failed"]), (len(ran), 0, 0))
        self.assertGreater(len(ran), 60 if shutil.which("mpirun") else 30)
        weights = {m["model"]: m["weights"] for m in doc["models"]}
        self.assertEqual(len(set(weights.values())), 6, "models with one hash")
        for c in ran:
            self.assertEqual(c["weights"], weights[c["id"].split(".")[0]], c)
        self.assertRegex(doc["date"], r"^20\d\d-\d\d-\d\d$")
        self.assertTrue(doc["machine"]["cpu"])

    def test_drawn_models(self):
        cells, doc = self.report("--random", 10, "--seed", 5)
        self.assertEqual((doc["equal"], len(cells)), (10, 10), doc["result"])

    def legs(self, cell, *args):
        """What the records say of a cell's run: status, first step, ranks of each leg."""
        self.bench("--cell", cell, "--keep", self.dir / "kept", *args)
        run, = (self.dir / "kept" / cell / "runs").iterdir()
        doc = json.loads((run / "run.json").read_text())
        return [(l["status"], l["from_step"], l["ranks"]) for l in doc["legs"]]

    def test_interruptions_are_what_they_say(self):
        self.assertEqual(self.legs("mlp.n2.t1.tiny.node.kill.avx2"), [("failed", 0, 2), ("done", 3, 2)])
        self.assertEqual(self.legs("mlp.n3.t1.tiny.threads.kill.avx2"), [("failed", 0, 3), ("done", 3, 3)])
        self.assertEqual(self.legs("mlp.n3.t1.tiny.node.resume.avx2"), [("done", 0, 3), ("done", 5, 6)])

    def test_cost_of_the_order_of_sums(self):
        self.bench("--cost", 1, "--json", self.dir / "r.json")
        rows = json.loads((self.dir / "r.json").read_text())["cost"]
        self.assertEqual([r["model"] for r in rows], ["mnist_cnn", "mlp"])
        for r in rows:
            self.assertGreater(min(r["least_canonical_ms"], r["least_fast_ms"]), 0)
            self.assertAlmostEqual(r["cost_percent"], 100 * (r["canonical_ms"] / r["fast_ms"] - 1), 6)

    def test_lists_and_refuses(self):
        ids = self.bench("--list").out.split()
        self.assertGreater(len([i for i in ids if not i.endswith(".neon")]), 500)
        self.assertEqual(len(set(ids)), len(ids))
        self.assertEqual(self.bench("--list", "--cell", ids[7]).out.split(), [ids[7]])
        self.assertIn("no value of the axis ranks", self.bench("--cell", "mlp.n9.t1.tiny.node.whole.avx2", code=2).err)
        self.assertIn("no model 'x'", self.bench("--models", "x", code=2).err)
        self.assertIn("--cost has models", self.bench("--cost", 3, "--quick", code=2).err)
        self.assertIn("--random draws", self.bench("--random", 3, "--quick", code=2).err)
        self.assertIn("skipped", self.bench("--cell", "mlp.n1.t1.tiny.self.whole.neon", code=3).out)

    def test_a_program_that_fails_is_a_difference(self):
        r = self.bench("--cell", "mlp.n2.t1.tiny.node.whole.avx2", "--program", "/bin/false", code=1)
        self.assertIn("the reference mlp.n1.t1.default.self.whole.scalar failed", r.out)

    def test_stopped(self):
        """Ctrl-C: what is not done is skipped, and nothing stays behind."""
        tmp = self.dir / "tmp"
        tmp.mkdir()
        p = self.start(BENCH, "repro", "-j", 2, "--models", "table,recipe", env={"TMPDIR": str(tmp)})
        harness.wait_for(lambda: list(tmp.glob("ddp-repro-*/table*/runs")), 60, "a cell")
        p.send_signal(signal.SIGINT)
        out, err = p.communicate(timeout=60)
        self.assertEqual(p.returncode, 75, err)
        self.assertNotIn("failed", out)
        self.assertRegex(out, r"\d+ cells skipped: stopped")
        self.assertEqual(list(tmp.iterdir()), [])
        harness.wait_for(lambda: not harness.tagged(f"TMPDIR={tmp}"), 20, "the end of all processes")

    def test_only_one_folder_and_nothing_left(self):
        tmp = self.dir / "tmp"
        tmp.mkdir()
        self.bench("--cell", "table.n2.t1.tiny.node.kill.avx2", env={"TMPDIR": str(tmp)})
        self.assertEqual(list(tmp.iterdir()), [])


# What must be found. Program, cells that it leaves equal, the one that it changes, and what is said of that.
CONTROLS = [
    ("planted_sum", ["mlp.n1.t2.tiny.self.whole.avx2"], "mlp.n3.t1.default.node.whole.avx2", "different from step 1 on"),
    ("planted_seed", ["mlp.n3.t1.tiny.node.whole.avx2", "recipe.n1.t2.tiny.node.whole.avx2"], "recipe.n2.t1.default.node.whole.avx2",
     "different from step 1 on"),
    ("planted_fused", ["mlp.n3.t1.tiny.node.whole.scalar"], "mlp.n1.t1.default.self.whole.avx2",
     "different from step 2 on (equal at step 1)\n      first    optimizer"),
    ("planted_bit", ["mlp.n1.t2.tiny.self.whole.avx2"], "mlp.n2.t1.default.node.whole.scalar",
     "different from step 7 on (equal at step 6)\n      first    gradient\n      tensors  1 of 6 of the gradient: fc2.weight\n"),
]


class Controls(Case):
    """Each must differ: else nothing is proved by what is equal."""

    def check(self, args, equal, differs, says):
        cells = [w for c in [*equal, differs] for w in ("--cell", c)]
        r = self.bench(*cells, *args, "--json", self.dir / "r.json", "--md", self.dir / "r.md", code=1)
        for text in (r.out, (self.dir / "r.md").read_text()):
            self.assertIn(f"{differs} differs; to run it again: ddp-bench repro --cell {differs}", text)
            self.assertIn(says, text)
            self.assertIn("run.dir=", text, "without its command line")
        results = {c["id"]: c["result"] for c in json.loads((self.dir / "r.json").read_text())["cells"]}
        self.assertEqual(results, {**{c: "equal" for c in equal}, differs: "differs"})

    def test_planted_faults(self):
        avx2 = "avx2" in pathlib.Path("/proc/cpuinfo").read_text()
        for program, equal, differs, says in CONTROLS:
            with self.subTest(program=program):
                self.assertTrue((BIN / program).exists(), "not built: the words it changes are not in its file any more")
                if not avx2:
                    self.skipTest("a processor without AVX2")
                self.check(["--program", BIN / program], equal, differs, says)

    def test_the_program_itself_has_none_of_them(self):
        cells = [w for _, equal, differs, _ in CONTROLS for c in [*equal, differs] for w in ("--cell", c)]
        self.bench(*cells, "--program", TRAIN)

    def test_sums_in_the_order_of_the_transport(self):
        self.check(["reduce.mode=fast", "repro.level=fast"], [], "mlp.n3.t1.tiny.node.whole.avx2",
                   "likely   reduce.mode: canonical / fast")
        self.assertIn("Control: with reduce.mode=fast table.n3.t1.default.node.whole.scalar differs, as it must.",
                      self.bench("--quick", "--models", "table").out)


if __name__ == "__main__":
    harness.main()
