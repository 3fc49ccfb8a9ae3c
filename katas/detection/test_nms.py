"""nms: which of many overlapping boxes to keep. Hard, per label, and soft.

nms(boxes (N, 4), scores (N,), iou_threshold) and batched_nms(…, labels (N,), …) give indices by falling score;
soft_nms gives indices and lowered scores. Checked against the definition, one box at a time in Python. Out of
scope: gradients, negative scores, NaN.
"""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from katas.detection.nms import batched_nms, nms, soft_nms
from katas.lab.expect import expect_close, expect_equal
from katas.lab.laws import STANDING_LAWS
from katas.lab.strategies import seeds

FLOAT = torch.float64
THRESHOLDS = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])  # exact in binary, as are the IoUs they meet


def iou(a, b) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height
    return width * height / union if union > 0 else 0.0


def greedy(boxes, scores, threshold, labels=None) -> list[int]:
    """The definition: visit by falling score, keep what overlaps nothing kept (of its label) too much."""
    boxes, scores, kept = boxes.tolist(), scores.tolist(), []
    labels = [0] * len(boxes) if labels is None else labels.tolist()
    for i in sorted(range(len(boxes)), key=lambda i: (-scores[i], i)):
        if all(labels[i] != labels[k] or iou(boxes[i], boxes[k]) <= threshold for k in kept):
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
    """Boxes on a coarse grid around 0, so that they overlap a lot, some without area; scores with many ties."""
    generator = torch.Generator().manual_seed(seed)
    corners = torch.randint(-8, 5, (count, 2), generator=generator)
    sizes = torch.randint(0, 9, (count, 2), generator=generator)
    scores = torch.randint(0, 9, (count,), generator=generator) / 8
    return torch.cat([corners, corners + sizes], dim=1).to(FLOAT), scores.to(FLOAT)


# --- worked examples ------------------------------------------------------------------------------------------------


def test_a_suppressed_box_suppresses_nobody():
    # Three 10 × 4 boxes, each 2 to the right of the last: neighbours have IoU 8/12, the outer two 6/14.
    # By score: left (0.9), middle (0.8), right (0.7). Left removes middle; middle is gone, so right stays.
    boxes = torch.tensor([[4.0, 0, 14, 4], [0.0, 0, 10, 4], [2.0, 0, 12, 4]], dtype=FLOAT)
    scores = torch.tensor([0.7, 0.9, 0.8], dtype=FLOAT)
    expect_equal(nms(boxes, scores, 0.5), [1, 0], "left and right stay, and come by falling score")


def test_boxes_exactly_at_the_threshold_stay():
    # Two 3 × 1 boxes, 1 apart: they share 2 of 4, IoU 0.5.
    boxes = torch.tensor([[1.0, 0, 4, 1], [0.0, 0, 3, 1]], dtype=FLOAT)
    scores = torch.tensor([0.3, 0.6], dtype=FLOAT)
    expect_equal(nms(boxes, scores, 0.5), [1, 0], "IoU 0.5 is not greater than 0.5")
    expect_equal(nms(boxes, scores, 0.4375), [1], "IoU 0.5 is greater than 0.4375")


def test_of_equal_scores_the_lower_index_comes_first():
    boxes = torch.tensor([[0.0, 0, 2, 1]], dtype=FLOAT).repeat(40, 1)
    boxes[20:] += 10
    scores = torch.full((40,), 0.5, dtype=FLOAT)
    expect_equal(nms(boxes, scores, 0.5), [0, 20], "of forty equals at two places the first at each")
    expect_equal(batched_nms(boxes, scores, torch.arange(40) % 2, 0.5), [0, 1, 20, 21], "the first of each label")
    first = soft_nms(boxes, scores, sigma=1e-6, score_threshold=0.1)
    expect_equal(first.indices, [0, 20], "the first at each place")


def test_a_box_suppresses_only_its_own_label():
    boxes = torch.tensor([[0.0, 0, 4, 2], [0.0, 0, 4, 2], [0.0, 0, 4, 2], [9.0, 0, 10, 1]], dtype=FLOAT)
    scores, labels = torch.tensor([0.6, 0.7, 0.8, 0.9], dtype=FLOAT), torch.tensor([1, 1, 0, 1])
    expect_equal(batched_nms(boxes, scores, labels, 0.5), [3, 2, 1], "one of each label at one place; all by score")


def test_soft_suppression_lowers_scores_instead():
    # Box 1 (0.9) is picked first. Box 0 has IoU 1/2 with it: 0.8 · exp(−0.25 / 0.5) = 0.4852. Box 2 overlaps
    # neither and keeps 0.6, so it is picked before box 0.
    boxes = torch.tensor([[1.0, 0, 4, 1], [0.0, 0, 3, 1], [0.0, 5, 3, 9]], dtype=FLOAT)
    indices, scores = soft_nms(boxes, torch.tensor([0.8, 0.9, 0.6], dtype=FLOAT))
    expect_equal(indices, [1, 2, 0], "by falling score, as lowered")
    expect_close(scores, [0.9, 0.6, 0.8 * math.exp(-0.5)], "a score is multiplied by exp(−IoU² / sigma)")
    expect_equal(scores[:2], [0.9, 0.6], "what overlaps nothing picked before it keeps its score to the last bit")


# --- laws -----------------------------------------------------------------------------------------------------------


@given(st.integers(0, 30), seeds(), THRESHOLDS)
def test_kept_boxes_stand_apart_and_every_other_one_overlaps_a_better_one(count, seed, threshold):
    boxes, scores = crowd(count, seed)
    kept, boxes, scores = nms(boxes, scores, threshold).tolist(), boxes.tolist(), scores.tolist()
    for i in range(count):
        rivals = [k for k in kept if k != i and iou(boxes[i], boxes[k]) > threshold]
        better = [k for k in rivals if (scores[k], -k) > (scores[i], -i)]
        assert i not in kept or not rivals, f"{kept} are kept, but box {i} overlaps {rivals} of them too much"
        assert i in kept or better, f"{kept} are kept, and none of them is a better box that overlaps box {i} too much"


@given(st.integers(0, 30), seeds(), THRESHOLDS, st.integers(-1000, 1000), st.sampled_from([2.0**-20, 1.0, 64.0]))
def test_moving_and_scaling_the_whole_scene_changes_nothing(count, seed, threshold, shift, scale):
    boxes, scores = crowd(count, seed)
    moved = boxes * scale + boxes.new_tensor([shift, -2 * shift, shift, -2 * shift])
    expect_equal(nms(moved, scores, threshold), nms(boxes, scores, threshold), "only the overlaps count")
    labels = torch.arange(count) % 3
    moved, stayed = (batched_nms(b, scores, labels, threshold) for b in (moved, boxes))
    expect_equal(moved, stayed, "only the overlaps count, negative coordinates or not")


@given(st.integers(0, 30), seeds())
def test_at_threshold_one_everything_stays_copies_too(count, seed):
    boxes, scores = (values.repeat(2, *[1] * (values.dim() - 1)) for values in crowd(count, seed))
    by_score = sorted(range(2 * count), key=lambda i: (-scores[i], i))
    expect_equal(nms(boxes, scores, 1), by_score, "no IoU is greater than 1: all stay, by falling score, then index")


@given(st.integers(0, 30), seeds(), THRESHOLDS, st.integers(-(2**60), 2**60))
def test_the_values_of_the_labels_do_not_matter(count, seed, threshold, offset):
    boxes, scores = crowd(count, seed)
    labels = torch.arange(count) % 3
    renamed = torch.tensor([offset, offset + 1, offset - 2**61])[labels]  # three different ones, whatever the offset
    got, expected = (batched_nms(boxes.float(), scores.float(), given, threshold) for given in (renamed, labels))
    law = f"labels only tell boxes apart, however large they are: {renamed.tolist()} are as good as {labels.tolist()}"
    expect_equal(got, expected, law)


# --- agreement ------------------------------------------------------------------------------------------------------


@given(st.integers(0, 40), seeds(), THRESHOLDS)
def test_nms_equals_its_definition(count, seed, threshold):
    boxes, scores = crowd(count, seed)
    expect_equal(nms(boxes, scores, threshold), greedy(boxes, scores, threshold), "greedy, box by box")


@given(st.integers(0, 40), seeds(), THRESHOLDS, st.integers(1, 5))
def test_batched_nms_equals_its_definition(count, seed, threshold, num_labels):
    boxes, scores = crowd(count, seed)
    labels = torch.randint(-2, num_labels - 2, (count,), generator=torch.Generator().manual_seed(seed + 1))
    got = batched_nms(boxes, scores, labels, threshold)
    expect_equal(got, greedy(boxes, scores, threshold, labels), "greedy, box by box, within each label")


@given(st.integers(0, 12), seeds(), st.sampled_from([0.05, 0.5, 2.0]), st.sampled_from([0.0, 0.001, 0.3]))
def test_soft_nms_equals_its_definition(count, seed, sigma, score_threshold):
    boxes = crowd(count, seed)[0] / 7  # fractions need all the digits they have
    scores = torch.rand(count, generator=torch.Generator().manual_seed(seed), dtype=FLOAT)
    got = soft_nms(boxes, scores, sigma=sigma, score_threshold=score_threshold)
    indices, lowered = soft(boxes, scores, sigma, score_threshold)
    expect_equal(got.indices, indices, "boxes in the order picked")
    expect_close(got.scores, lowered, "scores at the moment of the pick")


@pytest.mark.parametrize("spread", [20.0, 60.0])
def test_a_thousand_boxes_are_suppressed_as_defined(spread):
    # What is right within a fixed number of rounds, or within a chunk, shows only beyond: 81 and 276 are kept.
    generator = torch.Generator().manual_seed(0)
    centres = spread * torch.randn(1000, 2, generator=generator, dtype=FLOAT)
    sizes = 10 + 90 * torch.rand(1000, 2, generator=generator, dtype=FLOAT)
    boxes = torch.cat([centres - sizes, centres + sizes], dim=1)
    scores = torch.rand(1000, generator=generator, dtype=FLOAT)
    expect_equal(nms(boxes, scores, 0.45), greedy(boxes, scores, 0.45), "1000 boxes, greedy, box by box")


def test_many_labels_in_a_large_image_are_as_exact_as_one():
    # As many as in COCO: 90 labels, 1300 pixels. Each label has two boxes of 2 × 2, one moved so that their IoU is
    # 0.498 or 0.502: with labels moved apart by their number, float32 has 1/128 of a pixel left.
    corners = 1300 * torch.rand(90, 2, generator=torch.Generator().manual_seed(0))
    iou_wanted = 0.5 + 0.002 * (-1.0) ** torch.arange(90)
    shift = 2 * (1 - iou_wanted) / (1 + iou_wanted)
    first = torch.cat([corners, corners + 2], dim=1)
    second = first + shift[:, None] * torch.tensor([1.0, 0, 1, 0])
    boxes, labels, scores = torch.cat([first, second]), torch.arange(90).repeat(2), torch.linspace(1, 0, 180)
    got = batched_nms(boxes, scores, labels, 0.5)
    expect_equal(got, greedy(boxes, scores, 0.5, labels), "the second box of every odd label stays: its IoU is 0.498")


# --- edges ----------------------------------------------------------------------------------------------------------


def test_no_boxes_give_no_indices():
    boxes, scores, nothing = torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64)
    expect_equal(nms(boxes, scores, 0.5), nothing, "no boxes, no indices")
    expect_equal(batched_nms(boxes, scores, nothing, 0.5), nothing, "no boxes, no indices")
    expect_equal(list(soft_nms(boxes, scores)), [nothing, scores], "no boxes, no indices, no scores")


def test_boxes_without_area_stay():
    boxes = torch.tensor([[3.0, 1, 3, 6], [3.0, 1, 3, 6], [0.0, 0, 8, 8], [4.0, 4, 4, 4]], dtype=FLOAT)
    scores = torch.tensor([0.6, 0.7, 0.8, 0.9], dtype=FLOAT)
    expect_equal(nms(boxes, scores, 0), [3, 2, 1, 0], "without area there is nothing to overlap")
    expect_close(soft_nms(boxes, scores).scores, [0.9, 0.8, 0.7, 0.6], "no overlap, no lower score, and no NaN")


def test_boxes_that_only_touch_do_not_suppress_each_other():
    boxes = torch.tensor([[0.0, 0, 2, 2], [2.0, 0, 4, 2], [0.0, 2, 2, 4]], dtype=FLOAT)
    expect_equal(nms(boxes, torch.tensor([0.1, 0.2, 0.3], dtype=FLOAT), 0), [2, 1, 0], "a shared edge has no area")


def test_soft_suppression_stops_below_its_score_threshold():
    boxes = torch.tensor([[0.0, 0, 2, 2], [5.0, 0, 7, 2], [9.0, 0, 10, 2]], dtype=FLOAT)
    kept = soft_nms(boxes, torch.tensor([0.25, 0.5, 0.2], dtype=FLOAT), score_threshold=0.25)
    expect_equal(kept.indices, [1, 0], "0.25 is not below the threshold of 0.25, 0.2 is")
    kept = soft_nms(boxes, torch.tensor([0.0, 0.5, 0.0], dtype=FLOAT), score_threshold=0)
    expect_equal(kept.indices, [1, 0, 2], "no score is below the threshold of 0")


def test_soft_suppression_gives_scores_in_the_dtype_of_the_scores():
    boxes, scores = crowd(6, seed=1)
    for own in (torch.float32, torch.float64):
        for other in (torch.float32, torch.float64):
            got = soft_nms(boxes.to(other), scores.to(own)).scores.dtype
            assert got == own, f"boxes are {other}, scores {own}: lowered scores are {own} as well, not {got}"


@pytest.mark.parametrize("threshold", [-0.1, 1.5, 50])
def test_a_threshold_outside_0_1_is_rejected(threshold):
    for count in (1, 0):
        boxes, scores, labels = torch.ones(count, 4), torch.ones(count), torch.ones(count, dtype=torch.int64)
        with pytest.raises(ValueError, match="iou_threshold"):
            nms(boxes, scores, threshold)
        with pytest.raises(ValueError, match="iou_threshold"):
            batched_nms(boxes, scores, labels, threshold)


@pytest.mark.parametrize("sigma", [0, -0.5])
def test_a_sigma_that_is_not_positive_is_rejected(sigma):
    for count in (1, 0):
        with pytest.raises(ValueError, match="sigma"):
            soft_nms(torch.ones(count, 4), torch.ones(count), sigma=sigma)


# --- standing laws --------------------------------------------------------------------------------------------------

BOXES, SCORES = crowd(9, seed=1)
LABELS = torch.tensor([0, 1, 0, 2, 1, 1, 0, 0, 2])


@pytest.mark.parametrize("law", STANDING_LAWS[:5])
@pytest.mark.parametrize(
    "function, arguments",
    [(nms, (BOXES, SCORES, 0.3)), (batched_nms, (BOXES, SCORES, LABELS, 0.3)), (soft_nms, (BOXES, SCORES))],
)
def test_standing_laws(law, function, arguments):
    law(function, *arguments)
