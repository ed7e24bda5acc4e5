#!/usr/bin/env python3
"""Kills jobs at random moments, a thousand times: a rank, the launcher, all processes at once, or a request to stop. Each
job goes on where the one before was killed. No checkpoint may be torn, no process, folder, segment or temporary file be
left, no record say that something runs; at the end the weights are those of a run that was never disturbed.

    tests/system/soak.py [--kills N] [--seed S]       # 1,000: a quarter of an hour on two cores. DDP_BIN: the programs"""
import argparse
import random
import sys
import unittest

import test_faults


class Soak(test_faults.Faults):
    def runTest(self):
        self.random_kills(self.kills, self.seed)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--kills", type=int, default=1000)
    p.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 30))
    o = p.parse_args()
    print(f"{o.kills} kills, seed {o.seed}", flush=True)
    Soak.kills, Soak.seed = o.kills, o.seed
    soak = Soak("runTest")
    sys.exit(0 if unittest.TextTestRunner(verbosity=2).run(soak).wasSuccessful() else 1)


if __name__ == "__main__":
    main()
