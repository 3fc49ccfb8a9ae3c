"""A save that is interrupted: what a kill, a power cut or a full disk leaves behind."""

import errno
import itertools
import os
import pathlib
import shutil

import pytest
import torch


class Killed(BaseException):
    """Raised in the place of the kill."""


def _killed(*args, **kwargs):
    raise Killed


def _half_written(state, file, *args, **kwargs):
    data = b"half of a checkpoint"
    file.write(data) if hasattr(file, "write") else pathlib.Path(file).write_bytes(data)
    raise OSError(errno.ENOSPC, "No space left on device")


def _replace(patched: pytest.MonkeyPatch, module, place, name: str, fake) -> None:
    """A function of a library, also under the names by which the module may have imported it."""
    original = getattr(place, name)
    aliases = [(module, alias) for alias, value in vars(module).items() if value is original]
    for where, alias in [(place, name), *aliases]:
        patched.setattr(where, alias, fake)


def interrupt(patched: pytest.MonkeyPatch, module, moment: str) -> None:
    """From now on `torch.save` stops half-way ("while writing"), or no file can be moved ("before moving")."""
    if moment == "while writing":
        _replace(patched, module, torch, "save", _half_written)
        return
    for place, name in itertools.product((os, shutil, pathlib.Path), ("replace", "rename", "move")):
        if hasattr(place, name):
            _replace(patched, module, place, name, _killed)
