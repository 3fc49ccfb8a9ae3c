"""The same loop as a generator of steps: filtered by hand, gradients by autograd.grad, targets with a graph."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import nn

from .dqn import double_dqn_target, dqn_loss, epsilon_at, polyak_update, td_target
from .replay_buffer import ReplayBuffer


class DQNReport(NamedTuple):
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
    if not envs.num_actions:
        raise ValueError("envs!")
    if target_every <= 0 or updates_per_step <= 0:
        raise ValueError("target_every and updates_per_step!")
    if max(learning_starts, batch_size) > buffer.capacity:
        raise ValueError("learning_starts and batch_size!")

    def epsilon_of(step: int) -> float:
        return epsilon_at(step, start=epsilon_start, end=epsilon_end, decay_steps=epsilon_decay_steps)

    def learn(step: int) -> tuple[float, float]:
        batch = buffer.sample(batch_size, generator=generator)
        q, after = online(batch.observations), target(batch.next_observations)
        if double:
            wanted = double_dqn_target(
                batch.rewards, online(batch.next_observations), after, batch.terminated, gamma=gamma
            )
        else:
            wanted = td_target(batch.rewards, after, batch.terminated, gamma=gamma)
        loss = dqn_loss(q, batch.actions, wanted)
        if not torch.isfinite(loss):
            raise FloatingPointError(f"step {step}")
        parameters = list(online.parameters())
        gradients = torch.autograd.grad(loss, parameters)
        norm = torch.cat([gradient.flatten() for gradient in gradients]).norm()
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient * (max_grad_norm / norm) if norm > max_grad_norm else gradient
        optimizer.step()
        return loss.item(), q[range(batch_size), batch.actions].mean().item()

    for step in _played(online, envs, buffer, range(first_step, steps), epsilon_of, generator):
        told = []
        if len(buffer) >= batch_size and len(buffer) >= learning_starts:
            told = [learn(step) for _ in range(updates_per_step)]
        if step % target_every == target_every - 1:
            polyak_update(target, online, tau=tau)
        if on_step:
            loss, mean_q = torch.tensor(told, dtype=torch.float64).reshape(-1, 2).mean(dim=0).tolist()
            on_step(DQNReport(step, epsilon_of(step), loss, mean_q))


def _played(online, envs, buffer, numbers: range, epsilon_of, generator) -> Iterator[int]:
    """Plays a step, stores its transitions, and hands its number out."""
    now, ended = envs.reset(), None
    for step in numbers:
        with torch.no_grad():
            actions = online(now).max(dim=1).indices
        explores = torch.full((envs.num_envs,), epsilon_of(step), dtype=torch.float64, device=now.device)
        explores = torch.bernoulli(explores, generator=generator) == 1
        evenly = torch.ones(envs.num_actions, device=now.device)
        drawn = torch.multinomial(evenly, envs.num_envs, replacement=True, generator=generator)
        actions = torch.where(explores, drawn, actions)
        after, rewards, terminated, truncated = envs.step(actions)
        kept = torch.ones_like(terminated) if ended is None else ~ended
        buffer.add(now[kept], actions[kept], rewards[kept], after[kept], terminated[kept])
        now, ended = after, terminated | truncated
        yield step
