"""Proximal policy optimisation: several steps on one rollout, none of which moves the policy far.

The samples come from the old policy. The further the new one is away, the less they say about it, so the reason to go
on is taken away once a probability has changed by a fifth.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int64
from torch import Tensor


def clipped_policy_loss(
    log_probs: Float[Tensor, " B"],
    old_log_probs: Float[Tensor, " B"],
    advantages: Float[Tensor, " B"],
    *,
    clip_range: float = 0.2,
) -> Float[Tensor, ""]:
    """The clipped objective of PPO, negated, as a mean over the batch.

        ratio = exp(log_probs - old_log_probs)
        loss = -mean(min(ratio * advantage, clip(ratio, 1 - clip_range, 1 + clip_range) * advantage))

    The minimum only takes gains away: no gradient where a good action is already 1 + clip_range times as likely as
    before, or a bad one 1 - clip_range times. A good action that became less likely, or a bad one that became more
    likely, keeps its whole gradient. Only `log_probs` get one. `clip_range` > 0. An empty batch gives 0.

    Source: Schulman et al., Proximal Policy Optimization Algorithms (arXiv 1707.06347), section 3.
    """
    raise NotImplementedError


def clipped_value_loss(
    values: Float[Tensor, " B"],
    old_values: Float[Tensor, " B"],
    returns: Float[Tensor, " B"],
    *,
    clip_range: float = 0.2,
) -> Float[Tensor, ""]:
    """Half the mean squared error, which does not gain from values that moved further than `clip_range`.

        clipped = old_values + clip(values - old_values, -clip_range, clip_range)
        loss = mean(max((values - returns)^2, (clipped - returns)^2)) / 2

    `old_values` are those of the rollout. They and `returns` get no gradient. `clip_range` > 0. An empty batch gives 0.
    """
    raise NotImplementedError


@torch.no_grad()
def approximate_kl(log_probs: Float[Tensor, " B"], old_log_probs: Float[Tensor, " B"]) -> Float[Tensor, ""]:
    """How far the policy has moved from the one that drew the actions: an estimate of KL(old, new) in nats.

        mean(ratio - 1 - log ratio),     log ratio = log_probs - old_log_probs

    It has the expectation of mean(-log ratio), less variance, and no term below 0. It is for watching and stopping, and
    carries no gradient. An empty batch gives 0.

    Source: Schulman, Approximating KL Divergence (joschu.net/blog/kl-approx.html).
    """
    raise NotImplementedError


def minibatches(
    num_samples: int, minibatch_size: int, *, epochs: int, generator: torch.Generator
) -> Iterator[Int64[Tensor, " M"]]:
    """Indices of the samples of one minibatch after another.

    In every epoch each sample occurs once, in an order drawn anew. The last minibatch of an epoch is smaller if the
    numbers do not divide. Indices are on the device of the generator. `minibatch_size` and `epochs` are at least 1; of
    0 samples there are no minibatches.
    """
    raise NotImplementedError
