"""average_precision: COCO's twelve figures for a set of images.

Each rule has an example. All figures equal those of pycocotools on generated sets. Out of scope: areas above 1e10.
"""

import contextlib
import io
import math
from functools import partial

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from katas.detection.average_precision import CocoMetrics, Detections, GroundTruth, coco_average_precision
from katas.lab.expect import expect_close, expect_refused
from katas.lab.laws import STANDING_LAWS, dtype_is_followed, unit_of_length_does_not_matter
from katas.lab.strategies import rng, seeds

FLOAT, NAN = torch.float64, math.nan


# --- the definition: pycocotools --------------------------------------------------------------------------------------


def annotations(entries):
    for image, entry in enumerate(entries):
        for n, (x1, y1, x2, y2) in enumerate(entry.boxes.tolist()):
            row = {"image_id": image, "category_id": int(entry.labels[n]), "bbox": [x1, y1, x2 - x1, y2 - y1]}
            if isinstance(entry, Detections):
                yield row | {"score": float(entry.scores[n]), "area": (x2 - x1) * (y2 - y1), "iscrowd": 0}
            else:
                area = (x2 - x1) * (y2 - y1) if entry.areas is None else float(entry.areas[n])
                yield row | {"area": area, "iscrowd": 0 if entry.crowd is None else int(entry.crowd[n])}


def pycocotools_figures(detections, truths) -> list[float]:
    """COCOeval's twelve figures, NaN for its -1. Ids begin at 1: it takes a match with id 0 for none."""
    labels, apis = {label for entry in [*detections, *truths] for label in entry.labels.tolist()}, []
    with contextlib.redirect_stdout(io.StringIO()):
        for entries in (truths, detections):  # not by loadRes, which refuses an empty list
            rows = [row | {"id": n} for n, row in enumerate(annotations(entries), start=1)]
            apis.append(COCO())
            apis[-1].dataset = {"images": [{"id": n} for n in range(len(truths))], "annotations": rows}
            apis[-1].dataset["categories"] = [{"id": label} for label in sorted(labels)]
            apis[-1].createIndex()
        judge = COCOeval(*apis, "bbox")
        judge.evaluate(), judge.accumulate(), judge.summarize()
    return [NAN if figure == -1 else float(figure) for figure in judge.stats]


def scenes(seed: int, images: int, dtype=FLOAT):
    """Boxes of all sizes, detections near objects, copies and strays, equal scores, crowds, empty images."""
    whole, detections, truths = partial(torch.randint, generator=rng(seed)), [], []
    for _ in range(images):
        m, count = int(whole(-1, 6, ()).clamp(min=0)), int(whole(0, 18, ()))
        m = min(m, count)  # the first m are objects, the others detections
        sizes = whole(1, 41, (count, 2)) * 2 ** whole(0, 3, (count, 1))
        sizes = sizes.where(whole(0, 8, (count, 1)) > 0, 32 + 64 * whole(0, 2, (count, 1)))  # 32² and 96² are limits
        corners, labels = whole(0, 60, (count, 2)), whole(0, 3, (count,))
        boxes = torch.cat([corners, corners + sizes], dim=1).to(FLOAT)
        if m:  # half of all boxes are near an object
            aim, hit = whole(0, m, (count,)), whole(0, 2, (count,)) > 0
            moved = boxes[aim] + whole(-2, 3, (count, 4)) * 2.0 ** whole(-1, 2, (count, 1))
            moved[:, 2:] = torch.maximum(moved[:, :2], moved[:, 2:])
            boxes, labels = torch.where(hit[:, None], moved, boxes), torch.where(hit, labels[aim], labels)
        areas = (boxes[:m, 2:] - boxes[:m, :2]).prod(dim=1) * (0.5 + 0.5 * whole(0, 2, (m,)))
        crowd = (whole(0, 5, (m,)) == 0).to([torch.bool, torch.uint8, torch.int64][int(whole(0, 3, ()))])
        truths.append(GroundTruth(boxes[:m], labels[:m], None, *((crowd, areas) if whole(0, 4, ()) else ())))
        detections.append(Detections(boxes[m:], (whole(0, 9, (count - m,)) / 8).to(dtype), labels[m:]))
    return detections, truths


def found(*rows, label=1) -> Detections:
    """Rows of (x1, y1, x2, y2, score)."""
    table = torch.tensor(rows, dtype=FLOAT).reshape(-1, 5)
    return Detections(table[:, :4], table[:, 4], torch.tensor(label).expand(len(rows)))


def objects(*rows, label=1, **fields) -> GroundTruth:
    boxes, fields = torch.tensor(rows, dtype=FLOAT), {name: torch.as_tensor(values) for name, values in fields.items()}
    return GroundTruth(boxes.reshape(-1, 4), torch.tensor(label).expand(len(rows)), **fields)


# --- worked examples --------------------------------------------------------------------------------------------------

A, B, BIG, SIDE_32, SIDE_40 = (0, 0, 9, 9), (200, 0, 209, 9), (0, 0, 100, 100), (500, 0, 532, 32), (200, 0, 240, 40)
MANY = [(10 * n, 0, 10 * n + 5, 5) for n in range(120)]
FALLING = [(*box, 0.9 - n / 1000) for n, box in enumerate(MANY)]
NOTHING = dict.fromkeys(CocoMetrics._fields, NAN)
SMALL = {name: NAN if name.endswith(("medium", "large")) else 1 for name in NOTHING}


@pytest.mark.parametrize("law, images, figures", [
    ("a small object, found exactly; no others to find", [(found((*A, 0.9)), objects(A))], SMALL),
    ("IoU 0.72 passes five of the ten thresholds", [(found((0, 0, 72, 10, 0.9)), objects((0, 0, 100, 10)))],
     {"ap": 0.5, "ap50": 1, "ap75": 0, "ar100": 0.5}),
    ("precision 1 at recalls 0 … 0.50, 51 of 101", [(found((*A, 0.9)), objects(A, B))], {"ap": 51 / 101, "ar100": 0.5}),
    ("wrong, right, right: 2/3 is the highest precision at each recall or beyond",
     [(found((*BIG, 0.9), (*A, 0.8), (*B, 0.7)), objects(A, B))], {"ap": 2 / 3}),
    ("a recall of 7/10 is below RECALL_POINTS[70]", [(found(*FALLING[:7]), objects(*MANY[:10]))], {"ap": 70 / 101}),
    ("right place, wrong class; right class, wrong image",
     [(found((*A, 0.9), label=2), objects(A)), (found((*A, 0.9)), objects(A, label=2))], {"ap": 0}),
    ("a detection in an image without objects is wrong",
     [(found(*FALLING[:9]), objects(*MANY[:9])), (found((*A, 0.95)), objects())], {"ap": 0.9, "ar100": 1}),
    ("objects in an image without detections are missed", [(found((*A, 0.8)), objects(A)), (found(), objects(A)),
     (found(*FALLING[:9]), objects(*MANY[:9]))], {"ap": 91 / 101}),
    ("IoU 0.5 is at least 0.5", [(found((0, 0, 5, 9, 0.9)), objects((0, 0, 10, 9)))], {"ap50": 1, "ap": 0.1}),
    ("the best object is taken (IoU 5/7), so the next best is tried (4/8)",
     [(found((0, 0, 6, 9, 0.9), (1, 0, 7, 9, 0.8)), objects((0, 0, 6, 9), (3, 0, 9, 9)))], {"ap50": 1}),
    ("the better detection chooses first, the other one is a wrong copy",
     [(found((0, 0, 9, 8, 0.8), (*A, 0.9), (*B, 0.7)), objects(A, B))], {"ap": (51 + 50 * 2 / 3) / 101, "ar1": 0.5}),
    ("of two overlaps of 3/5 the last listed is chosen, and the other object is left for the next detection",
     [(found((1, 0, 5, 9, 0.9), (0, 0, 4, 9, 0.8)), objects((0, 0, 4, 9), (2, 0, 6, 9)))], {"ap50": 1, "ar100": 0.65}),
    ("detections inside a crowd are ignored, though it is much larger",
     [(found((*A, 0.9), (20, 0, 30, 9, 0.8), (*B, 0.7)), objects(BIG, B, crowd=[True, False]))], {"ap": 1, "ar1": 0}),
    ("crowd may be 0 and 1", [(found((*A, 0.9)), objects(A, B, crowd=torch.tensor([0, 0]).byte()))], {"ap": 51 / 101}),
    ("a regular object goes before a crowd that is overlapped more",
     [(found((0, 0, 10, 10, 0.9)), objects(BIG, (0, 0, 10, 18), crowd=[True, False]))], {"ap50": 1}),
    ("a detection of a large object is ignored among small ones",
     [(found((*BIG, 0.9), (*B, 0.8)), objects(BIG, B))], {"ap_small": 1, "ap_large": 1, "ap_medium": NAN}),
    ("an area of 900 in a box of 1600 is small", [(found((*SIDE_40, 0.9)), objects(SIDE_40, areas=[900.0]))], SMALL),
    ("an object of the range with IoU 31/40 goes before another one with 31/36",
     [(found((0, 0, 40, 31, 0.9)), objects((0, 0, 40, 40), (0, 0, 40, 36), areas=[900.0, 1440.0]))],
     {"ar_small": 0.6, "ar_medium": 0.8}),
    ("a small stray is wrong, but not among large ones",
     [(found((300, 0, 309, 9, 0.9), (*BIG, 0.8)), objects(BIG, B))], {"ap_large": 1, "ap_small": 0, "ap": 51 / 202}),
    ("objects of 32² and 96² belong to two ranges", [(found((*SIDE_32, 0.9)), objects(SIDE_32, (0, 0, 96, 96)))],
     {"ar_small": 1, "ar_medium": 0.5, "ar_large": 0}),
    ("a stray of 32² is wrong in two ranges",
     [(found((*SIDE_32, 0.9), (*A, 0.8), (*SIDE_40, 0.7)), objects(A, SIDE_40))], {"ap_small": 0.5, "ap_medium": 0.5}),
    ("images without crowds and areas mix with others", [(found((*A, 0.9)), objects(A)),
     (found((5, 5, 95, 95, 0.7), (*B, 0.8)), objects(BIG, B, crowd=[True, False], areas=[5000.0, 900.0]))], SMALL),
    ("120 objects found one by one: recall after 1, 10, 100 detections", [(found(*FALLING), objects(*MANY))],
     {"ar1": 1 / 120, "ar10": 10 / 120, "ar100": 100 / 120, "ar_small": 100 / 120, "ap": 84 / 101}),
    ("100 detections count per image", [(found(*FALLING[:60]), objects(*MANY[:60]))] * 2, {"ap": 1, "ar100": 1}),
    ("100 count per class", [(found(*FALLING, label=[1, 2] * 60), objects(*MANY, label=[1, 2] * 60))], {"ap": 1}),
    ("class 1 has 1, class 2 without detections 0, class 3 no objects",
     [(found((*A, 0.9)), objects(A)), (found((*A, 0.9), label=3), objects(A, label=2))], {"ap": 0.5, "ar100": 0.5}),
    ("nothing but a crowd", [(found((*A, 0.9)), objects(A, crowd=[True])), (found((*A, 0.8)), objects())], NOTHING),
    ("no images", [], NOTHING),
    ("a difficult object is an object", [(found((*A, 0.9)), objects(A, B, difficult=[True, True]))], {"ap": 51 / 101}),
    ("scores are compared in float64: the detection of A is the best",
     [(found((*BIG, 0.5)), objects()), (found((0, 0, 9, 8, 0.5), (*A, 0.5 + 1e-12)), objects(A))], {"ap": 1}),
])  # fmt: skip
def test_figures_by_hand(law, images, figures):
    got = coco_average_precision(detections=[one for one, _ in images], truths=[one for _, one in images])._asdict()
    expect_close({name: got[name] for name in figures}, figures, law)


# --- agreement with pycocotools, and laws -----------------------------------------------------------------------------


@given(seeds(), st.sampled_from([1, 2, 6]), st.sampled_from([torch.float16, torch.bfloat16, torch.float32, FLOAT]))
@example(0, 20, FLOAT)
def test_all_figures_equal_those_of_pycocotools(seed, images, dtype):
    detections, truths = scenes(seed, images, dtype)
    expected = dict(zip(CocoMetrics._fields, pycocotools_figures(detections, truths), strict=True))
    got = coco_average_precision(detections, truths)
    expect_close(got._asdict(), expected, "as pycocotools", rtol=0, atol=1e-12)


@given(seeds())
def test_the_unit_of_length_does_not_matter_over_all_areas(seed):
    (detections,), (truth,) = scenes(seed, images=1)

    def figures(found, objects):
        got = coco_average_precision([detections._replace(boxes=found)], [truth._replace(boxes=objects, areas=None)])
        return got.ap, got.ap50, got.ap75, got.ar1, got.ar10, got.ar100

    unit_of_length_does_not_matter(figures, detections.boxes / 2**9, truth.boxes / 2**9)  # the largest area is 1e10


@pytest.mark.parametrize("name, wide, square, figures", [
    # 4096 * 2049 = 8392704 is a little less than half of 4097 * 4097 = 16785409, which float32 rounds
    ("an IoU of 0.49999997", (0, 0, 4096, 2049), (0, 0, 4097, 4097), {"ap50": 0}),
    # (32 + 2⁻¹⁸)(32 - 2⁻¹⁹) is a little more than 1024, which float32 rounds
    ("an area just above 32²", *[(0, 0, 32 + 2**-18, 32 - 2**-19)] * 2, {"ap_small": NAN, "ap_medium": 1}),
])  # fmt: skip
def test_float32_boxes_are_compared_in_float64(name, wide, square, figures):
    boxes = torch.tensor([wide, square])
    detections, truth = found((*A, 0.9))._replace(boxes=boxes[:1].float()), objects(A)._replace(boxes=boxes[1:].float())
    got = coco_average_precision([detections], [truth])._asdict()
    expect_close({one: got[one] for one in figures}, figures, name)


# --- promises of all katas --------------------------------------------------------------------------------------------


def test_lists_of_different_lengths_are_refused():
    expect_refused("truths", lambda: coco_average_precision([found()] * 2, [objects(A)]))
    expect_refused("truths", lambda: coco_average_precision([found()], [objects(A)] * 2))


@pytest.mark.parametrize("law", [law for law in STANDING_LAWS if law is not dtype_is_followed])  # the result has none
def test_standing_laws(law):
    law(coco_average_precision, *scenes(seed=2, images=3))
