"""targets: RetinaNet's two losses from matched anchors.

matched_idxs says per image and anchor: a truth's row (foreground), -1 (background), -2 (ignored). Both losses are summed
over the batch and divided by max(1, foreground anchors in the batch). The oracle goes through the anchors one by one, in
Python numbers. Out of scope: an empty batch, truths without width or height.
"""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from katas.detection.targets import retinanet_loss
from katas.lab.expect import expect_close, expect_equal
from katas.lab.laws import STANDING_LAWS, gradients_are_right
from katas.lab.strategies import seeds

ANCHORS = torch.tensor([[0, 0, 10, 20], [5, 5, 9, 45], [30, 0, 42, 6]], dtype=torch.float64)


@st.composite
def batches(draw, max_truths=3):
    """(cls_logits, box_deltas, anchors, matched_idxs, gt_boxes, gt_labels) with all sizes different."""
    generator = torch.Generator().manual_seed(draw(seeds()))
    num_images, num_anchors, num_classes = draw(st.integers(1, 3)), draw(st.integers(0, 5)), draw(st.integers(1, 4))

    def uniform(*shape, low=-3.0, high=3.0):
        return low + (high - low) * torch.rand(*shape, generator=generator, dtype=torch.float64)

    def boxes(count):
        corner = uniform(count, 2, low=-20, high=20)
        return torch.cat([corner, corner + uniform(count, 2, low=2, high=30)], dim=1)

    counts = [draw(st.integers(0, max_truths)) for _ in range(num_images)]
    matched = [torch.randint(-2, count, (num_anchors,), generator=generator) for count in counts]
    labels = [torch.randint(num_classes, (count,), generator=generator) for count in counts]
    logits, deltas = (
        uniform(num_images, num_anchors, num_classes),
        uniform(num_images, num_anchors, 4, low=-0.5, high=0.5),
    )
    return logits, deltas, boxes(num_anchors), torch.stack(matched), [boxes(count) for count in counts], labels


def loss_by_loops(logits, deltas, anchors, matched, gt_boxes, gt_labels, alpha=0.25, gamma=2.0, beta=1 / 9):
    classification = regression = num_foreground = 0
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
    expect_close(got, [torch.as_tensor(each, dtype=torch.float64) for each in expected], law)


def example(matched):
    """One image, three anchors, two classes, two truths of class 1 and 0; all logits and deltas are 0."""
    truths = torch.tensor([[0, 0, 4, 4], [2, 1, 12, 21]], dtype=torch.float64)
    zeros = torch.zeros(1, 3, 2, dtype=torch.float64), torch.zeros(1, 3, 4, dtype=torch.float64)
    return *zeros, ANCHORS, torch.tensor([matched]), [truths], [torch.tensor([1, 0])]


# --- worked examples ------------------------------------------------------------------------------------------------


def test_one_foreground_one_background_and_one_ignored_anchor():
    # Four logits of 0 count: one positive (0.25 · 0.25 · log 2) and three negatives (0.75 · 0.25 · log 2 each).
    # Truth 1 is anchor 0 moved by 2/10 of its width and 1/20 of its height: 0.2 - 1/18, and 0.5 · 0.05² · 9.
    expected = (1 + 3 * 3) / 16 * math.log(2), 0.2 - 1 / 18 + 0.5 * 0.0025 * 9
    expect_losses(retinanet_loss(*example([1, -1, -2])), expected, "the sums over all anchors that count, by 1")


def test_the_positive_class_is_the_matched_truths_label():
    logits, *rest = example([1, -2, -2])
    logits[0, 0] = torch.tensor([1000.0, -1000.0])  # truth 1 has label 0: right for both classes
    expect_close(
        retinanet_loss(logits, *rest).classification, torch.zeros(()).double(), "certain and right costs nothing"
    )
    wrong = retinanet_loss(-logits, *rest).classification
    expect_close(wrong, torch.tensor(0.25 * 1000 + 0.75 * 1000).double(), "label 0 of truth 1, not row 1 nor label 1")


# --- agreement and laws ---------------------------------------------------------------------------------------------


@given(batches())
def test_the_losses_agree_with_a_loop_over_anchors(batch):
    expect_losses(retinanet_loss(*batch), loss_by_loops(*batch), "image by image, anchor by anchor, class by class")


@given(batches(), st.sampled_from([0.1, 0.7]), st.sampled_from([0, 1.5]), st.sampled_from([0.02, 1.0]))
def test_hyper_parameters_reach_the_losses(batch, alpha, gamma, beta):
    expected = loss_by_loops(*batch, alpha=alpha, gamma=gamma, beta=beta)
    expect_losses(retinanet_loss(*batch, alpha=alpha, gamma=gamma, beta=beta), expected, "alpha and gamma, and beta")


@given(batches(), seeds())
def test_the_order_of_the_anchors_does_not_matter(batch, seed):
    logits, deltas, anchors, matched, *truths = batch
    order = torch.randperm(len(anchors), generator=torch.Generator().manual_seed(seed))
    got = retinanet_loss(logits[:, order], deltas[:, order], anchors[order], matched[:, order], *truths)
    expect_losses(got, retinanet_loss(*batch), "logits, deltas, anchors and matches of one anchor belong together")


@given(batches())
def test_every_foreground_anchor_of_the_batch_weighs_the_same(batch):
    logits, deltas, anchors, matched, boxes, labels = batch
    total, count = torch.zeros(2, dtype=torch.float64), 0
    for b in range(len(logits)):
        image = logits[b, None], deltas[b, None], anchors, matched[b, None], [boxes[b]], [labels[b]]
        alone = retinanet_loss(*image)
        total += torch.stack([*alone]) * max(1, int((matched[b] >= 0).sum()))
        count += int((matched[b] >= 0).sum())
    expect_losses(retinanet_loss(*batch), total / max(1, count), "one normaliser for the whole batch, not one an image")


# --- who counts -----------------------------------------------------------------------------------------------------


def gradients(logits, deltas, *rest):
    leaves = logits.clone().requires_grad_(), deltas.clone().requires_grad_()
    loss = retinanet_loss(*leaves, *rest)
    return torch.autograd.grad(sum(loss) + 0 * leaves[0].nan_to_num().sum(), leaves, materialize_grads=True)


@given(batches(), st.sampled_from([math.nan, math.inf, -math.inf]))
def test_ignored_anchors_count_nowhere_whatever_they_are(batch, poison):
    logits, deltas, anchors, matched, *truths = batch
    ignored = matched == -2
    poisoned = logits.masked_fill(ignored[..., None], poison), deltas.masked_fill(ignored[..., None], poison)
    got = retinanet_loss(*poisoned, anchors, matched, *truths)
    expect_losses(got, loss_by_loops(*batch), "an ignored anchor adds nothing, whatever the network says there")
    for gradient in gradients(*poisoned, anchors, matched, *truths):
        expect_equal(gradient[ignored], torch.zeros_like(gradient[ignored]), "no gradient reaches an ignored anchor")


@given(batches(), st.sampled_from([math.nan, math.inf, -math.inf]))
def test_background_anchors_have_no_box(batch, poison):
    logits, deltas, anchors, matched, *truths = batch
    poisoned = deltas.masked_fill((matched < 0)[..., None], poison)
    expect_losses(
        retinanet_loss(logits, poisoned, anchors, matched, *truths), loss_by_loops(*batch), "no box to regress"
    )
    gradient = gradients(logits, poisoned, anchors, matched, *truths)[1]
    expect_equal(gradient[matched < 0], torch.zeros_like(gradient[matched < 0]), "its deltas get no gradient")


def test_a_nan_that_counts_shows_in_its_loss():
    logits, deltas, *rest = example([1, -1, -2])
    diverged_logits, diverged_deltas = logits.clone(), deltas.clone()
    diverged_logits[0, 1], diverged_deltas[0, 0] = math.nan, math.nan  # of the background, of the foreground
    told = "training can only stop at a loss that is not finite if it is not made finite here"
    assert retinanet_loss(diverged_logits, deltas, *rest).classification.isnan(), f"a NaN logit counts: {told}"
    assert retinanet_loss(logits, diverged_deltas, *rest).regression.isnan(), f"a NaN delta counts: {told}"


@given(batches(max_truths=0))
def test_images_without_truths_still_teach_background(batch):
    logits, _, _, matched, *_ = batch
    expect_losses(retinanet_loss(*batch), loss_by_loops(*batch), "classification of the background, divided by 1")
    logit_gradient, delta_gradient = gradients(*batch)
    assert (logit_gradient[matched == -1] > 0).all(), "every background logit is pushed down"
    expect_equal(delta_gradient, torch.zeros_like(delta_gradient), "the regression loss is 0, with zero gradient")


def test_the_regression_loss_can_be_trained_on_without_any_foreground():
    logits, deltas, *rest = example([-1, -1, -2])
    deltas = deltas.requires_grad_()
    regression = retinanet_loss(logits, deltas, *rest).regression
    assert regression.requires_grad, "a loss of 0 is still a function of the deltas: regression.backward() must run"
    regression.backward()
    expect_equal(deltas.grad, torch.zeros_like(deltas), "the regression loss is 0, with zero gradient")


def test_gradients_are_those_of_the_formula():
    logits, deltas, *rest = example([1, -1, -2])
    logits, deltas = logits + torch.tensor([0.3, -0.7]), deltas + torch.tensor([0.03, 0.0, -0.05, 0.4])

    def loss(logits, deltas):
        return sum(retinanet_loss(logits, deltas, *rest))

    gradients_are_right(loss, logits, deltas)


# --- edges ----------------------------------------------------------------------------------------------------------

FITTING = torch.tensor([1, 0, 1])


@pytest.mark.parametrize(
    "name, boxes, labels",
    [
        ("gt_boxes", [ANCHORS] * 2, [FITTING] * 3),
        ("gt_boxes", [ANCHORS] * 4, [FITTING] * 3),
        ("gt_labels", [ANCHORS] * 3, [FITTING] * 2),
        ("gt_labels", [ANCHORS] * 3, [FITTING] * 4),
        ("gt_labels", [ANCHORS] * 3, [FITTING, FITTING, torch.tensor([1, 0, 2])]),
        ("gt_labels", [ANCHORS] * 3, [torch.tensor([-1, 0, 0]), FITTING, FITTING]),
    ],
    ids=["boxes of two images", "of four", "labels of two images", "of four", "label 2 of 2", "label -1"],
)
def test_truths_that_do_not_fit_three_images_and_two_classes_are_refused(name, boxes, labels):
    logits, deltas, anchors, matched, *_ = example([1, -1, -2])
    with pytest.raises(ValueError, match=name):
        retinanet_loss(logits.repeat(3, 1, 1), deltas.repeat(3, 1, 1), anchors, matched.repeat(3, 1), boxes, labels)


@pytest.mark.parametrize("law", STANDING_LAWS[:5])
def test_standing_laws(law):
    law(retinanet_loss, *example([1, -1, 0]))
    law(retinanet_loss, *example([-1, -1, -2])[:4], [ANCHORS[:0]], [torch.zeros(0, dtype=torch.int64)])
