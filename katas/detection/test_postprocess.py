"""postprocess: from the class logits, box deltas and anchors of one image, level by level, to its detections.

The order of the seven steps is the contract. Checked against the same steps, one candidate at a time in Python floats.
Out of scope: the order of candidates with equal scores.
"""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from katas.detection.given.oracles import iou
from katas.detection.postprocess import postprocess_detections
from katas.lab.expect import expect_close, expect_equal
from katas.lab.laws import STANDING_LAWS, unit_of_length_does_not_matter
from katas.lab.strategies import normal, seeds

FLOAT = torch.float64
IMAGE_SIZE = (40, 60)


# --- the definition ---------------------------------------------------------------------------------------------------


def sigmoid(logit) -> float:
    return 1 / (1 + math.exp(-logit))


def decoded_and_clipped(delta, anchor) -> list[float]:
    (dx, dy, dw, dh), (x1, y1, x2, y2), (height, width) = delta, anchor, IMAGE_SIZE
    x, y = (x1 + x2) / 2 + dx * (x2 - x1), (y1 + y2) / 2 + dy * (y2 - y1)
    w, h = (x2 - x1) * math.exp(dw) / 2, (y2 - y1) * math.exp(dh) / 2
    return [min(max(c, 0), side) for c, side in zip((x - w, y - h, x + w, y + h), (width, height) * 2, strict=True)]


def seven_steps(output, *, score_thresh, topk_per_level, nms_thresh, detections_per_image, min_size):
    """A list of (score, label, box)."""
    found, kept = [], []
    for logits, deltas, anchors in zip(*output, strict=True):
        scores = [(sigmoid(x), k, n) for n, row in enumerate(logits.tolist()) for k, x in enumerate(row)]
        for score, k, n in sorted((one for one in scores if one[0] > score_thresh), reverse=True)[:topk_per_level]:
            box = decoded_and_clipped(deltas[n].tolist(), anchors[n].tolist())
            if min(box[2] - box[0], box[3] - box[1]) >= min_size:
                found.append((score, k, box))
    for score, k, box in sorted(found, reverse=True):
        if all(k != other or iou(box, rival) <= nms_thresh for _, other, rival in kept):
            kept.append((score, k, box))
    return kept[:detections_per_image]


def expect_detections(got, expected, law: str, dtype=FLOAT):
    scores, labels, boxes = zip(*expected, strict=True) if expected else ([], [], [])
    expect_close(got.boxes, list(boxes), law, dtype=dtype)
    expect_equal(got.labels, list(labels), law)
    expect_close(got.scores, list(scores), law, dtype=dtype, rtol=1e-12 if dtype == FLOAT else 1e-2, atol=0)


def head_output(seed: int, anchors_per_level=(9, 4, 0, 1), num_classes: int = 3):
    """Random logits, deltas and anchors. They are crowded, and some anchors lie outside the image of 40 × 60."""
    numbers = normal(sum(anchors_per_level), num_classes + 8, seed=seed)
    logits, deltas, shifts, sizes = (2 * numbers).split([num_classes, 4, 2, 2], dim=1)
    centres, sizes = 7.5 * shifts + numbers.new_tensor([30, 20]), 3 + 12 * sizes.sigmoid()
    anchors = torch.cat([centres - sizes, centres + sizes], dim=1)
    return [list(rows.split(anchors_per_level)) for rows in (logits, 0.15 * deltas, anchors)]


def levels(*rows):
    """Each level is (logits, anchors) or (logits, anchors, deltas), as nested lists."""
    tensors = [[torch.tensor(field, dtype=FLOAT) for field in level] for level in rows]
    deltas = [level[2] if len(level) > 2 else torch.zeros_like(level[1]) for level in tensors]
    return [level[0] for level in tensors], deltas, [level[1] for level in tensors]


# --- worked examples --------------------------------------------------------------------------------------------------

A, B, C = [0, 0, 8, 4], [20, 10, 30, 30], [40, 0, 50, 9]
FLOOR, STAIR, TOP = [0, 0, 10, 4], [2, 0, 12, 4], [4, 0, 14, 4]  # neighbours have IoU 8 / 12, the outer two 6 / 14
MOVED = [0.5, 0, 0, math.log(1.5)]  # moves B by half its width of 10, and makes its height of 20 a half larger
OUTSIDE, CLIPPED, THIN = [-5, 10, 70, 90], [0, 10, 60, 40], [0, 0, 8, 0.5]
SIDE_3, LIMIT_2 = {"min_size": 3}, {"detections_per_image": 2}
LN3, S2, S3 = math.log(3), sigmoid(2), sigmoid(3)  # the sigmoid of ln 3 is 3/4, that of -ln 3 is 1/4


@pytest.mark.parametrize("law, rows, options, expected", [
    # rows: (logits, anchors) or (logits, anchors, deltas) of each level; expected: (score, label, box)
    ("a score is the sigmoid of its logit", [([[LN3]], [A])], {}, [(0.75, 0, A)]),
    ("every class of every anchor", [([[0, LN3], [-9, -LN3]], [A, B])], {}, [(0.75, 1, A), (0.5, 0, A), (0.25, 1, B)]),
    ("0.5 is not greater than 0.5", [([[0], [LN3]], [A, B])], {"score_thresh": 0.5}, [(0.75, 0, B)]),
    ("row n has delta n and anchor n", [([[-9], [0]], [A, B], [[9] * 4, MOVED])], {}, [(0.5, 0, [25, 5, 35, 35])]),
    ("x is clipped to the width 60, y to the height 40", [([[0]], [OUTSIDE])], {}, [(0.5, 0, CLIPPED)]),
    ("each level has its best", [([[3], [2]], [A, B]), ([[0]], [C])], {"topk_per_level": 1}, [(S3, 0, A), (0.5, 0, C)]),
    ("top-k first, then small boxes", [([[3], [2]], [THIN, B])], {"topk_per_level": 1, "min_size": 1}, []),
    ("clip first, then suppress", [([[3], [0]], [[40, 0, 60, 10], [40, 0, 100, 10]])], {}, [(S3, 0, [40, 0, 60, 10])]),
    ("a clipped side of 3 stays", [([[0]], [[57, 0, 77, 9]])], SIDE_3, [(0.5, 0, [57, 0, 60, 9])]),
    ("a clipped side of 2 is too small", [([[3], [0]], [[58, 0, 77, 9], [0, 38, 9, 77]])], SIDE_3, []),
    ("suppress across levels, within a class", [([[3, -9]], [A]), ([[2, 0]], [A])], {}, [(S3, 0, A), (0.5, 1, A)]),
    ("all levels at once", [([[2], [0]], [STAIR, TOP]), ([[3]], [FLOOR])], {}, [(S3, 0, FLOOR), (0.5, 0, TOP)]),
    ("suppress first, then limit", [([[3], [2], [0], [-1]], [A, A, B, C])], LIMIT_2, [(S3, 0, A), (0.5, 0, B)]),
])  # fmt: skip
def test_detections_by_hand(law, rows, options, expected):
    expect_detections(postprocess_detections(*levels(*rows), IMAGE_SIZE, **options), expected, law)


@pytest.mark.parametrize("option, kept, law", [
    ("score_thresh", 3, "every score above 0 is a candidate, however low"),
    ("min_size", 3, "no side is shorter than 0, however thin the box"),
    ("nms_thresh", 1, "any overlap is too much"),
    ("topk_per_level", 0, "no candidate of any level is kept"),
    ("detections_per_image", 0, "no detection is kept"),
])  # fmt: skip
def test_a_limit_of_zero_is_not_the_default(option, kept, law):
    # By default the first two stay, IoU 1/15; the third is thinner than 0.01, and the fourth has a score of 1/8000.
    anchors = [A, [7, 0, 15, 4], [20, 5, 20.005, 9], B]
    got = postprocess_detections(*levels(([[3], [2], [1], [-9]], anchors)), IMAGE_SIZE, **{option: 0})
    assert len(got.boxes) == kept, f"{option}=0: {law}: {kept} detections, not {len(got.boxes)}"


def test_the_default_limits():
    # 1,200 boxes apart from each other, 2 wide and 0.02 high, with scores from 0.9 to 0.04
    y, x = torch.meshgrid(torch.arange(0.0, 120, 4), torch.arange(0.0, 160, 4), indexing="ij")
    boxes = torch.stack([x, y, x + 2, y + 0.02], dim=-1).reshape(-1, 4)
    scores, many = torch.linspace(0.9, 0.04, 1200, dtype=FLOAT), {"detections_per_image": 5000}
    level = levels((scores.logit()[:, None].tolist(), boxes.tolist()))
    for options, count, law in [
        ({}, 100, "100 detections per image"),
        (many, 1000, "1000 candidates per level"),
        (many | {"topk_per_level": 5000}, 1186, "scores above 0.05"),
    ]:
        expect_close(postprocess_detections(*level, (120, 160), **options).scores, scores[:count], law)


def test_hundreds_of_classes_stay_apart():
    logits = torch.full((1, 300), -9.0)
    logits[0, [7, 87, 107, 263]] = torch.arange(4.0)  # 87 = 7 + 80, 263 = 7 + 256
    got = postprocess_detections(*levels((logits.tolist(), [A])), IMAGE_SIZE)
    expect_equal(got.labels, [263, 107, 87, 7], "four classes at one place: none suppresses another")


# --- agreement with the definition ------------------------------------------------------------------------------------

OPTIONS = st.fixed_dictionaries({
    "score_thresh": st.sampled_from([0.05, 0.3, 0.6]),
    "topk_per_level": st.sampled_from([1, 4, 100]),
    "nms_thresh": st.sampled_from([0.2, 0.5, 0.8]),
    "detections_per_image": st.sampled_from([2, 6, 100]),
    "min_size": st.sampled_from([0.01, 5, 12.5]),
})  # fmt: skip


@given(seeds(), st.sampled_from([(9, 4, 0, 1), (0, 8), (12,)]), st.sampled_from([1, 3, 4]), OPTIONS)
def test_detections_agree_with_the_seven_steps(seed, anchors_per_level, num_classes, options):
    output = head_output(seed, anchors_per_level, num_classes)
    expected, got = seven_steps(output, **options), postprocess_detections(*output, IMAGE_SIZE, **options)
    expect_detections(got, expected, f"the seven steps, one candidate at a time, with {options}")


# --- laws -------------------------------------------------------------------------------------------------------------


@given(seeds())
def test_the_unit_of_length_does_not_matter(seed):
    logits, deltas, anchors = head_output(seed)

    def detected_boxes(min_size, *anchors):
        return postprocess_detections(logits, deltas, list(anchors), (10**9, 10**9), min_size=float(min_size)).boxes

    unit_of_length_does_not_matter(detected_boxes, torch.tensor(8.0, dtype=FLOAT), *anchors, power=1)


@pytest.mark.parametrize("num_classes, logit, law", [(5, -20, "no score is high enough"), (0, 0, "no classes")])
@pytest.mark.parametrize("counts", [[0], [2], [0, 3]])
def test_nothing_found_gives_empty_tensors(counts, num_classes, logit, law):
    logits, anchors = ([torch.full((n, k), logit).to(FLOAT) for n in counts] for k in (num_classes, 4))
    expected = [anchors[0][:0], anchors[0][:0, 0], torch.zeros(0, dtype=torch.int64)]
    got = postprocess_detections(cls_logits=logits, box_deltas=anchors, anchors=anchors, image_size=IMAGE_SIZE)
    expect_equal(list(got), expected, f"{law}: shapes (0, 4), (0,), (0,)")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_narrow_dtypes_give_the_same_detections(dtype):
    output = [[field.to(dtype) for field in fields] for fields in levels(([[0, -9], [1, 2]], [A, B]), ([[-9, 3]], [C]))]
    got = postprocess_detections(*output, IMAGE_SIZE)
    expect_detections(got, [(S3, 1, C), (S2, 1, B), (sigmoid(1), 0, B), (0.5, 0, A)], f"in {dtype}", dtype)


# --- promises of all katas --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("law", STANDING_LAWS)
def test_standing_laws(law):
    law(postprocess_detections, *head_output(seed=1), IMAGE_SIZE)
