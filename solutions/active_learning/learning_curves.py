"""Learning curves: what a strategy is worth, as one number a run, and whether two strategies differ.

A run trains and scores a model in each of R rounds, with more labels in every round. One curve tells little, because
the initial set and the training are random. Strategies are compared over several seeds, with the same seeds for both.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor


class Interval(NamedTuple):
    """A mean, and the ends of its confidence interval."""

    mean: Float[Tensor, ""]
    low: Float[Tensor, ""]
    high: Float[Tensor, ""]


def area_under_learning_curve(
    num_labels: Int[Tensor, " R"], scores: Float[Tensor, "*runs R"]
) -> Float[Tensor, "*runs"]:
    """The mean score over the range of labels, with straight lines between the rounds.

        sum over r of (s_r + s_{r+1}) / 2 * (n_{r+1} - n_r)  /  (n_R - n_1),        n = num_labels, s = scores

    Rounds that are further apart count more. With a single round it is the score itself. `num_labels` holds at least
    one round and rises strictly; otherwise a ValueError names it.
    """
    _check_rounds(num_labels)
    if len(num_labels) == 1:
        return scores[..., 0].clone()
    gaps = num_labels.double().diff()
    heights = (scores[..., :-1].double() + scores[..., 1:].double()) / 2
    return ((heights * gaps).sum(-1) / gaps.sum()).to(scores.dtype)


def labels_to_reach(
    num_labels: Int[Tensor, " R"], scores: Float[Tensor, "*runs R"], target: float
) -> Float[Tensor, "*runs"]:
    """How many labels a run needs until its curve first reaches `target`, with straight lines between the rounds.

    - at the first round already: `num_labels[0]`, since nothing is known about fewer labels
    - in no round: inf
    - a score that equals the target reaches it. What follows the first crossing does not count.

    The target is rounded to the dtype of the scores: 0.9 in float32 reaches 0.9. `num_labels` as in
    `area_under_learning_curve`.
    """
    _check_rounds(num_labels)
    goal = scores.new_tensor(target)
    reached = scores >= goal
    after = reached.long().argmax(-1)  # the first round that reaches it; 0 if none does
    before = (after - 1).clamp(min=0)
    low, high = (scores.double().gather(-1, r[..., None])[..., 0] for r in (before, after))
    climbs = after > 0
    share = torch.where(climbs, goal.double() - low, 0) / torch.where(climbs, high - low, 1)
    labels = num_labels.double()
    crossing = labels[before] + share * (labels[after] - labels[before])
    return torch.where(reached.any(-1), crossing, torch.inf).to(scores.dtype)


def _check_rounds(num_labels: Int[Tensor, " R"]) -> None:
    if len(num_labels) == 0 or (num_labels.diff() <= 0).any():
        raise ValueError(f"num_labels must hold at least one round and rise strictly, got {num_labels.tolist()}")


def paired_bootstrap(
    a: Float[Tensor, " S"],
    b: Float[Tensor, " S"],
    *,
    num_resamples: int = 10_000,
    confidence: float = 0.95,
    generator: torch.Generator,
) -> Interval:
    """The mean of a - b, and its percentile interval.

    `a[i]` and `b[i]` belong to the same seed. Seeds are resampled in pairs: what a lucky seed adds to both cancels in
    the difference.

    A resample draws S seeds with replacement, and has a mean difference. The interval lies between the quantiles
    (1 - confidence) / 2 and (1 + confidence) / 2 of `num_resamples` such means. `mean` is that of the S differences.

    S is at least 2 (otherwise a ValueError names `a`), `num_resamples` at least 1, and 0 < confidence < 1. The interval
    of a few seeds is too narrow.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), the percentile interval.
    """
    if len(a) < 2:
        raise ValueError(f"a and b must hold at least two seeds, got {len(a)}")
    if num_resamples < 1:
        raise ValueError(f"num_resamples must be at least 1, got {num_resamples}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}")
    differences = a.double() - b.double()
    seeds = torch.randint(len(a), (num_resamples, len(a)), generator=generator, device=generator.device)
    means = differences[seeds.to(a.device)].mean(1)
    ends = means.quantile(means.new_tensor([(1 - confidence) / 2, (1 + confidence) / 2]))
    return Interval(*(number.to(a.dtype) for number in (differences.mean(), *ends)))
