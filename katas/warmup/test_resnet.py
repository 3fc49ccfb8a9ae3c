"""resnet: a block with a shortcut, and a network of them for small images.

The block is held to torchvision's with the same weights, the network to what its parts are shown. Out of scope: names
of the parts of `ResNet`, empty batches.
"""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torchvision.models.resnet import BasicBlock as TorchvisionBlock

from katas.lab.expect import expect_close, expect_equal
from katas.lab.laws import inputs_are_not_changed, memory_layout_does_not_matter
from katas.lab.strategies import normal
from katas.warmup.resnet import BasicBlock, ResNet

F64 = torch.float64
BLOCKS = [(3, 3, 1), (3, 5, 1), (4, 4, 2), (2, 6, 2), (5, 2, 3)]  # in, out, stride


# --- the definition ---------------------------------------------------------------------------------------------------


def torchvisions(in_channels, out_channels, stride):
    """With weights, scales, shifts and statistics that are drawn: none is 0 or 1."""
    downsample = None
    if stride != 1 or in_channels != out_channels:
        shrink = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
        downsample = nn.Sequential(shrink, nn.BatchNorm2d(out_channels))
    block = TorchvisionBlock(in_channels, out_channels, stride, downsample).double()
    state = block.state_dict()
    for place, (name, values) in enumerate(state.items()):
        if values.is_floating_point():
            drawn = normal(*values.shape, seed=place)
            state[name] = 0.5 + drawn.abs() if name.endswith("running_var") else drawn
    block.load_state_dict(state)
    return block


def drawn(network):
    """The network in float64, with every parameter drawn anew: no scale of 0 hides what is behind it."""
    network = network.double()
    with torch.no_grad():
        for place, parameter in enumerate(network.parameters()):
            parameter.copy_(normal(*parameter.shape, seed=place) / math.sqrt(parameter[0].numel()))
    return network


def convolutions(network):
    return [module for module in network.modules() if isinstance(module, nn.Conv2d)]


# --- the block --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("in_channels, out_channels, stride", BLOCKS)
def test_a_block_with_torchvisions_weights_is_torchvisions(in_channels, out_channels, stride, training):
    theirs = torchvisions(in_channels, out_channels, stride).train(training)
    mine = BasicBlock(in_channels=in_channels, out_channels=out_channels, stride=stride).double().train(training)
    mine.load_state_dict(theirs.state_dict())  # fails where names or shapes differ
    x = normal(2, in_channels, 7, 6)
    expect_close(mine(x=x), theirs(x), "conv, norm, relu, conv, norm, plus the shortcut, relu")


@pytest.mark.parametrize("in_channels, out_channels, stride", BLOCKS)
def test_the_shortcut_is_projected_only_where_the_shape_changes(in_channels, out_channels, stride):
    block = BasicBlock(in_channels, out_channels, stride)
    changes = stride != 1 or in_channels != out_channels
    assert (block.downsample is not None) == changes, "downsample is None where x can be added as it is"
    assert all(convolution.bias is None for convolution in convolutions(block)), "a bias before a norm does nothing"


@pytest.mark.parametrize("training", [True, False])
def test_a_new_block_adds_nothing(training):
    block, x = BasicBlock(3, 3).double().train(training), normal(2, 3, 5, 4)
    expect_close(block(x), x.clamp(min=0), "the scale of bn2 is 0 at first: relu(x) comes out")
    expect_equal(block.bn1.weight.detach(), [1, 1, 1], "that of bn1 is 1: else nothing could ever be learnt")


def test_a_new_block_can_learn_to_add_something():
    block = BasicBlock(3, 3).double()
    block(1 + normal(2, 3, 5, 4)).square().sum().backward()
    assert block.bn2.weight.grad.abs().min() > 0, "the scale of 0 gets a gradient, and the rest follows after a step"


def test_every_block_of_a_new_network_adds_nothing():
    network, inputs = ResNet(3, widths=(4, 6)), []
    blocks = [module for module in network.modules() if isinstance(module, BasicBlock)]
    scales = [bool(block.bn2.weight.any()) for block in blocks]
    assert scales == [False] * 4, f"the scales of bn2 stay 0 when all norms are set: {scales}"
    blocks[0].register_forward_pre_hook(lambda module, args: inputs.append(args[0]))
    network(normal(2, 3, 8, 8).float())
    assert inputs[0].min() == 0, f"the stem ends with a ReLU: {inputs[0].min()}"


# --- the network ------------------------------------------------------------------------------------------------------


WIDTHS, SIZES = st.sampled_from([(4,), (4, 4), (2, 6), (3, 4, 5)]), st.sampled_from([(8, 8), (9, 7), (32, 5), (1, 3)])


@given(st.sampled_from([1, 2, 10]), st.sampled_from([1, 3, 4]), WIDTHS, st.sampled_from([1, 2, 3]), SIZES)
def test_logits_for_any_size(num_classes, in_channels, widths, blocks_per_stage, size):
    options = dict(in_channels=in_channels, widths=widths, blocks_per_stage=blocks_per_stage)
    network = drawn(ResNet(num_classes, **options)).eval()
    logits = network(images=normal(2, in_channels, *size))
    assert logits.shape == (2, num_classes) and logits.isfinite().all(), f"one logit a class: {tuple(logits.shape)}"
    assert len(convolutions(network)) == number_of_convolutions(widths, blocks_per_stage), "as many as the table says"


def number_of_convolutions(widths, blocks_per_stage):
    return (
        1 + 2 * len(widths) * blocks_per_stage + len(widths) - 1
    )  # stem, blocks, and a projection where widths change


def test_the_defaults_have_so_many_parameters():
    # stem 3·16·9 + 32; stages (2·16²·9 + 64)·2, 16·32·9 + 32²·27 + 16·32 + 64·5, 32·64·9 + 64²·27 + 32·64 + 128·5; head
    stages = (2 * 16**2 * 9 + 64) * 2, 16 * 32 * 9 + 32**2 * 27 + 512 + 320, 32 * 64 * 9 + 64**2 * 27 + 2048 + 640
    expected = 3 * 16 * 9 + 32 + sum(stages) + 64 * 10 + 10
    got = sum(parameter.numel() for parameter in ResNet(num_classes=10).parameters())
    assert got == expected, f"{expected:,} parameters, got {got:,}"


@pytest.mark.parametrize("widths, size, expected", [
    ((4, 6, 8), (32, 20), (8, 5)), ((4, 6, 8), (9, 8), (3, 2)), ((5,), (7, 6), (7, 6)), ((4, 4), (9, 8), (5, 4)),
])  # fmt: skip
def test_every_stage_but_the_first_halves_the_maps(widths, size, expected):
    network, sizes = ResNet(2, widths=widths), []
    for convolution in convolutions(network):
        convolution.register_forward_hook(lambda module, inputs, output: sizes.append(tuple(output.shape[1:])))
    network(torch.zeros(2, 3, *size))
    assert sizes[0] == (widths[0], *size), f"the stem keeps the size, and there is no pooling: {sizes[0]}"
    assert (widths[-1], *expected) in sizes, f"the last maps of {size} pixels are {expected}: {sizes[-1]}"
    assert sizes.count((widths[0], *size)) == 5, (
        "the stem and all four convolutions of the first stage have the full size"
    )


def test_the_head_sees_the_mean_over_all_places():
    network, maps, seen = drawn(ResNet(3, widths=(4, 6))).eval(), [], []
    for module in network.modules():
        if isinstance(module, nn.Linear):
            module.register_forward_hook(lambda module, inputs, output: seen.extend((inputs[0], output)))
        else:
            module.register_forward_hook(lambda module, inputs, output: maps.append(output))
    got = network(normal(2, 3, 9, 8))
    last = next(output for output in reversed(maps[:-1]) if output.dim() == 4)
    expect_close(seen[0], last.mean(dim=(2, 3)), "one number a channel: the mean over all places of the last maps")
    expect_equal(got, seen[1], "logits as they come out of the linear layer: no softmax, no ReLU")


def test_the_batch_is_a_batch():
    network, images = drawn(ResNet(4, widths=(3, 5))).eval(), normal(3, 3, 8, 9)
    one_by_one = torch.cat([network(image[None]) for image in images])
    expect_close(network(images), one_by_one, "in evaluation an image's answer does not depend on its neighbours")


def test_convolutions_start_by_fan_out():
    for convolution in convolutions(ResNet(10, in_channels=8, widths=(64, 128), blocks_per_stage=2)):
        scaled = convolution.weight.detach().double() * math.sqrt(convolution.weight[:, 0].numel() / 2)
        shape = tuple(convolution.weight.shape)
        expect_close(scaled.square().mean(), 1.0, f"variance 2 / fan_out of {shape}", atol=0.1, rtol=0)
        expect_close((scaled.abs() < 1).double().mean(), 0.683, f"{shape}: normal, not uniform", atol=0.05, rtol=0)


def test_a_new_network_knows_nothing():
    torch.manual_seed(0)
    losses = [F.cross_entropy(ResNet(10)(torch.randn(64, 3, 16, 16)), torch.arange(64) % 10).item() for _ in range(8)]
    expect_close(sum(losses) / 8, math.log(10), "the first loss is about log C", atol=0.25, rtol=0)


def test_every_parameter_learns():
    network = drawn(ResNet(4, widths=(3, 5)))
    F.cross_entropy(network(normal(6, 3, 8, 8)), torch.arange(6) % 4).backward()
    without = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert not without, f"no gradient reaches {without}"


# --- promises of all katas --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("law", [inputs_are_not_changed, memory_layout_does_not_matter])
def test_standing_laws(law):
    law(drawn(ResNet(4, widths=(3, 5))).eval(), normal(3, 3, 8, 9))
    law(BasicBlock(3, 3).double().eval(), normal(2, 3, 5, 4))
