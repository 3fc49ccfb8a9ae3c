"""box_losses: smooth L1 of every element, and 1 - GIoU of paired boxes.

Everything is checked against the definition in Python numbers. Out of scope: boxes with x1 > x2 or y1 > y2.
"""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from katas.detection.box_losses import giou_loss, smooth_l1_loss
from katas.lab.expect import expect_close, expect_refused
from katas.lab.laws import (
    STANDING_LAWS,
    gradients_are_finite,
    gradients_are_right,
    unit_of_length_does_not_matter,
)
from katas.lab.strategies import UNITS, boxes, normal, seeds

BETAS = [0, 1e-6, 1e-3, 1 / 9, 0.5, 1, 2.5, 100]
SHAPES = [(), (1,), (1000,), (3, 4), (2, 3, 4), (2, 1, 3, 4)]


def rows(*values, dtype=torch.float64):
    return torch.tensor(values, dtype=dtype)


# --- the definition ---------------------------------------------------------------------------------------------------


def smooth_l1(d, beta):
    return 0.5 * d * d / beta if abs(d) < beta else abs(d) - 0.5 * beta


def area(box):
    return (box[2] - box[0]) * (box[3] - box[1])


def giou_cost(a, b):
    width = max(0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0, min(a[3], b[3]) - max(a[1], b[1]))
    union = area(a) + area(b) - width * height
    hull = area((min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])))
    return 1 - (width * height / union if union else 0) + ((hull - union) / hull if hull else 0)


def expect_giou_costs(boxes1, boxes2, **tolerances):
    wanted = [giou_cost(a, b) for a, b in zip(boxes1.tolist(), boxes2.tolist(), strict=True)]
    got = giou_loss(boxes1=boxes1, boxes2=boxes2)
    expect_close(got, torch.tensor(wanted, dtype=boxes1.dtype), "1 - GIoU of every row", **tolerances)


# --- smooth L1 --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("d, options, expected, law", [
    (0, {"beta": 0.5}, 0, "nothing is off, nothing is lost"),
    (0.2, {"beta": 0.5}, 0.5 * 0.04 / 0.5, "a parabola below beta, 0.5 d² / beta"),
    (-0.2, {"beta": 0.5}, 0.5 * 0.04 / 0.5, "too small is as bad as too large"),
    (-3, {"beta": 0.5}, 3 - 0.25, "a line beyond beta, |d| - 0.5 beta"),
    (0.5, {"beta": 0.5}, 0.25, "parabola and line meet at beta"),
    (-4, {"beta": 0}, 4, "beta = 0 is the L1 loss"),
    (0.8, {}, 0.5 * 0.64, "beta is 1 by default"),
    (5e-7, {"beta": 1e-6}, 5e-7**2 / 2e-6, "a parabola, however small beta is"),
])  # fmt: skip
def test_one_difference_by_hand(d, options, expected, law):
    got = smooth_l1_loss(pred=rows(7 + d, 9.0), target=rows(7.0, 9.0), **options)
    expect_close(got, [expected, 0], f"{law}; element by element", rtol=1e-7, atol=1e-15)


@given(seeds(), st.sampled_from(SHAPES), st.sampled_from([1e-3, 1, 1e5]), st.sampled_from(BETAS))
def test_smooth_l1_agrees_with_the_definition(seed, shape, size, beta):
    pred, target = size * normal(2, *shape, seed=seed)
    wanted = [smooth_l1(d, beta) for d in (pred - target).flatten().tolist()]
    expected = torch.tensor(wanted, dtype=torch.float64).reshape(shape)
    expect_close(
        smooth_l1_loss(pred, target, beta=beta), expected, "every element by the formula", rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("beta", [0, 1e-37, 1e-30, 1.0])
def test_the_slope_never_exceeds_one(beta):
    pred = torch.tensor([0.0, 1e-20, 1e-3, -3.0, 1e4], requires_grad=True)
    loss = smooth_l1_loss(pred, torch.zeros(5), beta=beta)
    (gradient,) = torch.autograd.grad(loss.sum(), pred)
    expected = [min(1.0, abs(d) / beta) if beta else float(d != 0) for d in pred.tolist()]
    assert loss.isfinite().all(), f"the loss is finite for beta = {beta}"
    law = "the slope is |d| / beta up to 1, and 0 on the target"
    expect_close(gradient.abs().double(), expected, law, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("beta", [0, 0.5])
def test_the_prediction_takes_the_gradient_and_the_target_none(beta):
    pred, target = rows([1.2, -1.0, 0.3], [0.1, 4.0, -0.6]), rows([1.0, 2.0, 0.1], [0.0, 0.5, 0.3])
    gradients_are_right(lambda pred: smooth_l1_loss(pred, target, beta=beta), pred)
    loss = smooth_l1_loss(pred.requires_grad_(), target.requires_grad_(), beta=beta)
    _, of_target = torch.autograd.grad(loss.sum(), (pred, target), allow_unused=True)
    assert of_target is None or not of_target.any(), f"a target is given, it does not learn: got {of_target}"


# --- GIoU -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("a, b, expected, law", [
    ([1, 2, 5, 4], [1, 2, 5, 4], 0, "a box costs nothing against itself"),
    # 3·1 in 5·4: union and hull are the larger box
    ([1, 2, 4, 3], [0, 0, 5, 4], 1 - 3 / 20, "inside another box it is 1 - IoU"),
    # 4·2 and 3·4; they share 2. Union 8 + 12 - 2, hull 6·4, of which 6 is in neither box
    ([0, 0, 4, 2], [3, 0, 6, 4], 1 - 2 / 18 + 6 / 24, "1 - IoU + the part of the hull that is in neither box"),
    # 2·1 and 1·2, apart in x; the hull is 5·2, of which 4 is covered
    ([0, 0, 2, 1], [4, 0, 5, 2], 1 + 6 / 10, "apart in x: a negative width is no overlap, clamp it at 0"),
    # apart in x by 2 and in y by 1; (-2) · (-1) looks like an area. The hull is 5·4, then 11·4
    ([0, 0, 2, 1], [4, 2, 5, 4], 1 + 16 / 20, "apart in x and y: clamp each side at 0 before they are multiplied"),
    ([0, 0, 2, 1], [10, 2, 11, 4], 1 + 40 / 44, "without overlap the loss still grows with the gap"),
    ([2, 3, 2, 3], [2, 3, 2, 3], 1, "two points, no hull: 0 / 0 counts as 0"),
    ([0, 3, 4, 3], [2, 3, 2, 3], 1, "a line and a point on it, no hull: 0 / 0 counts as 0"),
    ([2, 3, 2, 3], [5, 7, 5, 7], 2, "two points apart, no union: the whole hull is empty"),
    ([2, 3, 2, 3], [0, 0, 4, 2], 1 + 4 / 12, "a point below a box of 8; the hull is 4·3"),
])  # fmt: skip
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_two_boxes_by_hand(dtype, a, b, expected, law):
    boxes1, boxes2 = rows(a, dtype=dtype), rows(b, dtype=dtype)
    expect_close(giou_loss(boxes1, boxes2), [expected], f"{a} and {b}: {law}", dtype=dtype)
    expect_close(giou_loss(boxes2, boxes1), [expected], f"{b} and {a}: {law}", dtype=dtype)
    gradients_are_finite(giou_loss, boxes1, boxes2)


@given(st.data(), st.integers(1, 5), st.sampled_from(UNITS), st.sampled_from([torch.float64, torch.float32]))
def test_giou_loss_agrees_with_the_definition(data, count, unit, dtype):
    set1, set2 = (data.draw(boxes(count, count, [unit], dtype), label=name) for name in ("boxes1", "boxes2"))
    expect_giou_costs(set1, set2)
    gradients_are_finite(giou_loss, set1, set2)
    gradients_are_finite(giou_loss, set1, set1.clone())


@pytest.mark.parametrize("count", [0, 1, 1000])
def test_no_rows_one_and_a_thousand(count):
    corners = normal(2, count, 2, 2).sort(dim=2).values.reshape(2, count, 4)
    expect_giou_costs(*corners)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_boxes_have_areas_in_float32(dtype):
    # 181² + 181² and 1000 · 600 are beyond 65504, the largest float16; the square of 180² is needed for a gradient
    boxes1 = rows([0, 0, 181, 181], [0, 0, 150, 150], [0, 0, 1000, 600], dtype=dtype)
    boxes2 = rows([0, 0, 181, 181], [0, 0, 180, 180], [600, 200, 1200, 1000], dtype=dtype)
    expect_giou_costs(boxes1, boxes2)
    gradients_are_finite(giou_loss, boxes1, boxes2)


def test_both_boxes_take_the_gradient_of_the_formula():
    boxes1 = rows([0, 0, 4, 2], [0, 0, 2, 1], [0, 0, 10, 9])
    gradients_are_right(giou_loss, boxes1, rows([3, 0.5, 6, 4], [4, 2, 5, 4], [2, 3, 4, 5]))


# --- promises of all katas --------------------------------------------------------------------------------------------


def test_the_unit_of_length_does_not_matter():
    def loss_in_units(pred, target, beta):
        return smooth_l1_loss(pred, target, beta=beta.item())

    boxes1, boxes2 = rows([0, 0, 4, 2], [0, 0, 2, 1]), rows([3, 0.5, 6, 4], [4, 2, 5, 4])
    unit_of_length_does_not_matter(loss_in_units, boxes1, boxes2, rows(2.5)[0], power=1)
    unit_of_length_does_not_matter(giou_loss, boxes1, boxes2)


@pytest.mark.parametrize("count", [0, 2])
def test_a_negative_beta_is_refused(count):
    expect_refused("beta", lambda: smooth_l1_loss(torch.zeros(count), torch.ones(count), beta=-0.1))


@pytest.mark.parametrize("law", STANDING_LAWS)
def test_standing_laws(law):
    boxes1, boxes2 = rows([0, 0, 4, 2], [1, 1, 1, 1]), rows([3, 0, 6, 4], [1, 1, 1, 1])
    law(giou_loss, boxes1, boxes2)
    law(smooth_l1_loss, boxes1, boxes2, beta=2.5)
    law(smooth_l1_loss, boxes1, boxes2, beta=0)
