"""The optimizers of a config by torch.optim, in any precision; LARS and LAMB, which it has not, by their papers' formulas."""
import torch


def trust(p, g, decay, coefficient, eps):
    pn, gn = p.norm(), g.norm()
    return coefficient * pn / (gn + decay * pn + eps) if pn > 0 and gn > 0 else torch.ones_like(pn)


class Lars(torch.optim.Optimizer):
    """SGD whose gradient, decay included, is scaled per tensor; not for tensors without decay by default."""

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                t = trust(p, p.grad, group["weight_decay"], group["trust"], group["eps"]) if group["adapt"] else 1
                d = t * (p.grad + group["weight_decay"] * p)
                state = self.state[p]
                state["momentum_buffer"] = b = d.clone() if not state else group["momentum"] * state["momentum_buffer"] + d
                p -= group["lr"] * b


class Lamb(torch.optim.Optimizer):
    """You et al. 2020, algorithm 2, phi the identity."""

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            b1, b2 = group["betas"]
            for p in group["params"]:
                s = self.state[p]
                s["t"] = t = s.get("t", 0) + 1
                s["exp_avg"] = m = b1 * s.get("exp_avg", torch.zeros_like(p)) + (1 - b1) * p.grad
                s["exp_avg_sq"] = v = b2 * s.get("exp_avg_sq", torch.zeros_like(p)) + (1 - b2) * p.grad * p.grad
                u = m / (1 - b1**t) / ((v / (1 - b2**t)).sqrt() + group["eps"]) + group["weight_decay"] * p
                pn, un = p.norm(), u.norm()
                p -= group["lr"] * (pn / un if group["adapt"] and pn > 0 and un > 0 else 1) * u


def make(config, params):
    """params: name -> tensor of the leaf type that is to be trained. Biases and norms have no decay."""
    o = config["optim"]
    groups = [{"params": [p], "weight_decay": o["weight_decay"] if p.ndim > 1 else 0.0, "adapt": p.ndim > 1} for p in params.values()]
    common = {"lr": o["lr"]}
    kind = o["type"]
    if kind == "sgd":
        return torch.optim.SGD(groups, **common, momentum=o["momentum"], dampening=o["dampening"], nesterov=o["nesterov"])
    if kind in ("adam", "adamw"):
        made = torch.optim.Adam if kind == "adam" else torch.optim.AdamW
        return made(groups, **common, betas=(o["beta1"], o["beta2"]), eps=o["eps"])
    if kind == "rmsprop":
        return torch.optim.RMSprop(groups, **common, alpha=o["alpha"], eps=o["eps"], momentum=o["momentum"], centered=o["centered"])
    if kind == "lars":
        return Lars(groups, {**common, "momentum": o["momentum"], "trust": o["trust"], "eps": o["eps"]})
    return Lamb(groups, {**common, "betas": (o["beta1"], o["beta2"]), "eps": o["eps"]})


# names of state arrays in torch.optim, where they are others than ours
ARRAYS = {"momentum": "momentum_buffer"}


def state(optimizer, p, array):
    return optimizer.state[p][ARRAYS.get(array, array)]
