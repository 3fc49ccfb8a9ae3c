"""boxes: the two ways to write a box down, its area, clipping, and the overlap of all pairs (IoU and GIoU).

Boxes are xyxy in continuous coordinates, x1 ≤ x2 and y1 ≤ y2; pairwise results are (N, M), the first argument along the
rows. The overlap of two boxes is checked against counted half-pixel squares. Out of scope: boxes with x1 > x2, and
different dtypes in one call.
"""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from katas.detection.boxes import (
    box_area,
    box_iou,
    clip_boxes,
    cxcywh_to_xyxy,
    generalized_box_iou,
    xyxy_to_cxcywh,
)
from katas.lab.expect import expect_close, expect_equal
from katas.lab.laws import STANDING_LAWS, default_dtype, gradients_are_finite, gradients_are_right
from katas.lab.strategies import boxes

FLOAT = torch.float64


def squares(box) -> set[tuple[int, int]]:
    """The squares of half a pixel that a box with half-pixel corners covers."""
    x1, y1, x2, y2 = (round(2 * number) for number in box.tolist())
    return {(x, y) for x in range(x1, x2) for y in range(y1, y2)}


def counted_overlap(boxes1, boxes2) -> tuple[list[list[float]], list[list[float]]]:
    """IoU and GIoU of every pair by counting squares."""
    ious, gious = [], []
    for first in boxes1:
        ious.append([])
        gious.append([])
        for second in boxes2:
            inside, around = squares(first) & squares(second), squares(first) | squares(second)
            corners = torch.stack([first, second])
            hull = squares(torch.cat([corners[:, :2].amin(0), corners[:, 2:].amax(0)]))
            iou = len(inside) / len(around) if around else 0.0
            ious[-1].append(iou)
            gious[-1].append(iou - (len(hull) - len(around)) / len(hull) if hull else iou)
    return ious, gious


# --- worked examples ------------------------------------------------------------------------------------------------


def test_a_box_of_corners_has_a_centre_and_a_size():
    # x from 10 to 14: centre 12, width 4.  y from 20 to 30: centre 25, height 10.
    box = torch.tensor([[10.0, 20.0, 14.0, 30.0]], dtype=FLOAT)
    expect_close(xyxy_to_cxcywh(box), [[12.0, 25.0, 4.0, 10.0]], "(x1, y1, x2, y2) → (cx, cy, width, height)")
    expect_close(cxcywh_to_xyxy(xyxy_to_cxcywh(box)), box, "cxcywh_to_xyxy undoes xyxy_to_cxcywh")


def test_area_is_width_times_height():
    box = torch.tensor([[10.0, 20.0, 14.0, 30.0], [0.0, 0.0, 0.5, 3.0]], dtype=FLOAT)
    expect_close(box_area(box), [40.0, 1.5], "the area is (x2 − x1) · (y2 − y1), without any + 1")


def test_iou_of_two_overlapping_boxes(units=[0.5]):
    # 4×2 = 8 and 3×4 = 12; they share x 3..4 and y 0..2: 2.  Union 18.
    boxes1 = torch.tensor([[0.0, 0.0, 4.0, 2.0]], dtype=FLOAT)
    boxes2 = torch.tensor([[3.0, 0.0, 6.0, 4.0], [0.0, 0.0, 4.0, 2.0]], dtype=FLOAT)
    expect_close(box_iou(boxes1, boxes2), [[2 / 18, 1.0]], "IoU is the shared area over the area of the union")


def test_giou_of_two_boxes_apart():
    # 2×1 = 2 and 1×2 = 2, nothing shared; the hull is 5×4 = 20, of which 16 is neither.
    boxes1 = torch.tensor([[0.0, 0.0, 2.0, 1.0]], dtype=FLOAT)
    boxes2 = torch.tensor([[4.0, 2.0, 5.0, 4.0]], dtype=FLOAT)
    expect_close(generalized_box_iou(boxes1, boxes2), [[-16 / 20]], "GIoU is IoU − (hull − union) / hull")


def test_clipping_uses_the_width_for_x_and_the_height_for_y():
    box = torch.tensor([[-3.0, -2.0, 90.0, 60.0], [5.0, 6.0, 7.0, 8.0], [70.0, -9.0, 99.0, -1.0]], dtype=FLOAT)
    box = torch.cat([box, box.new_tensor([[-9.0, 40.0, -1.0, 45.0]])])
    expected = [[0.0, 0.0, 50.0, 30.0], [5.0, 6.0, 7.0, 8.0], [50.0, 0.0, 50.0, 0.0], [0.0, 30.0, 0.0, 30.0]]
    expect_equal(clip_boxes(box, (30, 50)), expected, "image_size is (height, width); a box outside ends on the border")


# --- laws -----------------------------------------------------------------------------------------------------------


@given(boxes(units=[0.5]))
def test_changing_the_format_and_back_gives_the_same_boxes(boxes):
    expect_close(cxcywh_to_xyxy(xyxy_to_cxcywh(boxes)), boxes, "corners → centre and size → corners changes nothing")


@given(boxes(units=[0.5]), boxes(units=[0.5]))
def test_iou_does_not_depend_on_the_order_of_the_two_boxes(boxes1, boxes2):
    expect_close(box_iou(boxes1, boxes2), box_iou(boxes2, boxes1).T, "IoU(a, b) = IoU(b, a)")


@given(boxes(units=[0.5]), boxes(units=[0.5]), st.integers(-50, 50), st.integers(1, 8))
def test_moving_and_scaling_both_boxes_does_not_change_their_iou(boxes1, boxes2, shift, scale):
    offset = torch.tensor([shift, -2 * shift, shift, -2 * shift], dtype=FLOAT)
    moved = box_iou(boxes1 * scale + offset, boxes2 * scale + offset)
    expect_close(moved, box_iou(boxes1, boxes2), "IoU does not change when both boxes move and scale together")


@pytest.mark.parametrize("overlap", [box_iou, generalized_box_iou])
def test_the_unit_of_length_does_not_matter(overlap):
    for unit in (1e-6, 1e6):
        law = f"boxes {unit:g} times as large overlap as much: no small number is added to an area"
        expect_close(overlap(unit * BOXES1, unit * BOXES2), overlap(BOXES1, BOXES2), law)


@given(boxes(units=[0.5]), st.integers(1, 60), st.integers(1, 60))
def test_clipped_boxes_lie_inside_and_clipping_again_changes_nothing(boxes, height, width):
    clipped = clip_boxes(boxes, (height, width))
    assert (clipped >= 0).all(), f"a coordinate below 0 is left: {clipped}"
    assert (clipped[:, ::2] <= width).all(), f"an x beyond the width {width} is left: {clipped}"
    assert (clipped[:, 1::2] <= height).all(), f"a y beyond the height {height} is left: {clipped}"
    expect_equal(clip_boxes(clipped, (height, width)), clipped, "a box inside the image is not touched")


# --- agreement with counting ----------------------------------------------------------------------------------------


@given(boxes(max_boxes=3, units=[0.5]), boxes(max_boxes=3, units=[0.5]))
def test_overlap_equals_counted_squares(boxes1, boxes2):
    boxes1, boxes2 = (torch.round(boxes / 2) / 2 for boxes in (boxes1, boxes2))  # smaller: counting is quick
    ious, gious = counted_overlap(boxes1, boxes2)
    shape = len(boxes1), len(boxes2)
    expect_close(box_iou(boxes1, boxes2), torch.tensor(ious, dtype=FLOAT).reshape(shape), "IoU by counting squares")
    expect_close(
        generalized_box_iou(boxes1, boxes2), torch.tensor(gious, dtype=FLOAT).reshape(shape), "GIoU by counting squares"
    )


# --- edges ----------------------------------------------------------------------------------------------------------


def test_boxes_that_share_only_an_edge_or_a_corner_do_not_overlap():
    box = torch.tensor([[0.0, 0.0, 2.0, 3.0]], dtype=FLOAT)
    others = torch.tensor([[2.0, 1.0, 5.0, 2.0], [2.0, 3.0, 4.0, 4.0], [0.5, 3.0, 1.0, 9.0]], dtype=FLOAT)
    expect_equal(box_iou(box, others), [[0.0, 0.0, 0.0]], "a shared edge or corner has no area")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_iou_that_meets_a_threshold_meets_it_exactly(dtype):
    # With the first box they share 1, 2 and 3 of 4 squares, with the second 0, 1 and 2 of the 4 that the two cover.
    boxes1 = torch.tensor([[0, 0, 1, 1], [0, 0, 2, 1], [0, 0, 3, 1]], dtype=dtype)
    boxes2 = torch.tensor([[0, 0, 4, 1], [1, 0, 4, 1]], dtype=dtype)
    for size in range(1, 20):
        got = box_iou(size / 2 * boxes1, size / 2 * boxes2)
        law = "areas of half pixels are exact, and so is their quotient if binary can hold it: divide once, no eps, no logs"
        expect_equal(got, [[0.25, 0.0], [0.5, 0.25], [0.75, 0.5]], law)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("overlap", [box_iou, generalized_box_iou])
def test_degenerate_boxes_give_zero_and_a_finite_gradient(overlap, dtype):
    point = torch.tensor([[3.0, 5.0, 3.0, 5.0]], dtype=dtype)
    line = torch.tensor([[3.0, 5.0, 3.0, 9.0]], dtype=dtype)
    for degenerate in (point, line):
        expect_equal(
            overlap(degenerate, degenerate), [[0.0]], "two boxes without area, at the same place: 0, not 0 / 0"
        )
    gradients_are_finite(overlap, torch.cat([point, line]), torch.cat([point, line]))


INTEGERS = [torch.uint8, torch.int8, torch.int16, torch.int64]


@pytest.mark.parametrize("dtype", [*INTEGERS, torch.float16, torch.bfloat16])
def test_integer_and_half_boxes_are_computed_in_float32(dtype):
    wide = torch.tensor([[200, 8, 240, 248], [0, 0, 16, 16]], dtype=FLOAT)  # 40 × 240 = 9600: too much for 8 bits
    wide -= 128 if dtype is torch.int8 else 0  # which ends at 127
    narrow = wide.to(dtype)
    expect_close(box_area(narrow), box_area(wide).float(), "areas in float32")
    expect_close(box_iou(narrow, narrow), box_iou(wide, wide).float(), "IoU in float32")
    expect_close(generalized_box_iou(narrow, narrow), generalized_box_iou(wide, wide).float(), "GIoU in float32")


def test_a_float16_box_may_be_larger_than_float16_can_count():
    box = torch.tensor([[0.0, 0.0, 512.0, 512.0]], dtype=torch.float16)
    expect_close(box_area(box), torch.tensor([262144.0]), "512 × 512 is beyond 65504, the largest float16")
    expect_close(box_iou(box, box), torch.tensor([[1.0]]), "a box overlaps itself wholly")


def test_the_centre_of_an_integer_box_may_lie_at_a_half():
    box = torch.tensor([[1, 2, 4, 7]])
    expect_close(xyxy_to_cxcywh(box), torch.tensor([[2.5, 4.5, 3.0, 5.0]]), "x from 1 to 4 has its centre at 2.5")
    expect_close(cxcywh_to_xyxy(box), torch.tensor([[-1.0, -1.5, 3.0, 5.5]]), "half of an odd size is no integer")


def test_integers_are_made_floating_before_they_are_added():
    # uint8 ends at 255, and 200 + 240 wraps around to 184; int8 ends at 127, and 100 − (−100) wraps around to −56.
    corners, centred = [[200, 8, 240, 248]], [[220.0, 128.0, 40.0, 240.0]]
    got = xyxy_to_cxcywh(torch.tensor(corners, dtype=torch.uint8))
    expect_close(got, torch.tensor(centred), "the centre (200 + 240) / 2 is 220, in float32")
    got = cxcywh_to_xyxy(torch.tensor(centred, dtype=torch.uint8))
    expect_close(got, torch.tensor(corners).float(), "and back: 220 ± 40 / 2")
    got = xyxy_to_cxcywh(torch.tensor([[-100, 90, 100, 120]], dtype=torch.int8))
    expect_close(got, torch.tensor([[0.0, 105.0, 200.0, 30.0]]), "from -100 to 100 it is 200, in float32")
    got = cxcywh_to_xyxy(torch.tensor([[100, -100, 60, 80]], dtype=torch.int8))
    expect_close(got, torch.tensor([[70.0, -140.0, 130.0, -60.0]]), "and back: 100 ± 60 / 2, -100 ± 80 / 2")


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("count", [0, 1])
def test_integers_give_float32_whatever_the_default_dtype_and_the_number_of_boxes(dtype, count):
    boxes, two = torch.ones(count, 4, dtype=dtype), torch.ones(2, 4, dtype=dtype)
    with default_dtype(FLOAT):
        got = [xyxy_to_cxcywh(boxes), cxcywh_to_xyxy(boxes), box_area(boxes)]
        for overlap in (box_iou, generalized_box_iou):
            got += [overlap(boxes, two), overlap(two, boxes)]
    assert [tuple(each.shape) for each in got[3:]] == 2 * [(count, 2), (2, count)], "every box with every one: (N, M)"
    assert {each.dtype for each in got} == {torch.float32}, f"integer boxes give float32: {[x.dtype for x in got]}"


def test_clipping_keeps_integers():
    box = torch.tensor([[-3, 4, 60, 70]])
    expect_equal(clip_boxes(box, (30, 50)), torch.tensor([[0, 4, 50, 30]]), "the dtype stays")
    box = torch.tensor([[2**24 + 1, 3, 2**24 + 3, 5]])  # float32 has no 16777217
    expect_equal(clip_boxes(box, (9, 2**25)), box, "a box inside the image is not touched: integers need no rounding")


@pytest.mark.parametrize("function, arguments", [(xyxy_to_cxcywh, ()), (cxcywh_to_xyxy, ()), (clip_boxes, ((3, 8),))])
def test_a_batch_of_any_rank_is_converted_and_clipped(function, arguments):
    rows = torch.arange(24, dtype=FLOAT).reshape(6, 4) - 7  # from -7 to 16: some of every side sticks out
    expected = function(rows, *arguments)
    batch = function(rows.reshape(2, 3, 4), *arguments)
    expect_close(batch, expected.reshape(2, 3, 4), "two images of three boxes each, (2, 3, 4), are six boxes, (6, 4)")
    for row, box in zip(rows, expected, strict=True):
        expect_close(function(row, *arguments), box, "a single box of shape (4,) gives one of shape (4,)")


# --- standing laws --------------------------------------------------------------------------------------------------

BOXES1 = torch.tensor([[0.0, 1.0, 4.0, 3.0], [-2.0, 0.5, 2.5, 6.0]], dtype=FLOAT)
BOXES2 = torch.tensor([[1.0, 0.0, 3.5, 4.0], [7.0, 8.0, 9.0, 9.5], [0.5, 1.5, 9.0, 2.0]], dtype=FLOAT)


@pytest.mark.parametrize("law", STANDING_LAWS[:5])
@pytest.mark.parametrize(
    "function, arguments",
    [
        (xyxy_to_cxcywh, (BOXES1,)),
        (cxcywh_to_xyxy, (BOXES1,)),
        (box_area, (BOXES1,)),
        (clip_boxes, (BOXES1, (3, 2))),
        (box_iou, (BOXES1, BOXES2)),
        (generalized_box_iou, (BOXES1, BOXES2)),
    ],
)
def test_standing_laws(law, function, arguments):
    law(function, *arguments)


@pytest.mark.parametrize("overlap", [box_iou, generalized_box_iou])
def test_gradients_of_the_overlap_are_those_of_its_formula(overlap):
    gradients_are_right(overlap, BOXES1, BOXES2)
