"""Generalised advantage estimation: how much better an action was than the value of its state promised.

One step of TD has little variance and the bias of the value function. Monte Carlo has the variance of all rewards and
no bias. GAE weighs all n-step estimates between them, by powers of lambda. Rollouts, `terminated`, `truncated` and
`next_values` are those of `returns`.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor


class Advantages(NamedTuple):
    """`returns` is what the value function is fitted to: advantages + values."""

    advantages: Float[Tensor, "T *envs"]
    returns: Float[Tensor, "T *envs"]


def compute_gae(
    rewards: Float[Tensor, "T *envs"],
    values: Float[Tensor, "T *envs"],
    next_values: Float[Tensor, "T *envs"],
    terminated: Bool[Tensor, "T *envs"],
    truncated: Bool[Tensor, "T *envs"],
    *,
    gamma: float = 0.99,
    gae_lambda: float = 0.95,
) -> Advantages:
    """The advantage of every step, and the return that the value function is fitted to.

        delta_t = r_t + gamma * V(s_{t+1}) - V(s_t),         without V(s_{t+1}) where step t terminated
        A_t = delta_t + gamma * lambda * A_{t+1},            A_t = delta_t where the episode ends with step t

    `values[t]` is V(s_t). `next_values[t]` is V(s_{t+1}); where an episode ends, that of its last observation.
    Truncation bootstraps like any other step and cuts the trace: A_{t+1} belongs to another episode. So does the end of
    the rollout. The results carry no gradient. `gamma` and `gae_lambda` lie in [0, 1].

    Source: Schulman et al., High-Dimensional Continuous Control Using GAE (arXiv 1506.02438), section 3.
    """
    for name, number in (("gamma", gamma), ("gae_lambda", gae_lambda)):
        if not 0 <= number <= 1:
            raise ValueError(f"{name} must lie in [0, 1], got {number}")
    rewards, values, next_values = (part.detach().to(rewards.dtype) for part in (rewards, values, next_values))
    deltas = rewards + gamma * next_values * ~terminated - values
    decays = gamma * gae_lambda * (~(terminated | truncated)).to(deltas)
    return Advantages(advantages := _summed_backwards(deltas, decays), advantages + values)


def _summed_backwards(deltas: Tensor, decays: Tensor) -> Tensor:
    """A_t = deltas_t + decays_t * A_{t+1}, with A_T = 0, in log2(T) rounds instead of T steps.

    After a round that looks `reach` steps ahead, `sums` holds the terms of 2 * reach steps, and `decays` the products
    of as many factors. A loop over T is the same; it is slower by the overhead of its thousands of tiny operations.
    """
    sums, reach = deltas, 1
    while reach < len(deltas):
        sums = torch.cat([torch.addcmul(sums[:-reach], decays[:-reach], sums[reach:]), sums[-reach:]])
        decays = torch.cat([decays[:-reach] * decays[reach:], decays[-reach:]])
        reach *= 2
    return sums
