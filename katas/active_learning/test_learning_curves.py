"""learning_curves: areas, labels needed, and intervals of paired differences.

Areas and crossings are checked against Python floats, intervals against all S^S resamples. A quantile between two means
may be either of them, or between. Out of scope: scores that are not finite, coverage of the intervals.
"""

import math
from itertools import accumulate, pairwise, product

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from katas.active_learning.learning_curves import area_under_learning_curve, labels_to_reach, paired_bootstrap
from katas.lab.expect import expect_close, expect_refused
from katas.lab.laws import STANDING_LAWS, empty_batches_give_empty_results
from katas.lab.strategies import normal, rng, seeds

F64 = torch.float64
INF = math.inf
ROUNDS = torch.tensor([10, 20, 50])
RUNS = [(), (1,), (4,), (2, 3), (0,)]


# --- the definition ---------------------------------------------------------------------------------------------------


def area(rounds, run):
    if len(rounds) == 1:
        return run[0]
    points = list(zip(rounds, run, strict=True))
    return sum((s + t) / 2 * (m - n) for (n, s), (m, t) in pairwise(points)) / (rounds[-1] - rounds[0])


def needed(rounds, run, target):
    if run[0] >= target:
        return rounds[0]
    for (n, s), (m, t) in pairwise(zip(rounds, run, strict=True)):
        if t >= target:
            return n + (target - s) / (t - s) * (m - n)
    return INF


def by_run(fn, num_labels, scores, *options):
    runs = scores.double().reshape(-1, len(num_labels)).tolist()
    results = [fn(num_labels.tolist(), run, *options) for run in runs]
    return torch.tensor(results, dtype=F64).reshape(scores.shape[:-1]).to(scores.dtype)


def expect_interval(got, a, b, num_resamples, confidence):
    """Against all resamples. A sample's quantile errs by sqrt(q (1 - q) / n): six of them, or 36 / n in a thin tail."""
    __tracebackhide__ = True
    differences = [x - y for x, y in zip(a.tolist(), b.tolist(), strict=True)]
    means = sorted(sum(drawn) / len(drawn) for drawn in product(differences, repeat=len(a)))
    expect_close(got.mean, sum(differences) / len(a), "mean: of the differences themselves")
    for end, q in [(got.low, (1 - confidence) / 2), (got.high, (1 + confidence) / 2)]:
        error = 6 * math.sqrt(q * (1 - q) / num_resamples) + 36 / num_resamples
        least = means[max(math.ceil((q - error) * len(means)) - 1, 0)]
        most = means[min(math.floor((q + error) * len(means)), len(means) - 1)]
        nearest = max(least, min(most, float(end)))
        expect_close(end, nearest, f"the quantile {q:.3f} of the means of all resamples, or as near as chance allows")


# --- worked examples --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scores, expected", [
    # ten labels at a mean height of 0.4 and thirty at 0.75, over forty
    ([0.2, 0.6, 0.9], (4 + 22.5) / 40),
    ([0.9, 0.6, 0.2], (7.5 + 12) / 40),
    ([-3.0, -3.0, -3.0], -3),
])  # fmt: skip
def test_areas_by_hand(scores, expected):
    got = area_under_learning_curve(num_labels=ROUNDS, scores=torch.tensor(scores, dtype=F64))
    expect_close(got, expected, "trapezoids over the labels, divided by the range of labels")


@pytest.mark.parametrize("target, scores, expected", [
    (0.5, [0.2, 0.6, 0.9], 10 + 10 * 0.3 / 0.4),
    (0.7, [0.2, 0.6, 0.9], 20 + 30 * 0.1 / 0.3),
    (0.6, [0.2, 0.6, 0.9], 20),  # equal is reached
    (0.9, [0.2, 0.6, 0.9], 50),
    (0.2, [0.2, 0.6, 0.9], 10), (0.1, [0.2, 0.6, 0.9], 10),  # at the first round already
    (0.91, [0.2, 0.6, 0.9], INF),
    (0.5, [0.2, 0.6, 0.1], 10 + 10 * 0.3 / 0.4),  # it falls again: the first crossing counts
    (0.5, [0.7, 0.2, 0.6], 10),
    (0.5, [0.3, 0.2, 0.6], 20 + 30 * 0.3 / 0.4),
    (0.6, [0.2, 0.6, 0.6], 20),
    (-INF, [0.2, 0.6, 0.9], 10), (INF, [0.2, 0.6, 0.9], INF),
])  # fmt: skip
def test_labels_needed_by_hand(target, scores, expected):
    got = labels_to_reach(num_labels=ROUNDS, scores=torch.tensor(scores, dtype=F64), target=target)
    expect_close(got, expected, "where the line between two rounds first reaches the target")


@pytest.mark.parametrize("options, low, high", [
    # differences 9, 0, 3. Of 27 resamples one has the mean 0, three 1 (to 15 %), three 2 (to 26 %), …, three 7, one 9
    ({"confidence": 0.6}, 2, 6), ({"confidence": 0.8}, 1, 7), ({"confidence": 0.95}, 0, 9), ({}, 0, 9),
])  # fmt: skip
def test_an_interval_by_hand(options, low, high):
    a, b = torch.tensor([20, 5, -4], dtype=F64), torch.tensor([11, 5, -7], dtype=F64)
    got = paired_bootstrap(a=a, b=b, **options, generator=rng())
    expect_close(got, [4, low, high], "mean(a - b), and quantiles of the means of resampled pairs (0.95 by default)")


# --- agreement with the definition, and laws --------------------------------------------------------------------------


@given(
    seeds(), st.integers(-3, 60), st.lists(st.sampled_from([1, 2, 7, 90_000]), max_size=6), st.sampled_from(RUNS),
    st.sampled_from([1e-3, 1.0, 1e5]), st.sampled_from([-1.5, -0.5, 0, 0.5, 1, 2]),
)  # fmt: skip
def test_curves_agree_with_the_definition(seed, start, gaps, runs, unit, target):
    num_labels = torch.tensor(list(accumulate(gaps, initial=start)))
    scores = unit * (2 * normal(*runs, len(num_labels), seed=seed)).round() / 2  # many are equal, or equal the target
    got = area_under_learning_curve(num_labels, scores)
    expect_close(got, by_run(area, num_labels, scores), "the mean height of each curve")
    got = labels_to_reach(num_labels, scores, unit * target)
    expect_close(got, by_run(needed, num_labels, scores, unit * target), "the first crossing of each curve")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("rounds", [[240, 257, 300], [1000, 1001, 70_000], [2**24, 2**24 + 1, 2**24 + 3]], ids=str)
def test_labels_and_scores_keep_their_digits(rounds, dtype):
    # float16 has no 70,000, bfloat16 no 257, and float32 no 2²⁴ + 1
    num_labels, target = torch.tensor(rounds), torch.tensor(0.9).to(dtype).item()
    scores = torch.tensor([[0.1, 0.9, 0.95], [0.9, 40_000, 50_000], [-40_000, 50_000, 0], [0.1, 0.2, 0.9]]).to(dtype)
    got = area_under_learning_curve(num_labels, scores)
    expect_close(got, by_run(area, num_labels, scores), "compute in float64, round at the end")
    got = labels_to_reach(num_labels, scores, 0.9)
    expect_close(got, by_run(needed, num_labels, scores, target), f"target rounded to {dtype}, rest in float64")


@example(seed=0, count=2, unit=1.0, num_resamples=1, confidence=0.9)
@given(
    seeds(), st.integers(2, 5), st.sampled_from([1e-3, 1.0, 1e5]), st.sampled_from([2000, 5001]),
    st.sampled_from([0.05, 0.5, 0.683, 0.9, 0.99]),
)  # fmt: skip
def test_intervals_agree_with_all_resamples(seed, count, unit, num_resamples, confidence):
    luck, a, b = unit * normal(3, count, seed=seed)  # luck is that of a seed, common to both
    a, b, options = 9 * luck + a + unit, 9 * luck + b, {"num_resamples": num_resamples, "confidence": confidence}
    got = paired_bootstrap(a.clone(), b.clone(), **options, generator=rng(seed))
    expect_interval(got, a, b, **options)


def test_many_seeds_give_the_normal_interval():
    # the standard error of an end is 0.03 standard errors of the mean; six of them
    a, b = 3 + normal(400), normal(400, seed=1)
    mean, error, got = (a - b).mean(), (a - b).std(correction=0) / 20, paired_bootstrap(a, b, generator=rng())
    ends, within = [mean - 1.96 * error, mean + 1.96 * error], {"atol": 0.18 * float(error), "rtol": 0}
    expect_close([got.low, got.high], ends, "1.96 standard errors to either side of the mean", **within)


def test_one_resample_is_an_interval_of_one_point():
    got = paired_bootstrap(normal(50), normal(50, seed=1), num_resamples=1, generator=rng())
    assert got.low == got.high != got.mean, f"both ends are the one mean, and the mean is that of all seeds: {got}"


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_differences_keep_their_digits(dtype):
    a, b = (60_000 + 64 * normal(2, 8).round()).to(dtype)
    exact, got = (a.double() - b.double()).mean(), paired_bootstrap(a, b, generator=rng())
    assert {part.dtype for part in got} == {dtype}, f"the dtype of a, {dtype}, not {got.mean.dtype}"
    expect_close(got.mean, exact.to(dtype), "the sum of eight large scores is no number of float16: use float64")


def test_randomness_comes_from_the_generator():
    a, b, generator = normal(30), normal(30, seed=1), rng(1)
    first, second = (list(paired_bootstrap(a, b, generator=generator)) for _ in range(2))
    expect_close(list(paired_bootstrap(a, b, generator=rng(1))), first, "the same seed gives the same interval")
    assert first[0] == second[0] and first[1:] != second[1:], "two intervals of one generator are different ones"


# --- refusals and standing laws ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("rounds", [[10, 20, 20], [10, 30, 20], [10, 9], []])
def test_rounds_rise_strictly(rounds):
    num_labels, scores = torch.tensor(rounds, dtype=torch.int64), normal(2, len(rounds))
    expect_refused("num_labels", lambda: area_under_learning_curve(num_labels, scores))
    expect_refused("num_labels", lambda: labels_to_reach(num_labels, scores, 0.5))


@pytest.mark.parametrize("name, seeds, options", [
    ("a", 1, {}), ("a", 0, {}), ("num_resamples", 4, {"num_resamples": 0}), ("num_resamples", 4, {"num_resamples": -1}),
    *[("confidence", 4, {"confidence": number}) for number in (0.0, 1.0, -0.1, 1.1, 95, math.nan)],
])  # fmt: skip
def test_what_is_out_of_range_is_refused(name, seeds, options):
    expect_refused(name, lambda: paired_bootstrap(*normal(2, seeds), **options, generator=rng()))


@pytest.mark.parametrize("law", STANDING_LAWS)
def test_standing_laws(law):
    scores = normal(4, 3)
    law(lambda scores, num_labels: area_under_learning_curve(num_labels, scores), scores, ROUNDS)
    law(lambda scores, num_labels: area_under_learning_curve(num_labels, scores), scores[:, :1], ROUNDS[:1])
    law(lambda scores, num_labels: labels_to_reach(num_labels, scores, 0.1), scores, ROUNDS)
    if law is not empty_batches_give_empty_results:  # an interval needs two seeds
        law(lambda a, b: paired_bootstrap(a, b, num_resamples=9, generator=rng()), *normal(2, 4))
