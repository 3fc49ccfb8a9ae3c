"""Learning-rate schedules: a slow start, a long fall, and an end that is exactly where it should be."""

import math
from collections.abc import Sequence

import torch


def warmup_cosine(step: int, *, warmup_steps: int, total_steps: int, min_ratio: float = 0.0) -> float:
    """What the learning rate is multiplied by at `step`, the number of steps that were taken before.

        (step + 1) / warmup_steps                                          while step < warmup_steps
        min_ratio + (1 - min_ratio) * (1 + cos(pi * p)) / 2                from then on, with
        p = (step - warmup_steps) / (total_steps - warmup_steps)           but at most 1

    So the first step is small but not 0, the last step of the warm-up has the factor 1, and from step = total_steps on
    it is exactly `min_ratio`: a cosine that goes on would rise again. That holds for `warmup_steps` = `total_steps` as
    well, where it falls from 1 to `min_ratio` at once. `torch.optim.lr_scheduler.LambdaLR` asks for such a function.

    0 <= `step`, 0 <= `warmup_steps` <= `total_steps`, 0 <= `min_ratio` <= 1.

    Source: Loshchilov & Hutter, SGDR (arXiv 1608.03983), and Goyal et al. (arXiv 1706.02677) for the warm-up.
    """
    if step < 0:
        raise ValueError(f"step must not be negative, got {step}")
    if not 0 <= warmup_steps <= total_steps:
        raise ValueError(f"warmup_steps must lie in 0 ... {total_steps}, got {warmup_steps}")
    if not 0 <= min_ratio <= 1:
        raise ValueError(f"min_ratio must lie in [0, 1], got {min_ratio}")
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    if step >= total_steps:  # also where there is nothing between warm-up and end to divide by
        return min_ratio
    progress = (step - warmup_steps) / (total_steps - warmup_steps)
    return min_ratio + (1 - min_ratio) * (1 + math.cos(math.pi * progress)) / 2


def apply_learning_rate(optimizer: torch.optim.Optimizer, base_rates: Sequence[float], factor: float) -> None:
    """Sets the rate of every parameter group to its own base rate times the factor.

    `base_rates` are the rates at the start, one for each group: note them before the first step. A rate that is
    multiplied again and again, step after step, falls like a product of all factors. (`LambdaLR` keeps them as
    `base_lrs`.) As many `base_rates` as groups.
    """
    if len(base_rates) != len(optimizer.param_groups):
        raise ValueError(f"base_rates: {len(base_rates)} for {len(optimizer.param_groups)} parameter groups")
    for group, rate in zip(optimizer.param_groups, base_rates, strict=True):
        group["lr"] = rate * factor
