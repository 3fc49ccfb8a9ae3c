"""box_coding: a box as deltas (dx, dy, dw, dh) from an anchor, and back.

Rows of the two arguments belong together. Encoding multiplies by the weights, decoding divides by them. The limit
on the log-ratio acts in decoding, after the weights are undone. Everything is checked against the definition in Python
numbers. Out of scope: boxes or anchors without width or height.
"""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from katas.detection.box_coding import decode_boxes, encode_boxes
from katas.lab.expect import expect_close
from katas.lab.laws import (
    STANDING_LAWS,
    gradients_are_finite,
    gradients_are_right,
    unit_of_length_does_not_matter,
)
from katas.lab.strategies import UNITS, normal, tensors

WEIGHTS = (10.0, 5.0, 2.0, 0.5)
LIMIT = math.log(1000 / 16)
weights_of_any_kind = st.one_of(st.just((1, 1, 1, 1)), st.tuples(*[st.floats(0.1, 10)] * 4))


def rows(*values):
    return torch.tensor(values, dtype=torch.float64)


# The anchor: centre (5, 10), width 10, height 20. The box: centre (7, 25), width 4, height 40.
ANCHOR, BOX = (0, 0, 10, 20), (5, 5, 9, 45)
DELTAS = (0.2, 0.75, math.log(0.4), math.log(2))  # 2 / 10, 15 / 20, log(4 / 10), log(40 / 20)


@st.composite
def solid_boxes(draw, count):
    """Boxes of 1 to 60 units a side: no ratio of two sides exceeds 60, below the limit of 62.5."""
    corners, sizes = draw(tensors(count, 2, low=-40, high=40)), draw(tensors(count, 2, low=1, high=60))
    return torch.cat([corners, corners + sizes], dim=1)


@st.composite
def pairs(draw):
    count, unit = draw(st.integers(1, 4)), draw(st.sampled_from(UNITS))
    return unit * draw(solid_boxes(count)), unit * draw(solid_boxes(count))


@st.composite
def deltas_and_anchors(draw):
    count, unit, scale = draw(st.integers(1, 4)), draw(st.sampled_from(UNITS)), draw(st.sampled_from([0.01, 1, 100]))
    return scale * draw(tensors(count, 4)), unit * draw(solid_boxes(count))


# --- the definition ---------------------------------------------------------------------------------------------------


def encode(box, anchor, weights):
    (x1, y1, x2, y2), (a1, b1, a2, b2) = box, anchor
    dx, dy = ((x1 + x2) / 2 - (a1 + a2) / 2) / (a2 - a1), ((y1 + y2) / 2 - (b1 + b2) / 2) / (b2 - b1)
    dw, dh = math.log((x2 - x1) / (a2 - a1)), math.log((y2 - y1) / (b2 - b1))
    return [weight * delta for weight, delta in zip(weights, (dx, dy, dw, dh), strict=True)]


def decode(deltas, anchor, weights, limit=LIMIT):
    (dx, dy, dw, dh), (a1, b1, a2, b2) = (d / w for d, w in zip(deltas, weights, strict=True)), anchor
    x, y = (a1 + a2) / 2 + dx * (a2 - a1), (b1 + b2) / 2 + dy * (b2 - b1)
    width, height = (a2 - a1) * math.exp(min(dw, limit)), (b2 - b1) * math.exp(min(dh, limit))
    return [x - width / 2, y - height / 2, x + width / 2, y + height / 2]


def by_rows(coder, first, anchors, *options):
    found = [coder(a, b, *options) for a, b in zip(first.tolist(), anchors.tolist(), strict=True)]
    return rows(*found).reshape(-1, 4)


# --- worked examples --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("box, deltas", [
    ((0, 0, 10, 20), (0, 0, 0, 0)),  # the anchor itself has nothing to correct
    ((2, 0, 12, 20), (2 / 10, 0, 0, 0)),  # moved by 2 of 10 widths
    ((0, 5, 10, 25), (0, 5 / 20, 0, 0)),  # moved by 5 of 20 heights
    ((3, 0, 7, 20), (0, 0, math.log(4 / 10), 0)),  # narrower, on both sides of the same centre
    ((0, -10, 10, 30), (0, 0, 0, math.log(40 / 20))),  # higher
    (BOX, DELTAS),
])  # fmt: skip
def test_a_box_and_its_deltas_by_hand(box, deltas):
    law = "shifts of the centre in anchor widths and heights, then logs of the ratios of the sizes"
    expect_close(encode_boxes(boxes=rows(box), anchors=rows(ANCHOR)), rows(deltas), f"encode: {law}")
    expect_close(decode_boxes(deltas=rows(deltas), anchors=rows(ANCHOR)), rows(box), f"decode: {law}")


def test_each_delta_has_its_own_weight():
    weighted = rows([10 * 0.2, 5 * 0.75, 2 * math.log(0.4), 0.5 * math.log(2)])
    expect_close(
        encode_boxes(rows(BOX), rows(ANCHOR), weights=WEIGHTS), weighted, "encoding multiplies (dx, dy, dw, dh)"
    )
    expect_close(
        decode_boxes(weighted, rows(ANCHOR), weights=WEIGHTS), rows(BOX), "decoding divides by the same weights"
    )


@pytest.mark.parametrize("deltas, options, expected, law", [
    # exp(5) is 148, exp(99) more: 1000/16 = 62.5 widths or heights are 625 and 1250
    ((0, 0, 5, 0), {}, (5 - 312.5, 0, 5 + 312.5, 20), "a box is at most 62.5 times as wide as its anchor"),
    ((0, 0, 0, 99), {}, (0, 10 - 625, 10, 10 + 625), "a box is at most 62.5 times as high as its anchor"),
    # exp(-20) of a width, and shifts of 5000 and 6000: 5 + 10 · 5000, 10 - 20 · 6000
    ((5000, -6000, -20, -20), {}, (50005, -119990, 50005, -119990), "shifts and small sizes have no limit"),
    # 15 / 5 = 0.3 / 0.1 = log 20 but for rounding: below the limit of 3.5, though 15 is above
    ((0, 0, 5 * math.log(20), 0.1 * math.log(20)), {"weights": (1, 1, 5, 0.1), "max_log_ratio": 3.5},
     (5 - 100, 10 - 200, 5 + 100, 10 + 200), "the limit acts after the weights are undone"),
    # 2 / 0.5 = 4 and 2 / 1 = 2 are both above log 3: three anchors wide and high
    ((0, 0, 2, 2), {"weights": (1, 1, 0.5, 1), "max_log_ratio": math.log(3)}, (-10, -20, 20, 40), "the given limit"),
    ((0, 0, 2, -math.log(2)), {"max_log_ratio": 0}, (0, 5, 10, 15), "0 is a limit like any other"),
])  # fmt: skip
def test_large_sizes_are_limited(deltas, options, expected, law):
    expect_close(decode_boxes(rows(deltas), rows(ANCHOR), **options), rows(expected), law, rtol=1e-12, atol=1e-7)


# --- all boxes --------------------------------------------------------------------------------------------------------


@given(pairs(), weights_of_any_kind)
def test_encoding_agrees_with_the_definition(pair, weights):
    expect_close(encode_boxes(*pair, weights=weights), by_rows(encode, *pair, weights), "every row by the formula")


@given(deltas_and_anchors(), weights_of_any_kind, st.sampled_from([LIMIT, 0, 0.5, 9]))
def test_decoding_agrees_with_the_definition(pair, weights, limit):
    got = decode_boxes(*pair, weights=weights, max_log_ratio=limit)
    expect_close(got, by_rows(decode, *pair, weights, limit), "every row by the formula")


@given(pairs(), weights_of_any_kind)
def test_decoding_undoes_encoding(pair, weights):
    deltas = by_rows(encode, *pair, weights)
    expect_close(decode_boxes(deltas, pair[1], weights=weights), pair[0], "decode(encode(boxes)) gives the boxes back")


@pytest.mark.parametrize("count", [0, 1, 1000])
def test_no_rows_one_and_a_thousand(count):
    corners = normal(count, 2, 2, 2).sort(dim=2).values  # box or anchor, corner, axis
    boxes, anchors = corners.transpose(0, 1).reshape(2, count, 4)
    deltas = by_rows(encode, boxes, anchors, WEIGHTS)
    expect_close(encode_boxes(boxes, anchors, weights=WEIGHTS), deltas, "every row by the formula")
    expect_close(decode_boxes(deltas, anchors, weights=WEIGHTS), by_rows(decode, deltas, anchors, WEIGHTS), "every row")


@pytest.mark.parametrize("unit", [2**-14, 1])
def test_deltas_have_no_unit_and_boxes_have(unit):
    unit_of_length_does_not_matter(encode_boxes, unit * rows(BOX), unit * rows(ANCHOR))
    unit_of_length_does_not_matter(lambda anchors: decode_boxes(rows(DELTAS), anchors), unit * rows(ANCHOR), power=1)


@pytest.mark.parametrize("extreme", [1e4, -1e4, 1e30, -1e30])
def test_extreme_deltas_stay_finite(extreme):
    deltas, anchors = torch.tensor([[0.5, -0.5, extreme, extreme]]), torch.tensor([ANCHOR], dtype=torch.float32)
    assert decode_boxes(deltas, anchors).isfinite().all(), f"dw = dh = {extreme:g} must not overflow"
    gradients_are_finite(decode_boxes, deltas, anchors)


def test_gradients_are_those_of_the_formula():
    anchors = rows(ANCHOR, ANCHOR)
    gradients_are_right(encode_boxes, rows(BOX, (1, 2, 8, 5)), anchors, weights=WEIGHTS)
    gradients_are_right(decode_boxes, rows(DELTAS, (1, 2, 20, 30)), anchors, weights=WEIGHTS)  # 10 and 60: at the limit


# --- promises of all katas --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("law", STANDING_LAWS)
def test_standing_laws(law):
    law(encode_boxes, rows(BOX, (1, 2, 8, 5)), rows(ANCHOR, BOX), weights=WEIGHTS)
    law(decode_boxes, rows(DELTAS, (1, 2, 20, 30)), rows(ANCHOR, BOX), weights=WEIGHTS)
