"""checkpoints: a resumed run is the uninterrupted one to the bit, and no failure costs a file or a run.

The run is written by hand (`given/whole_run.py`): no loop, buffer or environment of yours takes part. Out of scope:
several devices, a machine that loses its power.
"""

import io
from types import MappingProxyType, SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.optim import SGD, Adam, AdamW

import katas.rl.checkpoints as kata
from katas.lab.expect import expect_equal, expect_refused
from katas.lab.killing import Killed, interrupt, move_within_a_folder_only, save_as_on_a_missing_gpu
from katas.lab.laws import STANDING_LAWS
from katas.lab.strategies import normal, rng, seeds
from katas.rl.checkpoints import load_checkpoint, save_checkpoint
from katas.rl.given.whole_run import F64, Memory, Noted, expect_same_run, go_on, groups, network, stepped, whole_run


def step_of(file, parts):
    """The step of the checkpoint, which must be readable."""
    try:
        return load_checkpoint(file, parts)
    except ValueError as error:
        raise AssertionError("the last checkpoint is gone: write beside it, then move") from error


# --- the definition: the uninterrupted run ----------------------------------------------------------------------------


@pytest.mark.parametrize("updates", [0, 4])
def test_a_resumed_run_is_the_uninterrupted_one(tmp_path, monkeypatch, updates):
    file, stopped, resumed = str(tmp_path / "run.pt"), whole_run(updates=updates), whole_run(seed=7, lr=0.7, updates=2)
    with monkeypatch.context() as patched:
        save_as_on_a_missing_gpu(patched)
        save_checkpoint(path=file, parts=MappingProxyType(stopped), step=updates)
    go_on(stopped, 5)
    torch.load(file, weights_only=True, map_location="cpu")
    world = torch.manual_seed(77).get_state()
    step = load_checkpoint(path=file, parts=MappingProxyType(dict(reversed(resumed.items()))))
    expect_equal(torch.get_rng_state(), world, "the global random state is not touched")
    assert type(step) is int and step == updates, f"the number of the next step comes back, {updates}: {step!r}"
    expect_same_run(resumed, whole_run(updates=updates), "what was saved is the state at that moment")
    go_on(resumed, 5)
    expect_same_run(stopped, whole_run(updates=updates + 5), "saving changes nothing of the run")
    expect_same_run(resumed, whole_run(updates=updates + 5), "the resumed run is the uninterrupted one, to the bit")


@given(st.sampled_from([torch.float16, torch.bfloat16, F64, torch.int64, torch.bool]),
       st.lists(st.integers(0, 3), min_size=1, max_size=3), seeds())  # fmt: skip
def test_tensors_come_back_in_place(tmp_path_factory, dtype, shape, seed):
    file = tmp_path_factory.getbasetemp() / "tensors.pt"
    numbers = (1e5 * normal(2, *shape, seed=seed).log()).to(dtype)  # NaN, and infinite as float16, are among them
    held = torch.zeros_like(numbers)
    save_checkpoint(file, {"a.row": numbers[1], "turned": numbers[0].movedim(0, -1)}, step=0)
    load_checkpoint(file, {"a.row": held[1], "turned": held[0].movedim(0, -1)})
    expect_equal(held, numbers, "to the bit, in the memory that was there: an optimizer goes on with it")


# --- the file ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["run.pt", "new/folder/run", "run.pt.tmp"])
def test_one_file_is_made_and_replaced(tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    for step in (3, 10**12):
        save_checkpoint(place, whole_run(), step=step)
        assert load_checkpoint(place, whole_run()) == step, "the newest checkpoint stands at the path"
        files = [file for file in tmp_path.rglob("*") if file.is_file()]
        assert files == [tmp_path / place], f"one file, in a folder that is made where it is missing: {files}"


@pytest.mark.parametrize("earlier", [True, False], ids=["an earlier one", "the first one"])
@pytest.mark.parametrize("moment", ["while writing", "before moving"])
def test_a_failed_save_keeps_the_last_checkpoint(tmp_path, monkeypatch, moment, earlier):
    run, file = whole_run(), tmp_path / "run.pt"
    if earlier:
        save_checkpoint(file, run, step=2)
    with monkeypatch.context() as patched:
        interrupt(patched, kata, moment, file)
        with pytest.raises((Killed, OSError)):  # the new file is written with torch.save, and moved in one step
            save_checkpoint(file, run, step=3)
    left = set(tmp_path.iterdir()) - {file}
    assert file.exists() == earlier, "only a whole file is moved to the path"
    assert not earlier or step_of(file, run) == 2, "the file is only replaced when the new one is complete"
    assert moment == "before moving" or not left, f"what was written until the disk was full is removed: {left}"
    move_within_a_folder_only(monkeypatch, kata)
    save_checkpoint(file, run, step=4)
    assert set(tmp_path.iterdir()) <= left | {file}, "a save that ends well leaves one file"


@pytest.mark.parametrize("note", [np.float64(3), np.ones(3), Noted(3)], ids=["number", "array", "object"])
def test_what_could_not_be_read_is_not_saved(tmp_path, note):
    file = tmp_path / "run.pt"
    save_checkpoint(file, {"note": Noted(1.5)}, step=2)
    with pytest.raises(ValueError):  # read it back before it takes the place of a good one
        save_checkpoint(file, {"note": Noted([{"a": note}])}, step=3)
    assert step_of(file, {"note": Noted(0)}) == 2, "the checkpoint that can be read stays"
    assert list(tmp_path.iterdir()) == [file], "what was written is removed"


# --- refusals and standing laws ---------------------------------------------------------------------------------------

OTHERS = {
    "another last layer": ("policy", lambda: network(outputs=3)),
    "other layers": ("policy", lambda: network(hidden=5)),
    "a layer more": ("policy", lambda: nn.Sequential(*network(), nn.Linear(2, 2)).double()),
    "a layer less": ("policy", lambda: network()[:2]),
    "other names": ("policy", lambda: nn.ModuleDict({"net": network()})),
    "a network of another dtype": ("policy", lambda: network().float()),
    "statistics of another dtype": ("policy", lambda: network(statistics=torch.float32)),
    "one number": ("log_std", lambda: torch.tensor(0.5, dtype=F64)),
    "a longer tensor": ("log_std", lambda: torch.zeros(3, dtype=F64)),
    "a tensor of another dtype": ("log_std", lambda: torch.zeros(2)),
    "moments of other layers": ("adam", lambda: whole_run(updates=2, hidden=5)["adam"]),
    "moments of another last layer": ("adam", lambda: whole_run(updates=2, outputs=1)["adam"]),
    "momentum of another shape": ("sgd", lambda: stepped(SGD, [normal(2, 1)], momentum=0.9)),
    "another optimizer": ("adam", lambda: stepped(AdamW, *groups(network()))),
    "parameters in another order": ("adam", lambda: stepped(Adam, *(group[::-1] for group in groups(network())))),
    "an optimizer of another dtype, without moments": ("sgd", lambda: SGD([torch.ones(2)])),
    "another optimizer, without moments": ("sgd", lambda: Adam([normal(2)])),
    "other groups of parameters": ("adam", lambda: stepped(Adam, list(network()[0].parameters()), [normal(4)])),
    "another capacity": ("memory", lambda: Memory(capacity=4)),
    "a generator for a tensor": ("log_std", rng),
    "a tensor for a network": ("policy", lambda: normal(2)),
    "a tensor for a generator": ("step", lambda: rng().get_state()),
    "only in the file": ("more", lambda: normal(2)),
    "missing in the file": ("log_std", None),
}


@pytest.mark.parametrize("name, other", OTHERS.values(), ids=OTHERS)
@pytest.mark.parametrize(
    "turn, updates", [(list, 0), (reversed, 3)], ids=["of a new run", "of a run, in reverse order"]
)
def test_what_does_not_fit_changes_nothing(tmp_path, name, other, turn, updates):
    saved, run = whole_run(seed=5, lr=0.7, updates=2), whole_run(updates=updates)
    saved.pop(name, None)
    save_checkpoint(tmp_path / "run.pt", saved | ({name: other()} if other else {}), step=2)
    expect_refused(name, lambda: load_checkpoint(tmp_path / "run.pt", dict(turn(run.items()))))
    expect_same_run(run, whole_run(updates=updates), "a refusal changes nothing of the run")
    expect_same_run(
        go_on(run, 2), whole_run(updates=updates + 2), "after a refusal the run goes on as if nothing had been"
    )


def written_by_torch(content):
    torch.save(content, file := io.BytesIO())
    return file.getvalue()


@pytest.mark.parametrize("damage", [
    lambda whole: b"", lambda whole: b"hello world", lambda whole: b"\0" * 500, lambda whole: whole[:10],
    lambda whole: whole[: len(whole) // 2], lambda whole: whole[:-1], lambda whole: whole[:500] + bytes(900),
    lambda whole: whole.replace(b"little", b"middle"),
    lambda whole: written_by_torch(whole_run()["policy"].state_dict()), lambda whole: written_by_torch({"step": 3}),
    lambda whole: written_by_torch(torch.zeros(3)), lambda whole: written_by_torch([1, 2]),
], ids=["empty", "text", "zeros", "ten bytes", "half", "a byte missing", "zeros from the middle on",
        "a word changed", "a network", "a dictionary", "a tensor", "a list"])  # fmt: skip
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path, damage):
    file, run = tmp_path / "broken.pt", whole_run(updates=3)
    save_checkpoint(file, whole_run(seed=5), step=2)
    file.write_bytes(damage(file.read_bytes()))
    expect_refused("broken.pt", lambda: load_checkpoint(file, run))
    expect_same_run(go_on(run, 1), whole_run(updates=4), "a file that cannot be read changes nothing of the run")


def test_a_missing_file_is_told_as_such(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_checkpoint(tmp_path / "run.pt", whole_run())
    expect_refused(tmp_path.name, lambda: load_checkpoint(tmp_path, whole_run()))  # a folder cannot be read


@pytest.mark.parametrize("part", [
    0.1, None, [torch.ones(2)], np.ones(2), {"weight": torch.ones(2)}, SimpleNamespace(state_dict=dict),
    SimpleNamespace(load_state_dict=print),
], ids=["number", "None", "list", "array", "dictionary", "nothing to load it with", "nothing to save"])  # fmt: skip
def test_what_has_no_state_is_refused(tmp_path, part):
    save_checkpoint(file := tmp_path / "run.pt", {"rate": Noted(3)}, step=2)
    expect_refused("rate", lambda: save_checkpoint(file, {"rate": part}, step=3))
    expect_refused("rate", lambda: load_checkpoint(file, {"rate": part}))
    assert load_checkpoint(file, {"rate": Noted(0)}) == 2 and list(tmp_path.iterdir()) == [file], "nothing is written"


@pytest.mark.parametrize("law", STANDING_LAWS)
def test_standing_laws(tmp_path, law):
    def through_a_file(x):
        held = x.new_zeros(x.shape)
        save_checkpoint(tmp_path / "x.pt", {"x": x}, step=1)
        load_checkpoint(tmp_path / "x.pt", {"x": held})
        return held

    law(through_a_file, normal(5, 3, 2))
