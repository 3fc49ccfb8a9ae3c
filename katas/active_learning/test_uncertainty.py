"""uncertainty: least confidence, margin and entropy of class probabilities.

Checked against Python floats, row by row. Out of scope: digits in half precision.
"""

import math

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from katas.active_learning.uncertainty import entropy, least_confidence, margin
from katas.lab.expect import expect_close, expect_refused
from katas.lab.laws import STANDING_LAWS, gradients_are_finite, gradients_are_right
from katas.lab.strategies import normal, seeds

F64, INF, LN2 = torch.float64, math.inf, math.log(2)
SCORES = [least_confidence, margin, entropy]


def logs(*rows):
    return torch.tensor(rows, dtype=F64).log()


def drawn(*shape, seed=0, spread=1.0, zeros=False):
    """Log-probabilities from logits with this standard deviation; with zeros, unlikely classes have p = 0."""
    logits = spread * normal(*shape, seed=seed)
    least = logits.amax(-1, keepdim=True) - (spread if zeros else INF)
    return logits.masked_fill(logits < least, -INF).log_softmax(-1)


# --- the definition ---------------------------------------------------------------------------------------------------


def by_hand(score, row):
    """Of one row of log-probabilities, as a list of floats."""
    largest, *rest = sorted(row, reverse=True)
    if score is entropy:
        return -sum(math.exp(log_p) * log_p for log_p in row if log_p > -INF)
    return 1 - math.exp(largest) + (math.exp(rest[0]) if score is margin and rest else 0.0)


# --- worked examples --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row, expected", [
    # largest 1/2, second 1/4: 1 - 1/2, 1 - (1/2 - 1/4), and 1/2 · ln 2 + 2 · 1/4 · ln 4
    ([0.25, 0.5, 0.25], [0.5, 0.75, 1.5 * LN2]),
    ([0.125, 0.125, 0.25, 0.5], [0.5, 0.75, 1.75 * LN2]),  # other classes count in the entropy alone
    ([0.375, 0.375, 0.25], [0.625, 1, -0.75 * math.log(0.375) + 0.5 * LN2]),  # a tie
    ([0.2, 0.2, 0.2, 0.2, 0.2], [0.8, 1, math.log(5)]),  # more than 1: nats, not divided by log C
    ([0.75, 0.25], [0.25, 0.5, 2 * LN2 - 0.75 * math.log(3)]),
    ([0.0, 0.5, 0.5, 0.0], [0.5, 1, LN2]),
    ([0.0, 1.0, 0.0], [0, 0, 0]),  # certain
    ([1.0], [0, 0, 0]),  # a single class
])  # fmt: skip
def test_rows_by_hand(row, expected):
    for score, number in zip(SCORES, expected, strict=True):
        expect_close(score(log_probs=logs(row)), [number], f"the {score.__name__} of {row}")
        expect_close(score(logs(row)[0]), torch.tensor(number, dtype=F64), "of a single row, without a batch")


def test_each_score_buys_another_example():
    pool = logs([0.36, 0.32, 0.32, 0], [0.46, 0.45, 0.045, 0.045], [0.48, 0.2, 0.16, 0.16])
    bought = [int(score(pool).argmax()) for score in SCORES]
    assert bought == [0, 1, 2], f"the lowest p_1, the closest pair, the most even spread: 0, 1, 2, not {bought}"


@pytest.mark.parametrize("score", SCORES)
def test_rounding_is_not_refused(score):
    for row in ([0.2, 0.3, 0.5 + 9e-4], [0.2, 0.3, 0.5 - 9e-4]):
        expected = by_hand(score, logs(row)[0].tolist())  # a score of the normalised row is as good
        expect_close(score(logs(row)), [expected], "sums within 1e-3 of 1 are taken", atol=2e-3, rtol=0)
    for log_probs in (drawn(2, 100_000).float(), drawn(50, 10).bfloat16()):
        assert score(log_probs).isfinite().all(), f"rounded sums are taken, in {log_probs.dtype} as well"


# --- agreement with the definition, and laws --------------------------------------------------------------------------

SHAPES = [(7,), (1, 1), (6, 1), (6, 2), (5, 3), (2, 10), (2, 3, 4), (3, 1, 2, 5), (2, 1000), (1100, 3)]


@pytest.mark.parametrize("score", SCORES)
@example(seed=0, shape=(5, 3), spread=1000.0, zeros=False)  # exp(-1000) is 0, and its logarithm is still a number
@given(seeds(), st.sampled_from(SHAPES), st.sampled_from([0.0, 1e-3, 1.0, 10.0, 1000.0]), st.booleans())
def test_scores_agree_with_the_definition(score, seed, shape, spread, zeros):
    log_probs = drawn(*shape, seed=seed, spread=spread, zeros=zeros)
    rows = log_probs.reshape(-1, shape[-1]).tolist()
    expected = torch.tensor([by_hand(score, row) for row in rows], dtype=F64).reshape(shape[:-1])
    expect_close(score(log_probs), expected, "row by row of the last axis; nothing is added inside a logarithm")


@pytest.mark.parametrize("score", SCORES)
@given(seeds(), st.sampled_from([2, 3, 10]))
def test_certain_is_least_and_uniform_is_most(score, seed, classes):
    got = score(drawn(20, classes, seed=seed, spread=2))
    most = {least_confidence: 1 - 1 / classes, margin: 1, entropy: math.log(classes)}[score]
    certain, uniform = score(logs([1.0] + [0.0] * (classes - 1), [1 / classes] * classes))
    expect_close(certain, torch.tensor(0.0, dtype=F64), "a certain prediction is worth nothing")
    expect_close(uniform, torch.tensor(most, dtype=F64), "a uniform one is worth most")
    assert (got >= 0).all() and (got <= most + 1e-12).all(), f"every score lies in [0, {most:.3g}]"


@given(seeds())
def test_with_two_classes_all_rank_alike(seed):
    log_probs = drawn(12, 2, seed=seed)
    orders = [score(log_probs).argsort().tolist() for score in SCORES]
    assert orders[0] == orders[1] == orders[2], f"each falls with |p - 1/2|: {orders}"


@pytest.mark.parametrize("score", SCORES)
def test_gradients_are_those_of_the_formula(score):
    gradients_are_right(lambda logits: score(logits.log_softmax(-1)), normal(4, 5))
    gradients_are_right(score, drawn(4, 3, seed=2))
    for row in ([0.0, 0.5, 0.5, 0.0], [0.0, 1.0, 0.0], [0.25, 0.75, 0.0]):
        gradients_are_finite(score, logs(row, [0.1] + [0.9 / (len(row) - 1)] * (len(row) - 1)))


# --- refusals and standing laws ---------------------------------------------------------------------------------------

GOOD = [0.2, 0.3, 0.5]


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("bad", [
    torch.tensor([math.nan, 0.0, -INF], dtype=F64),
    torch.tensor([2.0, -1.0, 0.5], dtype=F64),  # logits
    torch.tensor([0.2, 0.3, 0.5], dtype=F64),  # probabilities
    torch.tensor([-INF, -INF, -INF], dtype=F64),
    torch.tensor([INF, 0.0, 0.0], dtype=F64),
    logs([0.2, 0.3, 0.5 + 2e-3])[0], logs([0.2, 0.3, 0.5 - 2e-3])[0],
], ids=["NaN", "logits", "probabilities", "nothing", "infinite", "too much", "too little"])  # fmt: skip
def test_rows_that_are_no_log_probabilities_are_refused(score, bad):
    expect_refused("log_probs", lambda: score(bad))
    expect_refused("log_probs", lambda: score(torch.stack([logs(GOOD)[0], bad, logs(GOOD)[0]])[:, None]))
    opposite = logs([0.2, 0.3, 0.5 + 2e-3], [0.2, 0.3, 0.5 - 2e-3])
    expect_refused("log_probs", lambda: score(opposite))  # each row for itself, not their mean


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("law", STANDING_LAWS)
def test_standing_laws(law, score):
    law(score, drawn(5, 2, 3, zeros=True))
