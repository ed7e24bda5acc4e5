"""Running ddp-train with a record of all that its ops compute, and reading it (docs/run.md, probe/)."""
import json
import os
import pathlib
import struct
import subprocess
import zlib

import torch

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("DDP_BIN", ROOT / "build/release/bin")).resolve()
TYPES = {"F32": torch.float32, "F64": torch.float64, "I32": torch.int32, "I64": torch.int64}


def read_safetensors(path):
    raw = path.read_bytes()
    n = int.from_bytes(raw[:8], "little")
    out = {}
    for name, t in json.loads(raw[8:8 + n]).items():
        if name != "__metadata__":
            lo, hi = t["data_offsets"]
            data = bytearray(raw[8 + n + lo:8 + n + hi])
            flat = torch.frombuffer(data, dtype=TYPES[t["dtype"]]) if data else torch.empty(0, dtype=TYPES[t["dtype"]])
            out[name] = flat.reshape(t["shape"])
    return out


class Record:
    """What a run of one rank and one shard computed. values[step]["forward/conv1"]; nodes: (kind, name, op) in their order."""

    def __init__(self, run):
        self.config = json.loads((run / "config.json").read_text())
        self.values, seen = {}, {}
        for line in (run / "probe/rank-0.jsonl").read_text().splitlines()[1:]:
            node = json.loads(line)
            seen.setdefault((node["kind"], node["name"]), (node["at"], node.get("op", "")))
        self.nodes = [(kind, name, op) for (kind, name), (at, op) in sorted(seen.items(), key=lambda x: x[1][0])]
        for path in sorted((run / "probe").glob("step-*-rank-0.safetensors")):
            step = int(path.name[5:13])
            self.values[step] = {k[:-2] if k.endswith("/0") else k: v for k, v in read_safetensors(path).items()}

    def before(self, step):
        """The state that a step began with, by names."""
        kind = "begin/" if step == 1 else "update/"
        return {k[len(kind):]: v for k, v in self.values[max(step - 1, 1)].items() if k.startswith(kind)}

    def trained(self, step=1):
        """Parameters before a step."""
        before = self.before(step)
        return {n: before[n] for n in self.names("sum") if not n.endswith(("running_mean", "running_var"))}

    def names(self, kind):
        return [name for k, name, _ in self.nodes if k == kind]


def train(folder, config, *words, steps=1, values=("*",)):
    """A run of `steps` steps of the config, recorded whole."""
    path = folder / "oracle.cfg"
    path.write_text(config)
    patterns = ", ".join(f'"{v}"' for v in values)
    command = [BIN / "ddp-train", "--quiet", path, f"run.dir={folder}/runs", "train.shards=1", f"train.max_steps={steps}",
               "eval.every_epochs=0", "checkpoint.every_epochs=0", "checkpoint.best=false", "train.trail_every=0", "probe.from=1",
               f"probe.to={steps}", f"probe.values=[{patterns}]", *words]
    env = {**os.environ, "DDP_CONFIGS_DIR": str(ROOT / "configs"), "CUDA_VISIBLE_DEVICES": ""}
    p = subprocess.run([str(c) for c in command], stdin=subprocess.DEVNULL, capture_output=True, text=True, env=env)
    if p.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}\n{p.stderr}")
    return Record(pathlib.Path(next(l[5:] for l in p.stdout.splitlines() if l.startswith("run: "))))


def write_png(path, pixels, side):
    """Colour, 8 bits."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    rows = b"".join(b"\0" + bytes(pixels[3 * side * y:3 * side * (y + 1)]) for y in range(side))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)) +
                     chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def make_pictures(folder, per_class=8, side=32):
    """Packed pictures of ten classes: blocks of colour in noise. Returns the words that name them."""
    random = torch.Generator().manual_seed(1)
    for split, n in (("train", per_class), ("test", 1)):
        for label in range(10):
            where = folder / "pictures" / split / f"class{label}"
            where.mkdir(parents=True)
            for i in range(n):
                x = torch.randint(0, 120, (side, side, 3), generator=random)
                x[4 + label:12 + label, 6:20, label % 3] += 120
                write_png(where / f"{i}.png", x.flatten().tolist(), side)
    p = subprocess.run([str(BIN / "ddp-data"), "pack", str(folder / "pictures"), str(folder / "packed"), "--quiet"],
                       capture_output=True, text=True)
    if p.returncode:
        raise SystemExit(p.stderr)
    return ["data=packed", f"data.path={folder}/packed"]
