"""Schedules with numpy and plain loops, as the early codes had them."""

import math

import numpy as np
import torch


def linear_beta_schedule(num_timesteps, *, beta_start=1e-4, beta_end=0.02, max_beta=0.999):
    if not num_timesteps > 0:
        raise ValueError("num_timesteps: at least one, please")
    factor = 1000.0 / num_timesteps
    betas = np.linspace(factor * beta_start, factor * beta_end, num_timesteps, dtype=np.float64)
    return torch.from_numpy(np.minimum(betas, max_beta))


def cosine_beta_schedule(num_timesteps, *, s=0.008, max_beta=0.999):
    return _from_curve(num_timesteps, lambda u: math.cos((u + s) / (1 + s) * math.pi / 2) ** 2, max_beta)


def sigmoid_beta_schedule(num_timesteps, *, start=-3, end=3, tau=1, max_beta=0.999):
    def g(u):
        return 0.5 * (1 + math.tanh((start * (1 - u) + end * u) / tau / 2))

    return _from_curve(num_timesteps, lambda u: (g(1) - g(u)) / (g(1) - g(0)), max_beta)


def alphas_cumprod(betas):
    return torch.exp(torch.log1p(-betas).cumsum(0))


def snr(alphas_cumprod):
    return 1 / (1 / alphas_cumprod - 1)


def _from_curve(num_timesteps, left, max_beta):
    if num_timesteps < 1:
        raise ValueError("num_timesteps: at least one, please")
    betas = []
    for t in range(num_timesteps):
        now, after = left(t / num_timesteps), left((t + 1) / num_timesteps)
        betas.append(min((now - after) / now, max_beta))
    return torch.tensor(betas, dtype=torch.float64)
