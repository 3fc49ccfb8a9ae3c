"""scene_training: Gaussians fitted to many views, followed step by step.

The definition paints every view (given/painted.py), makes the steps of Adam by hand, and clones, prunes and resets row
by row. Splitting draws random numbers, so there only rows and scales are followed. Out of scope: how good the fit of a
scene gets; the full checks ask that.
"""

import math

import pytest
import torch

from katas.lab.expect import expect_close, expect_equal, expect_refused
from katas.lab.laws import STANDING_LAWS
from katas.lab.strategies import normal, rng
from katas.splatting.given.gaussians import Gaussians
from katas.splatting.given.painted import painted_scene, random_scene, uniform
from katas.splatting.given.views import View, matrix, rows
from katas.splatting.scene_training import DensityControl, fit_scene

F64, INF = torch.float64, math.inf
BACKGROUND = rows(0.2, 0.5, 0.9)
RATES = {"means": 0.01, "log_scales": 0.03, "quats": 0.05, "opacity_logits": 0.07, "sh": 0.02}
STILL = dict.fromkeys(RATES, 0.0)
SIZES = [(9, 7), (16, 5), (4, 12), (6, 6)]


def views():
    """Pictures of noise of several sizes, from several sides. The last one sees only a part of the scene."""
    return [
        View(uniform(height, width, 3, seed=n), random_scene(n, 1)[1],
             matrix(width, height, width / 3 if n < 3 else -width, height / 2))
        for n, (width, height) in enumerate(SIZES)
    ]  # fmt: skip


def scene(count=6, seed=0):
    gaussians, _ = random_scene(seed, count, size=-0.7)
    return gaussians


def fitted(gaussians, steps, **options):
    reports = []
    others = {"learning_rates": RATES, "background": BACKGROUND, "generator": rng(3), "lambda_dssim": 0,
              "callback": reports.append}  # fmt: skip
    return fit_scene(gaussians=gaussians, steps=steps, **{"views": views()} | others | options), reports


# --- the definition ---------------------------------------------------------------------------------------------------


class ByHand:
    """The Gaussians, their moments in Adam, and the sums of norms, row by row."""

    def __init__(self, gaussians, rates, density):
        self.fields, self.rates, self.density = [field.clone() for field in gaussians], rates, density
        self.moments = [[torch.zeros_like(field), torch.zeros_like(field)] for field in gaussians]
        self.sums = torch.zeros(2, len(gaussians.means), dtype=F64)

    def step(self, t, view, degree, factor):
        height, width, _ = view.image.shape
        leaves = Gaussians(*(field.requires_grad_() for field in self.fields))
        used = leaves._replace(sh=leaves.sh[:, : (degree + 1) ** 2])
        image, projected = painted_scene(used, view.viewmat, view.K, width, height, BACKGROUND)
        loss = (image - view.image).abs().mean()
        of_means2d, *gradients = torch.autograd.grad(loss, [projected.means2d, *leaves])
        for n, gradient in enumerate(gradients):
            first, second = self.moments[n]
            first.mul_(0.9).add_(0.1 * gradient)
            second.mul_(0.999).add_(0.001 * gradient**2)
            move = first / (1 - 0.9**t) / ((second / (1 - 0.999**t)).sqrt() + 1e-15)
            self.fields[n] = self.fields[n].detach() - self.rates[Gaussians._fields[n]] * factor * move
        if self.density is not None and t < self.density.until:
            norms, seen = (of_means2d * rows(width, height) / 2).norm(dim=1), projected.radii > 0
            self.sums += torch.stack((norms * seen, seen.double()))
            self.control(t)
        return loss.item()

    def control(self, t):
        count, control = len(self.fields[0]), self.density
        if t > control.start and t % control.every == 0:
            chosen = [
                n
                for n in range(count)
                if self.sums[1, n] and self.sums[0, n] / self.sums[1, n] >= control.grad_threshold
            ]
            lasting = [n for n in range(count) if self.fields[3][n].sigmoid() >= control.min_opacity]
            stay, clones = lasting, [n for n in chosen if n in lasting]
            self.fields = [field[stay + clones] for field in self.fields]
            self.moments = [[torch.cat((part[stay], 0 * part[clones])) for part in pair] for pair in self.moments]
            self.sums = torch.zeros(2, len(stay + clones), dtype=F64)
        if t % control.reset_every == 0:
            self.fields[3] = self.fields[3].clamp(max=-math.log(99))  # an opacity of 0.01
            self.moments[3] = [0 * part for part in self.moments[3]]


def fitted_by_hand(gaussians, reports, rates=RATES, density=None, sh_every=1000, final_lr=0.01):
    by_hand, found, steps = ByHand(gaussians, rates, density), [], len(reports)
    for s, report in enumerate(reports):
        loss = by_hand.step(s + 1, views()[report.view], min(s // sh_every, 1), final_lr ** (s / steps))
        found.append((loss, len(by_hand.fields[0])))
    return by_hand.fields, *zip(*found, strict=True)


# --- views and steps --------------------------------------------------------------------------------------------------


def test_every_view_comes_once_before_the_next_order():
    source, generator = rng(3), rng(3)
    reports = fitted(scene(1), 10, views=tuple(views()), generator=source)[1]
    reports += fitted(scene(1), 3, generator=source)[1]  # goes on with the generator
    orders = [n for _ in range(4) for n in torch.randperm(4, generator=generator).tolist()]
    orders = orders[:10] + orders[12:15]
    seen = [report.view for report in reports]
    assert seen == orders, f"all views in a random order, then all in another (torch.randperm): {orders}, not {seen}"


@pytest.mark.parametrize("steps, options", [
    (1, {}), (6, {}), (5, {"final_lr": 1}), (5, {"sh_every": 2}), (4, {"sh_every": 1, "final_lr": 0.3}),
])  # fmt: skip
def test_steps_agree_with_the_definition(steps, options):
    got, reports = fitted(scene(), steps, **options)
    expected, losses, _ = fitted_by_hand(scene(), reports, **options)
    expect_close(
        [report.loss for report in reports], losses, "the loss of each view before its step", rtol=1e-9, atol=0
    )
    for name, *pair in zip(Gaussians._fields, got, expected, strict=True):
        expect_close(*pair, f"{name} after {steps} steps", rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("sh_every, coefficients, moved", [(3, 16, 4), (2, 16, 9), (1, 16, 16), (1, 9, 9), (4, 16, 1)])
def test_harmonics_come_degree_by_degree(sh_every, coefficients, moved):
    gaussians = random_scene(0, 6, coefficients)[0]
    got, _ = fitted(gaussians, 4 if sh_every in (1, 4) else 5, sh_every=sh_every)
    changed = (got.sh != gaussians.sh).sum(dim=(0, 2)) > 0
    expect_equal(changed, torch.arange(coefficients) < moved, f"degree s // {sh_every} has moved {moved} coefficients")


def test_a_fifth_of_the_loss_is_ssim_unless_asked():
    shares, losses = [{"lambda_dssim": 0}, {}, {"lambda_dssim": 0.5}, {"lambda_dssim": 1}], []
    options = {"learning_rates": RATES, "background": BACKGROUND, "callback": lambda report: losses.append(report.loss)}
    for share in shares:
        fit_scene(scene(), views()[:1], steps=1, generator=rng(0), **options, **share)
    low, default, half, high = losses
    expect_close([default, half], [0.8 * low + 0.2 * high, (low + high) / 2], "(1 - share) L1 + share (1 - SSIM)")
    assert abs(high - low) > 0.1, f"L1 and 1 - SSIM are not the same: {low}, {high}"


# --- density control --------------------------------------------------------------------------------------------------

CONTROLS = {
    "clone at 2, 4, 6": {"start": 1, "every": 2, "until": 7},
    "start is not a step of it": {"start": 2, "every": 2, "until": 7},
    "until is not a step of it": {"start": 1, "every": 2, "until": 6},
    "all that were seen": {"start": 0, "every": 3, "until": 9, "grad_threshold": 0},
    "the mean over the views that saw it": {"start": 0, "every": 4, "until": 9},
    "prune": {"start": 0, "every": 3, "until": 9, "min_opacity": 0.4},
    "reset": {"start": 0, "every": 3, "until": 9, "reset_every": 4},
    "reset after pruning": {"start": 0, "every": 6, "until": 9, "reset_every": 6, "min_opacity": 0.4},
    "reset before start, not from until on": {"start": 99, "every": 3, "until": 6, "reset_every": 3},
}


@pytest.mark.parametrize("law", CONTROLS)
@pytest.mark.parametrize("threshold", [0.005, 0.01])
def test_density_control_agrees_with_the_definition(law, threshold):
    density = DensityControl(**{"max_scale": INF, "reset_every": 99, "grad_threshold": threshold} | CONTROLS[law])
    start = scene(seed=10)
    start.means[5] = rows(0, 0, 40)  # which no view sees
    got, reports = fitted(start, 8, density=density)
    expected, losses, counts = fitted_by_hand(start, reports, density=density)
    found = tuple(report.count for report in reports)
    assert found == counts, f"{law}: after each step {counts} Gaussians, not {found}"
    expect_close([report.loss for report in reports], losses, f"{law}: the loss before each step")
    for name, *pair in zip(Gaussians._fields, got, expected, strict=True):
        expect_close(*pair, f"{law}: {name} after 8 steps", rtol=1e-6, atol=1e-8)


def test_large_gaussians_are_split_by_the_generator():
    gaussians = scene()
    gaussians.log_scales[0] += 4  # far above max_scale, as are its children: only faint ones are removed
    sizes = gaussians.log_scales.amax(dim=1).exp()
    density = DensityControl(max_scale=float(sizes.median()), start=0, every=1, until=2, grad_threshold=0)
    one, same, other = (
        fitted(gaussians, 1, learning_rates=STILL, generator=rng(seed), density=density)[0] for seed in (1, 1, 2)
    )
    large = sizes > density.max_scale
    stay, clones, children = (gaussians.log_scales[rows_] for rows_ in (~large, ~large, large))
    expected = torch.cat((stay, clones, children - math.log(1.6), children - math.log(1.6)))
    expect_close(
        one.log_scales, expected, "small ones are cloned, large ones have two smaller children, only faint ones vanish"
    )
    expect_equal(same, one, "the children of one seed are the same")
    assert (other.means[-2:] != one.means[-2:]).all(), "those of another seed are others"


def test_without_density_nothing_is_added_or_reset():
    got, reports = fitted(scene(), 6, density=None)
    assert {report.count for report in reports} == {6}, f"6 Gaussians stay 6: {reports}"
    idle = DensityControl(max_scale=1, start=0, every=1, until=99, grad_threshold=INF, min_opacity=0, reset_every=99)
    expect_close(fitted(scene(), 6, density=idle)[0], got, "control that finds nothing to do changes nothing")
    assert DensityControl(0.5) == (0.5, 500, 15_000, 100, 3000, 2e-4, 0.005), (
        "the defaults are those of the paper's code"
    )


# --- what comes out ---------------------------------------------------------------------------------------------------


def test_views_from_new_sides_get_better():
    truth = Gaussians(*(factor * field for factor, field in zip((0.5, 1, 1, 1, 0.5), scene(5, seed=5), strict=True)))
    start = truth._replace(
        means=truth.means + 0.1 * normal(5, 3, seed=1), log_scales=0 * truth.log_scales - 1, sh=0 * truth.sh
    )
    cameras = [(random_scene(n, 1)[1], matrix(20, 20, 10, 8)) for n in range(9)]
    shown = [View(painted_scene(truth, *camera, 20, 16, BACKGROUND)[0].detach(), *camera) for camera in cameras]
    got, _ = fitted(start, 120, views=shown[1:], learning_rates=dict.fromkeys(RATES, 0.05), sh_every=30)
    before, after = (
        (painted_scene(g, *cameras[0], 20, 16, BACKGROUND)[0] - shown[0].image).abs().mean() for g in (start, got)
    )
    assert after < before / 2, f"a view that was not trained on: its error falls from {before:.4f} to {after:.4f}"


def test_reports_hold_python_numbers():
    _, reports = fitted(scene(3), 3)
    assert [report.step for report in reports] == [1, 2, 3], f"a report after each step: {reports}"
    kinds = {tuple(type(number) for number in report) for report in reports}
    assert kinds == {(int, int, float, int)}, f"step, view, loss and count: {reports[0]}"


def test_a_loss_that_is_not_finite_stops_the_run():
    spoilt, seen = views()[:1], []

    def spoil(report):
        seen.append(report.step)
        spoilt[0].image[3, 4, 1] = math.nan if report.step == 2 else 0.5

    with pytest.raises(FloatingPointError, match="3"):
        fit_scene(
            scene(), spoilt, steps=5, learning_rates=RATES, background=BACKGROUND, generator=rng(0), callback=spoil
        )
    assert seen == [1, 2], f"step 3 has no loss, so no report: {seen}"


def test_results_are_copies_without_a_gradient():
    gaussians = scene()
    for steps, density in ((0, None), (2, DensityControl(1, start=0, every=1, until=9))):
        got, _ = fitted(Gaussians(*(field.requires_grad_() for field in gaussians)), steps, density=density)
        assert not any(field.requires_grad for field in got), "the result requires no gradient"
        assert all(new.data_ptr() != old.data_ptr() for new, old in zip(got, gaussians, strict=True)), "and is a copy"


# --- refusals and standing laws ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, options", [
    ("views", {"views": []}), ("steps", {"steps": -1}), ("final_lr", {"final_lr": 0}), ("final_lr", {"final_lr": 1.5}),
    ("sh_every", {"sh_every": 0}), ("learning_rates", {"learning_rates": {"means": 1.0}}),
    ("every", {"density": DensityControl(1, every=0)}), ("reset_every", {"density": DensityControl(1, reset_every=0)}),
])  # fmt: skip
def test_options_out_of_range_are_refused(name, options):
    others = {"views": views(), "steps": 2, "learning_rates": RATES, "background": BACKGROUND, "generator": rng(0)}
    expect_refused(name, lambda: fit_scene(scene(), **others | options))


@pytest.mark.parametrize("law", STANDING_LAWS)
def test_standing_laws(law):
    density = DensityControl(0.5, start=0, every=1, until=9, grad_threshold=0, reset_every=2)

    def trained(gaussians, seen, background):
        return fit_scene(gaussians, seen, steps=2, learning_rates=RATES, background=background, generator=rng(0),
                         density=density)  # fmt: skip

    law(trained, scene(8), views(), BACKGROUND)
