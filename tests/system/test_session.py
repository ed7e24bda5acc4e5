#!/usr/bin/env python3
"""examples/scaling-session: every command of the page, word by word and in order, with settings that make it short; and what the page
says of terms and numbers."""
import csv
import os
import re
import subprocess
import unittest

import harness
from harness import BIN, ROOT

FOLDER = ROOT / "examples/scaling-session"
PAGE = (FOLDER / "README.md").read_text()
SETTINGS = "export MODEL=mnist_cnn RANKS=1,2,3,4 BATCH=96 STEPS=40 ROUNDS=6"
SHORT = "export MODEL=mlp RANKS=1,2,3,4 BATCH=24 STEPS=6 ROUNDS=1"


def blocks():
    """(section, commands) of every block of commands, in order."""
    found = []
    for section in re.split(r"^## ", PAGE, flags=re.M)[1:]:
        found += [(section.splitlines()[0], b) for b in re.findall(r"^```sh\n(.*?)^```", section, re.S | re.M)]
    return found


class Session(harness.Case):
    def whole(self):
        """What the commands of each section print; one shell, in a folder that looks like that of ddp, without a network."""
        for name, to in (("build/release/bin", BIN), ("configs", ROOT / "configs"), ("examples", ROOT / "examples")):
            (self.dir / name).parent.mkdir(parents=True, exist_ok=True)
            (self.dir / name).symlink_to(to)
        script = "set -eu -o pipefail\n" + "".join(f"echo '=== {name}'\n{commands}" for name, commands in blocks())
        self.assertEqual(script.count(SETTINGS), 1)
        offline = ["unshare", "-n"] if os.geteuid() == 0 and subprocess.run(["unshare", "-n", "true"], capture_output=True).returncode == 0 else []
        r = self.run_program(*offline, "bash", "-c", script.replace(SETTINGS, SHORT), timeout=400)
        self.assertEqual(r.code, 0, r.out[-3000:] + r.err)
        said = {}
        for part in re.split(r"^=== ", r.out, flags=re.M)[1:]:
            name, _, text = part.partition("\n")
            said[name] = said.get(name, "") + text
        return said

    def test_every_command(self):
        said = self.whole()
        self.assertEqual(list(said), ["Look", "Run", "Plot", "Explain", "Predict", "Check", "The batch that grows"])
        weights = re.findall(r"^weights: (\w+)", said["Look"], re.M)
        self.assertEqual((len(weights), len(set(weights))), (2, 1), said["Look"])
        self.assertIn("rank 1 ", said["Look"])

        rows = list(csv.DictReader((self.dir / "session/first.csv").open()))
        self.assertEqual(sorted((r["scaling"], int(r["ranks"])) for r in rows), [(k, n) for k in ("strong", "weak") for n in (1, 2, 3, 4)])
        self.assertIn("<svg", (self.dir / "session/first.svg").read_text())
        self.assertIn("why it is not N times", (self.dir / "session/first.md").read_text())
        self.assertEqual(said["Plot"].splitlines()[0], "nodes,ranks_per_node,local_batch,samples_per_s,scaling,ranks,speedup,efficiency_percent")
        self.assertEqual(len(said["Plot"].splitlines()), 9)

        self.assertIn("shared core", said["Explain"])
        self.assertEqual(said["Explain"].count("parts of a step"), 2)
        self.assertEqual(re.findall(r"^batch: (\d+) samples", said["Explain"], re.M), ["48", "16"])
        # The answers that the page gives to the puzzle.
        self.assertRegex(said["Predict"], r"communication +serial \+ parallel / N \+ c log2 N +4\.00\d +(360\.0|359\.9)\d+ +0\.600 ")
        self.assertIn("never more than 51 times", said["Predict"])
        self.assertRegex(said["Predict"], r"strong +64 .* 27\.5\d +communication\nstrong +256 .* 35\.6[5-9]\d* +communication")
        self.assertRegex(said["Predict"], r"(?m)^(weak|strong) +4 ")
        self.assertEqual(len(re.findall(r"^ +1 +[1-4] .* (?:weak|strong) ", said["Check"], re.M)), 8, said["Check"])

        weights = re.findall(r"^weights: (\w+)", said["The batch that grows"], re.M)
        self.assertEqual((len(weights), len(set(weights))), (2, 2))
        self.assertRegex(said["The batch that grows"], r"(?m)done +20 .* 64 +2 +0\.1$")

    def test_every_question_has_an_answer(self):
        for section in re.split(r"^## ", PAGE, flags=re.M)[1:]:
            self.assertEqual(len(re.findall(r"^\*\*Questions?\.\*\*", section, re.M)), section.count("<details>"), section)
            self.assertEqual(section.count("<details>"), section.count("</details>"))

    def test_keys_and_options_that_terms_are_given_are_there(self):
        text, keys = (FOLDER / "terms.md").read_text(), (ROOT / "docs/config.md").read_text()
        ours = re.findall(r"`((?:train|optim|data|reduce|launch)\.\w+)", text)
        self.assertGreater(len(ours), 10)
        for key in ours:
            self.assertIn(f"| `{key}` |", keys)
        helps = {p: self.run_program(BIN / p, *c, "--help").out for p, c in (("ddp-launch", []), ("ddp-bench", ["scaling"]))}
        for program, option in (("ddp-launch", "--restarts"), ("ddp-launch", "--resume"), ("ddp-launch", "--hostfile"),
                                ("ddp-launch", "--map"), ("ddp-bench", "--weak"), ("ddp-bench", "--strong")):
            self.assertIn(option, text)
            self.assertIn(option + " ", helps[program].replace(",", " "))


if __name__ == "__main__":
    harness.main()
