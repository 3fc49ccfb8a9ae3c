"""augmentation: mirror, crop and resize an image together with its boxes.

Images are (C, H, W), boxes xyxy in continuous coordinates (pixel column j spans x from j to j + 1). The oracle is paint:
every object has a channel of its own in the image, and after the change its box is wherever the paint is. Out of scope:
boxes that stick out of the image; resizing to a width of 1, where torch 2.7's antialiasing loses the other rows.
"""

from collections import Counter
from random import Random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from katas.detection.augmentation import hflip_with_boxes, random_crop_with_boxes, resize_with_boxes
from katas.lab.expect import expect_close, expect_equal
from katas.lab.laws import STANDING_LAWS, device_is_followed
from katas.lab.strategies import seeds

LABELS = torch.arange(10, 100)  # object n has label 10 + n
NO_BOXES, NO_LABELS = torch.zeros(0, 4, dtype=torch.float64), torch.zeros(0, dtype=torch.int64)


def paint(height, width, boxes):
    """Channels 0 and 1 tell every pixel's row and column; channel 2 + n is 1 on object n and 0 elsewhere."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    image = torch.zeros(2 + len(boxes), height, width, dtype=torch.float64)
    image[0], image[1] = rows, columns
    for channel, (x1, y1, x2, y2) in zip(image[2:], boxes.int().tolist(), strict=True):
        channel[y1:y2, x1:x2] = 1
    return image


def painted_box(channel):
    seen = channel > channel.max() / 2  # a border is blurred by resizing, and lies at half the height
    rows, columns = seen.any(dim=1).nonzero(), seen.any(dim=0).nonzero()
    return [float(columns.min()), float(rows.min()), float(columns.max()) + 1, float(rows.max()) + 1]


@st.composite
def scenes(draw, min_side=0):
    """A painted image of up to 7 x 9 pixels, and the boxes of up to 5 objects in it, from min_side pixels a side."""
    height, width, count = draw(st.integers(1, 7)), draw(st.integers(1, 9)), draw(st.integers(0, 5))
    random = Random(draw(seeds()))
    boxes = []
    for _ in range(count):
        x1, y1 = random.randint(0, width - min_side), random.randint(0, height - min_side)
        boxes.append([x1, y1, random.randint(x1 + min_side, width), random.randint(y1 + min_side, height)])
    boxes = torch.tensor(boxes, dtype=torch.float64).reshape(-1, 4)
    return paint(height, width, boxes), boxes


def crop_with_seed(image, boxes, labels, crop_size, seed=0, min_visibility=0.5):
    generator = torch.Generator().manual_seed(seed)
    return random_crop_with_boxes(image, boxes, labels, crop_size, generator, min_visibility=min_visibility)


# --- mirror ---------------------------------------------------------------------------------------------------------


def test_a_mirrored_box_is_as_far_from_the_right_as_it_was_from_the_left():
    image = torch.tensor([[[1.0, 2.0, 3.0, 4.0, 5.0], [6.0, 7.0, 8.0, 9.0, 0.0]]])
    got = hflip_with_boxes(image, torch.tensor([[0.5, 0.0, 2.0, 1.5]]))
    expect_equal(got.image, [[[5, 4, 3, 2, 1], [0, 9, 8, 7, 6]]], "columns are reversed, rows stay")
    expect_close(got.boxes, [[3.0, 0.0, 4.5, 1.5]], "x goes to 5 - x, and x1 ≤ x2 again; y stays")


@given(scenes(min_side=1))
def test_mirrored_boxes_stay_on_their_objects(scene):
    image, boxes = scene
    got = hflip_with_boxes(image, boxes)
    expect_equal(got.image, image.flip(-1), "the image is mirrored left to right")
    expect_close(got.boxes, [painted_box(channel) for channel in got.image[2:]], "every box is where its paint is")


@given(scenes())
def test_mirroring_twice_changes_nothing(scene):
    expect_close([*hflip_with_boxes(*hflip_with_boxes(*scene))], [*scene], "the mirror of the mirror is the original")


# --- crop -----------------------------------------------------------------------------------------------------------


def test_a_box_is_moved_cut_and_dropped_if_too_little_is_left():
    # The window is as high as the image, and 3 of its 5 columns wide: wait for the one that begins at column 1.
    boxes = torch.tensor([[0, 1, 3, 3], [0.5, 0.25, 2.5, 3.75], [0, 0, 1, 4], [2, 2, 4, 4]], dtype=torch.float64)
    image = paint(4, 5, boxes)
    crops = (crop_with_seed(image, boxes, LABELS[:4], (4, 3), seed) for seed in range(100))
    seed = next((seed for seed, crop in enumerate(crops) if crop.image[1, 0, 0] == 1), None)
    assert seed is not None, "of 100 crops none begins at column 1, though 0, 1 and 2 are equally likely"

    def crop(min_visibility):
        got = crop_with_seed(image, boxes, LABELS[:4], (4, 3), seed, min_visibility)
        assert got.image[1, 0, 0] == 1, "the same state of the generator gives the same window: draw from it alone"
        return got

    # Visible: 2 of 3 columns; 1.5 of 2; none; all.
    got = crop(0.7)
    expect_close(
        got.boxes, [[0, 0.25, 1.5, 3.75], [1, 2, 3, 4]], "0.67 is below 0.7, 0.75 is not; relative to the window"
    )
    expect_equal(got.labels, [11, 13], "labels go with their boxes")
    expect_equal(crop(0.75).labels, [11, 13], "exactly the fraction asked for is enough")
    expect_equal(crop(0).labels, [10, 11, 13], "min_visibility 0 keeps whatever has an area left, and nothing else")


def expect_crop_to_follow_the_paint(image, boxes, crop_size, seed, min_visibility):
    got = crop_with_seed(image, boxes, LABELS[: len(boxes)], crop_size, seed, min_visibility)
    top, left = (int(start) for start in got.image[:2, 0, 0])
    window = image[:, top : top + crop_size[0], left : left + crop_size[1]]
    expect_equal(got.image, window, "the window is a piece of the image")
    left_over, before = got.image[2:].sum(dim=(1, 2)), image[2:].sum(dim=(1, 2))
    kept = [n for n in range(len(boxes)) if left_over[n] > 0 and left_over[n] >= min_visibility * before[n]]
    expect_equal(got.labels, LABELS[kept], "who has enough paint left in the window stays, in the old order")
    expect_close(got.boxes, [painted_box(got.image[2 + n]) for n in kept], "every box is where its paint is")


@given(scenes(), st.tuples(st.integers(0, 6), st.integers(0, 8)), seeds(), st.sampled_from([0, 0.25, 0.5, 0.75, 1]))
def test_cropped_boxes_stay_on_their_objects(scene, cut, seed, min_visibility):
    height, width = scene[0].shape[1:]
    crop_size = height - cut[0] % height, width - cut[1] % width
    expect_crop_to_follow_the_paint(*scene, crop_size, seed, min_visibility)


@pytest.mark.parametrize("min_visibility", [0, 0.25, 0.5, 0.75, 1])
def test_a_crowd_is_cut_on_all_sides(min_visibility):
    sides = [(0, 2), (1, 5), (3, 4), (4, 8), (0, 8)], [(0, 1), (2, 6), (1, 3)]
    boxes = torch.tensor([[x1, y1, x2, y2] for x1, x2 in sides[0] for y1, y2 in sides[1]], dtype=torch.float64)
    image = paint(6, 8, boxes)
    for seed in range(20):
        expect_crop_to_follow_the_paint(image, boxes, (4, 3), seed, min_visibility)


def test_a_box_that_is_wholly_visible_stays_however_its_coordinates_are_rounded():
    # Areas of such boxes are rounded in float32: compared with areas in float64, many come out a little short.
    generator = torch.Generator().manual_seed(0)
    corners = 20 + 3 * torch.rand(200, 2, generator=generator)
    boxes = torch.cat([corners, corners + 0.01 + 5 * torch.rand(200, 2, generator=generator)], dim=1)
    image, labels, num_whole = paint(36, 36, NO_BOXES), torch.arange(200), 0
    for seed in range(8):
        got = crop_with_seed(image, boxes, labels, (16, 16), seed, min_visibility=1)
        top, left = got.image[:2, 0, 0].tolist()  # the first two channels tell every pixel's place
        inside = (boxes >= torch.tensor([left, top] * 2)) & (boxes <= torch.tensor([left + 16, top + 16] * 2))
        whole = inside.all(dim=1)
        expect_equal(got.labels, labels[whole], "at min_visibility 1 exactly the wholly visible ones stay")
        num_whole += int(whole.sum())
    assert num_whole > 0, "eight windows, and none has a box in it: all positions are equally likely"


def test_a_box_smaller_than_a_pixel_is_judged_by_its_own_area():
    tiny = 2**-11  # the second box reaches as far to either side of column 1; its area is 4.8e-7
    boxes = torch.tensor([[0.25, 0.5, 0.5, 0.75], [1 - tiny, 0.5, 1 + tiny, 0.5 + tiny]])
    got = crop_with_seed(torch.zeros(1, 1, 1), boxes, LABELS[:2], (1, 1), min_visibility=1)
    expect_equal(got.labels, LABELS[:1], "the first is whole, of the second half is left")
    image = torch.zeros(1, 1, 2)
    for seed in range(8):  # cut in the middle: the first is whole or gone, the second always halved
        got = crop_with_seed(image, boxes, LABELS[:2], (1, 1), seed, min_visibility=0.5)
        expect_equal(got.labels[-1:], LABELS[1:2], "half of it is left, and half is enough")


def test_every_position_of_the_window_is_equally_likely():
    # 4 rows x 5 columns of positions, 900 draws: 45 of each expected. chi² with 19 degrees of freedom exceeds 65 in
    # fewer than one of 10⁶ runs; it is about 210 if positions at the border are half as likely as the others.
    generator, image, counts = torch.Generator().manual_seed(7), paint(5, 7, NO_BOXES), Counter()
    for _ in range(900):
        crop = random_crop_with_boxes(image, NO_BOXES, NO_LABELS, (2, 3), generator, min_visibility=0.5)
        counts[tuple(int(start) for start in crop.image[:, 0, 0])] += 1
    places = [(top, left) for top in range(4) for left in range(5)]
    assert set(counts) == set(places), f"all 4 x 5 positions (top, left) occur, got {dict(counts)}"
    chi2 = sum((counts[place] - 45) ** 2 / 45 for place in places)
    table = [[counts[top, left] for left in range(5)] for top in range(4)]
    assert chi2 < 65, f"each about 45 times of 900: chi² is {chi2:.0f}, not below 65; row by row {table}"


@given(scenes(), seeds())
def test_the_generator_decides(scene, seed):
    image, boxes = scene
    crop_size = (image.shape[1] + 1) // 2, (image.shape[2] + 1) // 2
    first, second = (crop_with_seed(image, boxes, LABELS[: len(boxes)], crop_size, seed) for _ in range(2))
    expect_equal([*first], [*second], "the same state of the generator gives the same crop: draw from it alone")


@pytest.mark.parametrize("crop_size", [(0, 3), (2, 0), (5, 3), (2, 7)])
def test_a_window_that_does_not_fit_is_refused(crop_size):
    with pytest.raises(ValueError, match="crop_size"):
        crop_with_seed(paint(4, 6, NO_BOXES), NO_BOXES, NO_LABELS, crop_size)


@pytest.mark.parametrize("min_visibility", [-0.1, 1.1])
def test_a_visibility_that_is_no_fraction_is_refused(min_visibility):
    with pytest.raises(ValueError, match="min_visibility"):
        crop_with_seed(paint(4, 6, NO_BOXES), NO_BOXES, NO_LABELS, (2, 2), min_visibility=min_visibility)


# --- resize ---------------------------------------------------------------------------------------------------------


def triangle_weights(old, new):
    """(new, old): what every old pixel adds to every new one. The triangle is widened where the image shrinks."""
    scale = old / new
    rows = []
    for i in range(new):
        centre = (i + 0.5) * scale
        row = [max(0.0, 1 - abs(j + 0.5 - centre) / max(1.0, scale)) for j in range(old)]
        rows.append([weight / sum(row) for weight in row])
    return torch.tensor(rows, dtype=torch.float64)


def test_x_and_y_are_stretched_by_their_own_factors():
    got = resize_with_boxes(torch.zeros(3, 4, 10), torch.tensor([[1.0, 1.0, 2.5, 4.0]]), (6, 5))
    assert got.image.shape == (3, 6, 5), f"size is (height, width), got {tuple(got.image.shape)}"
    expect_close(got.boxes, [[0.5, 1.5, 1.25, 6.0]], "x by 5/10, y by 6/4")


@given(scenes(), st.integers(1, 8), st.integers(2, 10))
def test_pixels_are_interpolated_bilinearly_with_antialiasing(scene, new_height, new_width):
    image, boxes = scene
    rows, columns = triangle_weights(image.shape[1], new_height), triangle_weights(image.shape[2], new_width)
    got = resize_with_boxes(image, boxes, (new_height, new_width))
    expect_close(got.image, rows @ image @ columns.T, "pixel centres at + 0.5; averaged where the image shrinks")
    stretch = torch.tensor([new_width / image.shape[2], new_height / image.shape[1]] * 2, dtype=torch.float64)
    expect_close(got.boxes, boxes * stretch, "boxes stretch with the image")


@given(scenes(min_side=1), st.integers(1, 4), st.integers(2, 3))
def test_resized_boxes_stay_on_their_objects(scene, rows, columns):
    image, boxes = scene
    got = resize_with_boxes(image, boxes, (rows * image.shape[1], columns * image.shape[2]))
    expect_close(got.boxes, [painted_box(channel) for channel in got.image[2:]], "every box is where its paint is")


@pytest.mark.parametrize("size", [(0, 3), (2, 0), (-1, 3)])
def test_a_size_without_pixels_is_refused(size):
    with pytest.raises(ValueError, match="size"):
        resize_with_boxes(paint(4, 6, NO_BOXES), NO_BOXES, size)


# --- all three ------------------------------------------------------------------------------------------------------


def test_no_boxes_stay_no_boxes():
    image = paint(4, 6, NO_BOXES)
    crop = crop_with_seed(image, NO_BOXES, NO_LABELS, (2, 3))
    for boxes in (
        hflip_with_boxes(image, NO_BOXES).boxes,
        crop.boxes,
        resize_with_boxes(image, NO_BOXES, (1, 1)).boxes,
    ):
        expect_equal(boxes, NO_BOXES, "the shape stays (0, 4)")
    expect_equal(crop.labels, NO_LABELS, "the labels' shape stays (0,)")


@pytest.mark.parametrize("law", STANDING_LAWS[:5])
def test_standing_laws(law):
    boxes = torch.tensor([[0, 1, 3, 3], [2, 0, 5, 4]], dtype=torch.float64)
    image = paint(4, 6, boxes)
    law(hflip_with_boxes, image, boxes)
    law(resize_with_boxes, image, boxes, (3, 9))
    if law is not device_is_followed:  # the window is drawn wherever the generator is
        law(crop_with_seed, image, boxes, LABELS[:2], (2, 3))
