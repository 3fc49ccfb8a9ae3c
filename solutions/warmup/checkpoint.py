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
    state = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scheduler": None if scheduler is None else scheduler.state_dict(),
        "epoch": epoch,
        "best_metric": float(best_metric),
        "random": _random_state(),
    }
    unfinished = Path(f"{path}.unfinished")
    torch.save(state, unfinished)
    try:
        torch.load(unfinished, weights_only=True, map_location="cpu")
    except Exception as error:
        raise ValueError(f"path: what was to be saved to {path} cannot be read again: {error}") from error
    os.replace(unfinished, path)


def load_checkpoint(
    path: Path | str, *, model: nn.Module, optimizer: torch.optim.Optimizer, scheduler: Any = None
) -> Progress:
    """Puts everything back as it was saved, the global random generators included. (An exception to the rule that no
    kata touches them: it is what makes the rest of the run the same.)

    Weights go to the device of the model, so that a file from a GPU can be loaded without one. A ValueError names
    `path` if the file cannot be read, or its states do not fit model or optimizer, and `scheduler` if the file has one
    and none is given, or the reverse. Then nothing has changed. A file that is not there is a FileNotFoundError.
    """
    try:
        saved = torch.load(path, weights_only=True, map_location="cpu")
        missing = {"model", "optimizer", "scheduler", "epoch", "best_metric", "random"} - set(saved)
    except FileNotFoundError:
        raise
    except Exception as error:  # whatever the bytes make of the unpickler
        raise ValueError(f"path: {path} cannot be read as a checkpoint: {error}") from error
    if missing:
        raise ValueError(f"path: {path} is no checkpoint, it lacks {sorted(missing)}")
    if (scheduler is None) != (saved["scheduler"] is None):
        raise ValueError(f"scheduler: {path} was saved {'without' if saved['scheduler'] is None else 'with'} one")
    parts = {"model": model, "optimizer": optimizer} | ({} if scheduler is None else {"scheduler": scheduler})
    before = {name: copy.deepcopy(part.state_dict()) for name, part in parts.items()}
    try:
        for name, part in parts.items():
            part.load_state_dict(saved[name])
    except Exception as error:
        for name, part in parts.items():  # also the one that failed half-way
            part.load_state_dict(before[name])
        raise ValueError(f"path: {path} does not fit: {error}") from error
    _set_random_state(saved["random"])
    return Progress(saved["epoch"], saved["best_metric"])


def _random_state() -> dict[str, Any]:
    name, keys, *rest = np.random.get_state()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [name, torch.from_numpy(keys.astype(np.int64)), *rest],  # weights_only reads no numpy arrays
        "python": random.getstate(),
    }


def _set_random_state(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    random.setstate(state["python"])
