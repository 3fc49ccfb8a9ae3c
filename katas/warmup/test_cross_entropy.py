"""cross_entropy: the logarithm of softmax, and the loss of a classifier.

Checked against Python floats, and against PyTorch's own where that is defined. Out of scope: targets outside 0 … C - 1
other than `ignore_index`, rows of which every logit is -inf.
"""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from katas.lab.expect import expect_close, expect_equal, expect_refused
from katas.lab.laws import STANDING_LAWS, gradients_are_finite, gradients_are_right
from katas.lab.strategies import normal, rng, seeds
from katas.warmup.cross_entropy import cross_entropy, log_softmax

F64, INF, NAN, LN2, LN3 = torch.float64, math.inf, math.nan, math.log(2), math.log(3)
SIZES = st.sampled_from([(1, 1), (1, 4), (5, 1), (3, 2), (7, 10), (2, 1000)])
SMOOTHINGS = st.sampled_from([0, 0.1, 0.5, 1])


# --- the definition ---------------------------------------------------------------------------------------------------


def log_probabilities(logits):
    """Of one row, in Python floats."""
    top = max(logits)
    total = math.log(math.fsum(math.exp(z - top) for z in logits))
    return [z - top - total for z in logits]


def mean_loss(logits, targets, smoothing=0.0, ignore_index=-100):
    losses = []
    for row, target in zip(logits.tolist(), targets.tolist(), strict=True):
        if target != ignore_index:
            logs = log_probabilities(row)
            losses.append(-(1 - smoothing) * logs[target] - (smoothing and smoothing * sum(logs) / len(logs)))
    return sum(losses) / len(losses) if losses else 0.0


# --- the logarithm of softmax -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("logits, expected, law", [
    ([[0, 0, 0]], [[-LN3] * 3], "equal logits: each has 1/3"),
    ([[LN3, 0]], [[math.log(3 / 4), math.log(1 / 4)]], "odds of 3 to 1"),
    ([[5, 5 - LN3]], [[math.log(3 / 4), math.log(1 / 4)]], "only differences count"),
    ([[1000, 0, -1000]], [[0, -1000, -2000]], "gaps of 1000: nothing overflows, and no logarithm of 0"),
    ([[-1e4, -1e4]], [[-LN2] * 2], "all logits far below 0"),
    ([[1, -INF, 1]], [[-LN2, -INF, -LN2]], "a logit of -inf: probability 0"),
    ([[7]], [[0]], "a single class is certain"),
])  # fmt: skip
def test_rows_by_hand(logits, expected, law):
    expect_close(log_softmax(logits=torch.tensor(logits, dtype=F64)), expected, law)


@given(seeds(), st.sampled_from([(3,), (1, 1), (4, 3), (2, 5, 6), (6, 2, 1)]), st.sampled_from([0.1, 3, 300]))
def test_the_last_axis_holds_the_classes(seed, shape, spread):
    logits = spread * normal(*shape, seed=seed)
    rows = [log_probabilities(row) for row in logits.reshape(-1, shape[-1]).tolist()]
    got = log_softmax(logits)
    expect_close(got, torch.tensor(rows, dtype=F64).reshape(shape), "row by row along the last axis")


@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_gradients_stay_finite_at_any_gap(dtype):
    logits = torch.tensor([[1000.0, 0, -1000], [0, -INF, 100]], dtype=dtype)
    gradients_are_finite(log_softmax, logits)
    gradients_are_finite(lambda z: cross_entropy(z, torch.tensor([2, 0])), logits)


# --- the loss ---------------------------------------------------------------------------------------------------------

ODDS = [[LN3, 0.0], [0.0, 0.0]]  # 3/4 and 1/4, then a half each


@pytest.mark.parametrize("logits, targets, options, expected, law", [
    (ODDS, [0, 1], {}, (math.log(4 / 3) + LN2) / 2, "the mean of -log 3/4 and -log 1/2"),
    (ODDS, [1, 0], {}, (math.log(4) + LN2) / 2, "the target chooses the class"),
    (ODDS, [0, -100], {}, math.log(4 / 3), "an ignored row counts in neither sum nor number"),
    (ODDS, [0, 1], {"ignore_index": 1}, math.log(4 / 3), "any number may be ignored, a class too"),
    (ODDS, [0, -1], {"ignore_index": -1}, math.log(4 / 3), "-1 is not the last class"),
    # -0.8 log 3/4 - 0.2 (log 3/4 + log 1/4) / 2
    (ODDS[:1], [0], {"label_smoothing": 0.2}, 0.9 * math.log(4 / 3) + 0.1 * math.log(4), "a share goes to all classes"),
    ([[NAN, 1], ODDS[0], [INF, -INF]], [-100, 0, -100], {}, math.log(4 / 3), "NaN in an ignored row goes nowhere"),
    ([[NAN, 1], ODDS[0]], [0, 0], {}, NAN, "NaN in a row that counts is not healed: the run has diverged"),
    ([[0, -INF]], [0], {}, 0, "an impossible class costs nothing where it is not the target"),
    ([[0, -INF]], [1], {}, INF, "and infinitely much where it is"),
    (ODDS, [-100, -100], {}, 0, "all rows ignored: 0"),
    ([[0.0] * 10], [3], {}, math.log(10), "who knows nothing pays log C"),
])  # fmt: skip
def test_losses_by_hand(logits, targets, options, expected, law):
    logits = torch.tensor(logits, dtype=F64)
    expect_close(cross_entropy(logits=logits, targets=torch.tensor(targets), **options), expected, law)


@given(seeds(), SIZES, SMOOTHINGS, st.sampled_from([0.1, 3, 300]), st.sampled_from([-100, -1, 0, 3, 255]))
def test_the_loss_agrees_with_the_definition(seed, sizes, smoothing, spread, ignored):
    n, classes = sizes
    logits, targets = spread * normal(n, classes, seed=seed), torch.randint(classes, (n,), generator=rng(seed))
    targets[torch.rand(n, generator=rng(seed + 1)) < 0.3] = ignored
    got = cross_entropy(logits, targets, label_smoothing=smoothing, ignore_index=ignored)
    expect_close(got, mean_loss(logits, targets, smoothing, ignored), "the mean over the rows that count")


@given(seeds(), SMOOTHINGS)
def test_the_gradient_is_that_of_pytorch(seed, smoothing):
    targets = torch.tensor([2, -100, 0, 1, 2])
    gradients = []
    for fn in (cross_entropy, F.cross_entropy):
        logits = normal(5, 3, seed=seed).requires_grad_()
        gradients += torch.autograd.grad(fn(logits, targets, label_smoothing=smoothing), logits)
    expect_close(*gradients, "softmax minus the target, divided by the rows that count")


def test_ignored_rows_get_no_gradient():
    logits = torch.tensor([[NAN, 1], [0, 0], [INF, -INF]], dtype=F64, requires_grad=True)
    (gradient,) = torch.autograd.grad(cross_entropy(logits, torch.tensor([-100, 1, -100])), logits)
    expect_equal(gradient, [[0, 0], [0.5, -0.5], [0, 0]], "0 in an ignored row, whatever is in it")
    (gradient,) = torch.autograd.grad(cross_entropy(logits, torch.tensor([-100] * 3)), logits)
    expect_equal(gradient, torch.zeros_like(gradient), "all ignored: the loss can be trained on, and its gradient is 0")


def test_gradients_are_those_of_the_formula():
    gradients_are_right(log_softmax, normal(3, 4))
    gradients_are_right(lambda z: cross_entropy(z, torch.tensor([0, 3, 2]), label_smoothing=0.3), normal(3, 4))


# --- promises of all katas --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("smoothing", [-0.01, 1.01, NAN])
@pytest.mark.parametrize("rows", [0, 2])
def test_smoothing_out_of_range_is_refused(smoothing, rows):
    logits, targets = normal(rows, 3), torch.zeros(rows, dtype=torch.int64)
    expect_refused("label_smoothing", lambda: cross_entropy(logits, targets, label_smoothing=smoothing))


@pytest.mark.parametrize("law", STANDING_LAWS)
def test_standing_laws(law):
    law(log_softmax, normal(5, 3))
    law(log_softmax, normal(2, 5, 3))
    law(cross_entropy, normal(5, 3), torch.tensor([0, 2, -100, 1, 1]), label_smoothing=0.1)
