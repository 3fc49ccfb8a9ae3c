"""What follows a step: the sum of later rewards, each discounted by the time until it comes.

A rollout has T steps, in time order along axis 0, of several environments side by side on the other axes. Episodes end
inside it. `terminated`: the task itself has ended, so nothing follows. `truncated`: a time limit stopped an episode
that would have gone on, so the value of its last observation stands for the rest. Both may be set: it has terminated.
Returns are targets: they carry no gradient.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def discounted_returns(
    rewards: Float[Tensor, "T *envs"], episode_ends: Bool[Tensor, "T *envs"], *, gamma: float
) -> Float[Tensor, "T *envs"]:
    """The Monte Carlo return of every step: the rewards from this step to the end of its episode.

        G_t = r_t + gamma * G_{t+1},     G_t = r_t where the episode ends with step t

    `episode_ends` is `terminated | truncated`. The rollout ends the last episode of each environment: what would have
    followed counts as 0. 0 ≤ `gamma` ≤ 1.

    Source: Sutton & Barto, Reinforcement Learning (2nd edition), section 3.3.
    """
    raise NotImplementedError


def n_step_returns(
    rewards: Float[Tensor, "T *envs"],
    next_values: Float[Tensor, "T *envs"],
    terminated: Bool[Tensor, "T *envs"],
    truncated: Bool[Tensor, "T *envs"],
    *,
    gamma: float,
    n: int,
) -> Float[Tensor, "T *envs"]:
    """At most n rewards, then the value of the observation after them.

        G_t = r_t + gamma * r_{t+1} + ... + gamma^(m-1) * r_{t+m-1} + gamma^m * V_{t+m}

    m is n, or less: the episode or the rollout ends after m steps. `next_values[t]` is V_{t+1}, the value of the
    observation after step t; where an episode ends, of its last observation, not of the first one of the next episode.
    V counts as 0 where the episode has terminated. Truncation and the end of the rollout bootstrap. `gamma` as above,
    `n` ≥ 1.

    Source: Sutton & Barto, chapter 7.
    """
    raise NotImplementedError
