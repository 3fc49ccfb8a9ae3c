"""projection: the Gaussians of the image that are closest to those in space.

In the definition, autograd differentiates the projection of one point, and numpy inverts and finds eigenvalues. Where
radii are compared, no radius is whole before it is rounded. Out of scope: skew, asymmetric covariances, overflow.
"""

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from katas.lab.expect import expect_close, expect_equal, expect_refused
from katas.lab.laws import STANDING_LAWS, gradients_are_finite, gradients_are_right
from katas.lab.strategies import normal, seeds
from katas.splatting.given.views import matrix, posed, rows
from katas.splatting.projection import project_gaussians

F64 = torch.float64


def spread(*variances):
    return torch.diag(rows(*variances))


AT_ORIGIN = torch.eye(4, dtype=F64)
ROLLED = posed(((0.6, 0.8, 0), (-0.8, 0.6, 0), (0, 0, 1)), rows(3, 0, 5))
K, IMAGE = matrix(100, 50, 30, 20), (64, 48)  # not centred: 30 to the left of (cx, cy), 34 to its right


def drawn(seed, count, unit=1):
    """Gaussians around the world's origin, thin ones, and a camera that is about 4 away and looks past them."""
    rotation = Rotation.from_quat(normal(4, seed=seed).numpy()).as_matrix().tolist()
    viewmat = posed(rotation, unit * (rows(0, 0, 4) + 0.5 * normal(3, seed=seed + 1)))
    roots = unit * 0.2 * normal(count, 3, 3, seed=seed + 3) * rows(0.05, 1, 3)
    return unit * 2 * normal(count, 3, seed=seed + 2), roots @ roots.mT, viewmat


# --- the definition ---------------------------------------------------------------------------------------------------


def definition(means, covars, viewmat, intrinsics, width, height, eps2d, near_plane):
    (fx, _, cx), (_, fy, cy), _ = intrinsics.tolist()
    focal, centre, size = rows(fx, fy), rows(cx, cy), rows(width, height)
    points = torch.stack([viewmat[:3, :3] @ mean + viewmat[:3, 3] for mean in means])
    depths, front = points[:, 2], points[:, 2] > near_plane
    points = torch.where(front[:, None], points, rows(0, 0, 1))  # the others are not compared
    slopes, margin = points[:, :2] / points[:, 2:], 0.3 * size / (2 * focal)  # 0.3 tan(fov / 2)
    limited = slopes.clamp(-centre / focal - margin, (size - centre) / focal + margin)
    at = torch.cat((limited * points[:, 2:], points[:, 2:]), dim=1)
    to_image = torch.vmap(torch.func.jacrev(lambda p: focal * p[:2] / p[2]))(at) @ viewmat[:3, :3]
    covars2d = torch.einsum("nij,njk,nlk->nil", to_image, covars, to_image) + eps2d * spread(1, 1)
    inverses = torch.from_numpy(np.linalg.inv(covars2d.numpy()))
    radii = torch.from_numpy(np.ceil(3 * np.linalg.eigvalsh(covars2d.numpy())[:, 1] ** 0.5))
    lower, upper = (focal * slopes + centre + sign * radii[:, None] for sign in (-1, 1))
    radii = (radii * (front & (upper > 0).all(dim=1) & (lower < size).all(dim=1))).int()
    return front, depths, focal * slopes + centre, covars2d, inverses[:, [0, 0, 1], [0, 1, 1]], radii


# --- worked examples --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("law, mean, covar, viewmat, mean2d, covar2d", [
    # J = [[100 / 2, 0, 0], [0, 50 / 2, 0]]
    ("on the axis, depth does not spread", (0, 0, 2), spread(0.04, 0.01, 9), AT_ORIGIN, (30, 20),
     ((100.3, 0), (0, 6.55))),
    # at (50, 15), the last column of J is ((30 - 50) / 2, (20 - 15) / 2). A needle (1, 0, 1) becomes (50 - 10, 2.5)
    ("beside it, depth leads towards the centre", (0.4, -0.2, 2), 0.09 * rows((1, 0, 1), (0, 0, 0), (1, 0, 1)),
     AT_ORIGIN, (50, 15), ((144.3, 9), (9, 0.8625))),
    # (3, 0, 5) + (-3, 0, 0) in the camera. W diag(4, 1, 0) W^T = [[2.08, -1.44], [-1.44, 2.92]], and J = diag(20, 10)
    ("a rolled camera turns the Gaussian", (-1.8, -2.4, 0), spread(4, 1, 0), ROLLED, (30, 20),
     ((832.3, -288), (-288, 292.3))),
    # the image ends at 64 and 48, its margins are 9.6 and 7.2: (30 - 73.6) / 2, (30 + 9.6) / 2, and the same for y
    ("clamped on the right", (2, 0, 2), spread(1, 0, 0.25), AT_ORIGIN, (130, 20), ((2618.81 + 0.3, 0), (0, 0.3))),
    ("clamped on the left", (-2, 0, 2), spread(1, 0, 0.25), AT_ORIGIN, (-70, 20), ((2598.01 + 0.3, 0), (0, 0.3))),
    ("clamped below", (0, 4, 2), spread(0, 1, 0.25), AT_ORIGIN, (30, 120), ((0.3, 0), (0, 702.44 + 0.3))),
    ("clamped above", (0, -4, 2), spread(0, 1, 0.25), AT_ORIGIN, (30, -80), ((0.3, 0), (0, 671.24 + 0.3))),
])  # fmt: skip
def test_a_gaussian_by_hand(law, mean, covar, viewmat, mean2d, covar2d):
    got = project_gaussians(means=rows(mean), covars=covar[None], viewmat=viewmat, K=K, width=64, height=48)
    expect_close(got.means2d, [mean2d], f"{law}: means2d")
    expect_close(got.covars2d, [covar2d], f"{law}: covars2d")


def test_conics_and_radii_by_hand():
    # along 0.3 · (-10, 2.5): covars2d is ((9.3, -2.25), (-2.25, 0.8625)), det 2.95875, eigenvalues 3.14² and 0.3
    got = project_gaussians(rows((0.4, -0.2, 2)), spread(0, 0, 0.09)[None], AT_ORIGIN, K, *IMAGE)
    expect_close(got.conics, [(0.8625 / 2.95875, 2.25 / 2.95875, 9.3 / 2.95875)], "the upper triangle of the inverse")
    expect_equal(got.radii, [10], "3 · 3.14 = 9.4, rounded up")
    got = project_gaussians(rows((0, 0, 2)), spread(0, 0, 0)[None], AT_ORIGIN, K, *IMAGE, eps2d=0.98)
    expect_equal(got.radii, [3], "3 · sqrt(0.98) = 2.97, rounded up: two equal eigenvalues have no difference")


@pytest.mark.parametrize("x, y, radius", [
    (10, 10, 2), (-1.75, 10, 2), (-2, 10, 0), (49.75, 10, 2), (50, 10, 0),
    (10, -1.75, 2), (10, -2, 0), (10, 41.75, 2), (10, 42, 0), (-1.75, 41.75, 2), (49.75, 42, 0), (-9, -9, 0),
])  # fmt: skip
def test_what_does_not_touch_the_image_has_no_radius(x, y, radius):
    # points of no size: 3 · sqrt(0.3) = 1.6. The image is 48 by 40, and its centre is not its middle
    mean, intrinsics = rows(((x - 32) / 64, (y - 16) / 32, 1)), matrix(64, 32, 32, 16)
    got = project_gaussians(mean, spread(0, 0, 0)[None], AT_ORIGIN, intrinsics, 48, 40)
    expect_close(got.means2d, [(x, y)], "means2d are not clamped")
    expect_equal(got.radii, [radius], "0 < mean + radius and mean - radius < size, for x and y")


def test_near_plane_and_blur_are_those_of_gsplat():
    means, covars = rows(*[(0, 0, z) for z in (-1, 0, 0.0099, 0.0101, 3)]), torch.zeros(5, 3, 3, dtype=F64)
    got = project_gaussians(means, covars, AT_ORIGIN, K, *IMAGE)
    expect_equal(got.radii, [0, 0, 0, 2, 2], "only z > 0.01 is seen")
    expect_close(got.covars2d[3:], [((0.3, 0), (0, 0.3))] * 2, "a point is blurred by 0.3 square pixels")
    got = project_gaussians(means, covars, AT_ORIGIN, K, *IMAGE, near_plane=3)
    expect_equal(got.radii, [0] * 5, "a Gaussian on the near plane is not seen")


# --- agreement with the definition ------------------------------------------------------------------------------------


@given(
    seeds(), st.sampled_from([1, 2, 3, 7]), st.sampled_from([2.0**-12, 1, 2.0**9]),
    st.tuples(st.floats(20, 900), st.floats(20, 900), st.floats(-90, 700), st.floats(-90, 700)),
    st.sampled_from([(64, 48), (33, 400), (1, 1)]), st.sampled_from([0.3, 0.01, 5]), st.sampled_from([0.01, 1, 3.5]),
)  # fmt: skip
@example(0, 2000, 1, (300, 500, 20, 250), (200, 400), 0.3, 0.01)
def test_gaussians_agree_with_the_definition(seed, count, unit, intrinsics, image, eps2d, near):
    means, covars, viewmat = drawn(seed, count, unit)
    given_, options = (means, covars, viewmat, matrix(*intrinsics), *image), {"eps2d": eps2d, "near_plane": near * unit}
    got = project_gaussians(*given_, **options)
    front, depths, means2d, covars2d, conics, radii = definition(*given_, **options)
    expect_close(got.depths, depths, "depths are z in the camera")
    expect_close(got.means2d[front], means2d[front], "the image of the mean")
    expect_close(got.covars2d[front], covars2d[front], "J W covars W^T J^T + eps2d · I")
    expect_close(got.conics[front], conics[front], "the upper triangle of the inverse of covars2d")
    expect_equal(got.radii.int(), radii, "3 standard deviations, 0 where nothing is seen")


def test_needles_have_conics_in_float32():
    # thousands of pixels long, without any width: a · c - b² is rounding error, larger than the blur
    axes = 400 * normal(500, 3) * rows(1, 0.7, 0.1)
    covars, means = axes[:, :, None] * axes[:, None, :], normal(500, 3) * rows(0.5, 0.5, 0.1) + rows(0, 0, 4)
    got = project_gaussians(means.float(), covars.float(), AT_ORIGIN.float(), K.float(), *IMAGE)
    ends = got.conics[:, [0, 2]]
    assert (ends > 0).all() and (ends <= 1.001 / 0.3).all(), f"not in (0, 1 / eps2d]: {ends.min()} to {ends.max()}"
    between = got.conics[:, 1].abs().max()
    assert between <= 1.001 / 0.3, f"an inverse with such a and c has no b of {between}"


def test_float32_gaussians_before_a_float64_camera():
    means, covars, viewmat = drawn(4, 300)
    got = project_gaussians(means.float(), covars.float(), viewmat, K, *IMAGE, near_plane=1)
    assert {part.dtype for part in got[:4]} == {torch.float32}, f"the means decide the dtype: {got.conics.dtype}"
    front, _, means2d, covars2d, *_ = definition(means, covars, viewmat, K, *IMAGE, 0.3, 1)
    expect_close(got.means2d[front].double(), means2d[front], "float32 as float64: means2d", rtol=1e-4, atol=1e-3)
    expect_close(got.covars2d[front].double(), covars2d[front], "float32 as float64", rtol=1e-3, atol=1e-2)
    # balls on the axis of a turned camera: two eigenvalues that differ by rounding alone
    sizes, (*_, viewmat) = torch.linspace(0.01, 1, 300, dtype=F64), drawn(0, 1)
    viewmat[:3, 3] = rows(0, 0, 5)
    balls = (sizes**2)[:, None, None] * spread(1, 1, 1)
    got = project_gaussians(torch.zeros(300, 3), balls.float(), viewmat, matrix(100, 100, 30, 20), *IMAGE)
    expected = 3 * ((20 * sizes) ** 2 + 0.3).sqrt()
    expect_close(got.radii.double(), expected, "float32 as float64: radii, but for the rounding", rtol=0, atol=1.01)


# --- gradients --------------------------------------------------------------------------------------------------------


def test_gradients_are_those_of_the_formula():
    means = rows((0.3, -0.2, -1), (-1.5, -2, 0), (9, 9, 2), (-20, 9, 2))  # clamped in x, clamped in y
    roots = 0.4 * normal(4, 3, 3) + rows((1, 0, 0), (0, 2, 0), (0, 0, 0.5))
    given_ = (means, roots, ROLLED, K)  # covariances stay symmetric when a root changes
    gradients_are_right(lambda at, roots, *rest: project_gaussians(at, roots @ roots.mT, *rest, *IMAGE), *given_)


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("size, depth", [(0, -2), (0, 0), (0, 3), (1e-6, 0.01), (1, -1e-30), (1, 0), (1, 3)])
def test_everything_stays_finite(size, depth, dtype):
    means, covars = rows((0.1, 0.2, 4), (1, -2, depth), (0, 0, depth)).to(dtype), size * torch.eye(3, dtype=dtype)
    given_ = (means, covars.expand(3, 3, 3), AT_ORIGIN.to(dtype), K.to(dtype), *IMAGE)
    for name, part in project_gaussians(*given_)._asdict().items():
        assert part.isfinite().all(), f"{name} at a depth of {depth}, variance {size}: {part.tolist()}"
    gradients_are_finite(project_gaussians, *given_)


# --- refusals and standing laws ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, value", [
    ("width", 0), ("width", -64), ("height", 0), ("eps2d", 0), ("eps2d", -0.3), ("eps2d", float("nan")),
    ("near_plane", 0), ("near_plane", -0.01),
])  # fmt: skip
def test_what_is_not_positive_is_refused(name, value):
    options = {"width": 64, "height": 48, name: value}
    expect_refused(name, lambda: project_gaussians(*drawn(0, 2), K, **options))


@pytest.mark.parametrize("law", STANDING_LAWS)
def test_standing_laws(law):
    law(project_gaussians, *drawn(4, 5), K, *IMAGE)
