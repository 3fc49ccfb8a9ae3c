"""With a squared cosine of half the angle, and the smaller of two lines of progress."""

import math
from collections.abc import Sequence

import torch


def warmup_cosine(step: int, *, warmup_steps: int, total_steps: int, min_ratio: float = 0.0) -> float:
    if warmup_steps < 0 or warmup_steps > total_steps:
        raise ValueError("warmup_steps: between 0 and total_steps")
    if min_ratio < 0 or min_ratio > 1 or math.isnan(min_ratio):
        raise ValueError("min_ratio: between 0 and 1")
    if step < 0:
        raise ValueError("step: not negative")
    if step + 1 <= warmup_steps:
        return (1 + step) / warmup_steps
    left = max(0, total_steps - step)
    if left == 0:
        return float(min_ratio)
    angle = math.pi / 2 * (1 - left / (total_steps - warmup_steps))
    share = math.cos(angle) ** 2
    return share + (1 - share) * min_ratio


def apply_learning_rate(optimizer: torch.optim.Optimizer, base_rates: Sequence[float], factor: float) -> None:
    groups = optimizer.param_groups
    if len(groups) != len(base_rates):
        raise ValueError("base_rates: one for each group")
    for place in range(len(groups)):
        groups[place].update(lr=factor * base_rates[place])
