"""augmentation: mirror, crop and resize an image together with its boxes.

Boxes are checked against the definition in Python numbers, resized pixels against triangle weights.
Out of scope: boxes that stick out of the image; resizing to a width of 1, where torch 2.7 loses the other rows.
"""

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from katas.detection.augmentation import hflip_with_boxes, random_crop_with_boxes, resize_with_boxes
from katas.lab.expect import expect_close, expect_equal, expect_refused
from katas.lab.laws import STANDING_LAWS, device_is_followed, unit_of_length_does_not_matter
from katas.lab.strategies import normal, rng, seeds

F64 = torch.float64
NOTHING = torch.zeros(0, 4, dtype=F64), torch.zeros(0, dtype=torch.int64)  # no boxes, no labels


def numbered(channels, height, width):
    """In channel 0 every pixel holds 100,000 times its row, plus its column; the other channels are noise."""
    image = normal(channels, height, width)
    image[0] = 100_000 * torch.arange(height)[:, None] + torch.arange(width)
    return image


def some_boxes(count, height, width, seed=0):
    corners = torch.rand(count, 2, 2, generator=rng(seed), dtype=F64).sort(dim=1).values
    return (corners * torch.tensor([width, height])).reshape(count, 4)


@st.composite
def scenes(draw):  # a numbered image of up to 4 channels and 7 x 9 pixels, boxes with corners at quarter pixels
    channels, height, width = draw(st.integers(1, 4)), draw(st.integers(1, 7)), draw(st.integers(1, 9))
    boxes = 4 * some_boxes(draw(st.integers(1, 6)), height, width, draw(seeds()))
    return numbered(channels, height, width), boxes.round() / 4


def crop(image, boxes, labels, crop_size, seed=0, min_visibility=0.5):
    given = dict(image=image, boxes=boxes, labels=labels, crop_size=crop_size, min_visibility=min_visibility)
    return random_crop_with_boxes(generator=rng(seed), **given)


def place(window):  # (top, left) of a window of a numbered image
    return divmod(int(window[0, 0, 0]), 100_000)


# --- the definition ---------------------------------------------------------------------------------------------------


def expect_crop(image, boxes, crop_size, seed, min_visibility):
    labels = torch.arange(10, 10 + len(boxes))
    got = crop(image, boxes, labels, crop_size, seed, min_visibility)
    (height, width), (top, left), rows, kept = crop_size, place(got.image), [], []
    for n, (x1, y1, x2, y2) in enumerate(boxes.tolist()):
        u1, u2 = (min(max(x - left, 0), width) for x in (x1, x2))
        v1, v2 = (min(max(y - top, 0), height) for y in (y1, y2))
        visible = (u2 - u1) * (v2 - v1)
        if visible > 0 and visible >= min_visibility * (x2 - x1) * (y2 - y1):
            rows.append([u1, v1, u2, v2])
            kept.append(n)
    expect_equal(got.image, image[:, top : top + height, left : left + width], "the window is a piece of the image")
    expect_equal(got.labels, labels[kept], "labels of the boxes that remain, in the old order")
    expect_close(got.boxes, torch.tensor(rows, dtype=boxes.dtype).reshape(-1, 4), "moved into the window, and cut")


def triangle_weights(old, new):  # (new, old); the triangle is widened where the image shrinks
    scale, rows = old / new, []
    for i in range(new):
        row = [max(0.0, 1 - abs(j + 0.5 - (i + 0.5) * scale) / max(1.0, scale)) for j in range(old)]
        rows.append([weight / sum(row) for weight in row])
    return torch.tensor(rows, dtype=F64)


# --- mirror, resize, crop ---------------------------------------------------------------------------------------------


def test_a_mirrored_box_by_hand():
    image = torch.tensor([[[1, 2, 3, 4, 5], [6, 7, 8, 9, 0]]], dtype=F64)
    got = hflip_with_boxes(image=image, boxes=torch.tensor([[0.5, 0.0, 2.0, 1.5]], dtype=F64))
    expect_equal(got.image, [[[5, 4, 3, 2, 1], [0, 9, 8, 7, 6]]], "columns are reversed, rows stay")
    expect_close(got.boxes, [[3.0, 0.0, 4.5, 1.5]], "x goes to 5 - x, and x1 ≤ x2 again; y stays")


@pytest.mark.parametrize("size, expected", [((6, 5), [0.5, 1.5, 1.25, 6]), ((1, 1), [0.1, 0.25, 0.25, 1])])
def test_a_resized_box_by_hand(size, expected):
    got = resize_with_boxes(image=torch.zeros(3, 4, 10), boxes=torch.tensor([[1, 1, 2.5, 4]], dtype=F64), size=size)
    assert got.image.shape == (3, *size), f"size is (height, width), got {tuple(got.image.shape)}"
    expect_close(got.boxes, [expected], "x by new width / 10, y by new height / 4")


@given(scenes())
def test_mirroring_agrees_with_the_definition(scene):
    (image, boxes), width, got = scene, scene[0].shape[2], hflip_with_boxes(*scene)
    expect_equal(got.image, image[:, :, list(range(width))[::-1]], "every row of every channel is reversed")
    expected = [[width - x2, y1, width - x1, y2] for x1, y1, x2, y2 in boxes.tolist()]
    expect_close(got.boxes, torch.tensor(expected, dtype=F64), "x goes to W - x")


@given(scenes(), st.integers(1, 8), st.integers(2, 10))
def test_resizing_agrees_with_the_definition(scene, new_height, new_width):
    (image, boxes), (height, width) = scene, scene[0].shape[1:]
    got = resize_with_boxes(image, boxes, (new_height, new_width))
    expected = triangle_weights(height, new_height) @ image @ triangle_weights(width, new_width).T
    expect_close(got.image, expected, "pixel centres at + 0.5; averaged where the image shrinks", rtol=1e-7, atol=1e-6)
    sx, sy = new_width / width, new_height / height
    expected = [[x1 * sx, y1 * sy, x2 * sx, y2 * sy] for x1, y1, x2, y2 in boxes.tolist()]
    expect_close(got.boxes, torch.tensor(expected, dtype=F64), "boxes stretch with the image")


@pytest.mark.parametrize("labels, min_visibility, kept, law", [
    # the window is columns 1, 2 and 3 of 5. Visible are 2 of 3 columns of box 10, 1.5 of 2, none of 12, all of 13.
    ([13], 0, [13], "relative to the window"),
    ([11], 0, [11], "cut off at the border of the window"),
    ([10, 11, 12, 13], 0, [10, 11, 13], "min_visibility 0 keeps whatever has an area left, and nothing else"),
    ([10, 11, 12, 13], 0.7, [11, 13], "0.67 is below 0.7, 0.75 is not; labels go with their boxes"),
    ([10, 11, 12, 13], 0.75, [11, 13], "exactly the fraction asked for is enough"),
])  # fmt: skip
def test_a_crop_by_hand(labels, min_visibility, kept, law):
    before = {10: [0, 1, 3, 3], 11: [0.5, 0.25, 2.5, 3.75], 12: [0, 0, 1, 4], 13: [2, 2, 4, 4]}
    after = {10: [0, 1, 2, 3], 11: [0, 0.25, 1.5, 3.75], 13: [1, 2, 3, 4]}
    scene = numbered(1, 4, 5), torch.tensor([before[label] for label in labels], dtype=F64), torch.tensor(labels)
    crops = (crop(*scene, (4, 3), seed, min_visibility) for seed in range(100))
    got = next((each for each in crops if place(each.image) == (0, 1)), None)
    assert got is not None, "of 100 crops none begins at column 1, though 0, 1 and 2 are equally likely"
    expect_close([got.labels, got.boxes], [kept, [after[label] for label in kept]], law)


@given(scenes(), st.tuples(st.integers(0, 6), st.integers(0, 8)), seeds(), st.sampled_from([0, 0.25, 0.5, 0.75, 1]))
def test_cropping_agrees_with_the_definition(scene, less, seed, min_visibility):
    height, width = scene[0].shape[1:]
    expect_crop(*scene, (height - less[0] % height, width - less[1] % width), seed, min_visibility)


@pytest.mark.parametrize("dtype, min_visibility", [(F64, 0.5), (torch.float32, 1)])
def test_a_thousand_boxes_in_a_wide_image(dtype, min_visibility):
    # areas in float32 are rounded: against areas in float64, many boxes that are wholly visible come out a little short
    image, boxes = numbered(4, 3, 90_000).to(dtype), some_boxes(1000, 3, 90_000).to(dtype)
    expect_crop(image, boxes, (3, 50_000), seed=0, min_visibility=min_visibility)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("min_visibility", [0.5, 1])
def test_a_box_smaller_than_a_pixel_is_judged_by_its_own_area(min_visibility, seed):
    tiny = 2**-11  # the second box reaches as far to either side of column 1, with an area of 4.8e-7
    boxes = torch.tensor([[0.25, 0.5, 0.5, 0.75], [1 - tiny, 0.5, 1 + tiny, 0.5 + tiny]])
    expect_crop(numbered(1, 1, 2).float(), boxes, (1, 1), seed, min_visibility)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("size, least, left", [((240, 250), 0.5, [[0, 0, 250, 240]]), ((260, 260), 0.9, [])])
def test_half_boxes_have_areas_in_float32(dtype, size, least, left):
    # of 300 · 300 = 90,000 the windows show 60,000, two thirds, and 67,600, three quarters; float16 ends at 65504
    image, boxes = torch.zeros(1, 300, 300, dtype=dtype), torch.tensor([[0, 0, 300, 300]], dtype=dtype)
    got = crop(image, boxes, torch.tensor([7]), size, min_visibility=least)
    expect_close(got.boxes, torch.tensor(left, dtype=dtype).reshape(-1, 4), f"min_visibility is {least}")


def test_every_position_of_the_window_is_equally_likely():
    # 4 rows x 5 columns of positions, 900 draws: 45 of each expected. chi² with 19 degrees of freedom exceeds 65 in
    # fewer than one of 10⁶ runs; it is about 210 if positions at the border are half as likely as the others.
    generator, image = rng(7), numbered(1, 5, 7)
    crops = (random_crop_with_boxes(image, *NOTHING, (2, 3), generator, min_visibility=0.5) for _ in range(900))
    counts = Counter(place(each.image) for each in crops)
    chi2 = sum((counts[top, left] - 45) ** 2 / 45 for top in range(4) for left in range(5))
    assert chi2 < 65, f"900 windows from one generator, 45 expected at each place: chi² {chi2:.0f}, {dict(counts)}"


def test_resized_boxes_grow_with_the_unit_of_length():
    def resized(boxes):
        return resize_with_boxes(numbered(1, 4, 10), boxes, (6, 5)).boxes

    unit_of_length_does_not_matter(resized, some_boxes(3, 4, 10), power=1)


# --- promises of all katas --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, call", [
    ("crop_size", lambda x: crop(x, *NOTHING, (0, 3))), ("crop_size", lambda x: crop(x, *NOTHING, (2, 0))),
    ("crop_size", lambda x: crop(x, *NOTHING, (5, 3))), ("crop_size", lambda x: crop(x, *NOTHING, (2, 7))),
    ("min_visibility", lambda x: crop(x, *NOTHING, (2, 2), min_visibility=-0.1)),
    ("min_visibility", lambda x: crop(x, *NOTHING, (2, 2), min_visibility=1.1)),
    ("size", lambda x: resize_with_boxes(x, NOTHING[0], (2, 0))),
    ("size", lambda x: resize_with_boxes(x, NOTHING[0], (0, 3))),
])  # fmt: skip
def test_what_cannot_be_is_refused_by_name(name, call):
    expect_refused(name, lambda: call(numbered(1, 4, 6)))


@pytest.mark.parametrize("law", STANDING_LAWS)
def test_standing_laws(law):
    boxes, image = some_boxes(2, 4, 6), numbered(3, 4, 6)
    law(hflip_with_boxes, boxes=boxes, image=image)
    law(resize_with_boxes, boxes=boxes, image=image, size=(3, 9))
    if law is not device_is_followed:  # the window is drawn wherever the generator is
        law(crop, boxes=boxes, labels=torch.tensor([10, 11]), image=image, crop_size=(2, 3), min_visibility=0)
