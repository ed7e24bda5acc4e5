#!/usr/bin/env python3
"""Do the tests on the emulator notice faults in what is shipped? Plants each fault of planted.py in a copy of its file, compiles and
links just that again, in a folder of its own, and runs the suite that must fail; the suites pass on the unchanged files.

    test_faults.py [--build build/release] [--only TEXT] [--jobs 2]

Needs a Ninja build with the tests (compile_commands.json, ninja -t commands); prints a line per fault.
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time

import planted

ROOT = pathlib.Path(__file__).resolve().parents[2]
SKIP = 77
TRAIN = ["configs/cnn.cfg", "device=cuda", "model=mnist_cnn", "train.threads=1", "train.batch=16", "data.train_count=64",
         "data.test_count=8", "train.max_steps=3", "train.shards=4", "train.precision=bf16", "reduce.bucket_mb=0.5"]


class Build:
    """What the build knows: how a file is compiled and a program linked."""

    def __init__(self, folder):
        self.folder = folder
        self.entries = json.loads((folder / "compile_commands.json").read_text())
        self.links = {}

    def link(self, output):
        """The words of the command that links `output`."""
        if output not in self.links:
            text = subprocess.run(["ninja", "-C", self.folder, "-t", "commands", output], text=True, capture_output=True, check=True).stdout
            command = text.strip().splitlines()[-1]
            words = shlex.split(command.removeprefix(": && "))
            self.links[output] = words[: words.index("&&")]  # what is done with the program afterwards is not the link's
        return self.links[output]

    def compilations(self, source, words):
        """Those of the source whose object goes into what `words` links: directly, or in a library."""
        archives = {pathlib.Path(w).name for w in words if w.endswith(".a")}
        for e in self.entries:
            if pathlib.Path(e["file"]) != ROOT / source:
                continue
            compile_words = shlex.split(e["command"])
            output = compile_words[compile_words.index("-o") + 1]
            target = re.search(r"CMakeFiles/([^/]+)\.dir/", output)[1]
            target = {"ddp_emu_instrumented": "ddp_emu_checked"}.get(target, target)
            if output in words or f"lib{target}.a" in archives:
                yield compile_words, output


class Failure(Exception):
    pass


def run(words, cwd, timeout=300, env=None):
    try:
        p = subprocess.run([str(w) for w in words], cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, timeout=timeout)
        return p.returncode, p.stdout.decode(errors="replace")
    except subprocess.TimeoutExpired as e:
        return 124, (e.stdout or b"").decode(errors="replace") + "\ntimed out"


class Plant:
    """One changed file, and programs linked with it, in a temporary folder."""

    def __init__(self, build, folder, file=None, units=()):
        self.build, self.folder, self.file = build, folder, file
        self.sources = list(units) or ([file] if file else [])

    def compile(self, words, output):
        """Compile with the changed copies in front."""
        target = self.folder / re.sub(r"[^A-Za-z0-9.]", "_", output)
        new = [words[0], f"-I{self.folder}/src"]
        for w in words[1:]:
            if w == output:
                w = str(target)
            elif w.startswith(str(ROOT)) and (self.folder / pathlib.Path(w).relative_to(ROOT)).exists():
                w = str(self.folder / pathlib.Path(w).relative_to(ROOT))
            new.append(w)
        code, text = run(new, self.build.folder)
        if code:
            raise Failure(f"does not compile:\n{text[-3000:]}")
        return target

    def relink(self, output, rewrite=None):
        """`output` of the build with the changed file in it; as it is where the file is no part of it. rewrite: old and new text in
        what its own sources are compiled with."""
        words = list(self.build.link(output))
        objects = {}
        for source in self.sources:
            for compile_words, obj in self.build.compilations(source, words):
                objects[obj] = self.compile(compile_words, obj)
        if rewrite:
            for e in self.build.entries:
                if rewrite[0] in e["command"]:
                    w = [x.replace(*rewrite) for x in shlex.split(e["command"])]
                    out = w[w.index("-o") + 1]
                    if out in words:
                        objects[out] = self.compile(w, out)
        if not objects:
            return self.build.folder / output
        target = self.folder / output
        target.parent.mkdir(parents=True, exist_ok=True)
        at = words.index("-o") + 1
        words[at] = str(target)
        words = [str(objects.pop(w, w)) for w in words]
        words[at + 1:at + 1] = [str(o) for o in objects.values()]  # before the libraries that have the unchanged ones
        code, text = run(words, self.build.folder)
        if code:
            raise Failure(f"does not link:\n{text[-3000:]}")
        return target


# ---- suites: each returns whether all is well, and what it printed

def program(plant, name):
    code, text = run([plant.relink(f"bin/{name}")], plant.folder, env={**os.environ, "DDP_EMU_FATAL": ""})
    return code == 0, text


def plugin(plant):
    library = plant.relink("lib/libddp_cuda_emu.so")
    rewrite = (str(plant.build.folder / "lib/libddp_cuda_emu.so"), str(library))
    test = plant.relink("bin/test_cuda_plugin", rewrite if rewrite[0] != rewrite[1] else None)
    code, text = run([test], plant.folder)
    return code == 0, text


reference = {}


def train(plant, ranks=3):
    binaries = plant.folder / "bin"
    library = plant.relink("lib/libddp_cuda_emu.so")
    trainer = plant.relink("bin/ddp-train")
    if trainer.parent != binaries:
        binaries.mkdir(exist_ok=True)
        shutil.copy(trainer, binaries)
    shutil.copy(plant.build.folder / "bin/ddp-launch", binaries)
    env = {k: v for k, v in os.environ.items() if not k.startswith("DDP_")}
    env.update(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", DDP_CONFIGS_DIR=str(ROOT / "configs"),
               DDP_CUDA_PLUGIN=str(library), DDP_MPI_PLUGIN=str(plant.build.folder / "lib/libddp_mpi.so"))
    config = [ROOT / TRAIN[0], *TRAIN[1:], f"run.dir={plant.folder}/runs"]
    code, text = run([binaries / "ddp-launch", "-n", ranks, "--quiet", *config], plant.folder, timeout=120, env=env)
    found = re.search(r"^weights: (\w+)", text, re.M)
    weights = found[1] if found else None
    if code == 0 and "weights" not in reference:
        reference["weights"] = weights
    if code == 0 and weights != reference["weights"]:
        return False, "other weights"
    return code == 0, text


def check(suite, plant):
    if suite == "plugin":
        return plugin(plant)
    if suite == "train":
        return train(plant)
    return program(plant, suite)


# ---- the table

def changed(file, old, new):
    text = (ROOT / file).read_text()
    if text.count(old) != 1:
        raise Failure(f"the old text stands {text.count(old)} times in {file}, not once:\n{old}")
    return text.replace(old, new)


def noticed(text):
    """The line that says what went wrong."""
    for pattern in (r"^.*emu: .*$", r"^.*(?:ERROR|error|timed out|other weights|FAILED|signal).*$"):
        found = re.search(pattern, text, re.M)
        if found:
            return found[0].strip()[:150]
    return "it failed"


def plant_one(build, title, file, old, new, suite):
    with tempfile.TemporaryDirectory(prefix="ddp-fault-") as folder:
        folder = pathlib.Path(folder)
        begin = time.monotonic()
        try:
            copy = folder / file
            copy.parent.mkdir(parents=True)
            copy.write_text(changed(file, old, new))
            well, text = check(suite, Plant(build, folder, file, planted.UNITS.get(file, {}).get(suite, ())))
        except Failure as e:
            return False, f"BROKEN {title} ({file}): {e}"
        seconds = time.monotonic() - begin
        if well:
            return False, f"MISSED {title} ({file}) by {suite}"
        return True, f"caught {title} ({pathlib.Path(file).name}, {suite}, {seconds:.0f} s): {noticed(text)}"


def clean(build, suites):
    """Unchanged, all is well: the training on one rank first, for its bits."""
    for suite in sorted(suites):
        with tempfile.TemporaryDirectory(prefix="ddp-fault-") as folder:
            plant = Plant(build, pathlib.Path(folder))
            if suite == "train":
                train(plant, 1)
            well, text = check(suite, plant)
            print(f"{'passes' if well else 'FAILS'}  {suite} on the unchanged sources" + ("" if well else f":\n{text[-3000:]}"), flush=True)
            if not well:
                return False
    return True


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--build", type=pathlib.Path, default=ROOT / "build/release")
    p.add_argument("--only", default="", help="faults whose row has this text")
    p.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    a = p.parse_args()
    folder = a.build.resolve()
    if not shutil.which("ninja") or not (folder / "build.ninja").exists():
        print("skipped: needs a build with Ninja")
        return SKIP
    build = Build(folder)
    rows = [r for r in planted.FAULTS if a.only in " ".join(r)]
    if not clean(build, {r[4] for r in rows}):
        return 1
    caught = 0
    with concurrent.futures.ThreadPoolExecutor(a.jobs) as pool:
        for good, line in pool.map(lambda r: plant_one(build, *r), rows):
            caught += good
            print(line, flush=True)
    print(f"{caught} of {len(rows)} caught")
    return 0 if caught == len(rows) else 1


if __name__ == "__main__":
    sys.exit(main())
