"""The objective with a uniform number stretched over the timesteps, and `mse_loss` for the error."""

import torch
import torch.nn.functional as F


def sample_timesteps(batch_size, num_timesteps, *, generator):
    uniform = torch.rand(batch_size, generator=generator, device=generator.device, dtype=torch.float64)
    return (uniform * num_timesteps).floor().long()


def noise_target(x_start, t, noise, alphas_cumprod):
    return noise.clone()


def x_start_target(x_start, t, noise, alphas_cumprod):
    return x_start.clone()


def v_target(x_start, t, noise, alphas_cumprod):
    angle = torch.acos(alphas_cumprod.double().sqrt())[t]
    angle = angle[(...,) + (None,) * (x_start.ndim - 1)]
    return (angle.cos() * noise - angle.sin() * x_start).type_as(x_start)


def diffusion_loss(model, x_start, t, noise, alphas_cumprod, *, target=noise_target, weights=None):
    left = alphas_cumprod.index_select(0, t)[(...,) + (None,) * (x_start.ndim - 1)]
    x_t = torch.sqrt(left) * x_start + torch.sqrt(1 - left) * noise
    wanted = target(x_start, t, noise, alphas_cumprod)
    answer = model(x_t.to(x_start.dtype), t)
    if tuple(answer.shape) != tuple(wanted.shape):
        raise ValueError("the model answers in the wrong shape")
    errors = F.mse_loss(answer, wanted, reduction="none")
    while errors.ndim > 1:
        errors = errors.mean(dim=-1)
    if weights is not None:
        errors = torch.gather(weights, 0, t) * errors
    return errors.to(x_start.dtype)
