"""The forward process sample by sample, in the precision of the schedule to the end."""

import torch


def extract(values, t, x):
    number = values.gather(0, t).type_as(x)
    while number.dim() < x.dim():
        number = number.unsqueeze(-1)
    return number


def q_sample(x_start, t, noise, alphas_cumprod):
    samples = []
    for clean, step, eps in zip(x_start, t, noise, strict=True):
        left = alphas_cumprod[step]
        samples.append((left**0.5 * clean + (1 - left) ** 0.5 * eps).to(x_start.dtype))
    return torch.stack(samples)
