"""training: a detector is trained as promised, and judged without side effects.

A model of two numbers shows what each step does, followed in Python numbers. Out of scope: the choice of the optimizer.
"""

import copy
import math

import pytest
import torch
from torch import nn

from katas.detection.given.scenes import SceneLoader, bar_scenes
from katas.detection.given.watched import (
    BOXES,
    LABELS,
    NO_LABEL,
    NOTHING,
    Brighter,
    Loss,
    Seer,
    Slope,
    batches,
    retinanet_for_bars,
)  # fmt: skip
from katas.detection.training import evaluate_detector, learning_rate_factor, train_detector
from katas.lab.expect import expect_close, expect_equal
from katas.lab.laws import global_rng_is_untouched
from katas.lab.trees import annotation_checks

CLIP = {"rtol": 1e-5, "atol": 1e-6}  # clip_grad_norm_ divides by the norm + 1e-6


# --- the loop ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("warmup_steps, total_steps, expected", [
    # (1 + cos(pi · t)) / 2 for t = 0, 1/4, 2/4, 3/4
    (2, 6, [0.5, 1, 1, (2 + 2**0.5) / 4, 0.5, (2 - 2**0.5) / 4]),
    (0, 4, [1, (2 + 2**0.5) / 4, 0.5, (2 - 2**0.5) / 4]),
    (4, 2, [0.25, 0.5]),
])  # fmt: skip
def test_the_learning_rate_by_hand(warmup_steps, total_steps, expected):
    plan = dict(warmup_steps=warmup_steps, total_steps=total_steps)
    expect_close([learning_rate_factor(step=s, **plan) for s in range(total_steps)], expected, "warm-up, half a cosine")


def optimizer_of(model, rate=0.1, **options):
    return torch.optim.SGD([{"params": [model.w]}, {"params": [model.v], "lr": 10 * rate}], lr=rate, **options)


def trained(model, loader, **options):
    reports = []
    train_detector(model=model, loader=loader, **dict(optimizer=optimizer_of(model), on_step=reports.append) | options)
    return reports


def follow(means, *, warmup_steps=0, max_grad_norm=10.0):
    """(step, 2 w · mean, (w + v) · mean, norm, rate) before every step, then w and v: the gradient is (3, 1) · mean."""
    w = v = 0.0
    for step, mean in enumerate(means):
        factor = min(1, (step + 1) / max(1, warmup_steps))
        if step >= warmup_steps:
            factor = (1 + math.cos(math.pi * (step - warmup_steps) / (len(means) - warmup_steps))) / 2
        norm = mean * 10**0.5
        yield (step, 2 * w * mean, (w + v) * mean, norm, 0.1 * factor)
        scale = factor * min(1, max_grad_norm / norm)
        w, v = w - 0.1 * scale * 3 * mean, v - 1.0 * scale * mean
    yield w, v


@pytest.mark.parametrize(
    "options", [{}, {"warmup_steps": 2}, {"warmup_steps": 9}, {"max_grad_norm": 2.0}, {"max_grad_norm": 0}]
)
@pytest.mark.parametrize("kind", [float, torch.tensor])
def test_every_step_agrees_with_the_definition(options, kind):
    model = Slope()
    optimizer = optimizer_of(model, rate=kind(0.1))  # a number or a tensor
    reports = trained(model, Brighter(batches(1.0, 3.0)), epochs=3, optimizer=optimizer, **options)
    *steps, end = follow([1, 3, 2, 6, 4, 12], **options)  # every epoch is a pass of its own
    expect_close(reports, steps, "(step, both losses before the update, norm before clipping, first rate)", **CLIP)
    expect_close([float(model.w), float(model.v)], end, "w and v after six steps, each group with its rate", **CLIP)
    assert [type(value) for value in reports[0]] == [int] + [float] * 4, f"Python numbers, not {reports[0]}"


def test_each_call_starts_from_the_rates_it_finds():
    model, rates = Slope(), []
    optimizer = optimizer_of(model)
    for rate in (0.1, 0.2):
        optimizer.param_groups[0]["lr"] = rate
        trained(model, batches(1.0), optimizer=optimizer, epochs=1, on_step=lambda r: rates.append(r.learning_rate))
    expect_close(rates, [0.1, 0.2], "the base is the rate at the call")


@pytest.mark.parametrize("frozen", [False, True])
def test_gradients_of_the_whole_model_count_once(frozen):
    model = Slope()
    model.extra = nn.Parameter(torch.zeros((), dtype=torch.float64), requires_grad=not frozen)  # not in the optimizer
    model.loss = lambda images, *_: Loss(3 * model.w * images.mean(), 4 * model.extra * images.mean())
    model.w.grad, model.extra.grad = torch.full_like(model.w, 50), torch.full_like(model.w, 50)
    [report] = trained(model, batches(1.0), epochs=1, max_grad_norm=1.0)
    norm = 3.0 if frozen else 5.0
    expect_close(report.grad_norm, norm, "the norm over all parameters, of this batch alone", **CLIP)
    expect_close(float(model.w), -0.1 * 3 / norm, "scaled down by the norm of all parameters", **CLIP)


def test_modes_and_callbacks_of_every_epoch():
    model, epochs = Slope().eval(), []

    def evaluates(epoch):
        epochs.append((epoch, len(model.modes)))
        model.eval()

    trained(model, batches(1.0, 2.0), epochs=3, on_epoch=evaluates)
    assert model.modes == [(True, True)] * 6, f"each step is in training mode, whatever a callback did: {model.modes}"
    assert epochs == [(0, 2), (1, 4), (2, 6)], f"on_epoch after each epoch of 2 steps: (epoch, steps made) {epochs}"


@pytest.mark.parametrize("part", ["images", "gt_boxes", "gt_labels", "images to evaluate"])
def test_batches_are_moved_to_the_models_device(part):
    # On the meta device tensors have no numbers: whoever moves one from there is told so, GPU or not.
    [batch] = [dict(zip(("images", "gt_boxes", "gt_labels"), each, strict=True)) for each in batches(1.0)]
    moved = part.split()[0]
    batch[moved] = batch[moved].to("meta") if moved == "images" else [entry.to("meta") for entry in batch[moved]]
    try:
        if "evaluate" in part:
            evaluate_detector(Seer(TRUE), [tuple(batch.values())])
        else:
            trained(Slope(), [tuple(batch.values())], epochs=1)
    except NotImplementedError as error:
        if "copy out of meta" not in str(error):  # such as the stub's
            raise
        return
    raise AssertionError(f"{part} on another device than the model is not moved to the model's")


@pytest.mark.parametrize("classification, regression", [(1.5, math.nan), (math.inf, 1.5), (-math.inf, 1.5)])
def test_a_loss_that_is_not_finite_changes_nothing(classification, regression):
    model, kept = Slope(), []
    optimizer, plain = optimizer_of(model, momentum=0.9), model.loss

    def spoil(report):
        if report.step == 1:
            kept.append(copy.deepcopy([float(model.w), float(model.v), optimizer.state_dict()["state"]]))
            model.loss = lambda *batch: Loss(plain(*batch)[0] * 0 + classification, plain(*batch)[1] * 0 + regression)

    with pytest.raises(FloatingPointError, match=r"\b2\b") as error:
        trained(model, batches(1.0, 2.0, 1.0, 1.0), epochs=1, optimizer=optimizer, on_step=spoil)
    assert "1.5" in str(error.value) and ("nan" in str(error.value) or "inf" in str(error.value)), (
        "both parts are named"
    )
    now = [float(model.w), float(model.v), optimizer.state_dict()["state"]]
    expect_equal(now, kept[0], "weights and momentum are those of the last good step")


def test_an_interrupt_keeps_the_steps_made_so_far():
    model, seen = Slope(), []

    def interrupts(report):
        seen.append(report.step)
        if report.step == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(model, batches(1.0, 1.0, 1.0), epochs=5, warmup_steps=20, on_step=interrupts)
    expect_close(float(model.w), -0.1 * 3 * (1 / 20 + 2 / 20), "steps 0 and 1 are made")
    assert seen == [0, 1], f"callbacks of steps 0 and 1 have run: {seen}"


# --- evaluation -------------------------------------------------------------------------------------------------------

TRUE = [(BOXES[0], LABELS[0]), (BOXES[1], LABELS[1]), (NOTHING, NO_LABEL)]


def eval_batches():
    """Batches of one and two images; the third has no objects."""
    images = torch.arange(3.0)[:, None, None, None].expand(3, 3, 2, 2)
    return [(images[i], [TRUE[n][0] for n in i], [TRUE[n][1] for n in i]) for i in ([0], [1, 2])]


@pytest.mark.parametrize("law, answers, expected", [
    ("every object found, none invented", TRUE, 1),
    ("detections count in their own image", [TRUE[1], TRUE[0], TRUE[2]], 0),
    ("one class of three is found", [TRUE[0], (BOXES[1], torch.tensor([0, 1])), TRUE[2]], 1 / 3),
    ("an image without detections has missed its objects", [TRUE[0], TRUE[2], TRUE[2]], 1 / 3),
    # class 2: the invented object comes first, so its precision is 1/2
    ("an image without objects counts", [(*TRUE[0], torch.tensor([0.5])), TRUE[1], TRUE[0]], (1 + 1 + 0.5) / 3),
])  # fmt: skip
def test_average_precision_by_hand(law, answers, expected):
    expect_close(evaluate_detector(model=Seer(answers), loader=eval_batches()).ap, expected, law)


@pytest.mark.parametrize("training", [True, False])
def test_evaluation_has_no_side_effects(training):
    model = Seer(TRUE).train(training)
    model.frozen.eval()
    model.tower[0][0].eval()
    before = {name: module.training for name, module in model.named_modules()}
    evaluate_detector(model, eval_batches(), score_thresh=0.3)
    called = [(False, False, False, {"score_thresh": 0.3})] * 2
    assert model.calls == called, f"(training, norm training, gradients, options) of both batches: {model.calls}"
    model.answers = {}
    with pytest.raises(KeyError):
        evaluate_detector(model, eval_batches())
    after = {name: module.training for name, module in model.named_modules()}
    assert after == before, f"every module is in the mode in which it was, after an exception too: {after}"


# --- the light twin and standing laws ---------------------------------------------------------------------------------


@pytest.mark.timeout(120)
def test_a_small_retinanet_learns_to_find_bars():
    model, options = retinanet_for_bars(seed=0), dict(widths=(8, 10))
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, fused=True)
    with annotation_checks(False):  # for speed, as in the full checks
        train_detector(model, SceneLoader(bar_scenes(640, seed=0, **options), 8), optimizer, epochs=1, warmup_steps=20)
        ap50 = evaluate_detector(model, SceneLoader(bar_scenes(48, seed=1000, **options), 48)).ap50
    # Over seeds 0 to 39 right code reaches 0.98 to 1.00. Over seeds 0 to 7: boxes left undecoded 0.55 to 0.70,
    # anchors by shape before place 0.03 to 0.10, column by column 0.03 to 0.05.
    assert ap50 >= 0.85, (
        f"on new images AP50 is {ap50:.2f}, right code has 0.98: are anchors, rows, deltas in one order?"
    )


def test_the_global_random_state_is_untouched():
    global_rng_is_untouched(trained, Slope(), batches(1.0, 2.0), epochs=2)
    global_rng_is_untouched(evaluate_detector, Seer(TRUE), eval_batches())
