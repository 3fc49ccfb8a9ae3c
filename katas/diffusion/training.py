"""Training: everything so far becomes a loop that can be stopped and resumed.

What goes wrong here: pixels left in [0, 1], labels that are never dropped, an average that is never updated, and a
resumed run that differs from the run that was stopped.
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
    """What `train_diffusion` reports after a step, in Python numbers."""

    step: int
    loss: float  # mean over the batch, before the update
    grad_norm: float  # before clipping
    learning_rate: float  # of the first parameter group in this step, warm-up included


def to_model_range(images: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Pixels in [0, 1] become numbers in [-1, 1], which are centred at 0 like the noise."""
    raise NotImplementedError


def to_image_range(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Numbers in [-1, 1] become pixels in [0, 1]. Numbers outside are clamped."""
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
    """Trains `model` in place on random batches of `samples`, for the steps `first_step` ... steps - 1.

    A step draws `batch_size` samples with replacement, and a timestep and standard normal noise for each. It calls
    `model(x_t, t)`, or `model(x_t, t, labels)` after `drop_labels`. With the mean of `diffusion_loss` as its loss it
    goes on in this order:

        1. the gradients of all parameters of the model are cleared, those outside the optimizer too, and computed anew;
           if their joint norm is above `max_grad_norm`, they are scaled down to it
        2. the optimizer steps; every group's rate is multiplied by min(1, (step + 1) / warmup_steps), then put back
        3. `ema` is updated
        4. `on_step(report)` is called, which may change learning rates and modes

    Each step starts in training mode. A checkpoint saved in `on_step` with step = report.step + 1 resumes the run to
    the bit from that `first_step`. A loss that is not finite raises a FloatingPointError that names the step; weights,
    optimizer and average stay as they were. `labels` need a `null_label`.
    """
    raise NotImplementedError


def save_checkpoint(
    path: Path | str,
    *,
    step: int,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
    ema: EMA | None = None,
) -> None:
    """Writes all that the rest of a run depends on into one file.

    That is the number of the next step, and the states of the model, the optimizer, the average and the generator. A
    temporary file in the same folder is written first and then moved to `path`, so a run that is killed while saving
    still has its last checkpoint. It can be read with `torch.load(path, weights_only=True)`.
    """
    raise NotImplementedError


def load_checkpoint(
    path: Path | str,
    *,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
    ema: EMA | None = None,
) -> int:
    """Puts everything back in place as it was saved, and returns the number of the next step.

    Weights go to the device of the model. An `ema` for a file that was saved without one is refused before anything is
    changed. Without `ema`, an average in the file is ignored.
    """
    raise NotImplementedError
