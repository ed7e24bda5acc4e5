#!/usr/bin/env python3
"""Is every kernel that is shipped run by a suite, in every form that it is compiled in (float, bf16, ...)?

    test_kernels_ran.py --build BUILD --archive LIBRARY --ran FILE...

The suites have written the files (DDP_EMU_KERNELS); the forms are those in the emulator's library, which is compiled
from the same sources, and in libddp_cuda.so where the build has one: the two must be the same.
"""
import argparse
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
SKIP = 77
TYPES = {"__half": "ddp_f16", "__nv_bfloat16": "ddp_bf16"}


def plain(name):
    """'void mse<__half>(ddp_gpu_loss_args)' -> 'mse<ddp_f16>'"""
    for vendor, ours in TYPES.items():
        name = re.sub(rf"\b{vendor}\b", ours, name)
    depth, begin = 0, 0
    for i, c in enumerate(name):
        depth += (c == "<") - (c == ">")
        if c == " " and depth == 0:
            begin = i + 1
        if c == "(" and depth == 0:
            return name[begin:i]
    return name[begin:]


def written():
    """Names after DDP_KERNEL in the sources."""
    names = set()
    for path in (ROOT / "src").rglob("*.cu*"):
        names.update(re.findall(r"\bDDP_KERNEL\s+(\w+)\(", path.read_text()))
    return names


def demangled(symbols):
    p = subprocess.run(["c++filt"], input="\n".join(symbols), text=True, capture_output=True, check=True)
    return p.stdout.splitlines()


def kernels_of(symbols, names):
    return {k for k in map(plain, demangled(symbols)) if k.split("<")[0] in names}


def in_archive(path, names):
    p = subprocess.run(["nm", path], text=True, capture_output=True, check=True)
    return kernels_of(re.findall(r" [tT] (_Z\w+)$", p.stdout, re.M), names)


def in_plugin(path, names):
    """The host's side registers each kernel under its name."""
    return kernels_of(sorted({m.decode() for m in re.findall(rb"\0(_Z\d\w+)(?=\0)", path.read_bytes())}), names)


def ran(files, names):
    for file in files:
        if not file.exists():
            sys.exit(f"{file} is not there: the suite writes it when ctest runs it")
    return {k for file in files for k in file.read_text().splitlines() if k.split("<")[0] in names}


def difference(what, one, other):
    for k in sorted(one - other):
        print(f"{k} {what}")
    return len(one - other)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--build", type=pathlib.Path, required=True)
    p.add_argument("--archive", type=pathlib.Path, required=True)
    p.add_argument("--ran", nargs="+", type=pathlib.Path, required=True)
    a = p.parse_args()
    if not shutil.which("nm") or not shutil.which("c++filt"):
        print("skipped: needs nm and c++filt")
        return SKIP
    names = written()
    shipped, seen = in_archive(a.archive, names), ran(a.ran, names)
    wrong = difference("is compiled into nothing", names, {k.split("<")[0] for k in shipped})
    wrong += difference("is run by no suite", shipped, seen)
    plugin = a.build / "lib/libddp_cuda.so"
    if plugin.exists():
        real = in_plugin(plugin, names)
        wrong += difference("is in the plug-in, not in the emulator", real, shipped)
        wrong += difference("is in the emulator, not in the plug-in", shipped, real)
    print(f"{len(shipped)} kernels, {len(shipped & seen)} run by {len(a.ran)} suites"
          + (", the same in the plug-in" if plugin.exists() else "; no CUDA plug-in in this build"))
    return 1 if wrong or not shipped else 0


if __name__ == "__main__":
    sys.exit(main())
