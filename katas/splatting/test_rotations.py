"""rotations: the rotation matrix of a quaternion (w, x, y, z), and the covariance of a Gaussian.

The definition of a rotation is scipy's, which writes quaternions (x, y, z, w). The definition of a covariance is a sum
over the three axes of the Gaussian. Out of scope: quaternions shorter than 1e-6, unless they are 0.
"""

import math

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from katas.lab.expect import expect_close, expect_equal
from katas.lab.laws import STANDING_LAWS, gradients_are_finite, gradients_are_right
from katas.lab.strategies import normal, seeds
from katas.splatting.given.views import rows
from katas.splatting.rotations import covariances, quats_to_rotmats

F64 = torch.float64
SHAPES = [(), (1,), (3,), (4,), (2, 3), (4, 1, 2)]  # of a batch: as long as a vector or a quaternion, and longer


# --- the definition ---------------------------------------------------------------------------------------------------


def rotation(quat):
    w, x, y, z = quat
    return Rotation.from_quat([x, y, z, w]).as_matrix().tolist() if any(quat) else [[1, 0, 0], [0, 1, 0], [0, 0, 1]]


def covariance(scales, quat):
    axes = list(zip(*rotation(quat), strict=True))  # the columns
    spreads = list(zip(scales, axes, strict=True))
    return [[math.fsum(s * s * axis[i] * axis[j] for s, axis in spreads) for j in range(3)] for i in range(3)]


def one_by_one(definition, *batches):
    flat = [batch.double().reshape(-1, batch.shape[-1]).tolist() for batch in batches]
    found = [definition(*row) for row in zip(*flat, strict=True)]
    return torch.tensor(found, dtype=F64).reshape(*batches[0].shape[:-1], 3, 3)


@st.composite
def quaternions(draw, shape):
    """Whole numbers from -9 to 9, times a unit: never of length 1 but by accident, and 0 among them."""
    count, unit = math.prod(shape), draw(st.sampled_from([1e-5, 1, 1e4]))
    numbers = draw(st.lists(st.integers(-9, 9), min_size=4 * count, max_size=4 * count))
    return unit * torch.tensor(numbers, dtype=F64).reshape(*shape, 4)


# --- worked examples --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("quat, expected, law", [
    ((1, 0, 0, 0), [[1, 0, 0], [0, 1, 0], [0, 0, 1]], "w comes first: (1, 0, 0, 0) turns nothing"),
    # the half angle has the tangent 1/2: cosine 3/5 and sine 4/5
    ((2, 1, 0, 0), [[1, 0, 0], [0, 0.6, -0.8], [0, 0.8, 0.6]], "about x: y towards z"),
    ((2, 0, 1, 0), [[0.6, 0, 0.8], [0, 1, 0], [-0.8, 0, 0.6]], "about y: z towards x"),
    ((2, 0, 0, 1), [[0.6, -0.8, 0], [0.8, 0.6, 0], [0, 0, 1]], "about z: x towards y"),
    # w² + x² + y² + z² = 30. Row 1: 1 - 2 (9 + 16) / 30, 2 (6 - 4) / 30, 2 (8 + 3) / 30, and so on
    ((1, 2, 3, 4), [[-2 / 3, 2 / 15, 11 / 15], [2 / 3, -1 / 3, 2 / 3], [1 / 3, 14 / 15, 2 / 15]], "the formula"),
    ((-1, -2, -3, -4), [[-2 / 3, 2 / 15, 11 / 15], [2 / 3, -1 / 3, 2 / 3], [1 / 3, 14 / 15, 2 / 15]], "q and -q"),
    ((0, 0, 0, 0), [[1, 0, 0], [0, 1, 0], [0, 0, 1]], "the quaternion 0 gives the identity"),
])  # fmt: skip
def test_a_rotation_by_hand(quat, expected, law):
    expect_close(quats_to_rotmats(quats=rows(quat)), [expected], law)


@pytest.mark.parametrize("scales, quat, expected, law", [
    ((2, 3, 5), (1, 0, 0, 0), [[4, 0, 0], [0, 9, 0], [0, 0, 25]], "scales are standard deviations: squares"),
    # 9 along (0.6, 0.8, 0), 4 along (-0.8, 0.6, 0), 1 along z: 9 · 0.36 + 4 · 0.64, 9 · 0.48 - 4 · 0.48, …
    ((3, 2, 1), (2, 0, 0, 1), [[5.8, 2.4, 0], [2.4, 7.2, 0], [0, 0, 1]], "each scale along its column of R"),
    # 4 along (0, 0.6, 0.8) alone
    ((0, 2, 0), (2, 1, 0, 0), [[0, 0, 0], [0, 1.44, 1.92], [0, 1.92, 2.56]], "two scales of 0: a needle"),
    ((2, 2, 2), (1, 2, 3, 4), [[4, 0, 0], [0, 4, 0], [0, 0, 4]], "equal scales: a ball, however it is turned"),
])  # fmt: skip
def test_a_covariance_by_hand(scales, quat, expected, law):
    expect_close(covariances(scales=rows(scales), quats=rows(quat)), [expected], law)


# --- agreement with the definition, and laws --------------------------------------------------------------------------


@given(st.sampled_from(SHAPES).flatmap(quaternions))
@example(normal(2000, 4))
@example(rows((1, -2, 3, 4), (0, 0, 0, 0), (0, 0, 5, 0)))
def test_rotations_agree_with_scipy(quats):
    law = "scipy, with w moved to the end, at every length"
    expect_close(quats_to_rotmats(quats), one_by_one(rotation, quats), law, atol=1e-12, rtol=0)


@given(st.sampled_from(SHAPES).flatmap(quaternions), seeds(), st.sampled_from([1e-4, 1, 1e3]))
@example(normal(2000, 4), 0, 1)
def test_covariances_agree_with_the_definition(quats, seed, unit):
    spread = rows(0.02, 1, 30)  # along the three axes: a Gaussian of a trained scene is thin
    scales = unit * spread * normal(*quats.shape[:-1], 3, seed=seed).exp()
    expected = one_by_one(covariance, scales, quats)
    got = covariances(scales, quats)
    expect_close(got, expected, "the sum over three axes of scale² · axis · axis^T", atol=1e-9 * unit**2, rtol=1e-6)


def test_float32_has_nearly_the_digits_of_float64():
    scales, quats = normal(3000, 3).exp(), 10 * normal(3000, 4, seed=1)
    rotmats = one_by_one(rotation, quats).float()
    expect_close(quats_to_rotmats(quats.float()), rotmats, "float32 as float64", atol=2e-6, rtol=0)
    got, expected = covariances(scales.float(), quats.float()), one_by_one(covariance, scales, quats)
    error = (got.double() - expected).abs().amax(dim=(1, 2)) / scales.amax(dim=1).square()
    expect_close(error, 0 * error, "a covariance errs by a millionth of its largest entry", atol=4e-6, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_covariances_are_exactly_symmetric(dtype):
    scales, quats = normal(3000, 3).exp().to(dtype), normal(3000, 4, seed=1).to(dtype)
    got = covariances(scales, quats)
    expect_equal(got, got.mT, "entry (i, j) is entry (j, i) to the last bit")


def test_the_scales_decide_the_dtype():
    scales, quats = normal(5, 3).half(), 1e5 * normal(5, 4, seed=1)  # in float16 such a length is infinite
    expected = one_by_one(covariance, scales, quats).half()
    got = covariances(scales, quats)
    expect_close(got, expected, "float16 scales and float64 quaternions: float16, rounded last", atol=2e-2, rtol=1e-2)


# --- gradients --------------------------------------------------------------------------------------------------------


def test_gradients_are_those_of_the_formula():
    scales, quats = rows((0.5, 2, 1), (3, 0.1, 0.7)), rows((2, -1, 0.5, 3), (0.1, 0.3, -0.2, 0.1))
    gradients_are_right(quats_to_rotmats, quats)
    gradients_are_right(covariances, scales, quats)


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("quat, scales", [
    ((0, 0, 0, 0), (1, 2, 3)), ((1, 0, 0, 0), (0, 0, 0)), ((1, 2, 3, 4), (1e-12, 1, 0)), ((0, 0, 0, 5), (2, 2, 2)),
])  # fmt: skip
def test_gradients_are_finite_at_the_edges(quat, scales, dtype):
    quats, scales = rows(quat).to(dtype), rows(scales).to(dtype)
    gradients_are_finite(quats_to_rotmats, quats)
    gradients_are_finite(covariances, scales, quats)


# --- promises of all katas --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("law", STANDING_LAWS)
def test_standing_laws(law):
    scales, quats = normal(5, 2, 3).exp(), 3 * normal(5, 2, 4, seed=1)
    law(quats_to_rotmats, quats)
    law(covariances, scales, quats)
