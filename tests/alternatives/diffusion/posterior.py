"""The posterior from precisions, by Bayes' rule, one sample at a time."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor


class Posterior(NamedTuple):
    mean: Tensor
    variance: Tensor
    log_variance: Tensor


def posterior_variances(alphas_cumprod: Float[Tensor, " T"]) -> Float[Tensor, " T"]:
    rows, before = [], torch.ones_like(alphas_cumprod[0])
    for level in alphas_cumprod:
        rows.append((1 - before) * (before - level) / (before * (1 - level)))
        before = level
    return torch.stack(rows)


def q_posterior_mean_variance(
    x_start: Float[Tensor, "B *shape"],
    x_t: Float[Tensor, "B *shape"],
    t: Int64[Tensor, " B"],
    alphas_cumprod: Float[Tensor, " T"],
) -> Posterior:
    means, variances, logs = torch.empty_like(x_t), [], []
    table = [float(v) for v in posterior_variances(alphas_cumprod)]
    levels = [float(v) for v in alphas_cumprod]
    for i, step in enumerate(t.tolist()):
        variances.append(table[step])
        logs.append(
            float("-inf") if len(table) == 1 else torch.tensor(table[max(step, 1)]).double().log().item()
        )
        if step == 0:
            means[i] = x_start[i]
            continue
        before, alpha = levels[step - 1], levels[step] / levels[step - 1]
        prior, likelihood = 1 / (1 - before), alpha / (1 - alpha)
        pull = prior * before**0.5 * x_start[i] + likelihood / alpha**0.5 * x_t[i]
        means[i] = pull / (prior + likelihood)
    column = [-1] + [1] * (x_t.dim() - 1)
    like = dict(dtype=x_t.dtype, device=x_t.device)
    return Posterior(
        means, torch.tensor(variances, **like).reshape(column), torch.tensor(logs, **like).reshape(column)
    )
