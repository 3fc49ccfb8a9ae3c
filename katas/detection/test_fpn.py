"""fpn: the feature pyramid, checked against torchvision's with the same weights.

The names of the submodules and biases of zero are part of the contract. How weights start is out of scope.
"""

from collections import OrderedDict

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from katas.detection.fpn import FeaturePyramid
from katas.detection.given.oracles import randomised
from katas.lab.expect import expect_close, expect_equal, expect_refused
from katas.lab.laws import STANDING_LAWS, gradients_are_right
from katas.lab.strategies import normal, seeds

CHANNELS = [3, 5, 4]  # fine to coarse, all different
MORE_CHANNELS = [*CHANNELS, 2, 7]


def random_maps(sizes, channels=CHANNELS, batch=2, seed=1):
    places = zip(channels, sizes, strict=False)
    return [normal(batch, c, *size, seed=seed + place) for place, (c, size) in enumerate(places)]


def torchvision_pyramid(pyramid, features):
    """torchvision's pyramid with the learner's weights. It makes P6 from C5 only if C5 has other channels."""
    in_channels, out_channels = [f.shape[1] for f in features], pyramid.p7.out_channels
    assert in_channels[-1] != out_channels
    oracle = FeaturePyramidNetwork(in_channels, out_channels, LastLevelP6P7(in_channels[-1], out_channels)).double()
    for level in range(len(features)):
        oracle.inner_blocks[level][0].load_state_dict(pyramid.lateral_convs[level].state_dict())
        oracle.layer_blocks[level][0].load_state_dict(pyramid.output_convs[level].state_dict())
    oracle.extra_blocks.p6.load_state_dict(pyramid.p6.state_dict())
    oracle.extra_blocks.p7.load_state_dict(pyramid.p7.state_dict())
    return list(oracle(OrderedDict((str(i), f) for i, f in enumerate(features))).values())


def passes_through():
    """One channel everywhere; every convolution hands on what it is centred at."""
    pyramid = FeaturePyramid([1, 1], 1).double()
    for parameter in pyramid.parameters():
        parameter.data.zero_()
        if parameter.dim() == 4:
            parameter.data[..., parameter.shape[2] // 2, parameter.shape[3] // 2] = 1
    return pyramid


def test_the_top_down_path_by_hand():
    fine = torch.tensor([[[[1.0, 2, 3, 4], [5, 6, 7, 8]]]], dtype=torch.float64)
    coarse = torch.tensor([[[[-10.0, 100]]]], dtype=torch.float64)  # each value covers 2 × 2 of the fine map
    fine_out, coarse_out, p6, p7 = passes_through()([fine, coarse])
    expect_equal(
        fine_out,
        [[[[-9, -8, 103, 104], [-5, -4, 107, 108]]]],
        "a fine level is its own map plus the coarse one, enlarged",
    )
    expect_equal(coarse_out, [[[[-10, 100]]]], "the coarsest backbone level gets nothing from above")
    expect_equal(p6, [[[[-10]]]], "P6 is a stride-2 convolution of the last backbone map, with no activation after it")
    expect_equal(p7, [[[[0]]]], "P7 is a stride-2 convolution of relu(P6)")


def test_sizes_that_are_not_multiples_by_hand():
    fine = torch.zeros(1, 1, 1, 5, dtype=torch.float64)
    coarse = torch.tensor([[[[1.0, 2, 3]]]], dtype=torch.float64)  # columns 0…4 read floor(column * 3 / 5) = 0 0 1 1 2
    p3 = passes_through()([fine, coarse])[0]
    expect_equal(p3, [[[[1, 1, 2, 2, 3]]]], "nearest neighbour enlarges to the very size of the finer map")


def test_output_convolutions_are_not_handed_down():
    features, pyramid = random_maps([(8, 6), (4, 3), (2, 2)]), randomised(FeaturePyramid(CHANNELS, 6))
    before = pyramid(features)[:2]
    pyramid.output_convs[2].weight.data.zero_()
    expect_equal(pyramid(features)[:2], before, "finer levels do not see the output convolution of a coarser one")


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=5), st.integers(1, 3), seeds())
@example([(8, 9), (4, 5), (3, 2), (2, 2), (1, 1)], 3, 0)
def test_it_agrees_with_torchvision(sizes, batch, seed):
    features = random_maps(sizes, MORE_CHANNELS, batch, seed)
    pyramid = randomised(FeaturePyramid(MORE_CHANNELS[: len(sizes)], 6), seed)
    expected = torchvision_pyramid(pyramid, features)
    expect_close(pyramid(features), expected, "the pyramid of torchvision, level by level")


@given(st.integers(1, 40), st.integers(1, 40))
def test_levels_go_from_fine_to_coarse(height, width):
    features = random_maps([(height, width), (5, 7)], channels=[3, 5])
    sizes = [tuple(level.shape) for level in FeaturePyramid([3, 5], 2).double()(features)]
    assert sizes == [
        (2, 2, height, width),
        (2, 2, 5, 7),
        (2, 2, 3, 4),
        (2, 2, 2, 2),
    ], f"two levels as large as the maps and two that halve, rounding up; got {sizes}"


def test_p6_comes_from_the_backbone_map():
    features = random_maps([(6, 8), (3, 4)], channels=[3, 5])
    pyramid = randomised(FeaturePyramid([3, 5], 5))
    expect_close(pyramid(features)[-2], pyramid.p6(features[-1]), "P6 is p6(features[-1]), not p6 of a pyramid level")


def test_coarse_maps_reach_every_finer_level():
    features, pyramid = random_maps([(8, 6), (4, 3), (2, 2)]), randomised(FeaturePyramid(CHANNELS, 6))
    before = pyramid(features)
    for changed, reached in ((2, [0, 1, 2, 3, 4]), (1, [0, 1]), (0, [0])):
        after = pyramid([f + 1 if level == changed else f for level, f in enumerate(features)])
        moved = [level for level in range(5) if not torch.equal(before[level], after[level])]
        assert moved == reached, f"a change of backbone map {changed} shows on levels {reached}, not on {moved}"


def test_images_do_not_see_each_other():
    features, pyramid = random_maps([(5, 6), (3, 3), (2, 1)]), randomised(FeaturePyramid(CHANNELS, 6))
    alone = pyramid([f[1:] for f in features])
    expect_close([level[1:] for level in pyramid(features)], alone, "an image gets the same pyramid in any batch")


def test_biases_start_at_zero_and_every_parameter_learns():
    pyramid = FeaturePyramid(CHANNELS, 6)
    assert len(list(pyramid.parameters())) == 16, "weight and bias of 3 lateral and 3 output convolutions, p6 and p7"
    levels = pyramid([f.float() for f in random_maps([(8, 6), (4, 3), (2, 2)])])
    sum(level.square().sum() for level in levels).backward()
    missed = [name for name, one in pyramid.named_parameters() if one.grad is None or not one.grad.any()]
    assert not missed, f"no gradient reaches {missed} of a fresh pyramid: do they take part, and start away from zero?"
    biases = [name for name, one in pyramid.named_parameters() if one.dim() == 1 and one.any()]
    assert not biases, f"{biases} do not start at zero"


def test_gradients_are_those_of_the_formula():
    pyramid = randomised(FeaturePyramid(CHANNELS, 6))

    def pyramid_of(*features):
        return pyramid(list(features))

    gradients_are_right(pyramid_of, *[f[:1] for f in random_maps([(3, 4), (2, 2), (1, 2)])])


def test_each_call_uses_its_own_sizes():
    pyramid = randomised(FeaturePyramid(CHANNELS, 6))
    for sizes in ([(8, 6), (4, 3), (2, 2)], [(5, 9), (3, 5), (2, 3)]):
        features = random_maps(sizes)
        law = f"one pyramid, images of several sizes; now {sizes}"
        expect_close(pyramid(features), torchvision_pyramid(pyramid, features), law)


def test_the_list_of_maps_is_not_changed():
    features = random_maps([(8, 6), (4, 3), (2, 2)])
    before = list(features)
    randomised(FeaturePyramid(CHANNELS, 6))(features)
    same = len(features) == 3 and all(now is then for now, then in zip(features, before, strict=True))
    assert same, "the list of maps is the caller's: the pyramid appends to it or replaces an entry"


@pytest.mark.parametrize("name, call", [
    ("in_channels", lambda: FeaturePyramid([], 6)),
    ("3", lambda: FeaturePyramid(CHANNELS, 6).double()(random_maps([(4, 4), (2, 2)]))),
    ("4", lambda: FeaturePyramid(CHANNELS, 6).double()(random_maps([(4, 4)] * 4, channels=[3, 5, 4, 4]))),
])  # fmt: skip
def test_a_wrong_number_of_maps_is_refused(name, call):
    expect_refused(name, call)


@pytest.mark.parametrize("law", STANDING_LAWS)
def test_standing_laws(law):
    pyramid = randomised(FeaturePyramid(in_channels=CHANNELS, out_channels=6))
    law(lambda features: pyramid.to(features[0].dtype)(features=features), random_maps([(8, 6), (4, 3), (2, 2)]))
