"""Training and judging a detector.

What goes wrong is mode and bookkeeping: a loss that is used before it is checked, a schedule that counts within the
epoch, an evaluation that leaves the model in another mode.
"""

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .average_precision import CocoMetrics, coco_average_precision
from .precision_recall import GroundTruth


class StepReport(NamedTuple):
    """What `train_detector` reports after a step, in Python numbers."""

    step: int  # from 0, over all epochs
    classification: float  # this loss and the next before the update
    regression: float
    grad_norm: float  # before clipping
    learning_rate: float  # of the first parameter group


def learning_rate_factor(step: int, *, warmup_steps: int, total_steps: int) -> float:
    """What the learning rate is multiplied by at `step` = 0 ... total_steps - 1.

        (step + 1) / warmup_steps                                                      while step < warmup_steps
        (1 + cos(pi * (step - warmup_steps) / (total_steps - warmup_steps))) / 2       from then on

    With `warmup_steps` >= `total_steps` all is warm-up, and the full rate may never be reached.
    """
    raise NotImplementedError


def train_detector(
    model: nn.Module,
    loader: Iterable,
    optimizer: torch.optim.Optimizer,
    *,
    epochs: int,
    warmup_steps: int = 0,
    max_grad_norm: float = 10.0,
    on_step: Callable[[StepReport], None] | None = None,
    on_epoch: Callable[[int], None] | None = None,
) -> None:
    """Trains `model` in place on `epochs` passes over `loader`.

    `loader` has a length. Every pass yields batches `(images, gt_boxes, gt_labels)`, which are moved to the device of
    the model. The loss is the sum of `classification` and `regression` of `model.loss(*batch)`. Steps are counted from
    0 over all epochs. In a step

        1. the rate of every group is its rate at the call (a number or a tensor) times
           `learning_rate_factor(step, …, total_steps=epochs * len(loader))`
        2. the gradients of all parameters of the model are cleared, those outside the optimizer too, and computed anew;
           if their joint norm is above `max_grad_norm`, they are scaled down to it
        3. the optimizer steps, and `on_step(report)` is called

    `on_epoch(epoch)`, counted from 0, comes after each epoch. Each epoch starts in training mode. A loss that is not
    finite raises a FloatingPointError that names the step and both parts. Weights and moments of the optimizer stay as
    they were.
    """
    raise NotImplementedError


@torch.no_grad()
def evaluate_detector(model: nn.Module, loader: Iterable, **options) -> CocoMetrics:
    """`coco_average_precision` of `model.detect(images, **options)` over all batches of `loader`.

    Batches have the form that `train_detector` takes. No object is a crowd. Meanwhile the model is in evaluation mode.
    Afterwards every module is in the mode in which it was, after an exception as well.
    """
    raise NotImplementedError
