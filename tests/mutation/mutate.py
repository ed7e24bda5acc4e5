#!/usr/bin/env python3
"""Do the fast tests notice when an operator changes? Plants random operator changes, one at a time, in the modules whose
faults would silently change results, and runs the fast tests against each.

    tests/mutation/mutate.py [--count 40] [--seed 1] [--need 32] [--modules reduce,optim,data,checkpoint]

Works in a copy of the tree, never in the tree itself. A change that does not compile is replaced by another. Prints a line per
change and ends with 'CAUGHT of COUNT caught'; exit code 1 when fewer than --need were.
"""
import argparse
import pathlib
import random
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
# operator -> what it may become; spaces around binary operators are how clang-format writes them
SWAPS = {
    " + ": [" - "], " - ": [" + "], " * ": [" / "], " / ": [" * "], " % ": [" / "],
    " < ": [" <= ", " > "], " <= ": [" < "], " > ": [" >= ", " < "], " >= ": [" > "],
    " == ": [" != "], " != ": [" == "], " && ": [" || "], " || ": [" && "],
    " += ": [" -= "], " -= ": [" += "], "++": ["--"], "<<": [">>"], ">>": ["<<"],
}
PATTERN = re.compile("|".join(re.escape(k) for k in sorted(SWAPS, key=len, reverse=True)))


def code_only(text):
    """The text with comments, strings and preprocessor lines blanked, at the same positions."""
    blank = lambda m: re.sub(r"[^\n]", "~", m.group(0))
    text = re.sub(r"/\*.*?\*/|//[^\n]*", blank, text, flags=re.S)
    text = re.sub(r'"(\\.|[^"\\\n])*"|\'(\\.|[^\'\\\n])*\'', blank, text)
    return re.sub(r"^[ \t]*#[^\n]*", blank, text, flags=re.M)


def sites(modules):
    for module in modules:
        for path in sorted((ROOT / "src" / module).rglob("*.c")):
            text = code_only(path.read_text())
            for m in PATTERN.finditer(text):
                line = text[text.rfind("\n", 0, m.start()) + 1: text.find("\n", m.start())]
                if re.match(r"\s*(static )?(const )?[a-z_0-9 ]+ \*[a-z_]", line) and m.group(0) == " * ":
                    continue  # a pointer declaration
                yield path.relative_to(ROOT), m.start(), m.group(0)


def run(args, cwd, timeout):
    try:
        return subprocess.run(args, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=timeout).returncode
    except subprocess.TimeoutExpired:
        return 124


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--count", type=int, default=40)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--need", type=int, default=32)
    p.add_argument("--modules", default="reduce,optim,data,checkpoint")
    p.add_argument("--jobs", default="2")
    a = p.parse_args()
    rng = random.Random(a.seed)
    everything = list(sites(a.modules.split(",")))
    rng.shuffle(everything)
    work = pathlib.Path(tempfile.mkdtemp(prefix="ddp-mutation-"))
    tree, build = work / "tree", work / "build"
    try:
        shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns("build", ".git", "runs"))
        configure = ["cmake", "-S", tree, "-B", build, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release", "-DCMAKE_C_FLAGS_RELEASE=-O1"]
        make = ["cmake", "--build", build, "-j", a.jobs]
        if run(configure, work, 300) or run(make, work, 1200):
            sys.exit("mutate: the unchanged tree does not build")
        if run(["ctest", "--test-dir", build, "-L", "^fast$", "-E", "^lint_", "-j", a.jobs], work, 900):
            sys.exit("mutate: the unchanged tree fails its tests")
        caught = done = 0
        for path, at, old in everything:
            if done == a.count:
                break
            file = tree / path
            original = file.read_text()
            new = rng.choice(SWAPS[old])
            file.write_text(original[:at] + new + original[at + len(old):])
            try:
                if run(make, work, 600):
                    continue
                module = path.parts[1]
                base = ["ctest", "--test-dir", build, "-L", "^fast$", "--stop-on-failure", "--timeout", "60", "-j", a.jobs]
                own = ["-R", {"reduce": "reduce|tree|bucket", "optim": "optim|schedule|sgd|adam|lars|lamb",
                              "data": "data|order|augment|loader|digits|idx|cifar|pack", "checkpoint": "checkpoint|safetensors|saver|snapshot|weights"}.get(module, module)]
                hit = run(base + own, work, 600) != 0 or run(base + ["-E", "^lint_"], work, 900) != 0
            finally:
                file.write_text(original)
            done += 1
            caught += hit
            line = original.count("\n", 0, at) + 1
            print(f"{'caught  ' if hit else 'SURVIVED'} {path}:{line}: '{old.strip()}' -> '{new.strip()}'", flush=True)
        print(f"{caught} of {done} caught")
        sys.exit(0 if caught >= min(a.need, done) else 1)
    finally:
        shutil.rmtree(work, ignore_errors=True)


main()
