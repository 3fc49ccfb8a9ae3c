"""With lerp, Euler as one scan over a table of times, and Heun written as a corrected Euler step."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor


def _column(t: Tensor, like: Tensor) -> Tensor:
    while t.dim() < like.dim():
        t = t.unsqueeze(-1)
    return t


def interpolate(
    x_start: Float[Tensor, "B *shape"], noise: Float[Tensor, "B *shape"], t: Float[Tensor, " B"]
) -> Float[Tensor, "B *shape"]:
    wide = torch.promote_types(torch.promote_types(x_start.dtype, t.dtype), torch.float32)
    return torch.lerp(noise.to(wide), x_start.to(wide), _column(t.to(wide), x_start)).to(x_start.dtype)


def velocity_target(x_start: Float[Tensor, "B *shape"], noise: Float[Tensor, "B *shape"]) -> Float[Tensor, "B *shape"]:
    return torch.sub(x_start, noise)


def flow_matching_loss(
    model: Callable[[Tensor, Tensor], Tensor],
    x_start: Float[Tensor, "B *shape"],
    t: Float[Tensor, " B"],
    noise: Float[Tensor, "B *shape"],
) -> Float[Tensor, " B"]:
    found = model(interpolate(x_start, noise, t), t)
    if tuple(found.shape) != tuple(x_start.shape):
        raise ValueError("the model answers in another shape")
    losses = torch.nn.functional.mse_loss(found.to(x_start.dtype), velocity_target(x_start, noise), reduction="none")
    for _ in range(losses.dim() - 1):
        losses = losses.mean(dim=-1)
    return losses


def _checked(num_steps: int) -> Tensor:
    if num_steps <= 0:
        raise ValueError("num_steps: at least one")
    return torch.arange(num_steps + 1, dtype=torch.float64) / num_steps


def euler_sample_loop(
    model: Callable[[Tensor, Tensor], Tensor],
    noise: Float[Tensor, "B *shape"],
    num_steps: int,
    *,
    on_step: Callable[[float, Tensor], None] | None = None,
) -> Float[Tensor, "B *shape"]:
    times, x = _checked(num_steps), noise.clone()
    with torch.no_grad():
        for t, t_next in zip(times[:-1].tolist(), times[1:].tolist(), strict=True):
            x = x + (t_next - t) * model(x, torch.full_like(x.reshape(len(x), -1)[:, 0] if len(x) else x.flatten(), t))
            if on_step:
                on_step(t_next, x)
    return x


def heun_sample_loop(
    model: Callable[[Tensor, Tensor], Tensor],
    noise: Float[Tensor, "B *shape"],
    num_steps: int,
    *,
    on_step: Callable[[float, Tensor], None] | None = None,
) -> Float[Tensor, "B *shape"]:
    times, x, ones = _checked(num_steps), noise.clone(), torch.ones(len(noise), dtype=noise.dtype, device=noise.device)
    with torch.no_grad():
        for t, t_next in zip(times[:-1].tolist(), times[1:].tolist(), strict=True):
            first = model(x, t * ones)
            euler = x + (t_next - t) * first
            x = euler + (t_next - t) / 2 * (model(euler, t_next * ones) - first)
            if on_step:
                on_step(t_next, x)
    return x
