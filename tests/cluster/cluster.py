"""What the cluster tests share: a bed for the whole suite, and the word why there is none."""
import os
import pathlib
import re
import shutil
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "system"))
from bed import Bed, why_not  # noqa: E402
from harness import BIN, ENDLESS, ROOT, SKIP, main as run, wait_for  # noqa: E402

PROCESSES = ["fake_rank_mpi", "ddp-train", "ddp-launch", "ddp-janitor", "orted", "mpirun", "ssh"]


def left_on(bed, hosts):
    """Processes and files of jobs, by host (None: the head)."""
    left = {}
    for i in hosts:
        names = bed.head(["ps", "-eo", "comm="], host=i).stdout.split()
        files = bed.head(["sh", "-c", "ls -d /dev/shm/* /tmp/ddp-* 2>/dev/null"], host=i).stdout.split()
        left[i] = [n for n in names if n in PROCESSES] + files
    return {i: what for i, what in left.items() if what}


class Case(unittest.TestCase):
    """Tests on one bed of `hosts` hosts; self.dir is a folder that all hosts see."""

    hosts, slurm = 3, False
    slots = {}  # cpus=, gpus= of a host, for Slurm

    @classmethod
    def setUpClass(cls):
        cls.bed = Bed(cls.hosts, slurm=cls.slurm, keep=[BIN], **cls.slots).__enter__()
        cls.addClassCleanup(cls.bed.__exit__)

    def setUp(self):
        self.env = {"DDP_CONFIGS_DIR": str(ROOT / "configs")}
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="test-", dir=self.bed.dir))
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)

    def assert_nothing_left(self, hosts):
        """Neither process nor folder of a job, once the last ones have had the time to end."""
        deadline = time.monotonic() + 30
        while left := left_on(self.bed, hosts):
            self.assertLess(time.monotonic(), deadline, left)
            time.sleep(0.1)

    def check_goes_on_without_a_host(self, command, weights, env):
        """n1 is powered off once the job, which may restart once, has saved step 50: it ends on the hosts that are left, with the line
        `weights`. command: without run.dir."""
        runs = self.dir / "lost"
        p = self.bed.start([*command, f"run.dir={runs}"], env=env, cwd=self.dir)
        self.addCleanup(lambda: (p.poll() is None and p.kill(), p.communicate()))
        deadline = time.monotonic() + 120
        while not list(runs.glob("*/checkpoints/step-00000050")):
            self.assertIsNone(p.poll(), "ended early")
            self.assertLess(time.monotonic(), deadline, "no checkpoint")
            time.sleep(0.02)
        self.bed.power_off(1)
        try:
            out, err = p.communicate(timeout=180)
        finally:
            self.bed.boot(1)
        self.assertEqual(p.returncode, 0, err)
        self.assertRegex(err, "host n1 is lost")
        self.assertRegex(err, "restart 1 of 1: going on from the last checkpoint of .*, without n1")
        self.assertIn(weights, out)


class Endless(Case):
    """Jobs that train until somebody ends them, and the processes that they consist of."""

    def setUp(self):
        super().setUp()
        self.config = self.dir / "endless.cfg"
        self.config.write_text(ENDLESS)
        self.runs = self.dir / "runs"
        self.addCleanup(self.kill_all)

    def kill_all(self):
        for i in (None, *self.bed.hosts):
            self.bed.head(["pkill", "-KILL", "-x", "|".join(PROCESSES)], host=i)

    def find(self, host, pattern):
        """The process of a host (None: the head) whose command line matches, as the machine counts."""
        space = os.readlink(f"/proc/{self.bed.pid if host is None else self.bed.hosts[host][1]}/ns/pid")

        def look():
            for p in pathlib.Path("/proc").iterdir():
                try:
                    if p.name.isdigit() and os.readlink(p / "ns/pid") == space and re.search(pattern, (p / "cmdline").read_text().replace("\0", " ")):
                        return int(p.name)
                except OSError:
                    pass
            return None
        return wait_for(look, 60, f"{pattern} on {host}")

    def steps(self, n):
        wait_for(lambda: sum(m.read_bytes().count(b'"type":"step"') for m in self.runs.glob("*/metrics.jsonl")) >= n, 60, f"{n} steps")

    def end(self, p, *texts, code=4):
        out, err = p.communicate(timeout=120)
        self.assertEqual(p.returncode, code, err)
        for text in texts:
            self.assertRegex(err, rf"(?m)^ddp-launch: {text}")
        self.assert_nothing_left([None, *self.bed.hosts])
        return err


def main(slurm=False, jobs=1):
    """harness.main (each job has a bed of its own), or a word why no test ran (a failure where CLUSTER_TESTS=must says that there is a cluster)."""
    reason = why_not(slurm)
    if reason:
        print(f"skipped: {reason}")
        sys.exit(1 if os.environ.get("CLUSTER_TESTS") == "must" else SKIP)
    run(jobs)
