#!/usr/bin/env python3
"""A module includes only modules before it in the list below, and only another module's public face or shared headers.

Usage: layering.py SOURCE_ROOT. Prints every violation and exits with 1 when there is one.
"""
import pathlib
import re
import sys

ORDER = "base config topology comm compute data model reduce optim gpu checkpoint telemetry train".split()
# The CUDA plug-in knows of the library only this, so that it can be built and loaded by itself.
PLUGIN_DIRS = [("cuda",), ("compute", "cuda")]
PLUGIN = re.compile(r"cuda/|compute/cuda/|gpu/(api|kernels)\.h$|base/philox\.h$|ddp_device\.h$")
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.M)


def plugin_violations(root):
    src = root / "src"
    for path in sorted(p for d in PLUGIN_DIRS for p in (src / pathlib.Path(*d)).rglob("*.[ch]*")):
        for header in INCLUDE.findall(path.read_text()):
            if not (header.startswith("ddp/") or PLUGIN.match(header)):
                yield f"{path.relative_to(root)}: the CUDA plug-in must not include {header}"


def violations(root):
    src = root / "src"
    yield from plugin_violations(root)
    for path in sorted(src.rglob("*.[ch]")):
        parts = path.relative_to(src).parts
        if parts[0] not in ORDER or parts[:2] in PLUGIN_DIRS:
            continue
        mine = ORDER.index(parts[0])
        for header in INCLUDE.findall(path.read_text()):
            first = header.split("/")[0]
            if first == "ddp":
                continue
            if "/" not in header:
                if not (path.parent / header).exists() and header != "ddp_version.h":
                    yield f"{path.relative_to(root)}: \"{header}\": write the module in front of it"
            elif first not in ORDER:
                yield f"{path.relative_to(root)}: \"{header}\" is of no module"
            elif ORDER.index(first) > mine:
                yield f"{path.relative_to(root)}: {parts[0]} must not include {header}: {first} comes after it"
            elif not (src / header).exists():
                yield f"{path.relative_to(root)}: \"{header}\" does not exist"
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
            "src/base/a.h": '#include "reduce/r.h"\n',
            "src/reduce/r.h": '#include "base/a.h"\n#include "nowhere/x.h"\n',
            "src/compute/cuda/k.cu": '#include "ddp_device.h"\n#include "gpu/kernels.h"\n#include "model/m.h"\n',
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
