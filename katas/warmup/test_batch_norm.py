"""batch_norm: what is normalised by what, in training and in evaluation.

Checked against Python's `statistics` channel by channel, and against `nn.BatchNorm2d` over several batches. Out of
scope: half precision, momentum None.
"""

import copy
import math
import statistics

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from katas.lab.expect import expect_close, expect_equal, expect_refused
from katas.lab.laws import gradients_are_right, inputs_are_not_changed, memory_layout_does_not_matter
from katas.lab.strategies import normal, seeds
from katas.warmup.batch_norm import BatchNorm2d

F64 = torch.float64
SHAPES = st.sampled_from([(2, 1, 1, 1), (1, 3, 2, 1), (3, 4, 2, 5), (2, 70, 1, 3), (16, 2, 8, 8)])
OPTIONS = st.fixed_dictionaries(
    {}, optional={"eps": st.sampled_from([1e-3, 0.5]), "momentum": st.sampled_from([0.0, 0.3, 1.0])}
)


# --- the definition ---------------------------------------------------------------------------------------------------


def channels(x):
    """The values of each channel, as lists of Python numbers."""
    return [x[:, c].flatten().tolist() for c in range(x.shape[1])]


def normalised(x, means, variances, eps=1e-5):
    planes = [(x[:, c] - m) / math.sqrt(v + eps) for c, (m, v) in enumerate(zip(means, variances, strict=True))]
    return torch.stack(planes, dim=1)


def norm(num_features, **options):
    """With a scale and a shift of its own for every channel, in float64."""
    layer = BatchNorm2d(num_features, **options).double()
    with torch.no_grad():
        layer.weight.copy_(normal(num_features, seed=1)), layer.bias.copy_(normal(num_features, seed=2))
    return layer


def affine(x, layer):
    return x * layer.weight[:, None, None] + layer.bias[:, None, None]


# --- training ---------------------------------------------------------------------------------------------------------


def test_two_pixels_by_hand():
    # channel 0: mean 3, variance 4; channel 1: mean 10, variance 0
    x, layer = (
        torch.tensor([[[[1.0, 5.0]], [[10.0, 10.0]]]], dtype=F64),
        BatchNorm2d(num_features=2, eps=1e-12).double(),
    )
    got = layer(x=x)
    expect_close(got[:, 0], [[[-1, 1]]], "(1 - 3) / 2 and (5 - 3) / 2: the biased variance, divided by N")
    expect_close(got[:, 1], [[[0, 0]]], "each channel by its own mean")
    expect_close(layer.running_mean, [0.3, 1], "0.9 * 0 + 0.1 * the mean of the batch")
    expect_close(layer.running_var, [0.9 + 0.1 * 8, 0.9], "the unbiased variance is stored, divided by N - 1: 8")


@given(seeds(), SHAPES, OPTIONS, st.sampled_from([1e-2, 1, 1e3]))
def test_training_agrees_with_the_definition(seed, shape, options, unit):
    x, layer = 3 + unit * normal(*shape, seed=seed), norm(shape[1], **options)
    got, values = layer(x), channels(x)
    means, variances = [statistics.fmean(v) for v in values], [statistics.pvariance(v) for v in values]
    expected = normalised(x, means, variances, options.get("eps", 1e-5))
    expect_close(got, affine(expected, layer), "mean and biased variance of the batch", rtol=1e-6, atol=1e-6)
    momentum = options.get("momentum", 0.1)
    expect_close(layer.running_mean, [momentum * m for m in means], "the running mean has moved by momentum")
    unbiased = [(1 - momentum) + momentum * statistics.variance(v) for v in values]
    expect_close(layer.running_var, unbiased, "the running variance has moved by momentum, to the unbiased one")


def test_a_large_mean_leaves_the_variance_its_digits():
    x, layer = (1000 + normal(8, 1, 5, 5)).float(), BatchNorm2d(1)
    spread = x.double() - x.double().mean()
    expected = (spread / spread.square().mean().sqrt()).float()
    expect_close(layer(x), expected, "the mean of x² less the square of the mean has no digits left", rtol=0, atol=3e-3)


def test_four_batches_as_in_pytorch():
    mine, theirs = norm(3, momentum=0.3), nn.BatchNorm2d(3, momentum=0.3).double()
    theirs.load_state_dict(mine.state_dict())
    for step in range(4):
        x = 2 + normal(4, 3, 5, 2, seed=step)
        expect_close(mine(x), theirs(x), f"batch {step}")
        expect_close(dict(mine.state_dict()), dict(theirs.state_dict()), f"what is kept after batch {step}")
    mine.load_state_dict(theirs.state_dict())
    expect_close(mine.eval()(x), theirs.eval()(x), "evaluation, after the state of nn.BatchNorm2d was loaded")


def test_a_fresh_layer_is_that_of_pytorch():
    expect_equal(dict(BatchNorm2d(5).state_dict()), dict(nn.BatchNorm2d(5).state_dict()), "names, values, dtypes")
    assert [name for name, _ in BatchNorm2d(5).named_parameters()] == ["weight", "bias"], "statistics are no parameters"


def test_the_gradient_flows_through_mean_and_variance():
    layer = norm(2)
    gradients_are_right(lambda x: copy.deepcopy(layer)(x), normal(3, 2, 2, 1))
    x = normal(3, 2, 2, 1).requires_grad_()
    layer(x).square().sum().backward()
    assert layer.weight.grad.any() and layer.bias.grad.any(), "scale and shift learn"
    assert not layer.running_mean.requires_grad and not layer.running_var.requires_grad, (
        "running statistics keep no graph"
    )


# --- evaluation -------------------------------------------------------------------------------------------------------


def trained(num_features=3):
    layer = norm(num_features, eps=0.5)
    for seed in range(3):
        layer(2 + 3 * normal(4, num_features, 2, 2, seed=seed))
    return layer.eval()


def test_evaluation_uses_what_was_stored():
    layer, x = trained(), normal(5, 3, 2, 4)
    state = {name: value.clone() for name, value in layer.state_dict().items()}
    expected = normalised(x, layer.running_mean.tolist(), layer.running_var.tolist(), eps=0.5)
    expect_close(layer(x), affine(expected, layer), "running mean and running variance")
    expect_equal(dict(layer.state_dict()), state, "looking changes nothing")
    expect_close(BatchNorm2d(3).double().eval()(x), x, "a fresh layer: mean 0 and variance 1", rtol=1e-5, atol=1e-5)


def test_an_image_does_not_depend_on_its_neighbours():
    layer, x = trained(), normal(5, 3, 2, 4)
    expect_close(torch.cat([layer(image[None]) for image in x]), layer(x), "one by one or together, in evaluation")
    expect_close(layer(x[:1, :, :1, :1]).shape, torch.Size([1, 3, 1, 1]), "one pixel is enough in evaluation")


def test_a_gradient_of_evaluation_treats_statistics_as_constants():
    layer = trained(2)
    gradients_are_right(layer, normal(1, 2, 2, 1))


# --- promises of all katas --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 3, 1, 1), (1, 1, 1, 1)])
def test_one_value_a_channel_has_no_variance(shape):
    layer = BatchNorm2d(shape[1])
    expect_refused("x", lambda: layer(torch.ones(shape)))
    expect_equal(dict(layer.state_dict()), dict(BatchNorm2d(shape[1]).state_dict()), "and nothing is stored")


def test_an_empty_batch_leaves_the_statistics():
    layer = BatchNorm2d(2)
    assert layer(torch.zeros(0, 2, 3, 3)).shape == (0, 2, 3, 3), "an empty batch gives an empty result"
    expect_equal([layer.running_mean, layer.running_var], [[0.0, 0], [1, 1]], "its mean is NaN", dtype=torch.float32)


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("mode", [True, False])
def test_the_dtype_is_that_of_the_layer(dtype, mode):
    layer = norm(3).to(dtype).train(mode)
    assert layer(normal(4, 3, 2, 2).to(dtype)).dtype == dtype, f"{dtype} in, {dtype} out"
    assert layer.running_var.dtype == dtype, "buffers follow the layer"


@pytest.mark.parametrize("law", [inputs_are_not_changed, memory_layout_does_not_matter])
@pytest.mark.parametrize("mode", [True, False])
def test_standing_laws(law, mode):
    law(lambda x: copy.deepcopy(norm(3)).train(mode)(x), normal(4, 3, 2, 5))
