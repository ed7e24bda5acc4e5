"""A few hundred crash states of every kind of save, kills under a second process, faults at calls; and whether all this
notices what is planted. README.md says what a state is; DDP_TEST_SEED chooses others."""
import os
import random
import sys
import unittest

import crash
import scenarios
from scenarios import harness

SEED = int(os.environ.get("DDP_TEST_SEED", "1"))


class States(crash.Scratch):
    runTest = None

    def none(self, found):
        self.assertFalse(found, f"seed {SEED}: {len(found)} faults, the first of them:\n" + "\n".join(found[:3]))

    def test_every_kind_of_save(self):
        total = 0
        for name in scenarios.SCENARIOS:
            with self.subTest(name):
                count, found = crash.replay(self, name, 60, 3, SEED)
                total += count
                self.none(found)
        self.assertGreater(total, 300)

    def test_a_power_cut_under_who_tidies_up(self):
        chance = random.Random(SEED)
        for name, calls in (("pruned", 240), ("over", 240)):
            for call in sorted(chance.sample(range(1, calls), 4)):
                with self.subTest(name, call=call):
                    self.none(crash.kill_at(self, name, call, SEED, 1)[2])

    def test_killed_between_the_two_renames_of_a_save(self):
        # the checkpoint that was moved aside is all that there is; what puts it back is not durable at once
        whole = scenarios.Recording(self, "over", self.fresh())
        own = [c for c in scenarios.disk.read_log(whole.log) if c.kind != "say"]
        second = next(i for i, c in enumerate(own) if c.pid != own[0].pid)
        changing = [c for c in own[second:] if c.kind != "open" or c.flags & (os.O_CREAT | os.O_TRUNC)]
        at = next(i for i, c in enumerate(changing) if c.kind == "rename" and ".old-" in c.to)
        for call in range(at + 2, at + 6):  # behind the first rename, its sync, the second, its sync
            with self.subTest(call=call):
                self.none(crash.kill_at(self, "over", call, SEED, 3)[2])

    def test_calls_that_fail(self):
        chance = random.Random(SEED)
        for name in ("pruned", "over"):
            for fault in crash.FAULTS:
                for call in sorted(chance.sample(range(1, 60 if fault == "short" else 240), 2)):
                    with self.subTest(name, fault=fault, call=call):
                        self.none(crash.fail_at(self, name, f"{call}:{fault}", SEED)[1])

    def test_the_first_step_of_a_new_run_waits_for_no_disk(self):
        events = scenarios.Recording(self, "pruned", self.fresh()).history.events
        kinds = [e.kind for e in events]
        first = next(i for i, e in enumerate(events) if e.kind == "data" and e.path.endswith("/metrics.jsonl"))
        self.assertNotIn("sync", kinds[:first])
        self.assertIn("sync", kinds)

    def test_planted_faults_are_noticed(self):
        for what, (name, pattern) in crash.PLANTED.items():
            with self.subTest(what):
                dropped, noticed = crash.leave_out(self, name, pattern, 120, SEED)
                self.assertGreater(dropped, 0)
                self.assertGreater(noticed, 0, f"nothing notices that {what} is never synced")


if not os.path.exists(scenarios.RECORDER) or not crash.states.READER.exists():
    print(f"skipped: no {scenarios.RECORDER} or {crash.states.READER}")
    sys.exit(harness.SKIP)
unittest.main(verbosity=2)
