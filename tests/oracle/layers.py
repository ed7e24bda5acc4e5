"""The layers of a config as PyTorch computes them, in any precision: one by one (an op on given inputs), or the whole network.

What is decided at a value, and not computed from it, is taken as it was decided here: which elements a ReLU lets through, which of a
window is the largest, what a dropout keeps. One element of 1e-8 that is on the other side of zero would otherwise weigh more than all
rounding together."""
import torch
import torch.nn.functional as F

LOSSES = ("softmax_cross_entropy", "mse", "mae", "huber")
DEFAULTS = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "eps": 1e-5, "momentum": 0.1, "slope": 0.01, "p": 0.5,
            "label_smoothing": 0.0, "delta": 1.0, "count_include_pad": True}


def option(layer, name):
    return layer.get(name, DEFAULTS[name])


def pool(layer):
    return {"kernel_size": layer["kernel"], "stride": layer.get("stride") or layer["kernel"], "padding": option(layer, "padding")}


def one_hot_or_real(x, targets):
    return targets.to(x) if targets.ndim == 2 else F.one_hot(targets.long(), x.flatten(1).shape[1]).to(x)


def loss(layer, x, targets):
    """Summed over samples; a mean over the targets of each."""
    x = x.flatten(1)
    if layer["type"] == "softmax_cross_entropy":
        targets = targets.to(x) if targets.ndim == 2 else targets.long()  # parts of classes (data.mixup), or labels
        return F.cross_entropy(x, targets, reduction="sum", label_smoothing=option(layer, "label_smoothing"))
    t = one_hot_or_real(x, targets)
    each = {"mse": lambda: F.mse_loss(x, t, reduction="none"), "mae": lambda: F.l1_loss(x, t, reduction="none"),
            "huber": lambda: F.huber_loss(x, t, reduction="none", delta=option(layer, "delta"))}[layer["type"]]()
    return each.mean(1).sum()


def largest(x, decided, **how):
    """Of each window the element that is the largest there."""
    _, at = F.max_pool2d(decided, return_indices=True, **how)
    return x.flatten(2).gather(2, at.flatten(2)).reshape(at.shape)


def apply(layer, x, w, decided=None, targets=None):
    """x: inputs; w: parameters by their last name ("weight"); decided: of a dropout, ReLU or leaky ReLU what it lets through, of
    max_pool the input by which it chooses."""
    kind = layer["type"]
    if decided is not None:
        decided = decided.reshape(x[0].shape)
    if kind in LOSSES:
        return loss(layer, x[0], targets)
    if kind == "conv2d":
        return F.conv2d(x[0], w["weight"], w.get("bias"), option(layer, "stride"), option(layer, "padding"), option(layer, "dilation"),
                        option(layer, "groups"))
    if kind == "linear":
        return F.linear(x[0].flatten(1), w["weight"], w.get("bias"))
    if kind == "batch_norm":
        return F.batch_norm(x[0], None, None, w.get("weight"), w.get("bias"), True, option(layer, "momentum"), option(layer, "eps"))
    if kind == "group_norm":
        return F.group_norm(x[0], layer["groups"], w.get("weight"), w.get("bias"), option(layer, "eps"))
    if kind == "layer_norm":
        shape = x[0].shape[1:]
        scale = {k: v.reshape(shape) for k, v in w.items()}
        return F.layer_norm(x[0], shape, scale.get("weight"), scale.get("bias"), option(layer, "eps"))
    if kind == "max_pool":
        return largest(x[0], decided, **pool(layer))
    if kind == "avg_pool":
        return F.avg_pool2d(x[0], **pool(layer), count_include_pad=option(layer, "count_include_pad"))
    if kind == "dropout":
        return x[0] * decided.to(x[0]) / (1 - option(layer, "p"))
    if kind == "relu":
        return x[0] * decided.to(x[0])
    if kind == "leaky_relu":
        return torch.where(decided, x[0], option(layer, "slope") * x[0])
    return {"gelu": lambda: F.gelu(x[0]), "silu": lambda: F.silu(x[0]), "tanh": lambda: torch.tanh(x[0]),
            "sigmoid": lambda: torch.sigmoid(x[0]),
            "global_avg_pool": lambda: x[0].mean((2, 3), keepdim=True), "flatten": lambda: x[0].flatten(1),
            "add": lambda: x[0] + x[1], "concat": lambda: torch.cat(x, 1)}[kind]()


class Stage:
    """One call of an op, with a residual add and a ReLU fused behind it."""

    def __init__(self, base, add, relu, output, inputs):
        self.base, self.add, self.relu, self.output, self.inputs = base, add, relu, output, inputs

    def run(self, x, w, decided, targets):
        y = apply(self.base, x[:-1] if self.add else x, w, decided.get(self.base["name"]), targets)
        y = y + x[-1].reshape(y.shape) if self.add else y
        return y * decided[self.output].to(y).reshape(y.shape) if self.relu else y

    def is_tiled(self, weight, out):
        """Whether it goes through tiles of 4x4: the rule of src/ops/conv/conv_wino.c."""
        k, c, r, s = weight.shape
        return ((r, s, option(self.base, "stride"), option(self.base, "dilation"), option(self.base, "groups")) == (3, 3, 1, 1, 1) and
                k % 16 == c % 16 == 0 and min(out.shape[2:]) >= 4)


class Network:
    """The layers of a record's config, and which of them were computed together."""

    def __init__(self, record):
        self.layers = {l["name"]: l for l in record.config["model"]["layers"]}
        before = "data"
        for layer in self.layers.values():
            given = layer.get("input", before)
            layer["inputs"] = [given] if isinstance(given, str) else list(given)
            before = layer["name"]
        ops = {name: op for kind, name, op in record.nodes if kind == "forward" and name in self.layers}
        self.computed = set(ops)
        self.stages = [self.stage(name, op.split("+")) for name, op in ops.items()]

    def value(self, name):
        """The output that is there for a layer's: a flatten that was left out has that of its input."""
        while name != "data" and name not in self.computed:
            name = self.layers[name]["inputs"][0]
        return name

    def stage(self, output, parts):
        at, add, relu = self.layers[output], None, False
        if "relu" in parts[1:]:
            relu, at = True, self.layers[at["inputs"][0]]
        if "add" in parts[1:]:
            inside = [i for i in at["inputs"] if i in self.layers and i not in self.computed and self.layers[i]["type"] == parts[0]]
            add = next(i for i in at["inputs"] if i != inside[0])
            at = self.layers[inside[0]]
        if at["type"] != parts[0]:
            raise SystemExit(f"{output}: {parts} is not what the layers say")
        return Stage(at, add, relu, output, [self.value(i) for i in at["inputs"] + ([add] if add else [])])

    def run(self, data, weights, decided, targets):
        """All values by the names of layers; the loss is the last."""
        out = {"data": data}
        for name, layer in self.layers.items():
            w = {k[len(name) + 1:]: v for k, v in weights.items() if k.rsplit(".", 1)[0] == name}
            x = [out[i] for i in layer["inputs"]]
            out[name] = apply(layer, x, w, decided.get(name), targets)
        return out
