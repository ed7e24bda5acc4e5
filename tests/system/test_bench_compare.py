#!/usr/bin/env python3
"""bench/compare: rows run alone, are written beside those that are there, misses first; what lacks is said."""
import json
import pathlib
import sys

import harness
from harness import ROOT

COMPARE = ROOT / "bench/compare"
sys.path.insert(0, str(ROOT / "bench"))
from targets import page, rows  # noqa: E402

PAGE = f"""# A page

Words above.

{page.BEGIN}

{page.HEAD}
| old | an old row | >= 1 x | 2 x | - | met | 0.0 | 2026-01-01 |
| start-2 | to be replaced | <= 1 s | 9 s | - | missed | 0.0 | 2026-01-01 |

{page.END}
Words below.
"""


def result(name, sense, target, ours, peer=None, missing=None, others=0.0):
    row = rows.Row(name, f"what {name} is", sense, target, "x", {}, rows.times_the_best if peer else rows.alone, needs_peer=bool(peer))
    samples = {rows.OURS: ours, **({"peer": peer} if peer else {})}
    return rows.Result(row, samples, missing or {}, others)


class BenchCompare(harness.Case):
    def compare(self, *args, code=0):
        r = self.run_program(sys.executable, COMPARE, "--bin", harness.BIN, *args, timeout=280, env={"TORCH_PYTHON": ""})
        if code is not None:
            self.assertEqual(r.code, code, r.err + r.out)
        return r

    def test_a_row_alone(self):
        target = self.dir / "page.md"
        target.write_text(PAGE)
        r = self.compare("--only", "start-2", "--repeat", 2, "--torch", "/nowhere", "--write", target, "--json", self.dir / "c.json", code=None)
        self.assertIn(r.code, (0, 1), r.err)
        (row,) = json.loads((self.dir / "c.json").read_text())["rows"]
        self.assertEqual((row["name"], row["sense"], row["target"], len(row["samples"]["ours"])), ("start-2", "<=", 0.06, 2))
        self.assertTrue(0 < row["value"] < 60)
        self.assertEqual(row["verdict"] == "missed", r.code == 1)
        self.assertIn("no torch", row["missing"]["PyTorch"])
        text = target.read_text()
        self.assertTrue(text.startswith("# A page\n\nWords above.\n"))
        self.assertTrue(text.endswith(f"{page.END}\nWords below.\n"))
        self.assertIn("| old | an old row |", text)
        self.assertNotIn("to be replaced", text)
        self.assertEqual(text.count("| start-2 |"), 1)
        self.assertEqual(sorted(p.name for p in self.dir.iterdir()), ["c.json", "page.md"])

    def test_what_lacks_is_said(self):
        for name, says in (("mnist-99", "no mnist/ in --data or DDP_DATA_DIR"), ("jpeg", "no cifar10-jpeg/ in --data or DDP_DATA_DIR"),
                           ("loader", "/nowhere has no torch")):
            with self.subTest(name):
                r = self.compare("--only", name, "--repeat", 1, "--torch", "/nowhere")
                self.assertIn("not measured:", r.out)
                self.assertIn(says, r.out)

    def test_list_and_slips(self):
        r = self.compare("--list")
        self.assertEqual(len(r.out.splitlines()), len(rows.TABLE))
        self.assertEqual(len({row.name for row in rows.TABLE}), len(rows.TABLE))
        self.assertIn("no row begins with nonsense", self.compare("--only", "nonsense", code=1).err)
        self.compare("--repeat", 0, code=2)

    def test_layers_beside_openblas_and_pytorch(self):
        """Least rates in parts of the peak; a library that is not there is said, in ddp-bench's words."""
        layers = [{"layer": "a", "kernel": k, "direct_gflops": g} for k, g in ((3, 60), (3, 50), (1, 10))]
        blas = [{"layer": "a", "kernel": 3, "blas_gflops": g} for g in (30, 25)]
        said = {"peak_gflops": 100, "notes": ["OpenBLAS is not beside linear layers: no such file"], "layers": layers}

        class Place:
            folder, beside = self.dir, set()

            def bench(self, command, text):
                assert (command, text) == ("ops", "some")
                return {**said, "layers": list(layers)}

            def peer(self, script, report):
                again = json.loads(report.read_text())["layers"]
                assert script == "torch_ops.py" and all(x["kernel"] == 3 for x in again)
                return json.dumps({"onednn": "1.2", "layers": [{"gflops": x["direct_gflops"] / 4} for x in again]})
        sides, place = rows.Layers("some", lambda x: x["kernel"] == 3, unit=100), Place()
        self.assertEqual(sides.ours(place), 50)
        with self.assertRaisesRegex(rows.NotHere, "OpenBLAS is not beside linear layers: no such file"):
            sides.openblas(place)
        said.update(openblas=blas, beside="OpenBLAS 9", notes=[])
        self.assertEqual([sides.ours(place), sides.openblas(place), sides.onednn(place)], [50, 25, 12.5])
        self.assertEqual(place.beside, {"OpenBLAS 9", "oneDNN 1.2"})
        with self.assertRaisesRegex(rows.NotHere, "no such layer"):
            rows.Layers("some", lambda x: x["kernel"] == 7).ours(place)
        gemm, conv = (next(row for row in rows.TABLE if row.name == name) for name in ("gemm", "conv"))
        self.assertEqual((list(gemm.sides), list(conv.sides)), (["ours", "OpenBLAS", "PyTorch"], ["ours", "PyTorch (oneDNN)"]))

    def test_misses_come_first(self):
        results = [result("good", ">=", 2, [6, 6, 9], [2, 2, 2]), result("none", ">=", 2, [], missing={"ours": "no such thing"}),
                   result("bad", "<=", 1, [3, 2, 4]), result("noisy", "<=", 1, [0.5], others=1.2)]
        self.assertEqual([r.verdict for r in results], ["met", "not measured", "missed", "busy machine"])
        self.assertEqual([r.value for r in results], [3, None, 3, 0.5])
        self.assertEqual(results[0].rounds, [3, 3, 4.5])
        text = page.text(results, "a machine")
        self.assertTrue(text.index("bad") < text.index("no such thing") < text.index("good"), text)
        target = self.dir / "page.md"
        target.write_text(PAGE)
        page.write(target, results, "a machine")
        names = [l.split("|")[1].strip() for l in target.read_text().splitlines() if l.startswith("| ")]
        self.assertEqual(names, ["row", "---", "start-2", "bad", "none", "noisy", "old", "good"])
        (self.dir / "empty.md").write_text("nothing\n")
        with self.assertRaises(SystemExit):
            page.write(pathlib.Path(self.dir / "empty.md"), results, "a machine")


if __name__ == "__main__":
    harness.main()
