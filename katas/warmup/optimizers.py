"""Optimizers: what happens between a gradient and a new weight, with state that can be saved."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


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
        raise NotImplementedError

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor | float] | None = None) -> Tensor | float | None:
        """One step. `closure`, if given, is called first, with gradients enabled; its loss is returned."""
        raise NotImplementedError


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
        raise NotImplementedError

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor | float] | None = None) -> Tensor | float | None:
        """One step. `closure`, if given, is called first, with gradients enabled; its loss is returned."""
        raise NotImplementedError
