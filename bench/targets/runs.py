"""Starting ours and the peers: one place, one environment, and how busy the machine was with other things."""
import json
import os
import pathlib
import platform
import resource
import shutil
import subprocess
import tempfile
import time

PEERS = pathlib.Path(__file__).resolve().parent.parent / "peers"
LIMIT_S = 900


class NotHere(Exception):
    """A program, a library or data that this machine does not have."""


def busy_seconds():
    """CPU seconds that all CPUs together have spent on anything, from /proc/stat."""
    fields = [int(x) for x in open("/proc/stat").readline().split()[1:]]
    return (sum(fields[:3]) + sum(fields[5:8])) / os.sysconf("SC_CLK_TCK")


def own_seconds():
    used = resource.getrusage(resource.RUSAGE_CHILDREN), resource.getrusage(resource.RUSAGE_SELF)
    return sum(u.ru_utime + u.ru_stime for u in used)


class Watch:
    """How many CPUs were others', from its making to others()."""

    def __init__(self):
        self.began = time.time(), busy_seconds(), own_seconds()

    def others(self):
        wall = max(time.time() - self.began[0], 1e-3)
        return max(0, (busy_seconds() - self.began[1]) - (own_seconds() - self.began[2])) / wall


class Place:
    """A folder for everything that runs leave, gone at the end; a context manager."""

    def __init__(self, args):
        self.args, self.bin = args, pathlib.Path(args.bin).resolve()
        self.torch_version = None
        self.beside = set()  # versions of other peers that were run

    def __enter__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="ddp-compare-", dir="."))
        (self.folder / "cores").mkdir()
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.folder, ignore_errors=True)

    def machine(self):
        cpu = next((l.split(":")[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), platform.machine())
        peers = [f"PyTorch {self.torch_version}"] if self.torch_version else []
        if shutil.which("mpirun"):
            said = subprocess.run(["mpirun", "--version"], capture_output=True, text=True).stdout.splitlines()
            peers += [said[0].replace("mpirun (", "").replace(")", "")] if said else []
        peers += sorted(self.beside)
        return ", ".join([cpu, f"{len(os.sched_getaffinity(0))} CPUs", f"Linux {platform.release()}", *peers])

    def run(self, *command, cwd=None, **env):
        """Standard output; raises RuntimeError with the last words of one that fails."""
        own = {k: v for k, v in os.environ.items() if not k.startswith("OPENBLAS_")}  # what it chooses by itself
        whole = {**own, "DDP_CORES_DIR": str(self.folder / "cores"), "OMPI_ALLOW_RUN_AS_ROOT": "1",
                 "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", **env}
        r = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=LIMIT_S, cwd=cwd or self.folder, env=whole,
                           stdin=subprocess.DEVNULL)
        if r.returncode != 0:
            raise RuntimeError(f"{pathlib.Path(str(command[0])).name} failed: {(r.stderr or r.stdout).strip()[-400:]}")
        return r.stdout

    # ---- ours ----

    def bench(self, command, *args, **env):
        """ddp-bench COMMAND, its JSON."""
        program = self.bin / "ddp-bench"
        if not program.exists():
            raise NotHere(f"no {program}: build, or name a folder with --bin")
        known = self.run(program, "--help")
        if not any(line.split()[:1] == [command] for line in known.splitlines()):
            raise NotHere(f"ddp-bench has no {command} yet")
        return json.loads(self.run(program, command, *args, "--json", "-", **env))

    def step(self, ranks, threads, model, batch, *words, steps=40):
        """ddp-bench step of `batch` samples a rank, a shard each."""
        return self.bench("step", "-n", ranks, "--threads", threads, "--steps", steps, "--repeat", 1, f"model={model}",
                          f"train.batch={batch * ranks}", f"train.shards={ranks}", *words)

    def data(self, name):
        folder = pathlib.Path(self.args.data) / name
        if not self.args.data or not folder.exists():
            raise NotHere(f"no {name}/ in --data or DDP_DATA_DIR")
        return folder.resolve()

    # ---- peers ----

    def torch(self):
        if self.torch_version is None:
            python = shutil.which(self.args.torch)
            said = python and subprocess.run([python, "-c", "import torch; print(torch.__version__)"], capture_output=True, text=True)
            self.torch_version = said.stdout.strip() if said and said.returncode == 0 else ""
        if not self.torch_version:
            raise NotHere(f"{self.args.torch} has no torch: name one with --torch or TORCH_PYTHON")
        return shutil.which(self.args.torch)

    def peer(self, script, *args, ranks=1):
        """A script of bench/peers, its standard output; under torchrun for several ranks."""
        start = [self.torch()]
        if ranks > 1:
            start += ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", ranks]
        return self.run(*start, PEERS / script, *args, OMP_NUM_THREADS="1" if ranks > 1 else "", PYTHONPATH=str(PEERS))

    def torchvision(self, script, *args):
        """The same of a script that needs torchvision, too."""
        python = self.torch()
        if subprocess.run([python, "-c", "import torchvision"], capture_output=True).returncode != 0:
            raise NotHere(f"{self.args.torch} has no torchvision: pip install torchvision, of PyTorch {self.torch_version}'s time")
        return self.peer(script, *args)

    def torch_step(self, ranks, threads, model, batch, layout="nchw", compiled=False, **_):
        args = ["--model", model, "--batch", batch, "--threads", threads, "--layout", layout, "--started", time.time()]
        out = self.peer("torch_train.py", *args, *(["--compile"] if compiled else []), ranks=ranks)
        return json.loads(next(l for l in out.splitlines() if l.startswith("{")))

    def gloo(self, ranks, size):
        """Microseconds of an all-reduce of `size` bytes."""
        out = self.peer("torch_allreduce.py", size, size, 2, 5, ranks=ranks)
        _, _, wrong, *seconds = next(l for l in out.splitlines() if l.startswith("row")).split()
        if wrong != "0":
            raise RuntimeError(f"gloo summed {wrong} elements wrong")
        return sorted(float(s) for s in seconds)[len(seconds) // 2] * 1e6
