"""Noise, clean sample, velocity: three answers to the same question.

Whoever knows x_t and one of them knows all three. They differ in the timesteps at which an error of the network grows.
Dividing by the signal at large t blows up an error in the noise. Dividing by the noise level at small t blows up an
error in the clean sample.

With a = sqrt(alphas_cumprod[t]) and s = sqrt(1 - alphas_cumprod[t]), so that a**2 + s**2 = 1:

    x_t = a * x_start + s * noise           v = a * noise - s * x_start

Each takes one timestep per sample, and samples of any rank, from (B,) on. The result is finite as long as a and s do
not round to 0 and the result does not overflow, in the dtype of `x_t`.
"""

from jaxtyping import Float, Int64
from torch import Tensor

from .forward_process import extract


def x_start_from_noise(
    x_t: Float[Tensor, "B *shape"],
    t: Int64[Tensor, " B"],
    noise: Float[Tensor, "B *shape"],
    alphas_cumprod: Float[Tensor, " T"],
) -> Float[Tensor, "B *shape"]:
    """The clean sample that, with this noise, gives x_t: (x_t - s * noise) / a.

    Source: Ho et al., Denoising Diffusion Probabilistic Models (arXiv 2006.11239), equation 15.
    """
    raise NotImplementedError


def noise_from_x_start(
    x_t: Float[Tensor, "B *shape"],
    t: Int64[Tensor, " B"],
    x_start: Float[Tensor, "B *shape"],
    alphas_cumprod: Float[Tensor, " T"],
) -> Float[Tensor, "B *shape"]:
    """The noise that, with this clean sample, gives x_t: (x_t - a * x_start) / s."""
    raise NotImplementedError


def v_from_noise(
    x_t: Float[Tensor, "B *shape"],
    t: Int64[Tensor, " B"],
    noise: Float[Tensor, "B *shape"],
    alphas_cumprod: Float[Tensor, " T"],
) -> Float[Tensor, "B *shape"]:
    """The velocity, given x_t and the noise: (noise - s * x_t) / a.

    Source: Salimans & Ho, Progressive Distillation for Fast Sampling of Diffusion Models (arXiv 2202.00512).
    """
    raise NotImplementedError


def v_from_x_start(
    x_t: Float[Tensor, "B *shape"],
    t: Int64[Tensor, " B"],
    x_start: Float[Tensor, "B *shape"],
    alphas_cumprod: Float[Tensor, " T"],
) -> Float[Tensor, "B *shape"]:
    """The velocity, given x_t and the clean sample: (a * x_t - x_start) / s."""
    raise NotImplementedError


def x_start_from_v(
    x_t: Float[Tensor, "B *shape"],
    t: Int64[Tensor, " B"],
    v: Float[Tensor, "B *shape"],
    alphas_cumprod: Float[Tensor, " T"],
) -> Float[Tensor, "B *shape"]:
    """The clean sample, given x_t and the velocity: a * x_t - s * v, without a division."""
    raise NotImplementedError


def noise_from_v(
    x_t: Float[Tensor, "B *shape"],
    t: Int64[Tensor, " B"],
    v: Float[Tensor, "B *shape"],
    alphas_cumprod: Float[Tensor, " T"],
) -> Float[Tensor, "B *shape"]:
    """The noise, given x_t and the velocity: s * x_t + a * v, without a division."""
    raise NotImplementedError
