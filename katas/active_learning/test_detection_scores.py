"""detection_scores: the entropy of a detection, one number per image, and weights against rare classes.

Everything is checked against loops over Python floats, image by image. Out of scope: speed, scores outside [0, 1],
labels that are no class.
"""

import math

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from katas.active_learning.detection_scores import (
    class_balanced,
    class_weights,
    detection_entropy,
    max_per_image,
    mean_per_image,
    sum_per_image,
)
from katas.lab.expect import expect_close, expect_equal, expect_refused
from katas.lab.laws import STANDING_LAWS, dtype_is_followed, gradients_are_finite, gradients_are_right
from katas.lab.strategies import normal, rng, seeds

F64 = torch.float64
UNITS = [2.0**-30, 1, 2.0**20]


def images(counts, *, seed=0, unit=1.0):
    """Uncertainties of either sign, counts[i] of them in image i."""
    return [unit * normal(count, seed=seed + i) for i, count in enumerate(counts)]


# --- the definition ---------------------------------------------------------------------------------------------------


def entropy(p):
    return -p * math.log(p) - (1 - p) * math.log1p(-p) if 0 < p < 1 else 0.0


RULES = {
    sum_per_image: math.fsum,
    max_per_image: lambda numbers: max(numbers, default=0.0),
    mean_per_image: lambda numbers: math.fsum(numbers) / max(len(numbers), 1),
}


def weights_of(labels, num_classes):
    inverse = [1 / (labels.count(c) + 1) for c in range(num_classes)]
    return torch.tensor([num_classes * number / sum(inverse) for number in inverse])


# --- a detection ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("score, expected", [
    (0.5, math.log(2)), (0.25, 0.25 * math.log(4) + 0.75 * math.log(4 / 3)),
    (0.9, 0.1 * math.log(10) + 0.9 * math.log(10 / 9)), (0, 0), (1, 0),
])  # fmt: skip
def test_entropies_by_hand(score, expected):
    got = detection_entropy(scores=torch.tensor([score], dtype=F64))
    expect_close(got, [expected], "-p log p - (1 - p) log(1 - p), with the natural logarithm")
    expect_equal(detection_entropy(torch.tensor([0.0, 1.0])), torch.zeros(2), "exactly 0 at 0 and 1, in float32 too")


SCORES = [0, 1e-300, 1e-30, 1e-9, 0.001, 0.2, 0.5, 0.7, 0.999, 1 - 1e-9, 1 - 2.0**-53, 1]


@given(st.sampled_from([(), (1,), (7,), (2, 3), (4, 1, 3)]), st.data())
@example((12,), None).via("certain scores, and some that are nearly certain")
def test_entropies_agree_with_the_definition(shape, data):
    count, numbers = math.prod(shape), st.sampled_from(SCORES) | st.floats(0, 1, allow_subnormal=False)
    scores = data.draw(st.lists(numbers, min_size=count, max_size=count)) if data else SCORES
    expected = torch.tensor([entropy(p) for p in scores], dtype=F64).reshape(shape)
    got = detection_entropy(torch.tensor(scores, dtype=F64).reshape(shape))
    expect_close(got, expected, "element by element, also where a score is nearly certain", rtol=1e-11, atol=1e-12)


def test_entropies_have_a_finite_gradient():
    gradients_are_right(detection_entropy, torch.tensor([0.1, 0.4, 0.5, 0.95], dtype=F64))
    gradients_are_finite(detection_entropy, torch.tensor([0, 0.3, 1], dtype=F64))


# --- an image ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fn, law, expected", [
    (sum_per_image, "the sum, in float64", [0, 0.6, 0.5, 0, -0.4, 1]),
    (max_per_image, "the largest, even if all are below 0", [0, 0.4, 0.5, 0, -0.1, 2.0**30]),
    (mean_per_image, "the sum over its own number", [0, 0.2, 0.5, 0, -0.2, 1 / 3]),
], ids=["sum", "max", "mean"])  # fmt: skip
@pytest.mark.parametrize("kind, dtype", [(list, F64), (tuple, torch.float32)])
def test_six_images_by_hand(fn, law, expected, kind, dtype):
    numbers = [[], [0.4, 0.1, 0.1], [0.5], [], [-0.1, -0.3], [2.0**30, 1, -(2.0**30)]]
    got = fn(uncertainties=kind(torch.tensor(image, dtype=dtype) for image in numbers))
    expect_close(got, expected, f"{law}, of each image; 0 without detections", dtype=dtype)
    assert fn([]).shape == (0,), "a number for each image: none"


@pytest.mark.parametrize("fn", RULES)
@given(st.lists(st.sampled_from([0, 0, 1, 2, 5, 30]), min_size=1, max_size=7), seeds(), st.sampled_from(UNITS))
@example([0, 0, 3000, 0], 0, 1).via("many detections in one of the images")
def test_images_agree_with_the_definition(fn, counts, seed, unit):
    units = [[unit, 1e12, 1][i % 3] for i in range(len(counts))]  # an image does not depend on its neighbours
    uncertainties = [scale * image for scale, image in zip(units, images(counts, seed=seed), strict=True)]
    expected = torch.tensor([RULES[fn](image.tolist()) for image in uncertainties], dtype=F64) / torch.tensor(units)
    got = fn(uncertainties) / torch.tensor(units)
    expect_close(got, expected, "over the detections of each image, and 0 where none are", rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("fn", RULES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_thousands_of_detections_in_half_precision(fn, dtype):
    uncertainties = [image.abs().to(dtype) for image in images([0, 9000, 4])]
    expected = torch.tensor([RULES[fn](image.tolist()) for image in uncertainties]).to(dtype)
    expect_close(fn(uncertainties), expected, "summed in float64: beyond 2048 float16 has no fractions")


@pytest.mark.parametrize("fn", RULES)
def test_images_have_the_gradient_of_their_detections(fn):
    gradients_are_right(lambda *uncertainties: fn(uncertainties), *images([3, 0, 1, 4]))


def test_balanced_uncertainties_have_the_gradient_of_the_product():
    labels = [torch.tensor([0, 2, 0]), torch.tensor([1])]
    gradients_are_right(lambda one, two, w: class_balanced([one, two], labels, w), *images([3, 1]), normal(3))


# --- classes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("law, labels, num_classes, expected", [
    # 1 / (n + 1) is 1/3, 1, 1/2, 1, with the mean 17/24
    ("inverse frequency, mean 1; a class without labels is finite", [2, 0, 0], 4, [8 / 17, 24 / 17, 12 / 17, 24 / 17]),
    ("no labels: all classes alike", [], 3, [1, 1, 1]),
    ("a single class", [0, 0], 1, [1]),
])  # fmt: skip
def test_weights_by_hand(law, labels, num_classes, expected):
    got = class_weights(labels=torch.tensor(labels).long(), num_classes=num_classes)
    expect_close(got, expected, law, dtype=torch.float32)


@given(seeds(), st.sampled_from([1, 10, 3000]), st.integers(1, 30), st.sampled_from([torch.int32, torch.int64]))
def test_weights_agree_with_the_definition(seed, count, num_classes, dtype):
    labels = (num_classes * torch.rand(count, generator=rng(seed)) ** 3).to(dtype)  # class 0 is frequent
    expected = weights_of(labels.tolist(), num_classes)
    expect_close(class_weights(labels, num_classes), expected, "1 / (n_c + 1), divided by the mean over classes")


@given(st.lists(st.sampled_from([0, 1, 2, 7]), max_size=6), st.integers(1, 5), seeds())
def test_every_detection_has_the_weight_of_its_class(counts, num_classes, seed):
    uncertainties, weights = images(counts, seed=seed), 1 + normal(num_classes, seed=seed).abs()
    dtype = [torch.int16, torch.int64][seed % 2]
    labels = [torch.randint(num_classes, (count,), generator=rng(seed + i)).to(dtype) for i, count in enumerate(counts)]
    w, pairs = weights.tolist(), zip(uncertainties, labels, strict=True)
    expected = [torch.tensor([u.item() * w[c] for u, c in zip(*pair, strict=True)], dtype=F64) for pair in pairs]
    got = class_balanced(uncertainties=uncertainties, labels=labels, weights=weights)
    expect_close(got, expected, "image by image, u_i · weights[label_i]")


@pytest.mark.parametrize("dtype, other", [(torch.float16, F64), (torch.float32, F64), (F64, torch.float32)])
def test_the_uncertainties_decide_the_dtype(dtype, other):
    uncertainties = [image.to(dtype) for image in images([2, 0, 3], unit=0.01)]
    labels = [torch.zeros(n).int() for n in (2, 0, 3)]
    got = class_balanced(uncertainties, labels, torch.full((2,), 1e5, dtype=other))
    expected = [(image.double() * 1e5).to(dtype) for image in uncertainties]
    expect_close(
        got, expected, f"{dtype} uncertainties stay {dtype}; the product comes before the cast", rtol=1e-3, atol=0
    )
    mixed = [*uncertainties[:2], uncertainties[2].to(other)]
    got = [*class_balanced(mixed, labels, torch.ones(2)), *(fn(mixed) for fn in RULES)]
    assert {tensor.dtype for tensor in got} == {dtype}, "the dtype is that of the first image"


# --- promises of all katas --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, call", [
    ("num_classes", lambda: class_weights(torch.zeros(0).long(), 0)),
    ("num_classes", lambda: class_weights(torch.zeros(0).long(), -2)),
    ("labels", lambda: class_balanced(images([2, 1]), [torch.zeros(3).long()], normal(3))),
    ("labels", lambda: class_balanced(images([2]), [torch.zeros(2).long(), torch.zeros(0).long()], normal(3))),
    ("labels", lambda: class_balanced(images([2, 1]), [torch.zeros(1).long(), torch.zeros(2).long()], normal(3))),
    ("labels", lambda: class_balanced(images([2]), [torch.zeros(1).long()], normal(3))),
    ("labels", lambda: class_balanced([], [torch.zeros(1).long()], normal(3))),
])  # fmt: skip
def test_what_cannot_be_is_refused_by_name(name, call):
    expect_refused(name, call)


@pytest.mark.parametrize("law", STANDING_LAWS)
def test_standing_laws(law):
    uncertainties, labels = images([5, 0, 2, 1]), [torch.arange(n) % 3 for n in (5, 0, 2, 1)]
    law(detection_entropy, torch.rand(5, 2, generator=rng(), dtype=F64).round(decimals=1))  # 0 and 1 are among them
    for fn in RULES:
        law(fn, uncertainties)
    law(class_balanced, uncertainties, labels, normal(3))
    if law is not dtype_is_followed:  # labels have no floating dtype to follow
        law(lambda labels: class_weights(labels, 3), labels[0])
