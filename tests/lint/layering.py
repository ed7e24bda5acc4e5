#!/usr/bin/env python3
"""A module includes only modules before it in src/modules.txt, and the CUDA plug-in only what it may know.

Usage: layering.py SOURCE_ROOT. Prints every violation and exits with 1 when there is one.
"""
import pathlib
import re
import sys

# What the plug-in is built from, and all that it knows of the library, so that it can be built and loaded by itself.
PLUGIN_DIR = ("device", "cuda")
PLUGIN = re.compile(r"device/cuda/|device/(api|kernels)\.h$|[a-z/]+_kernels\.h$|base/(philox|range)\.h$|ddp_device\.h$|[a-z/]+\.cuh$")
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.M)


def order(root):
    return [l.split()[0] for l in (root / "src/modules.txt").read_text().splitlines() if l and l[0] != "#"]


def in_plugin(path, parts):
    return path.suffix in (".cu", ".cuh") or parts[:2] == PLUGIN_DIR


def file_violations(root, path, modules):
    src = root / "src"
    parts = path.relative_to(src).parts
    includes = INCLUDE.findall(path.read_text())
    if in_plugin(path, parts):
        for header in includes:
            if not (header.startswith("ddp/") or PLUGIN.match(header)):
                yield f"{path.relative_to(root)}: the CUDA plug-in must not include {header}"
        return
    if parts[0] not in modules:
        return
    mine = modules.index(parts[0])
    for header in includes:
        first = header.split("/")[0]
        if first == "ddp":
            continue
        if "/" not in header:
            if not (path.parent / header).exists() and header != "ddp_version.h":
                yield f"{path.relative_to(root)}: \"{header}\": write the module in front of it"
        elif first not in modules:
            yield f"{path.relative_to(root)}: \"{header}\" is of no module"
        elif modules.index(first) > mine:
            yield f"{path.relative_to(root)}: {parts[0]} must not include {header}: {first} comes after it"
        elif not (src / header).exists():
            yield f"{path.relative_to(root)}: \"{header}\" does not exist"


def violations(root):
    modules = order(root)
    for path in sorted(p for p in (root / "src").rglob("*") if p.suffix in (".c", ".h", ".cu", ".cuh", ".cpp")):
        yield from file_violations(root, path, modules)
    for path in sorted((root / "include").rglob("*.h")):
        for header in INCLUDE.findall(path.read_text()):
            if not header.startswith("ddp/"):
                yield f"{path.relative_to(root)}: a public header includes the private {header}"


def self_test():
    """The check itself: a tree with known faults."""
    import tempfile

    with tempfile.TemporaryDirectory() as d:
        root = pathlib.Path(d)
        for name, text in {
            "src/modules.txt": "# order\nbase\nops\nreduce\n",
            "src/base/a.h": '#include "reduce/r.h"\n',
            "src/reduce/r.h": '#include "base/a.h"\n#include "nowhere/x.h"\n',
            "src/ops/norm/k.cu": '#include "ddp_device.h"\n#include "device/kernels.h"\n#include "ops/norm/norm_kernels.h"\n#include "model/m.h"\n',
            "include/ddp/p.h": '#include "base/a.h"\n',
        }.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        found = list(violations(root))
        assert len(found) == 4, found


self_test()
bad = list(violations(pathlib.Path(sys.argv[1])))
print("\n".join(bad) or "layering: clean")
sys.exit(1 if bad else 0)
