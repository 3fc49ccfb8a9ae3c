"""rasterizer: the image of projected Gaussians, pixel by pixel.

The definition walks over the Gaussians of one pixel on Python floats, the nearest first. Out of scope: projection,
colours that depend on the view, tiles, stopping early at a pixel that is opaque.
"""

import math

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from katas.lab.expect import expect_close, expect_equal, expect_refused
from katas.lab.laws import STANDING_LAWS, gradients_are_finite, gradients_are_right
from katas.lab.strategies import normal, seeds
from katas.splatting.given.painted import conics_of, scattered, uniform
from katas.splatting.given.views import rows
from katas.splatting.projection import ProjectedGaussians
from katas.splatting.rasterizer import alphas_at, rasterize

F64 = torch.float64


def gaussians2d(means2d, depths=None, conics=(2, 0, 2), radii=None):
    """Projected Gaussians by hand. The conic (2, 0, 2) is that of a round one: alpha = opacity * exp(-distance²)."""
    count = len(means2d)
    depths = rows(*depths) if depths else torch.ones(count, dtype=F64)
    radii = torch.tensor(radii or [9] * count)
    a, b, c = conics
    covar2d = torch.linalg.inv(rows((a, b), (b, c))).repeat(count, 1, 1)
    return ProjectedGaussians(rows(*means2d), depths, covar2d, rows(conics).repeat(count, 1), radii)


def drawn(seed, count, channels, width, height, size=2.0):
    opacities = uniform(count, seed=seed + 4) * rows(1, 1, 0.01)[torch.arange(count) % 3]  # some are below 1/255
    opacities[::5] = 1
    projected = ProjectedGaussians(**scattered(seed, count, width, height, size))
    return projected, normal(count, channels, seed=seed + 5), opacities, normal(channels, seed=seed + 6)


# --- the definition ---------------------------------------------------------------------------------------------------


def alpha_of(mean, conic, opacity, point):
    (a, b, c), dx, dy = conic, point[0] - mean[0], point[1] - mean[1]
    alpha = opacity * math.exp(-(a * dx**2 + 2 * b * dx * dy + c * dy**2) / 2)
    return alpha if alpha >= 1 / 255 else 0.0


def image_of(projected, colors, opacities, background, width, height):
    means2d, depths, _, conics, radii = (field.tolist() for field in projected)
    colors, opacities, pixels = colors.tolist(), opacities.tolist(), []
    nearest_first = sorted((n for n in range(len(depths)) if radii[n] > 0), key=lambda n: (depths[n], n))
    for point in [(j + 0.5, i + 0.5) for i in range(height) for j in range(width)]:
        pixel, left = [0.0] * len(background), 1.0
        for n in nearest_first:
            alpha = min(alpha_of(means2d[n], conics[n], opacities[n], point), 0.99)
            pixel = [sum_ + left * alpha * channel for sum_, channel in zip(pixel, colors[n], strict=True)]
            left *= 1 - alpha
        pixels.append([sum_ + left * float(behind) for sum_, behind in zip(pixel, background, strict=True)])
    return torch.tensor(pixels, dtype=F64).reshape(height, width, len(background))


# --- worked examples --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("law, point, exponent", [
    # mean (2, 1), conic (0.5, 0.25, 2)
    ("at the mean alpha is the opacity", (2, 1), 0),
    ("a step in x: a / 2", (3, 1), 0.25),
    ("a step in y: c / 2", (2, 2), 1),
    ("both: a / 2 + b + c / 2", (3, 2), 1.5),
    ("b has the sign of dx · dy", (1, 2), 1),
    ("two steps in x: 4 a / 2", (0, 1), 1),
])  # fmt: skip
def test_alpha_at_a_point_by_hand(law, point, exponent):
    for corner, dtype, where in ((0, F64, ""), (4096, torch.float32, ", in float32 far from the corner as well")):
        mean, at, conic = (x.to(dtype) for x in (corner + rows((2, 1)), corner + rows(point), rows((0.5, 0.25, 2))))
        got = alphas_at(means2d=mean, conics=conic, opacities=rows(0.8), points=at)
        expect_close(got, [[0.8 * math.exp(-exponent)]], law + where, dtype=dtype)


def test_an_alpha_below_a_255th_is_0():
    opacities = rows(0.9 / 255, 0.99 / 255, 1.01 / 255, 1)
    got = alphas_at(torch.zeros(4, 2, dtype=F64), rows((2, 0, 2)).repeat(4, 1), opacities, rows((0, 0), (0, 2.1)))
    at_mean, beside = [0, 0, 1.01 / 255, 1], [0, 0, 0, math.exp(-(2.1**2))]  # the last one is 3.1 / 255
    expect_close(got, [at_mean, beside], "skipped below 1/255, unchanged above")


def test_where_a_pixel_is():
    # sharp Gaussians: at the next pixel centre alpha is exp(-8) and less
    projected = gaussians2d([(2.5, 0.5), (0.5, 1.5)], conics=(16, 0, 16))
    got = rasterize(projected=projected, colors=rows((1, 2), (3, 4)), opacities=rows(0.5, 0.5), background=rows(0, 8),
                    width=3, height=2)  # fmt: skip
    expected = [[(0, 8), (0, 8), (0.5, 5)], [(1.5, 6), (0, 8), (0, 8)]]
    expect_close(got, expected, "the centre of row i and column j is (j + 0.5, i + 0.5): row first, x is the column")


@pytest.mark.parametrize("law, depths, radii, opacities, pixel", [
    # colours 1, 10, 100 on 1000, all at the centre of the only pixel
    ("the smallest depth is in front", [3, 2, 5], [9, 9, 9], [0.5, 0.5, 0.5], 5 + 0.25 + 12.5 + 125),
    ("at equal depths the lower index is in front", [4, 1, 1], [9, 9, 9], [0.5, 0.5, 0.5], 5 + 25 + 0.125 + 125),
    ("what has no radius is not drawn", [1, 2, 3], [0, 1, 9], [0.5, 0.5, 0.5], 5 + 25 + 250),
    ("alpha is at most 0.99", [1, 2, 3], [9, 9, 9], [1, 0, 0.5], 0.99 + 0.5 + 5),
    ("faint ones are not drawn", [1, 2, 3], [9, 9, 9], [0.003, 0.5, 0.003], 5 + 500),
])  # fmt: skip
def test_one_pixel_by_hand(law, depths, radii, opacities, pixel):
    projected = gaussians2d([(0.5, 0.5)] * 3, depths, radii=radii)
    got = rasterize(projected, rows((1,), (10,), (100,)), rows(*opacities), rows(1000), 1, 1)
    expect_close(got, [[[pixel]]], law)


@pytest.mark.parametrize("width, height, radii", [(4, 3, []), (1, 7, [0, 0])])
def test_nothing_to_draw_is_background(width, height, radii):
    projected, colors, opacities, background = drawn(0, len(radii), 5, width, height)
    got = rasterize(projected._replace(radii=torch.tensor(radii).long()), colors, opacities, background, width, height)
    expect_close(got, background.expand(height, width, 5), "no Gaussian is drawn: every pixel is background")


# --- agreement with the definition, and a law -------------------------------------------------------------------------


@given(
    seeds(), st.sampled_from([1, 2, 6, 11]), st.sampled_from([1, 2, 3, 5]),
    st.sampled_from([(1, 1), (7, 4), (3, 9), (1, 30), (120, 1)]), st.sampled_from([0.5, 2, 30]),
)  # fmt: skip
@example(0, 1500, 3, (3, 2), 2)
@example(1, 9, 3, (700, 1), 200)
def test_images_agree_with_the_definition(seed, count, channels, image, size):
    given_ = *drawn(seed, count, channels, *image, size), *image
    expect_close(rasterize(*given_), image_of(*given_), "its Gaussians front to back, then the background")


@pytest.mark.parametrize("batches", [[(), (), (), ()], [(3,), (3,), (3,), (3,)], [(2, 3), (3,), (2, 1), ()],
                                     [(), (), (), (2, 3)], [(1, 3), (2, 1), (3,), (1, 1)]])  # fmt: skip
def test_alphas_of_batches(batches):
    shapes, batch = [(4, 2), (4, 3), (4,), (5, 2)], torch.broadcast_shapes(*batches)
    fields = [0.6 * normal(*own, *shape, seed=n) for n, (own, shape) in enumerate(zip(batches, shapes, strict=True))]
    fields[1:3] = fields[1].tanh() / 2 + rows(1, 0, 1), fields[2].sigmoid()  # conics of Gaussians
    rows_ = [x.expand(*batch, *shape).reshape(-1, *shape).tolist() for x, shape in zip(fields, shapes, strict=True)]
    expected = [[[alpha_of(m, c, o, point) for m, c, o in zip(*gaussians, strict=True)] for point in points]
                for *gaussians, points in zip(*rows_, strict=True)]  # fmt: skip
    expect_close(alphas_at(*fields), torch.tensor(expected, dtype=F64).reshape(*batch, 5, 4), "pair by pair")


@pytest.mark.parametrize("axis", [0, 1])
def test_a_mirrored_scene_gives_a_mirrored_image(axis):
    width, height = 9, 6
    projected, *rest = drawn(3, 30, 3, width, height)
    means2d, conics = projected.means2d.clone(), projected.conics * rows(1, -1, 1)
    means2d[:, axis] = (width, height)[axis] - means2d[:, axis]
    got = rasterize(projected._replace(means2d=means2d, conics=conics), *rest, width, height)
    expect_close(got, image_of(projected, *rest, width, height).flip(1 - axis), "pixel centres lie symmetrically")


# --- gradients --------------------------------------------------------------------------------------------------------


def test_gradients_are_those_of_the_formula():
    # wide and bright Gaussians, at different depths: no alpha is near 1/255 or above 0.99
    projected = gaussians2d([(1.3, 0.4), (2.9, 1.1), (0.2, 2.2)], [3, 1, 2])._replace(radii=torch.tensor([9, 9, 0]))
    conics, opacities = rows((0.3, 0.1, 0.2), (0.2, -0.1, 0.4), (0.3, 0, 0.3)), rows(0.7, 0.5, 0.6)

    def image(means2d, conics, colors, opacities, background):
        return rasterize(projected._replace(means2d=means2d, conics=conics), colors, opacities, background, 3, 2)

    gradients_are_right(image, projected.means2d, conics, normal(3, 2), opacities, normal(2, seed=1))


def test_what_is_skipped_has_no_gradient():
    opacities, conics = rows(0.003, 0.9, 0).requires_grad_(), rows((2, 0, 2)).expand(3, 3)
    got = alphas_at(torch.zeros(3, 2, dtype=F64), conics, opacities, rows((0, 0), (2.5, 0)))
    expect_close(torch.autograd.grad(got.sum(), [opacities]), [[0, 1, 0]], "0.003, 0 and 0.9 · exp(-2.5²) are faint")


def test_gradients_of_a_thousand_gaussians_are_finite():
    projected, *rest = drawn(0, 1000, 3, 3, 2, size=300.0)

    def image(means2d, conics, *rest):
        return rasterize(projected._replace(means2d=means2d, conics=conics), *rest, 3, 2)

    means2d, conics = projected.means2d.float(), projected.conics.float()
    gradients_are_finite(image, means2d, conics, *(x.float() for x in rest))
    assert image(means2d, conics, *rest).dtype == torch.float32, "the dtype is that of means2d"


# --- refusals and standing laws ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["width", "height"])
@pytest.mark.parametrize("size", [0, -3])
def test_an_image_without_pixels_is_refused(name, size):
    expect_refused(name, lambda: rasterize(*drawn(0, 4, 3, 5, 2), **{"width": 5, "height": 2, name: size}))


@pytest.mark.parametrize("law", STANDING_LAWS)
def test_standing_laws(law):
    law(alphas_at, normal(5, 2), conics_of(torch.eye(2, dtype=F64).repeat(5, 1, 1)), uniform(5, seed=1), normal(4, 2))
    law(rasterize, *drawn(0, 5, 4, 7, 2), 7, 2)
