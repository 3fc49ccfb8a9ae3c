"""distributions, by the library."""

import torch
from torch.distributions import Categorical, Normal, TanhTransform

from solutions.rl.distributions import LogProbEntropy


def categorical_log_prob_entropy(logits, actions):
    allowed = logits > float("-inf")
    choice = Categorical(logits=torch.where(allowed, logits, torch.finfo(logits.dtype).min), validate_args=False)
    log_prob = torch.where(allowed.gather(-1, actions[..., None])[..., 0], choice.log_prob(actions), float("-inf"))
    return LogProbEntropy(log_prob, choice.entropy())


def gaussian_log_prob_entropy(mean, log_std, actions):
    std = log_std.to(mean.dtype).exp().expand(mean.shape)
    gaussian = Normal(mean, std, validate_args=False)  # `Independent` refuses empty batches
    return LogProbEntropy(gaussian.log_prob(actions).sum(-1), gaussian.entropy().sum(-1))


def tanh_gaussian_log_prob(mean, log_std, pre_tanh):
    slope = TanhTransform().log_abs_det_jacobian(pre_tanh, None)
    return gaussian_log_prob_entropy(mean, log_std, pre_tanh).log_prob - slope.sum(-1)
