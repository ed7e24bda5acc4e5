#!/usr/bin/env python3
"""Against PyTorch: what each op, each shipped model and each optimizer computes here, beside what PyTorch computes in float32, both
measured by PyTorch in float64.

    op by op    an op gets the very inputs that it had here; so errors are its own. Of all ops, and of every op of every model.
    as a whole  a model from the same weights and data to the loss and back to every gradient. Errors pass through the layers.
    optimizers  20 steps, every state array and parameter, from the gradients that were there.
    training    20 steps from the same weights and data, gradients included.

An error is |x - exact| / |exact| by Euclid's norm, of a tensor over all steps that were looked at. Ours may be 3 times PyTorch's; half a
unit of the last place (6e-8), which the rounding of the result itself takes, is always allowed. Of convolutions in tiles it may be more
(ALLOWED_TILES), but never more than OF_PRODUCTS half units of the sums of the absolute values of their products.
The table shows the tensor in the middle, and the worst ratio of all.

    oracle.py [--markdown] [name ..]      exit code 0, or 1 with the tensors that are beyond; 77: no PyTorch"""
import argparse
import datetime
import os
import pathlib
import re
import subprocess
import sys
import tempfile

try:
    import torch
except ImportError:
    if os.environ.get("DDP_ORACLE_PYTHON") and pathlib.Path(os.environ["DDP_ORACLE_PYTHON"]).exists():
        python = os.environ.pop("DDP_ORACLE_PYTHON")
        os.execv(python, [python, *sys.argv])
    print("skipped: no PyTorch (DDP_ORACLE_PYTHON names an interpreter that has it; pip install torch)")
    sys.exit(77)

import capture
import layers
import optimizers

ALLOWED, ROUNDING = 3.0, 2.0**-24
# 3x3 convolutions of stride 1 in tiles of 4x4 (src/ops/conv/conv_wino.h): a quarter of the products, whose sums cancel in part. An op by
# itself, and a model that has such ops. Most where few of the numbers are not zero, as in a gradient that comes through max pooling or
# in a window that is mostly border: there PyTorch rounds less, and a tile as much as ever.
ALLOWED_TILES = (7.0, 4.0)
OF_PRODUCTS = 2.0

DIGITS = 'data: { format = "digits"; train_count = 640; test_count = 10; };'


class Sheet:
    """Errors of one suite, tensor by tensor, over all steps that are added."""

    def __init__(self, name):
        self.name, self.squares, self.bounds = name, {}, {}

    def add(self, tensor, ours, theirs, exact, bound=ALLOWED, products=None):
        """products: sums of the absolute values of what the tensor is the sums of; None: nobody asks."""
        self.bounds[tensor] = bound
        exact = exact.detach().double().flatten()
        off = [(x.detach().double().flatten() - exact).square().sum().item() for x in (ours, theirs)]
        row = self.squares.setdefault(tensor, [0.0, 0.0, 0.0, 0.0])
        for k, v in enumerate((*off, exact.square().sum().item(), 0.0 if products is None else products.detach().square().sum().item())):
            row[k] += v

    def rows(self):
        """(tensor, our error, PyTorch's)."""
        return [(t, (a / x)**0.5, (b / x)**0.5) for t, (a, b, x, _) in self.squares.items() if x > 0]

    def of_products(self):
        """(tensor, our error in half units of the last place of its sums of absolute products)."""
        return [(t, (a / p)**0.5 / ROUNDING) for t, (a, _, _, p) in self.squares.items() if p > 0]

    def beyond(self):
        """What is wrong, in words."""
        return [f"{t}: {a:.2e}, PyTorch's {b:.2e}" for t, a, b in self.rows() if not a <= max(self.bounds[t] * b, ROUNDING)] + \
            [f"{t}: {u:.2f} half units of its products, allowed are {OF_PRODUCTS:g}" for t, u in self.of_products() if not u <= OF_PRODUCTS]

    def line(self):
        """Tensors; our error and PyTorch's, of the tensor in the middle; the ratio in the middle; the worst of those that are more than
        rounding; what is allowed; the worst of of_products()."""
        rows = self.rows()
        middle = lambda x: sorted(x)[len(x) // 2] if x else 1.0
        worst = max((a / max(b, ROUNDING / ALLOWED) for _, a, b in rows if a > ROUNDING), default=0.0)
        return (self.name, len(rows), middle([r[1] for r in rows]), middle([r[2] for r in rows]),
                middle([a / b for _, a, b in rows if a > 0 and b > 0]), worst, max(self.bounds.values()),
                max((u for _, u in self.of_products()), default=0.0))


# ---- op by op ---------------------------------------------------------------------------------------------------------------------


class Step:
    """One step of a record, and its network."""

    def __init__(self, record, step):
        self.record, self.values, self.weights = record, record.values[step], record.trained(step)
        self.network = layers.Network(record)
        self.targets = self.values["input/targets"]

    def value(self, name):
        return self.values["input/data" if name == "data" else f"forward/{name}"]

    def mask(self, stage):
        """What a dropout let through, by what came out in both directions."""
        x, y = self.value(stage.inputs[0]), self.value(stage.output)
        back = self.values.get(f"backward/{stage.base['name']}.input")
        return (y != 0) | ((x == 0) & (back.reshape(y.shape) != 0 if back is not None else True))

    def decided(self):
        """layers.apply's, by layer."""
        out = {}
        for name, layer in self.network.layers.items():
            if layer["type"] in ("relu", "leaky_relu"):
                out[name] = self.value(name) > 0
            elif layer["type"] == "max_pool":
                out[name] = self.value(self.network.value(layer["inputs"][0]))
        return out | {s.output: self.mask(s) for s in self.network.stages if s.base["type"] == "dropout"}

    def gradient(self, name):
        """Of a value, when all that it goes into has added its part: that of the last stage in backward."""
        last = next(s for s in self.network.stages if name in s.inputs)
        k = max(i for i, n in enumerate(last.inputs) if n == name)
        return self.values.get(f"backward/{last.base['name']}.input{'' if len(last.inputs) == 1 else k + 1}")

    def run_stage(self, stage, dtype, absolute=False):
        """Output, and gradients by names of inputs and parameters. absolute: of the absolute values of all."""
        name = stage.base["name"]
        sign = torch.abs if absolute else lambda t: t
        leaf = lambda t: sign(t.to(dtype)).clone().requires_grad_(True)
        x = [leaf(self.value(i)) for i in stage.inputs]
        w = {k[len(name) + 1:]: leaf(v) for k, v in self.weights.items() if k.rsplit(".", 1)[0] == name}
        y = stage.run(x, w, self.decided(), self.targets)
        dout = None if y.ndim == 0 else self.gradient(stage.output)
        if y.ndim > 0 and dout is None:
            return y, {}
        y.backward(sign(dout.to(dtype)).reshape(y.shape) if y.ndim > 0 else None)
        grads = {f"{name}.{k}": v.grad for k, v in w.items()}
        for k, i in enumerate(stage.inputs):
            if sum(s.inputs.count(i) for s in self.network.stages) == 1: # else it is a sum with the part of another
                grads[f"{name}.input{'' if len(stage.inputs) == 1 else k + 1}"] = x[k].grad
        return y, grads

    def is_tiled(self, stage):
        return stage.base["type"] == "conv2d" and stage.is_tiled(self.weights[f"{stage.base['name']}.weight"], self.value(stage.output))

    def run_whole(self, weights, dtype):
        """All outputs, and the gradients of the weights."""
        w = {k: v.detach().to(dtype).clone().requires_grad_(True) for k, v in weights.items()}
        out = self.network.run(self.values["input/data"].to(dtype), w, self.decided(), self.targets)
        out[list(out)[-1]].backward()
        return out, {k: v.grad for k, v in w.items()}


def op_by_op(record, sheet):
    for step in record.values:
        s = Step(record, step)
        for stage in s.network.stages:
            tiled = s.is_tiled(stage)
            bound = ALLOWED_TILES[0] if tiled else ALLOWED
            exact, theirs = (s.run_stage(stage, t) for t in (torch.float64, torch.float32))
            products = s.run_stage(stage, torch.float64, True) if tiled else (None, {})
            sheet.add(f"forward/{stage.output}", s.value(stage.output), theirs[0], exact[0], bound, products[0])
            for name, g in exact[1].items():
                if f"backward/{name}" in s.values:
                    sheet.add(f"backward/{name}", s.values[f"backward/{name}"], theirs[1][name], g, bound, products[1].get(name))


def as_a_whole(record, sheet):
    for step in record.values:
        s = Step(record, step)
        exact, theirs = (s.run_whole(s.weights, t) for t in (torch.float64, torch.float32))
        bound = ALLOWED_TILES[1] if any(s.is_tiled(stage) for stage in s.network.stages) else ALLOWED
        for stage in s.network.stages:
            sheet.add(f"forward/{stage.output}", s.value(stage.output), theirs[0][stage.output], exact[0][stage.output], bound)
        for name in exact[1]:
            sheet.add(f"gradient/{name}", s.values[f"backward/{name}"], theirs[1][name], exact[1][name], bound)


# ---- optimizers -------------------------------------------------------------------------------------------------------------------


def twenty_steps(record, sheet, gradients):
    """gradients(step, params, dtype): name -> sum of the gradients of that step's samples."""
    steps = sorted(record.values)
    sides = []
    for dtype in (torch.float64, torch.float32):
        p = {k: v.to(dtype).clone().requires_grad_(True) for k, v in record.trained().items()}
        optimizer = optimizers.make(record.config, p)
        for step in steps:
            count = len(record.values[step]["input/targets"])
            for name, g in gradients(step, p, dtype).items():
                p[name].grad = g / count
            optimizer.step()
        sides.append((p, optimizer))
    last = record.values[steps[-1]]
    arrays = sorted({n.rsplit(".", 1)[1] for n in record.names("update") if n.rsplit(".", 1)[0] in sides[0][0]})
    for name in sides[0][0]:
        sheet.add(name, last[f"update/{name}"], sides[1][0][name], sides[0][0][name])
        for array in arrays:
            exact, theirs = (optimizers.state(o, p[name], array) for p, o in sides)
            sheet.add(f"{name}.{array}", last[f"update/{name}.{array}"], theirs, exact)


def given(record):
    return lambda step, p, dtype: {n: record.values[step][f"sum/{n}"].to(dtype) for n in p}


def own(record):
    return lambda step, p, dtype: Step(record, step).run_whole(p, dtype)[1]


# ---- suites -----------------------------------------------------------------------------------------------------------------------


def net(*inside, data=DIGITS, loss="softmax_cross_entropy", end='{type = "flatten", name = "flat"}, {type = "linear", name = "end", '
        'out = "classes"}, '):
    """Layers between a stem, so that gradients go through them, and an end."""
    rows = ", ".join("{%s}" % i for i in inside)
    stem = '{type = "conv2d", name = "stem", out = 8, kernel = 3}, '
    return f'model = {{ layers = ({stem}{rows}, {end}{{type = "{loss}", name = "loss"}}); }}; {data} train: {{ batch = 32; }}; optim: {{ lr = 0.005; }};'


OPS = {
    "conv2d 3x3": net('type = "conv2d", name = "x", out = 24, kernel = 3, padding = 1'),
    "conv2d 5x5, stride 2": net('type = "conv2d", name = "x", out = 16, kernel = 5, stride = 2, padding = 2'),
    "conv2d 3x3, dilation 2, groups": net('type = "conv2d", name = "x", out = 16, kernel = 3, dilation = 2, groups = 4'),
    "conv2d depthwise, same": net('type = "conv2d", name = "x", out = 8, kernel = 3, padding = "same", groups = 8'),
    "conv2d 1x1, stride 2, no bias": net('type = "conv2d", name = "x", out = 32, kernel = 1, stride = 2, bias = false'),
    "linear": net('type = "flatten", name = "f"', 'type = "linear", name = "x", out = 200', end='{type = "linear", name = "end", '
                  'out = "classes"}, '),
    **{f"batch_norm{a}": net(f'type = "batch_norm", name = "x"{b}') for a, b in (("", ""), (", not affine", ", affine = false"))},
    "group_norm": net('type = "group_norm", name = "x", groups = 4'),
    "layer_norm": net('type = "layer_norm", name = "x"'),
    **{k: net(f'type = "batch_norm", name = "n", affine = false', f'type = "{k}", name = "x"')
       for k in ("relu", "gelu", "silu", "tanh", "sigmoid", "leaky_relu")},
    "max_pool": net('type = "max_pool", name = "x", kernel = 3, stride = 2, padding = 1'),
    "avg_pool": net('type = "avg_pool", name = "x", kernel = 3, stride = 2, padding = 1'),
    "avg_pool without padding": net('type = "avg_pool", name = "x", kernel = 3, stride = 2, padding = 1, count_include_pad = false'),
    "global_avg_pool": net('type = "global_avg_pool", name = "x"'),
    "dropout": net('type = "dropout", name = "x", p = 0.3'),
    "add": net('type = "conv2d", name = "y", out = 8, kernel = 3, padding = 1', 'type = "add", name = "x", input = ["y", "stem"]'),
    "concat": net('type = "conv2d", name = "y", out = 8, kernel = 3, padding = 1', 'type = "concat", name = "x", input = ["y", "stem"]'),
    "softmax_cross_entropy, smoothed": net('type = "tanh", name = "x"').replace('name = "loss"', 'name = "loss", label_smoothing = 0.1'),
    **{k: net('type = "tanh", name = "x"', loss=k) for k in ("mse", "mae", "huber")},
    **{f"{k}, real targets": net('type = "silu", name = "x"', data='data = "friedman";', loss=k).replace(
        '{type = "conv2d", name = "stem", out = 8, kernel = 3}', '{type = "linear", name = "stem", out = 16}') for k in ("mse", "mae", "huber")},
}
GREY = ("linear", "mlp", "lenet5", "mnist_cnn", "fashion_cnn")
COLOUR = ("resnet8", "resnet18", "vgg11")
OPTIMIZERS = {
    "sgd": 'type = "sgd"; lr = 0.02; momentum = 0.9; weight_decay = 0.001;',
    "sgd, Nesterov": 'type = "sgd"; lr = 0.01; momentum = 0.9; nesterov = true;',
    "sgd without momentum": 'type = "sgd"; lr = 0.05; momentum = 0.0; weight_decay = 0.01;',
    "adam": 'type = "adam"; lr = 0.001; weight_decay = 0.01;',
    "adamw": 'type = "adamw"; lr = 0.001; weight_decay = 0.01;',
    "rmsprop": 'type = "rmsprop"; lr = 0.0005; momentum = 0.0;',
    "rmsprop, centered, momentum": 'type = "rmsprop"; lr = 0.0001; momentum = 0.9; centered = true; weight_decay = 0.001;',
    "lars": 'type = "lars"; lr = 1.0; momentum = 0.9; weight_decay = 0.0005; trust = 0.01;',
    "lamb": 'type = "lamb"; lr = 0.002; weight_decay = 0.01; eps = 1e-6;',
}


def suites(folder):
    """name -> function that returns the sheets of it."""
    def op(name, config):
        record = capture.train(folder, config, steps=8)
        sheet = Sheet(f"op: {name}")
        op_by_op(record, sheet)
        return [sheet]

    def model(name, steps, words):
        record = capture.train(folder, f'model = "{name}"; train: {{ batch = 32; }}; optim: {{ lr = 0.005; }};', *words,
                               steps=steps)
        sheets = [Sheet(f"{name}, op by op"), Sheet(f"{name}, as a whole")]
        op_by_op(record, sheets[0])
        as_a_whole(record, sheets[1])
        return sheets

    def optimizer(name, text):
        sheets = [Sheet(f"optimizer: {name}"), Sheet(f"training by {name}")]
        for seed in range(1, 4):
            record = capture.train(folder, f'model = "lenet5"; {DIGITS} train: {{ batch = 32; }}; optim: {{ {text} }};', f"seed={seed}",
                                   steps=20, values=("input/*", "begin/*", "forward/*", "sum/*", "update/*"))
            twenty_steps(record, sheets[0], given(record))
            twenty_steps(record, sheets[1], own(record))
        return sheets

    colour = []

    def in_colour(name):
        colour[:] = colour or capture.make_pictures(folder)
        return model(name, 2, colour)

    grey = ["data=digits", "data.train_count=640", "data.test_count=10"]
    return {**{f"op: {k}": lambda k=k, v=v: op(k, v) for k, v in OPS.items()}, **{k: lambda k=k: model(k, 4, grey) for k in GREY},
            **{k: lambda k=k: in_colour(k) for k in COLOUR}, **{f"optimizer: {k}": lambda k=k, v=v: optimizer(k, v)
                                                                for k, v in OPTIMIZERS.items()}}


def controls(folder):
    """What has to be noticed, and is not: a constant that is another by a twentieth, and by a thousandth."""
    missed = []
    record = capture.train(folder, OPS["batch_norm"])
    next(l for l in record.config["model"]["layers"] if l["name"] == "x")["eps"] = 1.05e-5
    sheet = Sheet("control: eps of batch_norm")
    op_by_op(record, sheet)
    if not any(t.startswith("forward/x:") for t in sheet.beyond()):
        missed.append(sheet.name)
    record = capture.train(folder, f'model = "linear"; {DIGITS} optim: {{ {OPTIMIZERS["adamw"]} }};', steps=20,
                           values=("input/*", "begin/*", "sum/*", "update/*"))
    record.config["optim"]["beta2"] = 0.998
    sheet = Sheet("control: beta2 of adamw")
    twenty_steps(record, sheet, given(record))
    return missed + ([] if any(t.startswith("fc.weight:") for t in sheet.beyond()) else [sheet.name])


def without_a_row():
    """Ops and optimizers of the program that no suite has."""
    ask = lambda *words: subprocess.run([str(capture.BIN / "ddp-launch"), *words], capture_output=True, text=True, check=True).stdout
    ops = re.findall(r"^\[(\w+)\]", ask("--help-layers"), re.M)
    kinds = re.findall(r'"(\w+)"', re.search("one of (.*);", ask("--help-config", "optim.type"))[1])
    return [o for o in ops if not any(f'type = "{o}"' in c for c in OPS.values())] + \
        [k for k in kinds if not any(f'type = "{k}"' in c for c in OPTIMIZERS.values())]


def show(sheets, markdown):
    head = ("", "tensors", "error here", "PyTorch's", "ratio", "the worst", "allowed", "of the products")
    rows = [head] + [(n, f"{c:,}", f"{a:.1e}", f"{b:.1e}", f"{m:.2f}", f"{r:.2f}" if r else "rounding", f"{bound:g}", f"{u:.2f}" if u else "")
                     for n, c, a, b, m, r, bound, u in (s.line() for s in sheets)]
    if markdown:
        rows.insert(1, ("---",) * len(head))
        print("\n".join("| " + " | ".join(r) + " |" for r in rows))
        return
    widths = [max(len(r[i]) for r in rows) for i in range(len(head))]
    print("\n".join("  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(r, widths))) for r in rows))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--markdown", action="store_true", help="the table for docs/pytorch.md")
    parser.add_argument("--all", action="store_true", help="show every tensor")
    parser.add_argument("names", nargs="*", help="suites that begin so; all, unless some are given")
    args = parser.parse_args()
    if not (capture.BIN / "ddp-train").exists():
        print(f"skipped: no {capture.BIN}/ddp-train")
        sys.exit(77)
    torch.set_num_threads(1)
    sheets = []
    with tempfile.TemporaryDirectory(prefix="ddp-oracle-") as folder:
        for name, run in suites(pathlib.Path(folder)).items():
            if not args.names or any(name.startswith(n) for n in args.names):
                sheets += run()
    print(f"PyTorch {torch.__version__}, {datetime.date.today()}\n")
    show(sheets, args.markdown)
    if args.all:
        for s in sheets:
            for name, a, b in s.rows():
                print(f"{s.name}: {name}: {a:.2e} / {b:.2e}")
    with tempfile.TemporaryDirectory(prefix="ddp-oracle-") as folder:
        faults = [f"{name}: the difference was not noticed" for name in controls(pathlib.Path(folder))]
    faults += [f"{name}: it has no row in OPS or OPTIMIZERS" for name in without_a_row()]
    for fault in faults:
        print(fault, file=sys.stderr)
    bad = [f"{s.name}: {r}" for s in sheets for r in s.beyond()]
    for words in bad:
        print(f"beyond: {words}", file=sys.stderr)
    sys.exit(1 if bad or faults else 0)


main()
