"""The same loop in another order: multinomial indices, a clip and a file format of its own."""

import copy
import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from .ema import EMA
from .guidance import drop_labels
from .objective import diffusion_loss, noise_target


class TrainReport(NamedTuple):
    step: int
    loss: float
    grad_norm: float
    learning_rate: float


def to_model_range(images: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    return (images - 0.5) / 0.5


def to_image_range(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    return 0.5 * x.clip(-1, 1) + 0.5


def train_diffusion(
    model: nn.Module,
    samples: Float[Tensor, "N *shape"],
    alphas_cumprod: Float[Tensor, " T"],
    optimizer: torch.optim.Optimizer,
    *,
    steps: int,
    generator: torch.Generator,
    first_step: int = 0,
    batch_size: int = 128,
    labels: Int64[Tensor, " N"] | None = None,
    null_label: int | None = None,
    drop_probability: float = 0.1,
    target: Callable[..., Tensor] = noise_target,
    weights: Float[Tensor, " T"] | None = None,
    ema: EMA | None = None,
    warmup_steps: int = 0,
    max_grad_norm: float = 1.0,
    on_step: Callable[[TrainReport], None] | None = None,
) -> None:
    if labels is not None and null_label is None:
        raise ValueError("null_label!")
    for step in range(first_step, steps):
        noise = torch.empty(batch_size, *samples.shape[1:], dtype=samples.dtype, device=samples.device).normal_(
            generator=generator
        )
        t = torch.ones(len(alphas_cumprod), device=samples.device).multinomial(
            batch_size, replacement=True, generator=generator
        )
        index = (
            torch.rand(batch_size, generator=generator, dtype=torch.float64, device=samples.device) * len(samples)
        ).long()
        condition = ()
        if labels is not None:
            condition = (drop_labels(labels[index], null_label, drop_probability, generator=generator),)
        model.train()
        losses = diffusion_loss(
            lambda x, t, condition=condition: model(x, t, *condition),
            samples[index],
            t,
            noise,
            alphas_cumprod,
            target=target,
            weights=weights,
        )
        report = update(model, optimizer, losses.sum() / batch_size, step, warmup_steps, max_grad_norm)
        for gone in model.parameters():
            gone.grad = None
        if ema:
            ema.update(model)
        if on_step:
            on_step(report)


def update(model, optimizer, loss, step, warmup_steps, max_grad_norm):
    if not torch.isfinite(loss):
        raise FloatingPointError(f"step {step}: {float(loss)}")
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    found = zip(trainable, torch.autograd.grad(loss, trainable, allow_unused=True), strict=True)
    pairs = [(parameter, gradient) for parameter, gradient in found if gradient is not None]
    norm = math.sqrt(sum(float((gradient.double() ** 2).sum()) for _, gradient in pairs))
    for parameter, gradient in pairs:
        parameter.grad = gradient if norm <= max_grad_norm else gradient * (max_grad_norm / norm)
    kept = copy.copy([group["lr"] for group in optimizer.param_groups])
    share = 1.0 if step + 1 >= warmup_steps else (step + 1) / warmup_steps
    for group in optimizer.param_groups:
        group["lr"] = group["lr"] * share
    told = float(optimizer.param_groups[0]["lr"])
    optimizer.step()
    for group, rate in zip(optimizer.param_groups, kept, strict=True):
        group["lr"] = rate
    return TrainReport(step, float(loss), norm, told)


def save_checkpoint(
    path: Path | str,
    *,
    step: int,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
    ema: EMA | None = None,
) -> None:
    parts = [step, model.state_dict(), optimizer.state_dict(), generator.get_state()]
    if ema is not None:
        parts.append(ema.state_dict())
    buffer = io.BytesIO()
    torch.save(parts, buffer)
    beside = Path(str(path) + "~")
    beside.write_bytes(buffer.getvalue())
    beside.rename(Path(path))


def load_checkpoint(
    path: Path | str,
    *,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
    ema: EMA | None = None,
) -> int:
    step, weights, state, noise, *average = torch.load(path, weights_only=True, map_location=torch.device("cpu"))
    if ema is not None:
        if not average:
            raise ValueError("no ema!")
        ema.load_state_dict(average[0])
    model.load_state_dict(weights)
    optimizer.load_state_dict(state)
    generator.set_state(noise)
    return step
