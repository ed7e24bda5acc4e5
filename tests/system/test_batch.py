#!/usr/bin/env python3
"""ddp-launch --batch: scripts that a shell takes, submitted through stand-ins of sbatch and bsub, and run as the batch system
would: a signal before the end of the time stops the ranks at a checkpoint, exit code 75 asks for another turn, and the next
turn goes on to the same bits."""
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time

import harness
from harness import LAUNCH, ROOT

LONG = [*harness.SMALL[:2], "train.batch=32", "train.epochs=8", "train.shards=2", "checkpoint.every_steps=0"]


class Batch(harness.Case):
    def stand_in(self, name, text):
        path = self.dir / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("#!/bin/sh\n" + text)
        path.chmod(0o755)
        return {"PATH": f"{path.parent}:{os.environ['PATH']}"}

    def script(self, system, *args, code=0, env=None):
        r = self.run_program(LAUNCH, "--batch", system, *args, env=env)
        self.assertEqual(r.code, code, r.err)
        return r

    def config(self):
        return str(ROOT / "configs/cnn.cfg")

    def test_shellcheck(self):
        if not shutil.which("shellcheck"):
            self.skipTest("shellcheck is not installed")
        files = sorted((ROOT / "slurm").glob("*.sbatch")) + sorted((ROOT / "slurm").glob("*.bsub"))
        self.assertGreater(len(files), 5)
        for system in ("slurm", "lsf"):
            files.append(self.dir / f"{system}.sh")
            files[-1].write_text(self.script(system, "-n", 4, "--nodes=2", "--time=90", self.config(), "run.name=it's").out)
        r = subprocess.run(["shellcheck", "-s", "bash", *files], capture_output=True, text=True)
        self.assertEqual(r.returncode, 0, r.stdout)

    def test_submits_what_it_prints(self):
        for system, program in (("slurm", "sbatch"), ("lsf", "bsub")):
            with self.subTest(system):
                env = self.stand_in(program, f"cat > '{self.dir}/{system}.in'; echo 'Submitted batch job 7'")
                text = self.script(system, "-n", 2, self.config(), f"run.dir={self.dir}/runs-{system}", env=env).out
                r = self.script(system, "--submit", "-n", 2, self.config(), f"run.dir={self.dir}/runs-{system}", env=env)
                self.assertEqual((self.dir / f"{system}.in").read_text(), text)
                self.assertEqual(r.out, "Submitted batch job 7\n")
                self.assertTrue((self.dir / f"runs-{system}").is_dir(), "no folder for the job's log")

    def test_options_of_the_run_are_kept(self):
        line = next(l for l in self.script("slurm", "-n", 2, "--restarts", 3, "--map-by", "node", self.config()).out.splitlines() if "ddp-launch -n2" in l)
        self.assertIn("--restarts=3", line)
        self.assertIn("--map-by=node", line)

    def test_refusals(self):
        cases = [(["--batch=pbs"], 2, "slurm and lsf are known"), (["--submit"], 2, "belong to --batch"), (["--time=90"], 2, "belong to --batch"),
                 (["--batch=slurm", "--time=soon"], 2, "--time soon"), (["--batch=slurm", "--map"], 2, "leave --map"),
                 (["--batch=slurm", "--nodes=0"], 2, "--nodes 0"), (["--batch=slurm", "optim.lrr=1"], 2, "optim.lr")]
        for args, code, text in cases:
            with self.subTest(args):
                r = self.run_program(LAUNCH, *args, self.config())
                self.assertEqual(r.code, code)
                self.assertIn(text, r.err)
                self.assertEqual(r.out, "")
        r = self.run_program(LAUNCH, "--batch=slurm", "--submit", self.config(), f"run.dir={self.dir}/r",
                             env=self.stand_in("sbatch", "echo 'sbatch: error: invalid partition' >&2; exit 1"))
        self.assertEqual(r.code, 3)
        self.assertRegex(r.err, "invalid partition(.|\n)*sbatch has refused the job")

    def test_the_log_has_a_folder(self):
        for system in ("slurm", "lsf"):
            self.script(system, "-n", 2, self.config(), f"run.dir={self.dir}/{system}/runs")
            self.assertTrue((self.dir / system / "runs").is_dir())

    def job(self, text, env):
        path = self.dir / "slurm_script"
        path.write_text(text)
        return subprocess.Popen(["bash", path], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                cwd=self.dir, env=self.environment(**env), start_new_session=True)

    def test_time_is_over(self):
        runs = f"run.dir={self.dir}/runs"
        whole = self.run_program(LAUNCH, "-q", "-n", 2, self.config(), *LONG, f"run.dir={self.dir}/whole")
        self.assertEqual(whole.code, 0, whole.err)
        env = {**self.stand_in("scontrol", f"echo \"$@\" > '{self.dir}/requeued'"), "SLURM_JOB_ID": "7"}
        text = self.script("slurm", "-n", 2, self.config(), *LONG, runs).out
        p = self.job(text, env)
        try:
            deadline = time.monotonic() + 60
            while not any(f.read_bytes().count(b"\n") > 2 for f in self.dir.glob("runs/*/metrics.jsonl")):
                self.assertLess(time.monotonic(), deadline, "no steps")
                self.assertIsNone(p.poll())
                time.sleep(0.02)
            os.kill(p.pid, signal.SIGUSR1)  # what --signal=B: does: only the script's shell
            out, err = p.communicate(timeout=60)
        finally:
            if p.poll() is None:
                os.killpg(p.pid, signal.SIGKILL)
        self.assertEqual(p.returncode, 75, err)
        self.assertEqual((self.dir / "requeued").read_text(), "requeue 7\n")
        run = next((self.dir / "runs").iterdir())
        self.assertEqual((run / "job.sh").read_text(), text)
        p = self.job(text, env)
        out, err = p.communicate(timeout=120)
        self.assertEqual(p.returncode, 0, err)
        self.assertEqual(re.findall("^weights: (.*)$", out, re.M), [whole.weights])
        self.assertEqual(len(list((self.dir / "runs").iterdir())), 1)


if __name__ == "__main__":
    harness.main()
