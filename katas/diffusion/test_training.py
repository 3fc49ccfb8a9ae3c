"""training: the range of the pixels, the loop, and a checkpoint from which a run goes on to the bit.

The order of the draws is free. So a target and a model keep what they are shown, and every step is followed in Python
numbers from there. Out of scope: architectures, learning-rate schedules beyond the warm-up, several devices.
"""

import math
import pickle
import re

import pytest
import torch

import katas.diffusion.training as kata
from katas.diffusion.given.gaussians import GaussianMixture
from katas.diffusion.given.watched import STATE, FakeEMA, Linear, PerTimestep, Watch, state_of
from katas.diffusion.training import load_checkpoint, save_checkpoint, to_image_range, to_model_range, train_diffusion
from katas.lab.expect import expect_close, expect_equal, expect_fresh_noise, expect_refused
from katas.lab.killing import Killed, interrupt, move_within_a_folder_only, save_as_on_a_missing_gpu
from katas.lab.laws import STANDING_LAWS, device_is_followed, global_rng_is_untouched, inputs_are_not_changed
from katas.lab.strategies import normal, rng

SCHEDULE = torch.tensor([0.97, 0.9, 0.74, 0.55, 0.31, 0.12, 0.02], dtype=torch.float64)
WEIGHTS = torch.tensor([1.0, 0.0, 3.0, 0.5, 2.0, 0.2, 7.0], dtype=torch.float64)
T, NULL = len(SCHEDULE), 99
CLIP = {"rtol": 1e-5, "atol": 1e-5}  # clip_grad_norm_ divides by the norm + 1e-6
LABELS = torch.arange(10) + 20  # of sample i: 20 + i


def samples_of(*shape, dtype=torch.float64):
    """Ten samples of this shape; every element of sample i is i."""
    return torch.arange(10, dtype=dtype).reshape(10, *[1] * len(shape)).expand(10, *shape)


def trained(steps, *, model=None, optimizer=None, samples=None, lr=0.05, **options):
    """Runs `train_diffusion`: the model, what the target was asked, and the reports."""
    model, watch, reports = model or Linear(), Watch(), []
    samples = samples_of(3) if samples is None else samples
    optimizer = optimizer or torch.optim.SGD(model.parameters(), lr=lr)
    options = dict(generator=rng(1), target=watch, on_step=reports.append) | options
    train_diffusion(model=model, samples=samples, alphas_cumprod=SCHEDULE, optimizer=optimizer, steps=steps, **options)
    return model, watch.asked, reports


# --- the definition ---------------------------------------------------------------------------------------------------


def noisy(x_start, t, noise):
    level = SCHEDULE[t].reshape(-1, *[1] * (x_start.dim() - 1))
    return level.sqrt().to(x_start) * x_start + (1 - level).sqrt().to(x_start) * noise


def follow(asked, *, first_step=0, warmup_steps=0, max_grad_norm=1.0, weights=None, lr=0.05, weight=0.5, bias=0.1):
    """(step, loss, norm of the gradient, rate), weight and bias after every step of SGD, from what was drawn."""
    for step, (x_start, t, noise) in enumerate(asked, start=first_step):
        x_t, noise = (part.reshape(len(t), -1) for part in (noisy(x_start, t, noise), noise))
        error = weight * x_t + bias - noise
        factor = 1 if weights is None else weights[t][:, None]
        slope_w, slope_b = float((2 * factor * error * x_t).mean()), float((2 * factor * error).mean())
        norm, rate = math.hypot(slope_w, slope_b), lr * min(1, (step + 1) / max(1, warmup_steps))
        scale = rate * min(1, max_grad_norm / norm)
        weight, bias = weight - scale * slope_w, bias - scale * slope_b
        yield (step, float((factor * error**2).mean()), norm, rate), weight, bias


# --- worked examples, and a step --------------------------------------------------------------------------------------


@pytest.mark.parametrize("law, fn, x, expected", [
    ("[0, 1] becomes [-1, 1]", lambda x: to_model_range(images=x), [0, 0.25, 1], [-1, -0.5, 1]),
    ("on the way in nothing is clamped", to_model_range, [1.25, -1], [1.5, -3]),
    ("[-1, 1] becomes [0, 1]", lambda x: to_image_range(x=x), [-1, -0.5, 1], [0, 0.25, 1]),
    ("a picture has no pixels below 0 or above 1", to_image_range, [-1.5, 3], [0, 1]),
])  # fmt: skip
def test_pixels_and_numbers_by_hand(law, fn, x, expected):
    expect_close(fn(torch.tensor(x).double()), expected, law)


@pytest.mark.parametrize("options", [
    {"max_grad_norm": 1e9}, {}, {"max_grad_norm": 0.3}, {"warmup_steps": 4}, {"weights": WEIGHTS},
    {"first_step": 2, "warmup_steps": 5, "max_grad_norm": 2, "weights": WEIGHTS, "lr": 0.2},
], ids=["not clipped", "defaults", "clipped", "warm-up", "weights", "all"])  # fmt: skip
def test_every_step_agrees_with_the_definition(options):
    model, told = Linear(), []
    _, asked, _ = trained(7, model=model, on_step=lambda report: told.append((report, *model.line())), **options)
    assert len(asked) == 7 - options.get("first_step", 0), f"the steps first_step to steps - 1, not {len(asked)} steps"
    assert len(asked[0][1]) == 128, f"a batch has 128 samples by default, not {len(asked[0][1])}"
    for (report, *after), (numbers, *expected) in zip(told, follow(asked, **options), strict=True):
        for field, number in zip(report._fields, numbers, strict=True):
            expect_close(float(getattr(report, field)), float(number), f"step {numbers[0]}, reported: {field}", **CLIP)
        expect_close(after, expected, f"weight and bias after step {numbers[0]}", **CLIP)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(), (3,), (4, 2, 5)], ids=["numbers", "vectors", "images"])
def test_the_model_sees_noisy_samples(shape, dtype):
    samples = samples_of(*shape, dtype=dtype)
    model, watch = Linear().to(dtype), Watch()
    trained(2, model=model, samples=samples, target=watch, labels=LABELS, null_label=0, batch_size=9)
    expect_equal(watch.schedule, SCHEDULE, "the schedule keeps its dtype: its coefficients are cast last")
    for (x_t, t, labels, _), (x_start, asked_t, noise) in zip(model.calls, watch.asked, strict=True):
        assert len(t) == 9, f"batch_size is 9, and the model is called with {len(t)} samples"
        assert x_t.dtype == noise.dtype == dtype, f"{dtype} samples, {noise.dtype} noise: the model saw {x_t.dtype}"
        expect_close(x_t, noisy(x_start, asked_t, noise), "q_sample of the drawn samples")
        expect_equal(t, asked_t, "and the timestep of each")
        kept = labels != 0
        expect_equal(labels[kept], 20 + x_start.reshape(9, -1)[kept, 0].long(), "a label is that of its sample")
    assert all(len(call) == 3 for call in trained(2)[0].calls), "without labels: model(x_t, t), once a step"


def test_gradients_of_the_whole_model_count_once():
    model = Linear(bias=50.0)  # the larger part of the gradient, and not in the optimizer
    model.bias.grad = model.bias.detach() * 100  # left over from before
    _, asked, reports = trained(3, model=model, optimizer=torch.optim.SGD([model.weight], lr=0.05))
    weight = 0.5
    for batch, report in zip(asked, reports, strict=True):
        [((_, _, norm, _), weight, _)] = follow([batch], weight=weight, bias=50.0)
        expect_close(report.grad_norm, norm, "the norm over all parameters, of this batch alone", **CLIP)
    expect_close(float(model.weight), weight, "scaled down by the norm of all parameters", **CLIP)


def test_every_group_warms_up_and_is_put_back():
    model, told = Linear(), []
    groups = [{"params": [p], "lr": torch.tensor(lr).double()} for p, lr in ((model.weight, 0.4), (model.bias, 0.02))]
    optimizer, used = torch.optim.SGD(groups), []
    optimizer.register_step_pre_hook(lambda *_: used.append([float(group["lr"]) for group in optimizer.param_groups]))

    def halve(report):
        assert {type(v) for v in report} == {int, float}, f"a report holds Python numbers, also of tensors: {report}"
        told.append((report.learning_rate, [float(group["lr"]) for group in optimizer.param_groups]))
        optimizer.param_groups[0]["lr"] = optimizer.param_groups[0]["lr"] / 2

    trained(3, model=model, optimizer=optimizer, warmup_steps=4, on_step=halve)
    quarters = [[0.4 / 4, 0.02 / 4], [0.2 / 2, 0.02 / 2], [0.1 * 3 / 4, 0.02 * 3 / 4]]  # one, two and three of four
    expect_close(used, quarters, "the rates of both groups in each step", **CLIP)
    expected = [(0.1, [0.4, 0.02]), (0.1, [0.2, 0.02]), (0.075, [0.1, 0.02])]
    expect_close(told, expected, "(rate of the step, rates afterwards), halved after every step", **CLIP)


def test_first_the_step_then_the_average_then_the_callback():
    model, ema, seen = Linear(), FakeEMA(), []
    trained(3, model=model, ema=ema, warmup_steps=9, on_step=lambda _: seen.append((len(ema.shown), model.line()[0])))
    assert len(set(ema.shown)) == 3 and 0.5 not in ema.shown, f"the average is updated after each step: {ema.shown}"
    assert seen == list(enumerate(ema.shown, start=1)), f"the callback comes last: {seen}, the average saw {ema.shown}"


def test_every_step_is_in_training_mode():
    model = Linear().eval()
    trained(4, model=model, on_step=lambda report: (model.part if report.step == 1 else model).eval())
    modes = [call[-1] for call in model.calls]
    assert modes == [(True, True)] * 4, f"whatever the callback does, model and parts are in training mode: {modes}"


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_changes_nothing(bad):
    model, ema, kept = Linear(), FakeEMA(), []
    optimizer = torch.optim.SGD([model.weight, model.bias], lr=0.1, momentum=0.9)

    def spoil(report):
        if report.step == 1:
            model.bias.data.fill_(bad)
            kept.append(state_of(model, optimizer, ema))

    with pytest.raises(FloatingPointError) as raised:
        trained(5, model=model, optimizer=optimizer, ema=ema, warmup_steps=10, on_step=spoil)
    assert re.search(r"\b2\b", str(raised.value)), f"the loss of step 2 is {bad}; the error says: {raised.value}"
    model.count -= 1  # the call whose loss is not finite
    assert model.weight.grad is None or model.weight.grad.isfinite(), "it never goes backward"
    expect_equal(state_of(model, optimizer, ema), kept[0], "all is as it was after the last good step")


# --- what a step draws ------------------------------------------------------------------------------------------------


def test_samples_and_timesteps_are_drawn_evenly():
    _, asked, _ = trained(8, batch_size=2000)
    x_start, t = (torch.cat([drawn[part] for drawn in asked]) for part in (0, 1))
    table = torch.zeros(10, T).index_put_((x_start[:, 0].long(), t), torch.ones(len(t)), accumulate=True)
    expected = len(t) / (10 * T)
    chi_squared = float(((table - expected) ** 2 / expected).sum())
    # 69 degrees of freedom: above 160 for one generator in 500 million; without one sample or timestep above 1,600
    assert chi_squared < 160, f"each pair of sample and timestep about {expected:.0f} times:\n{table.long().tolist()}"
    assert asked[0][0].shape == (2000, 3), f"2,000 of 10 samples, with replacement: {tuple(asked[0][0].shape)}"


def test_noise_is_fresh_for_every_step_sample_and_element():
    _, asked, _ = trained(3, samples=samples_of(2, 5, 6), batch_size=40)
    expect_fresh_noise(torch.stack([noise for _, _, noise in asked]), "standard normal, new for every element")
    assert len(asked[0][1].unique()) > 3, "each sample has a timestep of its own"
    for first, second, what in zip(*asked[:2], ("samples", "timesteps", "noise"), strict=True):
        assert not torch.equal(first, second), f"the {what} of the second step are those of the first"


@pytest.mark.parametrize("options, share", [({}, 0.1), ({"drop_probability": 0.25}, 0.25)])
def test_a_share_of_the_labels_is_dropped(options, share):
    model, _, _ = trained(4, batch_size=2000, labels=LABELS, null_label=NULL, **options)
    dropped = float((torch.cat([call[2] for call in model.calls]) == NULL).double().mean())
    # of 8,000 labels the share has a standard deviation of at most 0.005: six of them, one generator in 500 million
    assert abs(dropped - share) < 0.03, f"{dropped:.1%} of the labels were replaced by null_label, not {share:.0%}"


def test_the_generator_alone_decides_and_goes_on():
    first, again = rng(5), rng(5)
    runs = [trained(2, generator=generator)[1] for generator in (first, again, again)]
    expect_equal(runs[0], runs[1], "the same state of the generator gives the same run")
    assert not torch.equal(runs[1][0][2], runs[2][0][2]), "a second run on one generator draws other batches"
    global_rng_is_untouched(lambda: trained(2, labels=LABELS, null_label=NULL))


# --- checkpoints and the light twin of the full check -----------------------------------------------------------------


def a_run(seed=3, lr=0.05):
    model, others = Linear(), dict(generator=rng(seed), ema=FakeEMA())
    return others | dict(model=model, optimizer=torch.optim.Adam([model.weight, model.bias], lr=lr))


def go_on(run, steps, **options):
    trained(steps, **run, warmup_steps=6, labels=LABELS, null_label=NULL, **options)


def test_a_resumed_run_is_the_uninterrupted_one(tmp_path, monkeypatch):
    file, whole, stopped, resumed = str(tmp_path / "run.pt"), a_run(), a_run(), a_run(seed=4, lr=0.7)
    go_on(whole, 9)
    with monkeypatch.context() as patched:
        save_as_on_a_missing_gpu(patched)
        go_on(stopped, 4, on_step=lambda report: save_checkpoint(path=file, step=report.step + 1, **stopped))
    torch.load(file, weights_only=True, map_location="cpu")
    assert (step := load_checkpoint(path=file, **resumed)) == 4, f"the number of the next step comes back: {step}"
    go_on(resumed, 9, first_step=step)
    for part, got, expected in zip(STATE, state_of(**resumed), state_of(**whole), strict=True):
        expect_equal(got, expected, f"to the bit: {part}")


def test_a_missing_average_is_refused_and_changes_nothing(tmp_path):
    run = a_run()
    without = {name: part for name, part in run.items() if name != "ema"}
    save_checkpoint(tmp_path / "run.pt", step=2, **without)
    assert load_checkpoint(tmp_path / "run.pt", **without) == 2, "a run without an average is saved and loaded"
    save_checkpoint(tmp_path / "with.pt", step=5, **run)
    assert load_checkpoint(tmp_path / "with.pt", **without) == 5, "an average in the file is ignored"
    go_on(run, 1)
    before = state_of(**run)
    expect_refused("ema", lambda: load_checkpoint(tmp_path / "run.pt", **run))
    expect_equal(state_of(**run), before, "what is refused changes nothing")


@pytest.mark.parametrize("moment", ["while writing", "before moving"])
def test_a_killed_save_keeps_the_last_checkpoint(tmp_path, monkeypatch, moment):
    run, file = a_run(), tmp_path / "run.pt"
    save_checkpoint(file, step=2, **run)
    with monkeypatch.context() as patched:
        interrupt(patched, kata, moment, file)
        with pytest.raises((Killed, OSError)):
            save_checkpoint(file, step=3, **run)
    try:
        assert load_checkpoint(file, **run) == 2, "the file is only replaced when the new one is complete"
    except (KeyError, RuntimeError, OSError, EOFError, pickle.UnpicklingError) as error:
        raise AssertionError(f"killed {moment}, and the last checkpoint is gone: write beside it, then move") from error
    before = set(tmp_path.iterdir())  # whatever the kill has left
    move_within_a_folder_only(monkeypatch, kata)
    save_checkpoint(file, step=4, **run)
    assert set(tmp_path.iterdir()) <= before, f"a save that ends well leaves behind {set(tmp_path.iterdir()) - before}"


def test_training_arrives_at_the_best_prediction():
    data, model = GaussianMixture([1.0], [[0.8, -0.4]], [[[0.5, 0.3], [0.3, 0.4]]]), PerTimestep(T)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    options = dict(steps=400, batch_size=512, generator=rng(1), max_grad_norm=100)
    train_diffusion(model, data.sample(20_000, rng(0))[0].float(), SCHEDULE, optimizer, **options)
    t = torch.arange(2000) % T
    x_t = noisy(data.sample(2000, rng(2))[0], t, normal(2000, 2, seed=3)).float()
    with torch.no_grad():
        excess = float((model(x_t, t) - data.predict_noise(x_t, t, SCHEDULE)).square().mean())
    assert excess < 0.01, f"the squared distance to the exact prediction is {excess:.4f} on average"


# --- refusals and standing laws ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("drop_probability", [0.1, 0])
def test_labels_without_null_label_are_refused(drop_probability):
    expect_refused("null_label", lambda: trained(1, labels=LABELS, drop_probability=drop_probability))


@pytest.mark.parametrize("law", STANDING_LAWS)
def test_standing_laws(law):
    law(to_model_range, normal(2, 3))
    law(to_image_range, normal(2, 3))

    def weight_after_training(samples, schedule, labels):
        with torch.device("cpu"):
            model = Linear()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        options = dict(labels=labels, null_label=NULL, warmup_steps=2, generator=rng(1))
        train_diffusion(model, samples, schedule, optimizer, steps=3, **options)
        return model.weight.detach()

    if law in (inputs_are_not_changed, device_is_followed):
        law(weight_after_training, samples_of(3).clone(), SCHEDULE, LABELS)
