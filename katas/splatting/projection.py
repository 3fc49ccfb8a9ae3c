"""EWA projection: a Gaussian in space becomes a Gaussian in the image.

Perspective divides by the depth, so the exact image of a Gaussian is not a Gaussian. Near the mean, perspective is
almost linear, and a linear map of a Gaussian is a Gaussian. Axes, viewmat, K and pixels are those of `cameras`.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .cameras import project_points, world_to_camera


class ProjectedGaussians(NamedTuple):
    """`depths` are z in camera coordinates. Where z <= near_plane, the others are finite and mean nothing."""

    means2d: Float[Tensor, "N 2"]
    depths: Float[Tensor, "N"]
    covars2d: Float[Tensor, "N 2 2"]
    conics: Float[Tensor, "N 3"]
    radii: Int[Tensor, "N"]


def project_gaussians(
    means: Float[Tensor, "N 3"],
    covars: Float[Tensor, "N 3 3"],
    viewmat: Float[Tensor, "4 4"],
    K: Float[Tensor, "3 3"],
    width: int,
    height: int,
    *,
    eps2d: float = 0.3,
    near_plane: float = 0.01,
) -> ProjectedGaussians:
    """Gaussians as one camera sees them. Sizes and options are positive.

        covars2d = J W covars W^T J^T + eps2d * I,        W = the rotation of the viewmat

    J is the Jacobian of the projection at the mean (x, y, z), whose image is (x', y'):

        [[fx / z, 0, (cx - x') / z], [0, fy / z, (cy - y') / z]]

    In J alone, x' is clamped to [-0.15 width, 1.15 width], and y' likewise: far outside, J explodes.

    `conics` (a, b, c) are the inverse [[a, b], [b, c]] of covars2d. a and c lie in (0, 1 / eps2d], in float32 as well.
    `radii` are 3 standard deviations along the longer axis, rounded up. They are 0 where z <= near_plane, and where
    means2d ± radius misses the image or only touches it.

    Source: Zwicker et al., EWA Splatting (2002). Clamp of gsplat, radius of Kerbl et al. (arXiv 2308.04079).
    """
    raise NotImplementedError
