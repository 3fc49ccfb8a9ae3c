"""Training: everything before becomes a loop, and the loop can be stopped and resumed.

What can go wrong is the range of the pixels, the label that is never dropped, the average that is never
updated, and a resumed run that is not the run that was stopped.
"""

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from .ema import EMA
from .guidance import drop_labels
from .objective import diffusion_loss, noise_target, sample_timesteps


class TrainReport(NamedTuple):
    """What `train_diffusion` tells after a step, in plain numbers: the mean loss of the batch before the update,
    the norm of the gradient before clipping, and the learning rate that the first parameter group had in this
    step, warm-up included."""

    step: int
    loss: float
    grad_norm: float
    learning_rate: float


def to_model_range(images: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Pixels in [0, 1] become numbers in [-1, 1], as the network sees them: around 0, like the noise."""
    raise NotImplementedError


def to_image_range(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Numbers in [-1, 1] become pixels in [0, 1]; what lies outside is cut."""
    raise NotImplementedError


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
    """Trains `model`, in place, on random batches of `samples`, for the steps `first_step` ... steps - 1.

    Each step draws `batch_size` samples, uniformly and with replacement, a timestep and standard normal noise
    for each of them, in the dtype of the samples, and minimises the mean of `diffusion_loss` with this `target`
    and these `weights`. The model is called as `model(x_t, t)`, or, with `labels`, as `model(x_t, t, labels)`
    with the labels of the drawn samples, of which a share of `drop_probability` is replaced by `null_label` (see
    `drop_labels`). All randomness comes from `generator`; samples, labels, schedule, generator and model are on
    one device.

    The gradient of this batch alone is scaled down to the norm `max_grad_norm`, over all parameters of the
    model together, if it is longer; then the optimizer steps, with the learning rate that every parameter group
    has by then (the callback may change it) multiplied by min(1, (step + 1) / warmup_steps), and put back right
    afterwards; then `ema`, if given, is updated. The
    model is in training mode at each step, whatever the callback did to it. `on_step(report)` is called after
    each step, when all of this is done: a checkpoint saved there with the number of the next step,
    report.step + 1, as `step` loses nothing. From such a checkpoint, `first_step` continues the run to the
    bit.

    A loss that is not finite raises a FloatingPointError that names the step, before it goes backward: weights,
    average and the optimizer's state stay as they are. Labels without `null_label` are refused with a ValueError that names `null_label`.
    """
    raise NotImplementedError


def save_checkpoint(
    path: Path,
    *,
    step: int,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
    ema: EMA | None = None,
) -> None:
    """Writes everything that the rest of a run depends on into one file: the number of the next step,
    weights, the optimizer's and the average's state, the state of the generator.

    The file is complete or not there: it is written beside `path` first and then moved over it, so that a run
    that is killed while saving still has its last checkpoint. It can be read with `torch.load(path,
    weights_only=True)`.
    """
    raise NotImplementedError


def load_checkpoint(
    path: Path,
    *,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
    ema: EMA | None = None,
) -> int:
    """Puts everything back as it was saved, in place, and returns the number of the next step.

    Works on any device: weights go where the model is. An `ema` for a file that was saved without one is
    refused with a ValueError that names `ema`, before anything is changed; without `ema`, an average in the file
    is left alone.
    """
    raise NotImplementedError
