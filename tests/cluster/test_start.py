#!/usr/bin/env python3
"""Ranks on several hosts: started by mpirun and srun, looked at before, watched and ended from their own hosts. The ranks
only join MPI and wait (tests/launcher/fake_rank.c), so that what is seen here is the launcher."""
import json
import os
import re
import shutil
import signal
import time

import cluster
from harness import BIN, LAUNCH, ROOT, TRAIN, wait_for

RANK = BIN / "fake_rank_mpi"


class Case(cluster.Case):
    """A folder with a config, and the launcher with fake ranks."""

    def setUp(self):
        super().setUp()
        (self.dir / "c.cfg").write_text("seed = 1;\n")
        (self.dir / "ranks").mkdir()

    def environment(self, mode, **extra):
        return {"RANK_MODE": mode, "RANK_DIR": str(self.dir / "ranks"), **extra}

    def command(self, *args, program=RANK):
        return [LAUNCH, "--program", program, *args, self.dir / "c.cfg", f"run.dir={self.dir}/runs"]

    def launch(self, *args, mode="done", code=0, host=None, before=(), env=None, **kw):
        r = self.bed.head([*before, *self.command(*args, **kw)], env=self.environment(mode, **(env or {})), cwd=self.dir, host=host)
        self.assertEqual(r.returncode, code, f"stdout: {r.stdout[-2000:]}\nstderr: {r.stderr[-4000:]}")
        return r

    def start(self, *args, mode="stop", before=(), host=None):
        """In the background, until all its ranks are there."""
        p = self.bed.start([*before, *self.command(*args)], env=self.environment(mode), cwd=self.dir, host=host)
        self.addCleanup(lambda: (p.poll() is None and p.kill(), p.communicate()))
        return p

    def wait_for_ranks(self, p, n):
        deadline = time.monotonic() + 60
        while len(self.proofs()) < n:
            self.assertIsNone(p.poll(), "ended early")
            self.assertLess(time.monotonic(), deadline, "ranks do not start")
            time.sleep(0.02)

    def proofs(self):
        return {f.name: f.read_text().splitlines() for f in (self.dir / "ranks").iterdir() if "." not in f.name}

    def end(self, p, code, limit):
        """Its end within `limit` seconds; what it said."""
        begin = time.monotonic()
        out, err = p.communicate(timeout=60)
        self.assertEqual(p.returncode, code, f"stdout: {out[-2000:]}\nstderr: {err[-4000:]}")
        self.assertLess(time.monotonic() - begin, limit, err)
        return err


class Start(Case):
    slurm = True

    def test_mpirun(self):
        self.launch("-n", 5, "-H", "n0:2,n1:2,n2:1", env={"RANK_ENV": "HOSTNAME"})
        self.assertEqual(sorted(self.proofs()), list("01234"))
        self.assert_nothing_left(range(3))

    def test_mpirun_from_a_host_that_takes_part(self):
        self.launch("-n", 3, "-H", "n0:1,n1:2", host=0)
        self.assertEqual(sorted(self.proofs()), list("012"))
        self.launch("-n", 2, "-H", "n1", host=0)
        self.assert_nothing_left(range(2))

    def test_srun(self):
        r = self.launch("-n", 5, before=["salloc", "-N3", "-n", "6", "--quiet"])
        self.assertEqual(sorted(self.proofs()), list("01234"))
        self.assertIn("weights: 0123abcd", r.stdout)
        self.assert_nothing_left(range(3))

    def test_mpirun_inside_a_job_of_slurm(self):
        self.launch("-n", 5, "--starter", "mpirun", before=["salloc", "-N3", "-n", "6", "--quiet"])
        self.assertEqual(sorted(self.proofs()), list("01234"))

    def test_srun_inside_a_batch_script(self):
        script = self.dir / "job.sh"
        script.write_text("#!/bin/sh\n" + " ".join(map(str, self.command("-n", 4))) + "\n")
        self.bed.head(["sbatch", "--wait", "-N2", "-n4", "--output", self.dir / "log", script],
                      env=self.environment("done"), cwd=self.dir, check=True)
        self.assertEqual(sorted(self.proofs()), list("0123"), (self.dir / "log").read_text())

    def test_srun_on_the_one_host_of_a_job(self):
        script = self.dir / "job.sh"
        script.write_text("#!/bin/sh\n" + " ".join(map(str, self.command("-n", 2, "--starter", "srun"))) + "\n")
        self.bed.head(["sbatch", "--wait", "-N1", "-n2", "--output", self.dir / "log", script],
                      env=self.environment("done"), cwd=self.dir, check=True)
        self.assertEqual(sorted(self.proofs()), list("01"), (self.dir / "log").read_text())

    def test_environment_arrives_as_it_is(self):
        value = "two; words, 'quoted' \\ and = signs"
        for n, before in enumerate(([], ["salloc", "-N2", "-n", "4", "--quiet"])):
            with self.subTest(before=before):
                hosts = [] if before else ["-H", "n0:2,n1:2"]
                self.launch("-n", 4, *hosts, before=before, env={"NCCL_A_WORD": value, "RANK_ENV": "NCCL_A_WORD"})
                for rank, lines in self.proofs().items():
                    self.assertEqual(lines[-1], "NCCL_A_WORD=" + value, rank)

    def test_jobs_on_the_same_hosts_have_different_cores(self):
        if len(os.sched_getaffinity(0)) < 2:
            self.skipTest("one core")
        args = ("-n", 2, "-H", "n0:1,n1:1", "--threads", 1)

        def places(host=None):
            return re.findall(r"^ *rank (\d) +cpus=(\S+)", self.launch(*args, "--map", host=host).stdout, re.M)

        before = places()
        self.assertEqual([rank for rank, _ in before], ["0", "1"])
        for host in (None, 0):  # the launcher's own host takes part, or does not
            with self.subTest(host=host):
                p = self.start(*args, host=host)
                self.wait_for_ranks(p, 2)
                now = places(host)
                self.assertTrue(all(a != b for a, b in zip(before, now, strict=True)), (before, now))
                self.bed.head(["pkill", "-KILL", "-x", "-o", "ddp-launch"], check=True)
                wait_for(lambda: places() == before, 30, "the cores of a job that is dead")
                p.communicate()
                for proof in (self.dir / "ranks").iterdir():
                    proof.unlink()

    def test_a_line_of_all_ranks_is_shown_once(self):
        for before in ([], ["salloc", "-N2", "-n", "4", "--quiet"]):
            with self.subTest(before=before):
                for _ in range(10):  # a busy machine may keep a rank from its word for longer than the others' lines wait
                    for f in (self.dir / "ranks").iterdir():
                        f.unlink()
                    r = self.launch("-n", 4, *([] if before else ["-H", "n0:2,n1:2"]), mode="warns", before=before, env={"RANK_COUNT": "4"})
                    said = re.findall("^(?:([0-9]+) times: )?warning: the driver is old$", r.stderr, re.M)
                    self.assertEqual(sum(int(n or 1) for n in said), 4, r.stderr)
                    if said == ["4"]:
                        break
                self.assertEqual(said, ["4"], r.stderr)

    def test_ranks_are_placed_on_their_own_hosts(self):
        self.launch("-n", 4, "-H", "n0:2,n1:2", env={"RANK_ENV": "DDP_PLACE"})
        for rank, lines in self.proofs().items():
            self.assertEqual(lines[-1].count(";"), 1, (rank, lines))

    def test_networks_that_only_look_alike_are_passed_over(self):
        """A bridge with the same address on every host, and a second network that only one of them has."""
        for i in range(3):
            for change in ("link add docker0 type bridge", "addr add 172.17.0.1/16 dev docker0", "link set docker0 up",
                           "link add aaa0 type bridge", f"addr add 10.9.{i}.1/24 dev aaa0", "link set aaa0 up"):
                self.bed.on(i, ["ip", *change.split()], check=True)
        try:
            r = self.launch("-H", "n0:1,n1:1,n2:1", "--check=full", host=0)
            self.assertRegex(r.stdout, r"network +10\.77\.0\.0/24")
            self.assertEqual(len(re.findall(r"n\d to n\d: [\d.]+ .B/s, \d+ us", r.stdout)), 3, r.stdout)
            self.launch("-H", "n0:1,n1:1,n2:1", host=0, env={"RANK_ENV": "NCCL_SOCKET_IFNAME"})
            self.assertEqual({lines[-1] for lines in self.proofs().values()}, {"NCCL_SOCKET_IFNAME==eth0"})
        finally:
            for i in range(3):
                for name in ("docker0", "aaa0"):
                    self.bed.on(i, ["ip", "link", "del", name], check=True)


class Train(Case):
    """Training itself, on hosts that the launcher is not on: the weights are those of one process here."""

    slurm = True
    WORDS = ["train.shards=4", "data.train_count=320", "data.test_count=32", "train.batch=32", "train.epochs=1", "log.progress=false"]

    def train(self, *command, words=(), **kw):
        r = self.bed.head([*command, ROOT / "configs/cnn.cfg", f"run.dir={self.dir}/runs", *self.WORDS, *words],
                          env={"DDP_CONFIGS_DIR": str(ROOT / "configs"), "SLURM_PMIX_FENCE": "tree"}, cwd=self.dir, **kw)
        self.assertEqual(r.returncode, 0, f"stdout: {r.stdout[-2000:]}\nstderr: {r.stderr[-4000:]}")
        return next(line for line in r.stdout.splitlines() if line.startswith("weights: "))

    def test_same_weights_by_every_starter(self):
        alone = self.train(LAUNCH, "-n", 1, "-q")
        self.assertEqual(self.train(LAUNCH, "-n", 2, "-q", "-H", "n1"), alone)
        self.assertEqual(self.train("salloc", "-N1", "-n2", "-Q", LAUNCH, "-n", 2, "-q"), alone)
        self.assertEqual(self.train("mpirun", "--host", "n2:2", "-np", "2", "-x", "DDP_CONFIGS_DIR", TRAIN), alone)
        self.assertEqual(self.train("salloc", "-N1", "-n2", "-Q", "srun", "--mpi=pmix", TRAIN), alone)

    def test_same_weights_on_several_hosts(self):
        alone = self.train(LAUNCH, "-n", 1, "-q")
        self.assertEqual(self.train(LAUNCH, "-n", 4, "-q", "-H", "n0:2,n1:1,n2:1"), alone)
        self.assertEqual(self.train("salloc", "-N2", "-n4", "-Q", LAUNCH, "-n", 4, "-q"), alone)
        self.assertEqual(self.train("mpirun", "--host", "n1:1,n2:2", "-np", "3", "-x", "DDP_CONFIGS_DIR", TRAIN), alone)
        self.assertEqual(self.train("salloc", "-N3", "-n3", "-Q", "srun", "--mpi=pmix", TRAIN), alone)

    def test_hosts_without_a_shared_run_directory(self):
        """The launcher refuses it with the way out; under mpirun the run is rank 0's, and each host keeps its logs."""
        run = f"run.dir=/tmp/{self.dir.name}"  # every host has a /tmp of its own
        fault = r"n1: is not the same folder as on the launcher's host; choose a run\.dir that all hosts share and may write to"
        for check in ([], ["--check"]):
            r = self.bed.head([LAUNCH, "-n", 2, "-H", "n0:1,n1:1", *check, ROOT / "configs/cnn.cfg", *self.WORDS, run], env=self.env,
                              cwd=self.dir, host=0)
            self.assertEqual((r.returncode, len(re.findall(f"^ddp-launch: {fault}$", r.stderr, re.M))), (3, 1), r.stderr)
        alone = self.train(LAUNCH, "-n", 1, "-q")
        r = self.bed.head(["mpirun", "--host", "n0:1,n1:1", "-np", "2", "-x", "DDP_CONFIGS_DIR", TRAIN, ROOT / "configs/cnn.cfg", *self.WORDS,
                           run], env=self.env, cwd=self.dir, host=0, check=True)
        self.assertIn(alone, r.stdout)
        there = re.search("^run: (.*)$", r.stdout, re.M)[1]
        names = [sorted(self.bed.on(i, ["find", there, "-type", "f", "-printf", "%P\\n"], check=True).stdout.split()) for i in (0, 1)]
        self.assertEqual(names[1], ["log/rank-1.log"])
        self.assertTrue({"run.json", "model.safetensors", "log/rank-0.log"} < set(names[0]), names[0])
        self.assertNotIn("log/rank-1.log", names[0])

    def test_same_weights_after_a_host_was_lost(self):
        """A host is powered off in mid-run: training ends on the two that are left, and nobody has to do anything."""
        long = ["train.epochs=16", "checkpoint.every_steps=50", "eval.every_epochs=16", "log.every_steps=1"]
        alone = self.train(LAUNCH, "-n", 1, "-q", words=long)
        self.check_goes_on_without_a_host([LAUNCH, "-n", 3, "-q", "--restarts", 1, "-H", "n0:1,n1:1,n2:1", ROOT / "configs/cnn.cfg",
                                           *self.WORDS, *long], alone, {"DDP_CONFIGS_DIR": str(ROOT / "configs")})

    def test_what_was_meant_per_rank_stays_when_a_host_is_lost(self):
        """Two ranks go on with the batch, the shards and the learning rate of three."""
        long = ["train.epochs=16", "checkpoint.every_steps=50", "eval.every_epochs=16", "log.every_steps=1"]
        alone = self.train(LAUNCH, "-n", 1, "-q", words=[*long, "train.batch=48", "train.shards=3", "optim.lr=0.1875"])
        self.check_goes_on_without_a_host([LAUNCH, "-n", 3, "-q", "--restarts", 1, "-H", "n0:1,n1:1,n2:1", ROOT / "configs/cnn.cfg", *self.WORDS, *long,
                                           "train.batch_per_rank=16", "train.shards=ranks", "optim.lr=0.0625", "optim.lr_rule=linear"],
                                          alone, {"DDP_CONFIGS_DIR": str(ROOT / "configs")})

    def test_the_record_says_what_became_of_the_host_that_writes_it(self):
        """Behind a cut link it still holds the run directory for a while."""
        for name, fault, repair in (("cut", self.bed.cut, self.bed.heal), ("off", self.bed.power_off, self.bed.boot)):
            with self.subTest(name):
                runs = self.dir / name
                p = self.bed.start([LAUNCH, "-n", 2, "-H", "n0:1,n1:1", ROOT / "configs/cnn.cfg", f"run.dir={runs}", *self.WORDS,
                                    "train.epochs=10000", "checkpoint.every_epochs=0", "log.every_steps=1"],
                                   env={"DDP_CONFIGS_DIR": str(ROOT / "configs")}, cwd=self.dir)
                self.addCleanup(lambda p=p: (p.poll() is None and p.kill(), p.communicate()))
                wait_for(lambda: any(m.stat().st_size > 1000 for m in runs.glob("*/metrics.jsonl")) or p.poll(), 60, "steps")
                fault(0)
                try:
                    _, err = p.communicate(timeout=60)
                    record = json.loads(next(runs.glob("*/run.json")).read_text())
                finally:
                    repair(0)
                self.assertEqual(p.returncode, 4, err)
                for what in (record, record["legs"][-1]):
                    self.assertEqual(what["status"], "failed", err)
                    self.assertRegex(what["error"], "^host n0 is lost: ")
                for rank in (0, 1):
                    self.assertTrue(next(runs.glob(f"*/log/rank-{rank}.log"), None), list(runs.glob("*/*")))

    def test_the_record_says_that_the_launcher_died(self):
        """Alone, with the agents of all hosts, or with its own host, which has no ranks."""
        for which, how in (("all", []), ("alone", ["-o"]), ("host", None)):
            with self.subTest(which):
                runs = self.dir / which
                p = self.bed.start([LAUNCH, "-n", 2, "-H", "n0:1,n1:1", ROOT / "configs/cnn.cfg", f"run.dir={runs}", *self.WORDS,
                                    "train.epochs=10000", "checkpoint.every_epochs=0", "log.every_steps=1"],
                                   env={"DDP_CONFIGS_DIR": str(ROOT / "configs")}, cwd=self.dir, host=2)
                self.addCleanup(lambda p=p: (p.poll() is None and p.kill(), p.communicate()))
                wait_for(lambda: any(m.stat().st_size > 1000 for m in runs.glob("*/metrics.jsonl")) or p.poll(), 60, "steps")
                if how is None:
                    self.bed.power_off(2)
                    self.addCleanup(self.bed.boot, 2)
                else:
                    self.bed.head(["pkill", "-KILL", "-x", *how, "ddp-launch"], check=True)
                record = lambda: json.loads(next(runs.glob("*/run.json")).read_text())  # noqa: E731, B023
                wait_for(lambda: record()["status"] == "failed", 60, "the end in the record")
                self.assertEqual(record()["error"], "ddp-launch ended without a word: it was killed, or its host was lost")
                self.assert_nothing_left(range(2))

    def test_ranks_of_srun_have_cores_of_their_own(self):
        p = self.bed.start(["salloc", "-N1", "-n2", "-Q", LAUNCH, "-n", "2", "-q", ROOT / "configs/cnn.cfg",
                            f"run.dir={self.dir}/runs", *self.WORDS, "train.epochs=1000", "checkpoint.every_epochs=0"],
                           env={"DDP_CONFIGS_DIR": str(ROOT / "configs")}, cwd=self.dir)
        self.addCleanup(lambda: (p.poll() is None and p.kill(), p.communicate()))
        deadline = time.monotonic() + 60
        masks = []
        while sorted(masks) != ["0", "1"]:
            self.assertIsNone(p.poll(), "ended early")
            self.assertLess(time.monotonic(), deadline, masks)
            masks = self.bed.on(0, ["sh", "-c", "for p in $(pgrep -x ddp-train); do taskset -cp $p; done | sed 's/.*: //'"]).stdout.split()
            time.sleep(0.2)
        self.bed.head(["pkill", "-TERM", "-x", "ddp-launch"], check=True)
        self.assertEqual(p.wait(60), 75)


class Check(Case):
    """Planted faults: each is named in a line with its host and a way out, and nothing is started."""

    def expect(self, *lines, args=("-n", 3, "-H", "n0:1,n1:1,n2:1"), **kw):
        r = self.launch(*args, code=3, **kw)
        for line in lines:
            self.assertRegex(r.stderr, line)
        self.assertEqual(self.proofs(), {})
        self.assertEqual(len(r.stderr.strip().splitlines()), len(lines), r.stderr)

    def bind(self, host, source, over):
        self.bed.on(host, ["mount", "--bind", source, over], check=True)
        self.addCleanup(self.bed.on, host, ["umount", over])

    def test_missing_host(self):
        self.expect("ddp-launch: n9: ssh: Could not resolve hostname n9.*'ssh n9 true' must work",
                    args=("-n", 2, "-H", "n9:1,n1:1"))

    def test_wrong_ssh_key(self):
        self.bind(1, "/dev/null", self.bed.dir / "ssh/authorized")
        self.expect("ddp-launch: n1: .*Permission denied.*'ssh n1 true' must work")

    def test_another_program(self):
        own, other = self.dir / "program", self.dir / "other"
        shutil.copy(RANK, own)
        shutil.copy(RANK, other)
        with open(other, "ab") as f:
            f.write(b"x")
        self.bind(1, other, own)
        self.expect("ddp-launch: n1: has another build of the program than the others; install", program=own)

    def test_other_data(self):
        data = self.dir / "data"
        data.mkdir()
        pictures(data / "a", 1)
        pictures(data / "b", 2)
        (self.dir / "c.cfg").write_text(f'data = {{ format = "idx"; path = "{data}/a"; }};\n')
        self.bind(2, data / "b", data / "a")
        self.expect("ddp-launch: n2: has other data than the others; copy the same files")

    def test_other_data_that_hides(self):
        """A start looks at parts of the files, and --check at all of them; what is packed otherwise is no other data."""
        data, args = self.dir / "data", ("-n", 2, "-H", "n0:1,n1:1")
        data.mkdir()
        pictures(data / "a", 1, packed=False)
        (self.dir / "c.cfg").write_text(f'data = {{ format = "idx"; path = "{data}/a"; }};\n')
        shutil.copytree(data / "a", data / "b")
        with open(data / "b/train-images-idx3-ubyte", "r+b") as f:
            f.seek(20000)
            byte = f.read(1)[0]
            f.seek(20000)
            f.write(bytes([byte ^ 1]))
        self.bind(1, data / "b", data / "a")
        self.launch(*args)
        for proof in (self.dir / "ranks").iterdir():
            proof.unlink()
        self.expect("ddp-launch: n[01]: has other data than the others; copy the same files", args=(*args, "--check"))
        self.bed.on(1, ["umount", data / "a"], check=True)
        pictures(data / "c", 1)
        self.bind(1, data / "c", data / "a")
        self.launch(*args)

    def test_unwritable_folder(self):
        (self.dir / "runs").mkdir()
        self.bed.on(2, ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", self.dir / "runs"], check=True)
        self.addCleanup(self.bed.on, 2, ["umount", self.dir / "runs"])
        self.expect("ddp-launch: n2: is not the same folder as on the launcher's host; choose a run.dir")

    def test_hosts_that_cannot_reach_each_other(self):
        self.bed.on(1, ["ip", "route", "add", "unreachable", "10.77.0.3/32"], check=True)
        self.addCleanup(self.bed.on, 1, ["ip", "route", "del", "unreachable", "10.77.0.3/32"])
        self.expect("ddp-launch: n1: cannot be reached from n2", "ddp-launch: n2: cannot be reached from n1 .tried 10.77.0.3")

    def test_interface_that_is_not_there(self):
        (self.dir / "c.cfg").write_text('comm = { interface = "ib0"; };\n')
        self.expect(*(f'ddp-launch: n{i}: comm.interface = "ib0" is not there; it has eth0' for i in range(3)))

    def test_table(self):
        r = self.launch("-n", 3, "-H", "n0:1,n1:1,n2:1", "--check")
        for line in ("program +same everywhere: [0-9a-f]{12}", "data +same everywhere", "clock +within",
                     r"network +10\.77\.0\.0/24"):
            self.assertRegex(r.stdout, line)
        self.assertEqual(self.proofs(), {})


class Faults(Case):
    """Seen, named and ended everywhere: a death within 2 s, a host that vanished within 10 (as long again for this machine)."""

    def test_death_is_named_from_its_host(self):
        r = self.launch("-n", 4, "-H", "n0:2,n1:2", mode="segfault", env={"RANK_WHO": "3"}, code=4)
        self.assertIn("ddp-launch: rank 3 on n1 was killed by signal 11 (Segmentation fault)", r.stderr)
        self.assert_nothing_left(range(2))

    def test_killed_rank(self):
        p = self.start("-n", 4, "-H", "n0:2,n1:2")
        self.wait_for_ranks(p, 4)
        self.bed.on(1, ["kill", "-9", self.proofs()["2"][0]], check=True)
        self.assertIn("rank 2 on n1 was killed by signal 9 (Killed)", self.end(p, 4, 4))
        self.assert_nothing_left(range(2))

    def test_error_of_a_rank(self):
        r = self.launch("-n", 3, "-H", "n0:1,n1:1,n2:1", mode="error-data", env={"RANK_WHO": "2"}, code=3)
        self.assertIn("ddp-launch: rank 2 on n2 failed: train-images.gz: truncated after 100 bytes", r.stderr)

    def test_rank_that_does_not_come(self):
        (self.dir / "c.cfg").write_text("launch: { stuck_after = 5.0; };\n")
        r = self.launch("-n", 3, "-H", "n0:1,n1:1,n2:1", mode="hangs", env={"RANK_WHO": "1"}, code=4)
        for line in [l for l in r.stderr.splitlines() if " has been " in l]:
            self.assertRegex(line, r"^ddp-launch: rank 1 on n1 has been in the forward pass of step 9 for .*, and rank 0 waits for it in "
                                   r"bucket 2 of step 9 \(2 ranks wait in all\); process \d+ sleeps")
        self.assertIn("The job is ended for it (launch.stuck_after = 5)", r.stderr)
        self.assert_nothing_left(range(3))

    def test_slow_rank(self):
        r = self.launch("-n", 3, "-H", "n0:1,n1:1,n2:1", mode="slow", env={"RANK_WHO": "2"})
        named = re.findall(r"^ddp-launch: (rank .*) is slow: since step (\d+) it comes (\d+) ms late to each, and the others wait \(until step "
                           r"(\d+)\)", r.stderr, re.M)
        self.assertEqual([n[0] for n in named], ["rank 2 on n2"], r.stderr)
        self.assertLessEqual(int(named[0][3]), 25)
        self.assertRegex(r.stderr, r"rank 2 on n2 was slow from step \d+ to \d+: \d+ ms a step")

    def test_soft_stop(self):
        p = self.start("-n", 3, "-H", "n0:1,n1:1,n2:1")
        self.wait_for_ranks(p, 3)
        launchers = self.bed.head(["pgrep", "-x", "ddp-launch"]).stdout.split()
        self.bed.head(["kill", "-TERM", launchers[0]], check=True)
        self.end(p, 75, 20)
        self.assert_nothing_left(range(3))

    def test_power_off(self):
        p = self.start("-n", 3, "-H", "n0:1,n1:1,n2:1")
        self.wait_for_ranks(p, 3)
        self.bed.power_off(1)
        try:
            self.assertRegex(self.end(p, 4, 20), "ddp-launch: host n1 is lost: its agent")
            self.assert_nothing_left([0, 2])
        finally:
            self.bed.boot(1)

    def test_restart_with_the_hosts_that_are_left(self):
        p = self.start("-n", 3, "-H", "n0:1,n1:1,n2:1", "--restarts", 1)
        self.wait_for_ranks(p, 3)
        for f in (self.dir / "ranks").iterdir():
            f.unlink()
        self.bed.power_off(1)
        try:
            self.wait_for_ranks(p, 2)
            self.bed.head(["pkill", "-TERM", "-x", "-o", "ddp-launch"], check=True)
            err = self.end(p, 75, 30)
            self.assertIn("ddp-launch: host n1 is lost", err)
            self.assertIn("ddp-launch: restart 1 of 1: going on from the beginning, without n1", err)
            self.assertEqual(sorted(self.proofs()), list("01"))
            self.assert_nothing_left([0, 2])
        finally:
            self.bed.boot(1)

    def test_restart_takes_a_host_that_is_back(self):
        p = self.start("-n", 2, "-H", "n0:1,n1:1", "--restarts", 1)
        self.wait_for_ranks(p, 2)
        for f in (self.dir / "ranks").iterdir():
            f.unlink()
        self.bed.on(1, ["pkill", "-KILL", "-x", "ddp-launch"], check=True)  # the agent only: the host is there
        self.wait_for_ranks(p, 2)
        self.bed.head(["pkill", "-TERM", "-x", "-o", "ddp-launch"], check=True)
        err = self.end(p, 75, 30)
        self.assertIn("restart 1 of 1: going on from the beginning", err)
        self.assertNotIn("without", err)

    def test_cut_link(self):
        p = self.start("-n", 3, "-H", "n0:1,n1:1,n2:1")
        self.wait_for_ranks(p, 3)
        self.bed.cut(2)
        try:
            self.assertRegex(self.end(p, 4, 15), "ddp-launch: host n2 is lost: its agent does not answer any more")
            self.assert_nothing_left([0, 1])
            self.assert_nothing_left([2])  # its agent has seen it, too
        finally:
            self.bed.heal(2)

    def test_killed_launcher(self):
        p = self.start("-n", 3, "-H", "n0:1,n1:1,n2:1", mode="ignore-stop")
        self.wait_for_ranks(p, 3)
        self.bed.head(["pkill", "-KILL", "-x", "ddp-launch"], check=True)
        p.communicate(timeout=60)
        self.assertEqual(p.returncode, -signal.SIGKILL)
        self.assert_nothing_left(range(3))

    def test_killed_agent(self):
        p = self.start("-n", 3, "-H", "n0:1,n1:1,n2:1")
        self.wait_for_ranks(p, 3)
        self.bed.on(1, ["pkill", "-KILL", "-x", "ddp-launch"], check=True)
        self.assertRegex(self.end(p, 4, 20), "ddp-launch: host n1 is lost: its agent closed the connection")
        self.assert_nothing_left(range(3))


def pictures(folder, seed, packed=True):
    """MNIST's four files, with 256 random pictures each."""
    import gzip
    import random
    rng = random.Random(seed)
    folder.mkdir()
    for part in ("train", "t10k"):
        count = (256).to_bytes(4, "big")
        images = b"\0\0\x08\x03" + count + (28).to_bytes(4, "big") * 2 + rng.randbytes(256 * 28 * 28)
        labels = b"\0\0\x08\x01" + count + bytes(rng.randrange(10) for _ in range(256))
        for name, data in ((f"{part}-images-idx3-ubyte", images), (f"{part}-labels-idx1-ubyte", labels)):
            (folder / (name + ".gz" * packed)).write_bytes(gzip.compress(data) if packed else data)


if __name__ == "__main__":
    cluster.main(slurm=True, jobs=4)
