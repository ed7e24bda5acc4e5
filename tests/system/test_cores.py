"""Cores that a job may use: those that no other job holds, as many as a quota pays for, within what -H and schedulers say."""
import os
import pathlib
import re
import signal
import subprocess

import harness

LONG = ["--quiet", harness.ROOT / "configs/cnn.cfg", "model=mlp", "data.train_count=400", "train.epochs=100000"]


def places(text):
    """rank -> its CPUs, of a map."""
    return {int(r): cpus for r, cpus in re.findall(r"^rank (\d+) +cpus=(\S+)", text, re.M)}


class Cores(harness.Case):
    def map(self, *args, **env):
        r = self.run_program(harness.LAUNCH, "--map", *args, harness.ROOT / "configs/cnn.cfg", env=env)
        self.assertEqual(r.code, 0, r.err)
        return r.out

    def begin(self, *args):
        """A job that goes on and on, from when its cores are held."""
        job = self.start(harness.LAUNCH, *args, *LONG, f"run.dir={self.dir}/runs")
        tag = f"DDP_CORES_DIR={self.dir}"
        harness.wait_for(lambda: harness.ranks_of(tag) or job.poll() is not None, 60, "the first rank")
        self.assertIsNone(job.poll(), job.stderr)
        return job

    @harness.unittest.skipIf(len(os.sched_getaffinity(0)) < 2, "one core")
    def test_two_jobs_have_different_cores(self):
        before = places(self.map("-n", 1, "--threads", 1))[0]
        job = self.begin("-n", 1, "--threads", 1)
        shown = self.map("-n", 1, "--threads", 1)
        self.assertNotEqual(places(shown)[0], before)
        self.assertIn("cores are held by other jobs: ranks have the other", shown)
        self.assertRegex(shown, r"rank +(\S+ )*x")
        everything = self.map("-n", len(os.sched_getaffinity(0)), "train.shards=64")
        self.assertRegex(everything, r"held by other jobs, and ranks share \d+ of them")
        self.assertNotIn("spin=2000", everything)
        os.kill(job.pid, signal.SIGKILL)
        job.wait()
        harness.wait_for(lambda: places(self.map("-n", 1, "--threads", 1))[0] == before, 30, "the cores of a killed job")

    def test_a_job_that_is_not_bound_holds_nothing(self):
        before = self.map("-n", 1)
        self.begin("-n", 1, "--bind", "none")
        self.assertEqual(self.map("-n", 1), before)


class Hosts(harness.Case):
    def run_map(self, *args, **env):
        return self.run_program(harness.LAUNCH, *args, harness.ROOT / "configs/cnn.cfg", env=env)

    def test_map_shows_all_hosts(self):
        r = self.run_map("--map", "-H", "n0:2,n[1-2]:1", HWLOC_SYNTHETIC="package:1 numa:1 core:4 pu:1")
        self.assertEqual(r.code, 0, r.err)
        self.assertEqual(re.findall(r"^host (\S+), (\d) rank", r.out, re.M), [("n0", "2"), ("n1", "1"), ("n2", "1")])
        self.assertEqual(sorted(places(r.out)), [0, 1, 2, 3])

    def test_slots_of_this_host_are_the_default(self):
        out = self.run_map("--map", "-H", "localhost:3").out
        self.assertEqual(sorted(places(out)), [0, 1, 2])
        hostfile = self.dir / "hosts"
        hostfile.write_text("# mine\nlocalhost slots=2\n")
        self.assertEqual(sorted(places(self.run_map("--map", "--hostfile", hostfile).out)), [0, 1])

    def test_a_scheduler_says_how_many(self):
        slurm = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": os.uname().nodename, "SLURM_NTASKS": "3", "SLURM_TASKS_PER_NODE": "3"}
        self.assertEqual(sorted(places(self.run_map("--map", **slurm).out)), [0, 1, 2])
        lsf = {"LSB_JOBID": "7", "LSB_MCPU_HOSTS": f"{os.uname().nodename} 1"}
        self.assertEqual(sorted(places(self.run_map("--map", **lsf).out)), [0])

    def test_hosts_that_cannot_be_are_refused(self):
        for args, says in ((["-H", "n0:x"], "-H n0:x: at character 4"), (["-H", "n[0-999999999]"], "more than 65536 hosts"),
                           (["--hostfile", "/nonexistent"], "--hostfile: /nonexistent"),
                           (["-n", "4", "-H", "localhost:2"], "-n 4: -H has 2 slots")):
            r = self.run_map(*args)
            self.assertEqual(r.code, 3 if "nonexistent" in says else 2, r.err)
            self.assertIn(says, r.err)


class Quota(harness.Case):
    def group(self, cpus):
        """A control group with this quota; skips where none can be made."""
        for base, write in (("/sys/fs/cgroup/cpu", [("cpu.cfs_period_us", "100000"), ("cpu.cfs_quota_us", f"{int(cpus * 1e5)}")]),
                            ("/sys/fs/cgroup", [("cpu.max", f"{int(cpus * 1e5)} 100000")])):
            group = pathlib.Path(base) / f"ddp-test-{os.getpid()}"
            try:
                group.mkdir()
            except OSError:
                continue
            self.addCleanup(lambda: harness.wait_for(lambda: self.removed(group), 30, f"{group} to be empty"))
            try:
                for name, text in write:
                    (group / name).write_text(text)
                return group
            except OSError:
                continue
        self.skipTest("no control group can be made here: that takes root, and the cpu controller")

    @staticmethod
    def removed(group):
        try:
            group.rmdir()
        except FileNotFoundError:
            pass
        except OSError:
            return False
        return True

    def inside(self, group, *args):
        script = f'echo $$ > {group}/cgroup.procs && exec "$@"'
        return self.run_program("sh", "-c", script, "sh", *args)

    @harness.unittest.skipIf(len(os.sched_getaffinity(0)) < 2, "one core")
    def test_quota_decides_ranks_and_threads(self):
        group = self.group(1.5)
        r = self.inside(group, harness.LAUNCH, "--map", harness.ROOT / "configs/cnn.cfg")
        self.assertEqual(r.code, 0, r.err)
        self.assertEqual(places(r.out), {0: "any"})
        self.assertIn("a CPU quota pays for 1.5 of the", r.out)
        self.assertIn(str(group), r.out)
        self.assertIn("ranks are not bound to cores", r.out)
        two = self.inside(group, harness.LAUNCH, "--map", "-n", "2", harness.ROOT / "configs/cnn.cfg").out
        self.assertIn("spin=0", two)
        alone = self.inside(group, harness.TRAIN, harness.ROOT / "configs/cnn.cfg", "--quiet", *harness.SMALL,
                            "train.max_steps=1", f"run.dir={self.dir}/runs")
        self.assertEqual(alone.code, 0, alone.err)
        self.assertEqual(alone.json()["threads"], 1)


harness.main()
