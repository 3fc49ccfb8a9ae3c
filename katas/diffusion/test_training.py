"""training: the range of the pixels, the loop, and a checkpoint from which a run goes on to the bit.

One step: draw samples, timesteps and noise, drop labels, one loss, one clipped update, one update of the average. Out of
scope: which architecture, learning-rate schedules beyond the warm-up, several devices.
"""

import math
import os
import pathlib
import shutil

import pytest
import torch
from torch import nn

from katas.diffusion.ema import EMA  # only its name: the average below is a fake
from katas.diffusion.training import (
    TrainReport,
    load_checkpoint,
    save_checkpoint,
    to_image_range,
    to_model_range,
    train_diffusion,
)
from katas.lab.gaussians import GaussianMixture
from katas.lab.laws import STANDING_LAWS, expect_close, expect_equal, global_rng_is_untouched, inputs_are_not_changed

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
        self.calls = []

    def forward(self, x, t, *labels):
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


@pytest.mark.parametrize("law", STANDING_LAWS)
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
    expect_close(
        [float(model.weight), float(model.bias)], moved, "clipped to norm 0.3 together", rtol=1e-4, atol=1e-5
    )


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
    expect_equal(
        model.weight.detach(), fresh.weight.detach(), "gradients of before, or of the last step, do not count"
    )


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

    with pytest.raises(FloatingPointError, match="step 2"):
        trained(5, model=model, optimizer=optimizer, ema=ema, on_step=spoil)
    assert float(model.weight) == ema.shown[-1] and len(ema.shown) == 2, "weights and average stay as they were"


# --- checkpoints ----------------------------------------------------------------------------------------------------


def a_run(seed=3):
    model = Linear()
    return dict(
        model=model, optimizer=torch.optim.Adam(model.parameters(), lr=0.05), generator=rng(seed), ema=FakeEMA()
    )


def go_on(run, first_step, steps, on_step=None):
    train_diffusion(
        run["model"], SAMPLES, SCHEDULE, run["optimizer"], generator=run["generator"], ema=run["ema"],
        first_step=first_step, steps=steps, warmup_steps=6, labels=LABELS, null_label=NULL, on_step=on_step,
    )  # fmt: skip


def test_a_resumed_run_is_the_run_that_was_stopped(tmp_path):
    whole, stopped, resumed = a_run(), a_run(), a_run(seed=4)
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
    assert resumed["ema"].shown == whole["ema"].shown, "the average has seen the same weights"
    expect_equal(
        resumed["generator"].get_state(), whole["generator"].get_state(), "the generator is where it would be"
    )


def test_a_checkpoint_is_safe_to_load_and_may_lack_an_average(tmp_path):
    run = a_run()
    without = {name: part for name, part in run.items() if name != "ema"}
    save_checkpoint(tmp_path / "run.pt", step=2, **without)
    torch.load(tmp_path / "run.pt", weights_only=True)
    assert load_checkpoint(tmp_path / "run.pt", **without) == 2
    with pytest.raises(ValueError, match="ema"):
        load_checkpoint(tmp_path / "run.pt", **run)


class Killed(BaseException):
    pass


def killed(*args, **kwargs):
    raise Killed


def half_written(state, file, *args, **kwargs):
    data = b"half of a checkpoint"
    file.write(data) if hasattr(file, "write") else pathlib.Path(file).write_bytes(data)
    raise Killed


@pytest.mark.parametrize("moment", ["while writing", "before moving"])
def test_a_run_that_is_killed_while_saving_keeps_its_last_checkpoint(tmp_path, monkeypatch, moment):
    run, file = a_run(), tmp_path / "run.pt"
    save_checkpoint(file, step=2, **run)
    with monkeypatch.context() as patched:
        if moment == "while writing":
            patched.setattr(torch, "save", half_written)
        else:
            for place, name in ((os, "replace"), (os, "rename"), (shutil, "move")):
                patched.setattr(place, name, killed)
            patched.setattr(pathlib.Path, "replace", killed)
            patched.setattr(pathlib.Path, "rename", killed)
        with pytest.raises(Killed):
            save_checkpoint(file, step=3, **run)
    assert load_checkpoint(file, **run) == 2, "the file is only replaced when the new one is complete"
    save_checkpoint(file, step=4, **run)
    assert load_checkpoint(file, **run) == 4, "what a killed run left behind does not hinder the next one"


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
    train_diffusion(
        model, samples, SCHEDULE, optimizer, steps=400, batch_size=512, generator=rng(1), max_grad_norm=100
    )
    x, t = DATA.sample(2000, rng(2))[0], torch.arange(2000) % T
    level = SCHEDULE[t][:, None]
    x_t = (
        level.sqrt() * x + (1 - level).sqrt() * torch.randn(2000, 2, generator=rng(3), dtype=torch.float64)
    ).float()
    with torch.no_grad():
        excess = float(((model(x_t, t) - DATA.predict_noise(x_t, t, SCHEDULE)) ** 2).mean())
    assert excess < 0.01, f"the prediction is off the exact one by {excess:.4f} on average (squared)"
