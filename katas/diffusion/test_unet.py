"""unet: a residual block that is told the timestep, self-attention over an image, and the network made of both.

Blocks are checked against their formulas, written out with torch.nn.functional on the parameters that the docstrings name. Of the
whole network only what is promised is asked: shapes, conditioning, zero at first. Out of scope: how well it learns, dropout.
"""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from katas.diffusion.unet import ResBlock, SelfAttention2d, UNet
from katas.lab.expect import expect_close
from katas.lab.laws import (
    device_is_followed,
    gradients_are_right,
    inputs_are_not_changed,
    memory_layout_does_not_matter,
)


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def made(kind, *args, seed=0, scale=0.3, **options):
    """A module in float64 with all parameters drawn anew, those that start at 0 or 1 too."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = kind(*args, **options).double()
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter.data = scale * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return module


def fresh(kind, *args, **options):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return kind(*args, **options).double()


def small_unet(make=made, **options):
    options = dict(channels=(8, 16), attention_levels=(1,), num_classes=3, heads=2, groups=4) | options
    return make(UNet, 2, **options)


# --- the residual block ---------------------------------------------------------------------------------------------


def res_block_by_definition(p, x, embedding, groups):
    h = F.conv2d(
        F.silu(F.group_norm(x, groups, p["norm1.weight"], p["norm1.bias"])),
        p["conv1.weight"],
        p["conv1.bias"],
        padding=1,
    )
    told = F.linear(F.silu(embedding), p["embedding_layer.weight"], p["embedding_layer.bias"])
    out = h.shape[1]
    scale, shift = told[:, :out, None, None], told[:, out:, None, None]
    h = F.group_norm(h, groups, p["norm2.weight"], p["norm2.bias"]) * (1 + scale) + shift
    h = F.conv2d(F.silu(h), p["conv2.weight"], p["conv2.bias"], padding=1)
    if "shortcut.weight" in p:
        x = F.conv2d(x, p["shortcut.weight"], p["shortcut.bias"])
    return x + h


@pytest.mark.parametrize("channels", [(8, 8), (4, 12), (12, 4)], ids=["same channels", "more", "fewer"])
def test_a_res_block_is_its_formula(channels):
    block = made(ResBlock, *channels, 6, groups=4)
    x, embedding = normal(3, channels[0], 5, 7), normal(3, 6, seed=1)
    expected = res_block_by_definition(block.state_dict(), x, embedding, 4)
    expect_close(
        block(x, embedding), expected, "norm, silu, conv; norm, scale and shift, silu, conv; plus the shortcut"
    )


def test_a_res_block_starts_as_its_shortcut():
    x, embedding = normal(2, 8, 5, 7), normal(2, 6, seed=1)
    expect_close(fresh(ResBlock, 8, 8, 6)(x, embedding), x, "with equal channels an untrained block changes nothing")
    block = fresh(ResBlock, 8, 16, 6)
    expected = F.conv2d(x, block.shortcut.weight, block.shortcut.bias)
    expect_close(block(x, embedding), expected, "with other channels it is the 1 x 1 convolution")


def test_eight_groups_unless_told_otherwise():
    assert fresh(ResBlock, 16, 32, 6).norm1.num_groups == 8 and fresh(ResBlock, 16, 32, 6).norm2.num_groups == 8
    assert fresh(SelfAttention2d, 16).norm.num_groups == 8 and fresh(SelfAttention2d, 16).heads == 4


# --- attention ------------------------------------------------------------------------------------------------------


def attention_by_definition(p, x, heads, groups):
    batch, channels, height, width = x.shape
    qkv = F.conv2d(F.group_norm(x, groups, p["norm.weight"], p["norm.bias"]), p["qkv.weight"], p["qkv.bias"])
    size, mixed = channels // heads, []
    for head in range(heads):
        q, k, v = (
            qkv[:, part * channels + head * size :][:, :size].flatten(2) for part in range(3)
        )  # (B, size, places)
        weights = torch.einsum("bcq,bck->bqk", q, k).div(size**0.5).softmax(dim=-1)
        mixed.append(torch.einsum("bqk,bck->bcq", weights, v))
    mixed = torch.cat(mixed, dim=1).reshape(x.shape)
    return x + F.conv2d(mixed, p["proj.weight"], p["proj.bias"])


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_attention_is_its_formula(heads):
    # weights of size 1 make the scores several units wide, so that a missing division changes everything
    block = made(SelfAttention2d, 8, heads=heads, groups=2, scale=1.0)
    x = normal(3, 8, 3, 5)
    expected = attention_by_definition(block.state_dict(), x, heads, 2)
    expect_close(block(x), expected, f"softmax(q · k / sqrt(channels / heads)) over the keys, {heads} heads, plus x")


def test_attention_of_large_scores_is_finite():
    block, x = made(SelfAttention2d, 8, heads=2, groups=2, scale=30.0), normal(3, 8, 3, 5)
    expected = attention_by_definition(block.state_dict(), x, 2, 2)
    expect_close(block(x), expected, "scores of several thousand: softmax holds, where exp alone overflows")


def test_attention_starts_as_the_identity():
    x = normal(2, 8, 3, 5)
    expect_close(fresh(SelfAttention2d, 8)(x), x, "untrained, it changes nothing")


def test_attention_sees_no_order_of_places():
    block, x = made(SelfAttention2d, 8, groups=2), normal(2, 8, 3, 5)
    order = torch.randperm(15, generator=torch.Generator().manual_seed(1))

    def shuffled(images):
        return images.flatten(2)[:, :, order].reshape(images.shape)

    expect_close(block(shuffled(x)), shuffled(block(x)), "places in another order come out in that order")


def test_heads_must_divide_the_channels():
    with pytest.raises(ValueError, match="heads"):
        SelfAttention2d(10, heads=4, groups=2)


# --- the network ----------------------------------------------------------------------------------------------------

T = torch.tensor([0, 17, 999])
LABELS = torch.tensor([2, 0, 1])


@pytest.mark.parametrize("size", [(8, 8), (7, 5), (1, 3)], ids=["8 x 8", "7 x 5", "1 x 3"])
def test_a_prediction_has_the_shape_of_the_image(size):
    for channels in ((8,), (8, 16), (8, 8, 16)):
        net, x = small_unet(channels=channels, attention_levels=(0,)), normal(3, 2, *size)
        got = net(x, T, LABELS)
        assert got.shape == x.shape and got.dtype == x.dtype, f"{channels}: {tuple(got.shape)} {got.dtype} came out"
        assert got.isfinite().all() and got.abs().max() > 0


def test_an_untrained_network_predicts_0():
    got = small_unet(fresh)(normal(3, 2, 7, 5), T, LABELS)
    expect_close(got, torch.zeros(3, 2, 7, 5).double(), "the last convolution starts at 0")


def test_the_last_convolution_and_the_norm_before_it():
    net = small_unet()
    assert isinstance(getattr(net, "conv_out", None), nn.Conv2d), "the last convolution is called conv_out"
    blocks = [module for module in net.modules() if isinstance(module, ResBlock | SelfAttention2d)]
    inside = {norm for block in blocks for norm in block.modules()}
    outside = [module for module in net.modules() if isinstance(module, nn.GroupNorm) and module not in inside]
    assert outside, "there is no GroupNorm but those of the blocks: one comes before the last convolution"


def test_timestep_and_label_reach_the_prediction():
    net, x = small_unet(), normal(1, 2, 7, 5).expand(3, -1, -1, -1)
    by_time, by_label = net(x, T, LABELS[[0, 0, 0]]), net(x, T[[1, 1, 1]], LABELS)
    for what, got in (("timestep", by_time), ("label", by_label)):
        apart = [float((got[i] - got[j]).abs().max()) for i, j in ((0, 1), (0, 2), (1, 2))]
        assert min(apart) > 1e-3, f"another {what}, the same prediction: differences {apart}"


def embedding_among(args, named):
    """What a ResBlock was told, handed over by its place or by its name."""
    return (named["embedding"] if "embedding" in named else args[1]).detach()


@pytest.mark.parametrize("what", ["timestep", "label"])
def test_every_block_is_told(what):
    net, x = small_unet(blocks=2), normal(3, 2, 7, 5)
    blocks = [module for module in net.modules() if isinstance(module, ResBlock)]
    told = {block: [] for block in blocks}
    for block in blocks:
        keep = lambda module, args, named: told[module].append(embedding_among(args, named))  # noqa: E731
        block.register_forward_pre_hook(keep, with_kwargs=True)
    for t, labels in ((T, LABELS), (T + 1, LABELS) if what == "timestep" else (T, LABELS[[1, 2, 0]])):
        net(x, t, labels)
    assert len(blocks) == 2 * 2 + 2 + 2 * 2, f"two blocks a level down and up and two in the middle, not {len(blocks)}"
    for block, (first, second) in told.items():
        assert (first - second).abs().amax(dim=1).min() > 1e-6, f"a block is told the same for another {what}"


def test_the_row_of_the_label_is_added():
    net, x, told = small_unet(), normal(3, 2, 7, 5), []
    first = next(module for module in net.modules() if isinstance(module, ResBlock))
    keep = lambda module, args, named: told.append(embedding_among(args, named))  # noqa: E731
    first.register_forward_pre_hook(keep, with_kwargs=True)
    net(x, T, LABELS)
    net(x, T)
    table = net.label_embedding.weight.detach()
    expect_close(told[0] - told[1], table[LABELS] - table[3], "the embedding of t plus the row of the label")


def test_groups_and_heads_are_the_same_everywhere():
    for options in ({}, dict(groups=4, heads=2)):
        with torch.random.fork_rng():
            modules = list(UNet(2, attention_levels=(0,), **options).modules())
        groups = {module.num_groups for module in modules if isinstance(module, nn.GroupNorm)}
        heads = {module.heads for module in modules if isinstance(module, SelfAttention2d)}
        expected = ({options.get("groups", 8)}, {options.get("heads", 4)})
        assert (groups, heads) == expected, f"groups and heads of all blocks for {options}: {groups}, {heads}"


def test_two_levels_of_32_and_64_channels_unless_told_otherwise():
    with torch.random.fork_rng():
        net, sizes = UNet(1), []
    for module in net.modules():
        if isinstance(module, ResBlock):
            module.register_forward_hook(lambda module, args, out: sizes.append(out.shape[1]))
    net(torch.zeros(1, 1, 4, 4), T[:1])
    assert sizes == [32, 64, 64, 64, 64, 32], f"channels of the blocks in turn: {sizes}"


def test_fractional_timesteps_are_no_whole_ones():
    net, x = small_unet(), normal(3, 2, 4, 4)
    apart = float((net(x, T.double() + 0.5, LABELS) - net(x, T.double(), LABELS)).abs().max())
    assert apart > 1e-4, f"half a timestep later the prediction is the same: difference {apart}"


def told_at(net, t, dtype=torch.float64):
    """What the first block is told at these timesteps, one row for each."""
    told = []
    first = next(module for module in net.modules() if isinstance(module, ResBlock))
    keep = lambda module, args, named: told.append(embedding_among(args, named))  # noqa: E731
    handle = first.register_forward_pre_hook(keep, with_kwargs=True)
    net(normal(len(t), 2, 4, 4).to(dtype), t)
    handle.remove()
    return told[0]


def test_neighbouring_timesteps_are_told_apart():
    near, next_to_it, far = told_at(small_unet(), torch.tensor([17, 18, 900]))
    ratio = float((near - next_to_it).norm() / (near - far).norm())
    # right code of two kinds, twenty starts each: 0.17 to 0.53; with t / 1000 in place of t: 0.0009 to 0.0014
    assert ratio > 0.03, f"t = 17 and 18 differ by {ratio:.4f} of what 17 and 900 do: is t itself embedded?"


def test_neighbouring_timesteps_are_told_apart_in_half_precision():
    late, next_to_it = told_at(small_unet().bfloat16(), torch.tensor([998, 999]), torch.bfloat16).float()
    told = "bfloat16 has no odd numbers above 256: the sinusoids are made in float32, and cast afterwards"
    # right code of two kinds, twenty starts each: they differ by 0.18 to 0.60 of their size; t in bfloat16: by 0
    assert float((late - next_to_it).norm()) > 0.03 * float(late.norm()), (
        f"t = 998 and 999 are told as the same: {told}"
    )


def test_the_embedding_is_no_linear_map_of_the_sinusoids():
    told = told_at(small_unet(), torch.arange(0, 1000, 10))
    # eight sinusoids: whatever is linear in them spans eight directions, however many layers it has
    rank = int(torch.linalg.matrix_rank(told - told.mean(dim=0), rtol=1e-9))
    assert rank > 8, f"what blocks are told spans {rank} directions: two layers want a nonlinearity between them"


def test_the_row_for_no_label_is_learnt_like_the_others():
    net = small_unet()
    net(normal(3, 2, 4, 4), T).square().sum().backward()
    assert net.label_embedding.weight.grad[3].abs().max() > 0, "no gradient reaches the row of null_label"


def test_without_labels_the_last_row_of_the_table_is_used():
    net, x = small_unet(), normal(3, 2, 7, 5)
    assert net.null_label == 3 and net.label_embedding.num_embeddings == 4
    expected = net(x, T, torch.full((3,), 3))
    expect_close(net(x, T), expected, "no labels is the label null_label for every sample")


def test_a_network_without_classes_refuses_labels():
    net = small_unet(num_classes=None)
    assert net.null_label is None and net(normal(3, 2, 7, 5), T).shape == (3, 2, 7, 5)
    with pytest.raises(ValueError, match="labels"):
        net(normal(3, 2, 7, 5), T, LABELS)


def test_samples_do_not_see_each_other():
    net, x = small_unet(), normal(3, 2, 7, 5)
    alone = [net(x[[i]], T[[i]], LABELS[[i]]) for i in range(3)]
    expect_close(net(x, T, LABELS), torch.cat(alone), "a batch is the same as one image after another")


def test_attention_is_where_it_was_asked_for():
    for levels, blocks, expected in (((), 1, 1), ((0,), 1, 3), ((0, 1), 2, 9)):
        net = small_unet(attention_levels=levels, blocks=blocks)
        count = sum(isinstance(module, SelfAttention2d) for module in net.modules())
        assert count == expected, f"levels {levels}, {blocks} blocks each, and the middle: {expected}, not {count}"


def test_there_may_be_many_levels_and_blocks():
    net = small_unet(channels=(4, 8, 4, 8), blocks=3, attention_levels=(0, 2, 3))
    counts = [sum(isinstance(module, kind) for module in net.modules()) for kind in (ResBlock, SelfAttention2d)]
    # four levels of three blocks, down and up, and two in the middle; three levels of three, down and up, and one
    assert counts == [4 * 3 * 2 + 2, 3 * 3 * 2 + 1], f"26 blocks and 19 attentions, not {counts}"
    x = normal(3, 2, 13, 6)  # 13 x 6, 7 x 3, 4 x 2, 2 x 1
    assert net(x, T, LABELS).shape == x.shape


def test_each_level_works_at_half_the_size_of_the_one_above():
    net, sizes = small_unet(channels=(8, 8, 16), attention_levels=()), []
    for module in net.modules():
        if isinstance(module, ResBlock):
            module.register_forward_hook(lambda module, args, out: sizes.append(tuple(out.shape[1:])))
    net(normal(1, 2, 13, 6), T[:1], LABELS[:1])
    down, middle = [(8, 13, 6), (8, 7, 3), (16, 4, 2)], [(16, 4, 2)] * 2
    assert sizes == [*down, *middle, *down[::-1]], f"(channels, height, width) of the blocks in turn: {sizes}"


def test_blocks_and_attention_come_in_their_order():
    net, seen = small_unet(channels=(8, 16), blocks=2, attention_levels=(0,)), []
    for module in net.modules():
        if isinstance(module, ResBlock | SelfAttention2d):
            name = "block" if isinstance(module, ResBlock) else "attention"
            module.register_forward_hook(lambda module, args, out, name=name: seen.append((name, out.shape[-1])))
    net(normal(1, 2, 8, 8), T[:1], LABELS[:1])
    upper, lower = [("block", 8), ("attention", 8)] * 2, [("block", 4)] * 2
    middle = [("block", 4), ("attention", 4), ("block", 4)]
    assert seen == [*upper, *lower, *middle, *lower, *upper], f"(what, width) in turn: {seen}"


def test_what_is_handed_across_comes_as_further_channels():
    net, seen = small_unet(channels=(8, 16), blocks=2, attention_levels=()), []
    for module in net.modules():
        if isinstance(module, ResBlock):
            module.register_forward_hook(lambda module, args, out: seen.append(module.conv1.in_channels))
    net(normal(1, 2, 8, 8), T[:1], LABELS[:1])
    # Four blocks down, two in the middle, then two a level up. How many channels come from below is left open.
    entering = (seen[6], seen[8])
    assert entering[0] > 16 and entering[1] > 8, f"beside the 16 and 8 of the level itself nothing enters: {entering}"


def test_a_level_hands_across_what_its_last_block_gave():
    net, seen = small_unet(channels=(8,), blocks=2, attention_levels=()), []
    for module in net.modules():
        if isinstance(module, ResBlock):
            keep = lambda module, args, named, out: seen.append((args[0] if args else named["x"], out))  # noqa: E731
            module.register_forward_hook(keep, with_kwargs=True)
    net(normal(1, 2, 4, 4), T[:1], LABELS[:1])
    entering = [
        channel.flatten().tolist() for channel in seen[4][0][0].detach()
    ]  # two down, two in the middle, then up
    missing = [c for c in seen[1][1][0].detach() if c.flatten().tolist() not in entering]
    assert not missing, f"{len(missing)} of the 8 channels of the last block down do not enter the first block up"


def test_what_comes_from_below_keeps_its_places():
    net, seen = small_unet(channels=(8, 16), attention_levels=()), []
    for module in net.modules():
        if isinstance(module, ResBlock):
            keep = lambda module, args, named: seen.append(args[0] if args else named["x"])  # noqa: E731
            module.register_forward_pre_hook(keep, with_kwargs=True)
    net(normal(1, 2, 8, 8), T[:1], LABELS[:1])
    spread = seen[-1].detach().flatten(2).std(dim=2)  # over the places, of what enters the last block
    assert (spread > 1e-6).all(), f"{int((spread <= 1e-6).sum())} channels are the same everywhere in the image"


def test_what_was_seen_on_the_way_down_is_handed_across():
    net, x = small_unet(channels=(8, 8), attention_levels=()), normal(1, 2, 8, 8)
    for block in net.modules():
        if isinstance(block, ResBlock | SelfAttention2d):  # at half the size nothing gets through
            block.register_forward_hook(lambda module, args, out: out if out.shape[-1] == 8 else torch.zeros_like(out))
    got = net(x, T[:1], LABELS[:1]) - net(x.flip(-1), T[:1], LABELS[:1])
    assert got.abs().max() > 1e-3, "with the lower level silenced the prediction must still depend on the image"


def test_every_parameter_is_used():
    net = small_unet(channels=(8, 16, 16), blocks=2)
    net(normal(3, 2, 7, 5), T, torch.tensor([0, 2, 3])).square().sum().backward()
    unused = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert not unused, f"no gradient reaches {unused}"


def test_gradients_are_those_of_the_formula():
    gradients_are_right(made(SelfAttention2d, 4, heads=2, groups=2, scale=1.0), normal(1, 4, 2, 2))
    net = small_unet(channels=(8,), attention_levels=())
    gradients_are_right(lambda x: net(x, T[:1], LABELS[:1]), normal(1, 2, 2, 2))


@pytest.mark.parametrize("law", [inputs_are_not_changed, memory_layout_does_not_matter, device_is_followed])
def test_standing_laws(law):
    net, embedding = small_unet(), normal(3, 6, seed=1)
    law(net, normal(3, 2, 7, 5), T, LABELS)
    law(net, normal(3, 2, 7, 5), T)
    law(made(ResBlock, 8, 8, 6, groups=4), normal(3, 8, 5, 7), embedding)
    law(made(SelfAttention2d, 8, groups=4), normal(3, 8, 5, 7))


def test_a_copy_has_a_table_of_labels_of_its_own():
    net = small_unet()
    other, x = copy.deepcopy(net), normal(3, 2, 7, 5)
    before = net(x, T, LABELS)
    with torch.no_grad():
        other.label_embedding.weight.zero_()
    expect_close(net(x, T, LABELS), before, "the copy changed, and not the network it was made from")
    assert (other(x, T, LABELS) - before).abs().max() > 1e-3, "a copy, such as an average of the weights, has its own"


@pytest.mark.parametrize("t", [T, T.double() + 0.5], ids=["whole timesteps", "timesteps in float64"])
def test_float32_stays_float32(t):
    net = small_unet().float()
    assert net(normal(3, 2, 7, 5).float(), t, LABELS).dtype == torch.float32
    assert isinstance(net, nn.Module) and all(p.dtype == torch.float32 for p in net.parameters())
