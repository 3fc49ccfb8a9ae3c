"""focal_loss: the sigmoid focal loss of every logit, and its sum normalised by the number of positives.

Targets are 0 or 1, one for every logit (a sigmoid per class, not a softmax). alpha weighs positives, 1 - alpha
negatives. Saturated logits cost what the formula says and have finite gradients, for gamma below 1 too. Out of scope:
soft targets, alpha = None.
"""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torchvision.ops import sigmoid_focal_loss as torchvision_focal_loss

from katas.detection.focal_loss import normalised_focal_loss, sigmoid_focal_loss
from katas.lab.expect import expect_close
from katas.lab.laws import STANDING_LAWS, gradients_are_finite, gradients_are_right
from katas.lab.strategies import tensors

GAMMAS = [0, 0.5, 1, 2, 5]
alphas = st.sampled_from([0, 0.1, 0.25, 0.5, 1])


def cases(bound):
    """Logits in [-bound, bound] and their targets, (rows, columns) from 0."""
    shapes = st.tuples(st.integers(0, 3), st.integers(1, 4))
    return shapes.flatmap(
        lambda shape: st.tuples(
            tensors(*shape, low=-bound, high=bound), tensors(*shape, low=0, high=1).map(torch.Tensor.round)
        )
    )


def focal_by_definition(logit, target, alpha, gamma):
    # Of p and 1 - p the small one is computed from its own exponential, so that neither is rounded to 0.
    p, not_p = 1 / (1 + math.exp(-logit)), 1 / (1 + math.exp(logit))
    p_t, not_p_t, alpha_t = (p, not_p, alpha) if target == 1 else (not_p, p, 1 - alpha)
    log_p_t = math.log(p_t) if p_t < 0.5 else math.log1p(-not_p_t)
    return -alpha_t * not_p_t**gamma * log_p_t


def against(targets, loss=sigmoid_focal_loss, **kwargs):
    """The loss as a function of the logits alone: targets take no gradient."""

    def focal_loss(logits):
        return loss(logits, targets, **kwargs)

    return focal_loss


# --- worked examples ------------------------------------------------------------------------------------------------


def test_an_undecided_logit_costs_a_quarter_of_log_2_times_alpha_t():
    # p = p_t = 0.5: (1 - 0.5)² · log 2, a quarter of it for a positive and three quarters for a negative
    logits, targets = torch.zeros(2, dtype=torch.float64), torch.tensor([1.0, 0.0], dtype=torch.float64)
    expected = [0.25 * 0.25 * math.log(2), 0.75 * 0.25 * math.log(2)]
    expect_close(sigmoid_focal_loss(logits, targets), expected, "alpha = 0.25 weighs the positives, 0.75 the negatives")


def test_a_right_answer_costs_less_than_a_wrong_one():
    # logit log 3: p = 3/4.  Positive: 0.1 · (1/4)³ · -log(3/4).  Negative: 0.9 · (3/4)³ · -log(1/4).
    logits, targets = torch.full((2,), math.log(3)).double(), torch.tensor([1.0, 0.0], dtype=torch.float64)
    expected = [0.1 / 64 * math.log(4 / 3), 0.9 * 27 / 64 * math.log(4)]
    got = sigmoid_focal_loss(logits, targets, alpha=0.1, gamma=3)
    expect_close(got, expected, "alpha_t (1 - p_t)^gamma (-log p_t)", rtol=1e-6, atol=0)


# --- laws -----------------------------------------------------------------------------------------------------------


@given(cases(30), alphas)
def test_without_focusing_it_is_weighted_cross_entropy(case, alpha):
    logits, targets = case
    weights = torch.where(targets == 1, torch.tensor(alpha).double(), torch.tensor(1 - alpha).double())
    expected = weights * F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    expect_close(sigmoid_focal_loss(logits, targets, alpha=alpha, gamma=0), expected, "gamma = 0 is alpha_t times BCE")


@given(cases(30), alphas, st.sampled_from(GAMMAS))
def test_positives_and_negatives_mirror_each_other(case, alpha, gamma):
    logits, targets = case
    mirrored = sigmoid_focal_loss(-logits, 1 - targets, alpha=1 - alpha, gamma=gamma)
    got = sigmoid_focal_loss(logits, targets, alpha=alpha, gamma=gamma)
    expect_close(got, mirrored, "negated logits, exchanged targets and 1 - alpha give the same loss")


# --- agreement ------------------------------------------------------------------------------------------------------


@given(cases(200), alphas, st.sampled_from(GAMMAS))
def test_the_loss_agrees_with_the_definition(case, alpha, gamma):
    logits, targets = case
    pairs = zip(logits.flatten().tolist(), targets.flatten().tolist(), strict=True)
    expected = [focal_by_definition(logit, target, alpha, gamma) for logit, target in pairs]
    expected = torch.tensor(expected, dtype=torch.float64).reshape(logits.shape)
    expect_close(sigmoid_focal_loss(logits, targets, alpha=alpha, gamma=gamma), expected, "element by element")


@given(cases(10), alphas, st.sampled_from([1, 2, 5]))
def test_the_loss_agrees_with_torchvision(case, alpha, gamma):
    expected = torchvision_focal_loss(*case, alpha=alpha, gamma=gamma)
    expect_close(sigmoid_focal_loss(*case, alpha=alpha, gamma=gamma), expected, "as torchvision, where that is stable")


@pytest.mark.parametrize("shape", [(), (24,), (2, 3, 4), (2, 1, 3, 4)])
def test_the_shape_does_not_matter(shape):
    logits = torch.linspace(-3, 4, 24, dtype=torch.float64)[: math.prod(shape)]
    targets = (torch.arange(24) % 3 == 0).double()[: math.prod(shape)]
    pairs = zip(logits.tolist(), targets.tolist(), strict=True)
    expected = torch.tensor([focal_by_definition(*pair, 0.25, 2) for pair in pairs], dtype=torch.float64)
    logits, targets = logits.reshape(shape), targets.reshape(shape)
    got = sigmoid_focal_loss(logits, targets)
    expect_close(got, expected.reshape(shape), f"shape {shape}: every logit against the target at its own place")
    got = normalised_focal_loss(logits, targets)
    expect_close(got, expected.sum() / targets.sum(), f"shape {shape}: the sum over all axes, over all the positives")


# --- saturated logits -----------------------------------------------------------------------------------------------

SATURATED = torch.tensor([-200.0, 200.0, -90.0, 90.0, -20.0, 20.0])


@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_saturated_logits_cost_what_the_formula_says(dtype, gamma):
    logits, positives = SATURATED.to(dtype), torch.ones(6, dtype=dtype)
    wrong = [0.25 * 200, 0, 0.25 * 90, 0, 0.25 * 20, 0]
    got = sigmoid_focal_loss(logits, positives, gamma=gamma)
    expect_close(got, wrong, "-alpha log p_t, without overflow", atol=1e-6, rtol=1e-5)
    got = sigmoid_focal_loss(-logits, 1 - positives, gamma=gamma)
    expect_close(got, [3 * cost for cost in wrong], "the same for negatives, with 1 - alpha", atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("target", [0.0, 1.0])
def test_gradients_are_finite_at_saturated_logits(target, gamma):
    gradients_are_finite(against(torch.full((6,), target), gamma=gamma), SATURATED)
    gradients_are_finite(against(torch.full((6,), target).double(), gamma=gamma), SATURATED.double())


def test_a_hopeless_logit_still_has_its_full_slope():
    for size in (200.0, 1e4, 1e30):
        logits = torch.tensor([-size, size, -size, size], requires_grad=True)
        loss = sigmoid_focal_loss(logits, torch.tensor([1.0, 1.0, 0.0, 0.0]), alpha=0.25, gamma=2)
        (gradient,) = torch.autograd.grad(loss.sum(), logits)
        expect_close(loss, [0.25 * size, 0, 0, 0.75 * size], f"alpha_t times {size:g} where wrong, nothing where right")
        expect_close(gradient, [-0.25, 0, 0, 0.75], f"slope alpha_t where wrong by {size:g}, none where right")


@pytest.mark.parametrize("gamma", GAMMAS)
def test_gradients_are_those_of_the_formula(gamma):
    logits = torch.tensor([[-4.0, -0.5, 0.1], [0.7, 3.0, -1.5]], dtype=torch.float64)
    targets = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]], dtype=torch.float64)
    gradients_are_right(against(targets, alpha=0.3, gamma=gamma), logits)
    gradients_are_right(against(targets, normalised_focal_loss, alpha=0.3, gamma=gamma), logits)


@pytest.mark.parametrize("loss", [sigmoid_focal_loss, normalised_focal_loss])
def test_the_targets_take_no_gradient(loss):
    logits = torch.tensor([-4.0, 0.5, 3.0], dtype=torch.float64, requires_grad=True)
    targets = torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64)
    (expected,) = torch.autograd.grad(loss(logits, targets).sum(), logits)
    targets.requires_grad_()
    got, of_targets = torch.autograd.grad(loss(logits, targets).sum(), (logits, targets), allow_unused=True)
    expect_close(got, expected, "the logits learn the same, whatever the targets come from")
    assert of_targets is None or not of_targets.any(), f"targets are given, they do not learn: got {of_targets}"


# --- normalised by the positives ------------------------------------------------------------------------------------


@given(cases(20), alphas, st.sampled_from(GAMMAS))
def test_the_normaliser_is_the_number_of_positives(case, alpha, gamma):
    logits, targets = case
    pairs = zip(logits.flatten().tolist(), targets.flatten().tolist(), strict=True)
    total = sum(focal_by_definition(logit, target, alpha, gamma) for logit, target in pairs)
    expected = torch.tensor(total / max(1, int(targets.sum())), dtype=torch.float64)
    got = normalised_focal_loss(logits, targets, alpha=alpha, gamma=gamma)
    expect_close(got, expected, "the sum over all elements, divided by the number of targets that are 1 (at least 1)")


def test_defaults_are_those_of_the_paper():
    # three zeros: a positive costs 0.25 · 0.25 · log 2, a negative three times as much; two positives
    logits, targets = torch.zeros(1, 3, dtype=torch.float64), torch.tensor([[1.0, 0.0, 1.0]], dtype=torch.float64)
    expected = torch.tensor((1 + 3 + 1) / 16 * math.log(2) / 2, dtype=torch.float64)
    expect_close(normalised_focal_loss(logits, targets), expected, "alpha 0.25, gamma 2, a sum over 2 positives")


def test_an_empty_input_costs_nothing():
    expect_close(normalised_focal_loss(torch.zeros(0, 3), torch.zeros(0, 3)), torch.tensor(0.0), "nothing costs 0")


@pytest.mark.parametrize("loss", [sigmoid_focal_loss, normalised_focal_loss])
@pytest.mark.parametrize("name, bad", [("alpha", -0.1), ("alpha", 1.1), ("gamma", -0.5)])
def test_bad_hyper_parameters_are_refused(loss, name, bad):
    for count in (2, 0):
        with pytest.raises(ValueError, match=name):
            loss(torch.zeros(count), torch.ones(count), **{name: bad})


@pytest.mark.parametrize("loss", [sigmoid_focal_loss, normalised_focal_loss])
@pytest.mark.parametrize("law", STANDING_LAWS[:5])
def test_standing_laws(law, loss):
    logits = torch.tensor([[-2.0, 0.5, 3.0], [1.0, -40.0, 0.0]], dtype=torch.float64)
    law(loss, logits, (logits > 0.7).double(), alpha=0.3, gamma=1.5)
