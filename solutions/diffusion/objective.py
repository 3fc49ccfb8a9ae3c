"""The objective: make a noisy sample, ask the network what was added, compare.

Each sample of the batch gets one random timestep from the whole range. The error is one mean square per sample.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from .forward_process import extract, q_sample


def sample_timesteps(
    batch_size: int, num_timesteps: int, *, generator: torch.Generator
) -> Int64[Tensor, " {batch_size}"]:
    """One timestep per sample, independent and uniform on 0 ... num_timesteps - 1, both ends included.

    The result is on the device of `generator`.
    """
    return torch.randint(num_timesteps, (batch_size,), generator=generator, device=generator.device)


def noise_target(
    x_start: Float[Tensor, "B *shape"],
    t: Int64[Tensor, " B"],
    noise: Float[Tensor, "B *shape"],
    alphas_cumprod: Float[Tensor, " T"],
) -> Float[Tensor, "B *shape"]:
    """What a network that predicts the noise should answer: the noise."""
    return noise


def x_start_target(
    x_start: Float[Tensor, "B *shape"],
    t: Int64[Tensor, " B"],
    noise: Float[Tensor, "B *shape"],
    alphas_cumprod: Float[Tensor, " T"],
) -> Float[Tensor, "B *shape"]:
    """What a network that predicts the clean sample should answer: the clean sample."""
    return x_start


def v_target(
    x_start: Float[Tensor, "B *shape"],
    t: Int64[Tensor, " B"],
    noise: Float[Tensor, "B *shape"],
    alphas_cumprod: Float[Tensor, " T"],
) -> Float[Tensor, "B *shape"]:
    """What a network that predicts the velocity should answer:

        v = sqrt(alphas_cumprod[t]) * noise - sqrt(1 - alphas_cumprod[t]) * x_start

    Source: Salimans & Ho, Progressive Distillation for Fast Sampling of Diffusion Models (arXiv 2202.00512).
    """
    signal, sigma = alphas_cumprod.sqrt(), (1 - alphas_cumprod).sqrt()
    return extract(signal, t, x_start) * noise - extract(sigma, t, x_start) * x_start


def diffusion_loss(
    model: Callable[[Tensor, Tensor], Tensor],
    x_start: Float[Tensor, "B *shape"],
    t: Int64[Tensor, " B"],
    noise: Float[Tensor, "B *shape"],
    alphas_cumprod: Float[Tensor, " T"],
    *,
    target: Callable[..., Tensor] = noise_target,
    weights: Float[Tensor, " T"] | None = None,
) -> Float[Tensor, " B"]:
    """The loss of each sample: the squared error of `model(x_t, t)`, averaged over the elements of the sample.

    x_t is `q_sample` of the clean samples. The model is called once, with the whole batch. It should answer
    `target(x_start, t, noise, alphas_cumprod)`: one of the three targets above, or any function of four positional
    arguments. With `weights`, one number per timestep, the loss of a sample is multiplied by the weight of its t. The
    loss has the dtype of `x_start`, whatever the model and the target answer. Training minimises its mean. A `model`
    that answers in another shape than the samples is refused, since it would broadcast.

    Source: Ho et al., Denoising Diffusion Probabilistic Models (arXiv 2006.11239), equation 14.
    """
    prediction = model(q_sample(x_start, t, noise, alphas_cumprod), t)
    if prediction.shape != x_start.shape:
        shapes = f"{tuple(x_start.shape)}, got {tuple(prediction.shape)}"
        raise ValueError(f"model must answer in the shape of the samples, {shapes}")
    wanted = target(x_start, t, noise, alphas_cumprod).to(x_start.dtype)
    squared_error = (prediction.to(x_start.dtype) - wanted) ** 2
    loss = squared_error[:, None].flatten(1).mean(dim=1)  # [:, None]: samples may be single numbers
    return loss if weights is None else loss * weights[t].to(loss.dtype)
