"""DDPM by the formula that has the predicted noise in it, one sample at a time; the clip goes through the noise."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int64
from torch import Tensor


def fixed_large_variances(alphas_cumprod: Float[Tensor, " T"]) -> Float[Tensor, " T"]:
    variances = torch.empty_like(alphas_cumprod)
    before = torch.ones_like(alphas_cumprod[0])
    for t, level in enumerate(alphas_cumprod):
        variances[t] = (before - level) / before
        before = level
    return variances


def p_sample(
    x_t: Float[Tensor, "B *shape"],
    t: Int64[Tensor, " B"],
    pred_noise: Float[Tensor, "B *shape"],
    alphas_cumprod: Float[Tensor, " T"],
    *,
    noise: Float[Tensor, "B *shape"],
    variances: Float[Tensor, " T"] | None = None,
    clip: float | None = None,
) -> Float[Tensor, "B *shape"]:
    rows = []
    for x, step, eps, z in zip(x_t, t.tolist(), pred_noise, noise, strict=True):
        abar = float(alphas_cumprod[step])
        before = float(alphas_cumprod[step - 1]) if step else 1.0
        beta = 1 - abar / before
        if clip is not None:
            guess = torch.clamp((x - (1 - abar) ** 0.5 * eps) / abar**0.5, min=-clip, max=clip)
            eps = (x - abar**0.5 * guess) / (1 - abar) ** 0.5
        row = (x - beta / (1 - abar) ** 0.5 * eps) / (1 - beta) ** 0.5
        if step:
            variance = beta * (1 - before) / (1 - abar) if variances is None else float(variances[step])
            row = row + variance**0.5 * z
        rows.append(row)
    return torch.stack(rows) if rows else torch.zeros_like(x_t)


def p_sample_loop(
    predict_noise: Callable[[Tensor, Tensor], Tensor],
    x_T: Float[Tensor, "B *shape"],
    alphas_cumprod: Float[Tensor, " T"],
    *,
    generator: torch.Generator,
    variances: Float[Tensor, " T"] | None = None,
    clip: float | None = None,
    on_step: Callable[[int, Tensor], None] | None = None,
) -> Float[Tensor, "B *shape"]:
    x, step = x_T.clone(), alphas_cumprod.shape[0]
    with torch.no_grad():
        while step:
            step -= 1
            noise = torch.zeros_like(x) if step == 0 else torch.empty_like(x).normal_(generator=generator)
            t = torch.zeros(x.shape[0], dtype=torch.long, device=x.device) + step
            x = p_sample(x, t, predict_noise(x, t), alphas_cumprod, noise=noise, variances=variances, clip=clip)
            if on_step:
                on_step(step, x)
    return x
