"""Cameras: from world to camera coordinates, and from there to pixels.

The axes of a camera are those of OpenCV: x right, y down, z forward. So z is the depth. A viewmat is the matrix
[[R, t], [0, 1]] from world to camera. The intrinsics are K = [[fx, 0, cx], [0, fy, cy], [0, 0, 1]], in pixels.

The pixel in row i and column j covers [j, j + 1] x [i, i + 1]. Its centre is (j + 0.5, i + 0.5), and cx is width / 2
for a centred camera.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor


class ProjectedPoints(NamedTuple):
    """`points2d` are (x, y) in pixels. Where `in_front` is False, they are finite and mean nothing."""

    points2d: Float[Tensor, "*batch 2"]
    in_front: Bool[Tensor, "*batch"]


def world_to_camera(points: Float[Tensor, "*batch 3"], viewmat: Float[Tensor, "4 4"]) -> Float[Tensor, "*batch 3"]:
    """R @ p + t for each point p. The viewmat may have another dtype than the points."""
    raise NotImplementedError


def project_points(
    points: Float[Tensor, "*batch 3"], K: Float[Tensor, "3 3"], *, near_plane: float = 0.01
) -> ProjectedPoints:
    """Where points in camera coordinates appear in the image.

        x' = fx * x / z + cx,    y' = fy * y / z + cy

    A point is `in_front` where z > near_plane; `near_plane` is positive. Other points have no image: their `points2d`
    and all gradients are finite, at z = 0 as well. Points outside the image are projected like all others. K may have
    another dtype than the points.
    """
    raise NotImplementedError


def look_at(eye: Float[Tensor, "3"], target: Float[Tensor, "3"], up: Float[Tensor, "3"]) -> Float[Tensor, "4 4"]:
    """The viewmat of a camera at `eye` that looks at `target`. All three are in world coordinates.

        z = target - eye,    x = cross(z, up),    y = cross(z, x),    each divided by its length

    are the rows of R, and t = -R @ eye. `up` leads to the upper edge of the image. It has any length, and need not be
    perpendicular to z. A `target` equal to `eye` is refused. So is an `up` that is 0 or parallel to z: the sine of
    their angle is at most 1e-6.
    """
    raise NotImplementedError
