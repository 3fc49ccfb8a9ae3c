"""Where training begins: a round Gaussian for each point of a cloud, as large as the gap to its neighbours."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from katas.splatting.given.gaussians import Gaussians


@torch.no_grad()
def gaussians_from_points(
    points: Float[Tensor, "N 3"],
    colors: Float[Tensor, "N 3"],
    *,
    sh_degree: int = 3,
    initial_opacity: float = 0.1,
) -> Gaussians:
    """N Gaussians that show the points, with colors in [0, 1], from all sides.

        log_scales     = log sqrt(max(m, 1e-7)) on all three axes,  m = mean |p - q|² of the 3 nearest other points q
        quats          = (1, 0, 0, 0)
        opacity_logits = log(o / (1 - o)),  o = initial_opacity
        sh[:, 0]       = (color - 1/2) / C0,  C0 = sqrt(1 / π) / 2;  the other (sh_degree + 1)² - 1 coefficients are 0

    Points at the same place are other points, at distance 0. With fewer than four points m is the mean over the others
    that there are; of a single point it is 0. Distances are those of the points in float64.

    The result has the dtype of `points`, memory of its own and no gradient. No tensor on the way holds more than
    max(2²⁴, 64 N) numbers, so 100,000 points need no matrix of 10¹⁰ distances.

    0 ≤ sh_degree ≤ 3, 0 < initial_opacity < 1.

    Source: Kerbl et al., 3D Gaussian Splatting (2023); graphdeco-inria/gaussian-splatting, scene/gaussian_model.py
    (`create_from_pcd`).
    """
    raise NotImplementedError
