"""targets: RetinaNet's two losses from matched anchors.

The definition goes through the anchors one by one, in Python numbers. Out of scope: truths without width or height.
"""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from katas.detection.targets import retinanet_loss
from katas.lab.expect import expect_close, expect_equal, expect_refused
from katas.lab.laws import STANDING_LAWS, gradients_are_right, unit_of_length_does_not_matter
from katas.lab.strategies import UNITS, rng, seeds

ANCHORS = torch.tensor([[0, 0, 10, 20], [5, 5, 9, 45], [30, 0, 42, 6]], dtype=torch.float64)
OPTIONS = [{}, {"alpha": 0.1}, {"gamma": 0}, {"beta": 1.0}, {"alpha": 0.7, "gamma": 1.5, "beta": 0.02}]
FITTING = torch.tensor([1, 0, 1])  # a label for each of three truths
NAMES = ["cls_logits", "box_deltas", "anchors", "matched_idxs", "gt_boxes", "gt_labels"]


def batch(seed, num_images, num_anchors, num_classes, max_truths, size=1, unit=1):
    generator = rng(seed)

    def numbers(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    def boxes(count):
        corners = 20 * numbers(count, 2)
        return unit * torch.cat([corners, corners + 2 + 9 * numbers(count, 2).abs()], dim=1)

    counts = torch.randint(max_truths + 1, (num_images,), generator=generator)
    matched = torch.rand(num_images, num_anchors, generator=generator) * (counts[:, None] + 2)
    logits, deltas = size * numbers(num_images, num_anchors, num_classes), numbers(num_images, num_anchors, 4)
    labels = [torch.randint(num_classes, (count,), generator=generator) for count in counts.tolist()]
    return logits, deltas, boxes(num_anchors), matched.long() - 2, [boxes(count) for count in counts.tolist()], labels


sizes = st.integers(1, 3), st.integers(1, 6), st.integers(1, 5), st.integers(1, 4)
batches = st.builds(batch, seeds(), *sizes, st.sampled_from([1, 20]), st.sampled_from(UNITS))


# --- the definition ---------------------------------------------------------------------------------------------------


def by_anchors(logits, deltas, anchors, matched, gt_boxes, gt_labels, alpha=0.25, gamma=2.0, beta=1 / 9):
    classification = regression = num_foreground = 0.0
    for b, row in enumerate(matched.tolist()):
        for n, m in enumerate(row):
            for k, logit in enumerate(logits[b, n].tolist() if m > -2 else []):
                positive = m >= 0 and gt_labels[b][m] == k
                p_t = 1 / (1 + math.exp(-logit if positive else logit))
                classification -= (alpha if positive else 1 - alpha) * (1 - p_t) ** gamma * math.log(p_t)
            if m >= 0:
                num_foreground += 1
                (x1, y1, x2, y2), (u1, v1, u2, v2) = anchors[n].tolist(), gt_boxes[b][m].tolist()
                dx, dy = (u1 + u2 - x1 - x2) / 2 / (x2 - x1), (v1 + v2 - y1 - y2) / 2 / (y2 - y1)
                dw, dh = math.log((u2 - u1) / (x2 - x1)), math.log((v2 - v1) / (y2 - y1))
                distances = [abs(d - t) for d, t in zip(deltas[b, n].tolist(), (dx, dy, dw, dh), strict=True)]
                regression += sum(d * d / 2 / beta if d < beta else d - beta / 2 for d in distances)
    return classification / max(1, num_foreground), regression / max(1, num_foreground)


def expect_losses(got, expected, law):
    for field, value in zip(("classification", "regression"), expected, strict=True):
        expect_close(getattr(got, field), torch.tensor(value, dtype=torch.float64), f"{field} loss: {law}")


def example(matched):
    """One image, three anchors, two classes, two truths of class 1 and 0; all logits and deltas are 0."""
    truths = torch.tensor([[0, 0, 4, 4], [2, 1, 12, 21]], dtype=torch.float64)
    zeros = torch.zeros(1, 3, 2, dtype=torch.float64), torch.zeros(1, 3, 4, dtype=torch.float64)
    return *zeros, ANCHORS, torch.tensor([matched]), [truths], [torch.tensor([1, 0])]


# --- the losses -------------------------------------------------------------------------------------------------------


# With β = 1/9, |d| costs |d| - 1/18 above β. Truth 1 is anchor 0 moved by 2/10 of its width and 1/20 of its height; it
# is 14/40 of a height away from anchor 1, 10/4 times as wide and 20/40 times as high.
MOVED = 0.2 - 1 / 18 + 0.5 * 0.05**2 * 9
RESHAPED = 14 / 40 + math.log(10 / 4) + math.log(40 / 20) - 3 / 18


@pytest.mark.parametrize("matched, sixteenths_of_log_2, regression, law", [
    # with logits of 0 a positive costs 0.25 · 0.25 · log 2, a negative 0.75 · 0.25 · log 2
    ([-2, -2, -2], 0, 0, "ignored anchors count nowhere"),
    ([-1, -2, -2], 3 + 3, 0, "both classes of a background anchor are negatives"),
    ([1, -2, -2], 1 + 3, MOVED, "one positive, one negative; four coordinates, summed"),
    ([1, -1, -1], 1 + 3 * 5, MOVED, "divided by the foreground anchors, not by all"),
    ([1, 1, -1], (2 + 3 * 4) / 2, (MOVED + RESHAPED) / 2, "divided by the number of foreground anchors, 2"),
])  # fmt: skip
def test_three_anchors_by_hand(matched, sixteenths_of_log_2, regression, law):
    got = retinanet_loss(**dict(zip(NAMES, example(matched), strict=True)))
    expect_losses(got, (sixteenths_of_log_2 / 16 * math.log(2), regression), law)


def test_the_positive_class_is_the_label_of_the_truth():
    logits, *rest = example([1, -2, -2])
    logits[0, 0] = torch.tensor([1000.0, -1000.0])  # truth 1 has label 0: right for both classes
    expect_losses(retinanet_loss(logits, *rest), (0, MOVED), "label 0 of truth 1, not row 1 nor label 1")
    expect_losses(retinanet_loss(-logits, *rest), (250 + 750, MOVED), "label 0 of truth 1, not row 1 nor label 1")


@given(batches, st.sampled_from(OPTIONS))
def test_the_losses_agree_with_the_definition(batch, options):
    got = retinanet_loss(*batch, **options)
    expect_losses(got, by_anchors(*batch, **options), "image by image, anchor by anchor, class by class")


@pytest.mark.parametrize("sizes", [(0, 3, 2, 4), (2, 0, 2, 4), (2, 3, 2, 0), (1, 1500, 3, 40), (9, 2, 80, 4)])
def test_no_images_no_anchors_no_truths_and_many(sizes):
    large = batch(0, *sizes)
    expect_losses(retinanet_loss(*large), by_anchors(*large), f"images, anchors, classes, truths: {sizes}")


def test_the_unit_of_length_does_not_matter():
    logits, deltas, anchors, matched, (truths,), labels = example([1, -1, 0])

    def losses(anchors, truths):
        return retinanet_loss(logits, deltas, anchors, matched, [truths], labels)

    unit_of_length_does_not_matter(losses, anchors, truths)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_million_logits_in_half_precision(dtype):
    # 600,000 negatives cost 3 / 16 · log 2 each: 78,000 in all, and float16 ends at 65504
    logits, deltas, anchors = (torch.zeros(shape, dtype=dtype) for shape in [(1, 6000, 100), (1, 6000, 4), (6000, 4)])
    matched = torch.full((1, 6000), -1)
    matched[0, :2], anchors[:, 2:] = 0, 1
    got = retinanet_loss(logits, deltas, anchors, matched, [anchors[:1]], [torch.tensor([7])])
    expected = [torch.tensor((2 + 3 * 599_998) / 16 * math.log(2) / 2), torch.tensor(0.0)]
    expect_close([*got], [each.to(dtype) for each in expected], "summed in float32 at least", rtol=0.01, atol=0)


# --- who counts -------------------------------------------------------------------------------------------------------


@given(batches, st.sampled_from([math.nan, math.inf, -math.inf]))
def test_what_does_not_count_may_be_anything(batch, poison):
    logits, deltas, anchors, matched, *truths = batch
    ignored, without_box = (matched == -2)[..., None], (matched < 0)[..., None]
    leaves = [each.masked_fill(at, poison).requires_grad_() for each, at in ((logits, ignored), (deltas, without_box))]
    got = retinanet_loss(*leaves, anchors, matched, *truths)
    expect_losses(got, by_anchors(*batch), f"ignored anchors and boxes of the background add nothing, even if {poison}")
    gradients = torch.autograd.grad(sum(got), leaves, materialize_grads=True)
    for gradient, at in zip(gradients, (ignored, without_box), strict=True):
        expect_equal(gradient.where(at, 0), torch.zeros_like(gradient), "no gradient reaches what does not count")


def test_a_nan_that_counts_shows_in_its_loss():
    logits, deltas, *rest = example([1, -1, -2])
    diverged_logits, diverged_deltas = logits.clone(), deltas.clone()
    diverged_logits[0, 1], diverged_deltas[0, 0] = math.nan, math.nan  # of the background, of the foreground
    assert retinanet_loss(diverged_logits, deltas, *rest).classification.isnan(), "a NaN logit makes its loss NaN"
    assert retinanet_loss(logits, diverged_deltas, *rest).regression.isnan(), "a NaN delta makes its loss NaN"


def test_without_foreground_the_regression_loss_can_be_trained_on():
    logits, deltas, *rest = example([-1, -1, -2])
    regression = retinanet_loss(logits, deltas.requires_grad_(), *rest).regression
    assert regression.requires_grad, "a loss of 0 is still a function of the deltas: regression.backward() must run"
    (gradient,) = torch.autograd.grad(regression, deltas)
    expect_equal(gradient, torch.zeros_like(deltas), "the regression loss is 0, with zero gradient")


def test_the_network_takes_the_gradient_and_the_truths_none():
    logits, deltas, *rest = example([1, -1, -2])
    logits, deltas = logits + torch.tensor([0.3, -0.7]), deltas + torch.tensor([0.03, 0.0, -0.05, 0.4])
    gradients_are_right(lambda logits, deltas: sum(retinanet_loss(logits, deltas, *rest)), logits, deltas)
    truths = rest[2][0].requires_grad_()
    loss = sum(retinanet_loss(logits, deltas.requires_grad_(), *rest))
    _, of_truths = torch.autograd.grad(loss, (deltas, truths), allow_unused=True)
    assert of_truths is None or not of_truths.any(), f"the truths are given, they do not learn: got {of_truths}"


# --- promises of all katas --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, boxes, labels", [
    ("gt_boxes", [ANCHORS] * 2, [FITTING] * 3),
    ("gt_boxes", [ANCHORS] * 4, [FITTING] * 3),
    ("gt_labels", [ANCHORS] * 3, [FITTING] * 2),
    ("gt_labels", [ANCHORS] * 3, [FITTING] * 4),
    ("gt_labels", [ANCHORS] * 3, [FITTING, FITTING, torch.tensor([1, 0, 2])]),
    ("gt_labels", [ANCHORS] * 3, [torch.tensor([-1, 0, 0]), FITTING, FITTING]),
], ids=["boxes of two images", "of four", "labels of two images", "of four", "label 2 of 2", "label -1"])  # fmt: skip
def test_truths_that_do_not_fit_are_refused(name, boxes, labels):
    logits, deltas, anchors, matched, *_ = example([1, -1, -2])
    images = logits.repeat(3, 1, 1), deltas.repeat(3, 1, 1), anchors, matched.repeat(3, 1)
    expect_refused(name, lambda: retinanet_loss(*images, boxes, labels))


@pytest.mark.parametrize("law", STANDING_LAWS[:5])  # no images: above
def test_standing_laws(law):
    law(retinanet_loss, *example([1, -1, 0]))
    law(retinanet_loss, *example([-1, -1, -2])[:4], [ANCHORS[:0]], [torch.zeros(0, dtype=torch.int64)])
