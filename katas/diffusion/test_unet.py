"""unet: a residual block that is told the timestep, self-attention over an image, and the network made of both.

Blocks are checked against their formulas, the network by what enters and leaves each block. Out of scope: dropout.
"""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from katas.diffusion.given.modules import drawn, fresh, visits
from katas.diffusion.unet import ResBlock, SelfAttention2d, UNet
from katas.lab.expect import expect_close, expect_equal, expect_refused
from katas.lab.laws import STANDING_LAWS, gradients_are_right
from katas.lab.strategies import normal

T, LABELS, X = torch.tensor([0, 17, 999]), torch.tensor([2, 0, 1]), normal(3, 2, 7, 5)
BLOCKS = (ResBlock, SelfAttention2d)


def unet(make=drawn, **options):
    options = dict(channels=(8, 16), attention_levels=(1,), num_classes=3, heads=2, groups=4) | options
    return make(UNet, 2, **options)


# --- the definition of the blocks -------------------------------------------------------------------------------------


def res_block(p, x, embedding, groups):
    h = F.silu(F.group_norm(x, groups, p["norm1.weight"], p["norm1.bias"]))
    h = F.conv2d(h, p["conv1.weight"], p["conv1.bias"], padding=1)
    told = F.linear(F.silu(embedding), p["embedding_layer.weight"], p["embedding_layer.bias"])[:, :, None, None]
    scale, shift = told[:, : h.shape[1]], told[:, h.shape[1] :]
    h = F.silu(F.group_norm(h, groups, p["norm2.weight"], p["norm2.bias"]) * (1 + scale) + shift)
    h = F.conv2d(h, p["conv2.weight"], p["conv2.bias"], padding=1)
    return h + (F.conv2d(x, p["shortcut.weight"], p["shortcut.bias"]) if "shortcut.weight" in p else x)


def attention(p, x, heads, groups):
    qkv = F.conv2d(F.group_norm(x, groups, p["norm.weight"], p["norm.bias"]), p["qkv.weight"], p["qkv.bias"])
    mixed = []
    for q, k, v in zip(*(part.flatten(2).chunk(heads, dim=1) for part in qkv.chunk(3, dim=1)), strict=True):
        weights = torch.einsum("bcq,bck->bqk", q, k).div(q.shape[1] ** 0.5).softmax(dim=-1)
        mixed.append(torch.einsum("bqk,bck->bcq", weights, v))
    return x + F.conv2d(torch.cat(mixed, dim=1).reshape(x.shape), p["proj.weight"], p["proj.bias"])


@pytest.mark.parametrize("channels", [(8, 8), (4, 12), (12, 4)], ids=["same channels", "more", "fewer"])
def test_a_res_block_is_its_formula(channels):
    block, x, embedding = drawn(ResBlock, *channels, 6, groups=4), normal(3, channels[0], 5, 7), normal(3, 6, seed=1)
    expected = res_block(block.state_dict(), x, embedding, 4)
    law = "norm, silu, conv; norm · (1 + scale) + shift, both of linear(silu(embedding)); silu, conv; plus the shortcut"
    expect_close(block(x=x, embedding=embedding), expected, law)


@pytest.mark.parametrize("heads, scale", [(1, 1), (2, 1), (4, 1), (2, 30)])  # 30: scores of thousands
def test_attention_is_its_formula(heads, scale):
    block, x = drawn(SelfAttention2d, 8, heads=heads, groups=2, scale=scale), normal(3, 8, 3, 5)
    expected = attention(block.state_dict(), x, heads, 2)
    law = "per head (adjacent channels): softmax over the keys of q · k / sqrt(channels / heads); plus x"
    expect_close(block(x=x), expected, law)


def test_untrained_blocks_change_nothing():
    x, embedding = normal(2, 8, 5, 7), normal(2, 6, seed=1)
    expect_close(fresh(ResBlock, 8, 8, 6)(x, embedding), x, "with equal channels a block starts as the identity")
    wider = fresh(ResBlock, in_channels=8, out_channels=16, embedding_channels=6)
    expect_close(wider(x, embedding), wider.shortcut(x), "with other channels it starts as its 1 x 1 convolution")
    expect_close(fresh(SelfAttention2d, channels=8)(x), x, "attention starts as the identity")


# --- the network, block by block --------------------------------------------------------------------------------------


def layout(channels, blocks, attention_levels, size):
    levels, (res, att) = [], ("ResBlock", "SelfAttention2d")
    for level, width in enumerate(channels):
        kinds = [res, att] if level in attention_levels else [res]
        levels.append([(kind, width, *size) for kind in kinds * blocks])
        middle = [(kind, width, *size) for kind in (res, att, res)]
        size = [-(-s // 2) for s in size]
    return [*sum(levels, []), *middle, *sum(levels[::-1], [])]


@pytest.mark.parametrize("channels, blocks, attention_levels", [
    ((32, 64), 1, ()), ((8,), 1, (0,)), ((8, 8, 16, 8), 3, (0, 2)),
])  # fmt: skip
def test_blocks_channels_and_sizes_in_order(channels, blocks, attention_levels):
    options = {} if channels == (32, 64) else dict(channels=channels, blocks=blocks, attention_levels=attention_levels)
    net = fresh(UNet, in_channels=4, **options)
    seen = visits(net, BLOCKS, normal(2, 4, 13, 6), T[:2])
    got, expected = [(v.kind, *v.leaving.shape[1:]) for v in seen], layout(channels, blocks, attention_levels, (13, 6))
    assert got == expected, f"(block, channels, height, width)\n  got       {got}\n  expected  {expected}"
    own = sum(isinstance(module, BLOCKS) for module in net.modules())
    assert own == len(got), f"every block has weights of its own: {len(got)} are called, {own} exist"


@pytest.mark.parametrize("options, groups, heads", [({}, 8, 4), (dict(groups=4, heads=2), 4, 2)])
def test_groups_and_heads_hold_everywhere(options, groups, heads):
    modules = list(fresh(UNet, 1, attention_levels=(0,), **options).modules())
    found = [{getattr(m, name) for m in modules if hasattr(m, name)} for name in ("num_groups", "heads")]
    assert found == [{groups}, {heads}], f"groups and heads of all blocks: {found}"


@pytest.mark.parametrize("in_channels, size", [(1, (8, 8)), (3, (7, 5)), (4, (1, 3))])
def test_a_prediction_has_the_shape_of_the_image(in_channels, size):
    net, x = drawn(UNet, in_channels, channels=(8, 8, 16), groups=4, heads=2), normal(3, in_channels, *size)
    got = net(x=x, t=T)
    assert got.shape == x.shape and got.abs().max() > 0, f"the shape of x, {tuple(x.shape)}: {got}"
    expect_close(net(x[:1], T[:1]), got[:1], "samples do not see each other")


def test_what_the_way_down_saw_is_handed_across():
    seen = visits(unet(blocks=2, attention_levels=(0,)), BLOCKS, X, T, LABELS)
    for last_down, first_up in ((3, 11), (5, 9)):  # two blocks with attention, two without, three in the middle, and up
        wanted, entering = seen[last_down].leaving, seen[first_up].entering
        found = [bool((entering == channel[:, None]).all(dim=(0, 2, 3)).any()) for channel in wanted.unbind(1)]
        assert all(found), f"{found.count(False)} channels of the last block down do not enter the first block up"
        assert entering.shape[1] > wanted.shape[1], "nothing enters from below"
        assert (entering.std(dim=(2, 3)) > 1e-6).all(), "a channel is the same everywhere in the image"


def test_the_end_is_norm_silu_and_conv_out():
    net = unet()
    end, last = visits(net, (nn.GroupNorm,), X, T, LABELS)[-1], visits(net, BLOCKS, X, T, LABELS)[-1]
    expect_equal(end.entering, last.leaving, "a GroupNorm follows the last block")
    expected = F.conv2d(F.silu(end.leaving), net.conv_out.weight, net.conv_out.bias, padding=1)
    expect_close(net(X, T, labels=LABELS).detach(), expected.detach(), "conv_out(silu(norm(h)))")
    expect_equal(unet(fresh)(X, T), torch.zeros_like(X), "an untrained network predicts 0: conv_out starts at 0")


def told_at(net, t, labels=None, dtype=torch.float64):
    return visits(net, BLOCKS, normal(len(t), 2, 4, 4).to(dtype), t, labels)[0].told.double()


@pytest.mark.parametrize("what", ["timestep", "label", "timestep without classes"])
def test_every_block_is_told(what):
    net, labels = (unet(num_classes=None), None) if "without" in what else (unet(blocks=2), LABELS)
    other = (T, LABELS[[1, 2, 0]]) if what == "label" else (T + 1, labels)
    for one, two in zip(visits(net, BLOCKS, X, T, labels), visits(net, BLOCKS, X, *other), strict=True):
        if one.told is not None:
            assert (one.told - two.told).abs().amax(dim=1).min() > 1e-6, f"a block is told the same for another {what}"
    assert (net(X, T, labels) - net(X, *other)).abs().amax(dim=(1, 2, 3)).min() > 1e-6, f"the {what} changes nothing"


def test_the_row_of_the_label_is_added():
    net = unet()
    table, got = net.label_embedding.weight.detach(), told_at(net, T, LABELS) - told_at(net, T)
    assert net.null_label == 3 and len(table) == 4, "num_classes + 1 rows, the last one for no label"
    expect_close(got, table[LABELS] - table[3], "the row of the label, or without labels that of null_label")


def test_timesteps_are_told_apart():
    now, half, following, far = told_at(unet(), torch.tensor([17, 17.5, 18, 900]))
    # right code of two kinds, twenty starts each: 0.17 to 0.53; with t / 1000 in place of t: 0.0009 to 0.0014
    ratio = float((now - following).norm() / (now - far).norm())
    assert ratio > 0.03, f"t = 17 and 18 differ by {ratio:.4f} of what 17 and 900 do: is t itself embedded?"
    assert (now - half).norm() > 1e-3 * now.norm(), "t = 17.5 is not 17"
    late, later = told_at(unet().bfloat16(), torch.tensor([998, 999]), dtype=torch.bfloat16)
    # right code: 0.18 to 0.60 of their size; t in bfloat16, which has no odd numbers above 256: 0
    assert (late - later).norm() > 0.03 * late.norm(), "bfloat16 tells t = 998 from 999: the sinusoids are float32"


def test_the_time_network_is_not_linear():
    told = told_at(unet(num_classes=None), torch.arange(0, 1000, 10))
    rank = int(torch.linalg.matrix_rank(told - told.mean(dim=0), rtol=1e-9))
    assert rank > 8, f"told spans {rank} directions; linear maps of 8 sinusoids span 8: a nonlinearity is missing"
    assert told.min() < -0.3, "silu is never below -0.279, a linear layer is: it comes last"  # right code: -3.0 to -4.1


def test_every_part_can_learn_from_the_start():
    net = unet(fresh, blocks=2)
    for name, parameter in net.named_parameters():  # only what is promised to be 0
        if name.endswith(("conv2.weight", "proj.weight", "conv_out.weight")):
            assert not parameter.any(), f"{name} starts at 0"
            parameter.data = 0.3 * normal(*parameter.shape)
    net(X, T, torch.tensor([0, 2, 3])).square().sum().backward()
    unused = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert not unused, f"no gradient reaches {unused}"
    assert net.label_embedding.weight.grad[3].any(), "no gradient reaches the row of null_label"


def test_gradients_are_those_of_the_formula():
    gradients_are_right(drawn(SelfAttention2d, 4, heads=2, groups=2, scale=1), normal(1, 4, 2, 2))
    gradients_are_right(drawn(UNet, 2, channels=(8,), heads=2, groups=4), normal(1, 2, 2, 2), T[:1])


def test_what_does_not_fit_is_refused():
    expect_refused("heads", lambda: SelfAttention2d(10, heads=4, groups=2))
    expect_refused("labels", lambda: unet(num_classes=None)(X, T, LABELS))


@pytest.mark.parametrize("law", STANDING_LAWS)
def test_standing_laws(law):
    net, block = unet(), drawn(ResBlock, 8, 8, 6, groups=4)
    law(lambda x, t, labels: copy.deepcopy(net).to(x.dtype)(x, t, labels), X, T, LABELS)
    law(lambda x, t: copy.deepcopy(net).to(x.dtype)(x, t), X, T)
    law(lambda x, told: copy.deepcopy(block).to(x.dtype)(x, told), normal(3, 8, 5, 7), normal(3, 6, seed=1))
