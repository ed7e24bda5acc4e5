"""The promise: the same weights to the bit at any number of ranks, threads and buckets; and a control that must differ."""
import pathlib

import harness

CASES = {
    # model: batch and a data set that fits it
    "mnist_cnn": ["model=mnist_cnn", "train.batch=40", "data.train_count=1200"],
    "fashion_cnn": ["model=fashion_cnn", "train.batch=40", "data.train_count=1200"],
    "resnet18": ["model=resnet18", "train.batch=9", "data.train_count=270"],
}
COMMON = ["train.shards=8", "train.max_steps=30", "data.test_count=16", "optim.lr=0.02", "checkpoint.keep=1"]
VARIANTS = [(1, 2, 25), (2, 1, 25), (3, 1, 1), (5, 1, 25), (8, 1, 1), (2, 2, 1)]  # ranks, threads, bucket_mb


class Bits(harness.Case):
    def check(self, model):
        def weights(ranks, threads, bucket, *more):
            return self.launch(*CASES[model], *COMMON, f"train.threads={threads}", f"reduce.bucket_mb={bucket}", *more,
                               ranks=ranks).weights

        reference = weights(1, 1, 25)
        self.assertRegex(reference, "^[0-9a-f]{64}$")
        for ranks, threads, bucket in VARIANTS:
            self.assertEqual(weights(ranks, threads, bucket), reference, f"{model}: {ranks} ranks x {threads}, {bucket} MB")
        # negative control: the backend's own order of summation is another one
        self.assertNotEqual(weights(3, 1, 25, "reduce.mode=fast", "repro.level=warn"), reference)

    def test_mnist_cnn(self):
        self.check("mnist_cnn")

    def test_fashion_cnn(self):
        self.check("fashion_cnn")

    def test_resnet18(self):
        self.check("resnet18")

    def test_accumulation_equals_the_big_batch(self):
        a = self.launch("train.batch=32", "train.shards=4", "train.accumulate=2", "train.max_steps=12", "data.test_count=32",
                        "data.train_count=800", ranks=2).weights
        b = self.launch("train.batch=64", "train.shards=8", "train.max_steps=12", "data.test_count=32", "data.train_count=800",
                        ranks=3).weights
        self.assertEqual(a, b)

    def test_every_instruction_set_gives_the_same_bits(self):
        flags = pathlib.Path("/proc/cpuinfo").read_text()
        isas = ["avx2"] if "avx2" in flags else []
        isas += ["avx512"] if "avx512bw" in flags else []
        args = ["model=fashion_cnn", *harness.SMALL, "train.max_steps=3", "train.batch=16"]
        hashes = {isa: self.launch(*args, env={"DDP_ISA": isa}).weights for isa in ["scalar", *isas]}
        self.assertEqual(len(set(hashes.values())), 1, hashes)

    def test_synchronised_batch_norm(self):
        args = ["model=fashion_cnn", "+model.layers[1].sync=true", *harness.SMALL, "train.max_steps=6"]
        hashes = [self.launch(*args, ranks=n).weights for n in (1, 3, 8)]
        self.assertEqual(len(set(hashes)), 1, hashes)
        self.assertNotEqual(hashes[0], self.launch("model=fashion_cnn", *harness.SMALL, "train.max_steps=6").weights)


harness.main()
