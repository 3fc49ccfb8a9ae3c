"""compositing: the colour of pixels, from samples that are sorted by depth, nearest first.

The definition is a loop over the samples of one pixel, on Python floats. Out of scope: sorting, skipping faint samples,
stopping early. Those belong to a rasterizer.
"""

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from katas.lab.expect import expect_close, expect_refused
from katas.lab.laws import STANDING_LAWS, gradients_are_finite, gradients_are_right
from katas.lab.strategies import normal, rng, seeds
from katas.splatting.compositing import composite

F64 = torch.float64
KINDS = ["any", "faint", "opaque", "empty"]


def float64(*numbers):
    return torch.tensor(numbers, dtype=F64)


def uniform(*shape, seed=0, dtype=F64):
    return torch.rand(shape, generator=rng(seed), dtype=dtype)


def drawn_alphas(seed, kind, *shape):
    alphas = uniform(*shape, seed=seed)
    some_opaque = alphas.where(alphas < 0.6, 1)
    return {"any": alphas, "faint": 1e-3 * alphas, "opaque": some_opaque, "empty": 0 * alphas}[kind]


# --- the definition ---------------------------------------------------------------------------------------------------


def pixel(alphas, colors, background, max_alpha):
    """One pixel, front to back: what is left of the light goes on to the next sample."""
    left, color, weights = 1.0, [0.0] * len(background), []
    for alpha, sample in zip(alphas, colors, strict=True):
        alpha = min(alpha, max_alpha)
        weights.append(left * alpha)
        color = [sum_ + left * alpha * channel for sum_, channel in zip(color, sample, strict=True)]
        left *= 1 - alpha
    return [sum_ + left * channel for sum_, channel in zip(color, background, strict=True)], weights, left


def by_pixel(alphas, colors, background, max_alpha=0.99):
    """Colour, weights and transmittance of all pixels, as float64 tensors."""
    *batch, count = alphas.shape
    channels = background.shape[-1]
    all_colors = colors.expand(*batch, count, channels).reshape(-1, count, channels)
    backgrounds = background.expand(*batch, channels).reshape(-1, channels)
    rows = zip(alphas.reshape(-1, count).tolist(), all_colors.tolist(), backgrounds.tolist(), strict=True)
    parts = zip(*[pixel(*row, max_alpha) for row in rows], strict=True)
    shapes = [(*batch, channels), (*batch, count), tuple(batch)]
    return tuple(torch.tensor(part, dtype=F64).reshape(shape) for part, shape in zip(parts, shapes, strict=True))


# --- worked examples --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("law, alphas, options, color, weights, transmittance", [
    # colours (1, 0), (0, 4), (8, 0) before (0, 16)
    ("each covers a part of what is left", [0.5, 0.25, 0.5], {}, [0.5 + 8 * 0.1875, 4 * 0.125 + 16 * 0.1875],
     [0.5, 0.5 * 0.25, 0.375 * 0.5], 0.1875),
    ("the first sample is in front", [0.75, 0.5, 0], {}, [0.75, 4 * 0.125 + 16 * 0.125], [0.75, 0.125, 0], 0.125),
    ("an alpha of 1 is cut to 0.99", [0.5, 1, 0.5], {}, [0.5 + 8 * 0.0025, 4 * 0.495 + 16 * 0.0025],
     [0.5, 0.495, 0.0025], 0.0025),
    ("max_alpha = 1: nothing behind it", [0.5, 1.5, 0.5], {"max_alpha": 1}, [0.5, 4 * 0.5], [0.5, 0.5, 0], 0),
    ("max_alpha = 0.75", [0.8, 0.5, 0], {"max_alpha": 0.75}, [0.75, 2.5], [0.75, 0.125, 0], 0.125),
    ("nothing there: background", [0, 0, 0], {}, [0, 16], [0, 0, 0], 1),
])  # fmt: skip
def test_three_samples_by_hand(law, alphas, options, color, weights, transmittance):
    colors = float64([1, 0], [0, 4], [8, 0])
    got = composite(alphas=float64(*alphas), colors=colors, background=float64(0, 16), **options)
    expect_close(got.color, color, law)
    expect_close(got.weights, weights, f"weights: {law}")
    expect_close(got.transmittance, transmittance, f"transmittance: {law}")


@pytest.mark.parametrize("batch", [(), (3,), (2, 4)])
def test_without_samples_the_pixel_is_background(batch):
    background = float64(0.2, 0.7)
    got = composite(torch.zeros(*batch, 0, dtype=F64), torch.zeros(*batch, 0, 2, dtype=F64), background)
    expect_close(got.color, background.expand(*batch, 2), "no sample: the background as it is")
    expect_close(got.transmittance, torch.ones(batch, dtype=F64), "all light passes")
    assert got.weights.shape == (*batch, 0), f"no sample, no weight: {tuple(got.weights.shape)}"


# --- agreement with the definition, and laws --------------------------------------------------------------------------


@example(seed=0, kind="faint", batch=(2,), count=1000, channels=3, axes=(0, 0), max_alpha=0.99)
@given(
    seed=seeds(),
    kind=st.sampled_from(KINDS),
    batch=st.sampled_from([(), (1,), (4,), (2, 3), (3, 2, 2)]),
    count=st.sampled_from([1, 2, 3, 7]),
    channels=st.sampled_from([1, 2, 3, 5]),
    axes=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    max_alpha=st.sampled_from([0.99, 0.999, 0.5, 1]),
)
def test_pixels_agree_with_the_definition(seed, kind, batch, count, channels, axes, max_alpha):
    of_colors, of_background = (batch[min(left_out, len(batch)) :] for left_out in axes)  # batch axes that they have
    alphas = drawn_alphas(seed, kind, *batch, count)
    colors = normal(*of_colors, count, channels, seed=seed + 1)
    background = 5 + normal(*of_background, channels, seed=seed + 2)
    got = composite(alphas, colors, background, max_alpha=max_alpha)
    expected = by_pixel(alphas, colors, background, max_alpha)
    expect_close(tuple(got), expected, "front to back, every pixel and channel for itself")


@pytest.mark.parametrize("of_colors, of_background", [((1, 3), (1, 1)), ((2, 1), (2, 1)), ((1,), (3,))])
def test_batch_axes_of_size_1_are_broadcast(of_colors, of_background):
    alphas, colors, background = uniform(2, 3, 4), normal(*of_colors, 4, 5), normal(*of_background, 5, seed=1)
    got = composite(alphas, colors, background)
    expect_close(tuple(got), by_pixel(alphas, colors, background), "an axis of size 1 stands for every pixel along it")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_white_on_white_stays_white(dtype, kind):
    alphas, white = drawn_alphas(0, kind, 3, 1000).to(dtype), torch.ones(3, 1000, 2, dtype=dtype)
    got, one = composite(alphas, white, white[0, 0]), white[:, 0]
    total = got.weights.sum(-1) + got.transmittance
    expect_close(total, one[:, 0], "weights and transmittance sum to 1", rtol=1e-5, atol=0)
    expect_close(got.color, one, "so no sample can darken a white pixel", rtol=1e-5, atol=0)


@given(seeds(), st.integers(0, 5), st.sampled_from(KINDS))
def test_a_front_part_over_the_picture_behind(seed, cut, kind):
    alphas, colors, background = drawn_alphas(seed, kind, 2, 6), normal(2, 6, 3, seed=seed), normal(3, seed=seed + 1)
    behind, *_ = by_pixel(alphas[:, cut:], colors[:, cut:], background)
    got = composite(alphas[:, :cut], colors[:, :cut], behind)
    expected, *_ = by_pixel(alphas, colors, background)
    expect_close(got.color, expected, "the colour of the far samples is the background of the near ones")


@pytest.mark.parametrize("dtype, rtol", [(torch.float32, 1e-4), (F64, 1e-9)])
def test_transmittance_keeps_its_digits(dtype, rtol):
    alphas, expected = torch.full((2, 12), 0.9, dtype=dtype), torch.full((2,), 1e-12, dtype=dtype)
    got = composite(alphas, torch.ones(2, 12, 1, dtype=dtype), torch.ones(1, dtype=dtype))
    law = "the product of 1 - alpha, 0.1^12, and the last weight, 0.9 · 0.1^11"
    expect_close([got.transmittance, got.weights[:, -1]], [expected, 9 * expected], law, rtol=rtol, atol=0)


# --- gradients --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("max_alpha", [0.99, 1])
def test_gradients_reach_alphas_colors_and_background(max_alpha):
    alphas = float64([0.3, 0.02, 0.8], [0.05, 0.9, 0.4])
    gradients_are_right(composite, alphas, normal(2, 3, 2), normal(2, seed=1), max_alpha=max_alpha)


def test_above_max_alpha_the_slope_is_0():
    alphas = float64(0.5, 0.995, 1, 0.5).requires_grad_()
    (gradient,) = torch.autograd.grad(composite(alphas, normal(4, 3), normal(3, seed=1)).color.sum(), alphas)
    assert gradient[[0, 3]].all(), f"below 0.99 alphas have a gradient: {gradient.tolist()}"
    expect_close(gradient[1:3], [0, 0], "min(alpha, 0.99) is flat above 0.99")


def test_behind_an_opaque_sample_nothing_has_a_gradient():
    alphas, colors = float64(0.5, 1, 0.3, 1, 0.2).requires_grad_(), float64([2], [5], [11], [23], [47]).requires_grad_()
    got = composite(alphas, colors, float64(1e300), max_alpha=1).color
    expect_close(got, [0.5 * 2 + 0.5 * 5], "an opaque sample hides the brightest background")
    of_alphas, of_colors = torch.autograd.grad(got.sum(), (alphas, colors))
    expect_close(of_alphas[[0, 2, 3, 4]], [2 - 5, 0, 0, 0], "more of the first sample is less of the opaque one")
    expect_close(of_colors, [[0.5], [0.5], [0], [0], [0]], "a colour has its weight as gradient")


@pytest.mark.parametrize("max_alpha", [0.99, 1])
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_a_thousand_samples_are_finite(kind, max_alpha):
    alphas = torch.stack([drawn_alphas(0, kind, 1000), torch.ones(1000, dtype=F64)]).float()
    gradients_are_finite(composite, alphas, normal(2, 1000, 3).float(), torch.ones(3), max_alpha=max_alpha)


# --- refusals and standing laws ---------------------------------------------------------------------------------------


def test_the_alphas_decide_the_dtype():
    alphas, colors, background = uniform(4, 3, dtype=torch.float32), normal(4, 3, 2), normal(2)
    for others in ((colors, background), (colors.half(), background.half())):
        expected = by_pixel(alphas.double(), *(other.double() for other in others))
        got, law = composite(alphas, *others), f"float32 alphas and {others[0].dtype} colours give float32"
        expect_close(tuple(got), tuple(part.float() for part in expected), law)


@pytest.mark.parametrize("max_alpha", [0, -0.5, 1.01, float("nan")])
def test_a_max_alpha_out_of_range_is_refused(max_alpha):
    expect_refused("max_alpha", lambda: composite(uniform(3), normal(3, 2), normal(2), max_alpha=max_alpha))


@pytest.mark.parametrize("law", STANDING_LAWS)
@pytest.mark.parametrize("background", [(5, 3), (3,)])
def test_standing_laws(background, law):
    law(composite, uniform(5, 4), normal(5, 4, 3), normal(*background), max_alpha=0.9)
