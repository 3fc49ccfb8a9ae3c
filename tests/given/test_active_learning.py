"""What active learning is given: frames of a robot's camera, sealed labels, and runs that go on where they stood."""

import pytest
import torch

from katas.active_learning.given import comparison
from katas.active_learning.given.frames import FRAMES, KINDS, SIDE, STRIDE, frames
from katas.active_learning.given.sealed import LabelLeak, SealedLabels
from solutions.active_learning import learning_curves, loop
from solutions.active_learning import pool as pool_of_the_solutions

# --- frames ---


@pytest.fixture(scope="module")
def pool():
    return frames(40, kind="pool")


def test_frames_are_what_they_promise(pool):
    assert pool.images.shape == (40 * FRAMES, 3, SIDE, SIDE) and pool.images.dtype == torch.uint8
    boxes, labels = torch.cat(pool.boxes), torch.cat(pool.labels)
    assert boxes.dtype == torch.float32 and labels.dtype == torch.int64
    assert boxes.min() >= 0 and boxes.max() <= SIDE and (boxes[:, 2:] > boxes[:, :2]).all()
    assert [tuple(b.shape) for b in pool.boxes] == [(len(some), 4) for some in pool.labels]


def test_most_frames_are_empty_and_some_digits_rare(pool):
    empty = sum(len(boxes) == 0 for boxes in pool.boxes) / len(pool.boxes)
    counts = torch.cat(pool.labels).bincount()
    assert 0.6 < empty < 0.85, f"the robot mostly sees nothing: {empty:.2f}"
    assert len(counts) == len(KINDS["pool"].digits) and counts[0] > 3 * counts[4] > 0, f"classes: {counts.tolist()}"
    assert sum(len(boxes) == 0 for boxes in frames(4, kind="test").boxes) < 20, "a test frame is to show something"


def test_neighbouring_frames_share_what_they_show(pool):
    one, other = pool.images[0].float(), pool.images[1].float()
    same = (one[:, :, STRIDE:] - other[:, :, :-STRIDE]).abs().mean()
    assert same < 0.2 * (one - other).abs().mean() + 10, "the next frame is this one, moved, in another light"
    moved = [(a, b) for a, b in zip(pool.boxes[:-1], pool.boxes[1:], strict=True) if len(a) == len(b) == 1]
    steps = [float(a[0, 0] - b[0, 0]) for a, b in moved if a[0, 0] > STRIDE and a[0, 2] < SIDE and b[0, 2] < SIDE]
    assert len(steps) > 10 and set(steps) == {float(STRIDE)}, "a box moves with the camera"


def test_frames_follow_from_kind_and_seed_alone():
    first, again, other = (frames(2, kind="pool", seed=seed).images for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    with pytest.raises(ValueError, match="kind"):
        frames(1, kind="train")


# --- sealed labels ---


@pytest.mark.parametrize("look", [
    lambda sealed: sealed[0], list, len, torch.tensor, lambda sealed: "a" in sealed, lambda sealed: sealed == ["a"],
    lambda sealed: sealed(2), lambda sealed: sealed(-1), lambda sealed: (sealed(1), sealed(1)),
])  # fmt: skip
def test_a_look_at_a_sealed_label_raises(look):
    with pytest.raises(LabelLeak):
        look(SealedLabels(["a", "b"]))


def test_a_label_that_is_bought_is_told():
    sealed = SealedLabels(["a", "b", "c"])
    assert [sealed(2), sealed(torch.tensor(0))] == ["c", "a"] and sealed.opened == [2, 0]


# --- runs ---


class Stop(Exception):
    pass


def task(calls, *, budget=9):
    """A pool of 30 numbers; the model is their sum, and it buys at random, with an offset that depends on the model."""

    def acquire(model, labelled, unlabelled, count, generator):
        return (torch.randperm(len(unlabelled), generator=generator)[:count] + model) % len(unlabelled)

    def fit(labelled, labels, seed):
        calls.append(len(labelled))
        return sum(labels) + seed

    return comparison.Task(
        name="numbers", labels=[7 * n % 11 for n in range(30)], initial=lambda seed: torch.tensor([seed, 20]), fit=fit,
        evaluate=float, strategies={"some": acquire, "random": acquire}, batch_size=2, budget=budget,
        device=torch.device("cpu"),
    )  # fmt: skip


@pytest.fixture(autouse=True)
def runs_in(tmp_path, monkeypatch):
    monkeypatch.setattr(comparison.catalog, "RUNS", tmp_path / "runs")
    for module in (learning_curves, loop, pool_of_the_solutions):  # the learner's are stubs
        for name in set(vars(module)) & set(vars(comparison)):
            monkeypatch.setattr(comparison, name, getattr(module, name))
    return tmp_path / "runs" / "active_learning" / "numbers"


@pytest.mark.parametrize("rounds", [1, 2, 3])
def test_a_run_that_was_cut_off_goes_on(runs_in, rounds):
    whole, calls = comparison.run(task([]), "some", 3), []
    (runs_in / "some_3.pt").unlink()

    def stop(new):
        if len(calls) == rounds:
            raise Stop

    with pytest.raises(Stop):
        comparison.run(task(calls), "some", 3, on_round=stop)
    assert comparison.run(task(calls), "some", 3) == whole, "the rounds of an uninterrupted run"
    assert calls == [2, 4, 6, 8, 9], f"no round is computed twice: {calls}"


def test_a_finished_run_is_read_and_another_task_is_not(runs_in):
    whole, calls = comparison.run(task([]), "some", 3), []
    assert comparison.run(task(calls), "some", 3) == whole and calls == [], "nothing is computed again"
    assert comparison.run(task(calls, budget=5), "some", 3)[-1].num_labels == 5 and calls == [2, 4, 5]
    (runs_in / "some_3.pt").write_bytes(b"cut off")
    assert comparison.run(task([]), "some", 3) == whole, "a file that cannot be read is no run"


def test_other_code_is_another_run(runs_in, monkeypatch):
    calls = []
    comparison.run(task([]), "some", 3)
    monkeypatch.setattr(comparison, "_key", lambda task: "of other code")
    comparison.run(task(calls), "some", 3)
    assert calls == [2, 4, 6, 8, 9], "the learner has changed the code: what it did before counts no more"


def test_the_table_compares_with_random():
    runs = {
        name: [[comparison.Round(n, seed + gain * n, ()) for n in (2, 4, 8)] for seed in range(3)]
        for name, gain in (("random", 0), ("better", 0.5))
    }
    rows = comparison.table(runs)
    # the mean of n over the range is (3 · 2 + 6 · 4) / 6 = 5, for every seed: no spread
    assert rows["better"] == pytest.approx((3.5, 2.5, 2.5, 2.5)) and rows["random"].gain == 0
    first, *lines = comparison.told(rows).splitlines()
    assert [line.split()[0] for line in lines] == ["better", "random"], "the best first"
