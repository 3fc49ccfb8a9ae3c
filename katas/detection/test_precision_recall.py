"""precision_recall: the curve of precision and recall, its interpolation, and Pascal VOC's average precision.

Curves are float64 tensors of one point a detection, by falling score; AP is a number for each class that has
objects to find. Checked against the definitions in plain Python, one detection at a time. Out of scope: NaN scores.
"""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from katas.detection.precision_recall import (
    ELEVEN_POINTS,
    Detections,
    GroundTruth,
    interpolated_precision,
    precision_recall_curve,
    voc_average_precision,
)
from katas.lab.expect import expect_close
from katas.lab.laws import STANDING_LAWS, dtype_is_followed
from katas.lab.strategies import seeds

FLOAT = torch.float64


def iou(a, b) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height
    return width * height / union if union > 0 else 0.0


def defined_curve(scores, correct, num_positives) -> tuple[list[float], list[float]]:
    order = sorted(range(len(scores)), key=lambda n: -scores[n])
    found = [sum(correct[n] for n in order[: k + 1]) for k in range(len(order))]
    return [tp / (k + 1) for k, tp in enumerate(found)], [tp / num_positives for tp in found]


def defined_interpolation(precision, recall, r) -> float:
    return max((p for p, reached in zip(precision, recall) if reached >= r), default=0.0)


def defined_average(detections, truths, label, iou_threshold, eleven_point) -> float | None:
    """VOC's AP of one class, one detection after the other; None without objects to find."""
    found = [
        (score, image, box)
        for image, (boxes, scores, labels) in enumerate(detections)
        for box, score, given in zip(boxes.tolist(), scores.tolist(), labels.tolist())
        if given == label
    ]
    objects = [
        [[box, hard, False] for box, given, hard in zip(*(f.tolist() for f in truth[:3])) if given == label]
        for truth in truths
    ]
    scores, correct = [], []
    for score, image, box in sorted(found, key=lambda detection: -detection[0]):
        best = max(objects[image], key=lambda candidate: iou(box, candidate[0]), default=None)
        hit = best is not None and iou(box, best[0]) >= iou_threshold
        if hit and best[1]:
            continue
        scores.append(score)
        correct.append(hit and not best[2])
        if hit:
            best[2] = True
    num_positives = sum(not hard for image in objects for _, hard, _ in image)
    if num_positives == 0:
        return None
    precision, recall = defined_curve(scores, correct, num_positives)
    if eleven_point:
        return sum(defined_interpolation(precision, recall, r) for r in ELEVEN_POINTS) / 11
    steps = [after - before for before, after in zip([0.0, *recall], recall)]
    return sum(step * defined_interpolation(precision, recall, r) for step, r in zip(steps, recall))


def scenes(seed: int, images: int) -> tuple[list[Detections], list[GroundTruth]]:
    """Few places and sizes, so that boxes meet in every way; scores with ties; some images empty."""
    generator = torch.Generator().manual_seed(seed)

    def whole(high, *shape):
        return torch.randint(0, high, shape, generator=generator)

    def boxes(count):
        corners = whole(5, count, 2)
        return torch.cat([corners, corners + 1 + whole(4, count, 2)], dim=1).to(FLOAT)

    detections, truths = [], []
    for n, m in zip(whole(12, images).tolist(), whole(5, images).tolist()):
        objects, labels, found, guesses = boxes(m), whole(2, m) - 1, boxes(n), whole(3, n) - 1
        if m:  # half of the detections are near an object
            aim, hit = whole(m, n), whole(2, n) > 0
            found = torch.where(hit[:, None], objects[aim] + whole(2, n, 4) / 4 * torch.tensor([-1, -1, 1, 1]), found)
            guesses = torch.where(hit, labels[aim], guesses)
        detections.append(Detections(found, whole(9, n) / torch.tensor(8, dtype=FLOAT), guesses))
        truths.append(GroundTruth(objects, labels, difficult=whole(4, m) == 0))
    return detections, truths


def found(*rows) -> Detections:
    """Rows of (x1, x2, score): boxes 2 high, label 5."""
    boxes = torch.tensor([[x1, 0, x2, 2] for x1, x2, _ in rows], dtype=FLOAT).reshape(-1, 4)
    scores = torch.tensor([score for _, _, score in rows], dtype=FLOAT)
    return Detections(boxes, scores, torch.full((len(rows),), 5))


def objects(*rows, difficult=None) -> GroundTruth:
    boxes = torch.tensor([[x1, 0, x2, 2] for x1, x2 in rows], dtype=FLOAT).reshape(-1, 4)
    flags = None if difficult is None else torch.tensor(difficult)
    return GroundTruth(boxes, torch.full((len(rows),), 5), difficult=flags)


# --- worked examples ------------------------------------------------------------------------------------------------

SCORES = torch.tensor([0.6, 0.9, 0.3, 0.8], dtype=FLOAT)
CORRECT = torch.tensor([False, True, True, True])  # by falling score: right, right, wrong, right


def test_the_curve_walks_down_the_detections_by_falling_score():
    precision, recall = precision_recall_curve(SCORES, CORRECT, 5)
    expect_close(precision, [1 / 1, 2 / 2, 2 / 3, 3 / 4], "precision: right ones of those kept")
    expect_close(recall, [1 / 5, 2 / 5, 2 / 5, 3 / 5], "recall: right ones of all five objects")


def test_interpolated_precision_is_the_best_at_this_recall_or_beyond():
    # Right, wrong, wrong, right, right, right, of five objects.
    precision = torch.tensor([1, 1 / 2, 1 / 3, 2 / 4, 3 / 5, 4 / 6], dtype=FLOAT)
    recall = torch.tensor([0.2, 0.2, 0.2, 0.4, 0.6, 0.8], dtype=FLOAT)
    got = interpolated_precision(precision, recall, torch.tensor([0.81, 0.2, 0.21, 0.0, 0.8], dtype=FLOAT))
    expect_close(got, [0.0, 1.0, 4 / 6, 1.0, 4 / 6], "the maximum over all points with at least that recall")


def test_average_precision_is_the_area_under_the_interpolated_curve():
    # Five objects; by falling score: found, found, wrong, found. The curve is that of the first example.
    # Area 0.4 · 1 + 0.2 · 3/4 = 0.55. Eleven points: 0 … 0.4 have 1, 0.5 and 0.6 have 3/4: (5 + 1.5) / 11.
    truths = [objects((0, 4), (10, 14)), objects((0, 4), (10, 14), (20, 24))]
    detections = [found((0, 4, 0.3), (10, 14, 0.9)), found((30, 34, 0.6), (10, 14, 0.8))]
    expect_close(voc_average_precision(detections, truths), {5: 0.55}, "the area under the curve")
    got = voc_average_precision(detections, truths, eleven_point=True)
    expect_close(got, {5: 6.5 / 11}, "the mean at recall 0, 0.1, …, 1")


def test_an_overlap_exactly_at_the_threshold_is_enough():
    # 4 × 2 and 2 × 2, one inside the other: IoU 1/2.
    got = voc_average_precision([found((0, 2, 0.7))], [objects((0, 4))], iou_threshold=0.5)
    expect_close(got, {5: 1.0}, "IoU 0.5 is at least 0.5")


def test_a_second_detection_of_an_object_is_wrong_and_does_not_try_the_next_best():
    # The second detection overlaps the left object by 5/7 and the right one by 4/8, enough for both; left is taken.
    got = voc_average_precision([found((0, 6, 0.9), (1, 7, 0.8))], [objects((0, 6), (3, 9))])
    expect_close(got, {5: 0.5}, "one of two objects found; the second detection is wrong")


def test_of_two_objects_with_equal_overlap_the_first_listed_is_looked_at():
    # The better detection overlaps both objects by 3/5. It takes the first listed; the other detection wants (0, 4).
    detections = [found((1, 5, 0.9), (0, 4, 0.8))]
    expect_close(voc_average_precision(detections, [objects((0, 4), (2, 6))]), {5: 0.5}, "the first listed is taken")
    expect_close(voc_average_precision(detections, [objects((2, 6), (0, 4))]), {5: 1.0}, "the first listed is taken")


def test_difficult_objects_are_neither_asked_for_nor_punished():
    # The two best detections lie on the difficult object: they are left out, and the third is right: precision 1.
    truth = objects((0, 4), (10, 14), difficult=[True, False])
    got = voc_average_precision([found((0, 4, 0.9), (0, 4, 0.8), (10, 14, 0.7))], [truth])
    expect_close(got, {5: 1.0}, "one object to find, and found; the difficult one does not count")


def test_images_with_and_without_difficult_objects_mix():
    # Each image has the object at (0, 4), and both are found; in one image it is difficult, and another is missed.
    plain, marked = objects((0, 4)), objects((0, 4), (10, 14), difficult=[True, False])
    for truths in ([plain, marked], [marked, plain]):
        got = voc_average_precision([found((0, 4, 0.9)), found((0, 4, 0.8))], truths)
        expect_close(got, {5: 0.5}, "two to find, one found; each image says itself whether some are difficult")


# --- laws -----------------------------------------------------------------------------------------------------------


@given(seeds(), st.booleans())
def test_only_the_order_of_the_scores_counts(seed, eleven_point):
    detections, truths = scenes(seed, images=4)
    squeezed = [Detections(boxes, scores**3 / 4 - 2, labels) for boxes, scores, labels in detections]
    got, expected = (voc_average_precision(d, truths, eleven_point=eleven_point) for d in (squeezed, detections))
    expect_close(got, expected, "AP does not change when the scores are rescaled in the same order")


@given(seeds())
def test_worse_detections_of_nothing_do_not_change_the_area(seed):
    detections, truths = scenes(seed, images=3)
    nothing = torch.tensor([[900.0, 900, 902, 902]], dtype=FLOAT)
    last = torch.tensor([-1.0], dtype=FLOAT), torch.tensor([0])
    worse = [Detections(*map(torch.cat, zip(found, (nothing, *last)))) for found in detections]
    got, expected = voc_average_precision(worse, truths), voc_average_precision(detections, truths)
    expect_close(got, expected, "the area ends before them")


@given(seeds(), st.booleans())
def test_finding_every_object_and_nothing_else_has_average_precision_one(seed, eleven_point):
    _, truths = scenes(seed, images=4)
    for i, truth in enumerate(truths):  # no two at one place
        truth.boxes[:] += 20 * torch.arange(len(truth.boxes))[:, None]
    perfect = [Detections(t.boxes, torch.linspace(0.2, 0.9, len(t.boxes), dtype=FLOAT), t.labels) for t in truths]
    got = voc_average_precision(perfect, truths, iou_threshold=1, eleven_point=eleven_point)
    asked = {int(label) for truth in truths for label in truth.labels[~truth.difficult]}
    expect_close(got, dict.fromkeys(asked, 1.0), "all found, nothing wrong: 1 for every class with objects to find")


# --- agreement ------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 8), st.booleans()), max_size=25), st.integers(0, 5))
def test_the_curve_equals_its_definition(detections, missed):
    scores, correct = [score / 8 for score, _ in detections], [right for _, right in detections]
    num_positives = max(1, sum(correct) + missed)
    expected = defined_curve(scores, correct, num_positives)
    scores, correct = torch.tensor(scores, dtype=FLOAT), torch.tensor(correct, dtype=torch.bool)
    got = precision_recall_curve(scores, correct, num_positives)
    expect_close(list(got), [torch.tensor(values, dtype=FLOAT) for values in expected], "point after point")


@given(st.lists(st.booleans(), max_size=12), st.integers(0, 3), st.lists(st.integers(0, 60), max_size=9))
def test_interpolation_equals_its_definition(correct, missed, points):
    num_positives = max(1, sum(correct) + missed)
    curve = defined_curve([-n for n in range(len(correct))], correct, num_positives)
    expected = [defined_interpolation(*curve, point / 60) for point in points]
    arguments = [torch.tensor(values, dtype=FLOAT) for values in (*curve, [point / 60 for point in points])]
    got = interpolated_precision(*arguments)
    expect_close(got, torch.tensor(expected, dtype=FLOAT), "the best precision from there on")


@given(seeds(), st.integers(1, 6), st.sampled_from([0.25, 0.5, 0.75]), st.booleans())
def test_average_precision_equals_its_definition(seed, images, iou_threshold, eleven_point):
    detections, truths = scenes(seed, images)
    averages = {c: defined_average(detections, truths, c, iou_threshold, eleven_point) for c in (-1, 0, 1)}
    expected = {label: average for label, average in averages.items() if average is not None}
    got = voc_average_precision(detections, truths, iou_threshold=iou_threshold, eleven_point=eleven_point)
    expect_close(got, expected, "each class by itself, one detection after the other")


# --- edges ----------------------------------------------------------------------------------------------------------


def test_of_equal_scores_the_first_given_comes_first():
    correct = torch.arange(60) % 7 < 3
    precision, recall = precision_recall_curve(torch.full((60,), 0.5, dtype=FLOAT), correct, 60)
    expect_close(recall, correct.cumsum(0).to(FLOAT) / 60, "equal scores keep their order")


def test_the_curve_is_float64_whatever_the_dtype_of_the_scores():
    third = precision_recall_curve(torch.tensor([0.5]), torch.tensor([True]), 3)
    expect_close(third.recall, torch.tensor([1 / 3], dtype=FLOAT), "1/3 to the last bit", rtol=0, atol=0)


def test_scores_are_compared_to_the_last_bit():
    # In float32 both are 0.5, and the wrong one, which is listed first, would come first.
    scores = torch.tensor([0.5, 0.5 + 1e-12], dtype=FLOAT)
    precision, _ = precision_recall_curve(scores, torch.tensor([False, True]), 1)
    expect_close(precision, [1.0, 0.5], "the second has the higher score")
    got = voc_average_precision([found((50, 54, scores[0]), (0, 4, scores[1]))], [objects((0, 4))])
    expect_close(got, {5: 1.0}, "the detection with the higher score comes first")


def test_a_recall_of_n_tenths_reaches_point_n():
    places = [(10 * n, 10 * n + 4) for n in range(10)]
    for n in range(1, 11):
        detections = found(*((*place, 0.9) for place in places[:n]))
        got = voc_average_precision([detections], [objects(*places)], eleven_point=True)
        expect_close(got, {5: (n + 1) / 11}, f"{n} of ten found: recall {n}/10 reaches points 0 … {n}, to the last bit")


def test_no_detections_give_an_empty_curve_and_average_precision_zero():
    curve = precision_recall_curve(SCORES[:0], CORRECT[:0], 3)
    expect_close(list(curve), [SCORES[:0], SCORES[:0]], "no detections, no points")
    for eleven_point in (False, True):
        got = voc_average_precision([found()], [objects((0, 4))], eleven_point=eleven_point)
        expect_close(got, {5: 0.0}, "an object and no detection")


def test_float32_boxes_are_compared_in_float64():
    # 4096 · 2049 = 8392704 of 4097 · 4097 = 16785409 is a little less than half; float32 loses the last 1.
    detections = Detections(torch.tensor([[0.0, 0, 4096, 2049]]), torch.tensor([0.9]), torch.tensor([1]))
    truth = GroundTruth(torch.tensor([[0.0, 0, 4097, 4097]]), torch.tensor([1]))
    expect_close(voc_average_precision([detections], [truth]), {1: 0.0}, "IoU 0.49999997 is less than 0.5")


def test_crowds_and_areas_play_no_part():
    truth = objects((0, 4))._replace(crowd=torch.tensor([True]), areas=torch.tensor([1.0]))
    expect_close(voc_average_precision([found((0, 4, 0.9))], [truth]), {5: 1.0}, "VOC knows no crowds: it is found")


def test_a_class_without_objects_to_find_does_not_appear():
    detections, nothing = [found((0, 4, 0.9))], objects()
    assert voc_average_precision(detections, [nothing]) == {}, "no object of class 5 anywhere"
    assert voc_average_precision([], []) == {}, "no images at all"
    assert voc_average_precision(detections, [objects((0, 4), difficult=[True])]) == {}, "only a difficult one"


@pytest.mark.parametrize("num_positives", [0, -2, 2])
def test_a_number_of_objects_that_cannot_be_is_rejected(num_positives):
    with pytest.raises(ValueError, match="num_positives"):
        precision_recall_curve(SCORES, CORRECT, num_positives)


def test_without_objects_to_find_there_is_no_curve_even_if_nothing_is_correct():
    with pytest.raises(ValueError, match="num_positives"):
        precision_recall_curve(SCORES, torch.zeros_like(CORRECT), 0)
    with pytest.raises(ValueError, match="num_positives"):
        precision_recall_curve(SCORES[:0], CORRECT[:0], 0)


@pytest.mark.parametrize("iou_threshold", [0, -0.5, 1.5, 50])
def test_a_threshold_outside_0_1_is_rejected(iou_threshold):
    with pytest.raises(ValueError, match="iou_threshold"):
        voc_average_precision([found()], [objects((0, 4))], iou_threshold=iou_threshold)
    with pytest.raises(ValueError, match="iou_threshold"):
        voc_average_precision([], [], iou_threshold=iou_threshold)


def test_lists_of_different_lengths_are_rejected():
    with pytest.raises(ValueError, match="detections.*truths|truths.*detections"):
        voc_average_precision([found(), found()], [objects((0, 4))])
    with pytest.raises(ValueError, match="detections.*truths|truths.*detections"):
        voc_average_precision([found()], [objects((0, 4)), objects((0, 4))])


# --- standing laws --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("law", [law for law in STANDING_LAWS if law is not dtype_is_followed])
@pytest.mark.parametrize(
    "function, arguments",
    [
        (precision_recall_curve, (SCORES, CORRECT, 5)),
        (interpolated_precision, (SCORES, SCORES.sort().values, SCORES)),
        (voc_average_precision, scenes(seed=1, images=3)),
    ],
)
def test_standing_laws(law, function, arguments):
    law(function, *arguments)
