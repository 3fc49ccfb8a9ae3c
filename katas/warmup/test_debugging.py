"""debugging: gradient norms, dead units, one batch overfitted, and the range test.

Tried on networks with planted faults, and on a weight whose steps are computed in Python floats. Out of scope: models
with shared parameters, other ReLUs than `nn.ReLU`.
"""

import contextlib
import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from katas.lab.expect import expect_close, expect_equal, expect_refused
from katas.lab.strategies import normal
from katas.warmup.debugging import dead_relu_fraction, gradient_norms, learning_rate_range_test, overfit_one_batch

F64 = torch.float64
RATES = {"min_lr": 1e-3, "max_lr": 0.1}


class Weight(nn.Module):
    def __init__(self, value):
        super().__init__()
        self.w = nn.Parameter(torch.tensor(value, dtype=F64))


def square(model, target, factor=1.0):
    """(w - target)² times a factor: its slope is 2 factor (w - target)."""
    return factor * (model.w - target) ** 2


def network():
    torch.manual_seed(0)
    parts = nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3)
    return nn.Sequential(*parts).double()


def cross_entropy(model, images, labels):
    return F.cross_entropy(model(images), labels)


BATCH = normal(6, 4), torch.tensor([0, 1, 2, 0, 1, 2])


# --- the definition ---------------------------------------------------------------------------------------------------


def adam(w, target, steps, lr):
    m = v = 0.0
    for t in range(1, steps + 1):
        yield (w - target) ** 2
        g = 2 * (w - target)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        w -= lr * (m / (1 - 0.9**t)) / (math.sqrt(v / (1 - 0.999**t)) + 1e-8)


def swept(w, targets, rates):
    for target, rate in zip(targets, rates, strict=True):
        yield rate, (w - target) ** 2
        w -= rate * 2 * (w - target)


# --- norms and dead units ---------------------------------------------------------------------------------------------


def test_norms_by_hand():
    model = nn.Sequential(nn.Linear(2, 1), nn.Linear(1, 1, bias=False)).double()
    model[0].weight.grad, model[1].weight.grad = torch.tensor([[3.0, -4.0]]).double(), torch.tensor([[2.0]]).double()
    expected = {"0.weight": 5, "0.bias": 0, "1.weight": 2}
    expect_close(gradient_norms(model=model), expected, "the root of the sum of squares, by name; 0 without a gradient")


def test_large_gradients_of_float16_do_not_overflow():
    model = nn.Linear(4, 1, bias=False).half()
    model.weight.grad = torch.full((1, 4), 1000.0).half()
    expect_close(gradient_norms(model), {"weight": 2000}, "the square of 1000 is no number in float16")


class Planted(nn.Module):
    """ReLUs that are given what is planted: one for features, one for maps, one that runs twice."""

    def __init__(self):
        super().__init__()
        self.features, self.maps, self.twice, self.unused = (nn.ReLU() for _ in range(4))

    def forward(self, x):
        self.features(x).add_(1), self.maps(x[:, [0, 1, 1, 1, 2, 1]].reshape(3, 2, 3, 1))
        return self.twice(x) + self.twice(-x)


def test_a_unit_is_dead_if_it_is_0_for_the_whole_batch():
    # feature 0 is alive, 1 and 2 are dead, 3 is alive for one example; channel 0 of the maps is alive at one place
    x = torch.tensor([[1.0, -1.0, 0.0, -5.0], [2.0, -2.0, 0.0, 1e-9], [3.0, -3.0, -1.0, -6.0]], dtype=F64)
    got = dead_relu_fraction(model=Planted(), x=x)
    assert set(got) == {"features", "maps", "twice"}, f"every ReLU that runs, by its name: {sorted(got)}"
    expect_close(got["features"], 0.5, "two of four features are 0 for all three examples")
    expect_close(got["maps"], 0.5, "a channel, axis 1, is alive if any of its places is")
    expect_close(got["twice"], 0, "alive in one call of two is alive: -x wakes 1 and 2")


def test_a_killed_layer_shows():
    model = network().eval()
    with torch.no_grad():
        model[1].bias[:6] = -100.0
    got = dead_relu_fraction(nn.Sequential(nn.Identity(), model), BATCH[0])
    expect_close(got, {"1.2": 0.75}, "six of eight units never fire")


# --- one batch, and the range test ------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{"steps": 1, "lr": 0.1}, {"steps": 40, "lr": 0.05}, {"steps": 3}])
def test_losses_are_those_of_adam(options):
    got = overfit_one_batch(model=Weight(2.0), loss_fn=square, batch=(5.0,), **options)
    expect_close(got, list(adam(2.0, 5.0, **{"lr": 1e-3} | options)), "the loss of each step, before its update")


def test_a_healthy_network_overfits_and_a_broken_one_does_not():
    healthy, broken = network(), network()
    healthy[3].p = 0.0
    broken[4].requires_grad_(False).weight.data.zero_()
    losses = [overfit_one_batch(model, cross_entropy, BATCH, steps=150, lr=0.05)[-1] for model in (healthy, broken)]
    assert losses[0] < 0.05 < 1 < losses[1], f"six examples by heart, or log 3 for ever: {losses}"


@pytest.mark.parametrize("count", [1, 2, 5])
def test_rates_grow_geometrically(count):
    targets, rates = [5.0 - n for n in range(count)], [1e-3 * 100 ** (n / max(1, count - 1)) for n in range(count)]
    batches = [(target,) for target in targets]
    got = learning_rate_range_test(model=Weight(2.0), loss_fn=square, batches=batches, **RATES)
    expect_close(got, list(swept(2.0, targets, rates)), "(rate, loss before the step), from min_lr to max_lr, by SGD")


@pytest.mark.parametrize("factors, expected, law", [
    ([1, 1, 3.9, 1, 1], 5, "3.9 times the lowest is no reason to stop"),
    ([1, 1, 4.1, 1, 1], 3, "4.1 times the lowest is: the loss is kept, and nothing comes after it"),
    ([9, 1, 3, 5, 1], 4, "the lowest so far counts, not the first or the last"),
    ([1, math.nan, 1], 2, "NaN ends it"), ([1, math.inf, 1], 2, "infinity ends it"),
    *[([first, 1], 1, "at once, too") for first in (math.nan, math.inf)],
])  # fmt: skip
def test_it_stops_where_the_loss_explodes(factors, expected, law):
    # a rate of 1e-9: the weight hardly moves, and losses are the factors
    batches = [(1.0, factor) for factor in factors]
    got = learning_rate_range_test(Weight(2.0), square, batches, min_lr=1e-9, max_lr=1e-9)
    expect_close([loss for _, loss in got], factors[:expected], law, rtol=1e-5, atol=0)


@pytest.mark.parametrize("training", [True, False])
def test_the_model_runs_in_its_own_modes(training):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.Dropout(1.0), nn.ReLU()).double().train(training)
    loss = cross_entropy(model, *BATCH).item()  # dropout leaves nothing in training, and everything in evaluation
    first = overfit_one_batch(copy.deepcopy(model), cross_entropy, BATCH, steps=1)
    (_, swept), *_ = learning_rate_range_test(copy.deepcopy(model), cross_entropy, [BATCH], **RATES)
    expect_close([first[0], swept], [loss, loss], "in training with dropout, in evaluation without")
    assert (dead_relu_fraction(model, BATCH[0])["2"] == 1) == training, "what dropout takes away does not fire"


# --- nothing is changed -----------------------------------------------------------------------------------------------


def failing(model, *batch):
    cross_entropy(model, *batch).backward()
    raise ValueError("the loss fails")


@pytest.mark.parametrize("name, call, fails", [
    ("gradient_norms", lambda model: gradient_norms(model), False),
    ("dead_relu_fraction", lambda model: dead_relu_fraction(model, BATCH[0]), False),
    ("overfit_one_batch", lambda model: overfit_one_batch(model, cross_entropy, BATCH, steps=3, lr=0.1), False),
    ("range test", lambda model: learning_rate_range_test(model, cross_entropy, [BATCH] * 3, **RATES), False),
    ("overfit_one_batch", lambda model: overfit_one_batch(model, failing, BATCH, steps=3), True),
    ("range test", lambda model: learning_rate_range_test(model, failing, [BATCH], **RATES), True),
])  # fmt: skip
def test_the_model_is_left_as_it_was(name, call, fails):
    model = network()
    model[3].eval()
    model[0].weight.grad = torch.ones_like(model[0].weight)
    state, rng_state = {key: value.clone() for key, value in model.state_dict().items()}, torch.get_rng_state()
    modes = [module.training for module in model.modules()]
    for dropout in (False, True):
        modes[4] = dropout
        model[3].train(dropout)
        with pytest.raises(ValueError, match="the loss fails") if fails else contextlib.nullcontext():
            call(model)
        expect_equal(dict(model.state_dict()), state, f"{name}: weights, and the statistics of the batch norm")
        assert [module.training for module in model.modules()] == modes, f"{name}: every module is in its own mode"
    grads = [None if parameter.grad is None else parameter.grad.sum().item() for parameter in model.parameters()]
    assert grads == [32.0] + [None] * 5, f"{name}: gradients are as they were: {grads}"
    assert not any(module._forward_hooks for module in model.modules()), f"{name}: no hook is left behind"
    assert torch.equal(torch.get_rng_state(), rng_state), f"{name}: dropout drew from the global generator"


@pytest.mark.parametrize("least, most", [(0.0, 0.1), (-1e-3, 0.1), (0.2, 0.1)])
@pytest.mark.parametrize("batches", [[], [(5.0,)]], ids=["none", "one"])
def test_rates_that_cannot_grow_are_refused(least, most, batches):
    expect_refused("min_lr", lambda: learning_rate_range_test(Weight(2.0), square, batches, min_lr=least, max_lr=most))
