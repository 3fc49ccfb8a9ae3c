"""anchors: the shapes of one level, their grid over one feature map, and the grids of a whole pyramid.

Everything is checked against the definition, loops on Python numbers. Out of scope: clipping to the image, different
strides for x and y.
"""

import math

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from katas.detection.anchors import base_anchors, grid_anchors, pyramid_anchors
from katas.lab.expect import expect_close, expect_refused
from katas.lab.laws import STANDING_LAWS, default_dtype, unit_of_length_does_not_matter
from katas.lab.strategies import UNITS, boxes

sizes = st.one_of(st.floats(1e-3, 1), st.floats(1, 1e5))
scale_lists = st.lists(st.floats(0.25, 4), min_size=1, max_size=3)
ratio_lists = st.lists(st.floats(0.1, 10), min_size=1, max_size=4)
TALL_AND_WIDE = [[-1.0, -2.0, 1.0, 2.0], [-3.0, -1.0, 3.0, 1.0]]


def float64(rows):
    return torch.tensor(rows, dtype=torch.float64).reshape(-1, 4)


# --- the definition ---------------------------------------------------------------------------------------------------


def shapes(size, scales, aspect_ratios):
    rows = []
    for ratio in aspect_ratios:
        for scale in scales:
            width = math.sqrt((size * scale) ** 2 / ratio)  # area = width · height, and height = ratio · width
            rows.append([-width / 2, -ratio * width / 2, width / 2, ratio * width / 2])
    return rows


def grid(feature_size, stride, base):
    rows = []
    for i in range(feature_size[0]):
        for j in range(feature_size[1]):
            x, y = stride * j + stride / 2, stride * i + stride / 2
            rows += [[x + x1, y + y1, x + x2, y + y2] for x1, y1, x2, y2 in base]
    return rows


# --- shapes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size, scales, ratios, expected, law", [
    (8, [1], [1], [[-4, -4, 4, 4]], "a box of 8 × 8, centred at 0"),
    # area 8 · 8 = 64 = width · 4 · width: the width is 4 and the height 16
    (8, [1], [4], [[-2, -8, 2, 8]], "ratio 4 is four times as high as wide, at the same area of 64"),
    (8, [1.5], [4], [[-3, -12, 3, 12]], "scale 1.5 makes both sides 1.5 times as long"),
    # area 9, ratio 2: width sqrt(4.5) = 2.1213, height 4.2426
    (3, [1], [2], [[-1.0606602, -2.1213203, 1.0606602, 2.1213203]], "coordinates are not rounded"),
    (8, [1, 2], [4, 1], [[-2, -8, 2, 8], [-4, -16, 4, 16], [-4, -4, 4, 4], [-8, -8, 8, 8]], "ratio by ratio"),
])  # fmt: skip
def test_shapes_by_hand(size, scales, ratios, expected, law):
    expect_close(base_anchors(size=size, scales=scales, aspect_ratios=ratios), expected, law, dtype=torch.float32)


@given(sizes, scale_lists, ratio_lists)
def test_shapes_agree_with_the_definition(size, scales, ratios):
    expected = torch.tensor(shapes(size, scales, ratios), dtype=torch.float32)
    expect_close(base_anchors(size, scales, ratios), expected, "the shapes, one by one", rtol=1e-5, atol=0)


@given(sizes, scale_lists, ratio_lists)
def test_area_depends_on_scale_and_shape_on_ratio(size, scales, ratios):
    x1, y1, x2, y2 = base_anchors(size, scales, ratios).double().unbind(1)
    areas = [(size * scale) ** 2 for _ in ratios for scale in scales]
    expect_close((x2 - x1) * (y2 - y1), areas, "the area is (size · scale)², whatever the ratio", rtol=1e-5, atol=0)
    tall = [ratio for ratio in ratios for _ in scales]
    expect_close((y2 - y1) / (x2 - x1), tall, "height / width is the ratio, whatever the scale", rtol=1e-5, atol=0)


# --- the grid ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("feature_size, stride, base, expected, law", [
    # cells of 10 pixels: the centres are at x = 5, 15, 25 and y = 5
    ((1, 3), 10, [[-2, -8, 2, 8]], [[3, -3, 7, 13], [13, -3, 17, 13], [23, -3, 27, 13]], "(height, width): x moves"),
    ((2, 1), 10, [[-2, -8, 2, 8]], [[3, -3, 7, 13], [3, 7, 7, 23]], "(height, width): y moves"),
    # cells of 4 pixels: the centres are (2, 2), (6, 2), (2, 6), (6, 6)
    ((2, 2), 4, TALL_AND_WIDE, [[1, 0, 3, 4], [-1, 1, 5, 3], [5, 0, 7, 4], [3, 1, 9, 3],
                                [1, 4, 3, 8], [-1, 5, 5, 7], [5, 4, 7, 8], [3, 5, 9, 7]],
     "both shapes of a cell, then the next cell of the row, then the next row"),
])  # fmt: skip
def test_a_grid_by_hand(feature_size, stride, base, expected, law):
    got = grid_anchors(feature_size=feature_size, stride=stride, base=float64(base))
    expect_close(got, expected, f"{law}; centres are in the middle of the cells")


@given(
    st.integers(1, 12),
    st.integers(1, 20),
    st.sampled_from([1, 0.1, 12.5, 128]),
    boxes(1, 3, [1]),
    st.sampled_from(UNITS),
)
@example(1, 1500, 8, float64(TALL_AND_WIDE), 1).via("a wide feature map")
@example(300, 2, 4, float64(TALL_AND_WIDE), 1).via("a high feature map")
def test_a_grid_agrees_with_the_definition(height, width, stride, base, unit):
    expected = unit * float64(grid((height, width), stride, base.tolist()))
    got = grid_anchors((height, width), unit * stride, unit * base)
    expect_close(got, expected, "every row, column and shape, one by one", rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("height, width, count", [(0, 3, 2), (3, 0, 2), (3, 2, 0)])
def test_no_cells_or_no_shapes_are_no_anchors(height, width, count):
    expect_close(grid_anchors((height, width), 8, float64(TALL_AND_WIDE)[:count]), float64([]), "no rows of four")


@pytest.mark.parametrize("scales, ratios", [([], [1, 2]), ([1, 2], [])])
def test_no_scales_or_no_ratios_are_no_shapes(scales, ratios):
    expect_close(base_anchors(8, scales, ratios), torch.zeros(0, 4), "no rows of four")


# --- the pyramid ------------------------------------------------------------------------------------------------------


def test_every_level_has_its_own_grid_stride_and_size():
    feature_sizes, strides, sides = [(2, 3), (1, 2), (0, 0), (1, 1)], [8, 20, 32, 64], [16, 50, 100, 99.5]
    got = pyramid_anchors(feature_sizes, strides, sides, scales=[1, 1.5], aspect_ratios=[0.5, 3, 1])
    levels = zip(feature_sizes, strides, sides, strict=True)
    expected = [grid(cells, stride, shapes(size, [1, 1.5], [0.5, 3, 1])) for cells, stride, size in levels]
    expect_close(got, [float64(rows).float() for rows in expected], "one tensor per level, in the order of the levels")


def test_the_default_shapes_are_those_of_retinanet():
    (got,) = pyramid_anchors(feature_sizes=[(7, 9)], strides=[8], sizes=[32])
    base = shapes(32, [1, 2 ** (1 / 3), 2 ** (2 / 3)], [0.5, 1, 2])
    expect_close(got, float64(grid((7, 9), 8, base)).float(), "three scales within an octave, ratios 1:2, 1:1 and 2:1")


def test_the_unit_of_length_does_not_matter():
    def anchors(stride, size):
        return pyramid_anchors([(2, 3)], [stride.item()], [size.item()])

    unit_of_length_does_not_matter(anchors, torch.tensor(8.0), torch.tensor(32.0), power=1)


def test_anchors_are_float32_whatever_the_default_dtype():
    with default_dtype(torch.float64):
        got = [base_anchors(8, [1], [4]), *pyramid_anchors([(2, 3)], [8], [16])]
    assert {each.dtype for each in got} == {torch.float32}, f"float32, not the default: {[x.dtype for x in got]}"


# --- promises of all katas --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, strides, sizes", [
    ("strides", [8, 16, 32], [8, 16]),
    ("strides", [8], [8, 16]),
    ("sizes", [8, 16], [32]),
    ("sizes", [8, 16], [8, 16, 32]),
])  # fmt: skip
def test_a_list_of_the_wrong_length_is_refused(name, strides, sizes):
    expect_refused(name, lambda: pyramid_anchors([(4, 4), (2, 2)], strides, sizes))


@pytest.mark.parametrize("law", STANDING_LAWS)
def test_standing_laws(law):
    law(grid_anchors, (3, 5), 8, float64(TALL_AND_WIDE))
