"""initialisation: sizes from the three nearest others, colors as coefficients, and everything raw.

Checked against Python floats, and scipy's k-d tree where there are many points. Out of scope: speed, values in `colors`
outside [0, 1], points that are not finite.
"""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from katas.lab.expect import expect_close, expect_equal, expect_refused
from katas.lab.laws import STANDING_LAWS
from katas.lab.strategies import normal, rng, seeds
from katas.lab.watched import Watched
from katas.splatting.given.gaussians import Gaussians
from katas.splatting.initialisation import gaussians_from_points

F64 = torch.float64
DTYPES = [torch.float32, F64]


def colors_of(n, seed=0, dtype=F64):
    return torch.rand(n, 3, generator=rng(seed), dtype=F64).to(dtype)


def by_hand(points, colors, sh_degree=3, initial_opacity=0.1):
    """The definition in Python floats, point by point."""
    rows, places = [], points.tolist()
    for i, p in enumerate(places):
        others = sorted(math.dist(p, q) ** 2 for j, q in enumerate(places) if j != i)[:3]
        mean = sum(others) / len(others) if others else 0.0
        rows.append([math.log(math.sqrt(max(mean, 1e-7)))] * 3)
    zeros = [[0.0] * 3] * ((sh_degree + 1) ** 2 - 1)
    sh = [[[(value - 0.5) / 0.28209479177387814 for value in color], *zeros] for color in colors.tolist()]
    logit, n = math.log(initial_opacity / (1 - initial_opacity)), len(places)
    fields = [(places, (n, 3)), (rows, (n, 3)), ([[1.0, 0, 0, 0]] * n, (n, 4)), ([logit] * n, (n,))]
    fields.append((sh, (n, (sh_degree + 1) ** 2, 3)))
    return Gaussians(*(torch.tensor(field, dtype=F64).reshape(shape).to(points.dtype) for field, shape in fields))


# --- the definition ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("points, squares", [
    ([[0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, 3], [0, 9, 9]], [14 / 3, (1 + 5 + 10) / 3, (4 + 5 + 13) / 3,
                                                               (9 + 10 + 13) / 3, (117 + 130 + 162) / 3]),
    ([[5, 5, 5], [5, 5, 7], [5, 2, 5]], [(4 + 9) / 2, (4 + 13) / 2, (9 + 13) / 2]),  # the two others that there are
    ([[1, 1, 1], [1, 1, 4]], [9, 9]),
    ([[3, 4, 5]], [1e-7]),  # no other
    ([[2, 2, 2]] * 4 + [[2, 2, 3]], [1e-7] * 4 + [1]),  # others at the same place
    ([[2, 2, 2]] * 2 + [[2, 2, 3], [2, 2, 5]], [10 / 3, 10 / 3, (1 + 1 + 4) / 3, (4 + 9 + 9) / 3]),
], ids=["five", "three", "two", "one", "four and one at a place", "two at a place"])  # fmt: skip
def test_sizes_by_hand(points, squares):
    points = torch.tensor(points, dtype=F64)
    got = gaussians_from_points(points, colors_of(len(points))).log_scales
    expected = [[0.5 * math.log(square)] * 3 for square in squares]
    expect_close(got, expected, "the mean of the squares, its root, and the logarithm, on all three axes")


def test_colors_and_opacities_by_hand():
    colors = torch.tensor([[0.5, 1.0, 0.0], [0.25, 0.5, 0.75]], dtype=F64)
    got = gaussians_from_points(normal(2, 3), colors, sh_degree=1, initial_opacity=0.2)
    c = 0.5 / 0.28209479177387814
    zeros = [[0.0] * 3] * 3
    expect_close(got.sh, [[[0, c, -c], *zeros], [[-c / 2, 0, c / 2], *zeros]], "0.5 + C0 · sh[:, 0] is the color")
    expect_close(got.opacity_logits, [-math.log(4)] * 2, "the logit of 0.2 is log(1/4)")
    expect_equal(got.quats, [[1.0, 0, 0, 0]] * 2, "no rotation is (1, 0, 0, 0)")


def test_the_defaults():
    got = gaussians_from_points(normal(2, 3), colors_of(2))
    assert got.sh.shape == (2, 16, 3), "the degree is 3 by default"
    expect_close(got.opacity_logits, [math.log(1 / 9)] * 2, "the opacity is 0.1 by default")


@given(
    st.integers(1, 9), st.integers(0, 3), st.sampled_from([1e-8, 0.01, 0.1, 0.9, 0.9998]),
    st.sampled_from([1e-3, 1.0, 1e5]), st.sampled_from([0.0, 1e4]), st.sampled_from(DTYPES), st.booleans(), seeds(),
)  # fmt: skip
def test_all_fields_agree_with_the_definition(n, degree, opacity, unit, offset, dtype, doubled, seed):
    points = (offset + unit * normal(n, 3, seed=seed)).to(dtype)
    points = points.repeat(2, 1) if doubled else points
    colors = colors_of(len(points), seed)
    got = gaussians_from_points(points=points, colors=colors, sh_degree=degree, initial_opacity=opacity)
    assert isinstance(got, Gaussians), "Gaussians come back"
    expect_close(got, by_hand(points, colors, degree, opacity), "every field is that of the definition")


@pytest.mark.parametrize("dtype", DTYPES)
def test_no_points_are_no_gaussians(dtype):
    points = torch.zeros(0, 3, dtype=dtype)
    got = gaussians_from_points(points=points, colors=colors_of(0, 0), sh_degree=2, initial_opacity=0.5)
    expect_close(got, by_hand(points, colors_of(0, 0), 2, 0.5), "an empty row for every field")


# --- many points, and those far away ----------------------------------------------------------------------------------


class Enough(Exception):
    """So many steps show which pieces there are."""


class FirstSteps(Watched):
    def __torch_dispatch__(self, *args, **kwargs):
        if self.calls == 50:
            raise Enough
        return super().__torch_dispatch__(*args, **kwargs)


@pytest.mark.parametrize("n, offset, dtype", [(6000, 0.0, F64), (900, 1e6, F64), (900, 3e4, torch.float32)])
def test_many_points_need_no_large_matrix(n, offset, dtype):
    points = (offset + normal(n, 3)).to(dtype)
    with Watched() as sizes:
        got = gaussians_from_points(points, colors_of(n), sh_degree=0).log_scales
    distances = torch.from_numpy(cKDTree(points.double().numpy()).query(points.double().numpy(), k=4)[0][:, 1:])
    expected = 0.5 * distances.square().mean(1).clamp(min=1e-7).log()
    expect_close(got, expected[:, None].repeat(1, 3).to(dtype), "every point finds its three nearest")
    assert sizes.largest <= 2**24, f"the distances come in pieces, not {sizes.largest} numbers at once"


def test_the_pieces_stay_small_where_the_cloud_is_large():
    points, colors = normal(100_000, 3), colors_of(100_000)
    with pytest.raises(Enough), FirstSteps() as sizes:
        gaussians_from_points(points, colors, sh_degree=0)
        raise Enough
    assert sizes.largest <= 2**24, f"at most 2²⁴ numbers at once, not {sizes.largest}: fewer rows where N is large"


@pytest.mark.parametrize("unit", [1e-2, 1e3])
def test_a_larger_cloud_has_larger_gaussians(unit):
    points, colors = normal(7, 3), colors_of(7)
    got = gaussians_from_points(unit * points, colors).log_scales
    expect_close(got, gaussians_from_points(points, colors).log_scales + math.log(unit), "sizes grow with the cloud")


@pytest.mark.parametrize("colors_dtype", [torch.float16, torch.float32, F64])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_rounded_once(dtype, colors_dtype):
    far, near = 300 * normal(6, 3), torch.tensor([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1 + 1 / 128]], dtype=F64)
    points, colors = torch.cat([far, far[:1], near]).to(dtype), colors_of(11, dtype=colors_dtype)
    got = gaussians_from_points(points, colors, initial_opacity=0.9998)
    expected = by_hand(points, colors, initial_opacity=0.9998)
    expect_close(got, expected, "compute in float64, round at the end: float16 has no 300² and no 1 - 0.9998")


@pytest.mark.parametrize("n", [1, 5])
def test_what_comes_back_can_be_trained(n):
    points, colors = normal(n, 3).requires_grad_(), colors_of(n).requires_grad_()
    before, got = points.detach().clone(), gaussians_from_points(points, colors)
    assert not any(field.requires_grad for field in got), "starting values carry no gradient"
    expected = [field + torch.arange(1.0, field.numel() + 1, dtype=F64).reshape(field.shape) for field in got]
    for field in got:
        field += torch.arange(1.0, field.numel() + 1, dtype=F64).reshape(field.shape)
    expect_equal(list(got), expected, "each number has its own place in memory: no expand, no view")
    expect_equal(points, before, "the points stay where they are when the means move")


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, value", [
    ("sh_degree", -1), ("sh_degree", 4), ("initial_opacity", 0.0), ("initial_opacity", 1.0), ("initial_opacity", -0.1),
    ("initial_opacity", 1.5), ("initial_opacity", math.nan),
])  # fmt: skip
def test_numbers_out_of_range_are_refused(name, value):
    expect_refused(name, lambda: gaussians_from_points(normal(5, 3), colors_of(5), **{name: value}))


@pytest.mark.parametrize("law", STANDING_LAWS)
def test_standing_laws(law):
    law(gaussians_from_points, normal(5, 3), colors_of(5))
