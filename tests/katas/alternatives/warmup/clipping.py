"""Divided by the largest number first, so that squares stay small; the norm is read, and an `if` decides."""

import math
from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor


def clip_grad_norm_(parameters: Tensor | Iterable[Tensor], max_norm: float) -> Float[Tensor, ""]:
    if max_norm < 0 or math.isnan(max_norm):
        raise ValueError("max_norm: at least 0")
    grads = [p.grad for p in ([parameters] if torch.is_tensor(parameters) else list(parameters)) if p.grad is not None]
    if len(grads) == 0:
        return torch.zeros(())
    largest = max((float(g.detach().abs().max()) if g.numel() else 0.0) for g in grads)
    bad = any(not bool(torch.isfinite(g).all()) for g in grads)
    if bad:
        return torch.tensor(math.nan, dtype=grads[0].dtype)
    if largest == 0:
        return torch.zeros((), dtype=grads[0].dtype)
    total = largest * math.sqrt(math.fsum(float((g.detach().double() / largest).pow(2).sum()) for g in grads))
    if total > max_norm:
        with torch.no_grad():
            for g in grads:
                g.mul_(max_norm / total)
    return torch.tensor(total, dtype=torch.float64).to(grads[0].dtype)
