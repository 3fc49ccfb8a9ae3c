"""rendering: from raw parameters to the image of a camera.

The definition (given/painted.py) paints one Gaussian after the other over all pixels, and autograd differentiates it.
Finite differences are taken where the image is smooth: no alpha near 1/255 or 0.99, no equal depths, no colour at 0.
Out of scope: skew, colours of degrees 2 and 3, overflow of float32 in the image.
"""

import math

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from katas.lab.expect import expect_close, expect_equal, expect_refused
from katas.lab.laws import STANDING_LAWS, gradients_are_finite, gradients_are_right
from katas.lab.strategies import normal, seeds
from katas.splatting.given.gaussians import Gaussians
from katas.splatting.given.painted import painted_scene, random_scene
from katas.splatting.given.views import matrix, posed, rows
from katas.splatting.rendering import render

F64 = torch.float64
C0, C1 = 0.5 / math.sqrt(math.pi), 0.5 * math.sqrt(3 / math.pi)
AT_ORIGIN = torch.eye(4, dtype=F64)
BACKGROUND = rows(0.2, 0.5, 0.9)
K = matrix(8, 6, 5, 3)  # for images of 11 by 7: not centred


def gaussians_at(*means, log_scale=-1.0, logit=0.0, sh=((0, 0, 0),)):
    count = len(means)
    return Gaussians(rows(*means), torch.full((count, 3), log_scale, dtype=F64), rows((1, 0, 0, 0)).repeat(count, 1),
                     torch.full((count,), logit, dtype=F64), rows(*sh).repeat(count, 1, 1))  # fmt: skip


# --- worked examples --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [2, 0.02])
def test_one_gaussian_by_hand(depth):
    # a quarter of its depth large, so 2 pixels in x and 1.5 in y. Opacity 1 / (1 + 3) = 0.25
    one = gaussians_at((0, 0, depth), log_scale=math.log(depth / 4), logit=-math.log(3), sh=[(1, 2, -3)])
    got = render(gaussians=one, viewmat=AT_ORIGIN, K=K, width=11, height=7, background=BACKGROUND)
    color = rows(0.5 + C0, 0.5 + 2 * C0, 0)
    for row, column, where in ((2, 4, "half a pixel before the mean"), (3, 7, "right and below")):
        dx, dy = column + 0.5 - 5, row + 0.5 - 3
        alpha = 0.25 * math.exp(-(dx**2 / (4 + 0.3) + dy**2 / (2.25 + 0.3)) / 2)
        expect_close(got.image[row, column], alpha * color + (1 - alpha) * BACKGROUND, f"at depth {depth}, {where}")
    expect_close(got.means2d, [(5, 3)], "the mean in the image, in pixels")
    expect_equal(got.radii, [7], "3 · sqrt(4.3) = 6.2, rounded up")


@pytest.mark.parametrize("law, rotation, k, sign", [
    ("seen along +x: Y_3 = -C1 x", ((0, 1, 0), (0, 0, 1), (1, 0, 0)), 3, -1),
    ("seen along -y: Y_1 = -C1 y", ((1, 0, 0), (0, 0, 1), (0, -1, 0)), 1, 1),
])  # fmt: skip
def test_directions_lead_from_the_camera_to_the_mean(law, rotation, k, sign):
    # a huge opaque Gaussian at the world's origin, and a camera whose z axis is the world's x or -y
    sh = torch.zeros(4, 3, dtype=F64)
    sh[k] = rows(0.5, 0.25, -0.5)
    one, viewmat = gaussians_at((0, 0, 0), logit=50.0, log_scale=3.0, sh=sh.tolist()), posed(rotation, rows(0, 0, 2))
    got = render(one, viewmat, K, 11, 7, background=BACKGROUND).image[3, 5]
    expect_close(got, 0.99 * (0.5 + sign * C1 * sh[k]) + 0.01 * BACKGROUND, law, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("means", [(), ((0, 0, -2), (90, 0, 1), (0, 0, 0))])
def test_nothing_in_view_is_background(means):
    scene = gaussians_at(*means) if means else Gaussians(*(field[:0] for field in gaussians_at((0, 0, 1))))
    got = render(scene, AT_ORIGIN, K, 11, 7, background=BACKGROUND)
    expect_close(got.image, BACKGROUND.expand(7, 11, 3), "behind the camera and beside the image nothing is drawn")
    expect_equal(got.radii, torch.zeros(len(means)).long(), "and has no radius")
    if means:  # a training step on this view must not fail: the gradients are 0
        gradients_are_finite(lambda *g: render(Gaussians(*g), AT_ORIGIN, K, 11, 7, background=BACKGROUND).image, *scene)


# --- agreement with the definition ------------------------------------------------------------------------------------


@given(seeds(), st.sampled_from([1, 2, 7, 60]), st.sampled_from([1, 4]), st.sampled_from([(11, 7), (1, 1), (3, 20)]),
       st.sampled_from([-3.0, -1.0, 0.5]))  # fmt: skip
@example(0, 1500, 4, (9, 5), -3.0)
def test_images_agree_with_the_definition(seed, count, coefficients, image, size):
    gaussians, viewmat = random_scene(seed, count, coefficients, size)
    got = render(gaussians, viewmat, K, *image, background=BACKGROUND)
    expected, projected = painted_scene(gaussians, viewmat, K, *image, BACKGROUND)
    expect_equal(got.radii, projected.radii, "the radii are those of the projection")
    seen = projected.radii > 0
    expect_close(got.means2d[seen], projected.means2d[seen], "means2d are those of the projection")
    expect_close(got.image, expected, "activate, project, colour, composite")


@pytest.mark.parametrize("degree, used", [(0, 1), (1, 4), (2, 9), (3, 16), (None, 16)])
def test_sh_degree_uses_the_first_coefficients(degree, used):
    gaussians, viewmat = random_scene(2, 6, 16)
    sh = gaussians.sh.requires_grad_()
    image = render(gaussians, viewmat, K, 11, 7, background=BACKGROUND, sh_degree=degree).image
    (gradient,) = torch.autograd.grad(image.sum(), sh)
    reached = gradient.abs().sum(dim=(0, 2)) > 0
    expect_equal(reached, torch.arange(16) < used, f"degree {degree} colours with {used} coefficients")


# --- gradients --------------------------------------------------------------------------------------------------------


def test_gradients_of_all_parameters_are_right():
    # broad Gaussians in front of each other: every alpha lies between 2/255 and 0.9
    means, quats = rows((0.1, -0.2, 2), (-0.3, 0.1, 2.5), (0.2, 0.2, 3)), normal(3, 4, seed=3)
    log_scales, logits, sh = 0.3 * normal(3, 3) + rows(0.3, 0, 0.2), rows(1, -0.5, 0.3), 0.3 * normal(3, 4, 3, seed=5)
    rolled = posed(((0.6, 0.8, 0), (-0.8, 0.6, 0), (0, 0, 1)), rows(0.1, 0.2, 0.3))

    def image(means, log_scales, quats, logits, sh, viewmat, background):
        gaussians = Gaussians(means, log_scales, quats, logits, sh)
        return render(gaussians, viewmat, K, 4, 3, background=background).image

    gradients_are_right(image, means, log_scales, quats, logits, sh, rolled, BACKGROUND)


def test_gradients_agree_with_the_definition():
    gaussians, viewmat = random_scene(7, 12)
    weights, fields = normal(7, 11, 3, seed=9), [field.requires_grad_() for field in gaussians]
    expected, projected = painted_scene(gaussians, viewmat, K, 11, 7, BACKGROUND)
    expected = torch.autograd.grad((expected * weights).sum(), [projected.means2d, *fields])
    got = render(gaussians, viewmat, K, 11, 7, background=BACKGROUND)
    got = torch.autograd.grad((got.image * weights).sum(), [got.means2d, *fields], allow_unused=True)
    expect_close(got[0], expected[0], "how the image changes when a Gaussian moves in it, its shape and colour held")
    for name, *pair in zip(Gaussians._fields, got[1:], expected[1:], strict=True):
        expect_close(*pair, f"the gradient of {name}")


def test_gradients_stay_finite():
    gaussians, viewmat = random_scene(0, 50)
    gaussians.quats[:5], gaussians.opacity_logits[5:20:3], gaussians.log_scales[10:14] = 0, 100, -60
    gaussians.means[20:25] = -viewmat[:3, :3].T @ viewmat[:3, 3]  # where the camera is
    for dtype in (torch.float32, F64):
        fields = [field.to(dtype) for field in gaussians]
        gradients_are_finite(lambda *g: render(Gaussians(*g), viewmat, K, 11, 7, background=BACKGROUND).image, *fields)


# --- refusals and standing laws ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, value", [
    *((name, value) for name in Gaussians._fields for value in (math.nan, math.inf, -math.inf)), ("log_scales", 400),
    ("log_scales", 45),  # in float32: exp(90) is 1e39
])  # fmt: skip
def test_what_is_not_finite_is_refused_by_name(name, value):
    gaussians, viewmat = random_scene(0, 6)
    getattr(gaussians, name)[4].view(-1)[-1:] = value
    gaussians = Gaussians(*(field.float() for field in gaussians)) if value == 45 else gaussians
    expect_refused(name, lambda: render(gaussians, viewmat, K, 11, 7, background=BACKGROUND))


@pytest.mark.parametrize("name, value", [("width", 0), ("height", -1), ("sh_degree", 2), ("sh_degree", -1)])
def test_sizes_and_degrees_are_refused(name, value):
    gaussians, viewmat = random_scene(0, 6)
    options = {"width": 11, "height": 7, "sh_degree": 1, name: value}
    expect_refused(name, lambda: render(gaussians, viewmat, K, background=BACKGROUND, **options))


@pytest.mark.parametrize("law", STANDING_LAWS)
def test_standing_laws(law):
    law(render, *random_scene(4, 6), K, 11, 7, background=BACKGROUND)
