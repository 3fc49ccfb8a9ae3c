"""Written as the formulas stand, with new tensors for everything, and the moments as plain names."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


class _Base(torch.optim.Optimizer):
    def step(self, closure: Callable[[], Tensor | float] | None = None) -> Tensor | float | None:
        value = None
        if closure is not None:
            with torch.enable_grad():
                value = closure()
        with torch.no_grad():
            for options in self.param_groups:
                for p in filter(lambda p: p.grad is not None, options["params"]):
                    p.copy_(self.moved(p, p.grad, self.state[p], options))
        return value


class SGD(_Base):
    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        *,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        for name, value in (("lr", lr), ("momentum", momentum), ("weight_decay", weight_decay)):
            if value < 0:
                raise ValueError(f"{name}: not negative")
        if nesterov and not momentum:
            raise ValueError("nesterov: needs momentum")
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "nesterov": nesterov})

    def moved(self, p, g, state, options):
        d, mu = g + options["weight_decay"] * p, options["momentum"]
        if mu != 0:
            state["m"] = mu * state["m"] + d if "m" in state else d + 0
            d = d + mu * state["m"] if options["nesterov"] else state["m"]
        return p - options["lr"] * d


class AdamW(_Base):
    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        for name, value in (("lr", lr), ("eps", eps), ("weight_decay", weight_decay)):
            if value < 0:
                raise ValueError(f"{name}: not negative")
        if min(betas) < 0 or max(betas) >= 1:
            raise ValueError("betas: from 0 to below 1")
        super().__init__(params, {"lr": lr, "betas": tuple(betas), "eps": eps, "weight_decay": weight_decay})

    def moved(self, p, g, state, options):
        b1, b2 = options["betas"]
        state["t"] = state.get("t", 0) + 1
        state["m"] = b1 * state.get("m", 0) + (1 - b1) * g
        state["v"] = b2 * state.get("v", 0) + (1 - b2) * g**2
        m, v = state["m"] / (1 - b1 ** state["t"]), state["v"] / (1 - b2 ** state["t"])
        decayed = p - options["lr"] * options["weight_decay"] * p
        return decayed - options["lr"] * m / (v**0.5 + options["eps"])
