#!/usr/bin/env python3
"""The README's two commands on a bare system of another Debian release (another compiler, C library and Open MPI): the main job
ends with the same weights as here, and the tests pass.

    DDP_BARE_DIR=FOLDER tests/system/test_bare.py      keeps the systems in FOLDER and takes them from there again

Needs root, debootstrap, and the package mirror that this machine uses."""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import harness
from harness import LAUNCH, ROOT

RELEASES = ("bookworm", "trixie")
INSIDE = """
mount -t proc proc "$1/proc" && mount -t sysfs sys "$1/sys" && mount --rbind /dev "$1/dev" && mount -t tmpfs shm "$1/dev/shm" || exit 3
exec env -i HOME=/root LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    $(env | grep -i -E '^(https?|no)_proxy=') chroot "$1" /bin/sh -c "cd /root/ddp && exec $2"
"""


def mirror():
    """The address of the package mirror in this machine's own list."""
    files = [pathlib.Path("/etc/apt/sources.list"), *pathlib.Path("/etc/apt/sources.list.d").glob("*")]
    text = "\n".join(f.read_text() for f in files if f.is_file())
    found = re.search(r"^(?:URIs:|deb(?: \[.*?\])?) +(http\S+)", text, re.M)
    return found and found[1]


def why_not():
    if os.geteuid() != 0:
        return "a bare system needs root"
    for program in ("debootstrap", "unshare", "chroot"):
        if not shutil.which(program):
            return f"{program} is not installed"
    return None if mirror() else "no package mirror of Debian is known here"


class Bare(harness.Case):
    def system(self, release):
        keep = os.environ.get("DDP_BARE_DIR")
        where = pathlib.Path(keep or tempfile.mkdtemp(prefix="ddp-bare-", dir="/var/tmp")).resolve() / release
        if not keep:
            self.addCleanup(subprocess.run, ["rm", "-rf", "--one-file-system", where.parent])
        if not (where / "etc/apt").is_dir():
            r = subprocess.run(["debootstrap", "--variant=minbase", release, where, mirror()], capture_output=True, text=True)
            self.assertEqual(r.returncode, 0, r.stdout[-2000:])
            shutil.copytree("/etc/apt/apt.conf.d", where / "etc/apt/apt.conf.d", dirs_exist_ok=True)
        for name in ("resolv.conf", "hosts"):
            shutil.copy(f"/etc/{name}", where / "etc" / name)
        return where

    def run_in(self, where, command, seconds):
        r = subprocess.run(["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", INSIDE, "sh", where, command],
                           stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds)
        self.assertEqual(r.returncode, 0, f"{command}\n{r.stdout[-6000:]}\n{r.stderr[-3000:]}")
        return r.stdout

    def test_other_release(self):
        here = re.search("^VERSION_CODENAME=(.*)$", pathlib.Path("/etc/os-release").read_text(), re.M)[1]
        for release in (r for r in RELEASES if r != here):
            with self.subTest(release):
                where = self.system(release)
                source = where / "root/ddp"
                shutil.rmtree(source, ignore_errors=True)
                source.mkdir(parents=True)
                files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
                subprocess.run(["tar", "--null", "-T", "-", "-cf", source / "all.tar"], cwd=ROOT, input=files, text=True, check=True)
                subprocess.run(["tar", "-xf", "all.tar"], cwd=source, check=True)
                (source / "all.tar").unlink()
                weights = re.search("^  weights +([0-9a-f]{64})$", self.run_in(where, "./quickstart", 1800), re.M)[1]
                r = self.run_program(LAUNCH, "-q", "-n", 8, ROOT / "configs/cnn.cfg", timeout=600)
                self.assertEqual(r.weights, weights)
                print(self.run_in(where, "./quickstart test", 5400).splitlines()[-1], flush=True)


reason = why_not()
if reason:
    print(f"skipped: {reason}")
    sys.exit(harness.SKIP)
harness.main()
