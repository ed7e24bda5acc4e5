#!/usr/bin/env python3
"""Seeds for the fuzz targets: what our programs write, and small texts of each kind. seeds.py FOLDER makes FOLDER/NAME/*."""
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("DDP_BIN", ROOT / "build/release/bin")).resolve()
CONFIG = """
model: { name = "tiny"; layers = ( { type = "max_pool"; kernel = 7; stride = 7; },
         { type = "flatten"; }, { type = "linear"; out = 10; }, { type = "softmax_cross_entropy"; } ); };
data: { base = "digits"; train_count = 64; test_count = 32; };
train: { batch = 32; epochs = 2; shards = 4; threads = 1; trail_every = 1; };
checkpoint: { every_steps = 1; keep = 1; };
log: { every_steps = 1; progress = false; };
"""
TEXTS = {
    "place": ["cpus=0-3 numa=0 package=0 threads=4 spin=2000", "cpus=any threads=2;cpus=0,2,4-7 numa=1 package=1 threads=3",
              "cpus=0-3 numa=0 package=0 threads=4 gpu=GPU-0b1c nic=ib0"],
    "hosts": ["n0:4,n1:4", "n[0-3]:2", "rack[0-1]_blade[08-11]-ib", "n0\nn1 slots=4 # two\nn2:4\nn3 4\nn[004-007] slots=2\n"],
    "lock": ["""{"format": "ddp plan lock 1", "identity": {"device": "NVIDIA H100 80GB HBM3", "compute_capability": "9.0",
 "sms": 132, "driver": 13000, "runtime": 13000, "cudnn": 91900, "cublaslt": 130000}, "plans":
 {"conv fwd n128 h32 w32 c64 k64 r3 s3 st1 p1 g1 bf16": "eng=12;k3=1;k7=2", "matmul": "x"}}"""],
}


def run(*args):
    env = {k: v for k, v in os.environ.items() if not k.startswith("DDP_")}
    p = subprocess.run([str(a) for a in args], stdin=subprocess.DEVNULL, capture_output=True, text=True, env=env)
    if p.returncode:
        sys.exit(f"{args}: {p.returncode}\n{p.stdout}{p.stderr}")
    return p.stdout


def png(width, height, colour, palette=None):
    """The smallest file of that kind that a reader must take."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    rows = b"".join(b"\0" + bytes((7 * x + 3 * y) % 251 for x in range(width * {0: 1, 2: 3, 3: 1, 6: 4}[colour]))
                    for y in range(height))
    if palette:
        rows = b"".join(b"\0" + bytes(x % 4 for x in range(width)) for y in range(height))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)) +
            (chunk(b"PLTE", bytes(range(12))) if palette else b"") + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


# 8 x 8, grey, baseline: one block
JPEG = bytes.fromhex(
    "ffd8ffdb004300" + "10" * 64 + "ffc0000b080008000801011100ffc4001f0000010501010101010100000000000000000102030405060708090a0b"
    "ffc400b5100002010303020403050504040000017d01020300041105122131410613516107227114328191a1082342b1c11552d1f02433627282090a"
    "161718191a25262728292a3435363738393a434445464748494a535455565758595a636465666768696a737475767778797a838485868788898a9293"
    "9495969798999aa2a3a4a5a6a7a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae1e2e3e4e5e6e7e8e9eaf1f2f3f4f5f6f7"
    "f8f9faffda0008010100003f00d2cf20ffd9")


def idx(magic, *dims):
    n = 1
    for d in dims:
        n *= d
    return struct.pack(f">I{len(dims)}I", magic, *dims) + bytes(i % 10 for i in range(n))


def main(out):
    shutil.rmtree(out, ignore_errors=True)

    def put(target, name, data):
        folder = pathlib.Path(out) / target
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data.encode() if isinstance(data, str) else data)

    with tempfile.TemporaryDirectory(prefix="ddp-seeds-") as scratch:
        scratch = pathlib.Path(scratch)
        config = scratch / "tiny.cfg"
        config.write_text(CONFIG)
        run(BIN / "ddp-train", "--quiet", config, f"run.dir={scratch}/runs", "probe.from=1", "probe.to=2")
        folder = next((scratch / "runs").iterdir())
        checkpoint = next((folder / "checkpoints").iterdir())
        put("config", "tiny.cfg", CONFIG)
        put("config", "resolved.cfg", (checkpoint / "config.cfg").read_bytes())
        for path in sorted((ROOT / "configs").glob("*.cfg"))[:4]:
            put("config", path.name, path.read_bytes())
        for name in ("model", "optimizer"):
            put("safetensors", name, (checkpoint / f"{name}.safetensors").read_bytes())
        put("state", "state.json", (checkpoint / "state.json").read_bytes())
        put("records", "metrics.jsonl", (folder / "metrics.jsonl").read_bytes())
        put("records", "weights.trail", (folder / "weights.trail").read_bytes())
        put("probe", "rank-0.jsonl", (folder / "probe/rank-0.jsonl").read_bytes())
        record = (folder / "run.json").read_bytes()
        put("run_json", "done.json", record)
        put("run_json", "running.json", record.replace(b'"status": "done"', b'"status": "running"'))
        pictures = {"grey.png": png(5, 4, 0), "rgb.png": png(4, 3, 2), "palette.png": png(6, 2, 3, True), "alpha.png": png(3, 3, 6),
                    "grey.jpg": JPEG}
        for name, data in pictures.items():
            put("picture", name, data)
        for k in "ab":
            (scratch / "pictures" / k).mkdir(parents=True)
            for i in range(3):
                (scratch / "pictures" / k / f"{i}.png").write_bytes(png(4, 4, 0))
        run(BIN / "ddp-data", "pack", "--quiet", "--threads", 1, "--test-fraction", 0.34, scratch / "pictures", scratch / "set.ddp")
        put("packed", "set.ddp", (scratch / "set.ddp").read_bytes())
    put("idx", "pictures", idx(0x803, 4, 2, 2))
    put("idx", "labels", idx(0x801, 4))
    put("idx_real", "inputs", idx(0x802, 4, 3))
    put("idx_real", "pictures", struct.pack(">5I16f", 0xd04, 4, 1, 2, 2, *(x / 7 for x in range(16))))
    put("idx_real", "targets", struct.pack(">2I4d", 0xe01, 4, -1.5, 0, 2, 1e30))
    put("csv", "plain", "a,b,c\n1,2,3\n4,5e-1,6\n-7,8,9\n")
    put("csv", "quoted", '\ufeff"a", "x, ""y""" ,b\r\n"1",2,3\r\n\r\n4,5,6')
    put("cifar", "two", bytes(i % 97 for i in range(2 * 3074)))
    put("wire", "hello", bytes([3]) + struct.pack("<II", 5, 1) + b"hello" + struct.pack("<II", 4, 5) + b"\1\0\0\0")
    for target, texts in TEXTS.items():
        for i, text in enumerate(texts):
            put(target, str(i), text)


if __name__ == "__main__":
    main(sys.argv[1])
