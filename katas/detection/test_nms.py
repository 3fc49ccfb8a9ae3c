"""nms: which of many overlapping boxes to keep. Hard, per label, and soft.

Checked against the definition, one box at a time in Python floats. Coordinates are whole units, so an IoU can meet a
threshold exactly. Out of scope: gradients, negative scores, NaN.
"""

import math
from functools import partial

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from katas.detection.given.oracles import iou
from katas.detection.nms import batched_nms, nms, soft_nms
from katas.lab.expect import expect_close, expect_equal, expect_refused
from katas.lab.laws import STANDING_LAWS, unit_of_length_does_not_matter
from katas.lab.strategies import rng, seeds

FLOAT = torch.float64
number = partial(torch.tensor, dtype=FLOAT)
THRESHOLDS = st.sampled_from([0, 0.25, 0.5, 0.75, 1])  # exact in binary, as are the IoUs that they meet


# --- the definition ---------------------------------------------------------------------------------------------------


def greedy(boxes, scores, threshold, labels=None) -> list[int]:
    """Visit by falling score. Keep the box that overlaps no kept box (of its label) too much."""
    boxes, scores, kept = boxes.tolist(), scores.tolist(), []
    for i in sorted(range(len(boxes)), key=lambda i: (-scores[i], i)):
        rivals = [k for k in kept if labels is None or labels[i] == labels[k]]
        if all(iou(boxes[i], boxes[k]) <= threshold for k in rivals):
            kept.append(i)
    return kept


def soft(boxes, scores, sigma, score_threshold) -> tuple[list[int], list[float]]:
    boxes, scores, waiting, picked = boxes.tolist(), scores.tolist(), list(range(len(boxes))), []
    while waiting:
        best = max(waiting, key=lambda i: (scores[i], -i))
        if scores[best] < score_threshold:
            break
        picked.append(best)
        waiting.remove(best)
        for i in waiting:
            scores[i] *= math.exp(-(iou(boxes[best], boxes[i]) ** 2) / sigma)
    return picked, [scores[i] for i in picked]


def crowd(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Boxes on a coarse grid around 0: most overlap, some are copies or have no area. Many scores are equal."""
    drawn = torch.randint(0, 9, (count, 5), generator=rng(seed), dtype=torch.int32).to(FLOAT)
    corners, sizes, scores = drawn.split([2, 2, 1], dim=1)
    return torch.cat([corners - 6, corners - 6 + sizes], dim=1), scores[:, 0] / 8


# --- worked examples --------------------------------------------------------------------------------------------------

SHARED = [[1, 0, 4, 1], [0, 0, 3, 1]]  # 3 × 1 boxes, 1 apart: they share 2 of 4, IoU 0.5
CHAIN = [[4, 0, 14, 4], [0, 0, 10, 4], [2, 0, 12, 4]]  # 10 × 4 boxes: neighbours share 8 of 12, the outer two 6 of 14
APART = [[0, 0, 3, 3], [7, 5, 9, 9]]  # in both directions: two negative sides with a positive product
SAME, LEFT_OF_ZERO = [[0, 0, 4, 2]], [[-4, -2, 0, 0]]
FLAT = [[3, 1, 3, 6], [3, 1, 3, 6], [0, 0, 8, 8], [4, 4, 4, 4]]  # two copies of a line, a box around all, a point
LOWERED = 0.8 * math.exp(-(0.5**2) / 0.5)  # 0.485: box 0 of SHARED with score 0.8 and the default sigma of 0.5
TIES = "of equal scores the lower index comes first"


@pytest.mark.parametrize("law, boxes, scores, threshold, expected", [
    ("IoU 0.5 exceeds 0.4375: the better box stays", SHARED, [0.3, 0.6], 0.4375, [1]),
    ("IoU 0.5 does not exceed 0.5: both stay, the better one first", SHARED, [0.3, 0.6], 0.5, [1, 0]),
    ("box 1 suppresses box 2, which is gone, so box 0 stays", CHAIN, [0.7, 0.9, 0.8], 0.5, [1, 0]),
    ("boxes apart in both directions do not overlap", APART, [0.3, 0.6], 0, [1, 0]),
    (TIES, SAME * 20 + APART[1:] * 20, [0.5] * 40, 0.5, [0, 20]),
    ("a box without area overlaps nothing", FLAT, [0.6, 0.7, 0.8, 0.9], 0, [3, 2, 1, 0]),
    ("at threshold 1 copies stay", SAME * 2, [0.2, 1], 1, [1, 0]),
])  # fmt: skip
def test_nms_by_hand(law, boxes, scores, threshold, expected):
    expect_equal(nms(boxes=number(boxes), scores=number(scores), iou_threshold=threshold), expected, law)


@pytest.mark.parametrize("law, boxes, scores, labels, expected", [
    ("a box suppresses only its own label", SAME * 4, [0.6, 0.9, 0.8, 0.7], [1, 1, -5, -5], [1, 2]),
    (TIES, SAME * 40, [0.5] * 40, [1, 0] * 20, [0, 1]),
    ("labels come together, by score; coordinates may be negative", LEFT_OF_ZERO * 2, [0.2, 0.4], [0, 1], [1, 0]),
    ("a huge label rounds no corner away", SHARED * 2, [0.1, 0.2, 0.3, 0.4], [2**60] * 2 + [-(2**60)] * 2, [3, 1]),
])  # fmt: skip
def test_batched_nms_by_hand(law, boxes, scores, labels, expected):
    got = batched_nms(boxes=number(boxes), scores=number(scores), labels=torch.tensor(labels), iou_threshold=0.4375)
    expect_equal(got, expected, law)


@pytest.mark.parametrize("law, boxes, scores, options, indices, lowered", [
    ("a score is multiplied by exp(-IoU² / sigma)", SHARED, [0.8, 0.9], {}, [1, 0], [0.9, LOWERED]),
    ("sigma = 2 is not squared", SHARED, [0.8, 0.9], {"sigma": 2}, [1, 0], [0.9, 0.8 * math.exp(-0.125)]),
    ("0.8 falls below 0.6", [*SHARED, [0, 5, 3, 9]], [0.8, 0.9, 0.6], {}, [1, 2, 0], [0.9, 0.6, LOWERED]),
    ("0.2 is not below 0.2", [*APART, *LEFT_OF_ZERO], [0.2, 0.5, 0.1], {"score_threshold": 0.2}, [1, 0], [0.5, 0.2]),
    ("no score is below 0", APART, [0, 0.5], {"score_threshold": 0}, [1, 0], [0.5, 0]),
    (TIES, APART * 2, [1] * 4, {}, [0, 1, 2, 3], [1, 1] + [math.exp(-2)] * 2),
    ("a box without area overlaps nothing", FLAT, [0.6, 0.7, 0.8, 0.9], {}, [3, 2, 1, 0], [0.9, 0.8, 0.7, 0.6]),
])  # fmt: skip
def test_soft_nms_by_hand(law, boxes, scores, options, indices, lowered):
    got = soft_nms(boxes=number(boxes), scores=number(scores), **options)
    expect_equal(got.indices, indices, law)
    expect_close(got.scores, lowered, law)


# --- agreement with the definition ------------------------------------------------------------------------------------


@given(st.integers(1, 40), seeds(), THRESHOLDS)
@example(1100, 0, 0.5)  # more than a chunk of any size
def test_nms_agrees_with_the_definition(count, seed, threshold):
    boxes, scores = crowd(count, seed)
    expected, got = greedy(boxes, scores, threshold), nms(boxes, scores, threshold)
    expect_equal(got, expected, "greedy, box by box")


@given(st.integers(1, 40), seeds(), THRESHOLDS, st.integers(1, 5), st.integers(-(2**60), 2**60))
@example(1100, 0, 0.5, 90, -45)
def test_batched_nms_agrees_with_the_definition(count, seed, threshold, num_labels, first_label):
    boxes, scores = crowd(count, seed)
    labels = first_label + torch.randint(num_labels, (count,), generator=rng(seed))
    expected = greedy(boxes, scores, threshold, labels.tolist())
    expect_equal(batched_nms(boxes, scores, labels, threshold), expected, "greedy, box by box, within each label")


@given(st.integers(1, 12), seeds(), st.sampled_from([0.05, 0.5, 2]), st.sampled_from([0, 0.3]))
@example(200, 0, 0.05, 0.001)
def test_soft_nms_agrees_with_the_definition(count, seed, sigma, score_threshold):
    boxes, scores = crowd(count, seed)[0] / 7, torch.rand(count, generator=rng(seed), dtype=FLOAT)
    indices, lowered = soft(boxes, scores, sigma, score_threshold)
    got = soft_nms(boxes, scores, sigma=sigma, score_threshold=score_threshold)
    expect_equal(got.indices, indices, "the boxes in the order picked")
    expect_close(got.scores, lowered, "each score when its box was picked")


# --- laws -------------------------------------------------------------------------------------------------------------


@given(st.integers(1, 20), seeds())
def test_the_unit_of_length_does_not_matter(count, seed):
    boxes, scores = crowd(count, seed)
    hard = {"scores": scores, "iou_threshold": 0.25}
    unit_of_length_does_not_matter(nms, boxes, **hard)
    unit_of_length_does_not_matter(batched_nms, boxes, labels=torch.arange(count) % 3, **hard)
    unit_of_length_does_not_matter(soft_nms, boxes, scores=scores)


def test_many_labels_in_a_large_image_stay_exact():
    # As in COCO: 90 labels, 1300 pixels. Each label has two 2 × 2 boxes, one moved so that their IoU is 0.498 or 0.502.
    # If labels are moved apart by multiples of 1300, float32 resolves 1/128 of a pixel: an IoU is off by 0.006.
    wanted = 0.5 + 0.002 * (-1.0) ** torch.arange(90)
    moved = (2 * (1 - wanted) / (1 + wanted))[:, None] * torch.tensor([1.0, 0, 1, 0])
    first = 1300 * torch.rand(90, 1, generator=rng()) + torch.tensor([0.0, 0, 2, 2])
    boxes, labels, scores = torch.cat([first, first + moved]), torch.arange(90).repeat(2), torch.linspace(1, 0, 180)
    expected = greedy(boxes, scores, 0.5, labels.tolist())
    expect_equal(batched_nms(boxes, scores, labels, 0.5), expected, "an IoU of 0.498 keeps the second box of a label")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, FLOAT])
def test_scores_of_any_dtype_keep_their_digits(dtype):
    boxes = number([[0, 0, 400, 300], [64, 0, 464, 300], [500, 0, 900, 300]])  # 336 / 464 = 0.72; areas beyond float16
    scores, labels = number([0.5 - torch.finfo(dtype).eps / 4, 0.5, 1]).to(dtype), torch.tensor([7, 7, 7])
    hard = (nms(boxes.to(dtype), scores, 0.5), nms(boxes, scores, 0.5), batched_nms(boxes, scores, labels, 0.5))
    expect_equal(hard, [[2, 1]] * 3, f"scores are compared in {dtype}, areas in float32 or wider")
    lowered = soft_nms(boxes, scores)
    expect_equal(lowered.indices, [2, 1, 0], f"scores are compared in {dtype}")
    assert lowered.scores.dtype == dtype, f"scores are {dtype}, so lowered ones are, not {lowered.scores.dtype}"


# --- promises of all katas --------------------------------------------------------------------------------------------

(BOXES, SCORES), LABELS = crowd(9, seed=1), torch.tensor([0, 1, 0, 2, 1, 1, 0, 0, 2])


@pytest.mark.parametrize("name, call", [
    ("iou_threshold", lambda n: nms(BOXES[:n], SCORES[:n], 1.5)),
    ("iou_threshold", lambda n: batched_nms(BOXES[:n], SCORES[:n], LABELS[:n], -0.1)),
    ("sigma", lambda n: soft_nms(BOXES[:n], SCORES[:n], sigma=0)),
    ("sigma", lambda n: soft_nms(BOXES[:n], SCORES[:n], sigma=-0.5)),
])  # fmt: skip
def test_what_cannot_be_is_refused(name, call):
    expect_refused(name, lambda: call(9))
    expect_refused(name, lambda: call(0))


@pytest.mark.parametrize("law", STANDING_LAWS)
def test_standing_laws(law):
    law(nms, BOXES, SCORES, 0.3)
    law(batched_nms, BOXES, SCORES, LABELS, 0.3)
    law(soft_nms, BOXES, SCORES)
