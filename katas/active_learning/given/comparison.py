"""Strategies side by side: the same initial set, the same budget and the same training, paired by seed.

The run of one strategy with one seed is a work item. It is saved after every purchase, goes on from there after an
interruption, and is not computed again once it is finished, unless the code has changed that it depends on. Several
processes (`pytest -n 4`) may want the same item: one computes it, the others wait.
"""

import fcntl
import hashlib
import pickle
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from katas.active_learning.given.sealed import SealedLabels
from katas.active_learning.learning_curves import area_under_learning_curve, paired_bootstrap
from katas.active_learning.loop import Round, active_learning_loop
from katas.active_learning.pool import ActivePool
from katas.lab import catalog
from katas.lab.checks.recorder import save

# (model, labelled, unlabelled, count, generator) → positions in `unlabelled`
Strategy = Callable[[Any, Tensor, Tensor, int, torch.Generator], Tensor]


class Task(NamedTuple):
    """What all strategies have in common."""

    name: str
    labels: Sequence[Any]  # of the whole pool; a run gets them sealed
    initial: Callable[[int], Tensor]  # seed → the indices that are labelled from the start
    fit: Callable[[Tensor, list, int], Any]  # (labelled, labels, seed) → a model, trained from scratch
    evaluate: Callable[[Any], float]
    strategies: Mapping[str, Strategy]
    batch_size: int
    budget: int
    device: torch.device


def run(task: Task, strategy: str, seed: int, on_round: Callable[[Round], None] | None = None) -> list[Round]:
    """The rounds of a strategy with one seed: what the file has, and what is still missing."""
    file = folder_of(task) / f"{strategy}_{seed}.pt"
    file.parent.mkdir(parents=True, exist_ok=True)
    with (file.with_suffix(".lock")).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        pool, generator, rounds = _begun(task, seed, file)
        if rounds and rounds[-1].num_labels == task.budget:
            return rounds
        if not rounds:
            pool.seed(task.initial(seed))

        def keep(new: Round) -> None:
            rounds.append(new)
            state = {
                "pool": pool.state_dict(),
                "generator": generator.get_state(),
                "rounds": [tuple(r) for r in rounds],
            }
            save({"key": _key(task)} | state, file)
            if on_round:
                on_round(new)

        missing = active_learning_loop(
            pool,
            fit=lambda labelled, labels: task.fit(labelled, labels, 1000 * seed + len(labelled)),
            acquire=lambda model, unlabelled, count, generator: task.strategies[strategy](
                model, pool.labelled, unlabelled, count, generator
            ),
            evaluate=task.evaluate, batch_size=task.batch_size, budget=task.budget, generator=generator, on_round=keep,
        )  # fmt: skip
        keep(missing[-1])  # the loop reports purchases; the last round has none
        return rounds


def _begun(task: Task, seed: int, file: Path) -> tuple[ActivePool, torch.Generator, list[Round]]:
    """As far as the file goes; from the start if there is none, or it belongs to other code."""
    pool = ActivePool(len(task.labels), SealedLabels(task.labels))
    generator = torch.Generator(task.device).manual_seed(seed)
    try:
        state = torch.load(file, weights_only=True, map_location="cpu")
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError):
        return pool, generator, []
    if state.get("key") != _key(task):
        return pool, generator, []
    pool.load_state_dict(state["pool"])
    generator.set_state(state["generator"])
    return pool, generator, [Round(*row) for row in state["rounds"]]


def _key(task: Task) -> str:
    """Of the code that runs, the learner's and what is given, and of the size of the task."""
    mine = ("katas.active_learning.", "solutions.detection.")
    modules = {name: module for name, module in sys.modules.items() if name.startswith(mine)}
    files = sorted({module.__file__ for name, module in modules.items() if ".test_" not in name and module.__file__})
    code = hashlib.sha256(b"".join(Path(file).read_bytes() for file in files)).hexdigest()[:16]
    return f"{code} {len(task.labels)} {task.batch_size} {task.budget} {task.device.type}"


def folder_of(task: Task) -> Path:
    return catalog.RUNS / "active_learning" / task.name


def numbers_of_labels(rounds: Sequence[Round]) -> Tensor:
    return torch.tensor([one.num_labels for one in rounds])


def scores_of(runs: Sequence[Sequence[Round]]) -> Tensor:
    """(runs, rounds), float64."""
    return torch.tensor([[one.score for one in rounds] for rounds in runs], dtype=torch.float64)


class Row(NamedTuple):
    """A strategy over all seeds, against random: mean area, and the interval of the difference in area."""

    area: float
    gain: float
    low: float
    high: float


def table(runs: Mapping[str, Sequence[Sequence[Round]]], baseline: str = "random") -> dict[str, Row]:
    """By strategy, from its runs by seed; the seeds of all strategies are the same, in the same order."""
    labels = numbers_of_labels(runs[baseline][0])
    areas = {name: area_under_learning_curve(labels, scores_of(some)) for name, some in runs.items()}
    rows = {}
    for name, area in areas.items():
        interval = paired_bootstrap(area, areas[baseline], generator=torch.Generator().manual_seed(0))
        rows[name] = Row(float(area.mean()), *(float(part) for part in interval))
    return rows


def told(rows: Mapping[str, Row]) -> str:
    """The table as text, the best strategy first."""
    lines = [f"{'strategy':<24} area    minus random, 95 % interval"]
    for name, row in sorted(rows.items(), key=lambda item: -item[1].area):
        lines.append(f"{name:<24} {row.area:.4f}  {row.gain:+.4f}  [{row.low:+.4f}, {row.high:+.4f}]")
    return "\n".join(lines)
