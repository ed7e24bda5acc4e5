"""Real MNIST, where DDP_DATA_DIR names a folder that holds it: 99 % in 5 epochs, and the same bits on the way at other ranks."""
import os
import pathlib
import sys

import harness

DATA = os.environ.get("DDP_DATA_DIR", "")
FILES = ("train-images-idx3-ubyte", "t10k-images-idx3-ubyte")


class Mnist(harness.Case):
    def test_cnn_reaches_99_percent_with_one_trail_at_any_number_of_ranks(self):
        runs = [self.launch("data=mnist", f"data.root={DATA}", "train.epochs=5", "train.threads=1", ranks=n, timeout=3000) for n in (2, 3)]
        self.assertGreaterEqual(runs[0].json()["eval"]["accuracy"], 0.99)
        self.assertEqual(runs[0].json()["eval"]["count"], 10000)
        v = self.run_program(harness.BIN / "ddp-runs", "verify", *(r.run_dir for r in runs))
        self.assertRegex(v.out, "^equal: 2345 steps")
        self.assertEqual(v.code, 0)

    def test_digits_carry_over_to_mnist(self):
        """A model of the built-in digits on real MNIST: docs/data.md states the number."""
        r = self.launch("train.epochs=2", ranks=2, timeout=600)
        e = self.run_program(harness.LAUNCH, "-n", 2, "--eval", r.run_dir, harness.ROOT / "configs/cnn.cfg", "data=mnist",
                             f"data.root={DATA}")
        self.assertEqual(e.code, 0, e.err)
        accuracy = float(e.out.split("accuracy: ")[1].split()[0])
        print(f"digits -> MNIST: {100 * accuracy:.2f} %", file=sys.stderr)
        self.assertGreater(accuracy, 0.85)


if not any((pathlib.Path(DATA) / "mnist" / (f + end)).exists() for f in FILES for end in ("", ".gz")):
    print("skipped: DDP_DATA_DIR names no folder with mnist/")
    sys.exit(harness.SKIP)
harness.main()
