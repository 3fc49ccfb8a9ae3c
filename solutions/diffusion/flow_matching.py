"""Flow matching: a straight line from noise to a sample, and a network that learns the velocity along it.

There is no schedule. Time runs from 0, pure noise, to 1, the clean sample: not as timesteps do. A sampler follows the
velocity by solving a differential equation, so its error is that of the solver.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor


def interpolate(
    x_start: Float[Tensor, "B *shape"], noise: Float[Tensor, "B *shape"], t: Float[Tensor, " B"]
) -> Float[Tensor, "B *shape"]:
    """Each sample on its line at its own time t in [0, 1]:

        x_t = (1 - t) * noise + t * x_start

    So x_0 is the noise and x_1 the clean sample. Both factors are computed in the dtype of `t`.

    Source: Liu et al., Flow Straight and Fast (arXiv 2209.03003); the optimal-transport path of Lipman et al., Flow
    Matching for Generative Modeling (arXiv 2210.02747), with sigma_min = 0.
    """
    shape = (-1, *[1] * (x_start.dim() - 1))
    return (1 - t).to(x_start.dtype).reshape(shape) * noise + t.to(x_start.dtype).reshape(shape) * x_start


def velocity_target(x_start: Float[Tensor, "B *shape"], noise: Float[Tensor, "B *shape"]) -> Float[Tensor, "B *shape"]:
    """What the network should answer at every time: x_start - noise, the derivative of x_t with respect to t."""
    return x_start - noise


def flow_matching_loss(
    model: Callable[[Tensor, Tensor], Tensor],
    x_start: Float[Tensor, "B *shape"],
    t: Float[Tensor, " B"],
    noise: Float[Tensor, "B *shape"],
) -> Float[Tensor, " B"]:
    """The loss of each sample: the squared error of `model(x_t, t)`, averaged over the elements of the sample.

    x_t is `interpolate` of the samples. The model is called once, with the whole batch and the given t, and should
    answer `velocity_target`. The loss has the dtype of `x_start`. Training draws t uniformly from [0, 1] and minimises
    the mean. A `model` that answers in another shape than the samples is refused, since it would broadcast.

    The best answer is the mean velocity of all lines that pass through x_t, so the learned paths are curved where lines
    cross.
    """
    answer = model(interpolate(x_start, noise, t), t)
    if answer.shape != x_start.shape:
        shapes = f"{tuple(x_start.shape)}, got {tuple(answer.shape)}"
        raise ValueError(f"model must answer in the shape of the samples, {shapes}")
    squared_error = (answer.to(x_start.dtype) - velocity_target(x_start, noise)) ** 2
    return squared_error[:, None].flatten(1).mean(dim=1)  # [:, None]: samples may be single numbers


@torch.no_grad()
def euler_sample_loop(
    model: Callable[[Tensor, Tensor], Tensor],
    noise: Float[Tensor, "B *shape"],
    num_steps: int,
    *,
    on_step: Callable[[float, Tensor], None] | None = None,
) -> Float[Tensor, "B *shape"]:
    """From noise at t = 0 to samples at t = 1, in `num_steps` >= 1 equal steps of Euler's method:

        x <- x + model(x, t) / num_steps        at t = i / num_steps, i = 0 ... num_steps - 1

    `model` is told t as a tensor (B,) in the dtype of `noise`. After each step `on_step(t, x)` is called with the time
    that was reached, as a float, exactly 1.0 in the end, and with the sample there. The error falls like 1 / num_steps.
    Straight paths have none: one step is enough.
    """
    return _solve(lambda x, t, t_next: model(x, t), noise, num_steps, on_step)


@torch.no_grad()
def heun_sample_loop(
    model: Callable[[Tensor, Tensor], Tensor],
    noise: Float[Tensor, "B *shape"],
    num_steps: int,
    *,
    on_step: Callable[[float, Tensor], None] | None = None,
) -> Float[Tensor, "B *shape"]:
    """As `euler_sample_loop`, with two calls of `model` a step: Heun's method.

        first  = model(x, t)                                   at t = i / num_steps
        second = model(x + first / num_steps, t_next)          at t_next = (i + 1) / num_steps, where Euler arrives
        x     <- x + (first + second) / 2 / num_steps

    The error falls like 1 / num_steps**2. The last call is at t = 1 exactly.
    """

    def slope(x: Tensor, t: Tensor, t_next: Tensor) -> Tensor:
        first = model(x, t)
        return (first + model(x + first / num_steps, t_next)) / 2

    return _solve(slope, noise, num_steps, on_step)


def _solve(
    slope: Callable[[Tensor, Tensor, Tensor], Tensor],
    x: Float[Tensor, "B *shape"],
    num_steps: int,
    on_step: Callable[[float, Tensor], None] | None,
) -> Float[Tensor, "B *shape"]:
    if num_steps < 1:
        raise ValueError(f"num_steps must be at least 1, got {num_steps}")
    for i in range(num_steps):  # a recurrence: every step starts where the one before has led
        t, t_next = (x.new_full((len(x),), step / num_steps) for step in (i, i + 1))  # not added up: it ends at 1
        x = x + slope(x, t, t_next) / num_steps
        if on_step is not None:
            on_step((i + 1) / num_steps, x)
    return x
