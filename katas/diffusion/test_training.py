"""training: the range of the pixels, the loop, and a checkpoint from which a run goes on to the bit.

One step: draw samples, timesteps and noise, drop labels, one loss, one clipped update, one update of the average. Out of
scope: which architecture, learning-rate schedules beyond the warm-up, several devices.
"""

import copy
import errno
import math
import os
import pathlib
import pickle
import re
import shutil

import pytest
import torch
from torch import nn

import katas.diffusion.training as kata
from katas.diffusion.ema import EMA  # only its name: the average below is a fake
from katas.diffusion.given.gaussians import GaussianMixture
from katas.diffusion.training import (
    TrainReport,
    load_checkpoint,
    save_checkpoint,
    to_image_range,
    to_model_range,
    train_diffusion,
)
from katas.lab.expect import expect_close, expect_equal
from katas.lab.laws import STANDING_LAWS, device_is_followed, global_rng_is_untouched, inputs_are_not_changed

SCHEDULE = torch.tensor([0.97, 0.9, 0.74, 0.55, 0.31, 0.12, 0.02], dtype=torch.float64)
T = len(SCHEDULE)
SAMPLES = torch.arange(10).float()[:, None] * torch.tensor([1.0, -1.0, 0.1])  # sample i is i * (1, -1, 0.1)
LABELS = torch.arange(10) + 20  # of sample i: 20 + i
NULL = 99


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


class Linear(nn.Module):
    """prediction = weight * x_t + bias: its gradient is easy to write down. Keeps what it was called with."""

    def __init__(self):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.tensor(0.5)), nn.Parameter(torch.tensor(0.1))
        self.register_buffer("count", torch.tensor(0))
        self.calls = []

    def forward(self, x, t, *labels):
        self.count += 1
        self.calls.append((x.detach().clone(), t.clone(), *(given.clone() for given in labels), self.training))
        return self.weight * x + self.bias


class Watch:
    """A target that keeps the clean samples, timesteps and noises that it is asked about; the target is the noise."""

    def __init__(self):
        self.asked = []

    def __call__(self, x_start, t, noise, alphas_cumprod):
        self.asked.append((x_start.clone(), t.clone(), noise.clone()))
        return noise

    def all(self):
        return [torch.cat(parts) for parts in zip(*self.asked)]


class FakeEMA(EMA):
    """Keeps the weights it was shown; averages nothing."""

    def __init__(self):
        self.shown = []

    def update(self, model):
        self.shown.append(float(model.weight))

    def state_dict(self):
        return {"shown": list(self.shown)}

    def load_state_dict(self, state):
        self.shown = list(state["shown"])


def trained(steps, *, model=None, lr=0.01, optimizer=None, **options):
    """Runs `train_diffusion` on the ten samples; the model, what the target saw, and the reports."""
    model, watch, reports = model or Linear(), Watch(), []
    optimizer = optimizer or torch.optim.SGD(model.parameters(), lr=lr)
    options = dict(generator=rng(1), target=watch, on_step=reports.append) | options
    train_diffusion(model, SAMPLES, SCHEDULE, optimizer, steps=steps, **options)
    return model, watch, reports


# --- the range ------------------------------------------------------------------------------------------------------


def test_pixels_become_numbers_around_0():
    expect_close(to_model_range(torch.tensor([0.0, 0.25, 1.0])), [-1.0, -0.5, 1.0], "0 to 1 becomes -1 to 1")
    expect_close(to_image_range(torch.tensor([-1.0, -0.5, 1.0])), [0.0, 0.25, 1.0], "-1 to 1 becomes 0 to 1")


def test_what_lies_outside_of_the_image_range_is_cut():
    expect_close(to_image_range(torch.tensor([-1.5, 3.0])), [0.0, 1.0], "a picture has no pixels below 0 or above 1")
    expect_close(to_model_range(torch.tensor([1.25])), [1.5], "on the way in nothing is cut")


@pytest.mark.parametrize("law", STANDING_LAWS[:5])
def test_standing_laws_of_the_ranges(law):
    law(to_model_range, torch.tensor([[0.1, 0.7, 0.4], [0.0, 1.0, 0.2]], dtype=torch.float64))
    law(to_image_range, torch.tensor([[-0.1, 0.7, 1.4], [0.0, -1.0, 0.2]], dtype=torch.float64))


# --- what a step draws ----------------------------------------------------------------------------------------------


def test_batches_have_their_size_and_steps_their_numbers():
    _, watch, reports = trained(4, batch_size=6)
    sizes = [tuple(x.shape) for x, _, _ in watch.asked]
    assert sizes == [(6, 3)] * 4, f"four steps of six samples were asked for: {sizes}"
    assert [report.step for report in reports] == [0, 1, 2, 3] and isinstance(reports[0], TrainReport)


def test_samples_and_timesteps_are_drawn_evenly_and_independently():
    _, watch, _ = trained(8, batch_size=2000)
    x_start, t, _ = watch.all()
    table = torch.zeros(10, T).index_put_((x_start[:, 0].long(), t), torch.ones(len(t)), accumulate=True)
    expected = len(t) / (10 * T)
    chi_squared = float(((table - expected) ** 2 / expected).sum())
    # 69 degrees of freedom: above 160 once in 500 million generators; without one sample or one timestep it is above 1,600
    assert chi_squared < 160, (
        f"each pair of sample and timestep should come {expected:.0f} times:\n{table.long().tolist()}"
    )


def test_samples_are_drawn_with_replacement():
    _, watch, _ = trained(30, batch_size=10)
    repeats = sum(10 - len(x_start[:, 0].unique()) for x_start, _, _ in watch.asked) / 30
    # 10 draws of 10 samples leave 10 · 0.9¹⁰ = 3.49 of them out, with a deviation of 1.00; of the mean of 30 it is
    # 0.18, and 1 is above 5 deviations: a false alarm in two million generators. Without replacement: 0.
    told = "with replacement, 3.5 of 10 draws hit a sample that the batch has already"
    assert 2.5 < repeats < 4.5, f"{told}, not {repeats:.1f}"


def test_each_sample_has_a_timestep_and_a_noise_of_its_own():
    _, watch, _ = trained(1, batch_size=512)
    _, t, noise = watch.asked[0]
    assert len(noise.abs().unique(dim=0)) == 512, "the same noise, or its mirror image, for two samples"
    assert len((t[::2] + t[1::2]).unique()) > T // 2, "timesteps come in pairs that mirror each other"


def test_samples_in_float64_are_trained_in_float64():
    model, kinds = Linear().double(), []

    def target(x_start, t, noise, alphas_cumprod):
        kinds.extend((x_start.dtype, noise.dtype))
        return noise

    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    train_diffusion(model, SAMPLES.double(), SCHEDULE, optimizer, steps=1, generator=rng(), target=target)
    kinds.append(model.calls[0][0].dtype)
    assert set(kinds) == {torch.float64}, f"samples, noise and what the model sees: {kinds}"


def test_the_generator_goes_on_where_it_is():
    generator = rng(5)
    torch.rand(1, generator=generator)
    (late, _, _), (early, _, _) = (trained(1, generator=g) for g in (generator, rng(5)))
    assert not torch.equal(late.calls[0][0], early.calls[0][0]), "a generator that was used already draws other batches"


def test_every_step_draws_anew():
    _, watch, _ = trained(2, batch_size=50)
    for first, second, what in zip(*watch.asked, ("samples", "timesteps", "noise"), strict=True):
        assert not torch.equal(first, second), f"the {what} of the second step are those of the first"


def test_the_noise_is_standard_normal_and_the_model_sees_the_noisy_sample():
    model, watch, _ = trained(3, batch_size=4000)
    x_start, t, noise = watch.all()
    # 36,000 numbers: mean and variance are 5 and 7 thousandths wide; 6 deviations are a false alarm in 250 million generators
    assert abs(noise.mean()) < 0.032 and abs(noise.var() - 1) < 0.045, (
        f"mean {noise.mean():.3f}, variance {noise.var():.3f}"
    )
    assert noise.T.corrcoef().fill_diagonal_(0).abs().max() < 0.055, "each element of a sample has its own noise"
    level = SCHEDULE.float()[t][:, None]
    expected = level.sqrt() * x_start + (1 - level).sqrt() * noise
    expect_close(torch.cat([call[0] for call in model.calls]), expected, "the model is shown q_sample of the samples")
    expect_equal(torch.cat([call[1] for call in model.calls]), t, "and the timestep of each")


@pytest.mark.parametrize("shape", [(), (1, 4, 4)], ids=["numbers", "images"])
def test_samples_have_any_rank_and_every_element_its_own_noise(shape):
    ones = [1] * len(shape)
    samples, model, watch = torch.arange(10.0).reshape(10, *ones).expand(10, *shape), Linear(), Watch()
    options = dict(steps=1, batch_size=2000, generator=rng(1), target=watch)
    train_diffusion(model, samples, SCHEDULE, torch.optim.SGD(model.parameters(), lr=0.01), **options)
    x_start, t, noise = watch.asked[0]
    level = SCHEDULE.float()[t].reshape(-1, *ones)
    expected = level.sqrt() * x_start + (1 - level).sqrt() * noise
    expect_close(model.calls[0][0], expected, "the model is shown q_sample of the samples")
    columns = noise.reshape(2000, -1)
    # 120 pairs of independent pixels, each sqrt(1 / n) wide: 6 deviations are a false alarm in 4 million generators
    worst = 0.0 if not shape else float(columns.T.corrcoef().fill_diagonal_(0).abs().max())
    assert worst < 6 / 2000**0.5, f"the noise of two pixels of an image has correlation {worst:.2f}"


def test_labels_belong_to_their_samples_and_are_dropped_now_and_then():
    model, watch, _ = trained(4, batch_size=2000, labels=LABELS, null_label=NULL, drop_probability=0.25)
    x_start = watch.all()[0]
    labels = torch.cat([call[2] for call in model.calls])
    dropped = labels == NULL
    expect_equal(
        labels[~dropped], 20 + x_start[~dropped, 0].long(), "a label that is not dropped is that of its sample"
    )
    # 8,000 labels: 0.0048 wide; 6 deviations are a false alarm in 500 million generators
    assert abs(dropped.float().mean() - 0.25) < 0.03, f"{dropped.float().mean():.1%} were dropped, not 25 %"


def test_a_tenth_of_the_labels_is_dropped_unless_told_otherwise():
    model, _, _ = trained(4, batch_size=2000, labels=LABELS, null_label=NULL)
    dropped = torch.cat([call[2] for call in model.calls]) == NULL
    # 8,000 labels: 0.0034 wide; 6 deviations are a false alarm in 500 million generators
    assert abs(dropped.float().mean() - 0.1) < 0.021, f"{dropped.float().mean():.1%} were dropped, not 10 %"


def test_without_labels_the_model_is_asked_without():
    model, _, _ = trained(1)
    assert len(model.calls) == 1 and len(model.calls[0]) == 3, "model(x_t, t), once a step"
    with pytest.raises(ValueError, match="null_label"):
        trained(1, labels=LABELS)


def test_the_generator_alone_decides():
    first, again, other = (trained(3, generator=rng(seed))[0].calls[2][0] for seed in (5, 5, 6))
    expect_equal(first, again, "the same generator state gives the same run")
    assert not torch.equal(first, other), "another seed gives another run"
    global_rng_is_untouched(lambda: trained(2, labels=LABELS, null_label=NULL))
    inputs_are_not_changed(lambda *_: trained(2, labels=LABELS, null_label=NULL), SAMPLES, LABELS, SCHEDULE)


def test_everything_is_drawn_on_the_device_of_the_samples():
    def weight_after_training(samples, schedule, labels):
        with torch.device("cpu"):
            model = Linear()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        options = dict(labels=labels, null_label=NULL, warmup_steps=2, generator=rng(1))
        train_diffusion(model, samples, schedule, optimizer, steps=3, **options)
        return model.weight.detach()

    device_is_followed(weight_after_training, SAMPLES, SCHEDULE, LABELS)


# --- what a step does -----------------------------------------------------------------------------------------------


def loss_and_gradient(weight, bias, watch, weights=None):
    """Of the last batch, in float64: the mean over samples of the weighted mean over elements, and its gradient."""
    x_start, t, noise = (part.double() if part.is_floating_point() else part for part in watch.asked[-1])
    level = SCHEDULE[t][:, None]
    x_t = level.sqrt() * x_start + (1 - level).sqrt() * noise
    error = weight * x_t + bias - noise
    factor = torch.ones(len(t), 1).double() if weights is None else weights[t][:, None].double()
    gradient = [(2 * factor * error * x_t).mean(), (2 * factor * error).mean()]
    return float((factor * error**2).mean()), [float(part) for part in gradient]


def test_the_loss_is_the_mean_over_the_batch_and_the_update_follows_its_gradient():
    model, watch, reports = trained(1, batch_size=5, lr=0.5, max_grad_norm=1e9)
    loss, gradient = loss_and_gradient(0.5, 0.1, watch)
    expect_close(reports[0].loss, loss, "reported: the loss before the update", rtol=1e-4, atol=1e-5)
    expect_close(
        reports[0].grad_norm, math.hypot(*gradient), "reported: the norm of the gradient", rtol=1e-4, atol=1e-5
    )
    expected = [0.5 - 0.5 * gradient[0], 0.1 - 0.5 * gradient[1]]
    expect_close([float(model.weight), float(model.bias)], expected, "one step of SGD", rtol=1e-4, atol=1e-5)


def test_weights_belong_to_timesteps():
    weights = torch.tensor([1.0, 0.0, 3.0, 0.5, 2.0, 0.2, 7.0], dtype=torch.float64)
    _, watch, reports = trained(1, batch_size=9, weights=weights)
    expected = loss_and_gradient(0.5, 0.1, watch, weights)[0]
    expect_close(reports[0].loss, expected, "each sample's loss is weighted by its timestep", rtol=1e-4, atol=1e-5)


def test_a_long_gradient_is_scaled_down_to_the_norm_over_all_parameters():
    model, watch, reports = trained(1, batch_size=5, lr=0.5, max_grad_norm=0.3)
    _, gradient = loss_and_gradient(0.5, 0.1, watch)
    norm = math.hypot(*gradient)
    assert norm > 0.6, "the example is meant to be clipped"
    expect_close(reports[0].grad_norm, norm, "reported is the norm before clipping", rtol=1e-4, atol=1e-5)
    moved = [0.5 - 0.5 * 0.3 * gradient[0] / norm, 0.1 - 0.5 * 0.3 * gradient[1] / norm]
    expect_close([float(model.weight), float(model.bias)], moved, "clipped to norm 0.3 together", rtol=1e-4, atol=1e-5)


def test_the_norm_is_over_all_parameters_of_the_model_in_the_optimizer_or_not():
    model = Linear()
    model.bias.data.fill_(50.0)  # the larger part of the gradient
    optimizer = torch.optim.SGD([model.weight], lr=0.5)
    _, watch, reports = trained(1, model=model, optimizer=optimizer, batch_size=5, max_grad_norm=0.3)
    _, gradient = loss_and_gradient(0.5, 50, watch)
    norm = math.hypot(*gradient)
    expect_close(reports[0].grad_norm, norm, "of weight and bias together", rtol=1e-4, atol=1e-5)
    moved = 0.5 - 0.5 * 0.3 * gradient[0] / norm
    expect_close(float(model.weight), moved, "scaled down by the norm of both", rtol=1e-4, atol=1e-5)


def test_a_model_may_have_frozen_and_unused_parameters():
    class Partly(Linear):
        def __init__(self):
            super().__init__()
            self.unused, self.frozen = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(()), requires_grad=False)

        def forward(self, x, t):
            return self.frozen * super().forward(x, t)

    partly, _, _ = trained(2, model=Partly())
    whole, _, _ = trained(2)
    expect_close(partly.weight.detach(), whole.weight.detach(), "the others train as if they were alone")
    expect_equal(float(partly.frozen), 1.0, "a frozen parameter stays")


def test_batches_of_128_and_a_gradient_of_norm_1_unless_told_otherwise():
    steep = Linear()
    steep.bias.data.fill_(50.0)
    model, watch, reports = trained(1, model=steep, lr=0.5)
    assert len(watch.asked[0][0]) == 128, f"a batch of {len(watch.asked[0][0])} samples"
    moved = math.hypot(float(model.weight) - 0.5, float(model.bias) - 50)
    assert reports[0].grad_norm > 2, "the example is meant to be clipped"
    expect_close(moved, 0.5, "a gradient cut to norm 1, times the learning rate", rtol=1e-4, atol=1e-5)


def test_the_gradient_is_that_of_this_batch_alone():
    stale = Linear()
    stale.weight.grad, stale.bias.grad = torch.tensor(100.0), torch.tensor(-100.0)
    model, _, _ = trained(3, model=stale)
    fresh, _, _ = trained(3)
    expect_equal(model.weight.detach(), fresh.weight.detach(), "gradients of before, or of the last step, do not count")


def test_the_learning_rate_warms_up_and_is_put_back():
    model, used, told = Linear(), [], []
    groups = [{"params": [model.weight], "lr": 0.1}, {"params": [model.bias], "lr": 0.4}]
    optimizer = torch.optim.SGD(groups, lr=1.0)
    optimizer.register_step_pre_hook(lambda opt, *_: used.append([group["lr"] for group in opt.param_groups]))

    def on_step(report):
        told.append(report.learning_rate)
        assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.4], "put back before the callback"

    trained(5, model=model, optimizer=optimizer, warmup_steps=4, on_step=on_step)
    expected = [[0.1 * share, 0.4 * share] for share in (0.25, 0.5, 0.75, 1, 1)]
    expect_close(used, expected, "min(1, (step + 1) / warmup_steps) of every group's rate")
    expect_close(told, [rate for rate, _ in expected], "the report tells the rate of the first group")


def test_without_a_warm_up_the_full_rate_is_used_from_the_start():
    _, _, reports = trained(2, lr=0.3)
    expect_close([report.learning_rate for report in reports], [0.3, 0.3], "warmup_steps is 0 by default")


def test_the_average_is_updated_after_every_step():
    ema, weights = FakeEMA(), []
    model = Linear()

    def on_step(report):
        weights.append(float(model.weight))
        assert len(ema.shown) == report.step + 1, "the average is updated once a step, before the callback"

    trained(3, model=model, ema=ema, on_step=on_step)
    assert ema.shown == weights and len(set(weights)) == 3, f"shown {ema.shown}, weights after the steps {weights}"


def test_the_model_trains_in_training_mode_whatever_the_callback_does():
    model = Linear().eval()
    trained(3, model=model, on_step=lambda report: model.eval())
    assert [call[-1] for call in model.calls] == [True] * 3, "training mode at every step"


@pytest.mark.parametrize("bad", [math.nan, math.inf], ids=["NaN", "infinite"])
def test_a_loss_that_is_not_finite_stops_before_anything_is_changed(bad):
    model, ema = Linear(), FakeEMA()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    def spoil(report):
        if report.step == 1:
            model.bias.data.fill_(bad)

    with pytest.raises(FloatingPointError) as error:
        trained(5, model=model, optimizer=optimizer, ema=ema, on_step=spoil)
    assert re.search(r"\b2\b", str(error.value)), f"the message names the step, which is 2: {error.value}"
    assert float(model.weight) == ema.shown[-1] and len(ema.shown) == 2, "weights and average stay as they were"
    finite = all(p.grad is None or p.grad.isfinite() for p in model.parameters())
    assert finite, "the loss is looked at before it goes backward: its gradients are not finite, either"


def test_a_null_label_of_0_is_a_label():
    model, _, _ = trained(1, labels=LABELS, null_label=0, drop_probability=1)
    expect_equal(model.calls[0][2], torch.zeros(128).long(), "with drop_probability 1 every label is the null label, 0")


def test_labels_need_a_null_label_even_if_none_is_dropped():
    with pytest.raises(ValueError, match="null_label"):
        trained(1, labels=LABELS, drop_probability=0)


def test_the_gradient_is_clipped_over_all_groups_together():
    model = Linear()
    model.bias.data.fill_(50.0)
    groups = [{"params": [model.weight]}, {"params": [model.bias]}]
    trained(1, model=model, optimizer=torch.optim.SGD(groups, lr=0.5))
    moved = math.hypot(float(model.weight) - 0.5, float(model.bias) - 50)
    expect_close(moved, 0.5, "a gradient of norm 1 over all parameters, times the rate 0.5", rtol=1e-4, atol=1e-5)


def test_gradients_of_parameters_that_the_optimizer_does_not_hold_count_nowhere():
    stale, fresh = Linear(), Linear()
    stale.bias.grad = torch.tensor(100.0)
    norms = []
    for model in (stale, fresh):
        _, _, reports = trained(3, model=model, optimizer=torch.optim.SGD([model.weight], lr=0.01))
        norms.append([report.grad_norm for report in reports])
    law = "the gradient of this batch alone: what other parameters of the model hold is cleared, too"
    expect_close(norms[0], norms[1], law)
    expect_close(stale.weight, fresh.weight, law)


@pytest.mark.parametrize("warmup_steps, expected", [(0, [0.4, 0.2, 0.1]), (4, [0.1, 0.1, 0.075])])
def test_a_rate_that_the_callback_changes_is_the_rate_from_then_on(warmup_steps, expected):
    # 0.4, 0.2, 0.1; in a warm-up of four steps a quarter, half and three quarters of that
    model, told = Linear(), []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.4)

    def halve(report):
        told.append(report.learning_rate)
        optimizer.param_groups[0]["lr"] /= 2

    trained(3, model=model, optimizer=optimizer, warmup_steps=warmup_steps, on_step=halve)
    expect_close(told, expected, "the learning rate is the one in the group at that step")


def test_every_part_of_the_model_trains_at_each_step():
    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = Linear()

        def forward(self, x, t):
            return self.inner(x, t)

    model = Outer()
    trained(3, model=model, on_step=lambda report: model.inner.eval())
    assert [call[-1] for call in model.inner.calls] == [True] * 3, "the callback puts a part in evaluation mode"


def test_a_loss_that_is_not_finite_leaves_the_optimizer_as_it_was():
    model, kept = Linear(), {}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    def spoil(report):
        if report.step == 1:
            model.bias.data.fill_(math.nan)
            kept.update(copy.deepcopy(optimizer.state_dict()))

    with pytest.raises(FloatingPointError):
        trained(5, model=model, optimizer=optimizer, warmup_steps=10, on_step=spoil)
    now = optimizer.state_dict()
    assert now["param_groups"] == kept["param_groups"], f"rates and the like: {now['param_groups']}"
    expect_equal(now["state"], kept["state"], "the momentum is that of the last good step")


def test_the_average_is_updated_during_the_warm_up_too():
    ema = FakeEMA()
    trained(3, ema=ema, warmup_steps=10)
    assert len(ema.shown) == 3, f"three steps, three updates of the average, not {len(ema.shown)}"


def test_a_report_holds_plain_numbers():
    _, _, [report] = trained(1)
    kinds = [type(value).__name__ for value in report]
    assert kinds == ["int", "float", "float", "float"], f"a report is kept for long, and holds no tensors: {kinds}"


# --- checkpoints ----------------------------------------------------------------------------------------------------


def a_run(seed=3, lr=0.05):
    model = Linear()
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    return dict(model=model, optimizer=optimizer, generator=rng(seed), ema=FakeEMA())


def go_on(run, first_step, steps, on_step=None):
    train_diffusion(
        run["model"], SAMPLES, SCHEDULE, run["optimizer"], generator=run["generator"], ema=run["ema"],
        first_step=first_step, steps=steps, warmup_steps=6, labels=LABELS, null_label=NULL, on_step=on_step,
    )  # fmt: skip


def test_a_resumed_run_is_the_run_that_was_stopped(tmp_path):
    whole, stopped, resumed = a_run(), a_run(), a_run(seed=4, lr=0.7)
    go_on(whole, 0, 9)

    def on_step(report):
        if report.step == 3:
            save_checkpoint(tmp_path / "run.pt", step=report.step + 1, **stopped)

    go_on(stopped, 0, 4, on_step)
    resumed["model"].weight.data.fill_(77.0)
    step = load_checkpoint(tmp_path / "run.pt", **resumed)
    assert step == 4, f"the number of the next step comes back: {step}"
    go_on(resumed, step, 9)
    for name in ("weight", "bias"):
        got, expected = getattr(resumed["model"], name), getattr(whole["model"], name)
        expect_equal(got.detach(), expected.detach(), f"the {name} after nine steps, to the bit")
    expect_equal(resumed["model"].count, whole["model"].count, "the model's buffers are part of the run")
    assert resumed["ema"].shown == whole["ema"].shown, "the average has seen the same weights"
    expect_equal(resumed["generator"].get_state(), whole["generator"].get_state(), "the generator is where it would be")


def test_a_checkpoint_is_safe_to_load_and_may_lack_an_average(tmp_path):
    run = a_run()
    without = {name: part for name, part in run.items() if name != "ema"}
    save_checkpoint(tmp_path / "run.pt", step=2, **without)
    torch.load(tmp_path / "run.pt", weights_only=True)
    assert load_checkpoint(tmp_path / "run.pt", **without) == 2
    go_on(run, 0, 1)
    weight, state = float(run["model"].weight), run["generator"].get_state()
    with pytest.raises(ValueError, match="ema"):
        load_checkpoint(tmp_path / "run.pt", **run)
    untouched = float(run["model"].weight) == weight and torch.equal(run["generator"].get_state(), state)
    assert untouched, "what is refused has changed nothing: half of a run is none"


class Killed(BaseException):
    pass


def killed(*args, **kwargs):
    raise Killed


def half_written(state, file, *args, error=Killed, **kwargs):
    data = b"half of a checkpoint"
    file.write(data) if hasattr(file, "write") else pathlib.Path(file).write_bytes(data)
    raise error


def disk_full(*args, **kwargs):
    half_written(*args, error=OSError(errno.ENOSPC, "No space left on device"), **kwargs)


def replaced(patched, place, name, fake):
    """The function of a library, also under the name by which the kata may have imported it."""
    original = getattr(place, name)
    patched.setattr(place, name, fake)
    for alias in [alias for alias, value in vars(kata).items() if value is original]:
        patched.setattr(kata, alias, fake)


def loaded(file, run, moment) -> int:
    try:
        return load_checkpoint(file, **run)
    except (KeyError, RuntimeError, OSError, EOFError, pickle.UnpicklingError) as error:
        told = "the file is only replaced when the new one is complete"
        raise AssertionError(f"killed {moment}, and the checkpoint is gone ({error!r}): {told}") from None


@pytest.mark.parametrize("moment", ["while writing", "before moving", "by a full disk"])
def test_a_run_that_is_killed_while_saving_keeps_its_last_checkpoint(tmp_path, monkeypatch, moment):
    run, file = a_run(), tmp_path / "run.pt"
    save_checkpoint(file, step=2, **run)
    with monkeypatch.context() as patched:
        if moment != "before moving":
            replaced(patched, torch, "save", half_written if moment == "while writing" else disk_full)
        else:
            for place, name in ((os, "replace"), (os, "rename"), (shutil, "move")):
                replaced(patched, place, name, killed)
            patched.setattr(pathlib.Path, "replace", killed)
            patched.setattr(pathlib.Path, "rename", killed)
        try:
            save_checkpoint(file, step=3, **run)
        except (Killed, OSError):
            pass
        else:
            told = "torch.save writes a file beside the old one; then it is moved over it (os.replace)"
            raise AssertionError(f"{told}; an error passes through")
    assert loaded(file, run, moment) == 2, "the file is only replaced when the new one is complete"
    save_checkpoint(file, step=4, **run)
    assert loaded(file, run, moment) == 4, "what a killed run left behind does not hinder the next one"


def test_the_file_is_written_beside_the_old_one_and_nothing_else_is_left(tmp_path, monkeypatch):
    origins = []
    for name in ("replace", "rename"):  # every way to move a file comes down to one of them

        def spy(source, *args, move=getattr(os, name), **kwargs):
            origins.append(pathlib.Path(source).resolve().parent)
            return move(source, *args, **kwargs)

        replaced(monkeypatch, os, name, spy)
    save_checkpoint(tmp_path / "run.pt", step=2, **a_run())
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["run.pt"], f"left in the folder: {left}"
    told = "from another folder, perhaps of another disk, a move may be a copy, and stop half-way"
    assert origins and set(origins) == {tmp_path.resolve()}, f"moved from {[str(o) for o in origins]}: {told}"


# --- the light twin of the full check -------------------------------------------------------------------------------

DATA = GaussianMixture([1.0], [[0.8, -0.4]], [[[0.5, 0.3], [0.3, 0.4]]])


class PerTimestep(nn.Module):
    """One linear map for each timestep: enough for Gaussian data, whose best noise prediction is linear in x."""

    def __init__(self):
        super().__init__()
        self.slope, self.offset = nn.Parameter(torch.zeros(T, 2, 2)), nn.Parameter(torch.zeros(T, 2))

    def forward(self, x, t):
        return (self.slope[t] @ x[..., None])[..., 0] + self.offset[t]


def test_training_arrives_at_the_best_prediction_there_is():
    model = PerTimestep()
    samples = DATA.sample(20_000, rng(0))[0].float()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    train_diffusion(model, samples, SCHEDULE, optimizer, steps=400, batch_size=512, generator=rng(1), max_grad_norm=100)
    x, t = DATA.sample(2000, rng(2))[0], torch.arange(2000) % T
    level = SCHEDULE[t][:, None]
    x_t = (level.sqrt() * x + (1 - level).sqrt() * torch.randn(2000, 2, generator=rng(3), dtype=torch.float64)).float()
    with torch.no_grad():
        excess = float(((model(x_t, t) - DATA.predict_noise(x_t, t, SCHEDULE)) ** 2).mean())
    assert excess < 0.01, f"the prediction is off the exact one by {excess:.4f} on average (squared)"
