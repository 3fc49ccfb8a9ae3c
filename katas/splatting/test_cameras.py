"""cameras: world to camera coordinates, camera coordinates to pixels, and a camera that looks at a point.

The definitions are sums on Python floats. Cameras to recover come from scipy's rotations. Out of scope: skew, lens
distortion, and cameras whose R is no rotation.
"""

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from katas.lab.expect import expect_close, expect_equal, expect_refused
from katas.lab.laws import STANDING_LAWS, empty_batches_give_empty_results, gradients_are_finite, gradients_are_right
from katas.lab.strategies import normal, rng, seeds
from katas.splatting.cameras import look_at, project_points, world_to_camera
from katas.splatting.given.views import matrix, posed, rows

F64 = torch.float64
SHAPES = [(), (1,), (2,), (3,), (4,), (2, 3), (1500,)]  # of a batch: as long as a point or a matrix, and longer
UNITS = [2.0**-20, 1, 2.0**12]  # of length, in the world


def any_rotation(seed):
    return torch.from_numpy(Rotation.from_quat(normal(4, seed=seed).numpy()).as_matrix())


# The world's origin is 3 to the right and 5 ahead of this camera, which is rolled about its axis.
VIEWMAT = posed(((0.6, 0.8, 0), (-0.8, 0.6, 0), (0, 0, 1)), rows(3, 0, 5))
K = matrix(100, 50, 30, 20)


# --- the definition ---------------------------------------------------------------------------------------------------


def moved(point, viewmat):
    return [sum(viewmat[i][j] * point[j] for j in range(3)) + viewmat[i][3] for i in range(3)]


def pixel(point, intrinsics):
    (fx, _, cx), (_, fy, cy), _ = intrinsics
    return [fx * point[0] / point[2] + cx, fy * point[1] / point[2] + cy]


def one_by_one(definition, points, camera, size):
    found = [definition(point, camera.tolist()) for point in points.reshape(-1, 3).tolist()]
    return torch.tensor(found, dtype=F64).reshape(*points.shape[:-1], size)


# --- worked examples --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("point, expected, law", [
    ((0, 0, 0), (3, 0, 5), "the origin of the world: t"),
    ((1, 0, 0), (3.6, -0.8, 5), "the world's x axis: the first column of R"),
    ((0, 1, 0), (3.8, 0.6, 5), "the world's y axis: the second column of R"),
    ((1, 2, -1), (3 + 0.6 + 1.6, -0.8 + 1.2, 4), "R @ p + t"),
])  # fmt: skip
def test_a_point_moves_by_hand(point, expected, law):
    expect_close(world_to_camera(points=rows(point), viewmat=VIEWMAT), [expected], law)


@pytest.mark.parametrize("point, expected, law", [
    ((0, 0, 7), (30, 20), "the axis of the camera: (cx, cy), with no shift by half a pixel"),
    ((0.4, 0, 2), (50, 20), "0.2 to the right per unit of depth: 100 · 0.2 pixels to the right"),
    ((0, 0.4, 2), (30, 30), "0.2 downwards per unit of depth: 50 · 0.2 pixels downwards"),
    ((0.4, -0.2, 4), (40, 17.5), "twice as far is half as far from (cx, cy)"),
    ((9, -9, 1), (930, -430), "outside the image, wherever it ends"),
])  # fmt: skip
def test_a_pixel_by_hand(point, expected, law):
    got = project_points(points=rows(point), K=K)
    expect_close(got.points2d, [expected], law)
    expect_equal(got.in_front, [True], f"in front of the camera at a depth of {point[2]}")


def test_only_what_is_beyond_the_near_plane_is_in_front():
    depths = [-2, -0.5, 0, 0.25, 0.5, 0.5001, 9]
    points = rows(*[(0.1, 0.2, z) for z in depths])
    got = project_points(points, K, near_plane=0.5)
    expect_equal(got.in_front, [z > 0.5 for z in depths], "z > near_plane: the plane itself is not in front")
    got = project_points(rows((0, 0, 0.0099), (0, 0, 0.0101)), K)
    expect_equal(got.in_front, [False, True], "the near plane is at 0.01 unless told otherwise")


@pytest.mark.parametrize("dtype", [F64, torch.float32])
@pytest.mark.parametrize("eye, target, up, expected", [
    # north along y, up is z: x is east, and the image's y axis points down
    ((1, 2, 3), (1, 7, 3), (0, 0, 2), ((1, 0, 0, -1), (0, 0, -1, 3), (0, 1, 0, -2))),
    # down along z, the upper edge of the image is north: x is east, y is south. The sine of z and up is 2e-6, no less
    ((1, 2, 3), (1, 2, 0), (0, 1e-5, -5), ((1, 0, 0, -1), (0, -1, 0, 2), (0, 0, -1, 3))),
    # z is (0.6, 0, 0.8), z x up is (0, -0.6, 0), divided by its length (0, -1, 0), and z x x is (0.8, 0, -0.6)
    ((0, 0, 0), (3, 0, 4), (0, 0, 1), ((0, -1, 0, 0), (0.8, 0, -0.6, 0), (0.6, 0, 0.8, 0))),
])  # fmt: skip
def test_a_camera_by_hand(eye, target, up, expected, dtype):
    got = look_at(eye=rows(*eye).to(dtype), target=rows(*target).to(dtype), up=rows(*up).to(dtype))
    law = "rows right, down, forward; the last column -R @ eye; the last row (0, 0, 0, 1)"
    expect_close(got, [*expected, (0, 0, 0, 1)], law, dtype=dtype)


# --- agreement with the definition ------------------------------------------------------------------------------------


@given(seeds(), st.sampled_from(SHAPES), st.sampled_from(UNITS))
def test_moving_agrees_with_the_definition(seed, shape, unit):
    points, viewmat = unit * normal(*shape, 3, seed=seed), posed(any_rotation(seed), unit * normal(3, seed=seed + 1))
    expected = one_by_one(moved, points, viewmat, 3)
    expect_close(world_to_camera(points, viewmat), expected, "R @ p + t", rtol=1e-10, atol=1e-10 * unit)


@given(seeds(), st.sampled_from(SHAPES), st.sampled_from([1e-8, 1, 1000]), st.tuples(*[st.floats(-9, 3000)] * 4))
@example(0, (5,), 1, (800, 600, 320, 200))
def test_projecting_agrees_with_the_definition(seed, shape, depth, numbers):
    points = normal(*shape, 3, seed=seed) * depth * rows(0.5, 2, 1)
    near = 0.3 * depth
    got = project_points(points, camera := matrix(*numbers), near_plane=near)
    expect_equal(got.in_front, points[..., 2] > near, "z > near_plane")
    expected = one_by_one(pixel, points, camera, 2)
    seen = got.in_front
    expect_close(got.points2d[seen], expected[seen], "fx · x / z + cx, fy · y / z + cy", rtol=1e-10, atol=1e-8)


@given(seeds(), st.sampled_from(UNITS), st.sampled_from([0.01, 1, 50]), st.sampled_from([0, -3, 3000]))
def test_a_camera_is_recovered(seed, unit, distance, lean):
    rotation, eye = any_rotation(seed), unit * normal(3, seed=seed + 1)
    _, down, forward = rotation
    up = unit**1.5 * (lean * forward - down)  # of any length, leaning forwards or backwards
    got = look_at(eye, eye + unit * distance * forward, up)
    expected = posed(rotation, -(rotation @ eye))
    law = "the axes of the camera, whose z axis leads to the target and whose y axis points away from `up`"
    expect_close(got[:3, :3], expected[:3, :3], law, rtol=0, atol=1e-9)
    expect_close(got[:3, 3], expected[:3, 3], "t = -R @ eye: the eye moves to 0", rtol=1e-8, atol=1e-9 * unit)
    expect_close(got[3], [0, 0, 0, 1], "the last row of a viewmat", rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype, other", [(torch.float32, F64), (F64, torch.float32)])
def test_the_first_argument_decides_the_dtype(dtype, other):
    # a camera from a file is often float64, the Gaussians are float32
    points, eye, target, up = rows((0.5, -2, 3)).to(dtype), *rows((1, 2, 3), (4, -2, 1), (0, 1, 0))
    got = {
        "world_to_camera": world_to_camera(points, VIEWMAT.to(other)),
        "project_points": project_points(points, K.to(other)).points2d,
        "look_at": look_at(eye.to(dtype), target.to(other), up.to(other)),
    }
    for name, result in got.items():
        assert result.dtype == dtype, f"{name} of {dtype}, the rest {other}: {result.dtype} came out"


# --- gradients --------------------------------------------------------------------------------------------------------


def test_gradients_are_those_of_the_formula():
    points = rows((0.3, -0.2, 2), (-1, 0.5, 0.7), (0.1, 0.2, 5))
    gradients_are_right(world_to_camera, points, VIEWMAT)
    gradients_are_right(lambda *given_: project_points(*given_).points2d, points, K)
    gradients_are_right(look_at, *rows((1, 2, 3), (4, -2, 1), (0.1, 1, 0.3)))


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("depth", [0, -0.0, 0.01, -1e-30, 1e-30, -3])
def test_points_without_an_image_stay_finite(depth, dtype):
    points = rows((0.3, -0.2, 2), (0.3, -0.2, depth), (0, 0, depth)).to(dtype)
    got = project_points(points, K.to(dtype)).points2d
    assert got.isfinite().all(), f"a point at a depth of {depth} comes out as {got.tolist()}"
    gradients_are_finite(project_points, points, K.to(dtype))


# --- refusals and standing laws ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("near_plane", [0, -0.01, float("nan")])
def test_a_near_plane_that_is_not_positive_is_refused(near_plane):
    expect_refused("near_plane", lambda: project_points(rows((1, 2, 3)), K, near_plane=near_plane))


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("name, target, up", [
    ("target", (0.1, 0.2, 0.3), (0, 0, 1)), ("up", (0.1, 0.2, 5), (0, 0, 1)), ("up", (0.1, 0.2, 5), (0, 1e-6, -2)),
    ("up", (0.8, 0.9, 0.7), (2.1, 2.1, 1.2)), ("up", (0.8, 0.9, 0.7), (0, 0, 0)),
])  # fmt: skip
def test_a_direction_that_does_not_exist_is_refused(name, target, up, dtype):
    expect_refused(name, lambda: look_at(*rows((0.1, 0.2, 0.3), target, up).to(dtype)))


@pytest.mark.parametrize("law", STANDING_LAWS)
def test_standing_laws(law):
    points = torch.rand(5, 2, 3, generator=rng(), dtype=F64) + 0.5
    law(world_to_camera, points, VIEWMAT)
    law(project_points, points, K)
    if law is not empty_batches_give_empty_results:  # one camera is no batch
        law(look_at, *rows((1, 2, 3), (4, -2, 1), (0.1, 1, 0.3)))
