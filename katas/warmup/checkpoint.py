"""Checkpoints: a file from which a run goes on to the bit, and which a kill at any moment leaves whole."""

import copy
import os
import random
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn


class Progress(NamedTuple):
    """How far the run was."""

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
    """Writes all that the rest of a run depends on into one file.

    That is the states of model, optimizer and scheduler (of `torch.optim.lr_scheduler`), the epoch and the best metric
    so far, and the states of the global random generators of torch (of the GPUs as well), numpy and Python.

    A temporary file in the same folder is written, read back, and then moved to `path` in one step. So a run that is
    killed while saving still has its last checkpoint. `torch.load(path, weights_only=True)` reads the file: nothing in
    it can run code. A state that it cannot read, such as a number of numpy, raises a ValueError that names `path`, and
    the last file stays.
    """
    raise NotImplementedError


def load_checkpoint(
    path: Path | str, *, model: nn.Module, optimizer: torch.optim.Optimizer, scheduler: Any = None
) -> Progress:
    """Puts everything back as it was saved, the global random generators included. (An exception to the rule that no
    kata touches them: it is what makes the rest of the run the same.)

    Weights go to the device of the model, so that a file from a GPU can be loaded without one. A ValueError names
    `path` if the file cannot be read, or its states do not fit model or optimizer, and `scheduler` if the file has one
    and none is given, or the reverse. Then nothing has changed. A file that is not there is a FileNotFoundError.
    """
    raise NotImplementedError
