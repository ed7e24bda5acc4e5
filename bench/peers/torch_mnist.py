#!/usr/bin/env python3
"""PyTorch trains mnist_cnn on MNIST, as configs/cnn.cfg with data=mnist does: the same batches, optimizer and schedule.

    python3 -m torch.distributed.run --standalone --nproc-per-node 2 torch_mnist.py --data FOLDER --epochs 2

FOLDER holds train-images-idx3-ubyte and its three like, gzipped or not. All pictures are in memory, normalised once; the last
batch of an epoch is used. Rank 0 prints one line of JSON with accuracy on the test pictures and seconds.
"""
import argparse
import gzip
import json
import math
import os
import pathlib
import time

import torch
from torch import distributed, nn

from torch_models import mnist_cnn

MEAN, DEVIATION = 0.1307, 0.3081


def read(folder, name):
    path = next(p for p in (pathlib.Path(folder) / name, pathlib.Path(folder) / f"{name}.gz") if p.exists())
    data = (gzip.open if path.suffix == ".gz" else open)(path, "rb").read()
    dims = data[3]
    shape = [int.from_bytes(data[4 + 4 * i:8 + 4 * i], "big") for i in range(dims)]
    return torch.frombuffer(bytearray(data[4 + 4 * dims:]), dtype=torch.uint8).reshape(shape)


def pictures(folder, split):
    x = (read(folder, f"{split}-images-idx3-ubyte").float() / 255 - MEAN) / DEVIATION
    return x.unsqueeze(1), read(folder, f"{split}-labels-idx1-ubyte").long()


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--data", required=True)
    p.add_argument("--epochs", type=int, default=2)
    p.add_argument("--batch", type=int, default=128, help="of all ranks")
    p.add_argument("--lr", type=float, default=0.05)
    p.add_argument("--threads", type=int, default=1)
    args = p.parse_args()
    began = time.time()
    torch.set_num_threads(args.threads)
    ranks, rank = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))
    if ranks > 1:
        distributed.init_process_group("gloo")
    torch.manual_seed(1)
    model = plain = mnist_cnn()
    if ranks > 1:
        model = nn.parallel.DistributedDataParallel(plain)
    x, y = pictures(args.data, "train")
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr, momentum=0.9, nesterov=True)
    per_epoch = math.ceil(len(x) / args.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=args.lr, total_steps=per_epoch * args.epochs, cycle_momentum=False)
    for epoch in range(args.epochs):
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(epoch))
        for i in range(per_epoch):
            mine = order[i * args.batch:(i + 1) * args.batch][rank::ranks]
            optimizer.zero_grad(set_to_none=True)
            nn.functional.cross_entropy(model(x[mine]), y[mine]).backward()
            optimizer.step()
            schedule.step()
    if rank == 0:
        plain.eval()
        x, y = pictures(args.data, "t10k")
        with torch.no_grad():
            right = sum(int((plain(a).argmax(1) == b).sum()) for a, b in zip(x.split(500), y.split(500)))
        print(json.dumps({"accuracy": right / len(y), "seconds": time.time() - began}), flush=True)
    if ranks > 1:
        distributed.barrier()
        distributed.destroy_process_group()


if __name__ == "__main__":
    main()
