"""Where training begins: a round Gaussian for each point of a cloud, as large as the gap to its neighbours."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from katas.splatting.given.gaussians import Gaussians

_C0 = 0.5 * math.sqrt(1 / math.pi)  # the spherical harmonic of degree 0
_LEAST_SQUARE = 1e-7  # of a distance: points at the same place would have the size 0, and a logarithm of -inf
_DISTANCES = 2**22  # at a time


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
    if sh_degree not in range(4):
        raise ValueError(f"sh_degree must be 0, 1, 2 or 3, got {sh_degree}")
    if not 0 < initial_opacity < 1:
        raise ValueError(f"initial_opacity must lie between 0 and 1, got {initial_opacity}")
    count = len(points)
    log_scales = 0.5 * _mean_squares(points.double()).clamp(min=_LEAST_SQUARE).log()
    logit = math.log(initial_opacity) - math.log1p(-initial_opacity)
    quats = points.new_zeros(count, 4)
    quats[:, 0] = 1
    sh = points.new_zeros(count, (sh_degree + 1) ** 2, 3)
    sh[:, 0] = (colors.double() - 0.5) / _C0
    return Gaussians(
        means=points.clone(),
        log_scales=log_scales.to(points.dtype)[:, None].repeat(1, 3),
        quats=quats,
        opacity_logits=points.new_full((count,), logit),
        sh=sh,
    )


def _mean_squares(points: Float[Tensor, "N 3"]) -> Float[Tensor, "N"]:
    """The mean square distance of each point to the three nearest others, a few rows of the matrix at a time."""
    nearest = min(len(points), 4)  # the first of them is the point itself, or one at the same place: 0 as well
    means = []
    for some in points.split(max(_DISTANCES // max(len(points), 1), 1)):
        # |p|² + |q|² - 2 pq, the default of cdist, loses all digits where the cloud is far from the origin
        distances = torch.cdist(some, points, compute_mode="donot_use_mm_for_euclid_dist")
        squares = distances.topk(nearest, largest=False).values[:, 1:].square()
        means.append(squares.sum(1) / max(nearest - 1, 1))
    return torch.cat(means)
