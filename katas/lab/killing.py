"""What a checkpoint goes through: a kill, a full disk, another disk, another machine."""

import errno
import itertools
import os
import pathlib
import shutil

import pytest
import torch


class Killed(BaseException):
    """Raised in the place of the kill."""


def _killed_after(file, remove):
    """What is removed is gone; `file` really is. (Who is killed does not clean up.)"""

    def removed(path, *args, **kwargs):
        if os.path.abspath(path) == os.path.abspath(file):
            remove(path, *args, **kwargs)
        raise Killed

    return removed


def _killed_before(file, move):
    def moved(source, target, *args, **kwargs):
        if os.path.abspath(target) == os.path.abspath(file):
            raise Killed
        return move(source, target, *args, **kwargs)

    return moved


def _half_written(state, file, *args, **kwargs):
    data = b"half of a checkpoint"
    file.write(data) if hasattr(file, "write") else pathlib.Path(file).write_bytes(data)
    raise OSError(errno.ENOSPC, "No space left on device")


_MOVES = [
    (place, name)
    for place, name in itertools.product((os, shutil, pathlib.Path), ("replace", "rename", "move"))
    if hasattr(place, name)
]


def _replace(patched: pytest.MonkeyPatch, module, place, name: str, fake) -> None:
    """A function of a library, also under the names by which the module may have imported it."""
    original = getattr(place, name)
    aliases = [(module, alias) for alias, value in vars(module).items() if value is original]
    for where, alias in [(place, name), *aliases]:
        patched.setattr(where, alias, fake)


_REMOVALS = [(os, "unlink"), (os, "remove"), (shutil, "rmtree"), (pathlib.Path, "unlink")]


def interrupt(patched: pytest.MonkeyPatch, module, moment: str, file) -> None:
    """From now on `torch.save` stops half-way ("while writing"), or nothing is moved to `file` or removed any more
    ("before moving": who is killed does not clean up)."""
    if moment == "while writing":
        _replace(patched, module, torch, "save", _half_written)
        return
    for place, name in _MOVES:
        _replace(patched, module, place, name, _killed_before(file, getattr(place, name)))
    for place, name in _REMOVALS:
        _replace(patched, module, place, name, _killed_after(file, getattr(place, name)))


def move_within_a_folder_only(patched: pytest.MonkeyPatch, module) -> None:
    """From now on every other folder is on another disk, to which no file can be moved in one step."""

    def within(move):
        def moved(source, target, *args, **kwargs):
            if os.path.dirname(os.path.abspath(source)) != os.path.dirname(os.path.abspath(target)):
                raise AssertionError("the new file is moved from another folder: write it beside the old one")
            return move(source, target, *args, **kwargs)

        return moved

    for place, name in _MOVES:
        _replace(patched, module, place, name, within(getattr(place, name)))


def save_as_on_a_missing_gpu(patched: pytest.MonkeyPatch) -> None:
    """Until it is undone, `torch.save` writes, and `torch.load` reads, as on a GPU that this machine does not have."""
    patched.setattr(torch.serialization, "location_tag", lambda storage: "cuda:77")
    patched.setattr(torch.serialization, "default_restore_location", lambda storage, location: storage)
