#!/usr/bin/env python3
"""The bed itself: hosts that share nothing but files, can be reached, powered off and cut, and leave nothing behind."""
import os
import pathlib
import subprocess
import sys
import time
import unittest

import cluster
from bed import Bed


class Hosts(cluster.Case):
    slurm = True

    def test_names_and_reach(self):
        self.assertEqual([self.bed.on(i, ["hostname"]).stdout.strip() for i in range(3)], ["n0", "n1", "n2"])
        self.assertEqual(self.bed.head(["ssh", "n1", "ssh n2 hostname"], check=True).stdout.strip(), "n2")

    def test_own_shm_and_shared_files(self):
        self.bed.on(0, ["touch", "/dev/shm/mark", "/tmp/mark", self.dir / "mark"], check=True)
        self.assertNotEqual(self.bed.on(1, ["ls", "/dev/shm/mark"]).returncode, 0)
        self.assertNotEqual(self.bed.on(1, ["ls", "/tmp/mark"]).returncode, 0)
        self.assertFalse(pathlib.Path("/tmp/mark").exists())
        self.bed.on(1, ["ls", self.dir / "mark"], check=True)

    def test_slurm(self):
        r = self.bed.head(["srun", "-N3", "-n6", "hostname"], check=True)
        self.assertEqual(sorted(r.stdout.split()), ["n0", "n0", "n1", "n1", "n2", "n2"])

    def test_cut_and_heal(self):
        ping = ["timeout", "3", "ssh", "-oConnectTimeout=2", "n2", "true"]
        self.bed.cut(2)
        self.assertNotEqual(self.bed.head(ping).returncode, 0)
        self.bed.heal(2)
        deadline = time.monotonic() + 30
        while self.bed.head(ping).returncode != 0:
            self.assertLess(time.monotonic(), deadline, "not healed")

    def test_power_off_and_boot(self):
        p = self.bed.start(["sleep", "600"], host=1)
        self.bed.power_off(1)
        p.communicate(timeout=30)
        self.assertNotEqual(p.returncode, 0)
        self.bed.boot(1)
        self.assertEqual(self.bed.head(["ssh", "n1", "hostname"], check=True).stdout.strip(), "n1")


class Leftovers(unittest.TestCase):
    def test_dies_with_its_maker(self):
        script = f"import sys; sys.path.insert(0, {str(pathlib.Path(__file__).parent)!r})\n" \
                 "from bed import Bed\nimport os, signal\nwith Bed(1) as b:\n print(b.dir, b.hosts[0][1], flush=True)\n os.kill(os.getpid(), signal.SIGKILL)"
        folder, pid = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120).stdout.split()
        self.addCleanup(subprocess.run, ["rm", "-rf", folder])
        deadline = time.monotonic() + 30
        while os.path.exists(f"/proc/{pid}"):
            self.assertLess(time.monotonic(), deadline, "a host outlived its maker")
            time.sleep(0.05)

    def test_leaves_nothing(self):
        with Bed(1) as b:
            folder, pid = b.dir, b.hosts[0][1]
        self.assertFalse(folder.exists())
        self.assertFalse(os.path.exists(f"/proc/{pid}"))


if __name__ == "__main__":
    cluster.main(slurm=True)
