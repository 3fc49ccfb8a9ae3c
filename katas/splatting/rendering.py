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
    raise NotImplementedError
