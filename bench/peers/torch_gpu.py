#!/usr/bin/env python3
"""PyTorch on one GPU, training on random pictures that lie on the card, as scripts/gpu-check compares with. Nothing waits for the GPU between
steps: what is timed is windows of steps, each ended by one wait, and the median window counts. Prints a line of JSON with images_per_s.

    python3 bench/peers/torch_gpu.py --model mnist_cnn|resnet18 --batch N [--steps N] [--way eager|compile|reduce-overhead] [--amp] [--tf32]
                                     [--channels-last]

--way reduce-overhead is torch.compile with CUDA graphs, and a fused optimizer inside a graph of its own. --amp is bf16 autocast; without it
and without --tf32 everything is exact fp32. Runs on the CPU too, to see that it does."""
import argparse
import json
import statistics
import time

import torch
import torch.nn.functional as F

from torch_models import MODELS

WINDOWS, WARM = 10, 20  # WARM steps before: compiling, graphs, clocks


def options():
    p = argparse.ArgumentParser()
    p.add_argument("--model", choices=MODELS, default="mnist_cnn")
    p.add_argument("--batch", type=int, default=64)
    p.add_argument("--steps", type=int, default=100)
    p.add_argument("--way", choices=["eager", "compile", "reduce-overhead"], default="eager")
    p.add_argument("--amp", action="store_true")
    p.add_argument("--tf32", action="store_true")
    p.add_argument("--channels-last", action="store_true")
    return p.parse_args()


def make_step(a, device):
    make, shape = MODELS[a.model]
    layout = torch.channels_last if a.channels_last else torch.contiguous_format
    model = make().to(device, memory_format=layout)
    gpu = device.type == "cuda"
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4, fused=gpu or None)
    x = [torch.randn(a.batch, *shape, device=device).contiguous(memory_format=layout) for _ in range(4)]
    y = [torch.randint(10, (a.batch,), device=device) for _ in range(4)]

    def loss_of(pictures, answers):
        with torch.autocast(device.type, torch.bfloat16, enabled=a.amp):
            return F.cross_entropy(model(pictures), answers)

    if a.way != "eager":
        loss_of = torch.compile(loss_of, mode="reduce-overhead" if a.way == "reduce-overhead" else "default")
    update = torch.compile(optimizer.step, mode="reduce-overhead") if a.way == "reduce-overhead" and gpu else optimizer.step

    def step(i):
        if a.way == "reduce-overhead":
            torch.compiler.cudagraph_mark_step_begin()
        loss_of(x[i % 4], y[i % 4]).backward()
        update()
        optimizer.zero_grad(set_to_none=a.way != "reduce-overhead")  # graphs want gradients to stay where they are

    return step


def main():
    a = options()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = a.tf32
    wait = torch.cuda.synchronize if device.type == "cuda" else (lambda: None)
    step = make_step(a, device)
    for i in range(WARM):
        step(i)
    wait()
    each, times = max(a.steps // WINDOWS, 1), []
    for window in range(WINDOWS):
        begin = time.perf_counter()
        for i in range(each):
            step(window * each + i)
        wait()
        times.append((time.perf_counter() - begin) / each)
    median = statistics.median(times)
    print(json.dumps({"peer": "pytorch", "torch": torch.__version__, "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
                      "model": a.model, "batch": a.batch, "way": a.way, "amp": a.amp, "tf32": a.tf32, "step_ms": round(1e3 * median, 4),
                      "spread": round((max(times) - min(times)) / median, 3), "images_per_s": round(a.batch / median, 1)}))


main()
