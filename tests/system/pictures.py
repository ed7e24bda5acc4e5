"""Small pictures and a small residual network for tests that train on them."""
import random
import re
import struct

from harness import ROOT


def narrow_resnet18():
    """configs/model/resnet18.cfg with an eighth of the channels."""
    text = (ROOT / "configs/model/resnet18.cfg").read_text()
    return re.sub(r"out = (64|128|256|512)\b", lambda m: f"out = {int(m[1]) // 8}", text)


def write_idx(folder, count, side=8, seed=1):
    """Pictures whose label shows: a bright block at one of ten places, in noise."""
    rng = random.Random(seed)
    pixels, labels = bytearray(), bytearray()
    for _ in range(count):
        label = rng.randrange(10)
        picture = bytearray(rng.randrange(90) for _ in range(side * side))
        for y in range(2):
            for x in range(2):
                picture[(label // 4 * 2 + y + 1) * side + label % 4 * 2 + x] = 200 + rng.randrange(56)
        pixels += picture
        labels.append(label)
    return struct.pack(">IIII", 2051, count, side, side) + pixels, struct.pack(">II", 2049, count) + labels
