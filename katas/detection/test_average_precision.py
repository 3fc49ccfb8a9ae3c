"""average_precision: COCO's twelve figures for a set of images.

coco_average_precision takes lists of Detections and GroundTruth, an entry an image. Each rule of the matching has an
example of its own; then all figures must equal those of pycocotools on generated sets. Out of scope: masks, keypoints.
"""

import contextlib
import io
import math

import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from katas.detection.average_precision import CocoMetrics, Detections, GroundTruth, coco_average_precision
from katas.lab.expect import expect_close
from katas.lab.laws import STANDING_LAWS, dtype_is_followed

FLOAT = torch.float64
NAN = math.nan


def rows_for_pycocotools(entries) -> list[dict]:
    """One row a box, numbered from 1, because pycocotools takes a match with number 0 for none."""
    rows = []
    for image, entry in enumerate(entries):
        for n, (x1, y1, x2, y2) in enumerate(entry.boxes.tolist()):
            row = {"id": len(rows) + 1, "image_id": image, "category_id": int(entry.labels[n])}
            row |= {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1), "iscrowd": 0}
            if isinstance(entry, Detections):
                row["score"] = float(entry.scores[n])
            else:
                row["area"] = row["area"] if entry.areas is None else float(entry.areas[n])
                row["iscrowd"] = 0 if entry.crowd is None else int(entry.crowd[n])
            rows.append(row)
    return rows


def judged_by_pycocotools(detections, truths) -> list[float]:
    """The twelve figures of COCOeval; its -1 for nothing to find as NaN. (Its own loader refuses empty results.)"""
    labels = sorted({label for entry in [*detections, *truths] for label in entry.labels.tolist()})
    images, categories = [{"id": image} for image in range(len(truths))], [{"id": label} for label in labels]
    with contextlib.redirect_stdout(io.StringIO()):
        truth, found = COCO(), COCO()
        for api, entries in ((truth, truths), (found, detections)):
            rows = rows_for_pycocotools(entries)
            api.dataset = {"images": images, "categories": categories, "annotations": rows}
            api.createIndex()
        judge = COCOeval(truth, found, "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return [NAN if figure == -1 else float(figure) for figure in judge.stats]


def scenes(seed: int, images: int):
    """A few images: boxes of all sizes, detections near objects, copies and strays, ties, crowds, empty images."""
    generator = torch.Generator().manual_seed(seed)

    def whole(low, high, *shape):
        return torch.randint(low, high, shape, generator=generator)

    def boxes(count):
        sizes = whole(1, 41, count, 2) * 2 ** whole(0, 3, count, 1)
        sizes = torch.where(whole(0, 8, count, 1) == 0, 32 + 64 * whole(0, 2, count, 1), sizes)  # at a border of ranges
        corners = whole(0, 60, count, 2)
        return torch.cat([corners, corners + sizes], dim=1).to(FLOAT)

    def near(boxes):
        moved = boxes + whole(-2, 3, len(boxes), 4) * 2.0 ** whole(-1, 2, len(boxes), 1)
        return torch.cat([moved[:, :2], torch.maximum(moved[:, :2], moved[:, 2:])], dim=1)

    detections, truths, num_labels = [], [], int(whole(1, 3))
    for _ in range(images):
        m, n = int(whole(-1, 6).clamp(min=0)), int(whole(-2, 13).clamp(min=0))
        objects, labels = boxes(m), whole(0, num_labels, m)
        twins = whole(0, 3, m) == 0
        objects = torch.where(twins[:, None], near(objects.roll(1, dims=0)), objects)
        areas = (objects[:, 2:] - objects[:, :2]).prod(dim=1) * (0.5 + 0.5 * whole(0, 2, m))
        truths.append(GroundTruth(objects, labels, crowd=whole(0, 5, m) == 0, areas=areas))
        found, guesses = boxes(n), whole(0, num_labels + 1, n)
        if m:
            aim = whole(0, m, n)
            hit = whole(0, 4, n) > 0
            found = torch.where(hit[:, None], near(objects[aim]), found)
            guesses = torch.where(hit, labels[aim], guesses)
        detections.append(Detections(found, whole(0, 9, n) / torch.tensor(8, dtype=FLOAT), guesses))
    return detections, truths


def found(*rows, label=1) -> Detections:
    """Rows of (x1, y1, x2, y2, score)."""
    table = torch.tensor(rows, dtype=FLOAT).reshape(-1, 5)
    return Detections(table[:, :4], table[:, 4], torch.full((len(rows),), label))


def objects(*rows, label=1, crowd=None, areas=None) -> GroundTruth:
    boxes = torch.tensor(rows, dtype=FLOAT).reshape(-1, 4)
    crowd = None if crowd is None else torch.tensor(crowd)
    areas = None if areas is None else torch.tensor(areas, dtype=FLOAT)
    return GroundTruth(boxes, torch.full((len(rows),), label), crowd=crowd, areas=areas)


def judge(detections: Detections, truth: GroundTruth) -> CocoMetrics:
    return coco_average_precision([detections], [truth])


# --- worked examples ------------------------------------------------------------------------------------------------


def test_an_object_found_exactly_has_all_figures_one_and_other_sizes_have_none():
    # 20 × 10 = 200: small. There is no medium and no large object, so nothing can be said about them.
    got = judge(found((5, 5, 25, 15, 0.9)), objects((5, 5, 25, 15)))
    expected = {name: NAN if name.endswith(("medium", "large")) else 1.0 for name in CocoMetrics._fields}
    expect_close(got._asdict(), expected, "one small object, found exactly")


def test_average_precision_is_the_mean_over_ten_thresholds():
    # IoU 72/100 is enough at 0.5, 0.55, 0.6, 0.65 and 0.7, not at the other five.
    got = judge(found((0, 0, 72, 10, 0.9)), objects((0, 0, 100, 10)))
    expect_close([got.ap, got.ap50, got.ap75, got.ar100], [0.5, 1.0, 0.0, 0.5], "IoU 0.72 passes five of ten")


def test_precision_is_averaged_at_a_hundred_and_one_recalls():
    # One of two objects found, recall 1/2: precision 1 at 0, 0.01, …, 0.5, which are 51, and 0 at the other 50.
    got = judge(found((0, 0, 9, 9, 0.9)), objects((0, 0, 9, 9), (20, 0, 29, 9)))
    expect_close([got.ap, got.ar100], [51 / 101, 0.5], "the mean of interpolated precision at 0, 0.01, …, 1")


def test_recalls_are_compared_with_the_points_as_they_are():
    # Seven of ten: recall 0.7. Point 70 of COCO's grid is 70 · 0.01 = 0.7000000000000001, so 0 … 0.69 count: 70.
    places = [(20 * n, 0, 20 * n + 9, 9) for n in range(10)]
    got = judge(found(*((*place, 0.9) for place in places[:7])), objects(*places))
    expect_close(got.ap, 70 / 101, "recall 0.7 does not reach RECALL_POINTS[70]")


def test_the_objects_of_each_class_and_image_are_their_own():
    truths = [objects((0, 0, 9, 9), label=1), objects((0, 0, 9, 9), label=2)]
    swapped = [found((0, 0, 9, 9, 0.9), label=2), found((0, 0, 9, 9, 0.9), label=1)]
    expect_close(coco_average_precision(swapped, truths).ap, 0.0, "right place, wrong class; right class, wrong image")


# --- matching -------------------------------------------------------------------------------------------------------


def test_an_overlap_exactly_at_the_threshold_is_enough():
    got = judge(found((0, 0, 5, 9, 0.9)), objects((0, 0, 10, 9)))
    expect_close([got.ap50, got.ap], [1.0, 0.1], "IoU 0.5 passes the threshold of 0.5, and no other")


def test_a_detection_whose_best_object_is_taken_tries_the_next_best():
    # The second detection overlaps the taken object by 5/7, the other one by 4/8.
    truth = objects((0, 0, 6, 9), (3, 0, 9, 9))
    expect_close(judge(found((0, 0, 6, 9, 0.9), (1, 0, 7, 9, 0.8)), truth).ap50, 1.0, "both objects are found")


def test_the_better_detection_chooses_first_wherever_it_is_listed():
    # The worse one comes first in the list, and misses at 0.75 because the better one has taken the object.
    got = judge(found((0, 0, 9, 8, 0.3), (0, 0, 9, 9, 0.9)), objects((0, 0, 9, 9)))
    expect_close([got.ap, got.ar1], [1.0, 1.0], "by falling score: right at every threshold, then one copy")


def test_of_objects_overlapped_equally_the_last_listed_is_chosen():
    # The better detection overlaps both objects by 3/5; the other one needs the object at (0, 4).
    detections = found((1, 0, 5, 9, 0.9), (0, 0, 4, 9, 0.8))
    expect_close(judge(detections, objects((0, 0, 4, 9), (2, 0, 6, 9))).ar100, 0.65, "the first takes (2, 6), at 3")
    expect_close(judge(detections, objects((2, 0, 6, 9), (0, 0, 4, 9))).ap50, 51 / 101, "the first takes (0, 4)")


def test_a_crowd_is_not_to_be_found_and_forgives_all_detections_inside_it():
    # Both lie wholly inside the crowd, however small a part of it they are; without it there is one object, found.
    truth = objects((0, 0, 100, 50), (200, 0, 209, 9), crowd=[True, False])
    detections = found((0, 0, 9, 9, 0.9), (20, 0, 30, 9, 0.8), (200, 0, 209, 9, 0.7))
    expect_close(judge(detections, truth).ap, 1.0, "detections inside a crowd are ignored")


def test_a_regular_object_goes_before_a_crowd_that_is_overlapped_more():
    truth = objects((0, 0, 100, 50), (0, 0, 10, 18), crowd=[True, False])
    got = judge(found((0, 0, 10, 10, 0.9)), truth)
    expect_close(got.ap50, 1.0, "IoU 10/18 with the object is enough, though the crowd holds the detection wholly")


def test_detections_of_objects_of_another_size_are_ignored_for_this_size():
    # A large object, found with the best score, and a small one: for the small range only the small one counts.
    got = judge(found((0, 0, 100, 100, 0.9), (200, 0, 209, 9, 0.8)), objects((0, 0, 100, 100), (200, 0, 209, 9)))
    expect_close([got.ap_small, got.ap_large, got.ap_medium], [1.0, 1.0, NAN], "each size by itself")


def test_an_object_of_the_range_goes_before_one_of_another_size_that_is_overlapped_more():
    # The first object is small by its area: IoU 31/40. The second is medium: IoU 31/36, the larger one.
    got = judge(found((0, 0, 40, 31, 0.9)), objects((0, 0, 40, 40), (0, 0, 40, 36), areas=[900.0, 1440.0]))
    expect_close([got.ar_small, got.ar_medium], [0.6, 0.8], "the small one is chosen for small, up to t = 0.75")


def test_wrong_detections_count_only_for_their_own_size():
    # A stray 9 × 9 box with the best score: wrong among all and among small ones, not among large ones.
    got = judge(found((300, 0, 309, 9, 0.9), (0, 0, 100, 100, 0.8)), objects((0, 0, 100, 100), (200, 0, 209, 9)))
    expect_close([got.ap_large, got.ap_small], [1.0, 0.0], "a stray small box does not harm large objects")
    expect_close(got.ap50, 51 / 101 / 2, "over all sizes it comes first, so precision is at most 1/2")


def test_both_ends_belong_to_an_area_range():
    truth = objects((0, 0, 32, 32), (100, 0, 196, 96))
    got = judge(found((0, 0, 32, 32, 0.9)), truth)
    expect_close([got.ar_small, got.ar_medium, got.ar_large], [1.0, 0.5, 0.0], "32² is small and medium, 96² both too")


def test_the_size_of_an_object_is_its_area_and_not_that_of_its_box():
    got = judge(found((0, 0, 40, 40, 0.9)), objects((0, 0, 40, 40), areas=[900.0]))
    expect_close([got.ap_small, got.ap_medium], [1.0, NAN], "an object of 900 in a box of 1600 is small")


def test_images_with_and_without_crowds_and_areas_mix():
    # One image says nothing; in the other the large box is a crowd, and the object of 40 × 40 has an area of 900.
    plain = objects((0, 0, 9, 9))
    marked = objects((0, 0, 100, 100), (200, 0, 240, 40), crowd=[True, False], areas=[5000.0, 900.0])
    detections = [found((0, 0, 9, 9, 0.9)), found((5, 5, 95, 95, 0.8), (200, 0, 240, 40, 0.7))]
    for order in ([0, 1], [1, 0]):
        got = coco_average_precision([detections[i] for i in order], [(plain, marked)[i] for i in order])
        law = "each image says itself: two small objects, all found, and nothing of another size to find"
        expect_close([got.ap, got.ap_small, got.ap_medium, got.ap_large], [1.0, 1.0, NAN, NAN], law)


# --- averages -------------------------------------------------------------------------------------------------------


def test_recall_after_one_ten_and_a_hundred_detections_an_image_and_class():
    places = [(10 * n, 0, 10 * n + 5, 5) for n in range(110)]
    detections = found(*((*place, 0.9 - n / 1000) for n, place in enumerate(places)))
    got = judge(detections, objects(*places))
    expect_close([got.ar1, got.ar10, got.ar100], [1 / 110, 10 / 110, 100 / 110], "of 110 objects found one by one")
    expect_close([got.ar_small, got.ap], [100 / 110, 91 / 101], "a hundred detections for all other figures")
    others = Detections(detections.boxes + 5000, detections.scores + 0.0005, torch.full((110,), 2))
    both = Detections(*(torch.cat(fields) for fields in zip(detections, others)))
    expect_close(judge(both, objects(*places)).ar100, 100 / 110, "the limit is for each class by itself")


def test_a_class_that_is_never_detected_counts_as_zero_and_one_without_objects_not_at_all():
    truths = [objects((0, 0, 9, 9), label=1), objects((0, 0, 9, 9), label=2)]
    detections = [found((0, 0, 9, 9, 0.9), label=1), found((0, 0, 9, 9, 0.9), label=3)]
    got = coco_average_precision(detections, truths)
    expect_close([got.ap, got.ar100], [0.5, 0.5], "class 1 has 1, class 2 has 0, class 3 has no objects")


def test_without_objects_nothing_can_be_said():
    for nothing in (objects(), objects((0, 0, 9, 9), crowd=[True])):
        got = judge(found((0, 0, 9, 9, 0.9)), nothing)
        expect_close(list(got), [NAN] * 12, "no object to find: NaN, not 0")
    expect_close(list(coco_average_precision([], [])), [NAN] * 12, "no images at all: NaN, too")


def test_without_detections_every_figure_is_zero():
    got = judge(found(), objects((0, 0, 9, 9), (0, 0, 50, 50), (0, 0, 100, 100)))
    expect_close(list(got), [0.0] * 12, "objects of every size, and no detections")


# --- agreement ------------------------------------------------------------------------------------------------------


# A set of twenty images shows as much as many small ones, and takes little longer. The small ones are for what many
# images would hide: a class that nobody looks for, an image without objects.
@pytest.mark.parametrize("images", [1, 2, 6, 20])
def test_all_figures_equal_those_of_pycocotools(images):
    for seed in range(12):
        detections, truths = scenes(seed, images)
        got, expected = coco_average_precision(detections, truths), judged_by_pycocotools(detections, truths)
        for name, figure, reference in zip(CocoMetrics._fields, got, expected):
            expect_close(figure, reference, f"{name} of scenes({seed}, {images}) as pycocotools", rtol=0, atol=1e-12)


def test_a_detection_of_exactly_32_by_32_is_small_and_medium():
    # It finds nothing, and comes first: wrong in both ranges, before the one object that each has is found.
    detections = found((500, 0, 532, 32, 0.9), (0, 0, 10, 10, 0.8), (200, 0, 240, 40, 0.7))
    figures = judge(detections, objects((0, 0, 10, 10), (200, 0, 240, 40)))
    expect_close([figures.ap_small, figures.ap_medium], [0.5, 0.5], "both ends of an area range belong to it")


def test_float32_boxes_are_compared_in_float64():
    # 4096 · 2049 = 8392704 of 4097 · 4097 = 16785409 is a little less than half; float32 loses the last 1.
    detections = Detections(torch.tensor([[0.0, 0, 4096, 2049]]), torch.tensor([0.9]), torch.tensor([1]))
    truth = GroundTruth(torch.tensor([[0.0, 0, 4097, 4097]]), torch.tensor([1]))
    expect_close(judge(detections, truth).ap50, 0.0, "IoU 0.49999997 is less than 0.5")


def test_areas_and_scores_are_float64():
    # (32 + 2⁻¹⁸)(32 − 2⁻¹⁹) is 1024 + 2⁻¹⁴, less a little; in float32 that is 1024, which would be small, too.
    boxes = torch.tensor([[0.0, 0, 32 + 2**-18, 32 - 2**-19]])
    detections = Detections(boxes, torch.tensor([0.9]), torch.tensor([1]))
    got = judge(detections, GroundTruth(boxes, torch.tensor([1])))
    expect_close([got.ap_small, got.ap_medium], [NAN, 1.0], "an area just above 32² is medium, and not small")
    # In float32 all scores are 0.5: the stray one of the first image would come first, and in the second image the box
    # listed first would choose first.
    detections = [found((500, 0, 509, 9, 0.5)), found((0, 0, 9, 8, 0.5), (0, 0, 9, 9, 0.5 + 1e-12))]
    got = coco_average_precision(detections, [objects(), objects((0, 0, 9, 9))])
    expect_close(got.ap, 1.0, "the detection with the higher score chooses first, and comes first in the curve")


def test_difficult_objects_are_objects_like_any_other():
    truth = objects((0, 0, 9, 9))._replace(difficult=torch.tensor([True]))
    expect_close(judge(found((0, 0, 9, 9, 0.9)), truth).ap, 1.0, "COCO knows no difficult objects: it is found")
    expect_close(judge(found(), truth).ap, 0.0, "COCO knows no difficult objects: it is missed")


def test_lists_of_different_lengths_are_rejected():
    with pytest.raises(ValueError, match="detections.*truths|truths.*detections"):
        coco_average_precision([found(), found()], [objects((0, 0, 9, 9))])
    with pytest.raises(ValueError, match="detections.*truths|truths.*detections"):
        coco_average_precision([found()], [objects((0, 0, 9, 9))] * 2)


# --- standing laws --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("law", [law for law in STANDING_LAWS if law is not dtype_is_followed])
def test_standing_laws(law):
    law(coco_average_precision, *scenes(seed=2, images=3))
