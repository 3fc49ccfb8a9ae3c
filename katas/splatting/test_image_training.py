"""image_training: Gaussians fitted to one picture, step by step.

The definition paints the image one Gaussian after the other, lets autograd differentiate its mean absolute error, and
makes the steps of Adam by hand. Out of scope: how good the fit of a photograph gets; the full checks ask that.
"""

import math

import pytest
import torch

from katas.lab.expect import expect_close, expect_equal, expect_refused
from katas.lab.laws import STANDING_LAWS
from katas.splatting.given.gaussians import Gaussians
from katas.splatting.given.painted import painted_scene, random_scene
from katas.splatting.given.views import View, matrix, rows
from katas.splatting.image_training import adam_for, checked_loss, fit_image

F64 = torch.float64
K, BACKGROUND = matrix(8, 6, 5, 3), rows(0.2, 0.5, 0.9)
RATES = {"means": 0.01, "log_scales": 0.03, "quats": 0.05, "opacity_logits": 0.07, "sh": 0.02}


def view(seed=0, width=11, height=7):
    """A picture of noise, and the camera of the scene."""
    return View(torch.rand(height, width, 3, generator=torch.Generator().manual_seed(seed), dtype=F64),
                random_scene(0, 1)[1], K)  # fmt: skip


def fitted(gaussians, target, steps, **options):
    reports = []
    others = {"learning_rates": RATES, "background": BACKGROUND, "lambda_dssim": 0, "callback": reports.append}
    return fit_image(gaussians=gaussians, view=target, steps=steps, **others | options), reports


def on_leaves(gaussians):
    return Gaussians(*(field.clone().requires_grad_() for field in gaussians))


# --- the definition ---------------------------------------------------------------------------------------------------


def l1(gaussians, target):
    image, _ = painted_scene(
        gaussians, target.viewmat, target.K, target.image.shape[1], target.image.shape[0], BACKGROUND
    )
    return (image - target.image).abs().mean()


def fitted_by_hand(gaussians, target, steps, final_lr=0.01, learning_rates=RATES, beta1=0.9, beta2=0.999, eps=1e-15):
    """Adam, written down: the Gaussians after all steps, and the losses before each."""
    fields, losses = on_leaves(gaussians), []
    first, second = ([torch.zeros_like(field) for field in fields] for _ in range(2))
    for step in range(steps):
        losses.append(l1(fields, target))
        for n, gradient in enumerate(torch.autograd.grad(losses[-1], fields)):
            first[n] = beta1 * first[n] + (1 - beta1) * gradient
            second[n] = beta2 * second[n] + (1 - beta2) * gradient**2
            mean, square = first[n] / (1 - beta1 ** (step + 1)), second[n] / (1 - beta2 ** (step + 1))
            rate = learning_rates[fields._fields[n]] * final_lr ** (step / steps)
            fields[n].data -= rate * mean / (square.sqrt() + eps)
    return Gaussians(*(field.detach() for field in fields)), [loss.item() for loss in losses]


# --- the optimizer ----------------------------------------------------------------------------------------------------


def test_a_group_for_each_field():
    gaussians, _ = random_scene(0, 5)
    leaves, optimizer = adam_for(gaussians=gaussians, learning_rates=dict(reversed(RATES.items())))
    assert type(optimizer) is torch.optim.Adam, f"an Adam, not {type(optimizer).__name__}"
    assert [group["name"] for group in optimizer.param_groups] == list(RATES), "the groups are called as the fields"
    for group, leaf in zip(optimizer.param_groups, leaves, strict=True):
        assert [id(held) for held in group["params"]] == [id(leaf)], f"group {group['name']} holds that field"
        assert group["lr"] == RATES[group["name"]], f"{group['name']} has a learning rate of its own: {group['lr']}"
        assert group["eps"] == 1e-15 and group["betas"] == (0.9, 0.999), f"eps 1e-15, betas as usual: {group}"


def test_leaves_are_copies_that_require_a_gradient():
    gaussians, _ = random_scene(0, 5)
    given_ = Gaussians(*(2 * field for field in on_leaves(gaussians)))  # not leaves
    leaves, _ = adam_for(given_, RATES)
    expect_equal(leaves, Gaussians(*(2 * field for field in gaussians)), "the values are those of the Gaussians")
    for name, leaf, old in zip(Gaussians._fields, leaves, given_, strict=True):
        assert leaf.is_leaf and leaf.requires_grad, f"{name} is a leaf that requires a gradient"
        assert leaf.data_ptr() != old.data_ptr(), f"{name} is a copy: a step must not change the caller's Gaussians"


@pytest.mark.parametrize("rates", [{}, RATES | {"colors": 1.0}, {name: 0.1 for name in RATES if name != "quats"}])
def test_learning_rates_of_other_names_are_refused(rates):
    expect_refused("learning_rates", lambda: adam_for(random_scene(0, 3)[0], rates))
    expect_refused("learning_rates", lambda: fitted(random_scene(0, 3)[0], view(), 1, learning_rates=rates))


# --- the loss ---------------------------------------------------------------------------------------------------------


def test_the_loss_is_that_of_one_image():
    image, target = torch.full((9, 4, 3), 0.75, dtype=F64), torch.full((9, 4, 3), 0.25, dtype=F64)
    image[..., 0] = 0.5  # channels last
    got = checked_loss(image=image, target=target, step=1, lambda_dssim=0)
    expect_close(got, (0.25 + 0.5 + 0.5) / 3, "without SSIM it is the mean absolute error")
    low, mixed, high = (checked_loss(image, target, step=1, lambda_dssim=share) for share in (0, 0.2, 1))
    expect_close(mixed, 0.8 * low + 0.2 * high, "a fifth of it is 1 - SSIM")
    expect_close(checked_loss(image, target, step=1), mixed, "a fifth is the default")
    noise, ramp = view(1).image, torch.arange(231.0, dtype=F64).reshape(7, 11, 3) / 231
    whole, *each = (checked_loss(noise[..., c], ramp[..., c], step=1) for c in ([0, 1, 2], [0] * 3, [1] * 3, [2] * 3))
    expect_close(whole, sum(each) / 3, "every channel is judged for itself: the last axis is no row")


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_the_run(value):
    target, seen = view(), []

    def spoil(report):
        seen.append(report.step)
        target.image[3, 4, 1] = value if report.step == 2 else 0.5

    with pytest.raises(FloatingPointError, match="3"):
        fitted(random_scene(0, 3)[0], target, 5, callback=spoil)
    assert seen == [1, 2], f"step 3 has no loss, so no report: {seen}"
    image = torch.full((9, 4, 3), 6e4, dtype=torch.float16)
    with pytest.raises(FloatingPointError, match="17"):  # infinite: a float16 ends at 65504
        checked_loss(image, -image, step=17)


# --- the steps --------------------------------------------------------------------------------------------------------


FAST = {name: 20 * rate for name, rate in RATES.items()}  # too fast: the second loss is the lowest


@pytest.mark.parametrize("steps, options", [
    (1, {}), (4, {}), (6, {"final_lr": 1}), (3, {"final_lr": 0.5}), (4, {"final_lr": 1, "learning_rates": FAST}),
])  # fmt: skip
def test_steps_agree_with_the_definition(steps, options):
    gaussians, target = random_scene(0, 8)[0], view()
    got, reports = fitted(gaussians, target, steps, **options)
    expected, losses = fitted_by_hand(gaussians, target, steps, **options)
    expect_close(
        [report.loss for report in reports], losses, "the loss before each step, of the whole image", rtol=1e-9, atol=0
    )
    for name, *pair in zip(Gaussians._fields, got, expected, strict=True):
        expect_close(*pair, f"{name} after {steps} steps of Adam, lr · final_lr ** (s / steps)", rtol=1e-6, atol=1e-8)


def test_a_gaussian_is_recovered():
    # one that is moved, too small, turned, too faint and of another colour, in front of a wall of another colour
    turn, color = rows((1, 0.3, -0.2, 0.1)), rows([(1, -1, 0.5)])
    truth = Gaussians(rows((0.1, -0.2, 0.1)), rows((-0.6, -1.2, -0.9)), turn, rows(2), color)
    camera = view(width=24, height=16)._replace(K=matrix(20, 20, 12, 8))
    image, at = painted_scene(truth, camera.viewmat, camera.K, 24, 16, BACKGROUND)
    start = Gaussians(rows((0.3, 0, 0.2)), rows((-1, -1, -1)), rows((1, 0, 0, 0)), rows(0), 0 * color)
    rates = {name: 0.05 for name in RATES}
    got, reports = fitted(start, camera._replace(image=image.detach()), 150, learning_rates=rates, lambda_dssim=0.2)
    losses = reports[0].loss, reports[-1].loss
    assert losses[1] < losses[0] / 50, f"the picture is found: the loss falls from {losses[0]:.4f} to {losses[1]:.4f}"
    _, found = painted_scene(got, camera.viewmat, camera.K, 24, 16, BACKGROUND)
    expect_close(found.means2d, at.means2d, "the Gaussian is where it was", rtol=0, atol=0.1)
    expect_close(found.conics, at.conics, "and has its shape", rtol=0.1, atol=0.02)


def test_a_fifth_of_the_loss_is_ssim_unless_asked():
    shares = [{"lambda_dssim": 0}, {}, {"lambda_dssim": 0.5}, {"lambda_dssim": 1}]
    options, losses = {"steps": 1, "learning_rates": RATES, "background": BACKGROUND}, []
    for share in shares:
        fit_image(random_scene(0, 3)[0], view(), callback=lambda report: losses.append(report.loss), **options, **share)
    low, default, half, high = losses
    expect_close(default, 0.8 * low + 0.2 * high, "0.8 L1 + 0.2 (1 - SSIM) is the default")
    expect_close(half, 0.5 * low + 0.5 * high, "lambda_dssim is passed on")
    assert abs(high - low) > 0.1, f"L1 and 1 - SSIM are not the same: {low}, {high}"


def test_reports_come_after_the_steps():
    _, reports = fitted(random_scene(0, 3)[0], view(), 3)
    assert [report.step for report in reports] == [1, 2, 3], f"a report after each step: {reports}"
    assert all(type(report.step) is int and type(report.loss) is float for report in reports), (
        f"Python numbers: {reports}"
    )


# --- refusals and standing laws ---------------------------------------------------------------------------------------


def test_without_steps_the_gaussians_come_back():
    gaussians, _ = random_scene(0, 4)
    got = fit_image(on_leaves(gaussians), view(), steps=0, learning_rates=RATES, background=BACKGROUND)
    expect_equal(got, gaussians, "no step, the same Gaussians")
    shared = [
        name for name, new, old in zip(got._fields, got, gaussians, strict=True) if new.data_ptr() == old.data_ptr()
    ]
    assert not shared and not any(field.requires_grad for field in got), f"copies without a gradient: {shared}"


@pytest.mark.parametrize("options", [{"steps": -1}, {"final_lr": 0}, {"final_lr": 1.01}, {"final_lr": math.nan}])
def test_options_out_of_range_are_refused(options):
    options = {"steps": 2, "learning_rates": RATES, "background": BACKGROUND, **options}
    (name,) = options.keys() & ({"final_lr"} if "final_lr" in options else {"steps"})
    expect_refused(name, lambda: fit_image(random_scene(0, 3)[0], view(), **options))


@pytest.mark.parametrize("law", STANDING_LAWS)
def test_standing_laws(law):
    law(fit_image, random_scene(0, 5)[0], view(), steps=2, learning_rates=RATES, background=BACKGROUND)
