"""box_coding: a box as deltas (dx, dy, dw, dh) from an anchor, and back.

Rows of the two arguments belong together. Encoding multiplies by the weights, decoding divides by them; the upper limit on
the log-ratio acts in decoding, after the weights are undone. Out of scope: boxes or anchors without width or height.
"""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.models.detection._utils import BoxCoder

from katas.detection.box_coding import decode_boxes, encode_boxes
from katas.lab.expect import expect_close
from katas.lab.laws import STANDING_LAWS, gradients_are_finite, gradients_are_right
from katas.lab.strategies import tensors

WEIGHTS = (10.0, 5.0, 2.0, 0.5)


@st.composite
def solid_boxes(draw, count):
    """Boxes of 1 to 60 pixels a side: no ratio of two sides exceeds 60, below the limit of 62.5."""
    corners, sizes = draw(tensors(count, 2, low=-40, high=40)), draw(tensors(count, 2, low=1, high=60))
    return torch.cat([corners, corners + sizes], dim=1)


def pairs():
    return st.integers(0, 4).flatmap(lambda count: st.tuples(solid_boxes(count), solid_boxes(count)))


def deltas_by_definition(box, anchor, weights):
    (x1, y1, x2, y2), (a1, b1, a2, b2) = box, anchor
    dx, dy = ((x1 + x2) / 2 - (a1 + a2) / 2) / (a2 - a1), ((y1 + y2) / 2 - (b1 + b2) / 2) / (b2 - b1)
    dw, dh = math.log((x2 - x1) / (a2 - a1)), math.log((y2 - y1) / (b2 - b1))
    return [weight * delta for weight, delta in zip(weights, (dx, dy, dw, dh), strict=True)]


def rows(*values):
    return torch.tensor(values, dtype=torch.float64)


# The anchor: centre (5, 10), width 10, height 20. The box: centre (7, 25), width 4, height 40.
ANCHOR, BOX = rows([0, 0, 10, 20]), rows([5, 5, 9, 45])
DELTAS = rows([0.2, 0.75, math.log(0.4), math.log(2)])  # 2 / 10, 15 / 20, log(4 / 10), log(40 / 20)

# --- worked examples ------------------------------------------------------------------------------------------------


def test_shifts_are_in_anchor_sizes_and_sizes_are_log_ratios():
    expect_close(encode_boxes(BOX, ANCHOR), DELTAS, "dx = 2/10 widths, dy = 15/20 heights, logs of 4/10 and 40/20")


def test_decoding_turns_deltas_back_into_corners():
    expect_close(decode_boxes(DELTAS, ANCHOR), BOX, "centre (5 + 0.2·10, 10 + 0.75·20), size (10·0.4, 20·2)")


def test_each_delta_has_its_own_weight():
    expected = rows([2.0, 3.75, 2 * math.log(0.4), 0.5 * math.log(2)])
    expect_close(encode_boxes(BOX, ANCHOR, weights=WEIGHTS), expected, "encoding multiplies (dx, dy, dw, dh)")
    expect_close(decode_boxes(expected, ANCHOR, weights=WEIGHTS), BOX, "decoding divides by the same weights")


# --- laws -----------------------------------------------------------------------------------------------------------


@given(pairs())
def test_decoding_undoes_encoding(pair):
    boxes, anchors = pair
    deltas = encode_boxes(boxes, anchors, weights=WEIGHTS)
    expect_close(decode_boxes(deltas, anchors, weights=WEIGHTS), boxes, "decode(encode(boxes)) gives the boxes back")


@given(st.integers(0, 4).flatmap(lambda count: st.tuples(tensors(count, 4), solid_boxes(count))))
def test_encoding_undoes_decoding(pair):
    deltas, anchors = pair
    boxes = decode_boxes(deltas, anchors, weights=WEIGHTS, max_log_ratio=10.0)
    expect_close(encode_boxes(boxes, anchors, weights=WEIGHTS), deltas, "encode(decode(deltas)) gives the deltas back")


@given(pairs())
def test_size_and_place_drop_out(pair):
    boxes, anchors = pair
    moved = [3 * pair + rows([100, -70, 100, -70]) for pair in (boxes, anchors)]
    expect_close(encode_boxes(*moved), encode_boxes(boxes, anchors), "deltas do not see a zoom or a shift of both")
    shrunk = encode_boxes(1e-9 * boxes, 1e-9 * anchors)
    expect_close(shrunk, encode_boxes(boxes, anchors), "nor the unit of length: anchors may be tiny, no epsilon")


@given(pairs())
def test_an_anchor_is_zero_deltas_from_itself(pair):
    anchors = pair[0]
    expect_close(encode_boxes(anchors, anchors), torch.zeros_like(anchors), "a perfect anchor has nothing to correct")
    expect_close(decode_boxes(torch.zeros_like(anchors), anchors), anchors, "no deltas leave the anchor as it is")


# --- agreement ------------------------------------------------------------------------------------------------------


@given(pairs(), tensors(4, low=0.25, high=10).map(torch.Tensor.tolist))
def test_encoding_agrees_with_the_definition(pair, weights):
    boxes, anchors = pair
    expected = [deltas_by_definition(*row, weights) for row in zip(boxes.tolist(), anchors.tolist(), strict=True)]
    expected = rows(*expected).reshape(-1, 4)
    expect_close(encode_boxes(boxes, anchors, weights=tuple(weights)), expected, "every row by the formula")


@given(st.integers(1, 4).flatmap(lambda count: st.tuples(tensors(count, 4, low=-9, high=9), solid_boxes(count))))
def test_decoding_agrees_with_torchvision(pair):
    deltas, anchors = pair
    expected = BoxCoder((2.0, 1.0, 0.5, 1.5)).decode_single(deltas, anchors)
    expect_close(decode_boxes(deltas, anchors, weights=(2.0, 1.0, 0.5, 1.5)), expected, "as in torchvision")


# --- the limit ------------------------------------------------------------------------------------------------------


def test_a_decoded_box_is_at_most_62_and_a_half_times_its_anchor():
    got = decode_boxes(rows([0, 0, 5, 0], [0, 0, 0, 99]), ANCHOR.repeat(2, 1))  # exp(5) would be 148
    expect_close(got, [[5 - 312.5, 0, 5 + 312.5, 20], [0, 10 - 625, 10, 10 + 625]], "1000/16 = 62.5 widths or heights")


def test_the_limit_acts_after_the_weights_are_undone():
    got = decode_boxes(rows([0, 0, 15, 0.3]), ANCHOR, weights=(1.0, 1.0, 5.0, 0.1), max_log_ratio=3.5)
    width, height = 10 * math.exp(3), 20 * math.exp(3)  # 15 / 5 = 0.3 / 0.1 = 3 stays, below 3.5
    expected = [[5 - width / 2, 10 - height / 2, 5 + width / 2, 10 + height / 2]]
    expect_close(got, expected, "a weighted delta of 15 with weight 5 is a log-ratio of 3, within a limit of 3.5")


def test_the_limit_can_be_chosen():
    got = decode_boxes(rows([0, 0, 2, 2]), ANCHOR, weights=(1, 1, 0.5, 1), max_log_ratio=math.log(3))
    expect_close(got, [[-10, -20, 20, 40]], "with max_log_ratio = log 3 the box is three anchors wide and high")
    got = decode_boxes(rows([0, 0, 2, -math.log(2)]), ANCHOR, max_log_ratio=0)
    expect_close(got, [[0, 5, 10, 15]], "a limit of 0 is a limit too: no box is larger than its anchor")


def test_only_large_sizes_are_limited():
    got = decode_boxes(rows([5000, -6000, -7, -8]), ANCHOR)
    width, height = 10 * math.exp(-7), 20 * math.exp(-8)
    x, y = 5 + 10 * 5000, 10 - 20 * 6000
    expected = [[x - width / 2, y - height / 2, x + width / 2, y + height / 2]]
    expect_close(got, expected, "shifts and small sizes go without limit", rtol=1e-12, atol=0)


@pytest.mark.parametrize("extreme", [1e4, -1e4, 1e30, -1e30])
def test_extreme_deltas_stay_finite(extreme):
    deltas = torch.tensor([[0.5, -0.5, extreme, extreme]])
    assert decode_boxes(deltas, ANCHOR.float()).isfinite().all(), f"dw = dh = {extreme:g} must not overflow"
    gradients_are_finite(decode_boxes, deltas, ANCHOR.float())


@pytest.mark.parametrize("coder, first", [(encode_boxes, BOX), (decode_boxes, DELTAS)])
def test_gradients_are_those_of_the_formula(coder, first):
    gradients_are_right(coder, first, ANCHOR, weights=WEIGHTS)


@pytest.mark.parametrize("coder, first", [(encode_boxes, BOX), (decode_boxes, DELTAS)])
@pytest.mark.parametrize("law", STANDING_LAWS[:5])
def test_standing_laws(law, coder, first):
    law(coder, torch.cat([first, first + 1]), torch.cat([ANCHOR, 2 * ANCHOR]), weights=WEIGHTS)
