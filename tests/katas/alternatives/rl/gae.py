"""gae, step by step from behind, as most implementations write it."""

import torch

from solutions.rl.gae import Advantages


def compute_gae(rewards, values, next_values, terminated, truncated, *, gamma=0.99, gae_lambda=0.95):
    if not 0 <= gamma <= 1:
        raise ValueError("gamma")
    if not 0 <= gae_lambda <= 1:
        raise ValueError("gae_lambda")
    with torch.no_grad():
        values, next_values = values.to(rewards.dtype), next_values.to(rewards.dtype)
        result, last = torch.empty_like(rewards), 0.0
        for t in reversed(range(len(rewards))):
            delta = rewards[t] + gamma * torch.where(terminated[t], 0.0, next_values[t]) - values[t]
            last = delta + torch.where(terminated[t] | truncated[t], 0.0, gamma * gae_lambda * last)
            result[t] = last
        return Advantages(result, result + values)
