"""Does every wait between streams matter, and would the tests notice one that is missing? The emulated device forgets the k-th wait of each
process (DDP_EMU_DROP_WAIT); some order of the device must then give another result, or an error."""
import json
import pathlib
import sys

import harness

PLUGIN = harness.BIN.parent / "lib/libddp_cuda_emu.so"
# Five steps: the first is not captured, both slots of a step get their graph, and are used again.
ARGS = ["device=cuda", "model=lenet5", "train.threads=1", "train.batch=16", "train.shards=4", "data.train_count=80", "data.test_count=32",
        "train.epochs=1", "checkpoint.every_steps=0"]
SEEDS = range(1, 17)


class Waits(harness.Case):
    def outcome(self, ranks, *args, **emu):
        env = {"DDP_CUDA_PLUGIN": str(PLUGIN), **{f"DDP_EMU_{k}": str(v) for k, v in emu.items()}}
        r = self.run_program(harness.LAUNCH, "-n", ranks, harness.ROOT / "configs/cnn.cfg", f"run.dir={self.dir}/runs", *ARGS, *args,
                             env=env, timeout=120)
        losses = self.losses(r) if r.code == 0 else None
        return "is dropped (DDP_EMU_DROP_WAIT)" in r.out + r.err, (r.code, r.weights, losses), r

    def losses(self, run):
        """Of the evaluation, and of all steps together: a device that looks at the losses too early updates with the right gradients."""
        records = map(json.loads, (pathlib.Path(run.run_dir) / "metrics.jsonl").read_text().splitlines())
        return [(r["loss"], r["train_loss"]) for r in records if r["type"] == "eval"]

    def check(self, ranks, *args):
        _, right, r = self.outcome(ranks, *args)
        self.assertEqual(right[0], 0, r.err)
        for wait in range(1, 200):
            for seed in SEEDS:
                dropped, got, _ = self.outcome(ranks, *args, DROP_WAIT=wait, SEED=seed)
                if not dropped or got != right:
                    break
            if not dropped:
                return wait - 1
            self.assertNotEqual(got, right, f"{ranks} ranks, {args}: wait {wait} can be forgotten, and nothing shows it")
        self.fail("no end of waits")

    def test_in_graphs(self):
        self.assertGreater(self.check(2), 20)

    def test_without_graphs(self):
        """Two shards side by side, then one more whose gradients lie where others were."""
        self.assertGreater(self.check(1, "gpu.graph=false", "train.shards=3", "gpu.branches=2", "train.max_steps=3"), 20)


if not PLUGIN.exists():
    print(f"skipped: no {PLUGIN} (it is built with the tests where there is a C++ compiler)")
    sys.exit(harness.SKIP)
harness.main()
