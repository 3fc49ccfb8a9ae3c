"""Rendering: from the raw parameters of a scene to an image, through everything that was built so far."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from katas.splatting.given.gaussians import Gaussians

from .projection import project_gaussians
from .rotations import covariances
from .spherical_harmonics import eval_sh
from .tiles import rasterize_tiled


class Rendering(NamedTuple):
    """`means2d` and `radii` tell where a Gaussian was drawn, and whether it was seen (a radius above 0)."""

    image: Float[Tensor, "height width 3"]
    means2d: Float[Tensor, "N 2"]
    radii: Int[Tensor, "N"]


def render(
    gaussians: Gaussians,
    viewmat: Float[Tensor, "4 4"],
    K: Float[Tensor, "3 3"],
    width: int,
    height: int,
    *,
    background: Float[Tensor, "3"],
    sh_degree: int | None = None,
) -> Rendering:
    """The image of a scene in one camera.

    Scales are exp(log_scales), opacities sigmoid(opacity_logits). Each Gaussian is seen along the direction from the
    camera, at -R^T t in the world, to its mean. `sh_degree` uses the first (sh_degree + 1)² coefficients of its colour;
    they must be there. None uses all. The gradient reaches all five parameters, the means by the directions as well.

    The gradient of the `means2d` that come back is that of the drawing alone: how the image changes when a Gaussian
    moves in it, while its conic, its depth and its colour stay.

    Parameters that are not finite are refused by the name of their field, as are log_scales whose squared scale
    overflows.
    """
    max_degree = math.isqrt(gaussians.sh.shape[1]) - 1
    sh_degree = max_degree if sh_degree is None else sh_degree
    if not 0 <= sh_degree <= max_degree:
        raise ValueError(f"sh_degree must lie in [0, {max_degree}], got {sh_degree}")
    _refuse_infinite(gaussians)
    covars = covariances(gaussians.log_scales.exp(), gaussians.quats)
    projected = project_gaussians(gaussians.means, covars, viewmat, K, width, height)
    drawn = projected._replace(means2d=projected.means2d.clone())  # the Jacobian uses the means2d of before
    viewmat = viewmat.to(gaussians.means.dtype)
    directions = gaussians.means + viewmat[:3, :3].mT @ viewmat[:3, 3]
    colors = eval_sh(sh_degree, gaussians.sh, directions)
    image = rasterize_tiled(drawn, colors, gaussians.opacity_logits.sigmoid(), background, width, height)
    return Rendering(image, drawn.means2d, drawn.radii)


def _refuse_infinite(gaussians: Gaussians) -> None:
    tensors = {**gaussians._asdict(), "log_scales": (2 * gaussians.log_scales).exp() + gaussians.log_scales}
    finite = torch.stack([tensor.isfinite().all() for tensor in tensors.values()]).tolist()  # one synchronisation
    for name, is_finite in zip(tensors, finite, strict=True):
        if not is_finite:
            raise ValueError(f"{name} must be finite, and the square of a scale as well")
