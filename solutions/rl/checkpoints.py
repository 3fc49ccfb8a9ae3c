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
    saved = {
        "step": step,
        "layouts": {name: _layout(part) for name, part in parts.items()},
        "states": {name: _state_of(name, part) for name, part in parts.items()},
    }
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.unfinished")
    try:
        torch.save(saved, unfinished)
        _read(unfinished)  # a file that cannot be read must not replace one that can
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


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
    saved = _read(Path(path))
    _check(saved["layouts"], {name: _layout(part) for name, part in parts.items()})
    before = {name: copy.deepcopy(_state_of(name, part)) for name, part in parts.items()}
    for name, part in parts.items():
        try:
            _load(part, saved["states"][name])
        except Exception as error:
            for other, state in before.items():  # the failing part too: it may have changed half-way
                _load(parts[other], state)
            raise ValueError(f"{name}: {error}") from error
    return saved["step"]


def _state_of(name: str, part) -> Any:
    if isinstance(part, Tensor):
        return part.detach().clone()
    if isinstance(part, torch.Generator):
        return part.get_state()
    if hasattr(part, "state_dict") and hasattr(part, "load_state_dict"):
        return part.state_dict()
    raise ValueError(f"{name}: a {type(part).__name__} has no state that can be saved and loaded")


@torch.no_grad()
def _load(part, state) -> None:
    if isinstance(part, Tensor):
        part.copy_(state)
    elif isinstance(part, torch.Generator):
        part.set_state(state)
    else:
        part.load_state_dict(state)


def _layout(part) -> dict[str, str]:
    """What must agree before anything is loaded: dtypes and shapes, by name. Other parts check their states themselves.

    An optimizer's state does not show it: a fresh one is empty, and moments need not have the shape of their parameter.
    """
    tensors = {}
    if isinstance(part, Tensor):
        tensors = {"the tensor": part}
    elif isinstance(part, torch.Generator):
        tensors = {"its state": part.get_state()}  # of a GPU's generator it is shorter
    elif isinstance(part, nn.Module):
        tensors = part.state_dict()
    elif isinstance(part, torch.optim.Optimizer):
        for g, group in enumerate(part.param_groups):
            tensors |= {f"{type(part).__name__} group {g} parameter {i}": p for i, p in enumerate(group["params"])}
    return {key: f"{t.dtype} {tuple(t.shape)}" for key, t in tensors.items() if isinstance(t, Tensor)}


def _check(saved: dict[str, dict[str, str]], own: dict[str, dict[str, str]]) -> None:
    for name in own.keys() | saved.keys():
        if name not in saved or name not in own:
            raise ValueError(f"{name}: only {'the file' if name in saved else 'the run'} has such a part")
        for key in own[name].keys() | saved[name].keys():
            theirs, ours = saved[name].get(key, "missing"), own[name].get(key, "missing")
            if theirs != ours:
                raise ValueError(f"{name}: {key} is {theirs} in the file, {ours} in the run")


def _read(path: Path) -> dict[str, Any]:
    try:
        saved = torch.load(path, weights_only=True, map_location="cpu")
    except FileNotFoundError:
        raise
    except Exception as error:  # a broken file: EOFError, KeyError, OSError, RuntimeError, UnpicklingError, ValueError
        raise ValueError(f"{path} cannot be read as a checkpoint") from error
    if not isinstance(saved, dict) or saved.keys() != {"step", "layouts", "states"}:
        raise ValueError(f"{path} was not written by save_checkpoint")
    return saved
