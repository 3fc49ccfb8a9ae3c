"""sac, with the density by torch.distributions' tanh and losses case by case."""

import math

import torch
from torch.distributions import Normal, TanhTransform

from solutions.rl.sac import SquashedSample


def squashed_gaussian_sample(mean, log_std, *, generator):
    std = torch.exp(log_std).to(mean) + torch.zeros_like(mean)
    drawn = torch.empty_like(mean, requires_grad=False).normal_(generator=generator)
    before = mean + drawn * std
    density = Normal(mean, std, validate_args=False).log_prob(before)
    slope = TanhTransform().log_abs_det_jacobian(before, None)
    return SquashedSample(torch.tanh(before), torch.sum(density - slope, -1))


@torch.no_grad()
def sac_critic_target(rewards, next_q1, next_q2, next_log_probs, terminated, *, temperature, gamma):
    if gamma < 0 or gamma > 1:
        raise ValueError("gamma")
    worth = torch.where(next_q1 < next_q2, next_q1, next_q2).sub(temperature.mul(next_log_probs))
    return torch.where(terminated, rewards, rewards + (gamma * worth).to(rewards))


def sac_actor_loss(q1, q2, log_probs, *, temperature):
    if len(q1) == 0:
        return (q1 + q2 + log_probs).sum()
    lower = torch.stack([q1, q2.to(q1)]).amin(dim=0)
    return -(lower.mean() - temperature.item() * log_probs.to(q1).mean())


def temperature_loss(log_temperature, log_probs, *, target_entropy):
    if len(log_probs) == 0:
        return 0 * log_temperature
    entropy = -log_probs.mean().item()
    assert math.isfinite(entropy)
    return log_temperature.exp() * (entropy - target_entropy)
