"""tensors: distances, one-hot rows, masked means and patches.

Checked against loops over Python numbers. Out of scope: speed, complex numbers.
"""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from katas.lab.expect import expect_close, expect_equal, expect_refused
from katas.lab.laws import STANDING_LAWS, gradients_are_finite, gradients_are_right
from katas.lab.strategies import normal, rng, seeds
from katas.lab.watched import Watched
from katas.warmup.tensors import extract_patches, masked_mean, one_hot, squared_distances

F64, NAN, INF = torch.float64, math.nan, math.inf
SIZES = st.sampled_from([(1, 1, 1), (1, 3, 2), (4, 1, 3), (5, 7, 1), (3, 2, 6), (30, 40, 5)])
IMAGES = st.sampled_from([(1, 1, 1, 1), (2, 3, 5, 7), (1, 4, 8, 3), (3, 2, 6, 6), (1, 1, 2, 9)])


# --- the definition ---------------------------------------------------------------------------------------------------


def distances(x, y):
    rows = [[sum((a - b) ** 2 for a, b in zip(p, q, strict=True)) for q in y.tolist()] for p in x.tolist()]
    return torch.tensor(rows, dtype=F64).reshape(len(x), len(y))


def mean_of_some(values, mask):
    some = [value for value, counts in zip(values, mask, strict=True) if counts]
    return sum(some) / len(some) if some else 0.0


def patches(images, k, stride):
    height, width = images.shape[2:]
    corners = [(i, j) for i in range(0, height - k + 1, stride) for j in range(0, width - k + 1, stride)]
    return torch.stack([images[:, :, i : i + k, j : j + k].flatten(1) for i, j in corners], dim=1)


# --- distances --------------------------------------------------------------------------------------------------------


def test_distances_by_hand():
    x, y = torch.tensor([[0.0, 0], [3, 1]]).double(), torch.tensor([[3.0, 4], [3, 1], [0, -2]]).double()
    # from (3, 1): to (3, 4) 0 + 9, to itself 0, to (0, -2) 9 + 9
    expect_close(squared_distances(x=x, y=y), [[25, 10, 4], [9, 0, 18]], "rows of x by rows of y, without a root")


@given(seeds(), SIZES, st.sampled_from([1e-3, 1, 1e4]))
def test_distances_agree_with_the_definition(seed, sizes, unit):
    n, m, d = sizes
    x, y = unit * normal(n, d, seed=seed), unit * normal(m, d, seed=seed + 1)
    expect_close(squared_distances(x, y) / unit**2, distances(x, y) / unit**2, "the sum over D of squares")


@pytest.mark.parametrize("far", [0.0, 1000.0])
def test_points_far_from_the_origin_keep_their_digits(far):
    # in float32 |x|^2 of 3e6 is known to 0.25 only; the distances are about 6
    centre = far * torch.tensor([1.0, 0.0, -2.0])
    x, y = (centre + normal(50, 3)).float(), (centre + normal(60, 3, seed=1)).float()
    expected = distances(x, y).float()
    expect_close(
        squared_distances(x, y), expected, f"points around ({far:g}, 0, {-2 * far:g}) move to 0", rtol=0, atol=2e-3
    )


def test_no_distance_is_negative():
    x = normal(200, 7).float()
    got = squared_distances(x, x)
    assert (got >= 0).all(), f"rounding makes none negative, whose root is NaN: {got.min()}"
    gradients_are_finite(squared_distances, x[:5].double(), x[:5].double())


def test_no_tensor_holds_all_differences():
    x, y = normal(300, 50), normal(400, 50)
    with Watched() as sizes:
        squared_distances(x, y)
    most = 2 * 300 * 400
    assert sizes.largest <= most, f"N · M numbers at a time, not {sizes.largest:,}: N · M · D would be 6,000,000"


# --- one-hot rows and masked means ------------------------------------------------------------------------------------


@pytest.mark.parametrize("labels, num_classes, expected", [
    ([2, 0], 3, [[0, 0, 1], [1, 0, 0]]),
    ([[1], [0]], 2, [[[0, 1]], [[1, 0]]]),
    (1, 4, [0, 1, 0, 0]),
    ([-100, 3, 2, -1], 3, [[0] * 3, [0] * 3, [0, 0, 1], [0] * 3]),
    ([], 2, torch.zeros(0, 2, dtype=torch.int64)),
])  # fmt: skip
def test_one_hot_by_hand(labels, num_classes, expected):
    for dtype in (torch.int64, torch.int32):
        got = one_hot(labels=torch.tensor(labels, dtype=dtype), num_classes=num_classes)
        expect_equal(got, expected, "1 at the label; a label outside the classes has no 1")


@pytest.mark.parametrize("dim, expected", [(0, [2.5, 0, 6]), (-1, [1, 5]), (1, [1, 5]), (-2, [2.5, 0, 6])])
def test_masked_means_by_hand(dim, expected):
    values = torch.tensor([[1.0, 9, NAN], [4, -INF, 6]], dtype=F64)
    mask = torch.tensor([[True, False, False], [True, False, True]])
    got = masked_mean(values=values, mask=mask, dim=dim)
    expect_close(got, expected, "the mean of what counts, 0 where nothing does")


@pytest.mark.parametrize("value, expected, law", [(0.0, 2.0, "a 0 counts"), (NAN, NAN, "a NaN that counts is told")])
def test_every_value_that_counts_counts(value, expected, law):
    values, mask = torch.tensor([[value, 4.0, NAN]], dtype=F64), torch.tensor([[True, True, False]])
    expect_close(masked_mean(values, mask, 1), [expected], law)


@given(seeds(), st.sampled_from([(1,), (4,), (3, 5), (2, 4, 3)]), st.sampled_from([0.0, 0.3, 1.0]), st.data())
def test_masked_means_agree_with_the_definition(seed, shape, share, data):
    dim = data.draw(st.integers(-len(shape), len(shape) - 1), label="dim")
    values, mask = normal(*shape, seed=seed), torch.rand(shape, generator=rng(seed)) < share
    rows = zip(
        values.movedim(dim, -1).reshape(-1, shape[dim]), mask.movedim(dim, -1).reshape(-1, shape[dim]), strict=True
    )
    expected = torch.tensor([mean_of_some(row.tolist(), some.tolist()) for row, some in rows], dtype=F64)
    got = masked_mean(values, mask, dim)
    expect_close(got.reshape(-1), expected, f"row by row along axis {dim}")


def test_what_is_masked_out_gets_no_gradient():
    values = torch.tensor([[1.0, NAN, 3.0], [INF, NAN, 2.0]], dtype=F64, requires_grad=True)
    mask = torch.tensor([[True, False, True], [False, False, False]])
    (gradient,) = torch.autograd.grad(masked_mean(values, mask, 1).sum(), values)
    expect_equal(gradient, [[0.5, 0, 0.5], [0, 0, 0]], "1 / count where the mask is True, 0 elsewhere, never NaN")


# --- patches ----------------------------------------------------------------------------------------------------------


def test_patches_by_hand():
    # two channels of 5 × 4; channel 1 is channel 0 plus 100
    image = torch.arange(20.0, dtype=F64).reshape(1, 5, 4)
    got = extract_patches(images=torch.cat([image, image + 100])[None], kernel_size=2, stride=2)
    corners = (0, 2, 8, 10)
    expected = [[c + n for n in (0, 1, 4, 5, 100, 101, 104, 105)] for c in corners]
    expect_equal(got, [expected], "patches row by row; channel, row, column within one; the last row is left over")
    overlapping = [[0, 1, 3, 4], [1, 2, 4, 5], [3, 4, 6, 7], [4, 5, 7, 8]]
    small = torch.arange(9.0, dtype=F64).reshape(1, 1, 3, 3)
    expect_equal(extract_patches(small, 2, 1), [overlapping], "stride 1: neighbours share a column or a row")


@given(seeds(), IMAGES, st.data())
def test_patches_agree_with_the_definition(seed, shape, data):
    k, stride = data.draw(st.integers(1, min(shape[2:])), label="k"), data.draw(st.integers(1, 10), label="stride")
    images = normal(*shape, seed=seed)
    expect_equal(extract_patches(images, k, stride), patches(images, k, stride), "patch by patch")


# --- promises of all katas --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, kernel_size, stride", [
    ("kernel_size", 0, 1), ("kernel_size", 4, 1), ("kernel_size", -1, 1), ("stride", 2, 0), ("stride", 2, -1),
])  # fmt: skip
def test_what_does_not_fit_is_refused(name, kernel_size, stride):
    expect_refused(name, lambda: extract_patches(normal(2, 3, 5, 3), kernel_size, stride))


def test_gradients_are_those_of_the_formula():
    gradients_are_right(squared_distances, normal(3, 2), normal(4, 2, seed=1))
    gradients_are_right(lambda images: extract_patches(images, 2, 1), normal(2, 1, 3, 4))


@pytest.mark.parametrize("law", STANDING_LAWS)
def test_standing_laws(law):
    law(squared_distances, normal(5, 2), normal(4, 2, seed=1))
    law(squared_distances, y=normal(5, 2), x=normal(4, 2, seed=1))
    law(one_hot, torch.tensor([[2, 0], [1, 1], [0, 3]]), 4)
    law(masked_mean, normal(5, 3, 2), normal(5, 3, 2) > 0, 1)
    law(extract_patches, normal(5, 2, 4, 3), 2, 1)
