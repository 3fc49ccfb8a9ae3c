"""Training by deep Q-learning: act, store what happened, learn from a random batch of all that happened.

Both networks map observations, (N, *shape), to the values of the K actions, (N, K). `target` is a slow copy of
`online`, which the caller has made. The environments reset on the step after an end (`given/environments.py`).
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from .dqn import double_dqn_target, dqn_loss, epsilon_at, polyak_update, td_target
from .replay_buffer import ReplayBuffer, Transitions


class DQNReport(NamedTuple):
    """What `train_dqn` reports after a step, in Python numbers.

    `loss` and `mean_q` are means over the updates of the step, each before its optimizer step. `mean_q` is what
    `online` says of the sampled actions. Both are NaN where the step made no update.
    """

    step: int
    epsilon: float
    loss: float
    mean_q: float


def train_dqn(
    online: nn.Module,
    target: nn.Module,
    envs,
    buffer: ReplayBuffer,
    optimizer: torch.optim.Optimizer,
    *,
    steps: int,
    generator: torch.Generator,
    first_step: int = 0,
    batch_size: int = 128,
    gamma: float = 0.99,
    learning_starts: int = 1000,
    updates_per_step: int = 1,
    target_every: int = 1,
    tau: float = 0.005,
    epsilon_start: float = 1.0,
    epsilon_end: float = 0.05,
    epsilon_decay_steps: int = 2000,
    double: bool = True,
    max_grad_norm: float = 10.0,
    on_step: Callable[[DQNReport], None] | None = None,
) -> None:
    """Trains `online` in the steps `first_step` ... steps - 1 of all environments, after a reset.

    1. Each environment takes a random action with probability `epsilon_at(step)`, else that of the highest value.
    2. `buffer` stores every transition with its true next observation, but no step that resets.
    3. Once `learning_starts` and `batch_size` transitions are stored, `updates_per_step` times: a batch, its
       `double_dqn_target` (or `td_target`), `dqn_loss`, gradients of a joint norm up to `max_grad_norm`, a step.
    4. `polyak_update`, where step + 1 is a multiple of `target_every`.
    5. `on_step(report)` may change rates.

    A loss that is not finite raises a FloatingPointError naming the step; its update changes nothing. Refused: real
    actions; `updates_per_step` or `target_every` below 1; `learning_starts` or `batch_size` above `buffer.capacity`.
    """
    _refuse(envs, updates_per_step=updates_per_step, target_every=target_every)
    _fits(buffer, learning_starts=learning_starts, batch_size=batch_size)
    observations = envs.reset()
    resets = torch.zeros(envs.num_envs, dtype=torch.bool, device=observations.device)
    for step in range(first_step, steps):
        epsilon = epsilon_at(step, start=epsilon_start, end=epsilon_end, decay_steps=epsilon_decay_steps)
        actions = _actions(online, observations, envs.num_actions, epsilon, generator)
        seen = envs.step(actions)
        buffer.add(observations, actions, seen.rewards, seen.observations, seen.terminated, valid=~resets)
        observations, resets = seen.observations, seen.terminated | seen.truncated
        enough = len(buffer) >= max(learning_starts, batch_size)
        numbers = []
        for _ in range(updates_per_step if enough else 0):
            batch = buffer.sample(batch_size, generator=generator)
            numbers.append(_update(online, target, optimizer, batch, step, gamma, double, max_grad_norm))
        if (step + 1) % target_every == 0:
            polyak_update(target, online, tau=tau)
        if on_step is not None:
            means = [sum(column) / len(numbers) for column in zip(*numbers, strict=True)] or [math.nan, math.nan]
            on_step(DQNReport(step, epsilon, *means))


def _refuse(envs, **counts: int) -> None:
    if envs.num_actions is None:
        raise ValueError("envs: Q-learning compares actions, and theirs are real numbers (num_actions is None)")
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name} must be at least 1, got {count}")


def _fits(buffer: ReplayBuffer, **counts: int) -> None:
    """What the buffer can never hold would never be learned from, without a word."""
    for name, count in counts.items():
        if count > buffer.capacity:
            raise ValueError(f"{name} is {count}, but the buffer holds at most {buffer.capacity}")


@torch.no_grad()
def _actions(
    online: nn.Module, observations: Float[Tensor, "E *shape"], num_actions: int, epsilon: float, generator
) -> Int64[Tensor, " E"]:
    """Every environment decides by itself whether it explores."""
    greedy = online(observations).argmax(dim=1)
    drawn = torch.randint(num_actions, greedy.shape, generator=generator, device=greedy.device)
    explores = torch.rand(greedy.shape, generator=generator, device=greedy.device) < epsilon
    return torch.where(explores, drawn, greedy)


def _update(online, target, optimizer, batch: Transitions, step, gamma, double, max_grad_norm) -> tuple[float, float]:
    """One step of the optimizer: the loss and the mean value before it."""
    q = online(batch.observations)
    loss = dqn_loss(q, batch.actions, _targets(online, target, batch, gamma, double))
    mean_q = q.detach().gather(1, batch.actions[:, None]).mean()
    loss_value, mean_value = torch.stack([loss.detach(), mean_q]).tolist()  # waits for a GPU once
    if not math.isfinite(loss_value):
        raise FloatingPointError(f"the loss is not finite in step {step}: {loss_value}")
    online.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(online.parameters(), max_grad_norm)
    optimizer.step()
    return loss_value, mean_value


@torch.no_grad()
def _targets(online: nn.Module, target: nn.Module, batch: Transitions, gamma: float, double: bool) -> Tensor:
    next_q = target(batch.next_observations)
    if not double:
        return td_target(batch.rewards, next_q, batch.terminated, gamma=gamma)
    return double_dqn_target(batch.rewards, online(batch.next_observations), next_q, batch.terminated, gamma=gamma)
