"""dqn, transition by transition, with PyTorch's Huber loss."""

import torch
from torch.nn import functional as F


def epsilon_at(step, *, start=1.0, end=0.05, decay_steps):
    if decay_steps < 1:
        raise ValueError("decay_steps")
    if not 0 <= start <= 1:
        raise ValueError("start")
    if not 0 <= end <= 1:
        raise ValueError("end")
    if step >= decay_steps:
        return float(end)
    return (start * (decay_steps - step) + end * step) / decay_steps


def td_target(rewards, next_q, terminated, *, gamma):
    return double_dqn_target(rewards, next_q, next_q, terminated, gamma=gamma)


@torch.no_grad()
def double_dqn_target(rewards, next_q_online, next_q_target, terminated, *, gamma):
    if gamma < 0 or gamma > 1:
        raise ValueError("gamma")
    targets = rewards.clone()
    for i, ended in enumerate(terminated.tolist()):
        if not ended:
            targets[i] += gamma * next_q_target[i, next_q_online[i].argmax()]
    return targets


def dqn_loss(q, actions, targets):
    if len(q) == 0:
        return q.sum()
    return F.smooth_l1_loss(q[torch.arange(len(q), device=q.device), actions], targets.to(q).detach())


def polyak_update(target, online, *, tau):
    if tau < 0 or tau > 1:
        raise ValueError("tau")
    with torch.no_grad():
        for name, slow in target.named_parameters():
            slow.mul_(1 - tau).add_(online.get_parameter(name) * tau)
        for name, buffer in target.named_buffers():
            buffer[...] = online.get_buffer(name)
