"""Every place in which ranks wait for one another says so: else those that wait would be taken for the culprit."""
import re

import harness
from harness import LAUNCH

CONFIG = """
model: { base = "linear"; };
data: { base = "digits"; train_count = 64; test_count = 32; };
optim: { base = "sgd"; lr = 0.02; };
train: { batch = 32; epochs = 100; shards = 2; threads = 1; };
checkpoint: { every_epochs = 1; };
launch: { stuck_after = 4.0; };
"""
SYNCED = """model: { name = "synced"; layers = ( { type = "flatten"; }, { type = "linear"; out = 16; },
    { type = "batch_norm"; sync = true; }, { type = "linear"; out = 10; }, { type = "softmax_cross_entropy"; } ); };
"""
CASES = (  # where rank 1 stays for ever -> where rank 0 is said to wait; and more
    ("start:0-0", "where all ranks meet", ()),
    ("forward:5-5", "in bucket 0 of step 5", ()),
    ("forward:5-5", "in bucket 0 of step 5", ("optim.clip_norm=1", "optim=adamw")),
    ("update:5-5", "at the end of step 5", ()),
    ("eval-data:2-2", "where all ranks meet after step 2", ()),
    ("save:2-2", "where all ranks meet after step 2", ()),
    ("forward:5-5", "in bucket 0 of step 5", ("reduce.mode=fast", "repro.level=fast")),
    ("forward:5-5", "in a synchronised layer of step 5", ("SYNCED",)),
)


class Pulse(harness.Case):
    def test_who_waits_is_never_named(self):
        jobs = []  # all at once: they only sleep
        for i, (delay, where, args) in enumerate(CASES):
            config = self.dir / f"pulse-{i}.cfg"
            config.write_text(re.sub("model:.*\n", SYNCED, CONFIG) if "SYNCED" in args else CONFIG)
            jobs.append(self.start(LAUNCH, "-n", 2, "--quiet", config, f"run.dir={self.dir}/runs-{i}", *(a for a in args if a != "SYNCED"),
                                   env={"DDP_TEST_DELAY": f"1:{delay}:1000000"}))
        for (delay, where, args), p in zip(CASES, jobs):
            with self.subTest(delay, args=args):
                _, err = p.communicate(timeout=100)
                self.assertEqual(p.returncode, 4, err)
                self.assertRegex(err, rf"rank 1 on \S+ has been .*, and rank 0 waits for it {where}; process \d+ .*The job is ended for it")
                self.assertNotRegex(err, r"rank 0 on \S+ has been .* of step|all ranks have waited")


harness.main()
