"""Real MNIST, where DDP_DATA_DIR names a folder that holds it: at least 99 % within 3 epochs, the same bits at other ranks."""
import os
import pathlib
import sys

import harness

DATA = os.environ.get("DDP_DATA_DIR", "")
FILES = ("train-images-idx3-ubyte", "t10k-images-idx3-ubyte")


class Mnist(harness.Case):
    def test_cnn_reaches_99_percent(self):
        r = self.launch("data=mnist", f"data.root={DATA}", "train.epochs=3", ranks=2, timeout=800)
        self.assertGreaterEqual(r.json()["eval"]["accuracy"], 0.99)
        self.assertEqual(r.json()["eval"]["count"], 10000)

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
