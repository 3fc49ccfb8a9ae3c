"""DDIM through the ratio of levels: x / signal moves along the predicted noise by the change of noise over signal."""

from collections.abc import Callable
from itertools import pairwise

import torch
from jaxtyping import Float, Int64
from torch import Tensor


def ddim_timesteps(num_timesteps: int, num_steps: int) -> Int64[Tensor, " {num_steps}"]:
    if num_steps <= 0 or num_steps > num_timesteps:
        raise ValueError("num_steps!")
    return torch.tensor([num_timesteps * k // num_steps - 1 for k in reversed(range(1, num_steps + 1))])


def ddim_step(
    x_t: Float[Tensor, "B *shape"],
    t: int,
    t_prev: int,
    pred_noise: Float[Tensor, "B *shape"],
    alphas_cumprod: Float[Tensor, " T"],
    *,
    eta: float = 0,
    noise: Float[Tensor, "B *shape"] | None = None,
    clip: float | None = None,
) -> Float[Tensor, "B *shape"]:
    if noise is None and eta:
        raise ValueError("noise!")
    here, there = (1.0 if s == -1 else float(alphas_cumprod[s]) for s in (t, t_prev))
    if clip is not None:
        bound = here**0.5 * clip
        outside = x_t - (1 - here) ** 0.5 * pred_noise
        pred_noise = torch.where(outside > bound, (x_t - bound) / (1 - here) ** 0.5, pred_noise)
        pred_noise = torch.where(outside < -bound, (x_t + bound) / (1 - here) ** 0.5, pred_noise)
    sigma = eta * ((1 - there) / (1 - here) * (1 - here / there)) ** 0.5 if eta else 0.0
    remaining = max(1 - there - sigma**2, 0.0) ** 0.5
    moved = (there / here) ** 0.5 * x_t + (remaining - (there * (1 - here) / here) ** 0.5) * pred_noise
    return moved + sigma * noise if eta else moved


def ddim_sample_loop(
    predict_noise: Callable[[Tensor, Tensor], Tensor],
    x_T: Float[Tensor, "B *shape"],
    alphas_cumprod: Float[Tensor, " T"],
    timesteps: Int64[Tensor, " S"],
    *,
    eta: float = 0,
    generator: torch.Generator | None = None,
    clip: float | None = None,
    on_step: Callable[[int, Tensor], None] | None = None,
) -> Float[Tensor, "B *shape"]:
    if eta and generator is None:
        raise ValueError("eta other than 0 needs a generator")
    x = x_T.clone()
    with torch.no_grad():
        for i in range(len(timesteps)):
            t = int(timesteps[i])
            t_prev = int(timesteps[i + 1]) if i + 1 < len(timesteps) else -1
            noise = torch.empty_like(x).normal_(generator=generator) if eta else None
            pred = predict_noise(x, timesteps[i].repeat(len(x)).to(x.device))
            x = ddim_step(x, t, t_prev, pred, alphas_cumprod, eta=eta, noise=noise, clip=clip)
            if on_step is not None:
                on_step(t, x)
    return x


def ddim_invert(
    predict_noise: Callable[[Tensor, Tensor], Tensor],
    x_start: Float[Tensor, "B *shape"],
    alphas_cumprod: Float[Tensor, " T"],
    timesteps: Int64[Tensor, " S"],
) -> Float[Tensor, "B *shape"]:
    rising = sorted(timesteps.tolist())
    with torch.no_grad():
        least = torch.full((x_start.shape[0],), rising[0], device=x_start.device)
        abar = alphas_cumprod[rising[0]].to(x_start.dtype)
        x = abar.sqrt() * x_start + (1 - abar).sqrt() * predict_noise(x_start, least)
        for t, t_next in pairwise(rising):
            x = ddim_step(x, t, t_next, predict_noise(x, torch.full_like(least, t)), alphas_cumprod)
    return x
