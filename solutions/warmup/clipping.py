"""Clipping: one bad batch must not throw the weights away, and a good one must keep its direction."""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor


@torch.no_grad()
def clip_grad_norm_(parameters: Tensor | Iterable[Tensor], max_norm: float) -> Float[Tensor, ""]:
    """Scales the gradients of all `parameters` together, in place, so that their joint norm is at most `max_norm`.

        norm   = sqrt(sum over all gradients of their squares)          one number for the whole model
        grad <- grad * min(1, max_norm / norm)

    With a norm of each tensor alone the step would turn. Gradients are never scaled up. The result is the norm before
    clipping, in the dtype of the first gradient: trouble shows there first. It is right where squares overflow or
    vanish: 1e30 in float32, 1e4 in float16. Gradients with infinity or NaN are left as they are: whoever trains
    decides. (`torch.nn.utils.clip_grad_norm_` makes them 0 or NaN.)

    `parameters` may be one tensor or a generator. Without any gradient the result is 0.
    `max_norm` >= 0.

    Source: Pascanu et al., On the difficulty of training recurrent neural networks (arXiv 1211.5063).
    """
    if not max_norm >= 0:
        raise ValueError(f"max_norm must not be negative, got {max_norm}")
    parameters = [parameters] if isinstance(parameters, Tensor) else parameters
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not gradients:
        return torch.tensor(0.0)
    # float64 reaches 1e308: the square of any float32 number is in it, and the square of a small one is not 0.
    norms = torch.stack([gradient.double().norm().to(gradients[0].device) for gradient in gradients])
    norm = norms.norm()
    factor = torch.where(norm.isfinite() & (norm > max_norm), max_norm / norm, 1.0)  # no `if`: a GPU is not waited for
    for gradient in gradients:
        gradient.copy_(gradient.double() * factor.to(gradient.device))
    return norm.to(gradients[0].dtype)
