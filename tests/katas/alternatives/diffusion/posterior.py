"""The posterior as a product of two Gaussians: precisions add, means are weighted by them."""

from typing import NamedTuple

import torch
from torch import Tensor


class Posterior(NamedTuple):
    mean: Tensor
    variance: Tensor
    log_variance: Tensor


def posterior_variances(alphas_cumprod):
    return torch.stack([_gaussian(alphas_cumprod, t)[2] for t in range(len(alphas_cumprod))])


def q_posterior_mean_variance(x_start, x_t, t, alphas_cumprod):
    if len(alphas_cumprod) == 1:
        raise ValueError("alphas_cumprod is too short")
    mean, ones = torch.empty_like(x_t), (len(t), *[1] * (x_t.dim() - 1))
    variance, log_variance = x_t.new_empty(ones), x_t.new_empty(ones)
    for i, step in enumerate(t.tolist()):
        of_clean, of_noisy, variance[i] = _gaussian(alphas_cumprod, step)
        mean[i] = of_clean * x_start[i] + of_noisy * x_t[i]
        log_variance[i] = _gaussian(alphas_cumprod, max(step, 1))[2].log()
    return Posterior(mean, variance, log_variance)


def _gaussian(alphas_cumprod, t):
    """(factor of x_start, factor of x_t, variance)"""
    if t == 0:
        nothing = alphas_cumprod.new_zeros(())
        return nothing + 1, nothing, nothing
    now, before = alphas_cumprod[t], alphas_cumprod[t - 1]
    beta = (before - now) / before
    precision_of_clean, precision_of_noisy = 1 / (1 - before), (1 - beta) / beta
    variance = 1 / (precision_of_clean + precision_of_noisy)
    return (
        variance * precision_of_clean * before.sqrt(),
        variance * precision_of_noisy / (1 - beta).sqrt(),
        variance,
    )
