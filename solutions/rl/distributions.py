"""Log-probabilities and entropies of the two policies that are used most: choices, and Gaussians.

A policy gradient needs the log-probability of the action that was taken. The entropy measures how undecided the policy
is. Everything is in nats. Actions of several dimensions are independent: log-probabilities add up over the last axis.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F


class LogProbEntropy(NamedTuple):
    log_prob: Float[Tensor, "*batch"]
    entropy: Float[Tensor, "*batch"]


def categorical_log_prob_entropy(logits: Float[Tensor, "*batch K"], actions: Int64[Tensor, "*batch"]) -> LogProbEntropy:
    """Of a choice among K actions with the probabilities softmax(logits).

        log_prob = logits[action] - log sum_k exp(logits[k])
        entropy = -sum_k p_k log p_k,     where 0 log 0 = 0

    A logit of -inf forbids its action. The action has the log-probability -inf and adds nothing to the entropy. While
    it is not taken, the gradient of its logit is 0. At least one action must be allowed.
    """
    log_probs = F.log_softmax(logits, dim=-1)
    finite = log_probs.masked_fill(log_probs == -math.inf, 0)  # 0 * -inf would be NaN, in the gradient as well
    entropy = -(log_probs.exp() * finite).sum(dim=-1)
    return LogProbEntropy(log_probs.gather(-1, actions[..., None])[..., 0], entropy)


def gaussian_log_prob_entropy(
    mean: Float[Tensor, "*batch A"], log_std: Float[Tensor, "*#batch A"], actions: Float[Tensor, "*batch A"]
) -> LogProbEntropy:
    """Of a Gaussian with independent dimensions.

        log_prob = sum_a [ -((action_a - mean_a) / std_a)^2 / 2 - log std_a - log(2 pi) / 2 ]
        entropy = sum_a [ log std_a + log(2 pi e) / 2 ]

    `log_std` is the natural logarithm of the standard deviation. It may broadcast over the batch: one for all
    observations has the shape (1, ..., 1, A). The entropy has the shape of the batch all the same.
    """
    log_std = log_std.expand_as(mean).to(mean.dtype)
    z = (actions - mean) * torch.exp(-log_std)
    log_prob = (-z.square() / 2 - log_std - math.log(2 * math.pi) / 2).sum(dim=-1)
    return LogProbEntropy(log_prob, (log_std + math.log(2 * math.pi * math.e) / 2).sum(dim=-1))


def tanh_gaussian_log_prob(
    mean: Float[Tensor, "*batch A"], log_std: Float[Tensor, "*#batch A"], pre_tanh: Float[Tensor, "*batch A"]
) -> Float[Tensor, "*batch"]:
    """The log-probability density of the action tanh(pre_tanh), where pre_tanh is drawn from the Gaussian.

        log_prob = log_prob of pre_tanh - sum_a log(1 - tanh(pre_tanh_a)^2)

    Squashing into (-1, 1) crowds probability at the ends, hence the correction. It takes `pre_tanh` and not the action:
    in float32 tanh(10) is 1, from which nothing leads back. The correction is finite, with its gradient, for all
    |pre_tanh| ≤ 1e30.

    Source: Haarnoja et al., Soft Actor-Critic (arXiv 1801.01290), appendix C.
    """
    log_slope = 2 * (math.log(2) - pre_tanh - F.softplus(-2 * pre_tanh))  # log(1 - tanh²): 1 - tanh² is 0 from 10 on
    return gaussian_log_prob_entropy(mean, log_std, pre_tanh).log_prob - log_slope.sum(dim=-1)
