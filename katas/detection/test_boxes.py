"""boxes: the two ways to write a box down, its area, clipping, and the overlap of all pairs (IoU and GIoU).

Everything is checked against the definition in Python numbers. Pairwise results are (N, M): the first argument runs
along the rows. Out of scope: boxes with x1 > x2 or y1 > y2, and different dtypes in one call.
"""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from katas.detection.boxes import box_area, box_iou, clip_boxes, cxcywh_to_xyxy, generalized_box_iou, xyxy_to_cxcywh
from katas.lab.expect import expect_close, expect_equal
from katas.lab.laws import (
    STANDING_LAWS,
    default_dtype,
    gradients_are_finite,
    gradients_are_right,
    unit_of_length_does_not_matter,
)
from katas.lab.strategies import UNITS, boxes, normal

F32, F64 = torch.float32, torch.float64
OVERLAPS = [box_iou, generalized_box_iou]
INTEGERS = [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64]
RANKS = [lambda rows: rows, lambda rows: rows[0], lambda rows: rows[None], lambda rows: rows[:, None, None]]


def examples():
    boxes1 = torch.tensor([[0.0, 1.0, 4.0, 3.0], [-2.0, 0.5, 2.5, 6.0]], dtype=F64)
    return boxes1, torch.tensor([[1.0, 0.0, 3.5, 4.0], [7.0, 8.0, 9.0, 9.5], [0.5, 1.5, 9.0, 2.0]], dtype=F64)


# --- the definition ---------------------------------------------------------------------------------------------------


def area(box):
    return (box[2] - box[0]) * (box[3] - box[1])


def centred(box):
    return [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2, box[2] - box[0], box[3] - box[1]]


def clipped(box, height, width):
    return [min(max(x, 0), limit) for x, limit in zip(box, (width, height, width, height), strict=True)]


def iou_and_giou(a, b):
    width = max(0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0, min(a[3], b[3]) - max(a[1], b[1]))
    union = area(a) + area(b) - width * height
    hull = area((min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])))
    iou = width * height / union if union else 0.0
    return iou, iou - (hull - union) / hull if hull else iou


def expect_overlaps(boxes1, boxes2, dtype):
    """IoU and GIoU of every pair, as tensors of this dtype."""
    pairs = [[iou_and_giou(a, b) for b in boxes2.tolist()] for a in boxes1.tolist()]
    wanted = torch.tensor(pairs, dtype=dtype).reshape(len(boxes1), len(boxes2), 2)
    expect_close(box_iou(boxes1, boxes2), wanted[..., 0], "IoU of every pair: shared area / area of the union")
    expect_close(generalized_box_iou(boxes1, boxes2), wanted[..., 1], "GIoU of every pair: IoU − (hull − union) / hull")


# --- worked examples --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fn, box, arguments, expected, law", [
    # x from 10 to 14: centre 12, width 4. y from 20 to 30: centre 25, height 10.
    (xyxy_to_cxcywh, [10, 20, 14, 30], [], [12, 25, 4, 10], "(x1, y1, x2, y2) to (centre x, centre y, width, height)"),
    (cxcywh_to_xyxy, [12, 25, 4, 10], [], [10, 20, 14, 30], "half a width and half a height to either side"),
    (box_area, [10, 20, 14, 30], [], 4 * 10, "width times height, without the + 1 of pixel indices"),
    (clip_boxes, [5, 6, 7, 8], [(30, 50)], [5, 6, 7, 8], "a box inside the image is not touched"),
    (clip_boxes, [-3, -2, 90, 60], [(30, 50)], [0, 0, 50, 30], "image_size is (height, width): x ends at the width"),
    (clip_boxes, [70, -9, 99, -1], [(30, 50)], [50, 0, 50, 0], "a box outside becomes degenerate on the border"),
    (clip_boxes, [-9, 40, -1, 45], [(30, 50)], [0, 30, 0, 30], "a box outside becomes degenerate on the border"),
])  # fmt: skip
def test_a_box_by_hand(fn, box, arguments, expected, law):
    expect_close(fn(torch.tensor([box], dtype=F64), *arguments), [expected], law)


@pytest.mark.parametrize("a, b, iou, giou, law", [
    ([1, 2, 5, 4], [1, 2, 5, 4], 1, 1, "a box overlaps itself wholly"),
    # 4·2 and 3·4; they share x 3 … 4 and y 0 … 2, 2. Union 8 + 12 − 2. The hull is 6·4.
    ([0, 0, 4, 2], [3, 0, 6, 4], 2 / 18, 2 / 18 - 6 / 24, "the union holds the shared area once"),
    # 3·1 in 5·4: the shared area is the smaller box, union and hull are the larger one
    ([1, 2, 4, 3], [0, 0, 5, 4], 3 / 20, 3 / 20, "a box inside another"),
    # 2·1 and 1·2; from x 2 to 4 there is a gap. The hull is 5·2, of which 4 is covered.
    ([0, 0, 2, 1], [4, 0, 5, 2], 0, -6 / 10, "apart in x: a negative width is no overlap, clamp it at 0"),
    ([0, 0, 1, 2], [0, 4, 2, 5], 0, -6 / 10, "apart in y: a negative height is no overlap, clamp it at 0"),
    # the same boxes apart in x by 2 and in y by 1; (−2) · (−1) looks like an area. The hull is 5·4.
    ([0, 0, 2, 1], [4, 2, 5, 4], 0, -16 / 20, "apart in x and y: clamp each side at 0 before they are multiplied"),
    ([0, 0, 2, 3], [2, 1, 5, 2], 0, -6 / 15, "a shared edge has no area"),
    ([0, 0, 2, 3], [2, 3, 4, 4], 0, -8 / 16, "a shared corner has no area"),
])  # fmt: skip
def test_an_overlap_by_hand(a, b, iou, giou, law):
    boxes1, boxes2 = torch.tensor([a], dtype=F64), torch.tensor([b], dtype=F64)
    expect_close(box_iou(boxes1=boxes1, boxes2=boxes2), [[iou]], f"IoU {a} {b}: {law}")
    expect_close(box_iou(boxes1=boxes2, boxes2=boxes1), [[iou]], f"IoU {b} {a}: {law}")
    expect_close(generalized_box_iou(boxes1=boxes1, boxes2=boxes2), [[giou]], f"GIoU {a} {b}: {law}")


# --- all boxes, all dtypes --------------------------------------------------------------------------------------------


@given(boxes(), st.sampled_from([F32, F64]), st.sampled_from(RANKS))
def test_both_formats_tell_the_same_box(rows, dtype, batch):
    centres, corners = batch(torch.tensor([centred(box) for box in rows.tolist()], dtype=dtype)), batch(rows.to(dtype))
    expect_close(xyxy_to_cxcywh(boxes=corners), centres, "(x1 + x2) / 2, (y1 + y2) / 2, x2 − x1, y2 − y1")
    expect_close(cxcywh_to_xyxy(boxes=centres), corners, "cx − width / 2, cy − height / 2, cx + width / 2, …")


@given(boxes(), st.sampled_from(RANKS), st.integers(1, 60), st.integers(1, 60))
def test_clipped_boxes_lie_inside(rows, batch, height, width):
    expected = torch.tensor([clipped(box, height, width) for box in rows.tolist()], dtype=F64)
    got = clip_boxes(boxes=batch(rows), image_size=(height, width))
    expect_equal(got, batch(expected), f"x in [0, {width}], y in [0, {height}], and the shape stays")


@given(st.data(), st.sampled_from(UNITS), st.sampled_from([F32, F64]))
def test_overlaps_agree_with_the_definition(data, unit, dtype):
    boxes1, boxes2 = (data.draw(boxes(units=[unit], dtype=dtype), label=name) for name in ("boxes1", "boxes2"))
    expect_overlaps(boxes1, boxes2, dtype)


@pytest.mark.parametrize("count1, count2", [(0, 3), (3, 0), (0, 0), (1000, 3), (2, 1000)])
def test_no_boxes_and_a_thousand(count1, count2):
    corners = normal(1003, 2, 2).sort(dim=1).values.reshape(-1, 4)
    expect_overlaps(corners[:count1], corners[1003 - count2 :], F64)


@pytest.mark.parametrize("dtype", [F32, F64])
def test_an_iou_that_meets_a_threshold_meets_it_exactly(dtype):
    # with the first they share 1, 2 and 3 of 4 squares, with the second 0, 1 and 2 of the 4 that the two cover
    boxes1 = torch.tensor([[0, 0, 1, 1], [0, 0, 2, 1], [0, 0, 3, 1]], dtype=dtype)
    boxes2 = torch.tensor([[0, 0, 4, 1], [1, 0, 4, 1]], dtype=dtype)
    for size in range(1, 20):
        got = box_iou(size / 2 * boxes1, size / 2 * boxes2)
        expect_equal(got, [[1 / 4, 0], [1 / 2, 1 / 4], [3 / 4, 1 / 2]], "exact: no eps, no logarithms", dtype=dtype)


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("dtype", [F32, F64])
@pytest.mark.parametrize("overlap", OVERLAPS)
def test_boxes_without_area_give_zero_and_a_finite_gradient(overlap, dtype, unit):
    flat = unit * torch.tensor([[3, 5, 3, 5], [3, 5, 3, 9]], dtype=dtype)  # a point, and a line that starts there
    expect_equal(overlap(flat, flat), [[0, 0], [0, 0]], "boxes without area, at one place: 0, not 0 / 0", dtype=dtype)
    gradients_are_finite(overlap, flat, flat)


@pytest.mark.parametrize("overlap", OVERLAPS)
def test_gradients_are_those_of_the_formula(overlap):
    gradients_are_right(overlap, *examples())


@pytest.mark.parametrize("fn, arguments, power", [
    (xyxy_to_cxcywh, 1, 1), (cxcywh_to_xyxy, 1, 1), (box_area, 1, 2), (box_iou, 2, 0), (generalized_box_iou, 2, 0),
])  # fmt: skip
def test_the_unit_of_length_does_not_matter(fn, arguments, power):
    unit_of_length_does_not_matter(fn, *examples()[:arguments], power=power)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_are_made_float32_before_they_are_added(dtype):
    # sums, differences and products of such integers wrap around: 10¹⁰ is too much for int32
    high = min(torch.iinfo(dtype).max, 100_000)
    low = max(torch.iinfo(dtype).min, -high)
    rows = [[low, low + 1, high, high - 2], [7, 1, high, 4]]
    corners, centres = torch.tensor(rows, dtype=dtype), torch.tensor([[high, low, 5, 8]], dtype=dtype)
    found = [centred(row) for row in rows], [[high - 2.5, low - 4, high + 2.5, low + 4]], [area(row) for row in rows]
    with default_dtype(F64):
        got = [xyxy_to_cxcywh(corners), cxcywh_to_xyxy(centres), box_area(corners)]
        for boxes1, boxes2 in ((corners, corners), (corners[:0], corners), (corners, corners[:0])):
            expect_overlaps(boxes1, boxes2, F32)
    expect_close(got, [torch.tensor(each, dtype=F32) for each in found], "made float32 first: centres, corners, areas")
    found = torch.tensor([clipped(row, 90, high) for row in rows], dtype=dtype)
    expect_equal(clip_boxes(corners, (90, high)), found, "clipped integers keep their dtype, and none is rounded")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_boxes_have_areas_in_float32(dtype):
    corners = torch.tensor([[0, 0, 512, 512], [-256, 0, 0, 384]], dtype=dtype)
    expect_close(box_area(boxes=corners), torch.tensor([512.0 * 512, 256 * 384]), "beyond 65504, the largest float16")
    expect_overlaps(corners, corners, F32)
    centres = torch.tensor([[256, 256, 512, 512], [-128, 192, 256, 384]], dtype=dtype)
    expect_close(xyxy_to_cxcywh(corners), centres, "a centre keeps the dtype of the corners")


# --- promises of all katas --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("law", STANDING_LAWS)
def test_standing_laws(law):
    boxes1, boxes2 = examples()
    for fn in (xyxy_to_cxcywh, cxcywh_to_xyxy, box_area):
        law(fn, boxes1)
    law(clip_boxes, boxes1, (3, 2))
    law(box_iou, boxes1, boxes2)
    law(generalized_box_iou, boxes1, boxes2)
