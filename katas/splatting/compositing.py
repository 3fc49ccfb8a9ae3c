"""Compositing: what a pixel shows of the Gaussians that cover it, sorted by depth, in front of a background.

Each one covers a part of the pixel (its alpha) and lets the rest of the light through. The last rest is background.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


class Composite(NamedTuple):
    """`weights` are the shares of the samples in the pixel, `transmittance` is the share of the background."""

    color: Float[Tensor, "*batch C"]
    weights: Float[Tensor, "*batch N"]
    transmittance: Float[Tensor, "*batch"]


def composite(
    alphas: Float[Tensor, "*batch N"],
    colors: Float[Tensor, "*#batch N C"],
    background: Float[Tensor, "*#batch C"],
    *,
    max_alpha: float = 0.99,
) -> Composite:
    """The colour of every pixel of the batch. Sample 0 is the nearest; samples stand along the last axis of `alphas`.

        a_i = min(alpha_i, max_alpha)
        w_i = a_i * T_i,                             T_i = (1 - a_0) * … * (1 - a_{i-1})
        color = sum_i w_i * color_i + T_N * background

    Weights and transmittance T_N sum to 1. T_N is a product and keeps its digits at 1e-12. Without samples the colour
    is the background. Batch axes of `colors` and `background` broadcast: one background for all pixels is (C,).

    Above `max_alpha` an alpha has gradient 0. With `max_alpha` = 1 a sample of alpha 1 hides everything behind it.
    0 < `max_alpha` <= 1. Gradients are finite for alphas in [0, 1], also for 1,000 samples in float32.

    Source: Kerbl et al., 3D Gaussian Splatting (arXiv 2308.04079), equation 3. Its rasterizer cuts at 0.99, gsplat's at
    0.999.
    """
    raise NotImplementedError
