"""Soft actor-critic: be right often, and undecided as long as it costs little.

The policy is paid for its entropy. Two critics judge, and the lower judgement counts. `temperature` says what a nat of
entropy is worth in reward. It is a tensor of shape (), so that it can be learned on the device, and is positive.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .distributions import tanh_gaussian_log_prob


class SquashedSample(NamedTuple):
    actions: Float[Tensor, "*batch A"]  # in [-1, 1]
    log_probs: Float[Tensor, "*batch"]


def squashed_gaussian_sample(
    mean: Float[Tensor, "*batch A"], log_std: Float[Tensor, "*#batch A"], *, generator: torch.Generator
) -> SquashedSample:
    """Draws an action for every observation, with its log-probability density.

        u = mean + exp(log_std) * noise,     noise ~ N(0, 1) for each observation and dimension
        action = tanh(u)

    The gradient goes through the action and the density to `mean` and `log_std` (the reparametrisation trick): the
    noise is what stays fixed. `log_std` may broadcast over the batch.

    Source: Haarnoja et al., Soft Actor-Critic (arXiv 1801.01290), appendix C.
    """
    noise = torch.randn(mean.shape, generator=generator, dtype=mean.dtype, device=mean.device)
    pre_tanh = mean + log_std.to(mean.dtype).exp() * noise
    return SquashedSample(pre_tanh.tanh(), tanh_gaussian_log_prob(mean, log_std, pre_tanh))


def sac_critic_target(
    rewards: Float[Tensor, " B"],
    next_q1: Float[Tensor, " B"],
    next_q2: Float[Tensor, " B"],
    next_log_probs: Float[Tensor, " B"],
    terminated: Bool[Tensor, " B"],
    *,
    temperature: Float[Tensor, ""],
    gamma: float,
) -> Float[Tensor, " B"]:
    """What both critics should say.

        y = r + gamma * (min(Q1(s', a'), Q2(s', a')) - temperature * log pi(a' | s')),     y = r where it has terminated

    a' is drawn anew from the policy of now, not taken from the buffer. Q1 and Q2 are the target critics. A time limit
    is no termination. Targets carry no gradient. 0 ≤ `gamma` ≤ 1.

    Source: Haarnoja et al., Soft Actor-Critic Algorithms and Applications (arXiv 1812.05905), section 5.
    """
    if not 0 <= gamma <= 1:
        raise ValueError(f"gamma must lie in [0, 1], got {gamma}")
    soft_values = torch.minimum(next_q1, next_q2) - temperature * next_log_probs
    return (rewards + gamma * soft_values.to(rewards.dtype).masked_fill(terminated, 0)).detach()


def sac_actor_loss(
    q1: Float[Tensor, " B"], q2: Float[Tensor, " B"], log_probs: Float[Tensor, " B"], *, temperature: Float[Tensor, ""]
) -> Float[Tensor, ""]:
    """What the policy makes small.

        loss = mean(temperature * log pi(a | s) - min(Q1(s, a), Q2(s, a)))

    The actions are a fresh `squashed_gaussian_sample`. The gradient goes through the critics to them, and through
    `log_probs`. It does not go to `temperature`. An empty batch gives 0.
    """
    lower = torch.minimum(q1, q2)
    return _mean((temperature.detach() * log_probs - lower).to(q1.dtype))


def temperature_loss(
    log_temperature: Float[Tensor, ""], log_probs: Float[Tensor, " B"], *, target_entropy: float
) -> Float[Tensor, ""]:
    """Raises the temperature while the policy has less entropy than `target_entropy`, and lowers it while it has more.

        loss = -exp(log_temperature) * mean(log pi(a | s) + target_entropy)

    Only `log_temperature` gets a gradient. A usual target is minus the number of dimensions of an action. An empty
    batch gives 0.

    Source: Haarnoja et al. (arXiv 1812.05905), section 5.
    """
    excess = _mean(log_probs.detach().to(log_temperature.dtype) + target_entropy)
    return -log_temperature.exp() * excess


def _mean(terms: Tensor) -> Tensor:
    return terms.mean() if len(terms) else terms.sum()
