"""focal_loss: the sigmoid focal loss of every logit, and its sum normalised by the number of positives.

Targets are 0 or 1, one for every logit (a sigmoid per class, not a softmax). Everything is checked against the
definition in Python numbers. Out of scope: soft targets, alpha = None.
"""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from katas.detection.focal_loss import normalised_focal_loss, sigmoid_focal_loss
from katas.lab.expect import expect_close, expect_refused
from katas.lab.laws import STANDING_LAWS, gradients_are_finite, gradients_are_right
from katas.lab.strategies import tensors

LOSSES = [sigmoid_focal_loss, normalised_focal_loss]
GAMMAS = [0, 0.5, 1, 2, 5]
alphas = st.sampled_from([0, 0.1, 0.25, 0.5, 1])
SATURATED = [-200.0, 200.0, -90.0, 90.0, -20.0, 20.0]


@st.composite
def logits_and_targets(draw):
    """Of any rank; logits around 0, of ordinary size or saturated."""
    shape = draw(st.sampled_from([(), (1,), (5,), (3, 2), (2, 3, 4), (2, 1, 3, 2)]))
    size = draw(st.sampled_from([2**-10, 5, 200]))
    return draw(tensors(*shape, low=-size, high=size)), draw(tensors(*shape, low=0, high=1)).round()


# --- the definition ---------------------------------------------------------------------------------------------------


def focal(logit, target, alpha=0.25, gamma=2):
    # Of p and 1 - p the small one is computed from its own exponential, so that neither is rounded to 0.
    p, not_p = 1 / (1 + math.exp(-logit)), 1 / (1 + math.exp(logit))
    p_t, not_p_t, alpha_t = (p, not_p, alpha) if target == 1 else (not_p, p, 1 - alpha)
    log_p_t = math.log(p_t) if p_t < 0.5 else math.log1p(-not_p_t)
    return -alpha_t * not_p_t**gamma * log_p_t


def losses(logits, targets, **options):
    pairs = zip(logits.flatten().tolist(), targets.flatten().tolist(), strict=True)
    return torch.tensor([focal(*pair, **options) for pair in pairs], dtype=torch.float64).reshape(logits.shape)


def against(targets, loss=sigmoid_focal_loss, **options):
    """The loss as a function of the logits alone: targets take no gradient."""

    def focal_loss(logits):
        return loss(logits, targets, **options)

    return focal_loss


def float64(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)


# --- worked examples --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("logit, target, options, expected, law", [
    # a logit of 0 is p = 1/2; a logit of log 3 is p = 3/4
    (0, 1, {"alpha": 0.5, "gamma": 0}, 0.5 * math.log(2), "-log p_t, half of it"),
    (math.log(3), 1, {"alpha": 0.5, "gamma": 0}, 0.5 * math.log(4 / 3), "a positive costs -log p"),
    (math.log(3), 0, {"alpha": 0.5, "gamma": 0}, 0.5 * math.log(4), "a negative costs -log(1 - p)"),
    (0, 1, {"alpha": 0.1, "gamma": 0}, 0.1 * math.log(2), "alpha weighs the positives"),
    (0, 0, {"alpha": 0.1, "gamma": 0}, 0.9 * math.log(2), "1 - alpha weighs the negatives"),
    (math.log(3), 1, {"alpha": 0.5, "gamma": 3}, 0.5 / 4**3 * math.log(4 / 3), "(1 - p)³ silences an easy positive"),
    (math.log(3), 0, {"alpha": 0.5, "gamma": 3}, 0.5 * (3 / 4) ** 3 * math.log(4), "p³ hardly silences a hard one"),
    (0, 1, {}, 0.25 / 2**2 * math.log(2), "alpha is 0.25 and gamma 2 by default"),
])  # fmt: skip
def test_one_logit_by_hand(logit, target, options, expected, law):
    got = sigmoid_focal_loss(logits=float64(logit), targets=float64(target), **options)
    expect_close(got, [expected], law, rtol=1e-7, atol=0)


@pytest.mark.parametrize("targets, expected, law", [
    # logits of 0: a positive costs 0.25 · 0.25 · log 2, a negative three times as much
    ([1, 0, 1], (1 + 3 + 1) / 16 * math.log(2) / 2, "the sum over all elements, over the 2 positives"),
    ([1, 0, 0], (1 + 3 + 3) / 16 * math.log(2) / 1, "the sum over all elements, over the only positive"),
    ([0, 0, 0], (3 + 3 + 3) / 16 * math.log(2) / 1, "without positives the sum, over 1"),
])  # fmt: skip
def test_the_normaliser_by_hand(targets, expected, law):
    got = normalised_focal_loss(logits=torch.zeros(1, 3).double(), targets=float64(targets))
    expect_close(got, float64(expected)[0], law)


# --- all logits -------------------------------------------------------------------------------------------------------


@given(logits_and_targets(), alphas, st.sampled_from(GAMMAS))
def test_the_loss_agrees_with_the_definition(case, alpha, gamma):
    expected = losses(*case, alpha=alpha, gamma=gamma)
    got = sigmoid_focal_loss(*case, alpha=alpha, gamma=gamma)
    expect_close(got, expected, "every logit against the target at its own place", rtol=1e-7, atol=1e-12)


@given(logits_and_targets(), alphas, st.sampled_from(GAMMAS))
def test_the_sum_is_over_all_axes_and_positives(case, alpha, gamma):
    expected = losses(*case, alpha=alpha, gamma=gamma).sum() / max(1, int(case[1].sum()))
    expect_close(normalised_focal_loss(*case, alpha=alpha, gamma=gamma), expected, "sum / max(1, positive targets)")


@given(logits_and_targets(), alphas)
def test_gamma_0_is_weighted_cross_entropy(case, alpha):
    weights = alpha * case[1] + (1 - alpha) * (1 - case[1])
    expected = weights * F.binary_cross_entropy_with_logits(*case, reduction="none")
    expect_close(sigmoid_focal_loss(*case, alpha=alpha, gamma=0), expected, "gamma = 0 is alpha_t times BCE")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_a_million_logits_are_summed_exactly_enough(dtype):
    # each positive costs log 2 / 16, each negative three times as much: 121,000 in all, and float16 ends at 65504
    targets = (torch.arange(1_000_000) < 100_000).to(dtype).reshape(1000, 1000)
    got = normalised_focal_loss(torch.zeros_like(targets), targets)
    expected = torch.tensor((1 + 3 * 9) / 16 * math.log(2)).to(dtype)
    expect_close(got, expected, "summed in float32 at least, in the dtype of the logits", rtol=0.01, atol=0)


# --- saturated logits -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("target", [0, 1])
@pytest.mark.parametrize(
    "dtype, rtol", [(torch.float64, 1e-7), (torch.float32, 1e-5), (torch.float16, 0.03), (torch.bfloat16, 0.03)]
)
def test_saturated_logits_cost_what_the_formula_says(dtype, rtol, target, gamma):
    logits = torch.tensor(SATURATED, dtype=dtype)
    targets = torch.full_like(logits, target)
    got = sigmoid_focal_loss(logits, targets, gamma=gamma)
    expect_close(
        got, losses(logits, targets, gamma=gamma).to(dtype), "-alpha_t log p_t where wrong", rtol=rtol, atol=1e-6
    )
    gradients_are_finite(against(targets, gamma=gamma), logits)


@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("size", [200.0, 1e4, 1e30])
def test_a_hopeless_logit_has_its_full_slope(size, gamma):
    logits = torch.tensor([-size, size, -size, size], requires_grad=True)
    loss = sigmoid_focal_loss(logits, torch.tensor([1.0, 1.0, 0.0, 0.0]), alpha=0.25, gamma=gamma)
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    expected, slopes = torch.tensor([0.25 * size, 0, 0, 0.75 * size]), torch.tensor([-0.25, 0, 0, 0.75])
    expect_close(loss, expected, f"alpha_t times {size:g} where wrong, nothing where right")
    expect_close(gradient, slopes, f"slope alpha_t where wrong by {size:g}, none where right")


@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_are_those_of_the_formula(loss, gamma):
    logits, targets = float64([-4, -0.5, 0.1], [0.7, 3, -1.5]), float64([1, 0, 1], [0, 1, 0])
    gradients_are_right(against(targets, loss, alpha=0.3, gamma=gamma), logits)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_targets_take_no_gradient(loss):
    logits, targets = float64(-4, 0.5, 3).requires_grad_(), float64(1, 0, 1).requires_grad_()
    (expected,) = torch.autograd.grad(loss(logits, targets.detach()).sum(), logits)
    got, of_targets = torch.autograd.grad(loss(logits, targets).sum(), (logits, targets), allow_unused=True)
    expect_close(got, expected, "the logits learn the same, wherever the targets come from")
    assert of_targets is None or not of_targets.any(), f"targets are given, they do not learn: got {of_targets}"


# --- promises of all katas --------------------------------------------------------------------------------------------


def test_an_empty_input_costs_nothing():
    expect_close(sigmoid_focal_loss(torch.zeros(0, 3), torch.zeros(0, 3)), torch.zeros(0, 3), "no logits, no losses")
    expect_close(normalised_focal_loss(torch.zeros(0, 3), torch.zeros(0, 3)), torch.tensor(0.0), "nothing costs 0")


@pytest.mark.parametrize("count", [0, 2])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name, value", [("alpha", -0.1), ("alpha", 1.1), ("gamma", -0.5)])
def test_what_cannot_be_is_refused_by_name(name, value, loss, count):
    expect_refused(name, lambda: loss(torch.zeros(count), torch.ones(count), **{name: value}))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("law", STANDING_LAWS)
def test_standing_laws(law, loss):
    logits = float64([-2, 0.5, 3], [1, -40, 0])
    law(loss, logits, (logits > 0.7).double(), alpha=0.3, gamma=1.5)
