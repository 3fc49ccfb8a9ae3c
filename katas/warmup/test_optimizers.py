"""optimizers: SGD and AdamW, number by number, and what they keep.

Checked against the formulas on Python floats, and against `torch.optim` over 200 steps. Out of scope: sparse weights,
learning rates that are tensors, amsgrad, maximize.
"""

import io
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from katas.lab.expect import expect_close, expect_equal, expect_refused
from katas.lab.strategies import normal, seeds
from katas.warmup.optimizers import SGD, AdamW

F64 = torch.float64
SGD_OPTIONS = [
    {}, {"weight_decay": 0.3}, {"momentum": 1.0}, {"momentum": 0.5, "weight_decay": 0.1},
    {"momentum": 0.9, "nesterov": True}, {"momentum": 0.5, "nesterov": True, "weight_decay": 0.2},
]  # fmt: skip
ADAM_OPTIONS = [
    {}, {"weight_decay": 0}, {"betas": (0.5, 0.8)}, {"eps": 0.1}, {"betas": (0.0, 0.9), "weight_decay": 0.5},
    {"betas": (0.9, 0.0), "eps": 1e-3},
]  # fmt: skip
CASES = [(SGD, options) for options in SGD_OPTIONS] + [(AdamW, options) for options in ADAM_OPTIONS]


# --- the definition ---------------------------------------------------------------------------------------------------


def sgd(weight, gradients, lr, momentum=0.0, weight_decay=0.0, nesterov=False):
    """One number, through a list of gradients (None: there was none), with one learning rate for each."""
    m = None
    for g, rate in zip(gradients, lr, strict=True):
        if g is not None:
            g += weight_decay * weight
            m = g if m is None else momentum * m + g
            weight -= rate * (g + momentum * m if nesterov else m if momentum else g)
        yield weight


def adamw(weight, gradients, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2):
    t = m = v = 0
    for g, rate in zip(gradients, lr, strict=True):
        if g is not None:
            t, m, v = t + 1, betas[0] * m + (1 - betas[0]) * g, betas[1] * v + (1 - betas[1]) * g * g
            weight -= rate * weight_decay * weight
            weight -= rate * (m / (1 - betas[0] ** t)) / (math.sqrt(v / (1 - betas[1] ** t)) + eps)
        yield weight


DEFINITIONS = {SGD: sgd, AdamW: adamw}


def taken(optimizer, weight, gradients, rates):
    """The weight after each step."""
    for gradient, rate in zip(gradients, rates, strict=True):
        weight.grad = None if gradient is None else torch.full_like(weight, gradient)
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
        yield float(weight.detach())


def number(value):
    return nn.Parameter(torch.tensor(value, dtype=F64))


# --- steps ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind, options, expected, law", [
    # w = 2, gradients 1 and 3, learning rate 0.1
    (SGD, {}, [1.9, 1.6], "w - 0.1 * g"),
    (SGD, {"momentum": 0.5}, [1.9, 1.9 - 0.1 * 3.5], "m = 1, then 0.5 * 1 + 3"),
    (SGD, {"momentum": 0.5, "nesterov": True}, [2 - 0.15, 1.85 - 0.1 * (3 + 0.5 * 3.5)], "g + 0.5 * m"),
    (SGD, {"weight_decay": 0.2}, [2 - 0.1 * 1.4, 1.86 - 0.1 * (3 + 0.2 * 1.86)], "g + 0.2 * w"),
    (AdamW, {"weight_decay": 0, "eps": 0}, [1.9], "the first step is the learning rate, whatever the gradient"),
    (AdamW, {"weight_decay": 0.5, "eps": 0}, [2 - 0.1 * 0.5 * 2 - 0.1], "lr * weight_decay * w, past the moments"),
    # m = 0.9 * 0.1 + 0.1 * 3 = 0.39, over 0.19; v = 0.5 * 0.5 + 0.5 * 9 = 4.75, over 0.75
    (AdamW, {"betas": (0.9, 0.5), "weight_decay": 0, "eps": 1},
     [1.95, 1.95 - 0.1 * (0.39 / 0.19) / (math.sqrt(4.75 / 0.75) + 1)],
     "both moments are mended by 1 - beta ** t; eps is added after the root"),
])  # fmt: skip
def test_steps_by_hand(kind, options, expected, law):
    weight = number(2.0)
    optimizer, steps = kind(params=[weight], lr=0.1, **options), len(expected)
    expect_close(list(taken(optimizer, weight, [1.0, 3.0][:steps], [0.1] * steps)), expected, law)
    assert kind is AdamW or any(optimizer.state.values()) == ("momentum" in options), "without momentum no m is kept"


@given(st.lists(st.none() | st.floats(-10, 10), min_size=1, max_size=8), st.sampled_from(CASES), st.data())
def test_any_steps_agree_with_the_definition(gradients, case, data):
    (kind, options), weight = case, number(1.5)
    rates = data.draw(st.lists(st.sampled_from([0.0, 0.01, 0.5]), min_size=len(gradients), max_size=len(gradients)))
    got = list(taken(kind([weight], lr=0, **options), weight, gradients, rates))
    expected = list(DEFINITIONS[kind](1.5, gradients, rates, **options))
    expect_close(got, expected, "step by step: no gradient is no step, and a changed rate holds", rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind, options", CASES)
def test_gradients_are_not_changed(kind, options):
    weight = nn.Parameter(normal(5))
    weight.grad, optimizer = torch.zeros(5, dtype=F64), kind([weight], lr=0.1, **options)
    for seed in (1, 2):
        weight.grad.copy_(normal(5, seed=seed))  # in the same memory, as after zero_grad(set_to_none=False)
        optimizer.step()
        expect_equal(weight.grad, normal(5, seed=seed), "the gradient belongs to the caller: more may be added to it")


@pytest.mark.parametrize("kind, options", CASES)
def test_two_hundred_steps_as_in_pytorch(kind, options):
    kinds, gradients, rows = (kind, getattr(torch.optim, kind.__name__)), normal(200, 7), []
    other = {"weight_decay": 0.2} | ({"momentum": 0.5} if "momentum" in options else {})  # from the 100th step on
    for one in kinds:
        weights = [nn.Parameter(normal(3, seed=1)), nn.Parameter(normal(2, 2, seed=2))]
        optimizer = one(weights, lr=0.02, **options)
        for step, gradient in enumerate(gradients):
            weights[0].grad, weights[1].grad = gradient[:3], gradient[3:].reshape(2, 2) if step % 3 else None
            optimizer.param_groups[0].update(other if step >= 100 else {})
            optimizer.step()
        rows.append(weights)
    expect_close(*rows, "200 steps, with options that change and steps without a gradient", rtol=0, atol=1e-12)


# --- groups, state, closures ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind, first, second", [
    (SGD, {"lr": 0.1, "momentum": 0.9}, {"weight_decay": 0.3}),
    (SGD, {"momentum": 0.9, "nesterov": True}, {"momentum": 0.5}),
    (AdamW, {"lr": 0.1, "eps": 0.1}, {"betas": (0.5, 0.6), "weight_decay": 0.5}),
])  # fmt: skip
def test_every_group_has_its_own_options(kind, first, second):
    weights, gradients = [number(2.0), number(-1.0)], [1.0, 3.0, -2.0]
    groups = [{"params": [weight], **options} for weight, options in zip(weights, (first, second), strict=True)]
    optimizer = kind(groups, lr=0.02)
    for gradient in gradients:
        for weight in weights:
            weight.grad = torch.full_like(weight, gradient)
        optimizer.step()
    for weight, start, options in zip(weights, (2.0, -1.0), (first, second), strict=True):
        own = {"lr": 0.02} | options
        *_, expected = DEFINITIONS[kind](start, gradients, 3 * [own.pop("lr")], **own)
        expect_close(weight.detach(), expected, f"the group with {options}")


@pytest.mark.parametrize("kind, options", [(SGD, {"momentum": 0.9}), (AdamW, {})])
def test_a_saved_optimizer_goes_on_to_the_bit(kind, options):
    def steps(weights, optimizer, which):
        for n in which:
            for weight in weights:
                weight.grad = normal(*weight.shape, seed=n)
            optimizer.step()

    weights = [nn.Parameter(normal(3, 2)), nn.Parameter(normal(4))]
    optimizer = kind(weights, lr=0.1, **options)
    steps(weights, optimizer, range(3))
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    others = [nn.Parameter(weight.detach().clone()) for weight in weights]
    resumed = kind(others, lr=0.7, **options)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    steps(weights, optimizer, range(3, 6)), steps(others, resumed, range(3, 6))
    expect_equal(others, weights, "moments, counts and learning rate come back: the same weights to the bit")


@pytest.mark.parametrize("kind", [SGD, AdamW])
def test_a_closure_is_called_with_gradients(kind):
    weight, rate = number(2.0), {SGD: 0.1, AdamW: 1e-3}[kind]
    optimizer = SGD([weight], rate) if kind is SGD else AdamW([weight])

    def closure():
        optimizer.zero_grad()
        loss = weight**2
        loss.backward()
        return loss

    expect_close(optimizer.step(closure=closure).detach(), 4.0, "the loss before the step is returned")
    expect_close(weight.detach(), next(DEFINITIONS[kind](2.0, [4.0], [rate])), "and the step uses its gradient")
    assert optimizer.step() is None, "without a closure nothing is returned"


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, kind, options", [
    ("lr", SGD, {"lr": -0.1}), ("momentum", SGD, {"lr": 0.1, "momentum": -0.1}),
    ("weight_decay", SGD, {"lr": 0.1, "weight_decay": -0.1}), ("nesterov", SGD, {"lr": 0.1, "nesterov": True}),
    ("lr", AdamW, {"lr": -0.1}), ("eps", AdamW, {"eps": -1e-8}), ("weight_decay", AdamW, {"weight_decay": -0.1}),
    *[("betas", AdamW, {"betas": betas}) for betas in [(1.0, 0.9), (0.9, 1.0), (0.9, -0.1)]],
])  # fmt: skip
def test_options_out_of_range_are_refused(name, kind, options):
    expect_refused(name, lambda: kind([number(1.0)], **options))
