"""Rotations and covariances: where a Gaussian points, and how far it reaches along each of its axes.

A covariance matrix has six free numbers, but a gradient step on these six soon gives a negative eigenvalue. A step on a
quaternion and three scales cannot: R S S^T R^T has no negative eigenvalue, whatever they are.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def quats_to_rotmats(quats: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 3 3"]:
    """The rotation matrix of each quaternion (w, x, y, z). It turns column vectors: R @ v.

    With the quaternion divided by its length:
            1 - 2 (y² + z²)    2 (xy - wz)        2 (xz + wy)
        R = 2 (xy + wz)        1 - 2 (x² + z²)    2 (yz - wx)
            2 (xz - wy)        2 (yz + wx)        1 - 2 (x² + y²)
    q, -q and 5 q are the same rotation. The quaternion 0 has no direction and gives the identity, with a finite
    gradient.

    Source: the data conventions of gsplat (docs.gsplat.studio, version 0.1.11).
    """
    raise NotImplementedError


def covariances(scales: Float[Tensor, "*batch 3"], quats: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 3 3"]:
    """The covariance R S S^T R^T of each Gaussian, with S = diag(scales) and R the rotation of its quaternion.

    Scales are standard deviations along the Gaussian's own axes, which are the columns of R. They are not logarithms.
    A scale of 0 makes a flat Gaussian. The matrix is exactly symmetric.

    Source: Kerbl et al., 3D Gaussian Splatting for Real-Time Radiance Field Rendering (arXiv 2308.04079).
    """
    raise NotImplementedError
