"""retina_head: the head shared by all levels, checked against torchvision's with the same weights.

The names of the submodules, the order of the rows, and how biases and the last two convolutions start are part of the
contract. How the weights of the two subnets start is out of scope.
"""

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torchvision.models.detection.retinanet import RetinaNetHead

from katas.detection.given.oracles import randomised
from katas.detection.retina_head import RetinaHead
from katas.lab.expect import expect_close, expect_equal, expect_refused
from katas.lab.laws import STANDING_LAWS, gradients_are_right
from katas.lab.strategies import normal, seeds


def random_maps(sizes, channels=4, batch=2, seed=1):
    return [normal(batch, channels, *size, seed=seed + place) for place, size in enumerate(sizes)]


def torchvision_head(head, features, num_anchors, num_classes, num_convs):
    """torchvision's head with the learner's weights. It joins all levels."""
    oracle = RetinaNetHead(features[0].shape[1], num_anchors, num_classes).double()
    pairs = ((oracle.classification_head, head.cls_subnet), (oracle.regression_head, head.box_subnet))
    for branch, subnet in pairs:
        branch.conv = branch.conv[:num_convs]
        for layer in range(num_convs):
            branch.conv[layer][0].load_state_dict(subnet[2 * layer].state_dict())
    oracle.classification_head.cls_logits.load_state_dict(head.cls_logits.state_dict())
    oracle.regression_head.bbox_reg.load_state_dict(head.box_deltas.state_dict())
    return oracle(features)


def planted(num_anchors, num_classes):
    """A head without subnets whose output channel c is 100 × the feature at that place, plus c."""
    head = RetinaHead(1, num_anchors, num_classes, num_convs=0).double()
    for conv in (head.cls_logits, head.box_deltas):
        conv.weight.data.zero_()
        conv.weight.data[:, 0, 1, 1] = 100
        conv.bias.data = torch.arange(conv.out_channels, dtype=torch.float64)
    return head


FEATURE = [torch.tensor([[[[1.0, 2, 3], [4, 5, 6]]]], dtype=torch.float64)]  # 2 rows, 3 columns


def test_the_order_of_the_logits_by_hand():
    (logits,), _ = planted(num_anchors=2, num_classes=4)(FEATURE)
    # place (0, 0) holds 1: its anchor 0 has channels 0…3 and its anchor 1 channels 4…7. Then place (0, 1),
    # which holds 2.
    rows = [[100, 101, 102, 103], [104, 105, 106, 107], [200, 201, 202, 203], [204, 205, 206, 207]]
    expect_equal(logits[0, :4], rows, "rows go by place and then by anchor; columns are classes")
    expect_equal(logits[0, 6], [400, 401, 402, 403], "place (1, 0) comes after all three columns of row 0")


def test_the_order_of_the_deltas_by_hand():
    _, (deltas,) = planted(num_anchors=3, num_classes=2)(FEATURE)
    rows = [[100, 101, 102, 103], [104, 105, 106, 107], [108, 109, 110, 111], [200, 201, 202, 203]]
    expect_equal(deltas[0, :4], rows, "anchor a of a place has its four deltas in channels 4a … 4a + 3")
    expect_equal(deltas[0, -1], [608, 609, 610, 611], "the last row is the last anchor of the last place")


@given(st.integers(1, 3), st.integers(1, 5), st.integers(0, 3), st.integers(1, 6), st.integers(1, 3), seeds())
@example(2, 3, 2, 6, 3, 0)  # more levels than P3 to P7
def test_it_agrees_with_torchvision(num_anchors, num_classes, num_convs, levels, batch, seed):
    features = random_maps([(3, 5), (2, 3), (1, 4), (3, 2), (2, 2), (1, 1)][-levels:], batch=batch, seed=seed)
    head = randomised(RetinaHead(4, num_anchors, num_classes, num_convs=num_convs), seed)
    output = head(features)
    expected = torchvision_head(head, features, num_anchors, num_classes, num_convs)
    expect_close(torch.cat(output.cls_logits, dim=1), expected["cls_logits"], "the logits of torchvision's head")
    expect_close(torch.cat(output.box_deltas, dim=1), expected["bbox_regression"], "the deltas of torchvision's head")


@given(st.integers(1, 3), st.integers(1, 7), st.integers(1, 7))
def test_each_level_has_a_row_per_anchor(batch, height, width):
    output = RetinaHead(4, 3, 5, num_convs=1).double()(random_maps([(height, width), (2, 3)], batch=batch))
    shapes = [tuple(level.shape) for level in [*output.cls_logits, *output.box_deltas]]
    rows = height * width * 3
    assert shapes == [(batch, rows, 5), (batch, 18, 5), (batch, rows, 4), (batch, 18, 4)], f"got {shapes}"


def test_the_same_weights_serve_every_level():
    first, second = random_maps([(3, 5), (2, 3)])
    head = randomised(RetinaHead(4, 3, 5, num_convs=2))
    counts = [len(head(levels).cls_logits) for levels in ([first], [first, second, first])]
    assert counts == [1, 3], f"the head takes one level, then three, and gives logits for {counts} of them"
    swapped = head([second, first])
    expect_close([level[::-1] for level in head([first, second])], list(swapped), "a level does not know its number")
    assert len(list(head.parameters())) == 12, "weight and bias of 2 + 2 subnet convolutions and the last two: no more"


def test_the_two_subnets_share_no_weight():
    features, head = random_maps([(3, 5)]), randomised(RetinaHead(4, 3, 5, num_convs=2))
    logits, deltas = head(features)
    head.box_subnet[0].weight.data.neg_()
    expect_equal(head(features).cls_logits, logits, "the box subnet has no part in the class logits")
    assert not torch.equal(head(features).box_deltas[0], deltas[0]), "the box subnet has a part in the box deltas"


@pytest.mark.parametrize("prior_probability", [1e-5, 0.01, 0.2, 0.9, 0.9999])
def test_every_class_starts_at_the_prior_probability(prior_probability):
    head = RetinaHead(4, 3, 5, num_convs=3, prior_probability=prior_probability)
    logits, deltas = head([torch.zeros(1, 4, 2, 3)])
    expect_close(
        logits[0].sigmoid(),
        torch.full((1, 18, 5), prior_probability),
        "features of zero give the prior probability",
        rtol=1e-4,
        atol=0,
    )
    expect_equal(deltas[0], torch.zeros(1, 18, 4), "features of zero move no anchor")
    for name, parameter in head.named_parameters():
        if name.endswith("bias") and name != "cls_logits.bias":
            expect_equal(parameter, torch.zeros_like(parameter), f"{name} starts at zero")


def test_the_defaults_are_those_of_the_paper():
    head = RetinaHead(4, 3, 5)
    assert len(head.cls_subnet) == len(head.box_subnet) == 8, "four convolutions, each with its ReLU, in either subnet"
    expect_close(
        head.cls_logits.bias[0].sigmoid().item(),
        0.01,
        "the prior probability is 0.01 unless told otherwise",
        rtol=1e-5,
        atol=0,
    )


@pytest.mark.parametrize("name", ["cls_logits", "box_deltas"])
def test_the_last_convolutions_start_small(name):
    weight = getattr(RetinaHead(256, 9, 20, num_convs=1), name).weight.double()
    # at least 82,944 weights: a right standard deviation is off by 2 % in fewer than 1 of 10**11 runs (8 errors)
    deviation = weight.std().item()
    law = f"the weights of {name} start with standard deviation 0.01"
    expect_close(deviation, 0.01, law, rtol=0.02, atol=0)
    assert abs(weight.mean()) < 3e-4, f"the weights of {name} start around zero"  # 8 standard errors
    # The fourth power tells a normal distribution (3) from a uniform one (1.8). Of a right one it is off by 0.12, which
    # is 7 standard errors, in fewer than 1 of 10**9 runs.
    law = f"the weights of {name} are drawn from a normal distribution: their mean (w / deviation)⁴ is 3"
    expect_close((weight / deviation).pow(4).mean().item(), 3.0, law, rtol=0, atol=0.12)


def test_gradients_are_those_of_the_formula():
    head = randomised(RetinaHead(4, 3, 5, num_convs=1))

    def head_of(*features):
        return head(list(features))

    gradients_are_right(head_of, *random_maps([(2, 3), (1, 2)], batch=1))


def test_every_parameter_learns():
    head = RetinaHead(4, 3, 5, num_convs=2)
    logits, deltas = head([f.float() for f in random_maps([(3, 5), (2, 3)])])
    sum(level.square().sum() for level in logits + deltas).backward()
    missed = [name for name, one in head.named_parameters() if one.grad is None or not one.grad.any()]
    assert not missed, f"no gradient reaches {missed} of a fresh head: do they take part, and start away from zero?"


@pytest.mark.parametrize("prior_probability", [0, 1, -0.1, 1.5])
def test_an_impossible_prior_probability_is_refused(prior_probability):
    expect_refused("prior_probability", lambda: RetinaHead(4, 3, 5, prior_probability=prior_probability))


@pytest.mark.parametrize("law", STANDING_LAWS)
def test_standing_laws(law):
    head = randomised(RetinaHead(in_channels=4, num_anchors=3, num_classes=5, num_convs=1))
    law(lambda features: head.to(features[0].dtype)(features=features), random_maps([(3, 5), (2, 4)]))
