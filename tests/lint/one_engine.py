#!/usr/bin/env python3
"""Who trains, saves and reports knows an engine, not what it computes on: no word of a device in those rooms.

Usage: one_engine.py SOURCE_ROOT. Prints every violation and exits with 1 when there is one. Keys of run.json that name
a device come from the engine's facts (struct ddp_fact).
"""
import pathlib
import re
import sys

ROOMS = ("src/train", "src/checkpoint", "src/telemetry")
WORD = re.compile(r"gpu|cuda|device", re.I)
INSIDE = re.compile(r'#\s*include\s+"engine/(?!engine\.h")')


def violations(root):
    for room in ROOMS:
        for path in sorted(p for p in (root / room).rglob("*") if p.suffix in (".c", ".h")):
            for number, line in enumerate(path.read_text().splitlines(), 1):
                where = f"{path.relative_to(root)}:{number}"
                word = WORD.search(line)
                if word:
                    yield f"{where}: '{word.group()}' is a matter of src/engine: {line.strip()}"
                if INSIDE.search(line):
                    yield f"{where}: the face of src/engine is engine/engine.h: {line.strip()}"


def self_test():
    """The check itself: rooms with known faults."""
    import tempfile

    with tempfile.TemporaryDirectory() as d:
        root = pathlib.Path(d)
        for name, text in {
            "src/train/a.c": '#include "engine/engine.h"\n#include "engine/cpu/pass.h"\nif (cfg->device == 1)\n',
            "src/checkpoint/b.h": "/* a GPU's plans */\n",
            "src/engine/gpu/c.c": '#include "engine/gpu/private.h"\n',
        }.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        found = list(violations(root))
        assert len(found) == 3, found


self_test()
bad = list(violations(pathlib.Path(sys.argv[1])))
print("\n".join(bad) or "one engine: clean")
sys.exit(1 if bad else 0)
