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
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    rows = []
    for _ in range(steps):
        logits, values = model(observations)
        actions = torch.multinomial(logits.softmax(dim=-1), 1, generator=generator)[:, 0]
        log_probs = categorical_log_prob_entropy(logits, actions).log_prob
        step = envs.step(actions)
        ends = (step.terminated, step.truncated)
        rows.append((observations, actions, log_probs, values, step.rewards, *ends, ~resets))
        observations, resets = step.observations, step.terminated | step.truncated
    seen, actions, log_probs, values, rewards, terminated, truncated, valid = map(torch.stack, zip(*rows, strict=True))
    next_values = torch.cat([values[1:], model(observations)[1][None]])
    rollout = Rollout(seen, actions, log_probs, values, next_values, rewards, terminated, truncated, valid)
    return rollout, observations, resets


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
    if envs.num_actions is None:
        raise ValueError("envs: the policy chooses among actions, and theirs are real numbers (num_actions is None)")
    observations = envs.reset()
    resets = torch.zeros(envs.num_envs, dtype=torch.bool, device=observations.device)
    coefficients = (clip_range, value_clip_range, value_coefficient, entropy_coefficient)
    for update in range(first_update, updates):
        rollout, observations, resets = collect_rollout(
            model, envs, observations, resets, steps=rollout_steps, generator=generator
        )  # fmt: skip
        batch = _batch(rollout, gamma, gae_lambda, normalise)
        numbers = []
        for chosen in minibatches(len(batch[0]), minibatch_size, epochs=epochs, generator=generator):
            loss, parts = _losses(model, tuple(part[chosen] for part in batch), *coefficients)
            _step(model, optimizer, loss, update, max_grad_norm)
            numbers.append(parts)
        if on_update is not None:
            means = torch.stack(numbers).mean(dim=0).tolist() if numbers else [math.nan] * 4
            on_update(PPOReport(update, *means))


def _batch(rollout: Rollout, gamma: float, gae_lambda: float, normalise: bool) -> tuple[Tensor, ...]:
    """Of the valid steps: observations, actions, log-probabilities, values, advantages and returns."""
    numbers = (rollout.rewards, rollout.values, rollout.next_values, rollout.terminated, rollout.truncated)
    advantages, returns = compute_gae(*numbers, gamma=gamma, gae_lambda=gae_lambda)
    kept = (rollout.observations, rollout.actions, rollout.log_probs, rollout.values, advantages, returns)
    *parts, advantages, returns = (part[rollout.valid] for part in kept)
    return *parts, normalise_advantages(advantages) if normalise else advantages, returns


def _losses(model, batch: tuple[Tensor, ...], clip_range, value_clip_range, value_coefficient, entropy_coefficient):
    """The loss, and what is reported of it."""
    observations, actions, log_probs, values, advantages, returns = batch
    logits, new_values = model(observations)
    new_log_probs, entropies = categorical_log_prob_entropy(logits, actions)
    policy_loss = clipped_policy_loss(new_log_probs, log_probs, advantages, clip_range=clip_range)
    value_loss = clipped_value_loss(new_values, values, returns, clip_range=value_clip_range)
    entropy = entropies.mean()
    loss = policy_loss + value_coefficient * value_loss - entropy_coefficient * entropy
    kl = approximate_kl(new_log_probs, log_probs)
    return loss, torch.stack([policy_loss, value_loss, entropy, kl]).detach()


def _step(model, optimizer, loss: Tensor, update: int, max_grad_norm: float) -> None:
    if not math.isfinite(value := loss.item()):
        raise FloatingPointError(f"the loss is not finite in update {update}: {value}")
    model.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), max_grad_norm)
    optimizer.step()
