"""An op of one's own on a GPU: examples/op on the emulated one. Its losses are those of the CPU, to rounding; what its half for GPUs cannot do,
and an op that has none, are refused by name."""
import json
import pathlib

import harness
from harness import ROOT

PLUGIN = harness.BIN.parent / "lib/libddp_cuda_emu.so"
CONFIG = ROOT / "examples/op/hard_tanh.cfg"
ARGS = ["train.max_steps=20", "data.train_count=400", "data.test_count=40", "model.layers[2].limit=0.5", "log.every_steps=1", "train.threads=1"]


class GpuOp(harness.Case):
    def setUp(self):
        super().setUp()
        if not PLUGIN.exists():
            self.skipTest("no emulated plug-in (no C++ compiler, or the thread sanitizer)")

    def run_op(self, program, *args):
        return self.run_program(harness.BIN / program, CONFIG, *ARGS, *args, env={"DDP_CUDA_PLUGIN": str(PLUGIN), "DDP_EMU_QUIET": "1"})

    def curve(self, *args):
        r = self.run_op("example_op_device", *args)
        self.assertEqual(r.code, 0, r.err)
        run_dir = pathlib.Path(r.out.strip().splitlines()[-1].rsplit(" in ", 1)[1])
        records = map(json.loads, (self.dir / run_dir / "metrics.jsonl").read_text().splitlines())
        return [x["loss"] for x in records if x["type"] == "step"]

    def test_trains_as_on_the_cpu(self):
        gpu, cpu = self.curve("device=cuda"), self.curve("device=cpu")
        self.assertEqual(len(gpu), 20)
        self.assertLess(gpu[-1], gpu[0])
        for step, (a, b) in enumerate(zip(gpu, cpu), 1):
            self.assertAlmostEqual(a, b, delta=1e-3 * (1 + b), msg=f"step {step}")
        self.assertNotEqual(gpu, self.curve("device=cuda", "model.layers[2].limit=0.1"))

    def test_refusals_name_the_op(self):
        for program, args, words in (("example_op", [], ["hard_tanh", "no half for a GPU", "device=cpu"]),
                                     ("example_op_device", ["train.precision=bf16"], ["hard_tanh", "fp32"])):
            r = self.run_op(program, "device=cuda", *args)
            self.assertEqual(r.code, 2, r.err)
            for word in words:
                self.assertIn(word, r.err)


harness.main()
