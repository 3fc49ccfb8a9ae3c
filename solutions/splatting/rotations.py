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
    dtype = quats.dtype
    quats = quats.to(torch.promote_types(dtype, torch.float32))  # float16 has no 1e-12, by which F.normalize divides 0
    w, x, y, z = F.normalize(quats, dim=-1).unbind(dim=-1)  # 0 stays 0: quats / quats.norm() is 0 / 0 there
    rows = (
        torch.stack((1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)), dim=-1),
        torch.stack((2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)), dim=-1),
        torch.stack((2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)), dim=-1),
    )
    return torch.stack(rows, dim=-2).to(dtype)


def covariances(scales: Float[Tensor, "*batch 3"], quats: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 3 3"]:
    """The covariance R S S^T R^T of each Gaussian, with S = diag(scales) and R the rotation of its quaternion.

    Scales are standard deviations along the Gaussian's own axes, which are the columns of R. They are not logarithms.
    A scale of 0 makes a flat Gaussian. The matrix is exactly symmetric.

    Source: Kerbl et al., 3D Gaussian Splatting for Real-Time Radiance Field Rendering (arXiv 2308.04079).
    """
    axes = quats_to_rotmats(quats).to(scales.dtype) * scales[..., None, :]
    # (i, j) and (j, i) sum the same three products in the same order; a product of matrices may round them differently.
    return (axes[..., :, None, :] * axes[..., None, :, :]).sum(dim=-1)
