"""DDPM: walk back one timestep at a time, and add a little fresh noise after each step.

A sampler needs only a function that predicts the noise in x at timestep t. That may be a trained network, a guided one
or an exact formula.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from .forward_process import extract
from .parametrization import x_start_from_noise
from .posterior import posterior_variances, q_posterior_mean_variance


def fixed_large_variances(alphas_cumprod: Float[Tensor, " T"]) -> Float[Tensor, " T"]:
    """The larger of the two fixed choices of the reverse variance: beta_t, for t = 0 ... T - 1.

    It is the true reverse variance if the data is standard normal. The smaller choice, `posterior_variances`, is the
    true one if the data is a single point.

    Source: Ho et al., Denoising Diffusion Probabilistic Models (arXiv 2006.11239), section 3.2.
    """
    raise NotImplementedError


def p_sample(
    x_t: Float[Tensor, "B *shape"],
    t: Int64[Tensor, " B"],
    pred_noise: Float[Tensor, "B *shape"],
    alphas_cumprod: Float[Tensor, " T"],
    *,
    noise: Float[Tensor, "B *shape"],
    variances: Float[Tensor, " T"] | None = None,
    clip: float | None = None,
) -> Float[Tensor, "B *shape"]:
    """One step back, from timestep t to t - 1, for each sample at its own t.

    `pred_noise` gives a guess of the clean sample. With `clip` the guess is cut to [-clip, clip], element by element.
    The result is the mean of q(x_(t-1) | x_t, x_start) at that guess, plus `noise` times the square root of
    `variances[t]` (None: those of `posterior_variances`). At t = 0 nothing is added, even if `variances[0]` is NaN, and
    the result is the guess. There are at least two timesteps.

    Source: Ho et al., Denoising Diffusion Probabilistic Models (arXiv 2006.11239), algorithm 2.
    """
    raise NotImplementedError


@torch.no_grad()
def p_sample_loop(
    predict_noise: Callable[[Tensor, Tensor], Tensor],
    x_T: Float[Tensor, "B *shape"],
    alphas_cumprod: Float[Tensor, " T"],
    *,
    generator: torch.Generator,
    variances: Float[Tensor, " T"] | None = None,
    clip: float | None = None,
    on_step: Callable[[int, Tensor], None] | None = None,
) -> Float[Tensor, "B *shape"]:
    """From pure noise `x_T` to samples: `p_sample` at t = T - 1, T - 2, ..., 0.

    `predict_noise(x, t)` is called once per step, with t as an int64 tensor (B,). Each step but the last, which adds
    none, draws fresh noise, independent for every element. After each step `on_step(t, x)` is called with t as an int
    and x the sample at t - 1.
    """
    raise NotImplementedError
