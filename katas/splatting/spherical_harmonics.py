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
    raise NotImplementedError
