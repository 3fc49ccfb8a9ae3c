"""Losses as sums, divided once; modes kept by a context manager; every step's rate from LambdaLR's own arithmetic."""

import contextlib
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Epoch(NamedTuple):
    loss: float
    accuracy: float


class EpochReport(NamedTuple):
    epoch: int
    train: Epoch
    test: Epoch
    learning_rate: float


class _Totals:
    def __init__(self):
        self.loss, self.hits, self.count = 0.0, 0, 0

    def add(self, loss, logits, labels):
        self.loss, self.count = self.loss + float(loss.detach()), self.count + len(labels)
        self.hits += int((logits.detach().argmax(1) == labels).sum())

    def epoch(self):
        return (
            Epoch(self.loss / self.count, self.hits / self.count) if self.count else Epoch(float("nan"), float("nan"))
        )


def train_one_epoch(
    model: nn.Module,
    loader: Iterable[tuple[Tensor, Tensor]],
    optimizer: torch.optim.Optimizer,
    *,
    accumulation: int = 1,
    max_grad_norm: float | None = None,
    before_step: Callable[[int], None] | None = None,
) -> Epoch:
    if accumulation <= 0:
        raise ValueError("accumulation: at least one batch")
    model.train()
    totals, everything = _Totals(), list(loader)
    device = next(model.parameters()).device
    for step in range(-(-len(everything) // accumulation)):
        group = everything[step * accumulation : (step + 1) * accumulation]
        if before_step:
            before_step(step)
        for parameter in model.parameters():
            parameter.grad = None
        for images, labels in group:
            images, labels = images.to(device), labels.to(device)
            logits = model(images)
            loss = F.cross_entropy(logits, labels, reduction="sum")
            if not bool(torch.isfinite(loss)):
                raise FloatingPointError(f"step {step}: loss {loss}")
            loss.backward()
            totals.add(loss, logits, labels)
        examples = sum(len(labels) for _, labels in group)
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter.grad /= examples
        if max_grad_norm is not None:
            nn.utils.clip_grad_norm_(model.parameters(), max_grad_norm)
        optimizer.step()
    return totals.epoch()


@contextlib.contextmanager
def _judging(model):
    before = {name: module.training for name, module in model.named_modules()}
    try:
        with torch.no_grad():
            yield model.eval()
    finally:
        for name, module in model.named_modules():
            module.training = before[name]


def evaluate(model: nn.Module, loader: Iterable[tuple[Tensor, Tensor]]) -> Epoch:
    totals = _Totals()
    with _judging(model) as judge:
        for images, labels in loader:
            device = next(model.parameters()).device
            logits = judge(images.to(device))
            totals.add(F.cross_entropy(logits, labels.to(device), reduction="sum"), logits, labels.to(device))
    return totals.epoch()


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
    rates = [group["lr"] for group in optimizer.param_groups]
    per_epoch = (len(train_loader) + accumulation - 1) // accumulation
    reports = []
    for epoch in range(first_epoch, epochs):
        factors = [1.0 if rate_factor is None else rate_factor(epoch * per_epoch + n) for n in range(per_epoch)]

        def scale(step, factors=factors):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * factors[step]

        learnt = train_one_epoch(
            model, train_loader, optimizer, accumulation=accumulation, max_grad_norm=max_grad_norm, before_step=scale
        )
        last = optimizer.param_groups[0]["lr"]
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        report = EpochReport(epoch, learnt, evaluate(model, test_loader), last)
        reports.append(report)
        if on_epoch:
            on_epoch(report)
    return reports
