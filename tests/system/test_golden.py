"""Results do not change by accident: the weights hash of every shipped model, every optimizer and every device feature after five
steps is the one in golden.json. On CPUs the hashes hold on every kind of CPU; on GPUs they are those of the emulated one, whose
matrix products and convolutions are plain loops.

A change of results that is meant: test_golden.py --update, and a line in CHANGELOG.md that says what moved and why."""
import json
import os
import pathlib
import sys

import harness
from harness import ROOT
from pictures import narrow_resnet18, write_idx

PLUGIN = harness.BIN.parent / "lib/libddp_cuda_emu.so"
GPU_ENV = {"DDP_CUDA_PLUGIN": str(PLUGIN), "DDP_EMU_QUIET": "1"}
GOLDEN = pathlib.Path(__file__).with_name("golden.json")
NAMES = ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"]
COMMON = ["train.batch=18", "train.max_steps=5", "train.epochs=1", "data.train_count=128", "data.test_count=20", "optim.lr=0.02",
          "train.threads=1"]
LINEAR = ["model=linear"]
MNIST = ["model=mnist_cnn"]
FASHION = ["model=fashion_cnn"]
DILATED = ["model=linear", "model.layers=({type=conv2d;out=16;kernel=5;stride=2;dilation=2},{type=relu},{type=conv2d;out=16;kernel=3;padding=same;dilation=3},"
           "{type=relu},{type=conv2d;out=8;kernel=3;padding=same},{type=flatten},{type=linear;out=10},{type=softmax_cross_entropy})"]
NORMS = ["model=linear", "model.layers=({type=conv2d;name=a;out=12;kernel=5;stride=2},{type=group_norm;groups=3},{type=leaky_relu;name=r;slope=0.1},"
         "{type=conv2d;name=b;out=7;kernel=3;padding=1},{type=tanh;name=t},{type=concat;input=[r,t]},{type=max_pool;kernel=4},{type=layer_norm},"
         "{type=flatten},{type=linear;out=32},{type=layer_norm},{type=sigmoid},{type=linear;out=10},{type=softmax_cross_entropy})"]

ALTERED = ["data.crop_area=[0.5,1]", "data.rotate=20", "data.translate=0.1", "data.scale=[0.8,1.2]", "data.shear=10",
           "data.brightness=0.4", "data.contrast=0.4", "data.flip=true"]
MIXED = ["model=mnist_cnn", "data.mixup=0.4", "data.flip=true", "data.rotate=10"]
# name: config file ("32", "8" take pictures of that side), arguments, ranks
CPU = {
    **{m: ("cnn", [f"model={m}"], 3) for m in ("linear", "mlp", "lenet5", "mnist_cnn", "fashion_cnn", "resnet8")},
    "vgg11": ("32", ["model=vgg11"], 2),
    "resnet18": ("32", ["model=resnet18"], 2),
    "adamw": ("cnn", [*MNIST, "optim=adamw", "optim.lr=0.001", "optim.weight_decay=0.02"], 3),
    "adam": ("cnn", [*MNIST, "optim=adam", "optim.lr=0.001", "optim.weight_decay=0.02"], 3),
    "clipping adam": ("cnn", [*MNIST, "optim=adam", "optim.lr=0.001", "optim.weight_decay=0.02", "optim.clip_norm=0.2"], 3),
    "rmsprop": ("cnn", [*MNIST, "optim=rmsprop", "optim.lr=0.001", "optim.weight_decay=0.02"], 3),
    "clipping rmsprop": ("cnn", [*MNIST, "optim=rmsprop", "optim.lr=0.001", "optim.momentum=0.9", "optim.centered=true",
                                 "optim.clip_norm=0.2"], 3),
    "lars": ("cnn", [*MNIST, "optim=lars", "optim.lr=0.5", "optim.warmup_steps=2"], 3),
    "lars without momentum": ("cnn", [*MNIST, "optim=lars", "optim.lr=0.5", "optim.warmup_steps=0", "optim.momentum=0",
                                      "optim.nesterov=false"], 3),
    "lamb": ("cnn", [*MNIST, "optim=lamb", "optim.lr=0.002", "optim.warmup_steps=0"], 3),
    "sgd without momentum": ("cnn", [*MNIST, "optim.momentum=0", "optim.nesterov=false"], 3),
    "sgd with dampening": ("cnn", [*MNIST, "optim.dampening=0.5", "optim.nesterov=false", "optim.weight_decay=0.01"], 3),
    "clipping": ("cnn", [*MNIST, "optim.clip_norm=0.2"], 3),
    "clipping lamb": ("cnn", [*MNIST, "optim=lamb", "optim.lr=0.002", "optim.warmup_steps=0", "optim.clip_norm=0.2"], 3),
    "clipping lars": ("cnn", [*MNIST, "optim=lars", "optim.lr=0.5", "optim.warmup_steps=0", "optim.clip_norm=0.2"], 3),
    "groups": ("cnn", [*MNIST, 'optim.no_decay=["*.bias"]', 'optim.groups=({match="fc*";lr_scale=0.5;weight_decay=0.1})'], 3),
    "accumulation": ("cnn", [*MNIST, "train.accumulate=2"], 3),
    "synchronised batch norm": ("cnn", [*FASHION, "+model.layers[1].sync=true"], 3),
    "synchronised resnet8": ("cnn", ["model=resnet8", "+model.layers[1].sync=true"], 3),
    "dropout and augmentation": ("cnn", [*MNIST, "data.crop_padding=2", "data.flip=true", "data.cutout=6"], 3),
    "affine, cut and colour": ("cnn", [*LINEAR, *ALTERED], 3),
    "mixup": ("cnn", MIXED, 3),
    "cosine": ("cnn", [*LINEAR, "optim.schedule=cosine", "optim.warmup_steps=2"], 2),
    "step": ("cnn", [*LINEAR, "optim.schedule=step", "optim.milestones=[0.5]"], 2),
    "poly": ("cnn", [*LINEAR, "optim.schedule=poly", "optim.power=2.0"], 2),
    "label smoothing": ("cnn", [*LINEAR, "+model.layers[2].label_smoothing=0.1"], 2),
    "norms of samples, tanh, sigmoid, leaky relu, concat": ("cnn", NORMS, 3),
    "dilated convolutions": ("cnn", DILATED, 3),
    "five shards": ("cnn", [*MNIST, "train.shards=5"], 4),
}
GPU = {
    **{m: ("cnn", [f"model={m}"], 2) for m in ("linear", "mlp", "lenet5", "mnist_cnn", "fashion_cnn")},
    "narrow resnet18": ("8", [], 2),
    **{name: (CPU[name][0], ["model=linear" if a == "model=mnist_cnn" else a for a in CPU[name][1]], 3)
       for name in ("adamw", "lars", "lars without momentum", "lamb", "sgd without momentum", "sgd with dampening", "clipping",
                    "clipping lamb", "clipping lars", "adam", "clipping adam", "rmsprop", "clipping rmsprop", "accumulation", "cosine", "label smoothing")},
    "synchronised batch norm": ("cnn", [*FASHION, "+model.layers[1].sync=true", "train.shards=4"], 3),
    "dropout and augmentation": CPU["dropout and augmentation"],
    "affine, cut and colour": CPU["affine, cut and colour"],
    "mixup": CPU["mixup"],
    "dilated convolutions": ("cnn", DILATED, 3),
    "norms of samples, tanh, sigmoid, leaky relu, concat": ("cnn", NORMS, 3),
    "bf16": ("cnn", [*MNIST, "train.precision=bf16"], 2),
    "fp16": ("cnn", [*MNIST, "train.precision=fp16"], 2),
}


class Golden(harness.Case):
    def pictures(self, side):
        """A config for pictures of side x side, drawn by a seed."""
        folder = self.dir / f"idx{side}"
        folder.mkdir()
        for name, data in zip(NAMES, [*write_idx(folder, 96, side, seed=1), *write_idx(folder, 20, side, seed=2)]):
            (folder / name).write_bytes(data)
        config = self.dir / f"pictures{side}.cfg"
        model = '"resnet8"' if side == 32 else "{ name = \"narrow-resnet18\";\n" + narrow_resnet18() + "\n}"
        config.write_text(f"""
model: {model};
data: {{ name = "blocks"; format = "idx"; path = "{folder}"; mean = [0.3]; std = [0.3]; crop_padding = 1; flip = true; cutout = 2; }};
optim: {{ base = "sgd"; lr = 0.02; weight_decay = 0.0005; }};
""".replace('model: "resnet8"', 'model = "resnet8"'))
        return config

    def hashes(self, table, device, env):
        configs = {"cnn": ROOT / "configs/cnn.cfg"}
        found = {}
        for name, (config, args, ranks) in table.items():
            if config not in configs:
                configs[config] = self.pictures(int(config))
            common = [c for c in COMMON if config == "cnn" or "_count" not in c]
            found[name] = self.launch(f"device={device}", *common, *args, config=configs[config], ranks=ranks, env=env).weights
        self.assertEqual(len(set(found.values())), len(found), f"two experiments with one hash: {found}")
        return found

    def check(self, section, table, device, env=None):
        golden = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
        found = self.hashes(table, device, env)
        if os.environ.get("DDP_TEST_UPDATE"):
            golden[section] = found
            GOLDEN.write_text(json.dumps(golden, indent=1) + "\n")
        moved = {k: (golden[section].get(k), v) for k, v in found.items() if golden[section].get(k) != v}
        self.assertEqual(moved, {}, "results moved: golden hash and the one found")

    def test_cpu(self):
        self.check("cpu", CPU, "cpu")

    def test_emulated_gpu(self):
        if not PLUGIN.exists():
            self.skipTest(f"no {PLUGIN}")
        self.check("emulated gpu", GPU, "cuda", GPU_ENV)


if __name__ == "__main__":
    if "--update" in sys.argv:
        sys.argv.remove("--update")
        os.environ["DDP_TEST_UPDATE"] = "1"
    harness.main()
