#!/usr/bin/env python3
"""PyTorch's training steps on random pictures in memory, DistributedDataParallel over gloo where torchrun starts it.

    python3 torch_train.py --model mnist_cnn --batch 64 --threads 2
    python3 -m torch.distributed.run --standalone --nproc-per-node 2 torch_train.py --model mnist_cnn --batch 64 --threads 1

Rank 0 prints one line of JSON: images_per_s (of all ranks), step_ms, first_step_s (from --started, seconds since 1970, or
from this program's start), rss_mb (its largest resident memory), losses that show that it trains.
"""
import time

BEGAN = time.time()

import argparse  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import resource  # noqa: E402
import statistics  # noqa: E402

import torch  # noqa: E402
from torch import distributed, nn  # noqa: E402

from torch_models import MODELS  # noqa: E402


def parse():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--model", choices=sorted(MODELS), default="mnist_cnn")
    p.add_argument("--batch", type=int, default=64, help="of each rank")
    p.add_argument("--threads", type=int, default=1, help="of each rank")
    p.add_argument("--seconds", type=float, default=3, help="how long to measure")
    p.add_argument("--layout", choices=["nchw", "nhwc"], default="nchw")
    p.add_argument("--compile", action="store_true", help="torch.compile the model")
    p.add_argument("--started", type=float, default=BEGAN)
    return p.parse_args()


def make_model(args, ranks):
    make, shape = MODELS[args.model]
    torch.manual_seed(1)
    model = make()
    if args.layout == "nhwc":
        model = model.to(memory_format=torch.channels_last)
    if args.compile:
        model = torch.compile(model)
    if ranks > 1:
        model = nn.parallel.DistributedDataParallel(model)
    return model, shape


def agree_on(steps, ranks):
    """The same number of steps on all ranks."""
    if ranks == 1:
        return steps
    t = torch.tensor([float(steps)])
    distributed.broadcast(t, 0)
    return int(t.item())


def main():
    args = parse()
    torch.set_num_threads(args.threads)
    ranks, rank = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))
    if hasattr(os, "sched_setaffinity"):
        cpus = sorted(os.sched_getaffinity(0))
        if ranks > 1 and ranks * args.threads <= len(cpus):  # ours is pinned, so theirs is
            os.sched_setaffinity(0, cpus[rank * args.threads:(rank + 1) * args.threads])
    if ranks > 1:
        distributed.init_process_group("gloo")
    model, shape = make_model(args, ranks)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, nesterov=True)
    torch.manual_seed(7 + rank)
    x, y = torch.randn(args.batch, *shape), torch.randint(0, 10, (args.batch,))
    if args.layout == "nhwc":
        x = x.to(memory_format=torch.channels_last)
    losses = []

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())

    step()
    first = time.time() - args.started
    began = time.perf_counter()
    for _ in range(3):
        step()
    steps = agree_on(max(3, int(args.seconds / ((time.perf_counter() - began) / 3))), ranks)
    times = []
    for _ in range(steps):
        began = time.perf_counter()
        step()
        times.append(time.perf_counter() - began)
    if rank == 0:
        took = statistics.median(times)
        print(json.dumps({"images_per_s": args.batch * ranks / took, "step_ms": took * 1e3, "first_step_s": first, "steps": steps,
                          "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000, "ranks": ranks,
                          "losses": [losses[0], losses[-1]], "torch": torch.__version__}), flush=True)
    if ranks > 1:
        distributed.destroy_process_group()


if __name__ == "__main__":
    main()
