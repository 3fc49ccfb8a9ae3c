"""DDIM: the same network in a sampler that can be deterministic and can skip timesteps.

The noise prediction tells where the clean sample lies and in which direction the noise lies. With both, one step can
lead to any earlier timestep.
"""

from collections.abc import Callable
from itertools import pairwise

import torch
from jaxtyping import Float, Int64
from torch import Tensor


def ddim_timesteps(num_timesteps: int, num_steps: int) -> Int64[Tensor, " {num_steps}"]:
    """`num_steps` timesteps to visit, from the last, T - 1, downwards:

        T * (num_steps - i) // num_steps - 1                        i = 0 ... num_steps - 1

    They are evenly spaced, rounded down. The first is always T - 1, where sampling starts from pure noise. The last is
    0 only if every timestep is visited; the step from it leads to the clean sample. `num_steps` lies in 1 ...
    num_timesteps.

    Source: the "trailing" spacing of Lin et al., Common Diffusion Noise Schedules and Sample Steps are Flawed (arXiv
    2305.08891), here in integers.
    """
    if not 1 <= num_steps <= num_timesteps:
        raise ValueError(f"num_steps must lie in 1 ... {num_timesteps}, got {num_steps}")
    left = torch.arange(num_steps, 0, -1)
    return num_timesteps * left // num_steps - 1


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
    """One step of the whole batch from timestep `t` to `t_prev`. -1 is the clean sample.

        abar, abar_prev = alphas_cumprod[t], alphas_cumprod[t_prev]                    1 at timestep -1
        x_start = (x_t - sqrt(1 - abar) * pred_noise) / sqrt(abar)
        sigma = eta * sqrt((1 - abar_prev) / (1 - abar)) * sqrt(1 - abar / abar_prev)
        result = sqrt(abar_prev) * x_start + sqrt(1 - abar_prev - sigma**2) * pred_noise + sigma * noise

    With `clip`, x_start is cut to [-clip, clip], and `pred_noise` becomes the noise that belongs to the cut x_start, so
    both still combine to x_t. eta = 0 is deterministic. Any other `eta` needs `noise`. With eta = 0 and without `clip`
    the step may also lead up, to `t_prev` > t, and start at t = -1. eta = 1 has the mean and the variance of DDPM's
    step. The result stays finite where rounding makes 1 - abar_prev - sigma**2 negative.

    Source: Song et al., Denoising Diffusion Implicit Models (arXiv 2010.02502), equations 12 and 16. Their alpha is our
    alphas_cumprod.
    """
    if eta != 0 and noise is None:
        raise ValueError(f"noise is needed for eta = {eta}")
    levels = torch.cat((alphas_cumprod, alphas_cumprod.new_ones(1)))  # levels[-1] is the clean sample's
    abar, abar_prev = levels[t], levels[t_prev]
    signal, sigma = abar.sqrt().to(x_t.dtype), (1 - abar).sqrt().to(x_t.dtype)
    x_start = (x_t - sigma * pred_noise) / signal
    if clip is not None:
        x_start = x_start.clamp(-clip, clip)
        pred_noise = (x_t - signal * x_start) / sigma
    if eta == 0:
        return abar_prev.sqrt().to(x_t.dtype) * x_start + (1 - abar_prev).sqrt().to(x_t.dtype) * pred_noise
    variance = eta**2 * (1 - abar_prev) / (1 - abar) * (1 - abar / abar_prev)
    # at eta = 1 and abar near 0 the difference is 0 but for rounding, which may be negative
    direction = (1 - abar_prev - variance).clamp(min=0).sqrt()
    result = abar_prev.sqrt().to(x_t.dtype) * x_start + direction.to(x_t.dtype) * pred_noise
    return result + variance.sqrt().to(x_t.dtype) * noise


@torch.no_grad()
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
    """From pure noise `x_T` to samples: a `ddim_step` from each of the falling `timesteps` to the next one in the
    list, and from the last of them to the clean sample.

    `predict_noise(x, t)` is called once per step, with t as an int64 tensor (B,). For `eta` other than 0 each step
    draws fresh noise, independent for every element, from `generator`, which is then needed. After each step
    `on_step(t, x)` is called with the timestep t that the step started from, as an int, and the sample x that it led
    to.
    """
    if eta != 0 and generator is None:
        raise ValueError(f"generator is needed for eta = {eta}")
    x = x_T
    path = [*timesteps.tolist(), -1]
    for t, t_prev in pairwise(path):  # a recurrence: every step starts from the one before
        at_t = torch.full((len(x),), t, dtype=torch.int64, device=x.device)
        noise = None
        if eta != 0:
            noise = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)
        x = ddim_step(x, t, t_prev, predict_noise(x, at_t), alphas_cumprod, eta=eta, noise=noise, clip=clip)
        if on_step is not None:
            on_step(t, x)
    return x


@torch.no_grad()
def ddim_invert(
    predict_noise: Callable[[Tensor, Tensor], Tensor],
    x_start: Float[Tensor, "B *shape"],
    alphas_cumprod: Float[Tensor, " T"],
    timesteps: Int64[Tensor, " S"],
) -> Float[Tensor, "B *shape"]:
    """The deterministic path in the other direction, from clean samples to the noise from which `ddim_sample_loop`
    leads back to them.

    Visits the falling `timesteps` from the last to the first. The first step leads from the clean samples (timestep -1)
    to the last of `timesteps`, the least noisy one, with the noise predicted for the clean samples at that timestep.
    Every further step, from x at timestep t up to t_next, uses the noise predicted for x at t. `predict_noise` is
    called as in `ddim_sample_loop`, but not at the first of `timesteps`, unless it is the only one. The round trip is
    exact in the limit of many steps.

    Source: Song et al., Denoising Diffusion Implicit Models (arXiv 2010.02502).
    """
    x = x_start
    path = [-1, *timesteps.flip(0).tolist()]
    for t, t_next in pairwise(path):  # a recurrence: every step starts from the one before
        at_t = torch.full((len(x),), max(t, path[1]), dtype=torch.int64, device=x.device)
        x = ddim_step(x, t, t_next, predict_noise(x, at_t), alphas_cumprod)
    return x
