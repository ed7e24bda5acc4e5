#!/usr/bin/env python3
"""All-reduces of PyTorch over gloo: rows as bench/peers/mpi_allreduce.c prints them, measured in the same way.

    python3 -m torch.distributed.run --standalone --nproc-per-node 2 torch_allreduce.py FIRST LAST FACTOR ROUNDS
"""
import os
import sys
import time

import torch
from torch import distributed

ROUND_S, MOST_CALLS = 0.02, 1000


def inputs(count, rank):
    """Whole numbers within +-125, whose sums are exact."""
    return ((torch.arange(count) * 7 + rank * 13) % 251 - 125).float()


def largest(seconds):
    t = torch.tensor([seconds], dtype=torch.float64)
    distributed.all_reduce(t, distributed.ReduceOp.MAX)
    return t.item()


def main():
    first, last, factor, rounds = (int(x) for x in sys.argv[1:5])
    torch.set_num_threads(1)
    distributed.init_process_group("gloo")
    rank, ranks = distributed.get_rank(), distributed.get_world_size()
    cpus = sorted(os.sched_getaffinity(0))
    if ranks <= len(cpus):
        os.sched_setaffinity(0, [cpus[rank]])
    size = first
    while size <= last:
        fresh = inputs(size // 4, rank)
        x = fresh.clone()
        distributed.all_reduce(x)
        wrong = int((x != sum(inputs(size // 4, r) for r in range(ranks))).sum())
        writing = []

        def timed(calls):
            began = time.perf_counter()
            for _ in range(calls):
                x.copy_(fresh)
            writing.append((time.perf_counter() - began) / calls)
            distributed.barrier()
            began = time.perf_counter()
            for _ in range(calls):
                x.copy_(fresh)
                distributed.all_reduce(x)
            return largest((time.perf_counter() - began) / calls)

        calls = min(max(int(ROUND_S / timed(3)), 1), MOST_CALLS)
        took = [timed(calls) for _ in range(rounds)]
        wrong = int(largest(wrong))
        if rank == 0:
            print("row", size, wrong, *(f"{max(t - min(writing), 0):.9f}" for t in took), flush=True)
        size *= factor
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
