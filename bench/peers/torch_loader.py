#!/usr/bin/env python3
"""What torchvision's input pipeline brings: crop with padding, flip, normalise of pictures in colour, batch by batch.

    python3 torch_loader.py                      random pictures of 32 x 32 in memory, as torchvision.datasets.CIFAR10 holds them
    python3 torch_loader.py --folder FOLDER      ImageFolder(FOLDER): JPEGs of one size, decoded each time they are asked for

One line of JSON: samples_per_s of the best way, and of each, with cpu_us of a sample in this process: transforms on PIL
pictures, or on tensors (transforms.v2; in memory only), with 0 workers and with 1. PyTorch itself gets one thread.
"""
import argparse
import json
import time

import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import datasets, transforms
from torchvision.transforms import v2

MEAN, DEVIATION = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


def on_pil(side):
    return transforms.Compose([transforms.RandomCrop(side, padding=4), transforms.RandomHorizontalFlip(), transforms.ToTensor(),
                               transforms.Normalize(MEAN, DEVIATION)])


def on_tensors(side):
    return v2.Compose([v2.RandomCrop(side, padding=4), v2.RandomHorizontalFlip(), v2.ToDtype(torch.float32, scale=True),
                       v2.Normalize(MEAN, DEVIATION)])


class Pictures(Dataset):
    """In memory, as CIFAR10 of torchvision has them: [height, width, channel] to a PIL picture, or [channel, height, width]."""

    def __init__(self, count, pil):
        shape = (count, 32, 32, 3) if pil else (count, 3, 32, 32)
        self.x = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
        self.y = torch.arange(count).remainder(10).tolist()
        self.pil, self.change = pil, on_pil(32) if pil else on_tensors(32)
        if pil:
            self.x = self.x.numpy()

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return self.change(Image.fromarray(self.x[i]) if self.pil else self.x[i]), self.y[i]


def batches(data, workers, args):
    """One epoch behind the other, without end."""
    torch.manual_seed(1)
    while True:
        yield from DataLoader(data, batch_size=args.batch, shuffle=True, num_workers=workers)


def rate(data, workers, args):
    """Samples a second, and CPU time of one in this process, without the first batches, in which workers start."""
    source, samples = batches(data, workers, args), 0
    for _ in range(4):
        next(source)
    began, cpu = time.perf_counter(), time.process_time()
    while time.perf_counter() - began < args.seconds:
        samples += len(next(source)[1])
    return {"samples_per_s": samples / (time.perf_counter() - began), "cpu_us": 1e6 * (time.process_time() - cpu) / samples}


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--folder", help="of CLASS/PICTURE.jpg")
    p.add_argument("--batch", type=int, default=128)
    p.add_argument("--seconds", type=float, default=3, help="how long each way is measured")
    args = p.parse_args()
    torch.set_num_threads(1)
    if args.folder:
        side = Image.open(datasets.ImageFolder(args.folder).samples[0][0]).size[0]
        ways = {"pil": datasets.ImageFolder(args.folder, on_pil(side))}
    else:
        ways = {"pil": Pictures(50000, True), "tensors": Pictures(50000, False)}
    took = {f"{way}, {w} worker{'s' * (w != 1)}": rate(data, w, args) for way, data in ways.items() for w in (0, 1)}
    best = max(took, key=lambda way: took[way]["samples_per_s"])
    print(json.dumps({"samples_per_s": took[best]["samples_per_s"], "best": best, "ways": took}), flush=True)


if __name__ == "__main__":
    main()
