"""The loop of active learning: fit, evaluate, choose, buy, and again from scratch.

Strategies differ in `acquire` alone. A comparison gives each of them a pool with the same initial set, the same `fit`
and the same budget.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor


class Round(NamedTuple):
    """One model: the number of labels it was trained on, its score, and the global indices bought with its help."""

    num_labels: int
    score: float
    bought: tuple[int, ...]


def top_scores(scores: Float[Tensor, " N"], count: int) -> Int64[Tensor, " count"]:
    """The positions of the `count` highest scores, the highest first; of equal scores the lowest position first.

    0 ≤ count ≤ N. Scores that hold NaN are refused with a ValueError that names `scores`: a sort would put NaN first.
    """
    if not 0 <= count <= len(scores):
        raise ValueError(f"count must lie between 0 and the number of scores, {len(scores)}, got {count}")
    if scores.isnan().any():
        raise ValueError(f"scores must be numbers, but {scores.isnan().nonzero().flatten().tolist()} are NaN")
    return scores.argsort(descending=True, stable=True)[:count]  # topk promises no order of equal scores


def active_learning_loop(
    pool,
    *,
    fit: Callable[[Int64[Tensor, " L"], list[Any]], Any],
    acquire: Callable[[Any, Int64[Tensor, " U"], int, torch.Generator], Int[Tensor, " count"]],
    evaluate: Callable[[Any], Any],
    batch_size: int,
    budget: int,
    generator: torch.Generator,
    on_round: Callable[[Round], None] | None = None,
) -> list[Round]:
    """Buys labels until `pool`, an `ActivePool`, has `budget` of them. Each round, in this order:

        model = fit(pool.labelled, pool.labels)
        score = float(evaluate(model))
        positions = acquire(model, pool.unlabelled, count, generator)       count = min(batch_size, budget - num_labels)
        pool.buy(positions), then on_round(Round(num_labels, score, bought))

    - `fit` trains from scratch and sees no earlier model.
    - The last round has `budget` labels or more, and buys nothing: its `bought` is empty, and there is no `on_round`.
    - A run goes on from what is saved in `on_round` (the pool, the generator, the rounds so far): call the loop again.
      It returns the rounds that are missing.

    A ValueError names `pool` if it has no initial set, `budget` if it is above the size of the pool, `batch_size` if it
    is below 1, and `acquire` if it returns another number than `count`; that batch is not bought.
    """
    if len(pool.labelled) == 0:
        raise ValueError("pool has no labels: buy an initial set first")
    if budget > len(pool.labelled) + len(pool.unlabelled):
        raise ValueError(f"budget is {budget}, and the pool has {len(pool.labelled) + len(pool.unlabelled)} examples")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    rounds: list[Round] = []
    while True:
        num_labels = len(pool.labelled)
        model = fit(pool.labelled, pool.labels)
        score = float(evaluate(model))
        count = min(batch_size, budget - num_labels)
        if count <= 0:
            return [*rounds, Round(num_labels, score, ())]
        positions = acquire(model, pool.unlabelled, count, generator)
        if len(positions) != count:
            raise ValueError(f"acquire returned {len(positions)} positions instead of {count}")
        bought = tuple(pool.buy(positions).tolist())
        rounds.append(Round(num_labels, score, bought))
        if on_round is not None:
            on_round(rounds[-1])
