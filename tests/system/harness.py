"""What the system tests share: running the programs, reading what they leave, finding processes of a job by its tag."""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("DDP_BIN", ROOT / "build/release/bin")).resolve()
LAUNCH, TRAIN, DATA = BIN / "ddp-launch", BIN / "ddp-train", BIN / "ddp-data"
SKIP = 77

# A job that goes on until somebody ends it, ten quick steps an epoch, without evaluations and checkpoints.
ENDLESS = """
model: { base = "linear"; };
data: { base = "digits"; train_count = 320; test_count = 32; };
optim: { base = "sgd"; lr = 0.02; };
train: { batch = 32; epochs = 100000; shards = 4; threads = 1; };
eval: { every_epochs = 100000; };
checkpoint: { every_epochs = 0; };
log: { every_steps = 1; };
"""

# A run that takes a second or two: few samples, small shards.
SMALL = ["data.train_count=400", "data.test_count=100", "train.batch=32", "train.epochs=1"]


class Run:
    """A finished run of one program."""

    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err
        lines = out.strip().splitlines()
        self.run_dir = next((l[5:] for l in reversed(lines) if l.startswith("run: ")), None)
        self.weights = next((l[9:] for l in reversed(lines) if l.startswith("weights: ")), None)

    def json(self):
        return json.loads((pathlib.Path(self.run_dir) / "run.json").read_text())


def environment(folder, **extra):
    """What programs see whose test keeps its files in folder; extra wins."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("DDP_")}
    env.update(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", DDP_CONFIGS_DIR=str(ROOT / "configs"))
    if "DDP_CUDA_PLUGIN" not in extra:
        env["CUDA_VISIBLE_DEVICES"] = ""  # device=auto is the CPU on a machine with a GPU too
    env["DDP_CORES_DIR"] = str(folder)  # what else runs on this machine takes no cores from the test's jobs
    env.update(extra)
    return env


def snapshot(folder):
    """All bytes and times of change below a folder."""
    return {str(p.relative_to(folder)): (p.lstat().st_mtime_ns, p.read_bytes() if p.is_file() else b"")
            for p in sorted(pathlib.Path(folder).rglob("*"))}


class Case(unittest.TestCase):
    """A test with a folder of its own and helpers to run programs in it."""

    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="ddp-test-"))
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)

    def environment(self, **extra):
        return environment(self.dir, **extra)

    def run_program(self, *args, timeout=120, env=None, cwd=None):
        p = subprocess.run([str(a) for a in args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                           text=True, timeout=timeout, env=self.environment(**(env or {})), cwd=cwd or self.dir)
        return Run(p.returncode, p.stdout, p.stderr)

    def launch(self, *args, ranks=2, config=ROOT / "configs/cnn.cfg", timeout=240, **kw):
        """ddp-launch with run directories in the test's folder; fails the test unless it ends with `code` (0)."""
        code = kw.pop("code", 0)
        r = self.run_program(LAUNCH, "-n", ranks, "--quiet", config, f"run.dir={self.dir}/runs", *args, timeout=timeout, **kw)
        if code is not None:
            self.assertEqual(r.code, code, f"{args}\nstdout: {r.out[-2000:]}\nstderr: {r.err[-4000:]}")
        return r

    def start(self, *args, env=None, **kw):
        """A program in the background, in a session of its own, killed at the end of the test."""
        p = subprocess.Popen([str(a) for a in args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             text=True, env=self.environment(**(env or {})), cwd=self.dir, start_new_session=True, **kw)

        def end():
            if p.poll() is None:
                try:
                    os.killpg(p.pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
                p.wait()
            for f in (p.stdout, p.stderr):
                f.close()

        self.addCleanup(end)
        return p


def why_not(*args, **env):
    """What one rank says that cannot train a step so; "" when it can."""
    with tempfile.TemporaryDirectory(prefix="ddp-test-") as folder:
        p = subprocess.run([LAUNCH, "-n", "1", "--quiet", ROOT / "configs/cnn.cfg", f"run.dir={folder}/runs", *args, "train.max_steps=1"],
                           stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=240, env=environment(folder, **env))
    return p.stderr.strip() if p.returncode else ""


def install(folder):
    """Install the build into a prefix, move the prefix elsewhere below `folder`, and return where it is now."""
    build = BIN.parent
    if not (build / "cmake_install.cmake").exists() or not shutil.which("cmake"):
        raise unittest.SkipTest(f"{build} is no build folder, or there is no cmake")
    first, moved = pathlib.Path(folder) / "first", pathlib.Path(folder) / "somewhere" / "else"
    p = subprocess.run(["cmake", "--install", build, "--prefix", first], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if p.returncode:
        raise AssertionError(f"cmake --install: {p.stdout[-1000:]}{p.stderr[-3000:]}")
    moved.parent.mkdir()
    first.rename(moved)
    return moved


def wait_for(condition, seconds, what):
    """Poll until condition() is true; its value. Raises AssertionError naming `what` when it takes longer."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds} s for {what}")
        time.sleep(0.02)


def tagged(tag):
    """Live processes (not zombies) that have the text in their environment: pid -> command line."""
    found = {}
    for p in pathlib.Path("/proc").iterdir():
        if not p.name.isdigit() or int(p.name) == os.getpid():
            continue
        try:
            if tag.encode() in (p / "environ").read_bytes() and (p / "stat").read_text().rsplit(")", 1)[1].split()[0] != "Z":
                found[int(p.name)] = (p / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except (OSError, PermissionError):
            pass
    return found


def ranks_of(tag):
    return {pid: cmd for pid, cmd in tagged(tag).items() if re.search(r"(^|/)ddp-train ", cmd) and "mpirun" not in cmd}


def run_dealt(jobs):
    """All tests of the program, dealt to `jobs` processes: for tests that wait more than they compute. A class that is `alone` comes
    after the others, by itself."""
    dealt, alone = [[] for _ in range(jobs)], []
    for suite in unittest.defaultTestLoader.loadTestsFromModule(sys.modules["__main__"]):
        tests = list(suite)
        names = [t.id().removeprefix("__main__.") for t in tests]
        if tests and getattr(tests[0], "alone", False):
            alone.append(names)
        else:
            for i, name in enumerate(names):
                dealt[i % jobs].append(name)
    failed = False
    for batch in [dealt, *([names] for names in alone)]:
        running = []
        for names in filter(None, batch):
            out = tempfile.TemporaryFile("w+")
            running.append((subprocess.Popen([sys.executable, *sys.argv, *names], stdin=subprocess.DEVNULL, stdout=out, stderr=out), out))
        for p, out in running:
            failed |= p.wait() != 0
            out.seek(0)
            print(out.read(), flush=True)
    sys.exit(failed)


class Timed(unittest.TextTestResult):
    """Says after each test what it took, from one end to the next: where a suite is slow, and which test waited when it fails."""

    def startTestRun(self):
        super().startTestRun()
        self.before = time.monotonic()

    def stopTest(self, test):
        super().stopTest(test)
        now = time.monotonic()
        self.stream.write(f"    {now - self.before:.1f} s\n")
        self.before = now


def main(jobs=1):
    """unittest.main, or a word why no test ran; without a test named on the command line by `jobs` processes at once."""
    if not LAUNCH.exists():
        print(f"skipped: no {LAUNCH}")
        sys.exit(SKIP)
    if jobs > 1 and len(sys.argv) == 1:
        run_dealt(jobs)
    unittest.main(testRunner=unittest.TextTestRunner(verbosity=2, resultclass=Timed))
