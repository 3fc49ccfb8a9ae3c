"""Deep Q-learning: a network learns the value of every action from its own guess at the next observation.

What keeps it from chasing itself: a second network that follows slowly makes the guess, and no gradient flows into it.
"""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn


def epsilon_at(step: int, *, start: float = 1.0, end: float = 0.05, decay_steps: int) -> float:
    """The share of random actions in this step, counted from 0.

    It goes from `start` to `end` in equal steps, reaches `end` at `decay_steps` and stays there. `decay_steps` ≥ 1.
    `start` and `end` lie in [0, 1].
    """
    if decay_steps < 1:
        raise ValueError(f"decay_steps must be at least 1, got {decay_steps}")
    for name, share in (("start", start), ("end", end)):
        if not 0 <= share <= 1:
            raise ValueError(f"{name} must lie in [0, 1], got {share}")
    done = min(1.0, step / decay_steps)
    return (1 - done) * start + done * end


def td_target(
    rewards: Float[Tensor, " B"], next_q: Float[Tensor, "B K"], terminated: Bool[Tensor, " B"], *, gamma: float
) -> Float[Tensor, " B"]:
    """What Q(s, a) should be: the reward, and the best that the next observation promises.

        y = r + gamma * max_a Q_target(s', a),     y = r where the episode has terminated

    `next_q` are the values of the target network at the true next observation. A time limit is no termination: its
    last observation promises as much as any. Targets carry no gradient. 0 ≤ `gamma` ≤ 1.

    Source: Mnih et al., Human-level control through deep reinforcement learning (Nature, 2015).
    """
    return _target(rewards, next_q.amax(dim=1), terminated, gamma)


def double_dqn_target(
    rewards: Float[Tensor, " B"],
    next_q_online: Float[Tensor, "B K"],
    next_q_target: Float[Tensor, "B K"],
    terminated: Bool[Tensor, " B"],
    *,
    gamma: float,
) -> Float[Tensor, " B"]:
    """The online network chooses the action, the target network says what it is worth.

        y = r + gamma * Q_target(s', argmax_a Q_online(s', a)),     y = r where the episode has terminated

    The largest of noisy values is too large on average. Two networks do not make the same error. If several actions are
    best, any of them is right. Everything else is as in `td_target`.

    Source: van Hasselt, Guez & Silver, Deep Reinforcement Learning with Double Q-learning (arXiv 1509.06461).
    """
    best = next_q_online.argmax(dim=1, keepdim=True)
    return _target(rewards, next_q_target.gather(1, best)[:, 0], terminated, gamma)


def _target(rewards: Tensor, next_values: Tensor, terminated: Tensor, gamma: float) -> Tensor:
    if not 0 <= gamma <= 1:
        raise ValueError(f"gamma must lie in [0, 1], got {gamma}")
    next_values = next_values.to(rewards.dtype).masked_fill(terminated, 0)
    return (rewards + gamma * next_values).detach()


def dqn_loss(q: Float[Tensor, "B K"], actions: Int64[Tensor, " B"], targets: Float[Tensor, " B"]) -> Float[Tensor, ""]:
    """The mean Huber loss of the actions that were taken.

        error = q[i, actions[i]] - targets[i]
        loss = error^2 / 2 where |error| ≤ 1,     |error| - 1/2 elsewhere

    Its slope is the error, cut to [-1, 1]: one surprising reward does not wreck the network. The actions that were not
    taken get no gradient, nor do the targets. An empty batch gives 0.
    """
    error = (q.gather(1, actions[:, None])[:, 0] - targets.detach().to(q.dtype)).abs()
    huber = torch.where(error <= 1, error.square() / 2, error - 0.5)
    return huber.mean() if len(huber) else huber.sum()


@torch.no_grad()
def polyak_update(target: nn.Module, online: nn.Module, *, tau: float) -> None:
    """Moves every parameter of `target` towards `online`, in place.

        target = (1 - tau) * target + tau * online

    `tau` = 1 copies. Buffers (a running mean, a counter) are copied, whatever `tau` is. Only `target` changes.
    0 ≤ `tau` ≤ 1. Both modules have the same architecture.
    """
    if not 0 <= tau <= 1:
        raise ValueError(f"tau must lie in [0, 1], got {tau}")
    for slow, fast in zip(target.parameters(), online.parameters(), strict=True):
        slow.lerp_(fast, tau)
    for slow, fast in zip(target.buffers(), online.buffers(), strict=True):
        slow.copy_(fast)
