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
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    return (1 + math.cos(math.pi * (step - warmup_steps) / (total_steps - warmup_steps))) / 2


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
    base_rates = [group["lr"] for group in optimizer.param_groups]
    total_steps, step = epochs * len(loader), 0
    for epoch in range(epochs):
        model.train()
        for batch in loader:
            factor = learning_rate_factor(step, warmup_steps=warmup_steps, total_steps=total_steps)
            for group, rate in zip(optimizer.param_groups, base_rates, strict=True):
                group["lr"] = rate * factor
            report = _train_step(model, optimizer, _to_device_of(model, *batch), step, max_grad_norm)
            if on_step is not None:
                on_step(report)
            step += 1
        if on_epoch is not None:
            on_epoch(epoch)


def _train_step(model: nn.Module, optimizer, batch: tuple, step: int, max_grad_norm: float) -> StepReport:
    loss = model.loss(*batch)
    classification, regression = torch.stack(loss).tolist()  # both at once: the GPU is waited for once
    if not (math.isfinite(classification) and math.isfinite(regression)):
        parts = f"classification {classification}, regression {regression}"
        raise FloatingPointError(f"the loss is not finite at step {step}: {parts}")
    model.zero_grad()  # not the optimizer's alone: the norm below is over all parameters
    (loss.classification + loss.regression).backward()
    grad_norm = nn.utils.clip_grad_norm_(model.parameters(), max_grad_norm)
    optimizer.step()
    return StepReport(step, classification, regression, grad_norm.item(), float(optimizer.param_groups[0]["lr"]))


def _to_device_of(model: nn.Module, images: Tensor, gt_boxes: list[Tensor], gt_labels: list[Tensor]) -> tuple:
    device = next(model.parameters()).device
    return images.to(device), [b.to(device) for b in gt_boxes], [labels.to(device) for labels in gt_labels]


@torch.no_grad()
def evaluate_detector(model: nn.Module, loader: Iterable, **options) -> CocoMetrics:
    """`coco_average_precision` of `model.detect(images, **options)` over all batches of `loader`.

    Batches have the form that `train_detector` takes. No object is a crowd. Meanwhile the model is in evaluation mode.
    Afterwards every module is in the mode in which it was, after an exception as well.
    """
    modes = [(module, module.training) for module in model.modules()]
    detections, truths = [], []
    model.eval()
    try:
        for batch in loader:
            images, gt_boxes, gt_labels = _to_device_of(model, *batch)
            detections += model.detect(images, **options)
            truths += [GroundTruth(boxes, labels) for boxes, labels in zip(gt_boxes, gt_labels, strict=True)]
    finally:
        for module, training in modes:
            module.training = training
    return coco_average_precision(detections, truths)
