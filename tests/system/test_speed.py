"""Bounds that a user would notice: start-up, memory, and what a second rank brings. On a quiet machine with two cores or more."""
import os
import statistics

import harness

SLOW = float(os.environ.get("DDP_TEST_SLOW", "1"))  # factor on times for loaded machines


class Speed(harness.Case):
    def train(self, ranks, *args):
        return self.launch("train.threads=1", "data.test_count=64", *args, ranks=ranks).json()["train"]

    def test_first_step_comes_soon(self):
        """From the command to the first step, its run directory made and synced; 64 ranks take turns on the cores there are."""
        for ranks, limit in ((2, 0.06), (64, 0.5)):
            args = ["model=mlp", f"train.shards={ranks}", "train.batch=64", "data.train_count=256", "train.max_steps=3"]
            times = [self.train(ranks, *args)["time_to_first_step_s"] for _ in range(5)]
            self.assertLess(statistics.median(times), limit * SLOW, f"{ranks} ranks")

    def test_a_small_rank_stays_under_15_mb(self):
        small = ["model=mlp", "data.train_count=128", "train.batch=64", "train.max_steps=2"]
        self.assertLess(self.train(2, *small)["peak_rss_mb"], 15)

    def test_a_rank_of_mnist_cnn_stays_under_75_mb(self):
        """Evaluations, a checkpoint and training take turns in the same memory."""
        for shards in (2, 8):
            args = [f"train.shards={shards}", "train.max_steps=8", "data.test_count=512"]
            self.assertLess(self.launch("train.threads=1", *args).json()["train"]["peak_rss_mb"], 75)

    @harness.unittest.skipIf((os.cpu_count() or 1) < 2, "one core")
    def test_two_ranks_take_at_most_0_6_of_the_time_of_one(self):
        ratios = []
        for _ in range(5):
            one, two = (self.train(n, "train.max_steps=60")["samples_per_s"] for n in (1, 2))
            ratios.append(one / two)
        self.assertLess(statistics.median(ratios), 0.6 * SLOW)


harness.main()
