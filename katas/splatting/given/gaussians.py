"""A scene as Gaussians: raw parameters, as an optimizer holds them."""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor


class Gaussians(NamedTuple):
    """N Gaussians with spherical harmonics of K = (degree + 1)² coefficients.

    All parameters are raw, so that every real number is allowed: scales are exp(log_scales), opacities are
    sigmoid(opacity_logits), rotations are quats / |quats|.
    """

    means: Float[Tensor, "N 3"]
    log_scales: Float[Tensor, "N 3"]
    quats: Float[Tensor, "N 4"]  # (w, x, y, z), of any length
    opacity_logits: Float[Tensor, "N"]
    sh: Float[Tensor, "N K 3"]  # coefficient, then channel (red, green, blue)
