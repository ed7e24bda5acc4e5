#!/usr/bin/env python3
"""The layers of a report of ddp-bench ops, by PyTorch on one core: convolutions by oneDNN, linear layers by what torch has.

    ddp-bench ops resnet --json ops.json && python3 torch_ops.py ops.json       (-: from standard input)

One line of JSON: "torch", "onednn", and "layers": for each row of the report that is a convolution or a linear layer its layer,
batch and pass, with ms, gflops by the layer's definition, and the layout of memory that was faster. A pass is forward, or one
of the two gradients by itself; times are CPU time of the one thread, medians of rounds, layouts in turn.
"""
import argparse
import json
import re
import statistics
import sys
import time

import torch

LAYOUTS = {"channels first": torch.contiguous_format, "channels last": torch.channels_last}


def conv_passes(row, layout):
    n, stride, pad, kernel = row["batch"], row["stride"], row["padding"], row["kernel"]
    x = torch.randn(n, row["c"], row["h"], row["w"]).contiguous(memory_format=layout)
    w = torch.randn(row["out"], row["c"], kernel, kernel).contiguous(memory_format=layout)
    dy = torch.randn_like(torch.conv2d(x, w, stride=stride, padding=pad)).contiguous(memory_format=layout)

    def gradient(*wanted):
        return lambda: torch.ops.aten.convolution_backward(dy, x, w, None, [stride] * 2, [pad] * 2, [1, 1], False, [0, 0], 1, [*wanted, False])
    flops = 2 * dy.numel() * row["c"] * kernel * kernel
    return flops, {"forward": lambda: torch.conv2d(x, w, stride=stride, padding=pad), "data gradient": gradient(True, False),
                   "weight gradient": gradient(False, True)}


def linear_passes(row, _):
    n, features = row["batch"], row["c"] * row["h"] * row["w"]
    x, w, dy = torch.randn(n, features), torch.randn(row["out"], features), torch.randn(n, row["out"])
    return 2 * n * features * row["out"], {"forward": lambda: torch.nn.functional.linear(x, w), "data gradient": lambda: dy @ w,
                                           "weight gradient": lambda: dy.t() @ x}


OPS = {"conv2d": (conv_passes, LAYOUTS), "linear": (linear_passes, {"plain": None})}


def seconds(call, least):
    """Of one call, by CPU time of this thread: as many calls as take `least` seconds, two at least."""
    began, calls = time.thread_time(), 0
    while calls < 2 or time.thread_time() - began < least:
        call()
        calls += 1
    return (time.thread_time() - began) / calls


def measure(row, rounds, least):
    make, layouts = OPS[row["op"]]
    ways = {name: make(row, layout) for name, layout in layouts.items()}
    took = {name: [] for name in ways}
    for i in range(-1, rounds):  # the first warms up
        for name, (_, passes) in ways.items():
            s = seconds(passes[row["pass"]], least)
            took[name] += [s] if i >= 0 else []
    best = min(took, key=lambda name: statistics.median(took[name]))
    s = statistics.median(took[best])
    return {"layer": row["layer"], "batch": row["batch"], "pass": row["pass"], "layout": best, "ms": 1e3 * s, "gflops": 1e-9 * ways[best][0] / s}


def onednn():
    found = re.search(r"MKL-DNN v(\S+)|oneDNN v(\S+)", torch.__config__.show())
    return next(v for v in found.groups() if v) if found else None


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("report", help="JSON that ddp-bench ops wrote")
    p.add_argument("--rounds", type=int, default=7)
    p.add_argument("--seconds", type=float, default=0.01, help="how long a call is repeated in a round, at least")
    args = p.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(1)
    with (sys.stdin if args.report == "-" else open(args.report)) as f:
        rows = [r for r in json.load(f)["layers"] if r["op"] in OPS]
    with torch.no_grad():
        layers = [measure(r, args.rounds, args.seconds) for r in rows]
    print(json.dumps({"torch": torch.__version__, "onednn": onednn(), "layers": layers}), flush=True)


if __name__ == "__main__":
    main()
