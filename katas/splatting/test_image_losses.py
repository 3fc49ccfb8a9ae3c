"""image_losses: PSNR, SSIM and the loss that trains a scene, one number per image of the batch.

The definition takes each channel of each image alone. Its weighted means come from scipy's Gaussian filter with zeros
outside the image. Out of scope: other windows, other ranges than [0, 1], multi-scale SSIM.
"""

import math

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from katas.lab.expect import expect_close, expect_refused
from katas.lab.laws import STANDING_LAWS, gradients_are_finite, gradients_are_right
from katas.lab.strategies import rng, seeds
from katas.splatting.image_losses import photometric_loss, psnr, ssim

F64 = torch.float64
CENTRE = 1 / sum(math.exp(-(d**2) / 4.5) for d in range(-5, 6))  # of eleven weights with a standard deviation of 1.5
ASIDE = CENTRE * math.exp(-1 / 4.5)  # the weight of the next pixel
SIZES = [(1, 1), (1, 7), (5, 12), (13, 4), (17, 24)]
PAIRS = ["different", "near", "dark", "inverted", "flat", "shifted"]


def drawn(seed, pair, *shape):
    """Two images: noise whose brightness depends on the channel, and one that is somehow related to it."""
    noise, other = torch.rand(2, *shape, generator=rng(seed), dtype=F64)
    target = noise * torch.linspace(0.99, 0.2, shape[1], dtype=F64)[:, None, None]
    return {
        "different": (other, target),
        "near": (target + 1e-3 * other, target),
        "dark": (1e-3 * other, 1e-3 * target),
        "inverted": (1 - target, target),
        "close": (torch.full_like(target, 0.9), torch.full_like(target, 0.87)),
        "flat": (torch.full_like(target, 0.7), torch.full_like(target, 0.3)),
        "shifted": (target.roll(1, dims=3), target),
    }[pair]


# --- the definition ---------------------------------------------------------------------------------------------------


def plane_ssim(x, y):
    """Of one channel. A radius of 3.5 · 1.5 pixels is rounded to 5, so that the window has 11 × 11."""

    def around(plane):
        return gaussian_filter(plane, sigma=1.5, truncate=3.5, mode="constant", cval=0.0)

    mean_x, mean_y = around(x), around(y)
    var_x, var_y, cov = around(x * x) - mean_x**2, around(y * y) - mean_y**2, around(x * y) - mean_x * mean_y
    light = (2 * mean_x * mean_y + 1e-4) / (mean_x**2 + mean_y**2 + 1e-4)
    structure = (2 * cov + 9e-4) / (var_x + var_y + 9e-4)
    return float((light * structure).mean())


def images_ssim(pred, target):
    rows = zip(pred.double().numpy(), target.double().numpy(), strict=True)
    return torch.tensor([np.mean([plane_ssim(*pair) for pair in zip(*row, strict=True)]) for row in rows], dtype=F64)


def l1(pred, target):
    return torch.stack([sum((a - b).abs().flatten()) / a.numel() for a, b in zip(pred, target, strict=True)])


def images_psnr(pred, target):
    pairs = zip(pred.flatten(1).tolist(), target.flatten(1).tolist(), strict=True)
    errors = [sum((a - b) ** 2 for a, b in zip(*pair, strict=True)) / len(pair[0]) for pair in pairs]
    return torch.tensor([10 * math.log10(1 / error) if error else math.inf for error in errors], dtype=F64)


# --- worked examples --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("law, pred, expected", [
    ("off by 0.1 everywhere: mse 1e-2", [[[0.1, 0.1]], [[0.1, 0.1]]], 20),
    ("off by 0.2 in one of four: mse 1e-2", [[[0.2, 0]], [[0, 0]]], 20),
    ("off by 1e-3 everywhere: mse 1e-6", [[[1e-3, 1e-3]], [[1e-3, 1e-3]]], 60),
    ("identical", [[[0, 0]], [[0, 0]]], math.inf),
])  # fmt: skip
def test_psnr_by_hand(law, pred, expected):
    pred = torch.tensor([pred, [[[1, 1]], [[1, 1]]]], dtype=F64)
    got = psnr(pred=pred, target=torch.zeros_like(pred))
    expect_close(got, [expected, 0], f"-10 log10(mse), image by image; {law}")


def test_ssim_of_two_pixels_by_hand():
    # 0.8, 0.4 against 0.2, 0.6: a pixel weighs CENTRE² for itself and CENTRE · ASIDE for its neighbour
    near, far = CENTRE * CENTRE, CENTRE * ASIDE
    values = []
    for w, v in ((near, far), (far, near)):
        mean_x, mean_y = 0.8 * w + 0.4 * v, 0.2 * w + 0.6 * v
        var_x, var_y = 0.64 * w + 0.16 * v - mean_x**2, 0.04 * w + 0.36 * v - mean_y**2
        cov = 0.16 * w + 0.24 * v - mean_x * mean_y
        light = (2 * mean_x * mean_y + 0.01**2) / (mean_x**2 + mean_y**2 + 0.01**2)
        values.append(light * (2 * cov + 0.03**2) / (var_x + var_y + 0.03**2))
    pred, target = torch.tensor([[[[0.8, 0.4]]]], dtype=F64), torch.tensor([[[[0.2, 0.6]]]], dtype=F64)
    expect_close(ssim(pred=pred, target=target), [sum(values) / 2], "light times structure, with zeros outside")


def test_the_loss_weighs_l1_and_ssim():
    pred, target = drawn(0, "different", 2, 3, 5, 7)
    absolute, dissimilar = l1(pred, target), 1 - images_ssim(pred, target)
    got = photometric_loss(pred=pred, target=target)
    expect_close(got, 0.8 * absolute + 0.2 * dissimilar, "lambda_dssim is 0.2 unless told otherwise")
    expect_close(photometric_loss(pred, target, lambda_dssim=0), absolute, "lambda_dssim = 0 is L1")
    expect_close(photometric_loss(pred, target, lambda_dssim=1), dissimilar, "lambda_dssim = 1 is 1 - SSIM")


# --- agreement with the definition, and laws --------------------------------------------------------------------------


@example(seed=0, pair="different", batch=2, channels=3, size=(61, 40))
@given(seeds(), st.sampled_from(PAIRS), st.integers(1, 3), st.sampled_from([1, 3, 4]), st.sampled_from(SIZES))
def test_all_three_agree_with_the_definition(seed, pair, batch, channels, size):
    pred, target = drawn(seed, pair, batch, channels, *size)
    similar = images_ssim(pred, target)
    expect_close(psnr(pred, target), images_psnr(pred, target), "the mse is over pixels and channels of one image")
    expect_close(ssim(pred, target), similar, "an 11 × 11 Gaussian window around every pixel, zeros outside")
    expected = 0.3 * l1(pred, target) + 0.7 * (1 - similar)
    expect_close(photometric_loss(pred, target, lambda_dssim=0.7), expected, "(1 - 0.7) · L1 + 0.7 · (1 - SSIM)")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, F64])
def test_identical_images_are_perfect(dtype, size):
    image = torch.rand(2, 3, *size, generator=rng(1), dtype=F64).to(dtype)
    image[1] = 0  # black: no variance anywhere
    one = torch.ones(2, dtype=dtype)
    expect_close(psnr(image, image.clone()), math.inf * one, "no noise: infinite")
    expect_close(ssim(image, image.clone()), one, "each window equals its counterpart, at the border too")
    expect_close(photometric_loss(image, image.clone()), 0 * one, "nothing to learn", rtol=0, atol=2e-7)
    gradients_are_finite(lambda pred: photometric_loss(pred, image), image)


@pytest.mark.parametrize("dtype, of_target, rtol", [
    (torch.float16, torch.float16, 2e-3), (torch.bfloat16, torch.bfloat16, 1e-2), (torch.float32, torch.float32, 1e-4),
    (torch.bfloat16, torch.float32, 1e-2),
])  # fmt: skip
@pytest.mark.parametrize("pair, weight", [("near", 0), ("dark", 0.2), ("inverted", 0.2), ("dark", 1), ("close", 0.998)])
def test_small_dtypes_are_computed_in_float32(pair, weight, dtype, of_target, rtol):
    pred, target = drawn(3, pair, 2, 3, 9, 14)
    pred, target = pred.to(dtype), target.to(of_target)
    wide = pred.double(), target.double()
    similar = images_ssim(*wide)
    law = f"{dtype} images lose nothing but the last rounding"
    expect_close(psnr(pred, target), images_psnr(*wide).to(dtype), f"psnr: {law}", rtol=rtol, atol=0)
    expect_close(ssim(pred, target), similar.to(dtype), f"ssim: {law}", rtol=rtol, atol=1e-4)
    expected = ((1 - weight) * l1(*wide) + weight * (1 - similar)).to(dtype)
    got = photometric_loss(pred, target, lambda_dssim=weight)
    expect_close(got, expected, f"photometric_loss: {law}", rtol=2 * rtol, atol=5e-6)


# --- gradients --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lambda_dssim", [0, 0.2, 1])
@pytest.mark.parametrize("pair", ["different", "dark"])
def test_gradients_are_those_of_the_formula(pair, lambda_dssim):
    pred, target = drawn(5, pair, 2, 2, 3, 4)
    gradients_are_right(lambda pred: photometric_loss(pred, target, lambda_dssim=lambda_dssim), pred)
    gradients_are_right(lambda pred: ssim(pred, target), pred)


@pytest.mark.parametrize("loss", [ssim, photometric_loss])
def test_the_target_takes_no_gradient(loss):
    pred, target = (image.requires_grad_() for image in drawn(2, "different", 1, 3, 6, 5))
    got = torch.autograd.grad(loss(pred, target).sum(), (pred, target), allow_unused=True)
    assert got[1] is None or not got[1].any(), "the photograph does not learn from the rendering"


# --- refusals and standing laws ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", [psnr, ssim, photometric_loss])
def test_pred_decides_the_dtype(loss):
    pred, target = drawn(0, "different", 2, 3, 4, 5)
    assert loss(pred.float(), target).dtype == torch.float32, "a float32 rendering, a float64 photograph: float32"
    assert loss(pred, target.float()).dtype == F64, "a float64 rendering, a float32 photograph: float64"


@pytest.mark.parametrize("lambda_dssim", [-0.1, 1.1, float("nan")])
def test_a_weight_out_of_range_is_refused(lambda_dssim):
    images = drawn(0, "different", 1, 3, 4, 5)
    expect_refused("lambda_dssim", lambda: photometric_loss(*images, lambda_dssim=lambda_dssim))


@pytest.mark.parametrize("law", STANDING_LAWS)
@pytest.mark.parametrize("loss", [psnr, ssim, photometric_loss])
def test_standing_laws(loss, law):
    law(loss, *drawn(4, "different", 5, 3, 4, 6))
