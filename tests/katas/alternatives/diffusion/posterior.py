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
    means, variances, logs = [], [], []
    for clean, noisy, step in zip(x_start, x_t, t.tolist(), strict=True):
        of_clean, of_noisy, variance = _gaussian(alphas_cumprod, step)
        means.append(of_clean * clean + of_noisy * noisy)
        variances.append(variance)
        logs.append(_gaussian(alphas_cumprod, max(step, 1))[2].log())
    ones = [len(t)] + [1] * (x_t.dim() - 1)
    return Posterior(
        torch.stack(means).to(x_t.dtype),
        torch.stack(variances).to(x_t.dtype).reshape(ones),
        torch.stack(logs).to(x_t.dtype).reshape(ones),
    )


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
