"""Time embedding: a number becomes a vector in which neighbouring and distant timesteps differ.

A network that sees the timestep as one number among pixels hardly uses it. Waves of many frequencies help. The fast
ones tell neighbours apart, the slow ones tell early from late.
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

    For an odd `dim` the last column is 0. `dim` ≥ 2. Timesteps may be fractional. Everything is computed in float32, or
    in float64 if `t` is float64. The result has the dtype of `t` if that is floating, and float32 if `t` holds
    integers.

    Order and spacing are those of the code of Nichol & Dhariwal (arXiv 2102.09672). The code of Ho et al. puts sines
    first and divides by half - 1.
    """
    raise NotImplementedError
