"""Training by REINFORCE: play whole episodes, then make what went better than expected more likely, once.

`model(observations)` returns `(logits, values)`: of each observation the logits of its actions, (N, K), and its value,
(N,), which is the baseline. The environments reset on the step after an end (`given/environments.py`).
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from .distributions import categorical_log_prob_entropy
from .reinforce import reinforce_loss
from .returns import n_step_returns


class Episodes(NamedTuple):
    """The first episode of each of E environments, next to each other. `mask` says which steps belong to it.

    `next_observations` are what the steps returned: where an episode ends, its last observation.
    """

    observations: Float[Tensor, "T E *shape"]
    actions: Int64[Tensor, "T E"]
    rewards: Float[Tensor, "T E"]
    next_observations: Float[Tensor, "T E *shape"]
    terminated: Bool[Tensor, "T E"]
    truncated: Bool[Tensor, "T E"]
    mask: Bool[Tensor, "T E"]


class ReinforceReport(NamedTuple):
    """What `train_reinforce` reports after an update, in Python numbers, all of before the step."""

    update: int
    episode_return: float  # not discounted, the mean over the episodes
    policy_loss: float
    value_loss: float
    entropy: float


@torch.no_grad()
def play_episodes(model: nn.Module, envs, *, generator: torch.Generator) -> Episodes:
    """Plays from `envs.reset()` until every environment has ended an episode.

    Actions are drawn from softmax(logits). An environment that has ended goes on with other episodes while it waits for
    the others; its steps from then on are not in the mask.
    """
    raise NotImplementedError


def train_reinforce(
    model: nn.Module,
    envs,
    optimizer: torch.optim.Optimizer,
    *,
    updates: int,
    generator: torch.Generator,
    first_update: int = 0,
    gamma: float = 0.99,
    value_coefficient: float = 0.5,
    entropy_coefficient: float = 0.0,
    max_grad_norm: float = math.inf,
    on_update: Callable[[ReinforceReport], None] | None = None,
) -> None:
    """Trains `model` in place, for the updates `first_update` ... updates - 1.

    An update plays an episode in every environment and makes one step of the optimizer:

        loss = reinforce_loss + value_coefficient * value loss - entropy_coefficient * mean entropy

    The baseline is the value of the observation. A return is the discounted sum of rewards to the end of the episode;
    after a truncation it goes on with the value of the last observation. The value loss is half the mean squared error
    against the returns. Both means are over the mask. The joint norm of the gradients is limited to `max_grad_norm`.
    Last, `on_update(report)` may change learning rates. A loss that is not finite raises a FloatingPointError that
    names the update, and nothing is changed. Real-valued actions are refused.
    """
    raise NotImplementedError
