"""The forward process sample by sample, in the precision of the schedule to the end."""

import torch


def extract(values, t, x):
    number = values.gather(0, t).type_as(x)
    while number.dim() < x.dim():
        number = number.unsqueeze(-1)
    return number


def q_sample(x_start, t, noise, alphas_cumprod):
    x_t = torch.empty_like(x_start)
    for i, (clean, step, eps) in enumerate(zip(x_start, t, noise, strict=True)):
        left = alphas_cumprod[step]
        x_t[i] = left**0.5 * clean + (1 - left) ** 0.5 * eps
    return x_t
