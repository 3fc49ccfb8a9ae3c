"""The posterior: where x came from, if the clean sample were known.

Whoever knows the clean sample can go back one step exactly. The answer is the product of two Gaussians: one tells which
x_(t-1) lead to x_t, the other which x_(t-1) the clean sample leads to. The samplers use it with a guess of the clean
sample.

With abar = alphas_cumprod, and abar_(-1) = 1 because x_(-1) is the clean sample: beta_t = 1 - abar_t / abar_(t-1).
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from .forward_process import extract


class Posterior(NamedTuple):
    """A Gaussian per sample: `mean` has the shape of the samples, the other two are (B, 1, ..., 1)."""

    mean: Tensor
    variance: Tensor
    log_variance: Tensor


def posterior_variances(alphas_cumprod: Float[Tensor, " T"]) -> Float[Tensor, " T"]:
    """The variance of q(x_(t-1) | x_t, x_start) for t = 0 ... T - 1:

        beta_t * (1 - abar_(t-1)) / (1 - abar_t)

    At t = 0 it is 0: x_(-1) is the clean sample itself.

    Source: Ho et al., Denoising Diffusion Probabilistic Models (arXiv 2006.11239), equation 7.
    """
    raise NotImplementedError


def q_posterior_mean_variance(
    x_start: Float[Tensor, "B *shape"],
    x_t: Float[Tensor, "B *shape"],
    t: Int64[Tensor, " B"],
    alphas_cumprod: Float[Tensor, " T"],
) -> Posterior:
    """The Gaussian q(x_(t-1) | x_t, x_start), for each sample at its own t, samples of any rank from (B,) on.

        mean = sqrt(abar_(t-1)) * beta_t / (1 - abar_t) * x_start
             + sqrt(1 - beta_t) * (1 - abar_(t-1)) / (1 - abar_t) * x_t

    with the variance of `posterior_variances`. At t = 0 the mean is x_start and the variance is 0. Its logarithm would
    be minus infinity, so `log_variance` has at t = 0 the value that it has at t = 1. All three have the dtype of `x_t`.
    `alphas_cumprod` has at least two timesteps.

    Source: Ho et al., Denoising Diffusion Probabilistic Models (arXiv 2006.11239), equations 6 and 7.
    """
    raise NotImplementedError
