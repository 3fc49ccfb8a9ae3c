"""augmentation: random flips and shifts, image by image.

Each result must be one of the images that a loop over all flips and places makes of its input. Frequencies are counted
over thousands of images, with fixed seeds and limits five standard deviations wide.
"""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from katas.lab.expect import expect_close, expect_equal, expect_refused
from katas.lab.laws import STANDING_LAWS, memory_layout_does_not_matter
from katas.lab.strategies import normal, rng, seeds
from katas.warmup.augmentation import random_flip_crop

SHAPES = st.sampled_from([(1, 1, 1, 1), (3, 2, 4, 5), (2, 3, 7, 2), (5, 1, 3, 3), (2, 4, 1, 6)])


# --- the definition ---------------------------------------------------------------------------------------------------


def possible(image, padding):
    """By (flipped, top, left): what can become of an image (C, H, W)."""
    height, width = image.shape[1:]
    found = {}
    for flipped in (False, True):
        padded = F.pad(image.flip(2) if flipped else image, [padding] * 4)
        for top in range(2 * padding + 1):
            for left in range(2 * padding + 1):
                found[flipped, top, left] = padded[:, top : top + height, left : left + width]
    return found


def happened(images, got, padding):
    """What was done to each image; its pixels differ, so that there is one answer where some of them are left."""
    moves = []
    for before, after in zip(images, got, strict=True):
        fitting = [move for move, result in possible(before, padding).items() if torch.equal(result, after)]
        assert fitting, f"no flip and shift by up to {padding} makes this of the image:\n{before}\n{after}"
        moves.append(fitting[0])
    return moves


def moves_of_many(seed, count=5400, **options):
    """(flipped, top, left) of each of many copies of one image, as columns of numbers."""
    got = random_flip_crop(ONE.expand(count, 1, 3, 4), 1, rng(seed), **options)
    moves = torch.full((count, 3), -1)
    for move, result in possible(ONE, 1).items():
        moves[(got == result).flatten(1).all(dim=1)] = torch.tensor(move, dtype=torch.int64)
    assert (moves >= 0).all(), "no flip and shift by up to 1 makes some of these images"
    return moves


# --- what may come out ------------------------------------------------------------------------------------------------


@given(seeds(), SHAPES, st.integers(0, 3), st.sampled_from([0, 0.5, 1]))
def test_every_image_is_flipped_and_shifted_as_a_whole(seed, shape, padding, probability):
    images = normal(*shape, seed=seed)
    got = random_flip_crop(images, padding, rng(seed), flip_probability=probability)
    for flipped, _, _ in happened(images, got, padding):
        assert probability == 0.5 or shape[3] == 1 or flipped == bool(probability) or padding, "as the probability says"


def test_without_padding_and_flips_nothing_changes():
    images = normal(4, 2, 3, 5)
    got = random_flip_crop(images=images, padding=0, generator=rng(), flip_probability=0)
    expect_equal(got, images, "probability 0, padding 0")
    expect_equal(random_flip_crop(images, 0, rng(), flip_probability=1), images.flip(3), "probability 1: left to right")


def test_what_comes_in_at_the_border_is_zero():
    got = random_flip_crop(torch.ones(200, 1, 2, 2), 1, rng())
    assert set(got.unique().tolist()) == {0.0, 1.0}, "zeros come in from outside"


# --- how often --------------------------------------------------------------------------------------------------------

COUNT, ONE = 5400, torch.arange(1.0, 13.0).reshape(1, 3, 4)


@pytest.mark.parametrize("options, share", [({}, 0.5), ({"flip_probability": 0.2}, 0.2)])
def test_flips_are_as_frequent_as_said(options, share):
    flipped = moves_of_many(1, **options)[:, 0].double().mean()
    expect_close(flipped, share, "share of flipped images", atol=5 * (share * (1 - share) / COUNT) ** 0.5, rtol=0)
    counts = {int(moves_of_many(seed, count=10, **options)[:, 0].sum()) for seed in range(10, 30)}
    assert len(counts) > 2, f"each image has a chance of its own: of ten images, always {counts} are flipped"


def test_every_place_is_equally_likely():
    _, top, left = moves_of_many(2).unbind(1)
    shares = torch.stack([((top == i) & (left == j)).double().mean() for i in range(3) for j in range(3)])
    expect_close(shares, [1 / 9] * 9, "share of each window", atol=5 * (8 / 81 / COUNT) ** 0.5, rtol=0)


def test_images_move_independently():
    flipped, top, left = moves_of_many(3).unbind(1)
    kinds = len(set((9 * flipped + 3 * top + left)[:200].tolist()))
    assert kinds == 18, f"each image has its own flip, row and column: {kinds} of 18 kinds among 200"
    alike = (flipped[1:] == flipped[:-1]).double().mean()
    expect_close(alike, 0.5, "neighbours are flipped alike half of the time", atol=0.035, rtol=0)
    both = ((flipped == 1) & (top == 0)).double().mean()
    expect_close(both, 1 / 6, "flip and shift do not depend on each other", atol=5 * (5 / 36 / COUNT) ** 0.5, rtol=0)


# --- promises of all katas --------------------------------------------------------------------------------------------


def test_draws_come_from_the_generator_and_continue_it():
    images, generator = normal(30, 1, 4, 4), rng(5)
    first, second = (random_flip_crop(images, 2, generator) for _ in range(2))
    expect_equal(random_flip_crop(images, 2, rng(5)), first, "the same state of the generator, the same moves")
    assert not torch.equal(first, second), "the next batch moves differently"


@pytest.mark.parametrize("name, padding, probability", [
    ("padding", -1, 0.5), ("flip_probability", 1, -0.1), ("flip_probability", 1, 1.1),
    ("flip_probability", 0, float("nan")),
])  # fmt: skip
@pytest.mark.parametrize("batch", [0, 2])
def test_what_is_out_of_range_is_refused(name, padding, probability, batch):
    images = normal(batch, 1, 3, 3)
    expect_refused(name, lambda: random_flip_crop(images, padding, rng(), flip_probability=probability))


@pytest.mark.parametrize("law", STANDING_LAWS)
def test_standing_laws(law):
    law(lambda images: random_flip_crop(images, 1, rng()), normal(5, 2, 4, 3))
    memory_layout_does_not_matter(
        lambda images: random_flip_crop(images, 0, rng(), flip_probability=1), normal(5, 2, 4, 3)
    )
