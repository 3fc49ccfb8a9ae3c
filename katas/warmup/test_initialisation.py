"""initialisation: the variance of a weight, the first loss, and the size of every layer's output.

Statistics of a million draws are held to the formula, seven standard errors wide, and seeds are fixed. Out of scope:
layers whose output is no tensor.
"""

import contextlib
import math

import pytest
import torch
from torch import nn

from katas.lab.expect import expect_close, expect_equal, expect_refused
from katas.lab.laws import global_rng_is_untouched
from katas.lab.strategies import normal, rng
from katas.warmup.initialisation import activation_scales, expected_initial_loss, kaiming_normal_

F64 = torch.float64


# --- the definition ---------------------------------------------------------------------------------------------------


def size_of(x) -> float:
    values = x.detach().double().flatten().tolist()
    return math.sqrt(math.fsum(value * value for value in values) / len(values))


def layers(depth: int, width: int, fill) -> nn.Sequential:
    linear = [nn.Linear(width, width, bias=False, dtype=F64) for _ in range(depth)]
    for layer in linear:
        fill(layer.weight)
    return nn.Sequential(*(part for layer in linear for part in (layer, nn.ReLU())))


# --- weights ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape, mode, fan, law", [
    ((500, 2000), "fan_in", 2000, "a linear layer (out, in): fan_in is the second axis"),
    ((500, 2000), "fan_out", 500, "fan_out is the first axis"),
    ((400, 100, 5, 5), "fan_in", 2500, "a convolution adds up in · k · k inputs"),
    ((400, 100, 5, 5), "fan_out", 10_000, "an input reaches out · k · k outputs"),
    ((300, 400, 7), "fan_in", 2800, "a convolution of one dimension"),
    ((1_000_000, 1), "fan_in", 1, "a single input"),
])  # fmt: skip
def test_the_variance_is_two_over_the_fan(shape, mode, fan, law):
    weight = torch.empty(shape, dtype=F64)
    kaiming_normal_(weight=weight, mode=mode, generator=rng())
    scaled = weight / math.sqrt(2 / fan)
    expect_close(scaled.square().mean(), 1.0, f"{law}: the variance is 2 / {fan}", atol=0.01, rtol=0)
    expect_close(scaled.mean(), 0.0, "around 0", atol=0.01, rtol=0)
    expect_close(
        (scaled.abs() < 1).double().mean(), 0.6827, "normal, not uniform: 68 % within one deviation", atol=0.005, rtol=0
    )


def test_fan_in_is_the_default():
    one, other = (torch.empty(30, 50) for _ in range(2))
    kaiming_normal_(one, generator=rng(1)), kaiming_normal_(other, generator=rng(1), mode="fan_in")
    expect_equal(one, other, "mode is fan_in by default")


def test_it_fills_the_parameter_itself():
    layer = nn.Linear(20, 30)
    before, memory = layer.weight, layer.weight.data_ptr()
    got = kaiming_normal_(layer.weight, generator=rng())
    assert got is before and layer.weight.data_ptr() == memory, "the very tensor that was given comes back, filled"
    assert layer.weight.requires_grad and layer.weight.is_leaf, "it still learns: filling is no step of the graph"


def test_draws_come_from_the_generator_and_continue_it():
    generator = rng(3)
    first, second, again = (torch.empty(40, 50) for _ in range(3))
    for weight in (first, second):
        kaiming_normal_(weight, generator=generator)
    kaiming_normal_(again, generator=rng(3))
    expect_equal(again, first, "the same state of the generator gives the same weights")
    assert not torch.equal(first, second), "two layers from one generator have different weights"
    global_rng_is_untouched(kaiming_normal_, torch.empty(4, 5), generator=rng())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, F64])
def test_weights_of_any_dtype(dtype):
    weight = torch.empty(300, 200, dtype=dtype)
    kaiming_normal_(weight, generator=rng())
    assert weight.dtype == dtype and weight.isfinite().all()
    expect_close(weight.double().square().mean() * 100, 1.0, "the variance is 2 / 200", atol=0.03, rtol=0)


def test_thirty_layers_keep_the_size_of_the_activations():
    x = normal(100, 400)
    generator, sizes = rng(), {}
    fills = {
        "kaiming": lambda w: kaiming_normal_(w, generator=generator),
        "1 / fan": lambda w: w.data.copy_(normal(400, 400) / 20),
    }
    for name, fill in fills.items():
        sizes[name] = size_of(layers(30, 400, fill)(x))
    # with 1 / fan the mean square halves in every layer: the size falls to 2 ** -15
    assert 0.3 < sizes["kaiming"] < 3, f"the size after thirty layers is about that of the input, 1: {sizes}"


# --- the first loss and the sizes of layers ---------------------------------------------------------------------------


@pytest.mark.parametrize("num_classes", [1, 2, 10, 1000])
def test_the_first_loss_is_log_of_the_classes(num_classes):
    fresh = nn.functional.cross_entropy(torch.zeros(3, num_classes, dtype=F64), torch.zeros(3, dtype=torch.int64))
    expect_close(expected_initial_loss(num_classes=num_classes), fresh.item(), "the loss of equal logits, in nats")


class Block(nn.Module):
    """Runs its layers in another order than they are listed, and one of them twice."""

    def __init__(self):
        super().__init__()
        self.last, self.first, self.unused = (nn.Linear(5, 5, dtype=F64) for _ in range(3))
        self.act = nn.Tanh()

    def forward(self, x):
        return self.last(self.act(3 * self.act(self.first(x))))


def test_every_layer_has_the_size_of_its_output():
    model, x = nn.Sequential(nn.Linear(4, 5, dtype=F64), Block(), nn.ReLU(inplace=True)), normal(7, 4)
    block, first = model[1], model[0](x)
    inside = block.first(first)
    expected = {"0": first, "1.first": inside, "1.act": inside.tanh(), "1.last": block(first), "2": model(x)}
    sizes = {name: size_of(output) for name, output in expected.items()}
    got = activation_scales(model=model, x=x)
    expect_close(got, sizes, "root mean square of the first call, before another layer works in place")
    assert list(got) == list(expected), f"in the order in which they run: {list(got)}"
    assert all(type(size) is float for size in got.values()), "Python numbers: no tensor, no graph"


def test_a_size_is_no_standard_deviation():
    model = nn.Linear(1, 3, bias=True)
    with torch.no_grad():
        model.weight.zero_(), model.bias.fill_(2)
    expect_close(
        activation_scales(model, torch.ones(5, 1)), {"": 2.0}, "a model of one layer has the name ''; the mean counts"
    )


def test_the_model_runs_in_its_own_mode():
    norm, x = nn.BatchNorm1d(1, eps=1e-12), torch.tensor([[2.0], [4.0]])
    expect_close(activation_scales(norm, x), {"": 1.0}, "in training: normalised by the batch", rtol=1e-5, atol=0)
    expect_close(activation_scales(norm.eval(), x), {"": math.sqrt(10)}, "in evaluation: as it is", rtol=1e-5, atol=0)


class Broken(nn.Module):
    def forward(self, x):
        raise ValueError("the last layer fails")


@pytest.mark.parametrize("last", [nn.Identity(), Broken()], ids=["runs", "fails"])
def test_the_model_is_left_as_it_was(last):
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Dropout(0.5), last)
    model[1].eval()
    model[0].weight.grad = torch.ones_like(model[0].weight)
    modes, rng_state = [module.training for module in model.modules()], torch.get_rng_state()
    for norm_trains in (False, True):
        modes[2] = norm_trains
        model[1].train(norm_trains)
        state = {name: value.clone() for name, value in model.state_dict().items()}
        with pytest.raises(ValueError) if isinstance(last, Broken) else contextlib.nullcontext():
            activation_scales(model, normal(4, 1, 4, 4).float())
        expect_equal(dict(model.state_dict()), state, "parameters, and the statistics of the batch norm")
        assert [module.training for module in model.modules()] == modes, "every module is in its own mode"
    assert not any(module._forward_hooks for module in model.modules()), "no hook is left behind"
    assert model[0].weight.grad is not None and model[0].weight.requires_grad, "gradients stay"
    assert torch.equal(torch.get_rng_state(), rng_state), "dropout drew from the global generator: put it back"


# --- promises of all katas --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, call", [
    ("weight", lambda: kaiming_normal_(torch.empty(5), generator=rng())),
    ("weight", lambda: kaiming_normal_(torch.empty(()), generator=rng())),
    ("mode", lambda: kaiming_normal_(torch.empty(5, 4), generator=rng(), mode="fan_avg")),
    ("num_classes", lambda: expected_initial_loss(0)),
])  # fmt: skip
def test_what_is_out_of_range_is_refused(name, call):
    expect_refused(name, call)
