"""Checkpoints: a file from which a run goes on to the bit, and which never costs the run.

`parts` names everything that a run consists of, as you like. A part is one of

- an object with `state_dict()` and `load_state_dict(state)`: networks, target networks, optimizers, schedulers, a
  `ReplayBuffer`, a `RunningMeanStd`
- a tensor, such as `log_temperature`
- a `torch.Generator`

A training loop resumes at its `first_step`. Its environments are no part: they begin new episodes.

    def keep(report):
        save_checkpoint(path, parts, step=report.step + 1)

    train_sac(..., first_step=load_checkpoint(path, parts), on_step=keep)
"""

import copy
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


def save_checkpoint(path: Path | str, parts: Mapping[str, Any], *, step: int) -> None:
    """Writes the states of all `parts` at this moment, and the number of the next step, into one file.

    The file is written beside `path`, read back, and only then moved to `path`. A run that fails or is killed while
    saving still has its last checkpoint. A failure leaves no other file behind. A missing folder is made.

    `torch.load(path, weights_only=True)` reads the file. A ValueError refuses a state that can be written but not read
    by it, such as numbers of numpy. A ValueError names a part that is none of the three kinds.
    """
    raise NotImplementedError


def load_checkpoint(path: Path | str, parts: Mapping[str, Any]) -> int:
    """Puts all `parts` back as they were saved, and returns the number of the next step.

    Tensors and parameters are loaded in place. What follows is the uninterrupted run. A file from a GPU can be loaded
    without one. A ValueError names the part that does not fit, and no part has changed:

    - of another kind, or only in the file, or only in `parts`
    - a network or tensor with other names, shapes or dtypes
    - an optimizer of another class, or for other shapes or dtypes (PyTorch does not notice)
    - refused by its own `load_state_dict`, with any exception

    A ValueError names a file that cannot be read as a checkpoint. A missing one is a FileNotFoundError.
    """
    raise NotImplementedError
