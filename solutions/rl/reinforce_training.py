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
    observations, rows = envs.reset(), []
    plays = torch.ones(envs.num_envs, dtype=torch.bool, device=observations.device)
    while plays.any():
        logits, _ = model(observations)
        actions = torch.multinomial(logits.softmax(dim=-1), 1, generator=generator)[:, 0]
        step = envs.step(actions)
        ends = (step.terminated, step.truncated)
        rows.append((observations, actions, step.rewards, step.observations, *ends, plays))
        observations, plays = step.observations, plays & ~(step.terminated | step.truncated)
    return Episodes(*map(torch.stack, zip(*rows, strict=True)))


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
    if envs.num_actions is None:
        raise ValueError("envs: the policy chooses among actions, and theirs are real numbers (num_actions is None)")
    for update in range(first_update, updates):
        episodes = play_episodes(model, envs, generator=generator)
        parts = _losses(model, episodes, gamma)
        policy_loss, value_loss, entropy = parts
        loss = policy_loss + value_coefficient * value_loss - entropy_coefficient * entropy
        if not math.isfinite(value := loss.item()):
            raise FloatingPointError(f"the loss is not finite in update {update}: {value}")
        model.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), max_grad_norm)
        optimizer.step()
        if on_update is not None:
            earned = episodes.rewards.masked_fill(~episodes.mask, 0).sum(dim=0).mean()
            on_update(ReinforceReport(update, earned.item(), *(part.item() for part in parts)))


def _losses(model: nn.Module, episodes: Episodes, gamma: float) -> tuple[Tensor, Tensor, Tensor]:
    """The loss of the policy, that of the values, and the mean entropy."""
    mask, shape = episodes.mask, episodes.mask.shape
    logits, values = model(episodes.observations.flatten(0, 1))
    log_probs, entropies = categorical_log_prob_entropy(logits, episodes.actions.flatten())
    log_probs, entropies, values = (part.reshape(shape) for part in (log_probs, entropies, values))
    with torch.no_grad():
        next_values = model(episodes.next_observations.flatten(0, 1))[1].reshape(shape)
    ends = (episodes.terminated, episodes.truncated)
    returns = n_step_returns(episodes.rewards, next_values, *ends, gamma=gamma, n=len(mask))
    policy_loss = reinforce_loss(log_probs, returns, mask, baselines=values)
    return policy_loss, (values - returns)[mask].square().mean() / 2, entropies[mask].mean()
