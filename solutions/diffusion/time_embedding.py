"""Time embedding: a number becomes a vector in which both near and far differ.

A network that sees the timestep as one number among pixels hardly uses it. Waves of many frequencies tell
neighbours apart (the fast ones) and early from late (the slow ones).
"""

import math

import torch
from jaxtyping import Float, Real
from torch import Tensor


def timestep_embedding(t: Real[Tensor, " B"], dim: int, *, max_period: float = 10_000) -> Float[Tensor, "B {dim}"]:
    """Sinusoids of the timesteps: first all cosines, then all sines, from the fastest to the slowest.

        half = dim // 2
        frequency_i = max_period ** (-i / half)                      i = 0 ... half - 1, so the first is 1
        row = [cos(t * frequency_0), ..., cos(t * frequency_(half-1)), sin(t * frequency_0), ..., sin(...)]

    For an odd `dim` the last column is 0. Timesteps may be fractional. The result has the dtype of `t` if
    that is floating, and float32 if `t` holds integers; everything is computed in that dtype, or in a wider
    one. Raises a ValueError that names `dim` if it is less than 2.

    Conventions differ: the code of Ho et al. puts sines first and divides by half - 1; this is the order and
    spacing of the code of Nichol & Dhariwal (arXiv 2102.09672), which many later models follow.
    """
    if dim < 2:
        raise ValueError(f"dim must be at least 2, got {dim}")
    t = t if t.is_floating_point() else t.float()
    half = dim // 2
    steps = torch.arange(half, dtype=t.dtype, device=t.device)
    angles = t[:, None] * torch.exp(-math.log(max_period) / half * steps)
    return torch.cat((angles.cos(), angles.sin(), t.new_zeros(len(t), dim % 2)), dim=1)
