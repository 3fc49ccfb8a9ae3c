"""All six conversions as one: two factors per sample, applied in the precision of the schedule, sample by row."""

import torch


def x_start_from_noise(x_t, t, noise, alphas_cumprod):
    return _mix(x_t, t, noise, alphas_cumprod, lambda a, s: (1 / a, -s / a))


def noise_from_x_start(x_t, t, x_start, alphas_cumprod):
    return _mix(x_t, t, x_start, alphas_cumprod, lambda a, s: (1 / s, -a / s))


def v_from_noise(x_t, t, noise, alphas_cumprod):
    return _mix(x_t, t, noise, alphas_cumprod, lambda a, s: (-s / a, 1 / a))


def v_from_x_start(x_t, t, x_start, alphas_cumprod):
    return _mix(x_t, t, x_start, alphas_cumprod, lambda a, s: (a / s, -1 / s))


def x_start_from_v(x_t, t, v, alphas_cumprod):
    return _mix(x_t, t, v, alphas_cumprod, lambda a, s: (a, -s))


def noise_from_v(x_t, t, v, alphas_cumprod):
    return _mix(x_t, t, v, alphas_cumprod, lambda a, s: (s, a))


def _mix(x_t, t, other, alphas_cumprod, factors):
    angle = torch.atan2((1 - alphas_cumprod[t]).sqrt(), alphas_cumprod[t].sqrt())
    first, second = factors(alphas_cumprod[t].sqrt(), angle.sin())
    rows = x_t.flatten(1) if x_t.dim() > 1 else x_t[:, None]
    mixed = first[:, None] * rows + second[:, None] * other.reshape(rows.shape)
    return mixed.reshape(x_t.shape).to(x_t.dtype)
