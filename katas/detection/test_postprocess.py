"""postprocess: from one image's class logits, box deltas and anchors, level by level, to its detections.

The order of the seven steps is the contract: threshold, best of each level, decode, clip, small boxes, suppression
within each class, limit. Checked against the same steps one candidate at a time in Python. Out of scope: the order of
candidates with equal scores.
"""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from katas.detection.postprocess import postprocess_detections
from katas.lab.expect import expect_close, expect_equal
from katas.lab.laws import STANDING_LAWS
from katas.lab.strategies import seeds

FLOAT = torch.float64
LN3 = math.log(3)  # sigmoid(ln 3) = 3/4, sigmoid(-ln 3) = 1/4, sigmoid(0) = 1/2
IMAGE_SIZE = (40, 60)


def iou(a, b) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height
    return width * height / union if union > 0 else 0.0


def decoded_and_clipped(delta, anchor, image_size) -> list[float]:
    (dx, dy, dw, dh), (x1, y1, x2, y2), (height, width) = delta, anchor, image_size
    x, y = (x1 + x2) / 2 + dx * (x2 - x1), (y1 + y2) / 2 + dy * (y2 - y1)
    w, h = (x2 - x1) * math.exp(dw) / 2, (y2 - y1) * math.exp(dh) / 2
    return [min(max(c, 0), side) for c, side in zip((x - w, y - h, x + w, y + h), (width, height, width, height))]


def by_hand(logits, deltas, anchors, image_size, score_thresh, topk, nms_thresh, limit, min_size):
    """The seven steps, one candidate at a time: a list of (score, label, box)."""
    found = []
    for level in range(len(logits)):
        scores = [[1 / (1 + math.exp(-logit)) for logit in row] for row in logits[level].tolist()]
        level_found = [(s, k, n) for n, row in enumerate(scores) for k, s in enumerate(row) if s > score_thresh]
        for score, label, n in sorted(level_found, reverse=True)[:topk]:
            box = decoded_and_clipped(deltas[level][n].tolist(), anchors[level][n].tolist(), image_size)
            if min(box[2] - box[0], box[3] - box[1]) >= min_size:
                found.append((score, label, box))
    kept = []
    for score, label, box in sorted(found, reverse=True):
        if all(label != other or iou(box, rival) <= nms_thresh for _, other, rival in kept):
            kept.append((score, label, box))
    return kept[:limit]


def head_output(seed: int, anchors_per_level=(9, 4, 0, 1), num_classes: int = 3):
    """Random logits, deltas and anchors: crowded, some anchors outside the image of 40 × 60."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=FLOAT)

    centres = [normal(n, 2) * 15 + torch.tensor([30.0, 20.0], dtype=FLOAT) for n in anchors_per_level]
    sizes = [3 + 12 * torch.rand(n, 2, generator=generator, dtype=FLOAT) for n in anchors_per_level]
    anchors = [torch.cat([c - s, c + s], dim=1) for c, s in zip(centres, sizes)]
    deltas = [0.3 * normal(n, 4) for n in anchors_per_level]
    return [2 * normal(n, num_classes) for n in anchors_per_level], deltas, anchors


def one_level(logits, anchors, deltas=None):
    logits, anchors = torch.tensor(logits, dtype=FLOAT), torch.tensor(anchors, dtype=FLOAT)
    deltas = torch.zeros_like(anchors) if deltas is None else torch.tensor(deltas, dtype=FLOAT)
    return [logits], [deltas], [anchors]


# --- worked examples ------------------------------------------------------------------------------------------------


def test_every_pair_of_anchor_and_class_above_the_threshold_is_a_candidate():
    # Scores 1/2, 3/4 for the first anchor, 1/4, 0.7 for the second; only 1/4 is not above 0.3.
    level = one_level([[0.0, LN3], [-LN3, math.log(7 / 3)]], [[0, 0, 8, 4], [20, 10, 30, 30]])
    boxes, scores, labels = postprocess_detections(*level, IMAGE_SIZE, score_thresh=0.3)
    expect_close(scores, [0.75, 0.7, 0.5], "the sigmoid of the logits, falling")
    expect_equal(labels, [1, 1, 0], "the class of each candidate; one anchor may yield several")
    expect_close(boxes, [[0.0, 0, 8, 4], [20.0, 10, 30, 30], [0.0, 0, 8, 4]], "the box of the candidate's anchor")


def test_classes_stay_apart_however_many_there_are():
    logits = torch.full((1, 300), -9.0, dtype=FLOAT)
    logits[0, [7, 87, 107, 263]] = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=FLOAT)  # 263 = 7 + 256
    got = postprocess_detections([logits], *one_level([[0.0]], [[0, 0, 8, 4]])[1:], IMAGE_SIZE)
    expect_equal(got.labels, [263, 107, 87, 7], "four classes at one place: none suppresses another")


def test_boxes_are_decoded_against_their_own_anchors():
    # The second anchor is 10 × 20 around (25, 20); dx = 0.5 moves it by 5, dh = ln 1.5 makes it 30 high.
    level = one_level([[-9.0], [0.0]], [[0, 0, 8, 4], [20, 10, 30, 30]], [[9, 9, 9, 9], [0.5, 0, 0, math.log(1.5)]])
    expect_close(postprocess_detections(*level, IMAGE_SIZE).boxes, [[25.0, 5, 35, 35]], "centre (30, 20), 10 × 30")


def test_boxes_are_clipped_to_height_and_width():
    level = one_level([[0.0]], [[-5, 10, 70, 90]])
    expect_close(postprocess_detections(*level, IMAGE_SIZE).boxes, [[0.0, 10, 60, 40]], "x to 60, y to 40")


# --- agreement ------------------------------------------------------------------------------------------------------


@given(
    seeds(),
    st.sampled_from([0.05, 0.3, 0.6]),
    st.sampled_from([1, 4, 100]),
    st.sampled_from([0.2, 0.5, 0.8]),
    st.sampled_from([2, 6, 100]),
    st.sampled_from([0.01, 5, 12.5]),
)
def test_detections_equal_the_seven_steps_by_hand(seed, score_thresh, topk, nms_thresh, limit, min_size):
    output = head_output(seed)
    got = postprocess_detections(
        *output,
        IMAGE_SIZE,
        score_thresh=score_thresh,
        topk_per_level=topk,
        nms_thresh=nms_thresh,
        detections_per_image=limit,
        min_size=min_size,
    )
    expected = by_hand(*output, IMAGE_SIZE, score_thresh, topk, nms_thresh, limit, min_size)
    scores, labels, boxes = zip(*expected) if expected else ([], [], [])
    expect_close(got.scores, list(scores), "scores of the seven steps, in float64 throughout", rtol=1e-12, atol=0)
    expect_equal(got.labels, list(labels), "labels of the seven steps")
    expect_close(got.boxes, list(boxes), "boxes of the seven steps")


@given(seeds(), st.permutations(range(4)))
def test_the_order_of_the_levels_does_not_matter(seed, order):
    output = head_output(seed)
    shuffled = [[field[level] for level in order] for field in output]
    got, expected = (postprocess_detections(*levels, IMAGE_SIZE, topk_per_level=5) for levels in (shuffled, output))
    expect_close(list(got), list(expected), "levels are treated alike and together")


# --- the order of the steps -----------------------------------------------------------------------------------------


def test_a_score_exactly_at_the_threshold_is_dropped():
    level = one_level([[0.0], [0.1]], [[0, 0, 8, 4], [20, 10, 30, 30]])
    got = postprocess_detections(*level, IMAGE_SIZE, score_thresh=0.5)
    expect_close(got.boxes, [[20.0, 10, 30, 30]], "0.5 is not greater than 0.5")


def test_each_level_keeps_its_own_best_candidates():
    # The first level has the two best scores; each level may bring one.
    fine, coarse = one_level([[3.0], [2.0]], [[0, 0, 8, 4], [20, 10, 30, 30]]), one_level([[1.0]], [[40, 0, 50, 9]])
    levels = [first + second for first, second in zip(fine, coarse)]
    got = postprocess_detections(*levels, IMAGE_SIZE, topk_per_level=1)
    expect_close(got.boxes, [[0.0, 0, 8, 4], [40.0, 0, 50, 9]], "the best of each level, not the best of all")


def test_the_best_of_a_level_are_chosen_before_small_boxes_are_dropped():
    level = one_level([[3.0], [2.0]], [[0, 0, 8, 0.5], [20, 10, 30, 30]])
    got = postprocess_detections(*level, IMAGE_SIZE, topk_per_level=1, min_size=1)
    expect_equal(got.labels, [], "the best candidate was too small, and no other takes its place")


@pytest.mark.parametrize(
    "anchor, kept", [((57, 0, 77, 9), 1), ((58, 0, 77, 9), 0), ((0, 38, 9, 77), 0), ((5, 5, 8, 8), 1)]
)
def test_a_box_is_small_when_a_side_is_shorter_than_min_size_once_clipped(anchor, kept):
    got = postprocess_detections(*one_level([[0.0]], [anchor]), IMAGE_SIZE, min_size=3)
    assert len(got.boxes) == kept, f"{anchor} is cut at (60, 40); a side of 3 is not shorter than 3"


def test_boxes_are_clipped_before_they_are_suppressed():
    # 20 × 10 and 60 × 10, IoU 1/3; inside the image both are 20 × 10, and the same.
    level = one_level([[2.0], [1.0]], [[40, 0, 60, 10], [40, 0, 100, 10]])
    got = postprocess_detections(*level, IMAGE_SIZE, nms_thresh=0.5)
    expect_close(got.boxes, [[40.0, 0, 60, 10]], "what lies outside the image does not count for the overlap")


def test_suppression_acts_across_levels_and_within_classes():
    fine, coarse = one_level([[3.0, -9.0]], [[0, 0, 8, 4]]), one_level([[2.0, 1.0]], [[0, 0, 8, 4]])
    levels = [first + second for first, second in zip(fine, coarse)]
    got = postprocess_detections(*levels, IMAGE_SIZE)
    expect_equal(got.labels, [0, 1], "one of class 0, from the finer level, and the one of class 1")


def test_a_box_suppressed_from_another_level_suppresses_nobody_in_its_own():
    # Three 10 × 4 boxes, each 2 to the right of the last: neighbours have IoU 8/12, the outer two 6/14.
    fine, coarse = one_level([[2.0], [1.0]], [[2, 0, 12, 4], [4, 0, 14, 4]]), one_level([[3.0]], [[0, 0, 10, 4]])
    got = postprocess_detections(*(first + second for first, second in zip(fine, coarse)), IMAGE_SIZE)
    expect_close(got.boxes, [[0.0, 0, 10, 4], [4.0, 0, 14, 4]], "one suppression for all levels together")


def test_the_limit_counts_what_suppression_leaves():
    level = one_level([[3.0], [2.0], [1.0], [0.0]], [[0, 0, 8, 4], [0, 0, 8, 4], [30, 0, 40, 9], [0, 20, 9, 30]])
    got = postprocess_detections(*level, IMAGE_SIZE, detections_per_image=2)
    expect_close(got.boxes, [[0.0, 0, 8, 4], [30.0, 0, 40, 9]], "the two best of those left")


# --- edges ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nothing_found_gives_empty_tensors(dtype):
    empty = torch.zeros(0, 5, dtype=dtype), torch.zeros(0, 4, dtype=dtype), torch.zeros(0, 4, dtype=dtype)
    low = torch.full((2, 5), -20, dtype=dtype), torch.zeros(2, 4, dtype=dtype), torch.ones(2, 4, dtype=dtype)
    for levels in ([empty], [low], [empty, low]):
        got = postprocess_detections(*(list(field) for field in zip(*levels)), IMAGE_SIZE)
        expected = [torch.zeros(0, 4, dtype=dtype), torch.zeros(0, dtype=dtype), torch.zeros(0, dtype=torch.int64)]
        expect_equal(list(got), expected, "no detections: shapes (0, 4), (0,), (0,)")


def test_by_default_a_side_of_a_hundredth_of_a_pixel_is_enough():
    level = one_level([[1.0], [0.0]], [[5, 5, 5.02, 9], [20, 5, 20.005, 9]])
    expect_close(postprocess_detections(*level, IMAGE_SIZE).boxes, [[5, 5, 5.02, 9]], "0.02 wide stays, 0.005 goes")


@pytest.mark.parametrize(
    "option, kept, law",
    [
        ("score_thresh", 3, "every score above 0 is a candidate, however low"),
        ("min_size", 3, "no side is shorter than 0, however thin the box"),
        ("nms_thresh", 1, "any overlap is too much"),
        ("topk_per_level", 0, "no candidate of any level is kept"),
        ("detections_per_image", 0, "no detection is kept"),
    ],
)
def test_a_limit_of_zero_is_not_the_default(option, kept, law):
    # By default the first two stay, IoU 1/15; the third is thinner than 0.01, and the fourth has a score of 1/8000.
    anchors = [[0, 0, 8, 4], [7, 0, 15, 4], [20, 5, 20.005, 9], [30, 10, 40, 20]]
    got = postprocess_detections(*one_level([[3.0], [2.0], [1.0], [-9.0]], anchors), IMAGE_SIZE, **{option: 0})
    assert len(got.boxes) == kept, f"{option}=0: {law}; {kept} detections, not {len(got.boxes)}"


def test_the_default_limits_are_0_05_and_1000_a_level_and_100_an_image():
    # 1,200 boxes of 2 × 2, apart from each other, scores from below 0.05 to 0.9.
    y, x = torch.meshgrid(torch.arange(30.0, dtype=FLOAT), torch.arange(40.0, dtype=FLOAT), indexing="ij")
    corners = 4 * torch.stack([x, y], dim=-1).reshape(-1, 2)
    scores = torch.linspace(0.9, 0.04, 1200, dtype=FLOAT)
    level = [scores.logit()[:, None]], [torch.zeros(1200, 4, dtype=FLOAT)], [torch.cat([corners, corners + 2], dim=1)]
    expect_close(postprocess_detections(*level, (120, 160)).scores, scores[:100], "100 detections an image")
    got = postprocess_detections(*level, (120, 160), detections_per_image=2000)
    expect_close(got.scores, scores[:1000], "1000 candidates a level")
    got = postprocess_detections(*level, (120, 160), topk_per_level=2000, detections_per_image=2000)
    expect_close(got.scores, scores[scores > 0.05], "scores above 0.05")


# --- standing laws --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("law", STANDING_LAWS[:5])
def test_standing_laws(law):
    law(postprocess_detections, *head_output(seed=1), IMAGE_SIZE)
