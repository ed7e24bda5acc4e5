#!/usr/bin/env python3
"""Do the kernels that only stream ask for enough memory before they wait for it? Reads what nvcc made of them for an H100 (sm_90).

    test_loads.py ARCHIVE       the plug-in's kernels, libddp_cuda_kernels.a

A thread that loads one vector, waits and stores leaves most of the memory's bandwidth unused, and that is what a compiler makes of a
plain loop (src/ops/cuda/items.cuh: ddp_walk). Counted are the loads in a row of a loop, or of straight code, before an instruction
reads what one of them brings. Needs cuobjdump: $CUOBJDUMP, beside nvcc, or in the PATH (pip install nvidia-cuda-cuobjdump).
"""
import os
import re
import shutil
import subprocess
import sys

SKIP = 77
LEAST = 4
# Kernel -> the least number for each of its innermost loops that load. Those of whole vectors count 16-byte loads of an element type or
# of floats; STRAIGHT: unrolled by whole blocks; SINGLE: single elements.
STRAIGHT, SINGLE = "straight", "single"
KERNELS = {
    **dict.fromkeys(["norm_stats", "norm_apply", "norm_grad_stats", "norm_grad", "group_forward", "group_grad", "add_forward", "add_backward",
                     "bias_forward", "bias_backward", "act_backward"], (LEAST, None)),
    "act_forward": (1, None),  # GELU computes all the while; others have LEAST
    **dict.fromkeys(["group_stats", "group_grad_sums", "group_elements", "group_channels"], (LEAST, SINGLE)),
    **dict.fromkeys(["max_pool", "avg_pool", "update_block", "moments_block", "norms_block", "add_pairs", "sum_elements"], (LEAST, STRAIGHT)),
}
LOAD = re.compile(r"(?:@!?U?P\w+ )?LDG?\.(\S*) R(\d+), (.*)")


def find_tool():
    nvcc = shutil.which("nvcc") or "/usr/local/cuda/bin/nvcc"
    beside = os.path.join(os.path.dirname(os.path.realpath(nvcc)), "cuobjdump")
    return os.environ.get("CUOBJDUMP") or (beside if os.path.exists(beside) else shutil.which("cuobjdump"))


def functions(text):
    """Name of a kernel with its type, as [(address, instruction)]."""
    for part in re.split(r"^\s*Function : ", text, flags=re.M)[1:]:
        name, body = part.split("\n", 1)
        plain = re.match(r"_Z\d+(\w+?)(?:I(.*?)Ev\d|\d+ddp_)", name)
        kind = re.search(r"__half|__nv_bfloat16|(?<=I)f(?=Ev)|(?<=I)\d+\w+?(?=Ev)", name)
        yield plain[1] if plain else name, kind[0].lstrip("0123456789") if kind else "", [
            (int(a, 16), i) for a, i in re.findall(r"/\*([0-9a-f]{4,})\*/\s+(.*?)\s*;", body)]


def registers(text):
    return {int(n) for n in re.findall(r"\bR(\d+)\b", text)}


def load(instruction, single):
    """What a load of the width that counts brings: its registers, and those of its address. None: it is no such load."""
    m = LOAD.match(instruction)
    if not m or ("128" in m[1]) == bool(single):
        return None
    return set(range(int(m[2]), int(m[2]) + (1 if single else 4))), registers(m[3])


def in_a_row(instructions, single):
    most, open_, n = 0, set(), 0
    for _, i in instructions:
        brings = load(i, single)
        if (brings[1] if brings else registers(i)) & open_:
            open_, n = set(), 0
        if brings:
            open_ |= brings[0]
            n += 1
            most = max(most, n)
    return most


def loops(instructions, single):
    """The innermost ones with loads."""
    spans = {(int(to, 16), a) for a, i in instructions for to in re.findall(r"BRA\S* (?:\S+, )?0x([0-9a-f]+)", i) if int(to, 16) < a}
    bodies = {(lo, hi): [(a, i) for a, i in instructions if lo <= a <= hi] for lo, hi in spans}
    bodies = {s: b for s, b in bodies.items() if any(load(i, single) for _, i in b)}
    return [b for s, b in sorted(bodies.items()) if not any(o != s and s[0] <= o[0] and o[1] <= s[1] for o in bodies)]


def main():
    tool = find_tool()
    if not tool:
        print("skipped: no cuobjdump (pip install nvidia-cuda-cuobjdump, or CUOBJDUMP=...)")
        return SKIP
    out = subprocess.run([tool, "-arch", "sm_90", "-sass", sys.argv[1]], capture_output=True, text=True)
    if "Function :" not in out.stdout:
        print(f"skipped: no code for sm_90 in {sys.argv[1]} (DDP_CUDA_ARCH): {out.stderr.strip()[:200]}")
        return SKIP
    bad, seen = 0, set()
    for name, kind, instructions in functions(out.stdout):
        if name not in KERNELS:
            continue
        seen.add(name)
        least, how = KERNELS[name]
        single = how == SINGLE
        found = [in_a_row(instructions, False)] if how == STRAIGHT else [in_a_row(b, single) for b in loops(instructions, single)]
        well = bool(found) and min(found) >= least and max(found) >= LEAST
        bad += not well
        print(f"{'ok    ' if well else 'TOO FEW'} {name} {kind}: {found}")
    missing = set(KERNELS) - seen
    if missing:
        print("not found:", *sorted(missing))
    return bool(bad or missing)


if __name__ == "__main__":
    sys.exit(main())
