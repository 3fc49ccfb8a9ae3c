"""Training by PPO: collect a rollout, say what was good in it, learn from it a few times, throw it away.

`model(observations)` returns `(logits, values)`: of each observation the logits of its actions, (N, K), and its value,
(N,). The environments reset on the step after an end (`given/environments.py`).
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from .distributions import categorical_log_prob_entropy
from .gae import compute_gae
from .ppo import approximate_kl, clipped_policy_loss, clipped_value_loss, minibatches
from .running_stats import normalise_advantages


class Rollout(NamedTuple):
    """T steps of E environments. `valid` is False for the steps that reset: they belong to no episode."""

    observations: Float[Tensor, "T E *shape"]
    actions: Int64[Tensor, "T E"]
    log_probs: Float[Tensor, "T E"]
    values: Float[Tensor, "T E"]
    next_values: Float[Tensor, "T E"]  # of the observation that the step returned, the last one of an episode too
    rewards: Float[Tensor, "T E"]
    terminated: Bool[Tensor, "T E"]
    truncated: Bool[Tensor, "T E"]
    valid: Bool[Tensor, "T E"]


class PPOReport(NamedTuple):
    """What `train_ppo` reports after an update, in Python numbers: means over its minibatches, each before its step.

    They are NaN where no step of the rollout was valid, so that there was no minibatch.
    """

    update: int
    policy_loss: float
    value_loss: float
    entropy: float
    approximate_kl: float


@torch.no_grad()
def collect_rollout(
    model: nn.Module,
    envs,
    observations: Float[Tensor, "E *shape"],
    resets: Bool[Tensor, " E"],
    *,
    steps: int,
    generator: torch.Generator,
) -> tuple[Rollout, Float[Tensor, "E *shape"], Bool[Tensor, " E"]]:
    """Plays `steps` ≥ 1 steps, and returns them with the observations and resets from which the next rollout goes on.

    Actions are drawn from softmax(logits). `resets` says where the next step resets, because an episode ended with the
    one before. Such a step is part of the rollout, not valid. The observation before it is the last one of the episode
    that ended, so the next values of every step are simply the values of the row below.
    """
    raise NotImplementedError


def train_ppo(
    model: nn.Module,
    envs,
    optimizer: torch.optim.Optimizer,
    *,
    updates: int,
    generator: torch.Generator,
    first_update: int = 0,
    rollout_steps: int = 128,
    epochs: int = 4,
    minibatch_size: int = 256,
    gamma: float = 0.99,
    gae_lambda: float = 0.95,
    clip_range: float = 0.2,
    value_clip_range: float = math.inf,
    value_coefficient: float = 0.5,
    entropy_coefficient: float = 0.0,
    max_grad_norm: float = 0.5,
    normalise: bool = True,
    on_update: Callable[[PPOReport], None] | None = None,
) -> None:
    """Trains `model` in place, for the updates `first_update` ... updates - 1. It begins with `envs.reset()`.

    An update collects a rollout and computes advantages and returns from it once. Steps that are not valid are left
    out; over the others advantages are normalised, if `normalise`. Each of the `minibatches` makes one optimizer step:

        loss = clipped_policy_loss + value_coefficient * clipped_value_loss - entropy_coefficient * mean entropy

    Gradients of the model are scaled down where their joint norm is above `max_grad_norm`. `value_clip_range` has the
    size of returns; if it is infinite, no value is clipped. Last comes `on_update(report)`, which may change learning
    rates. A loss that is not finite raises a FloatingPointError that names the update; weights and optimizer stay as
    they were before that minibatch. Real-valued actions are refused.
    """
    raise NotImplementedError
