"""checkpoint: what a file holds, what it survives, and a run that goes on from it.

The run is written by hand: it draws from torch, numpy and Python. Out of scope: several GPUs, a loss of power.
"""

import copy
import os
import random
import signal

import numpy as np
import pytest
import torch
from torch import nn

import katas.warmup.checkpoint as kata
from katas.lab.expect import expect_equal, expect_refused
from katas.lab.killing import Killed, interrupt, move_within_a_folder_only, save_as_on_a_missing_gpu
from katas.warmup.checkpoint import Progress, load_checkpoint, save_checkpoint


class Run:
    """A model with a norm and dropout, AdamW, a schedule; its steps draw from all three global generators."""

    def __init__(self, seed=0, width=6, scheduled=True, kind=torch.optim.AdamW):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            parts = nn.Linear(4, width), nn.BatchNorm1d(width), nn.Dropout(0.5), nn.Linear(width, 1)
            self.model = nn.Sequential(*parts).double()
        self.optimizer = kind(self.model.parameters(), lr=0.1)
        self.scheduler = torch.optim.lr_scheduler.StepLR(self.optimizer, 2, gamma=0.7) if scheduled else None

    def parts(self):
        return {"model": self.model, "optimizer": self.optimizer, "scheduler": self.scheduler}

    def go_on(self, steps):
        for _ in range(steps):
            x = torch.randn(5, 4, dtype=torch.float64) + random.gauss(0, 1) + np.random.randn()
            self.optimizer.zero_grad()
            self.model(x).square().mean().backward()
            self.optimizer.step()
            if self.scheduler:
                self.scheduler.step()
        return self

    def state(self):
        """Of the world and of the run, causes before effects: what is no tensor as text, then tensors."""
        optimizer, rest = self.optimizer.state_dict(), self.scheduler and self.scheduler.state_dict()
        rates = rest, optimizer["param_groups"]
        texts = {"Python": random.getstate(), "numpy": np.random.get_state(), "rates": rates}
        tensors = {"torch": torch.get_rng_state(), "model": self.model.state_dict(), "optimizer": optimizer["state"]}
        return {name: str(text) for name, text in texts.items()} | copy.deepcopy(tensors)


def begin(run):
    """From known states of the generators."""
    torch.set_rng_state(torch.Generator().manual_seed(3).get_state())
    np.random.set_state(np.random.RandomState(4).get_state())
    random.setstate(random.Random(5).getstate())
    return run


@pytest.fixture(autouse=True)
def the_world_is_put_back():
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    yield
    torch.set_rng_state(states[0]), np.random.set_state(states[1]), random.setstate(states[2])


def expect_same(got, expected, law):
    """Two states, to the bit."""
    for name, value in expected.items():
        if isinstance(value, str):
            assert got[name] == value, f"{law}: {name}"
        else:
            expect_equal(got[name], value, f"{law}: {name}")


def save(run, file, epoch=2, best_metric=0.75):
    save_checkpoint(path=file, epoch=epoch, best_metric=best_metric, **run.parts())


# --- the run goes on --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [0, 1, 3])
@pytest.mark.parametrize("scheduled", [True, False])
def test_a_resumed_run_is_the_uninterrupted_one(tmp_path, steps, scheduled):
    whole = begin(Run(scheduled=scheduled)).go_on(steps + 4).state()
    stopped = begin(Run(scheduled=scheduled)).go_on(steps)
    save(stopped, tmp_path / "run.pt", epoch=steps, best_metric=0.125)
    expect_same(stopped.go_on(4).state(), whole, "saving changes nothing of the run")
    resumed = Run(seed=9, scheduled=scheduled).go_on(2)
    got = load_checkpoint(path=tmp_path / "run.pt", **resumed.parts())
    assert got == Progress(steps, 0.125) and type(got) is Progress, f"epoch and best metric come back: {got}"
    expect_same(resumed.go_on(4).state(), whole, "the resumed run is the uninterrupted one, to the bit")


def test_what_is_saved_is_the_state_at_that_moment(tmp_path):
    run, file = begin(Run()).go_on(2), str(tmp_path / "run.pt")  # a path may be text
    at_that_moment = run.state()
    save(run, file)
    torch.load(file, weights_only=True)  # raises where there is an object that could run code
    run.go_on(3)
    load_checkpoint(file, **run.parts())
    expect_same(run.state(), at_that_moment, "as it was when it was saved, whatever came after")
    run.go_on(1)
    load_checkpoint(file, **(again := Run()).parts())
    expect_same(again.state(), at_that_moment, "the file is not changed by a run that goes on from it")


def test_a_file_from_a_gpu_can_be_loaded_without_one(tmp_path, monkeypatch):
    run = begin(Run()).go_on(1)
    expected = run.state()
    with monkeypatch.context() as patched:
        save_as_on_a_missing_gpu(patched)
        save(run, tmp_path / "run.pt")
    load_checkpoint(tmp_path / "run.pt", **run.go_on(1).parts())
    expect_same(run.state(), expected, "what a machine with another GPU has saved")


# --- kills ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("earlier", [True, False])
@pytest.mark.parametrize("moment", ["while writing", "before moving"])
def test_an_interrupted_save_keeps_the_last_checkpoint(tmp_path, monkeypatch, moment, earlier):
    run, file = begin(Run()).go_on(1), tmp_path / "run.pt"
    if earlier:
        save(run, file, epoch=2)
    with monkeypatch.context() as patched:
        interrupt(patched, kata, moment, file)
        with pytest.raises((Killed, OSError)):
            save(run, file, epoch=3)
    assert file.exists() == earlier, "only a whole file is moved to the path"
    if earlier:
        assert epoch_of(file) == 2, "the file is only replaced when the new one is complete"
    move_within_a_folder_only(monkeypatch, kata)
    save(run, file, epoch=4)
    assert epoch_of(file) == 4, "the next save goes well, whatever the interrupted one left behind"


def test_what_could_not_be_read_is_not_saved(tmp_path):
    run, file = begin(Run()), tmp_path / "run.pt"
    save(run, file, epoch=2)
    run.optimizer.param_groups[0]["lr"] = np.float64(0.1)  # no plain number: weights_only refuses it
    expect_refused("run.pt", lambda: save(run, file, epoch=3))
    assert epoch_of(file) == 2, "read it back before it takes the place of a good one"


def epoch_of(file):
    try:
        return load_checkpoint(file, **Run().parts()).epoch
    except (ValueError, FileNotFoundError) as error:
        raise AssertionError("the last checkpoint is gone: write beside it, then move") from error


def test_killed_at_any_moment(tmp_path):
    """By SIGKILL, 12 times, while it saves again and again: the file can always be read."""
    file, run = tmp_path / "run.pt", begin(Run())
    save(run, file)
    for n in range(12):
        child = os.fork()
        if child == 0:
            while True:
                save(run, file, epoch=7)
        torch.randn(20_000 * (n + 1)).sort()  # some time, another each time
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        assert epoch_of(file) in (2, 7), "killed while saving, and there is no readable checkpoint"


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, spoil, options", [
    ("run.pt", lambda file: file.write_bytes(file.read_bytes()[:2000]), {}),
    ("run.pt", lambda file: file.write_bytes(b""), {}),
    ("run.pt", lambda file: file.write_bytes(b"no checkpoint"), {}),
    ("run.pt", lambda file: torch.save({"model": {}}, file), {}),
    ("run.pt", lambda file: torch.save([1, 2], file), {}),
    ("run.pt", None, {"width": 7}),
    ("run.pt", None, {"kind": lambda params, lr: torch.optim.SGD([{"params": [p]} for p in params], lr)}),
    ("scheduler", None, {"scheduled": False}),
], ids=["cut off", "empty", "text", "lacks parts", "a list", "other width", "other groups", "no plan"])  # fmt: skip
def test_what_does_not_fit_is_refused_and_changes_nothing(tmp_path, name, spoil, options):
    file = tmp_path / "run.pt"
    save(begin(Run()).go_on(2), file)
    if spoil:
        spoil(file)
    run = Run(seed=8, **options).go_on(1)
    before = run.state()
    expect_refused(name, lambda: load_checkpoint(file, **run.parts()))
    expect_same(run.state(), before, "what is refused changes nothing")


def test_a_scheduler_that_is_not_in_the_file_is_refused(tmp_path):
    save(begin(Run(scheduled=False)), tmp_path / "run.pt")
    expect_refused("scheduler", lambda: load_checkpoint(tmp_path / "run.pt", **Run().parts()))
    pytest.raises(FileNotFoundError, load_checkpoint, tmp_path / "missing.pt", **Run().parts())
