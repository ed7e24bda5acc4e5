#!/usr/bin/env python3
"""Fuzzes what reads files and words of others, with libFuzzer under the address and undefined-behaviour sanitizers.

    tests/fuzz/fuzz.py                       # two minutes over all targets
    tests/fuzz/fuzz.py --seconds 36000       # the long run: ten hours
    tests/fuzz/fuzz.py --seconds 600 config  # of one target

Builds with clang into build/fuzz; seeds come from the programs of DDP_BIN (build/release). What is found new is kept in
build/fuzz/corpus/TARGET from run to run, and what ends a target in build/fuzz/found/TARGET-*. Ends with 77 where there is
no clang with libFuzzer."""
import argparse
import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import seeds

BUILD = seeds.ROOT / "build/fuzz"
FLAG = "fuzzer-no-link,address,undefined"


def clang():
    """A clang that has libFuzzer, or None."""
    found = shutil.which("clang")
    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder) / "x.c"
        source.write_text("int LLVMFuzzerTestOneInput(const unsigned char *d, unsigned long n) { (void)d; (void)n; return 0; }\n")
        if found and subprocess.run([found, "-fsanitize=fuzzer,address", source, "-o", f"{folder}/x"],
                                    capture_output=True).returncode == 0:
            return found
    return None


def build(compiler, jobs):
    env = {**os.environ, "CC": compiler}
    for command in (["cmake", "--preset", "fuzz"], ["cmake", "--build", BUILD, "--target", "fuzz_targets", "-j", str(jobs)]):
        p = subprocess.run(command, cwd=seeds.ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if p.returncode:
            sys.exit(f"{command}: {p.returncode}\n{p.stdout[-4000:]}")


def fuzz(target, seconds, seed):
    """(inputs tried, what was found): runs a target on its own corpus, the seeds and what was ever found."""
    corpus, found = BUILD / "corpus" / target, BUILD / "found"
    corpus.mkdir(parents=True, exist_ok=True)
    found.mkdir(exist_ok=True)
    old = pathlib.Path(__file__).parent / "found" / target
    folders = [corpus, BUILD / "seeds" / target, *([old] if old.exists() else [])]
    env = {k: v for k, v in os.environ.items() if not k.startswith("DDP_")}
    env.update(ASAN_OPTIONS="allocator_may_return_null=1:detect_leaks=1", UBSAN_OPTIONS="print_stacktrace=1",
               LSAN_OPTIONS=f"suppressions={pathlib.Path(__file__).resolve().parent}/lsan.supp:print_suppressions=0")
    p = subprocess.run([BUILD / "bin" / f"fuzz_{target}", f"-max_total_time={seconds}", f"-seed={seed}", "-timeout=10", "-rss_limit_mb=2048",
                        "-print_final_stats=1", f"-artifact_prefix={found}/{target}-", *folders],
                       env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    tried = re.search(r"stat::number_of_executed_units:\s*(\d+)", p.stdout)
    return int(tried[1]) if tried else 0, p.stdout[-6000:] if p.returncode else ""


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("targets", nargs="*")
    p.add_argument("--seconds", type=int, default=120, help="in all, of one core")
    p.add_argument("--seed", type=int, default=0, help="of what is tried; 0: another one each time")
    p.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="of the build, and targets at once")
    o = p.parse_args()
    compiler = clang()
    if not compiler:
        print("skipped: no clang with libFuzzer (packages clang and libclang-rt-*-dev)")
        sys.exit(77)
    build(compiler, o.jobs)
    seeds.main(BUILD / "seeds")
    targets = o.targets or sorted(t.name[5:] for t in (BUILD / "bin").glob("fuzz_*"))
    bad = 0
    at_once = concurrent.futures.ThreadPoolExecutor(o.jobs)
    for target, (tried, what) in zip(targets, at_once.map(lambda t: fuzz(t, max(1, o.seconds // len(targets)), o.seed), targets)):
        print(f"{target}: {tried} inputs{': FOUND' if what else ''}", flush=True)
        if what:
            print(what)
            bad += 1
    if bad:
        print(f"inputs that end a target are in {BUILD}/found; mended, they go to tests/fuzz/found/TARGET/")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
