"""The examples, built out of tree against the installed and moved package, by find_package and by pkg-config, and run."""
import json
import os
import pathlib
import shutil
import subprocess
import tempfile

import harness
from harness import ROOT

TINY = ["model=linear", "data.train_count=200", "data.test_count=40", "train.batch=16", "train.max_steps=12"]
WAYS = ("cmake", "pkg-config")


class Examples(harness.Case):
    @classmethod
    def setUpClass(cls):
        cls.top = pathlib.Path(tempfile.mkdtemp(prefix="ddp-examples-"))
        cls.addClassCleanup(shutil.rmtree, cls.top, ignore_errors=True)
        cls.prefix = harness.install(cls.top)
        cls.configs = cls.prefix / "share/ddp/configs"
        cls.programs = {}

    def environment(self, **extra):
        env = super().environment(**extra)
        env.pop("DDP_CONFIGS_DIR")
        env.pop("LD_LIBRARY_PATH", None)
        return env

    def call(self, command, cwd, **env):
        p = subprocess.run([str(c) for c in command], cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                           text=True, env={**os.environ, **env})
        self.assertEqual(p.returncode, 0, f"{command}\n{p.stdout[-3000:]}")
        self.assertNotIn("warning", p.stdout)

    def build(self, name, way):
        """The program `name`, built from a copy of its folder; each once."""
        tools = ("cmake",) if way == "cmake" else ("make", "pkg-config")
        for tool in tools:
            if not shutil.which(tool):
                self.skipTest(f"{tool} is not there")
        if (name, way) not in self.programs:
            folder = self.top / way / name
            shutil.copytree(ROOT / "examples" / name, folder, ignore=shutil.ignore_patterns(name, "build"))
            if way == "cmake":
                self.call(["cmake", "-S", ".", "-B", "build", f"-DCMAKE_PREFIX_PATH={self.prefix}"], folder)
                self.call(["cmake", "--build", "build"], folder)
                program = folder / "build" / name
            else:
                (pc,) = self.prefix.glob("lib*/**/ddp.pc")
                self.call(["make"], folder, PKG_CONFIG_PATH=str(pc.parent))
                program = folder / name
            self.programs[name, way] = program
        return self.programs[name, way]

    def alone(self, program, *args):
        """Run as one rank; the accuracy and the weights hash from its last line."""
        r = self.run_program(program, *args)
        self.assertEqual(r.code, 0, r.err)
        words = r.out.strip().splitlines()[-1].replace(",", "").split()
        self.assertEqual((words[0], words[2], words[4]), ("accuracy", "weights", "in"))
        r.run_dir = words[5]
        return float(words[1]), words[3], r

    def under_launcher(self, program, *args, ranks=3):
        r = self.run_program(self.prefix / "bin/ddp-launch", "-n", ranks, "--program", program, *args)
        self.assertEqual(r.code, 0, r.err)
        self.assertEqual([l.split(":")[0] for l in r.out.splitlines()[-2:]], ["run", "weights"])
        return r

    def test_train_gives_the_weights_of_ddp_launch(self):
        config = self.configs / "cnn.cfg"
        own = self.run_program(self.prefix / "bin/ddp-launch", "-n", 2, "--quiet", config, *TINY)
        self.assertEqual(own.code, 0, own.err)
        for way in WAYS:
            with self.subTest(way):
                program = self.build("train", way)
                _, weights, alone = self.alone(program, config, *TINY)
                self.assertEqual(weights, own.weights)
                self.assertEqual(alone.out.count("step 10: loss"), 1)
                three = self.under_launcher(program, config, *TINY)
                self.assertEqual(three.weights, own.weights)
                self.assertEqual(three.out.count("step 10: loss"), 1)  # the hook speaks on rank 0 only
                record = json.loads((self.dir / three.run_dir / "run.json").read_text())
                self.assertEqual((record["ranks"], record["status"]), (3, "done"))
                self.assertIn("--program", record["command"])

    def test_a_hook_that_hangs_is_named(self):
        program, config = self.build("train", "cmake"), self.configs / "cnn.cfg"
        r = self.run_program(self.prefix / "bin/ddp-launch", "-n", 3, "--quiet", "--program", program, config, *TINY,
                             "launch.stuck_after=6", env={"DDP_TEST_DELAY": "0:hook:3-3:1000000"})
        self.assertEqual(r.code, 4, r.err)
        self.assertRegex(r.err, r"rank 0 on \S+ has been in the user's on_step hook after step 3 for .* and rank 1 waits for it where all "
                                r"ranks meet after step 3 .*The job is ended for it")

    def test_train_resumes_and_says_errors_once(self):
        program, config = self.build("train", "cmake"), self.configs / "cnn.cfg"
        first = self.under_launcher(program, config, *TINY)
        more = self.under_launcher(program, "--resume", first.run_dir, config, *TINY, "train.max_steps=16", ranks=2)
        whole = self.run_program(self.prefix / "bin/ddp-launch", "-n", 1, "--quiet", config, *TINY, "train.max_steps=16")
        self.assertEqual(more.weights, whole.weights)
        for command in ([self.prefix / "bin/ddp-launch", "-n", 3, "--program", program], ["mpirun", "--oversubscribe", "-n", 3, program],
                        [program]):
            r = self.run_program(*command, config, *TINY, "data=mnist")
            self.assertEqual(r.code, 3, r.err)
            self.assertEqual(r.err.count("ddp-data fetch mnist"), 1, r.err)
        self.assertEqual(self.run_program(program).code, 2)

    def test_op_of_ones_own(self):
        for way in WAYS:
            with self.subTest(way):
                program = self.build("op", way)
                config = program.parent.parent / "hard_tanh.cfg" if way == "cmake" else program.parent / "hard_tanh.cfg"
                tiny = ["train.max_steps=20", "data.test_count=100"]
                accuracy, weights, _ = self.alone(program, config, *tiny)
                self.assertGreater(accuracy, 0.3)  # of 0.1 by chance
                self.assertEqual(self.under_launcher(program, config, *tiny).weights, weights)
                _, lower, _ = self.alone(program, config, *tiny, "model.layers[2].limit=0.2")
                self.assertNotEqual(lower, weights)
                bad = self.run_program(program, config, *tiny, "model.layers[2].limit=0")
                self.assertEqual(bad.code, 2)
                self.assertIn("limit", bad.err)
                self.assertIn("from 0.001 to 1000", bad.err)
        unknown = self.run_program(self.prefix / "bin/ddp-launch", "-n", 2, config, *tiny)  # ddp-train does not know the op
        self.assertEqual(unknown.code, 2)
        self.assertIn("hard_tanh", unknown.err)
        self.assertIn("hard_tanh.cfg:", unknown.err)

    def test_data_set_of_ones_own(self):
        for way in WAYS:
            with self.subTest(way):
                program = self.build("dataset", way)
                config = program.parent.parent / "stripes.cfg" if way == "cmake" else program.parent / "stripes.cfg"
                accuracy, weights, alone = self.alone(program, config)
                self.assertGreater(accuracy, 0.95)
                self.assertEqual(self.under_launcher(program, config).weights, weights)
                digests = [d["sha256"] for d in json.loads((self.dir / alone.run_dir / "run.json").read_text())["data"]]
                _, _, other = self.alone(program, config, "data.seed=2", "train.max_steps=1")
                others = [d["sha256"] for d in json.loads((self.dir / other.run_dir / "run.json").read_text())["data"]]
                self.assertEqual(len({*digests, *others}), 4)  # train and test, two seeds: all different pictures


harness.main()
