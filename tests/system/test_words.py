"""What messages say: the advice fits the case, the words fit the number, and nothing in a name commands the terminal."""
import errno
import os
import pathlib
import re

import harness
from harness import DATA, LAUNCH, ROOT, TRAIN

CNN = ROOT / "configs/cnn.cfg"
TINY = ["data.train_count=96", "data.test_count=16", "train.batch=16", "train.max_steps=2", "model=linear"]


class Advice(harness.Case):
    def says(self, command, code, *words, never=(), env=None):
        r = self.run_program(*command, env=env)
        said = r.out + r.err
        self.assertEqual(r.code, code, said)
        for w in words:
            self.assertIn(w, said)
        for w in never:
            self.assertNotIn(w, said)
        return said

    def test_init_from_an_empty_folder(self):
        empty = self.dir / "empty"
        empty.mkdir()
        for program in ([LAUNCH, "-n", 2], [TRAIN]):
            self.says([*program, CNN, *TINY, f"run.dir={self.dir}/runs", f"init.from={empty}"], 3,
                      f"init.from: {empty}: there is no checkpoint in it; wants a run, a checkpoint or a .safetensors file", never=["--resume"])
        self.says([LAUNCH, "-n", 2, "--resume", empty, CNN, *TINY], 3, "there is no checkpoint in it; start without --resume")
        self.says([LAUNCH, "-n", 2, "--eval", empty, CNN, *TINY], 3, f"{empty}: there is no checkpoint in it", never=["--resume"])

    def test_pack_on_a_full_disk_does_not_name_run_dir(self):
        # a picture in each of two classes: the smallest PPM-like input that pack takes is a PNG of its own sheet
        sheet = self.dir / "sheet.png"
        r = self.run_program(DATA, "inspect", CNN, "data.train_count=64", "data.test_count=64", "--sheet", sheet)
        self.assertEqual(r.code, 0, r.err)
        for split in ("train", "test"):
            for name in "ab":
                (self.dir / "img" / split / name).mkdir(parents=True)
                (self.dir / "img" / split / name / "p.png").write_bytes(sheet.read_bytes())
        self.says([DATA, "pack", self.dir / "img", self.dir / "p.ddp"], 3, "the disk is full", never=["run.dir"],
                  env={"DDP_TEST_FAULT": f"1:{errno.ENOSPC}:p.ddp"})

    def test_numbers_that_are_none(self):
        for value in ("nan", "inf", "-inf"):
            self.says([LAUNCH, "--map", CNN, f"optim.lr={value}"], 2, "command line: optim.lr: wants a number from 0 to 1000",
                      "nothing can be computed with that", never=["without quotes"])

    def test_one_of_a_thing(self):
        r = self.run_program(LAUNCH, "-n", 1, CNN, *TINY, "train.epochs=1", "train.shards=1", "train.max_steps=1", "train.threads=1",
                             "data.test_count=1", f"run.dir={self.dir}/runs")
        self.assertEqual(r.code, 0, r.err)
        self.assertIn(": 1 step (1 epoch of 6), batch 16 in 1 shard on 1 rank x 1 thread", r.err)
        self.assertIn("over 1 sample,", r.err)
        wrong = re.findall(r"\b1 (?:steps|epochs|shards|ranks|threads|samples|numbers|images|layers|tensors)\b", r.err)
        self.assertEqual(wrong, [], r.err)
        self.says([LAUNCH, "--map", CNN, *TINY, "data.mean=[0.5]"], 2, "data.mean has 1 number and data.std 0")

    def test_the_command_line_has_no_lines(self):
        said = self.says([LAUNCH, "--map", CNN, *TINY, "optim.groups=({match = 'x*'})"], 2, "command line: optim.groups[0].match = \"x*\" fits none")
        said += self.says([LAUNCH, "--map", CNN, "data.train_count=96",
                           "model.layers=({type=flatten},{type=linear,out=10,name=a},{type=relu,name=a},{type=softmax_cross_entropy})"], 2,
                          "the name 'a' is taken by command line: model.layers[1]")
        self.assertNotIn(":0", said)

    def test_options_of_mpirun(self):
        self.says([LAUNCH, "-np", "2", CNN], 2, "-np is mpirun's; ddp-launch takes the number of ranks as -n N")

    def test_threads_0_is_the_key_s_0(self):
        self.says([LAUNCH, "-n", 2, "--threads", "0", "--map", CNN], 0, "rank 0")
        self.says([LAUNCH, "-n", 2, "--threads", "-1", "--map", CNN], 2, "or 0 for the rank's share of the cores")

    def test_the_command_line_s_form_in_a_file(self):
        c = self.dir / "my.cfg"
        c.write_text("seed = 1;\noptim.lr = 0.1;\n")
        self.says([LAUNCH, "--map", c], 2, f"{c}:2: optim.lr: in a file a key of a group is written optim: {{ lr = 0.1; }}")
        c.write_text("seed = 1;\noptim: { lr = 0.1; };\n")
        self.says([LAUNCH, "--map", c], 0)

    def test_what_others_call_it(self):
        self.says([LAUNCH, "--map", CNN, "optim.wd=0.1"], 2, "did you mean 'optim.weight_decay'?")
        self.says([LAUNCH, "--map", CNN, "--wd=0.1"], 2, "optim.weight_decay")

    def test_a_byte_order_mark(self):
        c = self.dir / "my.cfg"
        c.write_bytes(b"\xef\xbb\xbfseed = 3;\r\n")
        self.assertIn("seed = 3;", self.says([LAUNCH, "--print-config", c], 0))

    def test_an_include_of_a_pipe_is_refused_and_hangs_nobody(self):
        os.mkfifo(self.dir / "pipe.cfg")
        c = self.dir / "my.cfg"
        c.write_text('@include "pipe.cfg"\n')
        for command in ([LAUNCH, "-n", 2, c], [LAUNCH, "--map", c], [TRAIN, c]):
            self.says(command, 2, f"{c}:1: @include: {self.dir}/pipe.cfg is no regular file")

    def test_a_long_tmpdir_is_said_not_to_be_used(self):
        if os.geteuid():
            self.skipTest("mounts need root")
        long = self.dir / ("t" * 70)
        long.mkdir()
        script = 'mount -t tmpfs -o size=1m tmpfs /dev/shm; mount -t tmpfs -o size=1m tmpfs /tmp; exec "$@"'
        probe = self.run_program("unshare", "-m", "sh", "-ec", script, "sh", "true")
        if probe.code:
            self.skipTest("no mounts of one's own here")
        home = pathlib.Path("/var/tmp") / self.dir.name  # /tmp is hidden by the mount
        self.says(["unshare", "-m", "sh", "-ec", script, "sh", LAUNCH, "--starter", "mpirun", "-n", 2, CNN, *TINY, f"run.dir={home}"], 3,
                  "the one that is set is not used: its", "more than the 60", env={"TMPDIR": str(long)})
        if home.exists():
            home.rmdir()


class Terminal(harness.Case):
    """No escape sequence that stands in a name reaches the terminal."""
    EVIL = "\x1b]0;owned\x07\x1b[2J"

    def silent(self, r):
        self.assertNotIn("\x1b", r.err + r.out)
        self.assertNotIn("\x07", r.err + r.out)

    def test_names_of_files(self):
        evil = self.dir / (self.EVIL + ".cfg")
        for command in ([LAUNCH, "-n", 2, evil], [TRAIN, evil], [LAUNCH, "--map", CNN, f"model={self.EVIL}"], [LAUNCH, "--map", CNN, f"{self.EVIL}=1"],
                        [LAUNCH, "--map", CNN, f"optim.{self.EVIL}=1"], [DATA, "inspect", evil], [DATA, "pack", evil, self.dir / "o"],
                        [LAUNCH, "-n", 2, "--resume", evil, CNN], [LAUNCH, f"--{self.EVIL}"], [TRAIN, f"--{self.EVIL}"], [DATA, self.EVIL],
                        [TRAIN, "--help-layers", self.EVIL], [LAUNCH, "--help-config", self.EVIL], [LAUNCH, "--program", f"./{self.EVIL}", CNN]):
            with self.subTest(command=command):
                r = self.run_program(*command)
                self.assertNotEqual(r.code, 0)
                self.silent(r)
                self.assertIn("?]0;owned?", r.err)

    def test_names_of_runs_and_words_of_ranks(self):
        r = self.run_program(LAUNCH, "-n", 2, CNN, *TINY, f"run.dir={self.dir}/{self.EVIL}", f"init.from={self.dir}/{self.EVIL}")
        self.assertEqual(r.code, 3, r.err)
        self.silent(r)


harness.main()
