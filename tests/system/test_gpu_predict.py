"""scripts/gpu-predict: its tables are those of docs/gpu.md, and follow from the shapes of layers."""
import re
import subprocess

import harness
from harness import BIN, ROOT


class Predict(harness.Case):
    def predict(self, *args):
        return subprocess.run([ROOT / "scripts/gpu-predict", "--bin", BIN, *args], capture_output=True, text=True, timeout=120)

    def test_the_docs_hold_its_tables(self):
        r = self.predict("--check", ROOT / "docs/gpu.md")
        self.assertEqual(r.returncode, 0, r.stderr)
        other = self.dir / "gpu.md"
        other.write_text((ROOT / "docs/gpu.md").read_text().replace("| not yet |", "| 7 us |", 1))
        self.assertEqual(self.predict("--check", other).returncode, 1)
        # two convolutions and two linear layers, the first without a gradient of its input
        forward = 2 * (26 * 26 * 32 * 9 + 24 * 24 * 64 * 32 * 9 + 9216 * 128 + 128 * 10)
        flops = 64 * (3 * forward - 2 * 26 * 26 * 32 * 9)
        self.assertEqual(re.search(r"mnist_cnn, 64 \| ([\d.]+)", r.stdout)[1], f"{flops / 1e9:.1f}")


if __name__ == "__main__":
    harness.main()
