"""box_losses: smooth L1 of every element, and 1 - GIoU of paired boxes.

smooth_l1_loss does not reduce, and beta = 0 is L1. giou_loss takes xyxy boxes row by row; a fraction with denominator 0
counts as 0. Both have finite gradients everywhere. The overlap is checked against counted half-pixel squares. Out of
scope: boxes with x1 > x2.
"""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torchvision.ops import generalized_box_iou

from katas.detection.box_losses import giou_loss, smooth_l1_loss
from katas.lab.expect import expect_close
from katas.lab.laws import STANDING_LAWS, gradients_are_finite, gradients_are_right
from katas.lab.strategies import boxes, tensors

betas = st.sampled_from([0.1, 1 / 9, 0.5, 1.0, 2.5])
matrices = st.tuples(st.integers(0, 3), st.integers(1, 4)).flatmap(lambda n: st.tuples(tensors(*n), tensors(*n)))


def box_pairs(min_boxes=0):
    """Two sets of equally many boxes, degenerate ones included."""
    sets = st.tuples(boxes(min_boxes, units=[0.5]), boxes(min_boxes, units=[0.5]))
    return sets.map(lambda pair: [each[: min(map(len, pair))] for each in pair])


def rows(*values):
    return torch.tensor(values, dtype=torch.float64)


def smooth_l1_by_definition(difference, beta):
    d = abs(difference)
    return 0.5 * d * d / beta if d < beta else d - 0.5 * beta


def squares(box):
    """The squares of half a pixel that a box with half-pixel corners covers."""
    x1, y1, x2, y2 = (round(2 * number) for number in box)
    return {(x, y) for x in range(x1, x2) for y in range(y1, y2)}


def giou_loss_by_counting(box1, box2):
    shared, either = squares(box1) & squares(box2), squares(box1) | squares(box2)
    hull = squares([*map(min, box1[:2], box2[:2]), *map(max, box1[2:], box2[2:])])
    iou = len(shared) / len(either) if either else 0
    return 1 - (iou - (len(hull) - len(either)) / len(hull) if hull else iou)


# --- smooth L1: worked examples -------------------------------------------------------------------------------------


def test_a_parabola_near_the_target_and_a_line_beyond_beta():
    # beta 0.5.  d = 0.2: 0.5 · 0.04 / 0.5 = 0.04.  d = -3: 3 - 0.25 = 2.75.  d = 0.5 = beta: 0.25 either way.
    pred, target = rows([1.2, -1.0, 0.5, 7.0]), rows([1.0, 2.0, 0.0, 7.0])
    got = smooth_l1_loss(pred, target, beta=0.5)
    expect_close(got, [[0.04, 2.75, 0.25, 0.0]], "0.5 d²/beta below beta, |d| - 0.5 beta above, element by element")


def test_beta_is_one_by_default():
    expect_close(smooth_l1_loss(rows([0.8, -3.0]), rows([0.0, 0.0])), [[0.32, 2.5]], "0.5 · 0.64, and 3 - 0.5")


def test_beta_zero_is_the_l1_loss():
    got = smooth_l1_loss(rows([-3.0, 0.25, 0.0]), rows([1.0, 0.0, 0.0]), beta=0)
    expect_close(got, [[4.0, 0.25, 0.0]], "without a parabola the loss is |d|")


# --- smooth L1: laws ------------------------------------------------------------------------------------------------


@given(matrices, betas)
def test_smooth_l1_agrees_with_the_definition(pair, beta):
    pred, target = pair
    difference = (pred - target).flatten().tolist()
    expected = torch.tensor([smooth_l1_by_definition(d, beta) for d in difference], dtype=torch.float64)
    got = smooth_l1_loss(pred, target, beta=beta)
    expect_close(got, expected.reshape(pred.shape), "every element by the formula, not reduced")


@given(matrices, betas)
def test_smooth_l1_agrees_with_torch(pair, beta):
    expected = F.smooth_l1_loss(*pair, beta=beta, reduction="none")
    expect_close(smooth_l1_loss(*pair, beta=beta), expected, "as torch.nn.functional.smooth_l1_loss")


@given(matrices)
def test_a_vanishing_beta_comes_to_the_l1_loss(pair):
    for beta in (1e-9, 1e-300):
        got = smooth_l1_loss(*pair, beta=beta)
        expect_close(got, (pair[0] - pair[1]).abs(), "for beta → 0 the loss is |d|", atol=1e-8, rtol=0)


@pytest.mark.parametrize("beta", [1e-3, 1e-4, 1e-6])
def test_a_small_beta_still_has_its_parabola(beta):
    # d = beta / 2: 0.5 · (beta / 2)² / beta = beta / 8, where |d| would be four times as much.
    got = smooth_l1_loss(rows([beta / 2, 2.0]), rows([0.0, 0.0]), beta=beta)
    law = "0.5 d²/beta below beta, however small beta is"
    expect_close(got, [[beta / 8, 2 - beta / 2]], law, rtol=1e-7, atol=0)


@pytest.mark.parametrize("beta", [0, 1e-37, 1e-30, 1.0])
def test_the_slope_never_exceeds_one(beta):
    pred = torch.tensor([0.0, 1e-20, 1e-3, -3.0, 1e4], requires_grad=True)
    loss = smooth_l1_loss(pred, torch.zeros(5), beta=beta)
    (gradient,) = torch.autograd.grad(loss.sum(), pred)
    expected = [min(1.0, abs(d) / beta) if beta else float(d != 0) for d in pred.tolist()]
    assert loss.isfinite().all(), f"the loss is finite for beta = {beta}"
    expect_close(gradient.abs(), expected, "the slope is |d|/beta up to 1, and 0 on the target", rtol=1e-4, atol=1e-6)


def test_gradients_of_smooth_l1_are_those_of_the_formula():
    pred, target = rows([1.2, -1.0, 0.3], [0.1, 4.0, -0.6]), rows([1.0, 2.0, 0.1], [0.0, 0.5, 0.3])
    gradients_are_right(smooth_l1_loss, pred, target, beta=0.5)
    gradients_are_right(smooth_l1_loss, pred, target, beta=0)


def test_a_negative_beta_is_refused():
    for pred in (rows([1.0]), rows([])):
        with pytest.raises(ValueError, match="beta"):
            smooth_l1_loss(pred, torch.zeros_like(pred), beta=-0.1)


# --- GIoU: worked examples ------------------------------------------------------------------------------------------


def test_overlapping_boxes(units=[0.5]):
    # 4·2 = 8 and 3·4 = 12, shared x 3..4, y 0..2: 2.  Union 18, hull 6·4 = 24: GIoU = 2/18 - 6/24.
    got = giou_loss(rows([0, 0, 4, 2]), rows([3, 0, 6, 4]))
    expect_close(got, [1 - 2 / 18 + 6 / 24], "1 - IoU + the part of the hull that is in neither box")


def test_boxes_apart_cost_more_the_farther_they_are():
    # 2·1 and 1·2, nothing shared.  Hull 5·4 = 20, of which 16 is in neither: 1.8.  Farther: hull 11·4 = 44: 1 + 40/44.
    got = giou_loss(rows([0, 0, 2, 1], [0, 0, 2, 1]), rows([4, 2, 5, 4], [10, 2, 11, 4]))
    expect_close(got, [1.8, 1 + 40 / 44], "row by row; without overlap the loss still grows with the gap")


# --- GIoU: laws -----------------------------------------------------------------------------------------------------


@given(box_pairs())
def test_giou_loss_agrees_with_counted_squares(pair):
    expected = [giou_loss_by_counting(*each) for each in zip(pair[0].tolist(), pair[1].tolist(), strict=True)]
    expected = torch.tensor(expected, dtype=torch.float64)
    expect_close(giou_loss(*pair), expected, "1 - GIoU of every row; 0/0 counts as 0")


@given(box_pairs())
def test_giou_loss_is_symmetric_and_between_zero_and_two(pair):
    loss = giou_loss(*pair)
    expect_close(giou_loss(pair[1], pair[0]), loss, "the two boxes are interchangeable")
    assert ((loss >= -1e-12) & (loss <= 2 + 1e-12)).all(), f"1 - GIoU lies in [0, 2], got {loss.tolist()}"


@given(boxes(units=[0.5]), st.sampled_from([1e-6, 1e-3, 1e4]))
def test_giou_loss_does_not_depend_on_the_unit(set1, unit):
    set2 = set1.flip(0)
    got = giou_loss(unit * set1, unit * set2)
    expect_close(got, giou_loss(set1, set2), "in millimetres or kilometres, the loss is the same: no epsilon")


@given(boxes(units=[0.5]), boxes(units=[0.5]))
def test_giou_loss_agrees_with_torchvision(set1, set2):
    set1, set2 = (each[(each[:, 2:] > each[:, :2]).all(dim=1)] for each in (set1, set2))
    count = min(len(set1), len(set2))
    expected = 1 - generalized_box_iou(set1[:count], set2[:count]).diagonal()
    expect_close(giou_loss(set1[:count], set2[:count]), expected, "as torchvision, for boxes with an area")


# --- GIoU: edges ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_degenerate_boxes(dtype):
    point, line, box = [2, 3, 2, 3], [0, 3, 4, 3], [0, 0, 4, 2]
    set1, set2 = rows(point, line, point, point, box), rows(point, point, [5, 7, 5, 7], box, box)
    set1, set2 = set1.to(dtype), set2.to(dtype)
    got = giou_loss(set1, set2)
    # No hull: 1.  No union but a hull of 3·4 = 12, all of it in neither: 2.  Union 8 in a hull of 4·3 = 12: 1 + 4/12.
    expect_close(got, [1, 1, 2, 1 + 4 / 12, 0], "0/0 counts as 0; equal boxes with an area cost nothing")
    gradients_are_finite(giou_loss, set1, set2)


@given(box_pairs(min_boxes=1))
def test_gradients_of_the_giou_loss_are_finite_for_all_boxes(pair):
    gradients_are_finite(giou_loss, *pair)
    gradients_are_finite(giou_loss, pair[0], pair[0].clone())


def test_gradients_of_the_giou_loss_are_those_of_the_formula():
    set1 = rows([0, 0, 4, 2], [0, 0, 2, 1], [0, 0, 10, 9])
    gradients_are_right(giou_loss, set1, rows([3, 0.5, 6, 4], [4, 2, 5, 4], [2, 3, 4, 5]))


@pytest.mark.parametrize("law", STANDING_LAWS[:5])
def test_standing_laws(law):
    set1, set2 = rows([0, 0, 4, 2], [1, 1, 1, 1]), rows([3, 0, 6, 4], [1, 1, 1, 1])
    law(giou_loss, set1, set2)
    law(smooth_l1_loss, set1, set2, beta=2.5)
    law(smooth_l1_loss, set1, set2, beta=0)
