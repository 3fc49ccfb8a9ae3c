"""Written to memory first; everything is checked on copies before anything is loaded."""

import copy
import io
import os
import random
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn


class Progress(NamedTuple):
    epoch: int
    best_metric: float


def save_checkpoint(
    path: Path | str,
    *,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    epoch: int,
    best_metric: float,
    scheduler: Any = None,
) -> None:
    kind, keys, position, has_gauss, gauss = np.random.get_state()
    everything = [
        [epoch, float(best_metric)],
        {"model": model.state_dict(), "optimizer": optimizer.state_dict()},
        scheduler.state_dict() if scheduler is not None else None,
        [torch.get_rng_state(), kind, [int(key) for key in keys], position, has_gauss, gauss, list(random.getstate())],
    ]
    target = Path(path)
    beside = target.parent / f".{target.name}.{os.getpid()}"
    written = io.BytesIO()
    torch.save(everything, written)
    try:
        torch.load(io.BytesIO(written.getvalue()), weights_only=True)
    except Exception as error:
        raise ValueError(f"path {path}: an object in the state cannot be read again") from error
    torch.save(everything, beside)
    os.rename(beside, target)


def load_checkpoint(
    path: Path | str, *, model: nn.Module, optimizer: torch.optim.Optimizer, scheduler: Any = None
) -> Progress:
    data = Path(path).read_bytes()
    try:
        numbers, states, schedule, world = torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")
        epoch, best = numbers
    except Exception as error:
        raise ValueError(f"path {path}: not a checkpoint") from error
    if (schedule is None) is not (scheduler is None):
        raise ValueError("scheduler: in one of the two only")
    try:
        trial = copy.deepcopy(model)
        trial.load_state_dict(states["model"])
        copy.deepcopy(optimizer).load_state_dict(states["optimizer"])
    except (RuntimeError, ValueError, KeyError) as error:
        raise ValueError(f"path {path}: of another model or optimizer") from error
    model.load_state_dict(states["model"])
    optimizer.load_state_dict(states["optimizer"])
    if scheduler is not None:
        scheduler.load_state_dict(schedule)
    torch.set_rng_state(world[0])
    np.random.set_state((world[1], np.array(world[2], dtype=np.uint32), *world[3:6]))
    version, inner, gauss = world[6]
    random.setstate((version, tuple(inner), gauss))
    return Progress(epoch, best)
