"""Optimizers: what happens between a gradient and a new weight, with state that can be saved."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


def _refuse(**bounds: tuple[float, float, float]) -> None:
    """Every name must hold low <= value < high."""
    for name, (value, low, high) in bounds.items():
        if not low <= value < high:
            raise ValueError(f"{name} must lie in [{low}, {high}), got {value}")


class SGD(torch.optim.Optimizer):
    """Stochastic gradient descent with momentum, as `torch.optim.SGD`. For a weight w with gradient g, a step is

        g <- g + weight_decay * w                  L2: the decay goes through the momentum
        m <- momentum * m + g                      m = g in the first step
        g <- m                                     with nesterov: g + momentum * m
        w <- w - lr * g

    Without momentum no m is kept. A weight whose gradient is None is left alone, and so is its m. Each parameter group
    has options of its own, which may be changed between steps. `nesterov` needs a momentum.

    0 <= `lr`, 0 <= `momentum`, 0 <= `weight_decay`.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        *,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        inf = float("inf")
        _refuse(lr=(lr, 0, inf), momentum=(momentum, 0, inf), weight_decay=(weight_decay, 0, inf))
        if nesterov and momentum == 0:
            raise ValueError("nesterov needs a momentum above 0")
        super().__init__(params, dict(lr=lr, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov))

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor | float] | None = None) -> Tensor | float | None:
        """One step. `closure`, if given, is called first, with gradients enabled; its loss is returned."""
        loss = _loss_of(closure)
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._update(weight, group)
        return loss

    def _update(self, weight: Tensor, group: dict[str, Any]) -> None:
        gradient = weight.grad
        if group["weight_decay"]:
            gradient = gradient.add(weight, alpha=group["weight_decay"])  # not in place: the gradient is the caller's
        if group["momentum"]:
            state = self.state[weight]
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = gradient.clone()
            else:
                state["momentum_buffer"].mul_(group["momentum"]).add_(gradient)
            buffer = state["momentum_buffer"]
            gradient = gradient.add(buffer, alpha=group["momentum"]) if group["nesterov"] else buffer
        weight.add_(gradient, alpha=-group["lr"])


class AdamW(torch.optim.Optimizer):
    """Adam with decoupled weight decay, as `torch.optim.AdamW`. In step t = 1, 2, … of a weight w with gradient g

        w <- w - lr * weight_decay * w                       the decay goes past the moments
        m <- b1 * m + (1 - b1) * g,  v <- b2 * v + (1 - b2) * g**2
        w <- w - lr * (m / (1 - b1**t)) / (sqrt(v / (1 - b2**t)) + eps)

    m and v start at 0, so they are too small at first; dividing by 1 - b**t mends that. Every weight counts its own
    steps: one whose gradient is None is left alone, and its t, m and v with it. Each parameter group has options of its
    own, which may be changed between steps.

    0 <= `lr`, both `betas` in [0, 1), 0 <= `eps`, 0 <= `weight_decay`.

    Source: Loshchilov & Hutter, Decoupled Weight Decay Regularization (arXiv 1711.05101).
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        inf = float("inf")
        _refuse(lr=(lr, 0, inf), eps=(eps, 0, inf), weight_decay=(weight_decay, 0, inf))
        for beta in betas:
            _refuse(betas=(beta, 0, 1))
        super().__init__(params, dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor | float] | None = None) -> Tensor | float | None:
        """One step. `closure`, if given, is called first, with gradients enabled; its loss is returned."""
        loss = _loss_of(closure)
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._update(weight, group)
        return loss

    def _update(self, weight: Tensor, group: dict[str, Any]) -> None:
        state, (beta1, beta2), lr = self.state[weight], group["betas"], group["lr"]
        if not state:
            state.update(step=0, exp_avg=torch.zeros_like(weight), exp_avg_sq=torch.zeros_like(weight))
        state["step"] += 1
        weight.mul_(1 - lr * group["weight_decay"])
        state["exp_avg"].lerp_(weight.grad, 1 - beta1)
        state["exp_avg_sq"].mul_(beta2).addcmul_(weight.grad, weight.grad, value=1 - beta2)
        root = (state["exp_avg_sq"] / (1 - beta2 ** state["step"])).sqrt_()
        weight.addcdiv_(state["exp_avg"], root.add_(group["eps"]), value=-lr / (1 - beta1 ** state["step"]))


def _loss_of(closure: Callable[[], Tensor | float] | None) -> Tensor | float | None:
    if closure is None:
        return None
    with torch.enable_grad():
        return closure()
