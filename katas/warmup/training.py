"""Training: the loop around everything so far, which can be stopped after any epoch and go on.

What goes wrong here is bookkeeping: the mode, a last batch that is smaller, gradients of the batch before, a learning
rate that is multiplied again and again.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .clipping import clip_grad_norm_
from .cross_entropy import cross_entropy
from .lr_schedules import apply_learning_rate
from .metrics import RunningMean, topk_accuracy


class Epoch(NamedTuple):
    """Means over all examples of a pass, in Python numbers."""

    loss: float
    accuracy: float


class EpochReport(NamedTuple):
    """What `fit` knows after an epoch."""

    epoch: int
    train: Epoch
    test: Epoch
    learning_rate: float  # of the first group, in the last step of the epoch


def train_one_epoch(
    model: nn.Module,
    loader: Iterable[tuple[Tensor, Tensor]],
    optimizer: torch.optim.Optimizer,
    *,
    accumulation: int = 1,
    max_grad_norm: float | None = None,
    before_step: Callable[[int], None] | None = None,
) -> Epoch:
    """One pass over the batches (images, labels) of `loader`, with the model in training mode. It stays there.

    `accumulation` batches make one step: its gradient is that of the mean `cross_entropy` over all their examples, as
    if they were one batch, although batches may differ in size. The last step takes what is left. In a step, counted
    from 0,

        1. `before_step(step)` is called, which may set learning rates
        2. the gradients of all parameters of the model are cleared and computed anew, and clipped by
           `clip_grad_norm_` if there is a `max_grad_norm`
        3. the optimizer steps

    Batches are moved to the device of the model. The means are over examples, with the logits that the training saw. A
    loss that is not finite raises a FloatingPointError that names the step, before the optimizer steps.

    `accumulation` >= 1.
    """
    raise NotImplementedError


@torch.no_grad()
def evaluate(model: nn.Module, loader: Iterable[tuple[Tensor, Tensor]]) -> Epoch:
    """Loss and accuracy over all examples of `loader`, with the model in evaluation mode.

    Afterwards every module is in the mode in which it was, after an exception as well.
    """
    raise NotImplementedError


def fit(
    model: nn.Module,
    train_loader: Iterable[tuple[Tensor, Tensor]],
    test_loader: Iterable[tuple[Tensor, Tensor]],
    optimizer: torch.optim.Optimizer,
    *,
    epochs: int,
    first_epoch: int = 0,
    rate_factor: Callable[[int], float] | None = None,
    accumulation: int = 1,
    max_grad_norm: float | None = None,
    on_epoch: Callable[[EpochReport], None] | None = None,
) -> list[EpochReport]:
    """The epochs `first_epoch` ... epochs - 1: each trains, evaluates, and is reported.

    In a step the rate of every group is its rate at the call times `rate_factor(step)`. Steps are counted over all
    epochs, those before `first_epoch` included: an epoch has len(train_loader) batches, and a step for each
    `accumulation` of them, or what is left. After an epoch the rates are put back, so that a checkpoint holds the full
    ones. Then `on_epoch(report)` is called. A run that goes on from a checkpoint saved there, at first_epoch =
    report.epoch + 1, is the uninterrupted one to the bit.
    """
    raise NotImplementedError
