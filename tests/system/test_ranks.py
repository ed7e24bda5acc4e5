"""What is meant per rank (train.batch_per_rank, optim.lr_rule, train.shards = "ranks"): it is said that the result depends on their number,
the run's config has the values of the whole, and with that config any number of ranks gives the same weights."""
import pathlib

import harness
from harness import LAUNCH, ROOT, TRAIN

TINY = ["model=linear", "data=noise", "data.train_count=200", "data.test_count=40", "train.epochs=1", "optim.lr=0.02"]
PER_RANK = ["train.batch_per_rank=16", "optim.lr_rule=linear", "train.shards=ranks"]
CONFIG = ROOT / "configs/cnn.cfg"


class Ranks(harness.Case):
    def run_here(self, *args, code=0):
        r = self.run_program(*args, f"run.dir={self.dir}/runs")
        self.assertEqual(r.code, code, r.err)
        return r

    def test_the_result_is_that_of_the_whole(self):
        per_rank = self.run_here(LAUNCH, "-n", 3, CONFIG, *TINY, *PER_RANK)
        self.assertIn("by the number of ranks, 3: train.batch = 48, train.shards = 3, optim.lr = 0.06", per_rank.err)
        self.assertIn("The result depends on this number", per_rank.err)
        config = pathlib.Path(per_rank.run_dir) / "config.cfg"
        said = config.read_text()
        for line in ("batch = 48;", "shards = 3;", "batch_per_rank = 0;", 'lr_rule = "none";'):
            self.assertIn(line, said)
        for ranks in (1, 2):
            again = self.run_here(LAUNCH, "-n", ranks, "-q", config)
            self.assertEqual(again.weights, per_rank.weights)
            self.assertEqual(again.json()["config_hash"], per_rank.json()["config_hash"])
        plain = self.run_here(LAUNCH, "-n", 1, "-q", CONFIG, *TINY, "train.batch=48", "train.shards=3", "optim.lr=0.06")
        self.assertEqual(plain.weights, per_rank.weights)
        other = self.run_here(LAUNCH, "-n", 2, "-q", CONFIG, *TINY, *PER_RANK)
        self.assertNotEqual(other.weights, per_rank.weights)

    def test_a_run_goes_on_at_another_number(self):
        whole = self.run_here(LAUNCH, "-n", 2, "-q", CONFIG, *TINY, *PER_RANK)
        part = self.run_here(LAUNCH, "-n", 2, "-q", CONFIG, *TINY, *PER_RANK, "train.max_steps=3")
        rest = self.run_here(LAUNCH, "-n", 1, "-q", "--resume", part.run_dir, "train.max_steps=0")
        self.assertEqual(rest.weights, whole.weights)

    def test_without_n_and_without_a_launcher(self):
        mapped = self.run_here(LAUNCH, "--map", CONFIG, *TINY, *PER_RANK)
        self.assertIn("by the number of ranks, ", mapped.err)
        alone = self.run_here(TRAIN, CONFIG, *TINY, *PER_RANK)
        self.assertIn("by the number of ranks, 1: train.batch = 16, train.shards = 1, optim.lr = 0.02", alone.err)
        self.assertEqual(alone.weights, self.run_here(LAUNCH, "-n", 1, "-q", CONFIG, *TINY, *PER_RANK).weights)

    def test_print_config_has_the_whole(self):
        r = self.run_program(LAUNCH, "-n", 4, "--print-config", CONFIG, *TINY, *PER_RANK)
        self.assertIn("batch = 64;", r.out)
        self.assertIn('"ranks"', self.run_program(LAUNCH, "--print-config", CONFIG, *TINY, *PER_RANK).out)  # not known yet

    def test_what_comes_of_it_is_checked(self):
        r = self.run_here(LAUNCH, "-n", 2, CONFIG, *TINY, "train.batch_per_rank=1", "train.shards=8", code=2)
        self.assertIn("a batch of 2 images cannot be cut into train.shards = 8 shards", r.err)


if __name__ == "__main__":
    harness.main()
