"""Reward shaping: hints on the way, that leave the best policy what it was.

A reward that comes late is hard to find. A bonus for progress shows the way, and may be collected for ever instead. The
difference of a potential Phi cannot: what a loop gains, it loses again.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor


class OptimalValues(NamedTuple):
    """V*(s) and Q*(s, a): the discounted return of the best policy, from a state, and from a first action in it."""

    values: Float[Tensor, " S"]
    q_values: Float[Tensor, "S A"]


def potential_shaping(
    rewards: Float[Tensor, "*batch"],
    potentials: Float[Tensor, "*batch"],
    next_potentials: Float[Tensor, "*batch"],
    terminated: Bool[Tensor, "*batch"],
    *,
    gamma: float,
) -> Float[Tensor, "*batch"]:
    """Rewards with the difference of a potential added, under which the same policies are optimal.

        r + gamma * Phi(s') - Phi(s),     without Phi(s') where the step terminated

    `potentials` are Phi(s). `next_potentials` are Phi(s') of the true next observation, also where a time limit stopped
    the episode: truncation keeps it, and there is no argument for it. Phi of a terminal state counts as 0; otherwise
    an end at a high potential would be a reward. `gamma`, in [0, 1], is that of the agent. The dtype is that of the
    rewards. The results carry no gradient.

    Source: Ng, Harada & Russell, Policy Invariance under Reward Transformations (1999).
    """
    raise NotImplementedError


def value_iteration(
    transition_probs: Float[Tensor, "S A S"],
    rewards: Float[Tensor, "S A"],
    terminal: Bool[Tensor, " S"],
    *,
    gamma: float,
    tolerance: float = 1e-10,
) -> OptimalValues:
    """The optimal values of a known Markov decision process: no sampling, no policy.

        Q_k(s, a) = r(s, a) + gamma * sum over s' of P(s' | s, a) * V_{k-1}(s'),     V_k(s) = max over a of Q_k(s, a)

        max |V_k - V*| ≤ gamma / (1 - gamma) * max |V_k - V_{k-1}|

    `transition_probs[s, a, s']` is P(s' | s, a). V and Q of a terminal state are 0; its rows are ignored. Each round
    brings V closer to V* by the factor gamma: hence the bound. Rounds end when it is at most `tolerance`, so V and Q
    are that close to V* and Q*. They are computed in float64, have the dtype of `transition_probs`, and carry no
    gradient.

    0 ≤ `gamma` < 1 and `tolerance` > 0. Outside terminal states, `transition_probs` are at least 0 and sum to 1 within
    1e-5, and `rewards` are finite: else a ValueError.

    Source: Sutton & Barto, Reinforcement Learning (2nd edition).
    """
    raise NotImplementedError
