"""Noise schedules: how much of the image each timestep keeps.

A schedule is a list of betas. At timestep t, noise replaces the share beta_t of the variance that the signal still has.
The product of 1 - beta, alphas_cumprod, is the share that remains after timestep t. Everything else in diffusion
follows from it. Timesteps are counted from 0 to T - 1, as in diffusers. Timestep 0 already carries a little noise.
"""

import math

import torch
from jaxtyping import Float, Float64
from torch import Tensor


def linear_beta_schedule(
    num_timesteps: int,
    *,
    beta_start: float = 1e-4,
    beta_end: float = 0.02,
    max_beta: float = 0.999,
) -> Float64[Tensor, " {num_timesteps}"]:
    """T = `num_timesteps` betas that grow evenly from the first to the last, computed in float64.

    `beta_start` and `beta_end` are meant for T = 1000. For any other T both are multiplied by 1000 / T, so that the
    betas add up to about the same total. Each beta above `max_beta` is then cut to `max_beta`. T = 1 has the first beta
    only. `num_timesteps` ≥ 1.

    Source: Ho et al., Denoising Diffusion Probabilistic Models (arXiv 2006.11239). The factor 1000 / T comes from the
    code of Nichol & Dhariwal, Improved Denoising Diffusion Probabilistic Models (arXiv 2102.09672).
    """
    _check(num_timesteps)
    scale = 1000 / num_timesteps
    betas = torch.linspace(scale * beta_start, scale * beta_end, num_timesteps, dtype=torch.float64)
    return betas.clamp(max=max_beta)


def cosine_beta_schedule(
    num_timesteps: int, *, s: float = 0.008, max_beta: float = 0.999
) -> Float64[Tensor, " {num_timesteps}"]:
    """Betas for which the remaining signal falls like a squared cosine, computed in float64.

        f(u) = cos(pi / 2 * (u + s) / (1 + s))**2               u from 0, clean, to 1, all noise
        beta_t = 1 - f((t + 1) / T) / f(t / T), at most max_beta        t = 0 ... T - 1

    The offset `s` keeps the first betas from being tiny. `max_beta` keeps a little signal at the end, where f is 0.
    `num_timesteps` ≥ 1.

    Source: Nichol & Dhariwal, Improved Denoising Diffusion Probabilistic Models (arXiv 2102.09672), equation 17.
    """
    _check(num_timesteps)
    u = torch.linspace(0, 1, num_timesteps + 1, dtype=torch.float64)
    return _betas_of(torch.cos(math.pi / 2 * (u + s) / (1 + s)) ** 2, max_beta)


def sigmoid_beta_schedule(
    num_timesteps: int,
    *,
    start: float = -3,
    end: float = 3,
    tau: float = 1,
    max_beta: float = 0.999,
) -> Float64[Tensor, " {num_timesteps}"]:
    """Betas for which the remaining signal falls like a sigmoid, computed in float64.

        g(u) = sigmoid((start + u * (end - start)) / tau)        u from 0, clean, to 1, all noise
        f(u) = (g(1) - g(u)) / (g(1) - g(0))                      so f(0) = 1 and f(1) = 0
        beta_t = 1 - f((t + 1) / T) / f(t / T), at most max_beta        t = 0 ... T - 1

    A larger `tau` makes f straighter. `num_timesteps` ≥ 1.

    Source: Jabri et al., Scalable Adaptive Computation for Iterative Generation (arXiv 2212.11972), and Chen, On the
    Importance of Noise Scheduling for Diffusion Models (arXiv 2301.10972).
    """
    _check(num_timesteps)
    u = torch.linspace(0, 1, num_timesteps + 1, dtype=torch.float64)
    g = torch.sigmoid((start + u * (end - start)) / tau)
    return _betas_of(g[-1] - g, max_beta)  # g(1) - g(0) cancels in the ratio


def alphas_cumprod(betas: Float[Tensor, " T"]) -> Float[Tensor, " T"]:
    """The share of the signal's variance that remains after timestep t: the product of 1 - beta_i over i = 0 ... t.

    Source: Ho et al. (arXiv 2006.11239), who write it as alpha with a bar.
    """
    return torch.cumprod(1 - betas, dim=0)


def snr(alphas_cumprod: Float[Tensor, " T"]) -> Float[Tensor, " T"]:
    """The signal-to-noise ratio, variance of the signal over variance of the noise:

        snr = alphas_cumprod / (1 - alphas_cumprod)

    Source: Kingma et al., Variational Diffusion Models (arXiv 2107.00630).
    """
    return alphas_cumprod / (1 - alphas_cumprod)


def _check(num_timesteps: int) -> None:
    if num_timesteps < 1:
        raise ValueError(f"num_timesteps must be at least 1, got {num_timesteps}")


def _betas_of(signal_left: Float64[Tensor, " T_plus_1"], max_beta: float) -> Float64[Tensor, " T"]:
    """`signal_left` at u = 0, 1/T ... 1, up to a factor."""
    return (1 - signal_left[1:] / signal_left[:-1]).clamp(max=max_beta)
