"""Spherical harmonics: a colour that depends on the direction from which a Gaussian is seen.

A colour is a function on the sphere. Spherical harmonics are to such functions what sines and cosines are to periodic
ones: coefficient 0 is the mean colour, and each further degree adds finer detail.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def eval_sh(degree: int, sh: Float[Tensor, "N K 3"], directions: Float[Tensor, "N 3"]) -> Float[Tensor, "N 3"]:
    """The colour of N Gaussians, each seen along its own direction (from the camera to the Gaussian).

        colour = max(0, 0.5 + sum_k Y_k(x, y, z) * sh_k),      (x, y, z) = direction / |direction|

        Y_0            1/2 √(1/π)
        Y_1 … Y_3      1/2 √(3/π) · (-y, z, -x)
        Y_4 … Y_8      1/2 √(15/π) · (xy, -yz, (2z² - x² - y²) / √12, -xz, (x² - y²) / 2)
        Y_9 … Y_11     -1/4 √(35/(2π)) · y (3x² - y²),   1/2 √(105/π) · xyz,   -1/4 √(21/(2π)) · y (4z² - x² - y²)
        Y_12           1/4 √(7/π) · z (2z² - 3x² - 3y²)
        Y_13 … Y_15    -1/4 √(21/(2π)) · x (4z² - x² - y²),  1/4 √(105/π) · z (x² - y²),  -1/4 √(35/(2π)) · x (x² - 3y²)

    `degree` is 0, 1, 2 or 3 and uses the first (degree + 1)² coefficients. `sh` may hold more; they are ignored. A
    channel below 0 becomes 0, with gradient 0. Above 1 nothing is cut. `directions` need not have length 1, so their
    gradient is orthogonal to them. A direction of length 0 gives finite colours and gradients.

    Source: order and signs are those of sh_utils.py in graphdeco-inria/gaussian-splatting.
    """
    if degree not in range(4):
        raise ValueError(f"degree must be 0, 1, 2 or 3, got {degree}")
    num_bases = (degree + 1) ** 2
    if sh.shape[1] < num_bases:
        raise ValueError(f"sh has {sh.shape[1]} coefficients, and degree {degree} needs {num_bases}")
    basis = _real_harmonics(degree, directions)
    colors = 0.5 + (basis[:, :, None] * sh[:, :num_bases]).sum(dim=1)
    return colors.clamp(min=0).to(sh.dtype)


def _real_harmonics(degree: int, directions: Float[Tensor, "N 3"]) -> Float[Tensor, "N bases"]:
    directions = directions.to(torch.promote_types(directions.dtype, torch.float32))  # float16 has no 1e-12
    directions = directions.where(directions.any(dim=1, keepdim=True), 1)  # of length 0: another one, without gradient
    x, y, z = F.normalize(directions, dim=1).unbind(dim=1)
    xx, yy, zz = x * x, y * y, z * z
    root3, root15 = (0.5 * math.sqrt(n / math.pi) for n in (3, 15))
    root7, root21, root35, root105 = (0.25 * math.sqrt(n / math.pi) for n in (7, 21 / 2, 35 / 2, 105))
    functions = [torch.full_like(x, 0.5 / math.sqrt(math.pi))]
    if degree >= 1:
        functions += [-root3 * y, root3 * z, -root3 * x]
    if degree >= 2:
        functions += [
            root15 * x * y,
            -root15 * y * z,
            root15 / math.sqrt(12) * (2 * zz - xx - yy),
            -root15 * x * z,
            root15 / 2 * (xx - yy),
        ]
    if degree >= 3:
        functions += [
            -root35 * y * (3 * xx - yy),
            2 * root105 * x * y * z,
            -root21 * y * (4 * zz - xx - yy),
            root7 * z * (2 * zz - 3 * xx - 3 * yy),
            -root21 * x * (4 * zz - xx - yy),
            root105 * z * (xx - yy),
            -root35 * x * (xx - 3 * yy),
        ]
    return torch.stack(functions, dim=1)
