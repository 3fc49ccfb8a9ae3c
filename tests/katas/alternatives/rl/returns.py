"""returns: as a product with a matrix, and one reward more for all steps at once."""

import torch


def discounted_returns(rewards, episode_ends, *, gamma):
    if not (gamma >= 0 and gamma <= 1):
        raise ValueError("gamma")
    rewards = rewards.detach()
    flat = rewards.flatten(1) if rewards.dim() > 1 else rewards[:, None]
    episode = (episode_ends.long().cumsum(0) - episode_ends.long()).reshape(flat.shape)
    steps = torch.arange(len(rewards), device=rewards.device)
    ahead = steps[None, :] - steps[:, None]
    weights = torch.where(ahead >= 0, float(gamma) ** ahead.clamp(min=0).to(rewards.dtype), 0)
    columns = [(weights * (e[:, None] == e[None, :])) @ r for e, r in zip(episode.T, flat.T, strict=True)]
    return torch.stack(columns, dim=1).reshape(rewards.shape) if columns else rewards.clone()


def n_step_returns(rewards, next_values, terminated, truncated, *, gamma, n):
    if not (gamma >= 0 and gamma <= 1):
        raise ValueError("gamma")
    if n <= 0:
        raise ValueError("n")
    rewards, next_values = rewards.detach(), next_values.to(rewards.dtype)
    length, start = len(rewards), torch.arange(len(rewards), device=rewards.device)
    result, alive = torch.zeros_like(rewards), torch.ones_like(terminated)
    for k in range(min(n, length)):
        t = (start + k).clamp(max=length - 1)
        last = terminated[t] | truncated[t] | ((t == length - 1) | (k == n - 1)).reshape(-1, *[1] * (rewards.dim() - 1))
        result = result + torch.where(alive, gamma**k * rewards[t], 0)
        result = result + torch.where(alive & last & ~terminated[t], gamma ** (k + 1) * next_values.detach()[t], 0)
        alive = alive & ~last
    return result
