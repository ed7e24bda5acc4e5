"""What programs say of themselves: --help, --version, --man, the references, and the first lines of the README."""
import os
import pathlib
import re
import shutil
import subprocess

import harness
from harness import BIN, DATA, LAUNCH, ROOT, TRAIN

BENCH, RUNS = BIN / "ddp-bench", BIN / "ddp-runs"
PROGRAMS = [LAUNCH, TRAIN, DATA, BENCH, RUNS]
COMMANDS = [[DATA, "fetch"], [DATA, "pack"], [DATA, "inspect"], [BENCH, "ops"], [BENCH, "gpu"], [BENCH, "step"], [BENCH, "scaling"], [BENCH, "loader"], [BENCH, "repro"],
            *([RUNS, c] for c in ("list", "show", "diff", "verify", "reproduce", "mark", "gc"))]
ALL = [[p] for p in PROGRAMS] + COMMANDS
READ_CONFIGS = [[LAUNCH], [TRAIN], [DATA], [DATA, "inspect"]]


def options_of(page):
    """Of a page of roff: long and short names, and what follows them."""
    found = []
    for line in page.splitlines():
        names = re.findall(r"\\fB((?:\\-)+[^\\ ]*(?:\\-[^\\ ]+)*)\\fP", line)
        if line.startswith("\\fB\\-") and names:
            value = re.search(r"\\fI(.*)\\fP$", line)
            found += [(n.replace("\\-", "-"), value.group(1).replace("\\-", "-") if value else None) for n in names]
    return found


class Manuals(harness.Case):
    def answer(self, *command):
        r = self.run_program(*command)
        self.assertEqual((r.code, r.err), (0, ""), command)
        return r.out

    def test_version(self):
        version = re.search(r"project\(ddp VERSION (\S+)", (ROOT / "CMakeLists.txt").read_text()).group(1)
        for command in ALL:
            self.assertEqual(self.answer(*command, "--version"), f"{command[0].name} {version}\n")

    def test_help(self):
        for command in ALL:
            text = self.answer(*command, "--help")
            self.assertEqual(self.answer(*command, "-h"), text)
            self.assertTrue(text.startswith("usage: " + " ".join([command[0].name, *command[1:]])), text)
            self.assertEqual([l for l in text.splitlines() if len(l) > 79], [])

    def test_pages_are_well_formed_and_name_the_options_of_help(self):
        for command in ALL:
            page, text = self.answer(*command, "--man"), self.answer(*command, "--help")
            names = [n for n, _ in options_of(page)]
            self.assertGreater(len(names), 3, page)
            for name in set(re.findall(r"^  (?:-\w, )?(--[a-z-]+)", text, re.M)):
                self.assertIn(name, names)
            if shutil.which("groff"):
                p = subprocess.run(["groff", "-man", "-Tascii", "-ww"], input=page, capture_output=True, text=True)
                self.assertEqual((p.returncode, p.stderr), (0, ""))
                self.assertIn(command[0].name.upper(), p.stdout)

    def test_each_option_of_a_page_is_one(self):
        """A program that did not know it would say so before it misses anything else."""
        for command in ALL:
            page = self.answer(*command, "--man")
            own = page.split('.SH "DDP-')[0]  # without those of its commands
            for name, value in options_of(own):
                if name in ("--help", "-h", "--version", "--man") or name.startswith("--help-"):
                    continue
                words = [name, "word"] if value and not value.startswith("[") else [name]
                r = self.run_program(*command, *words, "--no-such-option")
                self.assertEqual(r.code, 2, r.err)
                self.assertNotRegex(r.err, rf"unknown option '{re.escape(name)}'")
                if value and not value.startswith("["):
                    self.assertIn("needs a value", self.run_program(*command, name).err)
            r = self.run_program(*command, "--no-such-option")
            self.assertEqual(r.code, 2)
            self.assertIn("unknown option '--no-such-option'; the nearest known one is --", r.err)

    def test_references_are_answered_by_every_program_that_reads_configs(self):
        config, layers = self.answer(LAUNCH, "--help-config"), self.answer(LAUNCH, "--help-layers")
        self.assertIn("optim.lr = 0.1", config)
        self.assertIn("[conv2d]", layers)
        for command in READ_CONFIGS:
            self.assertEqual(self.answer(*command, "--help-config"), config)
            self.assertEqual(self.answer(*command, "--help-layers"), layers)
            self.assertEqual(self.answer(*command, "--help-config", "--markdown"), (ROOT / "docs/config.md").read_text())
            self.assertEqual(self.answer(*command, "--markdown", "--help-layers"), (ROOT / "docs/layers.md").read_text())
            one = self.answer(*command, "--help-config", "optim.lr")
            self.assertIn("optim.lr = 0.1", one)
            self.assertNotIn("train.batch =", one)
            self.assertNotIn("[linear]", self.answer(*command, "--help-layers", "conv2d"))
            for words in (["--help-config", "optim.lrr"], ["--help-layers", "conv2"]):
                r = self.run_program(*command, *words)
                self.assertEqual((r.code, r.out), (2, ""))
                self.assertRegex(r.err, "optim.lr|conv2d")

    def test_wrong_usage_says_where_to_read_on(self):
        for command in ([DATA], [DATA, "fetch"], [DATA, "pack"], [DATA, "inspect"], [DATA, "pack", "a"], [BENCH], [TRAIN], [LAUNCH],
                        [DATA, "fetch", "nosuch"], [BENCH, "nosuch"], [RUNS], [RUNS, "nosuch"], [RUNS, "show"], [RUNS, "mark"]):
            r = self.run_program(*command)
            self.assertEqual((r.code, r.out), (2, ""), command)
            self.assertIn("--help", r.err)
            self.assertLess(len(r.err.splitlines()), 3, r.err)

    def test_installed(self):
        prefix = harness.install(self.dir)
        for program in PROGRAMS:
            self.assertEqual(self.answer(prefix / "bin" / program.name, "--version"), self.answer(program, "--version"))
            pages = list(prefix.rglob(f"man1/{program.name}.1"))
            self.assertEqual(len(pages), 1, program.name)
            self.assertEqual(pages[0].read_text(), self.answer(program, "--man"))

    def test_the_first_lines_of_the_readme_work_without_a_network(self):
        section = (ROOT / "README.md").read_text().split("## Using it")[1].split("```")[1]
        lines = section.split("# these want a network")[0].strip().splitlines()
        lines = [l for l in lines if l and not l.startswith(("export PATH", "#"))]
        self.assertGreater(len(lines), 6)
        (self.dir / "configs").symlink_to(ROOT / "configs")
        offline = ["unshare", "-n"] if os.geteuid() == 0 and subprocess.run(["unshare", "-n", "true"], capture_output=True).returncode == 0 else []
        env = {"PATH": f"{BIN}:{os.environ['PATH']}"}
        for line in lines:
            r = self.run_program(*offline, "bash", "-c", line, env=env, timeout=200)
            self.assertEqual(r.code, 0, f"{line}\n{r.err}")
            for words in ("unknown", "has no effect"):
                self.assertNotIn(words, r.err)


harness.main()
