#!/usr/bin/env python3
"""A module includes only faces of modules before it in src/modules.txt, and the CUDA plug-in only what it may know.

Usage: layering.py SOURCE_ROOT. Prints every violation and exits with 1 when there is one.
"""
import pathlib
import re
import sys

# What the plug-in is built from, and all that it knows of the library, so that it can be built and loaded by itself.
PLUGIN_DIR = ("device", "cuda")
PLUGIN = re.compile(r"device/cuda/|device/(api|kernels)\.h$|[a-z_/]+_(kernels|args)\.h$|base/(philox|range|error)\.h$|config/optims\.h$"
                    r"|ddp_device\.h$|[a-z_/]+\.cuh$")
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.M)
SOURCE = (".c", ".h", ".cu", ".cuh", ".cpp")
ON_TOP = ("src/programs", "src/lib", "launcher", "bench")  # stand on all modules, by their faces


def read_modules(root):
    """{module: its faces, as paths in src}, from the ground up; a star is every header in the module's own folder."""
    modules = {}
    for line in (root / "src/modules.txt").read_text().splitlines():
        if line and line[0] != "#":
            name, *faces = line.split()
            modules[name] = {str(p.relative_to(root / "src")) for face in faces for p in (root / "src" / name).glob(face)}
    return modules


def taken_along(root):
    """Files of other rooms that the plug-in is built from."""
    recipe = root / "src" / "/".join(PLUGIN_DIR) / "CMakeLists.txt"
    return re.findall(r"\$\{root\}/src/(\S+\.c)\b", recipe.read_text()) if recipe.exists() else []


def in_plugin(root, path, parts):
    return path.suffix in (".cu", ".cuh") or parts[:2] == PLUGIN_DIR or "/".join(parts) in taken_along(root)


def include_violations(root, path, me, header, modules):
    names = list(modules)
    first = header.split("/")[0]
    where = path.relative_to(root)
    if first == "ddp":
        return
    if "/" not in header:
        if not (path.parent / header).exists() and header != "ddp_version.h":
            yield f'{where}: "{header}": write the module in front of it'
    elif first not in modules:
        yield f'{where}: "{header}" is of no module'
    elif me and names.index(first) > names.index(me):
        yield f"{where}: {me} must not include {header}: {first} comes after it"
    elif not (root / "src" / header).exists():
        yield f'{where}: "{header}" does not exist'
    elif first != me and header not in modules[first]:
        yield f"{where}: {header} is private to {first}; its faces are {', '.join(sorted(modules[first])) or 'none'}"


def file_violations(root, path, modules):
    parts = path.relative_to(root / "src").parts
    includes = INCLUDE.findall(path.read_text())
    if in_plugin(root, path, parts):
        for header in includes:
            if not (header.startswith("ddp/") or PLUGIN.match(header)):
                yield f"{path.relative_to(root)}: the CUDA plug-in must not include {header}"
    elif parts[0] in modules:
        for header in includes:
            yield from include_violations(root, path, parts[0], header, modules)


def sources(folder):
    return sorted(p for p in folder.rglob("*") if p.suffix in SOURCE)


def tour_violations(root, modules):
    """ARCHITECTURE.md has the modules as a table: the same ones, in the same order."""
    tour = root / "ARCHITECTURE.md"
    rooms = re.findall(r"^\| `src/(\w+)` \|", tour.read_text(), re.M) if tour.exists() else list(modules)
    if rooms != list(modules):
        yield f"ARCHITECTURE.md: its table of rooms has {' '.join(rooms)}; src/modules.txt has {' '.join(modules)}"


def violations(root):
    modules = read_modules(root)
    yield from tour_violations(root, modules)
    for path in sources(root / "src"):
        yield from file_violations(root, path, modules)
    for top in ON_TOP:
        for path in sources(root / top):
            for header in INCLUDE.findall(path.read_text()):
                if header.split("/")[0] in modules:
                    yield from include_violations(root, path, None, header, modules)
    for path in sources(root / "include"):
        for header in INCLUDE.findall(path.read_text()):
            if not header.startswith("ddp/"):
                yield f"{path.relative_to(root)}: a public header includes the private {header}"


def self_test():
    """The check itself: a tree with known faults."""
    import tempfile

    with tempfile.TemporaryDirectory() as d:
        root = pathlib.Path(d)
        for name, text in {
            "src/modules.txt": "# order\nbase *.h\nops ops.h cpu/vec.h\nreduce\n",
            "src/base/a.h": '#include "reduce/r.h"\n',
            "src/base/deep/b.h": "",
            "src/ops/ops.h": '#include "base/a.h"\n#include "ops/hidden.h"\n#include "base/deep/b.h"\n',
            "src/ops/hidden.h": "",
            "src/ops/cpu/vec.h": "",
            "src/reduce/r.h": '#include "base/a.h"\n#include "nowhere/x.h"\n#include "ops/ops.h"\n#include "ops/cpu/vec.h"\n',
            "src/reduce/s.c": '#include "ops/hidden.h"\n#include "reduce/r.h"\n#include "launcher/l.h"\n',
            "src/ops/norm/k.cu": '#include "ddp_device.h"\n#include "ops/norm/norm_kernels.h"\n#include "model/m.h"\n',
            "src/device/cuda/CMakeLists.txt": "add_library(x MODULE ${sources} ${root}/src/base/along.c)\n",
            "src/base/along.c": '#include "base/a.h"\n',
            "include/ddp/p.h": '#include "base/a.h"\n',
            "ARCHITECTURE.md": "| `src/base` | x |\n| `src/reduce` | y |\n| `src/ops` | z |\n",
            "launcher/l.c": '#include "launcher/l.h"\n#include "ops/hidden.h"\n#include "ops/ops.h"\n',
        }.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        found = list(violations(root))
        wanted = ("base must not include reduce", "base/deep/b.h is private", '"nowhere/x.h" is of no module',
                  "s.c: ops/hidden.h is private to ops", '"launcher/l.h" is of no module', "must not include model/m.h",
                  "along.c: the CUDA plug-in must not include base/a.h",
                  "p.h: a public header", "l.c: ops/hidden.h is private", "its table of rooms")
        assert len(found) == len(wanted) and all(any(w in f for f in found) for w in wanted), found


self_test()
bad = list(violations(pathlib.Path(sys.argv[1])))
print("\n".join(bad) or "layering: clean")
sys.exit(1 if bad else 0)
