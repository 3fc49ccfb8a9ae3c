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
    for name, number in (("width", width), ("height", height), ("eps2d", eps2d), ("near_plane", near_plane)):
        if not number > 0:
            raise ValueError(f"{name} must be positive, got {number}")
    viewmat, K = viewmat.to(means.dtype), K.to(means.dtype)
    points = world_to_camera(means, viewmat)
    means2d, in_front = project_points(points, K, near_plane=near_plane)
    depths = points[:, 2]
    to_image = _jacobians(means2d, torch.where(in_front, depths, 1), K, width, height) @ viewmat[:3, :3]
    sharp = to_image @ covars.to(means.dtype) @ to_image.mT
    covars2d = sharp + eps2d * torch.eye(2, dtype=means.dtype, device=means.device)
    radii = _radii(means2d.detach(), covars2d.detach(), in_front, width, height)
    return ProjectedGaussians(means2d, depths, covars2d, _conics(sharp, eps2d), radii)


def _jacobians(
    means2d: Float[Tensor, "N 2"], depths: Float[Tensor, "N"], K: Float[Tensor, "3 3"], width: int, height: int
) -> Float[Tensor, "N 2 3"]:
    size = means2d.new_tensor([width, height])
    from_centre = K[:2, 2] - means2d.clamp(-0.15 * size, 1.15 * size)
    return torch.cat((K[:2, :2].expand(len(depths), 2, 2), from_centre[:, :, None]), dim=2) / depths[:, None, None]


def _conics(sharp: Float[Tensor, "N 2 2"], eps2d: float) -> Float[Tensor, "N 3"]:
    """Of sharp + eps2d * I. Its determinant is det(sharp) + eps2d * trace(sharp) + eps2d².

    det(sharp) of a long needle is the difference of two large, almost equal products. In float32 it may be negative.
    """
    a, b, c = sharp[:, 0, 0], sharp[:, 0, 1], sharp[:, 1, 1]
    det = (a * c - b * b).clamp(min=0) + eps2d * (a + c + eps2d)
    return torch.stack((c + eps2d, -b, a + eps2d), dim=1) / det[:, None]


def _radii(
    means2d: Float[Tensor, "N 2"],
    covars2d: Float[Tensor, "N 2 2"],
    in_front: Bool[Tensor, "N"],
    width: int,
    height: int,
) -> Int[Tensor, "N"]:
    a, b, c = covars2d[:, 0, 0], covars2d[:, 0, 1], covars2d[:, 1, 1]
    largest = (a + c) / 2 + torch.hypot((a - c) / 2, b)  # the larger eigenvalue
    radii = (3 * largest.sqrt()).ceil()
    size = means2d.new_tensor([width, height])
    inside = ((means2d + radii[:, None] > 0) & (means2d - radii[:, None] < size)).all(dim=1)
    return torch.where(in_front & inside, radii, 0).long()
