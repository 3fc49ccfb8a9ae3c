"""precision_recall: the curve of precision and recall, its interpolation, and Pascal VOC's average precision.

Checked against the definitions in plain Python, one detection at a time. Out of scope: NaN scores.
"""

from functools import partial

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torchvision.ops import box_iou

from katas.detection.precision_recall import (
    Detections,
    GroundTruth,
    interpolated_precision,
    precision_recall_curve,
    voc_average_precision,
)
from katas.lab.expect import expect_close, expect_equal, expect_refused
from katas.lab.laws import STANDING_LAWS, dtype_is_followed, unit_of_length_does_not_matter
from katas.lab.strategies import rng, seeds

FLOAT = torch.float64
POINTS = st.lists(st.integers(0, 60).map(lambda n: n / 60), max_size=9)
number = partial(torch.tensor, dtype=FLOAT)
DTYPES = st.sampled_from([torch.float16, torch.bfloat16, torch.float32, FLOAT])


# --- the definition ---------------------------------------------------------------------------------------------------


def curve(correct, num_positives) -> tuple[list[float], list[float]]:
    found = [sum(correct[: k + 1]) for k in range(len(correct))]
    return [tp / (k + 1) for k, tp in enumerate(found)], [tp / num_positives for tp in found]


def interpolation(precision, recall, r) -> float:
    return max((p for p, reached in zip(precision, recall, strict=True) if reached >= r), default=0.0)


def judged(detections, truths, label, iou_threshold) -> tuple[list[bool], int]:
    """For one class: which of the detections that count are correct, by falling score, and how many objects count."""
    correct, taken = [], set()
    found = [(-s, i, n) for i, one in enumerate(detections) for n, s in enumerate(one.scores.tolist())]
    for _, i, n in sorted(row for row in found if detections[row[1]].labels[row[2]] == label):
        overlaps = box_iou(detections[i].boxes[[n]], truths[i].boxes)[0].where(truths[i].labels == label, 0).tolist()
        best = max(range(len(overlaps)), key=lambda m: overlaps[m], default=None)
        hit = best is not None and overlaps[best] >= iou_threshold
        if not hit or not truths[i].difficult[best]:
            correct.append(hit and (i, best) not in taken)
        taken |= {(i, best)} if hit else set()
    return correct, sum(int(((truth.labels == label) & ~truth.difficult).sum()) for truth in truths)


def average(correct, num_positives, eleven_point) -> float:
    precision, recall = curve(correct, num_positives)
    steps = [(r, r - before) for before, r in zip([0.0, *recall], recall, strict=False)]
    parts = [(i / 10, 1 / 11) for i in range(11)] if eleven_point else steps
    return sum(width * interpolation(precision, recall, r) for r, width in parts)


def scenes(seed: int, images: int, dtype=FLOAT) -> tuple[list[Detections], list[GroundTruth]]:
    """Few places and sizes, so that boxes meet in every way. Many scores are equal, some images are empty."""
    detections, truths, whole = [], [], partial(torch.randint, generator=rng(seed))
    for _ in range(images):
        n, m = int(whole(12, ())), int(whole(5, ()))
        corners, labels = whole(3, (n + m, 2)), whole(3, (n + m,)) - 1
        boxes = torch.cat([corners, corners + 2 + whole(3, (n + m, 2))], dim=1).to(FLOAT)
        detections.append(Detections(boxes[:n], (whole(9, (n,)) / 8).to(dtype), labels[:n]))
        drawn = whole(4, (3, m))
        truths.append(GroundTruth(boxes[n:], labels[n:], drawn[0] == 0, drawn[1] == 0, drawn[2].to(FLOAT)))
    return detections, truths


def found(*rows) -> Detections:
    """Rows of (x1, x2, score): boxes 2 high, of class 5."""
    numbers = number([[x1, 0, x2, 2, score] for x1, x2, score in rows]).reshape(-1, 5)
    return Detections(numbers[:, :4], numbers[:, 4], torch.full((len(rows),), 5))


def objects(*rows) -> GroundTruth:
    """Rows of (x1, x2), or (x1, x2, True) for a difficult object."""
    boxes, hard = number([[x1, 0, x2, 2] for x1, x2, *_ in rows]), torch.tensor([len(row) == 3 for row in rows])
    return GroundTruth(boxes.reshape(-1, 4), torch.full((len(rows),), 5), hard if hard.any() else None)


# --- worked examples --------------------------------------------------------------------------------------------------

SCORES, CORRECT = [0.3, 0.9, 0.8, 0.6], [True, True, False, True]  # by falling score: right, wrong, right, right
PRECISION, RECALL = [1 / 1, 1 / 2, 2 / 3, 3 / 4], [1 / 5, 1 / 5, 2 / 5, 3 / 5]


def test_the_curve_by_hand():
    got = precision_recall_curve(scores=number(SCORES), correct=torch.tensor(CORRECT), num_positives=5)
    expect_close(got, (PRECISION, RECALL), "of the k + 1 best how many are right; how many of five objects they find")


def test_interpolated_precision_by_hand():
    curve = {"precision": number(PRECISION), "recall": number(RECALL)}
    got = interpolated_precision(**curve, recall_points=number([0.61, 0.2, 0.21, 0, 0.6]))
    expect_close(got, [0, 1, 3 / 4, 1, 3 / 4], "the maximum over all points with at least that recall")


L, R, FAR = (0, 4), (10, 14), (30, 34)
TEN, HARD_L, ELEVEN = [(10 * i, 10 * i + 4) for i in range(10)], (0, 4, True), {"eleven_point": True}
LONG = [(*L, 0.5), (*FAR, 0.5), (*L, 0.4)] * 400 + [(*R, 0.5)]  # L is found first, R as the 801st of score 0.5
PAIR = [[(*L, 0.3), (*R, 0.9)], [(*FAR, 0.8), (*R, 0.6)]], [[L, R], [L, R, (20, 24)]]  # the curve above


@pytest.mark.parametrize("law, detections, truths, options, expected", [
    ("the area under the interpolated curve: 1/5 * 1 + 2/5 * 3/4", *PAIR, {}, {5: 0.5}),
    ("eleven points: 0, 0.1, 0.2 have precision 1; 0.3 … 0.6 have 3/4", *PAIR, ELEVEN, {5: 6 / 11}),
    ("IoU 1/2 is at least 0.5", [[(0, 2, 0.7)]], [[L]], {}, {5: 1}),
    ("an object and no detection", [[]], [[L]], {}, {5: 0}),
    ("three of ten found: recall 3/10 reaches point 0.3", [[(*x, 0.9) for x in TEN[:3]]], [TEN], ELEVEN, {5: 4 / 11}),
    ("a detection and no object to find", [[(*L, 0.9)], [(*L, 0.8)]], [[], [HARD_L]], {}, {}),
    ("no images", [], [], {}, {}),
    ("the higher score comes first, in float64", [[(*FAR, 0.5), (*L, 0.5 + 1e-12)]], [[L]], {}, {5: 1}),
    ("equal scores keep their order, and all count", [LONG], [[L, R]], {}, {5: 1 / 2 + 1 / 2 * 2 / 801}),
    ("a detection in an image without objects is wrong", [[(*L, 0.8)], [(*L, 0.9)]], [[L], []], {}, {5: 1 / 2}),
    ("an object in an image without detections is missed", [[(*L, 0.8)], []], [[L], [L]], {}, {5: 1 / 2}),
    ("5/7 with a taken object, 4/8 with the next", [[(0, 6, 0.9), (1, 7, 0.8)]], [[(0, 6), (3, 9)]], {}, {5: 1 / 2}),
    ("of two IoUs of 3/5 the first listed counts", [[(1, 5, 0.9), (0, 4, 0.8)]], [[L, (2, 6)]], {}, {5: 1 / 2}),
    ("what finds a difficult object is left out", [[(*L, 0.9), (*L, 0.8), (*R, 0.7)]], [[HARD_L, R]], {}, {5: 1}),
    ("images without difficult objects mix", [[(*L, 0.9)], [(*L, 0.8)]], [[L], [HARD_L, R]], {}, {5: 1 / 2}),
])  # fmt: skip
def test_voc_average_precision_by_hand(law, detections, truths, options, expected):
    inputs = {"detections": [found(*rows) for rows in detections], "truths": [objects(*rows) for rows in truths]}
    expect_close(voc_average_precision(**inputs, **options), expected, law)


# --- agreement with the definition, and laws --------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 8), st.booleans()), max_size=25), st.integers(0, 5), DTYPES)
@example([(5, n % 7 < 3) for n in range(6000)], 5, torch.float16)  # float16 counts no further than 2048
def test_the_curve_agrees_with_the_definition(detections, missed, dtype):
    ranked = [right for _, right in sorted(detections, key=lambda one: -one[0])]
    scores, correct = (torch.tensor([one[i] for one in detections]) for i in (0, 1))
    num_positives = max(1, sum(ranked) + missed)
    got = precision_recall_curve((scores / 8).to(dtype), correct.bool(), num_positives)
    expected = [number(values) for values in curve(ranked, num_positives)]
    expect_equal(list(got), expected, "float64, and equal scores keep their order")


@given(st.lists(st.booleans(), max_size=12), st.integers(0, 3), POINTS)
def test_interpolation_agrees_with_the_definition(correct, missed, points):
    precision, recall = curve(correct, max(1, sum(correct) + missed))
    got = interpolated_precision(number(precision), number(recall), number(points))
    expect_close(got, [interpolation(precision, recall, r) for r in points], "the highest precision from there on")


@given(seeds(), st.integers(1, 6), st.sampled_from([0.25, 0.5, 0.75, 1]), st.booleans(), DTYPES)
def test_voc_average_precision_agrees_with_the_definition(seed, images, iou_threshold, eleven_point, dtype):
    detections, truths = scenes(seed, images, dtype)
    classes = {label: judged(detections, truths, label, iou_threshold) for label in (-1, 0, 1)}
    expected = {label: average(*one, eleven_point) for label, one in classes.items() if one[1]}
    got = voc_average_precision(detections, truths, iou_threshold=iou_threshold, eleven_point=eleven_point)
    expect_close(got, expected, "each class on its own, one detection after the other")


@given(seeds())
def test_the_unit_of_length_does_not_matter(seed):
    (detections,), (truth,) = scenes(seed, images=1)

    def average_precision(found, objects):
        return voc_average_precision([detections._replace(boxes=found)], [truth._replace(boxes=objects)])

    unit_of_length_does_not_matter(average_precision, detections.boxes, truth.boxes)


def test_overlaps_are_compared_in_float64():
    # 4096 * 2049 = 8392704 is a little less than half of 4097 * 4097 = 16785409, which float32 rounds
    wide, square = torch.tensor([[0.0, 0, 4096, 2049]]), torch.tensor([[0.0, 0, 4097, 4097]])
    got = voc_average_precision([found((*L, 0.9))._replace(boxes=wide)], [objects(L)._replace(boxes=square)])
    expect_close(got, {5: 0.0}, "IoU 0.49999997 is less than 0.5")


# --- promises of all katas --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, call", [
    ("num_positives", lambda: precision_recall_curve(number(SCORES), torch.tensor(CORRECT), 2)),
    ("num_positives", lambda: precision_recall_curve(number([]), torch.tensor([]).bool(), 0)),
    ("iou_threshold", lambda: voc_average_precision([found()], [objects(L)], iou_threshold=0)),
    ("iou_threshold", lambda: voc_average_precision([], [], iou_threshold=1.5)),
    ("truths", lambda: voc_average_precision([found(), found()], [objects(L)])),
    ("truths", lambda: voc_average_precision([found()], [objects(L), objects(L)])),
])  # fmt: skip
def test_what_cannot_be_is_refused(name, call):
    expect_refused(name, call)


@pytest.mark.parametrize("law", [law for law in STANDING_LAWS if law is not dtype_is_followed])  # curves are float64
def test_standing_laws(law):
    law(precision_recall_curve, number(SCORES), torch.tensor(CORRECT), 5)
    law(interpolated_precision, number(PRECISION), number(RECALL), number(SCORES))
    law(voc_average_precision, *scenes(seed=1, images=3))
