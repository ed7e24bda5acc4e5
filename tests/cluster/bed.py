#!/usr/bin/env python3
"""A cluster of pseudo-hosts on one Linux machine, that vanishes with the process that made it.

    tests/cluster/bed.py [-n HOSTS] [--slurm] [--cpus N] COMMAND...      COMMAND on the head of a new cluster, then its end

The head and each host have a network, a host name, processes, /dev/shm and /tmp of their own; the rest of the file
system is shared, as on a cluster with a shared home. Host i is n<i> at 10.77.0.<i + 1>, and runs sshd (any host reaches any
other without a question); the head is 10.77.0.254. With --slurm there are munged, slurmctld and a slurmd on each host.

    outside                     head (process 1: `_head`)            n0, n1, .. (process 1: `_host`)
    ------- unshare ----------> bridge br0, 10.77.0.254  --- veth --- eth0 10.77.0.1 ..
            net, pid, uts,      slurmctld, munged                     sshd, slurmd
            mount, ipc

All of it lies in namespaces below the head's: nothing of the machine's own network is touched, and when the head's process 1
dies (it does with the process that made it), every process and every interface is gone. Needs root; see why_not().
"""
import argparse
import ctypes
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

NET = "10.77.0"
PROGRAMS = {"unshare": "util-linux", "nsenter": "util-linux", "ip": "iproute2", "mount": "mount", "sshd": "openssh-server",
            "ssh": "openssh-client", "ssh-keygen": "openssh-client"}
SLURM = {"slurmctld": "slurmctld", "slurmd": "slurmd", "srun": "slurm-client", "munged": "munge"}
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin:/usr/bin:/bin"
UNSHARE = ["unshare", "--net", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc"]


HEAD = 253  # its number, as hosts have one


def mac(i):
    return f"02:00:00:4d:{i // 256:02x}:{i % 256:02x}"


def why_not(slurm=False):
    """Why there can be no cluster here; None: there can."""
    if os.geteuid() != 0:
        return "pseudo-hosts need root"
    missing = sorted({package for program, package in {**PROGRAMS, **(SLURM if slurm else {})}.items()
                      if not shutil.which(program, path=PATH)})
    if missing:
        return f"not installed: {' '.join(missing)}"
    p = subprocess.run([*UNSHARE, "true"], stdin=subprocess.DEVNULL, capture_output=True, text=True, env={"PATH": PATH})
    return None if p.returncode == 0 else f"no namespaces: {p.stderr.strip()}"


def slurm_version():
    """As (22, 5)."""
    words = subprocess.run(["slurmd", "-V"], stdin=subprocess.DEVNULL, capture_output=True, text=True, env={"PATH": PATH}).stdout
    return tuple(int(n) for n in re.findall(r"\d+", words)[:2])


class Bed:
    """with Bed(3) as bed: bed.head(["mpirun", ..])"""

    def __init__(self, hosts=3, cpus=2, slurm=False, keep=(), gpus=0):
        """cpus, gpus (4 at most): what Slurm believes of each host. keep: folders that all hosts see although they lie under /tmp (the one
        of the sources always is)."""
        self.n, self.cpus, self.slurm, self.gpus = hosts, cpus, slurm, gpus
        self.keep = [str(pathlib.Path(p).resolve()) for p in keep]
        self.names = [f"n{i}" for i in range(hosts)]
        self.dir = self.keeper = None
        self.hosts = {}  # number -> (nsenter, process 1 as the machine counts)

    # ---- life ----

    def __enter__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="ddp-bed-", dir="/var/tmp"))
        self.dir.chmod(0o755)
        try:
            self._write_files()
            self._boot_head()
            for i in range(self.n):
                self.boot(i)
            if self.slurm:
                self._boot_slurm()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.keeper:
            self.keeper.kill()  # process 1 of the head goes with it (--kill-child), and all others with that
            for p in (self.keeper, *(p for p, _ in self.hosts.values())):
                p.wait()
        for _ in range(300):  # the last of its processes may still be on their way out
            shutil.rmtree(self.dir, ignore_errors=True)
            if not self.dir.exists() and not any(os.path.exists(f"/proc/{pid}") for _, pid in self.hosts.values()):
                break
            time.sleep(0.1)

    def _write_files(self):
        d = self.dir
        for sub in ("ssh", "log", "state", "spool", "pid"):
            (d / sub).mkdir()
        for name in self.names:
            (d / "spool" / name).mkdir()
        for key in ("id", "host"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", key, "-f", d / "ssh" / key], check=True)
        shutil.copy(d / "ssh/id.pub", d / "ssh/authorized")
        (d / "ssh/config").write_text(f"Host n* head\n  User root\n  IdentityFile {d}/ssh/id\n  StrictHostKeyChecking no\n"
                                      "  UserKnownHostsFile /dev/null\n  LogLevel ERROR\n")
        lines = ["127.0.0.1 localhost", f"{NET}.254 head"] + [f"{NET}.{i + 1} {name}" for i, name in enumerate(self.names)]
        (d / "hosts").write_text("\n".join(lines) + "\n")
        devices = ("null", "zero", "full", "random")  # stand for GPUs
        (d / "gres.conf").write_text("".join(f"Name=gpu File=/dev/{name}\n" for name in devices[: self.gpus]))
        if self.slurm and slurm_version() >= (23, 11):  # older ones do not ask for one, nor know the word
            (d / "cgroup.conf").write_text("CgroupPlugin=disabled\n")
        (d / "slurm.conf").write_text("\n".join([
            "ClusterName=bed", f"SlurmctldHost=head({NET}.254)", "SlurmUser=root", "SlurmdUser=root", "AuthType=auth/munge",
            f"AuthInfo=socket={d}/munge.socket", "CredType=cred/munge", f"StateSaveLocation={d}/state", f"SlurmdSpoolDir={d}/spool/%n",
            f"SlurmctldPidFile={d}/pid/slurmctld", f"SlurmdPidFile={d}/pid/%n", f"SlurmctldLogFile={d}/log/slurmctld",
            f"SlurmdLogFile={d}/log/slurmd-%n", "ProctrackType=proctrack/linuxproc", "TaskPlugin=task/none", "MpiDefault=none",
            "SelectType=select/cons_tres", "SelectTypeParameters=CR_Core", "JobRequeue=1", "ReturnToService=2", "SlurmdTimeout=10",
            "KillWait=5", "AccountingStorageType=accounting_storage/none", "JobCompType=jobcomp/none",
            "SlurmdParameters=config_overrides", "GresTypes=gpu",
            f"NodeName=n[0-{self.n - 1}] CPUs={self.cpus} RealMemory=2000 Gres=gpu:{self.gpus} State=UNKNOWN",
            "PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP", ""]))

    def _boot_head(self):
        self.keeper = self._spawn([*UNSHARE, sys.executable, __file__, "_head", str(self.dir), "slurm" if self.slurm else "",
                                    str(pathlib.Path(__file__).resolve().parents[2]), *self.keep], "head")
        self.pid = self._inner(self.keeper.pid)
        self._wait_for("head.ready")

    def boot(self, i):
        """Start host i, also one that was powered off."""
        name = self.names[i]
        (self.dir / f"{name}.ready").unlink(missing_ok=True)
        p = self._spawn([*self._enter(), *UNSHARE, sys.executable, __file__, "_host", str(self.dir),
                         "slurm" if self.slurm else "", str(i)], name)
        pid = self._inner(self._inner(p.pid))  # nsenter -> unshare -> process 1 of the host
        self._ip(f"link del v{i}")  # of a host that was powered off a moment ago
        self._links(f"link add v{i} type veth peer name eth0 address {mac(i)} netns {pid}", f"link set v{i} master br0 up",
                    f"neigh replace {NET}.{i + 1} lladdr {mac(i)} dev br0 nud permanent")
        self.hosts[i] = (p, pid)
        self._wait_for(f"{name}.ready")

    def _links(self, *changes):
        """`ip` in the head's network, but with the machine's process numbers."""
        for change in changes:
            self._ip(change, stderr=None).check_returncode()

    def _ip(self, change, stderr=subprocess.DEVNULL):
        return subprocess.run(["nsenter", "-t", str(self.pid), "--net", "ip", *change.split()], stderr=stderr, env={"PATH": PATH})

    def _boot_slurm(self):
        deadline = time.monotonic() + 60
        while set(self.head(["sinfo", "-h", "-N", "-o", "%t"]).stdout.split()) != {"idle"}:
            if time.monotonic() > deadline:
                raise RuntimeError("slurm's hosts are not idle after 60 s: " + self.logs())
            time.sleep(0.2)

    def _spawn(self, command, name):
        with open(self.dir / "log" / name, "ab") as log:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                                    env={**os.environ, "PATH": PATH}, preexec_fn=die_with_parent)

    def _inner(self, pid):
        """The one child of a process, once it is there."""
        for _ in range(200):
            children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            if children:
                return int(children[0])
            time.sleep(0.05)
        raise RuntimeError(f"process {pid} has started nothing: " + self.logs())

    def _wait_for(self, name):
        deadline = time.monotonic() + 60
        while not (self.dir / name).exists():
            if time.monotonic() > deadline or self.keeper.poll() is not None:
                raise RuntimeError(f"no {name}: " + self.logs())
            time.sleep(0.02)

    def slurm_state(self):
        """What Slurm knows of its hosts and jobs, and its last words: why a job does not start, or does not end."""
        if not self.slurm:
            return ""
        asked = [["sinfo", "-N", "-l"], ["sinfo", "-R"], ["squeue", "-l"], ["squeue", "-s"]]
        said = [f"\n-- {' '.join(c)}\n" + self.start(c).communicate(timeout=60)[0] for c in asked]
        return "".join(said) + self.logs()

    def logs(self):
        return "".join(f"\n-- {p.name}\n{p.read_text(errors='replace')[-1500:]}" for p in sorted((self.dir / "log").iterdir()))

    # ---- use ----

    def _enter(self, pid=None):
        return ["nsenter", "-t", str(pid or self.pid), "--net", "--mount", "--uts", "--ipc", "--pid"]

    def environment(self, env=None):
        base = {k: v for k, v in os.environ.items() if not k.startswith(("DDP_", "OMPI_", "PMIX_", "SLURM_"))}
        base.update(PATH=PATH, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", PRTE_ALLOW_RUN_AS_ROOT="1",
                    PRTE_ALLOW_RUN_AS_ROOT_CONFIRM="1", CUDA_VISIBLE_DEVICES="", SLURM_CONF=str(self.dir / "slurm.conf"))
        base.update(env or {})
        return base

    def head(self, command, env=None, cwd=None, timeout=120, check=False, host=None):
        """Run a command on the head, to its end."""
        p = self.start(command, env, cwd, host)
        try:
            out, err = p.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(p.pid, signal.SIGKILL)  # nsenter, and what it started
            out, err = p.communicate()
            raise AssertionError(f"{command}: not over after {timeout} s\nstdout: {out[-3000:]}\nstderr: {err[-3000:]}"
                                 f"{self.slurm_state()}") from None
        r = subprocess.CompletedProcess(command, p.returncode, out, err)
        if check and r.returncode != 0:
            raise AssertionError(f"{command} ended with {r.returncode}\nstdout: {out[-3000:]}\nstderr: {err[-3000:]}")
        return r

    def start(self, command, env=None, cwd=None, host=None):
        """Start a command on the head (or a host), in a session of its own. It ends with the cluster."""
        where = ["--wd=" + str(cwd)] if cwd else []
        return subprocess.Popen([*self._enter(None if host is None else self.hosts[host][1]), *where, *map(str, command)],
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                env=self.environment(env), start_new_session=True)

    def on(self, i, command, **kw):
        """Run a command on host i, by its namespaces: it need not be reachable."""
        return self.head(command, host=i, **kw)

    # ---- faults ----

    def power_off(self, i):
        """Every process of the host dies at once, and its interface is gone."""
        p, pid = self.hosts.pop(i)
        os.kill(pid, signal.SIGKILL)
        p.wait(30)
        self._ip(f"neigh del {NET}.{i + 1} dev br0")  # who asks for it hears that it is not there

    def cut(self, i):
        self._links(f"link set v{i} down")

    def heal(self, i):
        self._links(f"link set v{i} up")

    def freeze(self, i):
        """Every process of the host is stopped; its kernel goes on."""
        self._signal(i, signal.SIGSTOP)

    def thaw(self, i):
        self._signal(i, signal.SIGCONT)

    def _signal(self, i, sig):
        """To all processes of a host but its first. Twice: one may just be starting another."""
        for _ in range(2):
            for pid in self.processes(i):
                try:
                    if pid != self.hosts[i][1]:
                        os.kill(pid, sig)
                except OSError:
                    pass

    def processes(self, i):
        """All processes of a host, as the machine counts."""
        space = os.readlink(f"/proc/{self.hosts[i][1]}/ns/pid")
        for p in pathlib.Path("/proc").iterdir():
            try:
                if p.name.isdigit() and os.readlink(p / "ns/pid") == space:
                    yield int(p.name)
            except OSError:
                pass

    def rate(self, i, rate):
        """Limit what host i sends and receives, "1gbit"; None: no limit."""
        for enter, dev in ((self.head, f"v{i}"), (lambda c, **kw: self.on(i, c, **kw), "eth0")):
            enter(["tc", "qdisc", "del", "dev", dev, "root"])
            if rate:
                enter(["tc", "qdisc", "add", "dev", dev, "root", "tbf", "rate", rate, "burst", "256kb", "latency", "50ms"], check=True)


# ---- process 1 of the head and of a host -----------------------------------------------------------------------------


def run(*command):
    subprocess.run([str(c) for c in command], check=True, stdin=subprocess.DEVNULL)


def own_folders(shared):
    """/tmp and /dev/shm of this host's own; `shared` folders are still seen where they lay."""
    held = [(path, os.open(path, os.O_PATH | os.O_DIRECTORY)) for path in shared if path.startswith("/tmp/")]
    run("mount", "--make-rprivate", "/")
    for where in ("/tmp", "/dev/shm"):
        run("mount", "-t", "tmpfs", "-o", "mode=1777", "tmpfs", where)
    for path, fd in held:
        os.makedirs(path, exist_ok=True)
        subprocess.run(["mount", "--bind", f"/proc/self/fd/{fd}", path], check=True, pass_fds=[fd])
    # what the user's shell does at each ssh is not a host's business: it may take long, or wait for a lock
    for rc in filter(os.path.exists, [os.path.expanduser("~/.bashrc")]):
        run("mount", "--bind", "/dev/null", rc)


def reap_for_ever():
    """What a process 1 is for."""
    while True:
        try:
            os.wait()
        except ChildProcessError:
            time.sleep(0.2)
        except InterruptedError:
            pass


def know_each_other(d, me, dev):
    """The kernel's table of neighbours is one for all of the machine's networks: 64 hosts that ask for each other overflow it.
    What is said once and for all does not count there."""
    hosts = range(len((d / "hosts").read_text().splitlines()) - 2)
    lines = [f"neigh replace {NET}.{i + 1} lladdr {mac(i)} dev {dev} nud permanent\n" for i in hosts if i != me]
    subprocess.run(["ip", "-batch", "-"], input="".join(lines), text=True, check=True)


def head_main(folder, slurm, *shared):
    d = pathlib.Path(folder)
    run("hostname", "head")
    own_folders(shared)
    for name, over in (("hosts", "/etc/hosts"), ("ssh/config", "/etc/ssh/ssh_config")):
        run("mount", "--bind", d / name, over)
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "add", "br0", "address", mac(HEAD), "type", "bridge")  # of its own: else it changes with its ports
    run("ip", "addr", "add", f"{NET}.254/24", "dev", "br0")
    run("ip", "link", "set", "br0", "up")
    know_each_other(d, None, "br0")
    if slurm:
        (d / "munge.key").write_bytes(os.urandom(1024))
        (d / "munge.key").chmod(0o400)
        run("munged", "--force", f"--key-file={d}/munge.key", f"--socket={d}/munge.socket", f"--pid-file={d}/pid/munged",
            f"--log-file={d}/log/munged", f"--seed-file={d}/munge.seed")
        run("slurmctld", "-f", d / "slurm.conf")
    (d / "head.ready").touch()
    reap_for_ever()


def host_main(folder, slurm, i):
    d, name = pathlib.Path(folder), f"n{i}"
    run("hostname", name)
    own_folders([])  # the head's /tmp lies below: what is shared is bound there already
    run("ip", "link", "set", "lo", "up")
    while "eth0" not in pathlib.Path("/proc/net/dev").read_text():
        time.sleep(0.01)
    run("ip", "addr", "add", f"{NET}.{int(i) + 1}/24", "dev", "eth0")
    run("ip", "link", "set", "eth0", "up")
    know_each_other(d, int(i), "eth0")
    os.makedirs("/run/sshd", exist_ok=True)
    options = dict(AuthorizedKeysFile=f"{d}/ssh/authorized", StrictModes="no", PidFile="none", UsePAM="no", PermitRootLogin="yes",
                   MaxStartups="100", SetEnv=f"SLURM_CONF={d}/slurm.conf")
    run(shutil.which("sshd"), "-h", d / "ssh/host", "-f", "/dev/null", *[f"-o{k}={v}" for k, v in options.items()])
    if slurm:
        run("slurmd", "-f", d / "slurm.conf", "-N", name)
    (d / f"{name}.ready").touch()
    reap_for_ever()


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def main():
    if len(sys.argv) > 2 and sys.argv[1] in ("_head", "_host"):
        (head_main if sys.argv[1] == "_head" else host_main)(*sys.argv[2:])
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("-n", type=int, default=3, metavar="HOSTS")
    a.add_argument("--cpus", type=int, default=2)
    a.add_argument("--slurm", action="store_true")
    a.add_argument("command", nargs=argparse.REMAINDER)
    args = a.parse_args()
    reason = why_not(args.slurm)
    if reason:
        sys.exit(f"bed: {reason}")
    with Bed(args.n, args.cpus, args.slurm, keep=[os.getcwd()]) as bed:
        sys.exit(subprocess.call([*bed._enter(), "--wd=" + os.getcwd(), *args.command], env=bed.environment()))


if __name__ == "__main__":
    main()
