"""Anchors: the shapes of one level, their grid over one feature map, and the grids of a whole pyramid.

Settled: aspect ratio = height / width at equal area; nothing is rounded; the anchors of cell (row i, column j) are centred
at ((j + 0.5) * stride, (i + 0.5) * stride); order ratio → scale in a cell, row → column → shape in a level.
Out of scope: clipping to the image, different strides for x and y.
"""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from katas.detection.anchors import base_anchors, grid_anchors, pyramid_anchors
from katas.lab.expect import expect_close, expect_equal
from katas.lab.laws import STANDING_LAWS, default_dtype
from katas.lab.strategies import boxes

sizes = st.floats(1, 600)
scale_lists = st.lists(st.floats(0.25, 4), max_size=3)
ratio_lists = st.lists(st.floats(0.1, 10), max_size=4)


def shapes_by_definition(size, scales, aspect_ratios):
    rows = []
    for ratio in aspect_ratios:
        for scale in scales:
            width = math.sqrt((size * scale) ** 2 / ratio)  # area = width * height, and height = ratio * width
            rows.append([-width / 2, -ratio * width / 2, width / 2, ratio * width / 2])
    return rows


def grid_by_loops(feature_size, stride, base):
    rows = []
    for i in range(feature_size[0]):
        for j in range(feature_size[1]):
            x, y = stride * j + stride / 2, stride * i + stride / 2
            rows += [[x + x1, y + y1, x + x2, y + y2] for x1, y1, x2, y2 in base]
    return rows


# --- worked examples


def test_an_aspect_ratio_is_height_over_width():
    # area 8 * 8 = 64 = width * 4 * width, so the width is 4 and the height 16
    expect_close(base_anchors(8, [1], [4]), [[-2, -8, 2, 8]], "ratio 4 is four times as high as wide, area 64")


def test_all_scales_of_the_first_ratio_come_first():
    expected = [[-2, -8, 2, 8], [-4, -16, 4, 16], [-4, -4, 4, 4], [-8, -8, 8, 8], [-8, -2, 8, 2], [-16, -4, 16, 4]]
    got = base_anchors(8, [1, 2], [4, 1, 0.25])
    expect_close(got, expected, "the order is ratio-major: for each ratio, each scale")


def test_shapes_are_not_rounded():
    # area 9, ratio 2: width sqrt(4.5) = 2.1213, height 4.2426
    expected = [[-1.0606602, -2.1213203, 1.0606602, 2.1213203]]
    expect_close(base_anchors(3, [1], [2]), expected, "coordinates are real numbers and keep their fractions")


def test_anchors_are_centred_in_the_middle_of_their_cells():
    # cells of 10 pixels: the centre of row 0, column 1 is x = 15, y = 5
    base = torch.tensor([[-2.0, -8.0, 2.0, 8.0]], dtype=torch.float64)
    expected = [[3, -3, 7, 13], [13, -3, 17, 13], [23, -3, 27, 13]]
    expect_close(grid_anchors((1, 3), 10, base), expected, "one row of three cells: x moves, and y stays at 5")


def test_rows_then_columns_then_shapes():
    base = torch.tensor([[-1.0, -2.0, 1.0, 2.0], [-3.0, -1.0, 3.0, 1.0]], dtype=torch.float64)
    expected = [[1, 0, 3, 4], [-1, 1, 5, 3], [5, 0, 7, 4], [3, 1, 9, 3], [1, 4, 3, 8], [-1, 5, 5, 7]]
    got = grid_anchors((3, 2), 4, base)
    expect_close(
        got[:6], expected, "(H, W, A) row-major: both shapes of a cell, the next cell of the row, the next row"
    )


# --- laws


@given(sizes, scale_lists, ratio_lists)
def test_area_depends_on_the_scale_and_shape_on_the_ratio(size, scales, ratios):
    x1, y1, x2, y2 = base_anchors(size, scales, ratios).double().unbind(1)
    areas = [(size * scale) ** 2 for _ in ratios for scale in scales]
    expect_close((x2 - x1) * (y2 - y1), areas, "the area is (size * scale)², whatever the ratio", rtol=1e-5, atol=0)
    shapes = [ratio for ratio in ratios for _ in scales]
    expect_close((y2 - y1) / (x2 - x1), shapes, "height / width is the ratio, whatever the scale", rtol=1e-5, atol=0)


@given(
    st.integers(1, 4), st.integers(1, 5), st.sampled_from([1, 4, 7.5, 32]), boxes(min_boxes=1, max_boxes=3, units=[0.5])
)
def test_the_grid_covers_the_image_evenly(height, width, stride, base):
    offsets = grid_anchors((height, width), stride, base).reshape(height * width, -1, 4) - base
    middle = [[width * stride / 2, height * stride / 2] * 2] * len(base)
    expect_close(offsets.mean(dim=0), middle, "the centres of all cells average to the centre of the image")


# --- agreement with the definition


@given(sizes, scale_lists, ratio_lists)
def test_base_anchors_agree_with_the_definition(size, scales, ratios):
    expected = torch.tensor(shapes_by_definition(size, scales, ratios)).reshape(-1, 4)
    expect_close(base_anchors(size, scales, ratios), expected, "the shapes, one by one, in float32")


@given(st.integers(0, 3), st.integers(0, 4), st.sampled_from([1, 3, 8, 12.5]), boxes(max_boxes=3, units=[0.5]))
def test_grid_anchors_agree_with_loops(height, width, stride, base):
    expected = grid_by_loops((height, width), stride, base.tolist())
    expected = torch.tensor(expected, dtype=torch.float64).reshape(-1, 4)
    expect_close(grid_anchors((height, width), stride, base), expected, "rows, columns, shapes, one by one")


# --- the pyramid


def test_every_level_has_its_own_grid_stride_and_size():
    got = pyramid_anchors([(2, 3), (1, 2)], [8, 20], [16, 50], scales=[1, 1.5], aspect_ratios=[0.5, 3])
    base = [shapes_by_definition(size, [1, 1.5], [0.5, 3]) for size in (16, 50)]
    expected = [grid_by_loops((2, 3), 8, base[0]), grid_by_loops((1, 2), 20, base[1])]
    expect_close(got, expected, "one tensor per level, in the order of the levels")


def test_the_default_shapes_are_those_of_retinanet():
    (got,) = pyramid_anchors([(1, 1)], [8], [32])
    base = shapes_by_definition(32, [1, 2 ** (1 / 3), 2 ** (2 / 3)], [0.5, 1, 2])
    expect_close(got, grid_by_loops((1, 1), 8, base), "three scales within an octave, ratios 1:2, 1:1 and 2:1")


def test_anchors_are_float32_whatever_the_default_dtype():
    with default_dtype(torch.float64):
        got = [base_anchors(8, [1], [4]), *pyramid_anchors([(2, 3)], [8], [16])]
    assert all(each.dtype == torch.float32 for each in got), f"float32, not the default: {[x.dtype for x in got]}"


@pytest.mark.parametrize("make", [lambda: base_anchors(8, [1], [4]), lambda: pyramid_anchors([(2, 3)], [8], [16])[0]])
def test_every_call_gives_anchors_of_its_own(make):
    first = make()
    expected = first.clone()
    first += 1
    expect_equal(make(), expected, "what a caller does to its anchors, the next caller does not see")


WRONG_LENGTHS = [
    ("strides", [8, 16, 32], [8, 16]),
    ("strides", [8], [8, 16]),
    ("sizes", [8, 16], [32]),
    ("sizes", [8, 16], [8, 16, 32]),
]


@pytest.mark.parametrize("name, strides, sizes", WRONG_LENGTHS)
def test_a_list_of_the_wrong_length_is_refused(name, strides, sizes):
    with pytest.raises(ValueError, match=name):
        pyramid_anchors([(4, 4), (2, 2)], strides, sizes)


@pytest.mark.parametrize("law", STANDING_LAWS[:5])
def test_standing_laws(law):
    law(grid_anchors, (2, 3), 8, torch.tensor([[-1.0, -2.5, 1.0, 2.5], [-4.0, -1.0, 4.0, 1.0]], dtype=torch.float64))
