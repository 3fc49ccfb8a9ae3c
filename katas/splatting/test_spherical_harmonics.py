"""spherical_harmonics: the colour of a Gaussian from the direction in which it is seen, degrees 0 to 3.

The definition takes associated Legendre functions from scipy. Their Condon-Shortley phase (-1)^m gives the signs of
3DGS. A quadrature checks that the functions are orthonormal on the sphere. Out of scope: degree 4, camera positions.
"""

import math

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.special import lpmv

from katas.lab.expect import expect_close, expect_equal, expect_refused
from katas.lab.laws import STANDING_LAWS, gradients_are_finite, gradients_are_right
from katas.lab.strategies import normal, seeds
from katas.splatting.spherical_harmonics import eval_sh

F64 = torch.float64
PI = math.pi


def one_coefficient(k, value, *, count=1, channel=1, total=16):
    """`total` coefficients of `count` Gaussians, all 0 but the k-th of one channel."""
    sh = torch.zeros(count, total, 3, dtype=F64)
    sh[:, k, channel] = value
    return sh


# --- the definition ---------------------------------------------------------------------------------------------------


def harmonic(l, m, direction):
    """Y of degree l and order m: the real (m >= 0) or imaginary part (m < 0) of the complex one, times √2 for m ≠ 0."""
    x, y, z = (number / math.hypot(*direction) for number in direction)
    angle, order = math.atan2(y, x), abs(m)
    size = math.sqrt((2 * l + 1) / (4 * PI) * math.factorial(l - order) / math.factorial(l + order))
    wave = 1 if m == 0 else math.sqrt(2) * (math.cos(m * angle) if m > 0 else math.sin(order * angle))
    return size * float(lpmv(order, l, z)) * wave


def colors(degree, sh, directions):
    orders = [(l, m) for l in range(degree + 1) for m in range(-l, l + 1)]
    basis = torch.tensor([[harmonic(l, m, d) for l, m in orders] for d in directions.tolist()], dtype=F64)
    return (0.5 + torch.einsum("nk,nkc->nc", basis, sh[:, : len(orders)])).clamp(min=0)


# --- worked examples --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k, expected", [
    # the direction (2, 3, 6) has length 7: x = 2/7, y = 3/7, z = 6/7
    (0, math.sqrt(1 / PI) / 2),
    (1, -math.sqrt(3 / PI) / 2 * 3 / 7),  # -y
    (2, math.sqrt(3 / PI) / 2 * 6 / 7),  # z
    (3, -math.sqrt(3 / PI) / 2 * 2 / 7),  # -x
    (4, math.sqrt(15 / PI) / 2 * 6 / 49),  # xy
    (6, math.sqrt(5 / PI) / 4 * (72 - 4 - 9) / 49),  # 2z² - x² - y²
    (8, math.sqrt(15 / PI) / 4 * (4 - 9) / 49),  # x² - y²
    (10, math.sqrt(105 / PI) / 2 * 36 / 343),  # xyz
    (15, -math.sqrt(35 / (2 * PI)) / 4 * 2 * (4 - 27) / 343),  # -x (x² - 3y²)
])  # fmt: skip
def test_one_coefficient_by_hand(k, expected):
    directions = torch.tensor([[2, 3, 6]], dtype=F64)
    got = eval_sh(degree=3, sh=one_coefficient(k, 0.4), directions=directions)
    law = f"the unit direction in Y_{k}, times coefficient {k} of the same channel, plus 0.5"
    expect_close(got, [[0.5, 0.5 + 0.4 * expected, 0.5]], law)


@pytest.mark.parametrize("value, expected", [(-3, 0), (3, 0.5 + 1.5 / math.sqrt(PI))])
def test_below_0_is_cut_and_above_1_is_not(value, expected):
    sh, directions = one_coefficient(0, value, total=1), torch.tensor([[0, 0, 1]], dtype=F64)
    got = eval_sh(0, sh, directions)
    expect_close(got, [[0.5, expected, 0.5]], "max(0, 0.5 + sum): no negative light, and no upper limit")


# --- agreement with the definition ------------------------------------------------------------------------------------


@example(seed=0, count=1000, degree=3, more=0, size=0.1, length=1)
@given(
    seed=seeds(),
    count=st.sampled_from([1, 2, 3, 16]),
    degree=st.integers(0, 3),
    more=st.sampled_from([0, 1, 9]),
    size=st.sampled_from([1e-3, 0.2, 3]),
    length=st.sampled_from([1e-8, 1, 1e4]),
)
def test_colors_agree_with_the_definition(seed, count, degree, more, size, length):
    sh = size * normal(count, (degree + 1) ** 2 + more, 3, seed=seed)
    directions = length * normal(count, 3, seed=seed + 1)
    expected = colors(degree, sh, directions)
    law = f"the first {(degree + 1) ** 2} coefficients of each channel, whatever the length of the direction"
    expect_close(eval_sh(degree, sh, directions), expected, law)


@pytest.mark.parametrize("degree", range(4))
def test_along_the_axes_too(degree):
    directions = torch.cat([torch.eye(3, dtype=F64), -2 * torch.eye(3, dtype=F64)])
    sh = 0.1 * normal(6, 16, 3)
    expect_close(eval_sh(degree, sh, directions), colors(degree, sh, directions), "straight along x, y, z, and back")


def test_the_harmonics_are_orthonormal_on_the_sphere():
    # exact for polynomials up to degree 15 in z and 15 waves around the axis
    heights, weights = np.polynomial.legendre.leggauss(8)
    z, angle = torch.meshgrid(torch.tensor(heights), torch.arange(16, dtype=F64) * PI / 8, indexing="ij")
    ring = (1 - z**2).sqrt()
    directions = torch.stack([ring * angle.cos(), ring * angle.sin(), z], dim=-1).reshape(-1, 3)
    areas = torch.tensor(weights).repeat_interleave(16) * PI / 8
    basis = [(eval_sh(3, one_coefficient(k, 0.1, count=128), directions)[:, 1] - 0.5) / 0.1 for k in range(16)]
    products = torch.einsum("im,jm,m->ij", torch.stack(basis), torch.stack(basis), areas)
    expect_close(products, torch.eye(16, dtype=F64), "the integral of Y_i · Y_j over the sphere is 1 if i = j, else 0")


# --- gradients --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("degree", range(1, 4))
def test_gradients_reach_coefficients_and_directions(degree):
    def seen(sh, directions):
        return eval_sh(degree, sh, directions)

    directions = torch.tensor([[0.3, -0.5, 2.0], [-4.0, 1.0, 0.7], [0, 0, -2.0]], dtype=F64)
    gradients_are_right(seen, 0.02 * normal(3, 16, 3), directions)


def test_a_channel_that_is_cut_has_no_gradient():
    sh = 0.01 * normal(1, 16, 3)
    sh[0, 0] = torch.tensor([0.3, -5.0, 5.0])  # channel 1 is below 0, channel 2 above 1
    directions = torch.tensor([[0.3, -0.5, 2.0]], dtype=F64)
    leaves = sh.requires_grad_(), directions.requires_grad_()
    of_sh, of_directions = torch.autograd.grad(eval_sh(3, *leaves)[:, 1].sum(), leaves)
    expect_equal([of_sh, of_directions], [0 * sh, 0 * directions], "max(0, …) is flat below 0")
    (of_sh,) = torch.autograd.grad(eval_sh(3, *leaves)[:, 2].sum(), leaves[:1])
    expect_close(of_sh[0, 0], [0, 0, 0.5 / math.sqrt(PI)], "above 1 the slope is still Y_0")


@pytest.mark.parametrize("degree", range(4))
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, F64])
def test_a_direction_of_length_0_stays_finite(dtype, degree):
    sh, directions = 0.1 * normal(2, 16, 3, dtype=dtype), torch.tensor([[0, 0, 0], [1, 2, 3]], dtype=dtype)
    got = eval_sh(degree, sh, directions)
    assert got.isfinite().all(), f"the camera sits in the centre of the Gaussian: {got[0].tolist()}"
    expected = colors(degree, sh[1:].double(), directions[1:].double()).to(dtype)
    expect_close(got[1:], expected, "the other Gaussians do not notice", rtol=1e-2, atol=1e-3)
    gradients_are_finite(lambda sh, directions: eval_sh(degree, sh, directions), sh, directions)


# --- refusals and standing laws ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("sh_dtype, directions_dtype", [(torch.float16, torch.float32), (torch.float32, F64)])
def test_the_coefficients_decide_the_dtype(sh_dtype, directions_dtype):
    sh, directions = (10 * normal(4, 16, 3)).to(sh_dtype), (1e6 * normal(4, 3, seed=1)).to(directions_dtype)
    expected = colors(3, sh.double(), directions.double()).to(sh_dtype)
    expect_close(
        eval_sh(3, sh, directions), expected, f"{sh_dtype} coefficients give {sh_dtype} colours", rtol=1e-3, atol=0
    )


@pytest.mark.parametrize("name, degree, total", [
    ("degree", -1, 16), ("degree", 4, 25), ("sh", 0, 0), ("sh", 1, 3), ("sh", 2, 8), ("sh", 3, 15),
])  # fmt: skip
def test_what_cannot_be_is_refused_by_name(name, degree, total):
    expect_refused(name, lambda: eval_sh(degree, normal(2, total, 3), normal(2, 3)))


@pytest.mark.parametrize("law", STANDING_LAWS)
@pytest.mark.parametrize("degree", [0, 3])
def test_standing_laws(degree, law):
    law(lambda sh, directions: eval_sh(degree, sh, directions), 0.3 * normal(5, 17, 3), normal(5, 3, seed=1))
