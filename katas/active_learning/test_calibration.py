"""calibration: the expected calibration error, and the temperature that makes it smaller.

The error is checked against a loop over bins in Python floats, the temperature against closed forms and scipy's root of
the slope of the loss. Out of scope: speed, confidences that rounding puts on either side of an edge, labels that are no
class, logits for which every temperature is as good.
"""

import math

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.special import softmax

from katas.active_learning.calibration import expected_calibration_error, fit_temperature
from katas.lab.expect import expect_close, expect_refused
from katas.lab.laws import STANDING_LAWS
from katas.lab.strategies import normal, rng, seeds

F64 = torch.float64
WITHIN = {"rtol": 1.2e-4, "atol": 0}  # 1e-4 is promised
HALF = [torch.float16, torch.bfloat16]


def drawn(n, classes, *, seed=0, scale=1.0, share=0.5):
    """Logits, and labels of which about `share` are the class that is predicted; the others are any class."""
    logits, generator = scale * normal(n, classes, seed=seed), rng(seed + 1)
    random = torch.randint(classes, (n,), generator=generator)
    return logits, torch.where(torch.rand(n, generator=generator) < share, logits.argmax(1), random)


# --- the definition ---------------------------------------------------------------------------------------------------


def calibration_error(log_probs, labels, num_bins):
    """Bin by bin, on lists."""
    examples = [(math.exp(max(row)), row.index(max(row)) == y) for row, y in zip(log_probs, labels, strict=True)]
    error = 0.0
    for b in range(num_bins):
        inside = [(c, right) for c, right in examples if b / num_bins < c <= (b + 1) / num_bins]
        if inside:
            accuracy = sum(right for _, right in inside) / len(inside)
            confidence = sum(c for c, _ in inside) / len(inside)
            error += len(inside) / len(examples) * abs(accuracy - confidence)
    return error


def best_temperature(logits, labels):
    """Where the slope of the loss over log(1/T) is 0; the end of the range where it is nowhere 0."""
    z, y = logits.double().numpy(), labels.numpy()

    def slope(log_inverse):
        return np.mean((softmax(math.exp(log_inverse) * z, axis=1) * z).sum(1) - z[np.arange(len(y)), y])

    hottest, coldest = math.log(1 / 20), math.log(1 / 0.05)
    if slope(hottest) >= 0:
        return 20.0
    return 0.05 if slope(coldest) <= 0 else math.exp(-brentq(slope, hottest, coldest, xtol=1e-12))


# --- the error --------------------------------------------------------------------------------------------------------

FOUR = [[0.9, 0.1, 0], [0.18, 0.82, 0], [0.3, 0.7, 0], [0.3, 0.29, 0.41]]  # the second is wrong, the others are right


@pytest.mark.parametrize("law, probs, labels, options, expected", [
    # (0, 0.5]: |1 - 0.41|. (0.5, 1]: three examples, |2/3 - 0.80666…| = 0.14
    ("share of the bin times |accuracy - confidence|", FOUR, [0, 0, 1, 2], {"num_bins": 2}, (0.59 + 3 * 0.14) / 4),
    ("one bin: |accuracy - mean confidence|", FOUR, [0, 0, 1, 2], {"num_bins": 1}, 0.75 - 2.83 / 4),
    ("15 bins by default, here with one example each", FOUR, [0, 0, 1, 2], {}, (0.1 + 0.82 + 0.3 + 0.59) / 4),
    ("a confidence of 1 is in the last bin", [[1, 0], [0, 1], [0.1, 0.9]], [0, 0, 0], {"num_bins": 3}, 2.9 / 3 - 1 / 3),
    ("an edge belongs to the bin below it", [[0.5, 0.5], [0.6, 0.4]], [0, 1], {"num_bins": 2}, (0.5 + 0.6) / 2),
    ("equally likely classes: the lowest is predicted", [[0.25] * 4] * 3, [0, 0, 1], {"num_bins": 2}, 2 / 3 - 1 / 4),
    ("a single example", [[0.3, 0.7]], [0], {}, 0.7),
    ("no examples: no error", [], [], {}, 0.0),
])  # fmt: skip
def test_errors_by_hand(law, probs, labels, options, expected):
    log_probs = torch.tensor(probs, dtype=F64).log().reshape(len(probs), -1 if probs else 3)
    got = expected_calibration_error(log_probs=log_probs, labels=torch.tensor(labels).long(), **options)
    expect_close(got, expected, law)


@example(seed=2, n=3000, classes=7, num_bins=15, scale=1, share=0.5)
@given(
    seeds(), st.sampled_from([1, 2, 5, 60]), st.integers(1, 5), st.sampled_from([1, 2, 7, 15, 100]),
    st.sampled_from([0.3, 1, 4, 1000]), st.sampled_from([0, 0.5, 0.9]),
)  # fmt: skip
def test_the_error_agrees_with_the_definition(seed, n, classes, num_bins, scale, share):
    logits, labels = drawn(n, classes, seed=seed, scale=scale, share=share)
    log_probs = logits.log_softmax(1)
    expected = calibration_error(log_probs.tolist(), labels.tolist(), num_bins)
    got = expected_calibration_error(log_probs, labels, num_bins=num_bins)
    expect_close(
        got, expected, "sum of n_b / N · |accuracy_b - mean confidence_b|, all in float64", rtol=1e-11, atol=1e-12
    )


@pytest.mark.parametrize("dtype", HALF)
def test_the_error_of_many_examples_in_half_precision(dtype):
    logits, labels = drawn(20_000, 3)
    log_probs = logits.log_softmax(1).to(dtype)
    expected = calibration_error(log_probs.tolist(), labels.tolist(), 15)
    got = expected_calibration_error(log_probs, labels.int())
    expect_close(got, torch.tensor(expected, dtype=dtype), "summed in float64: float16 cannot count to 20,000")


# --- the temperature --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor, expected", [
    (1, 1), (1.7, 1.7), (0.5, 0.5), (0.06, 0.06), (19, 19), (0.02, 0.05), (30, 20), (-1, 20),
])  # fmt: skip
@pytest.mark.parametrize("counts", [[3, 1], [2, 5, 1]])
def test_logits_that_are_too_large_by_a_factor(counts, factor, expected):
    # all examples look alike, and class c has the share counts[c]: its logarithm is the best logit, up to a constant
    shares = torch.tensor(counts, dtype=F64) / sum(counts)
    logits, labels = (40 + factor * shares.log()).repeat(sum(counts), 1), torch.arange(len(counts))
    got = fit_temperature(logits=logits, labels=labels.repeat_interleave(torch.tensor(counts)))
    expect_close(got, expected, "T is the factor, within [0.05, 20]", **WITHIN)


@pytest.mark.parametrize("label, expected", [(2, 0.05), (0, 20)], ids=["all right", "all wrong"])
@pytest.mark.parametrize("scale", [1, 1000])  # with 1000 float64 rounds the loss of right predictions to 0
@pytest.mark.parametrize("n", [1, 3])
def test_all_right_or_all_wrong_ends_at_a_border(n, scale, label, expected):
    logits = scale * torch.tensor([[-0.2, 0.1, 0.4]], dtype=F64).repeat(n, 1)
    got = fit_temperature(logits, torch.full((n,), label))
    expect_close(got, expected, "the loss falls up to the border, and there the search ends", **WITHIN)


@example(seed=3, n=2000, classes=4, scale=3, share=0.8, offset=0)
@given(
    seeds(), st.sampled_from([20, 57, 150]), st.integers(2, 6), st.sampled_from([0.2, 1, 5, 40]),
    st.sampled_from([0, 0.3, 0.8, 0.95]), st.sampled_from([0, -500]),
)  # fmt: skip
def test_the_temperature_agrees_with_the_definition(seed, n, classes, scale, share, offset):
    logits, labels = drawn(n, classes, seed=seed, scale=scale, share=share)
    logits = logits + offset
    expect_close(fit_temperature(logits, labels), best_temperature(logits, labels), "the smallest loss", **WITHIN)


@pytest.mark.parametrize("dtype", HALF)
def test_the_temperature_in_half_precision(dtype):
    logits, labels = drawn(500, 4, scale=80, share=0.98)  # the best T is about 16
    expected = torch.tensor(best_temperature(logits.to(dtype), labels), dtype=dtype)
    expect_close(fit_temperature(logits.to(dtype), labels.int()), expected, "fitted in float64, rounded at the end")


def test_without_examples_the_temperature_is_1():
    expect_close(fit_temperature(normal(0, 3), torch.zeros(0).long()), 1.0, "nothing to fit: logits stay what they are")


def test_both_carry_no_gradient():
    logits, labels = drawn(9, 3)
    logits.requires_grad_()
    for got in (fit_temperature(logits, labels), expected_calibration_error(logits.log_softmax(1), labels)):
        assert not got.requires_grad, "a number to judge by: it carries no gradient"


# --- promises of all katas --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_bins", [0, -1])
def test_less_than_one_bin_is_refused(num_bins):
    logits, labels = drawn(5, 3)
    expect_refused("num_bins", lambda: expected_calibration_error(logits.log_softmax(1), labels, num_bins=num_bins))


@pytest.mark.parametrize("law", STANDING_LAWS)
def test_standing_laws(law):
    logits, labels = drawn(11, 3)
    law(expected_calibration_error, logits.log_softmax(1), labels)
    law(fit_temperature, logits, labels)
