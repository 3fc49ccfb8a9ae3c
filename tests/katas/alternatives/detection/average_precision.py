"""The rules as written, in plain Python: for every class, range and threshold, detection after detection."""

import bisect
import math
from typing import NamedTuple

import numpy as np

from .postprocess import Detections
from .precision_recall import GroundTruth

IOU_THRESHOLDS = tuple(np.linspace(0.5, 0.95, 10).tolist())
RECALL_POINTS = tuple(np.linspace(0, 1, 101).tolist())
AREA_RANGES = ((0.0, 1e10), (0.0, 32.0**2), (32.0**2, 96.0**2), (96.0**2, 1e10))
MAX_DETECTIONS = (1, 10, 100)


class CocoMetrics(NamedTuple):
    ap: float
    ap50: float
    ap75: float
    ap_small: float
    ap_medium: float
    ap_large: float
    ar1: float
    ar10: float
    ar100: float
    ar_small: float
    ar_medium: float
    ar_large: float


def coco_average_precision(detections: list[Detections], truths: list[GroundTruth]):
    if len(detections) != len(truths):
        raise ValueError(f"{len(detections)} entries of detections, {len(truths)} of truths")
    precision, recall = {}, {}
    for label in {label for truth in truths for label in truth.labels.tolist()}:
        images = [(_found(d, label), _objects(t, label)) for d, t in zip(detections, truths, strict=True)]
        images = [(found, objects, _overlaps(found, objects)) for found, objects in images]
        for size, (low, high) in enumerate(AREA_RANGES):
            for t, threshold in enumerate(IOU_THRESHOLDS):
                judged = [_judge(*image, low, high, threshold) for image in images]
                asked = [o for _, objects, _ in images for o in objects if not o["crowd"]]
                positives = sum(low <= o["area"] <= high for o in asked)
                if positives:
                    precision[label, size, t] = _average([row for rows in judged for row in rows], positives)
                    for limit in MAX_DETECTIONS:
                        right = sum(worth is True for rows in judged for _, worth in rows[:limit])
                        recall[label, size, t, limit] = right / positives

    def mean(table, **wanted):
        places = {"size": 1, "t": 2, "limit": 3}
        values = [v for key, v in table.items() if all(key[places[name]] == w for name, w in wanted.items())]
        return sum(values) / len(values) if values else math.nan

    return CocoMetrics(
        mean(precision, size=0),
        mean(precision, size=0, t=0),
        mean(precision, size=0, t=5),
        *(mean(precision, size=size) for size in (1, 2, 3)),
        *(mean(recall, size=0, limit=limit) for limit in MAX_DETECTIONS),
        *(mean(recall, size=size, limit=100) for size in (1, 2, 3)),
    )


def _found(detections, label):
    rows = zip(detections.boxes.tolist(), detections.scores.tolist(), detections.labels.tolist(), strict=True)
    mine = [{"box": box, "score": score, "area": _area(box)} for box, score, given in rows if given == label]
    return sorted(mine, key=lambda row: -row["score"])[: MAX_DETECTIONS[-1]]


def _objects(truth, label):
    boxes = truth.boxes.tolist()
    crowd = [False] * len(boxes) if truth.crowd is None else truth.crowd.tolist()
    areas = [_area(box) for box in boxes] if truth.areas is None else truth.areas.tolist()
    rows = zip(boxes, truth.labels.tolist(), crowd, areas, strict=True)
    return [{"box": box, "crowd": many, "area": area} for box, given, many, area in rows if given == label]


def _area(box):
    return (box[2] - box[0]) * (box[3] - box[1])


def _overlaps(found, objects):
    table = []
    for d in found:
        table.append([])
        for o in objects:
            width = min(d["box"][2], o["box"][2]) - max(d["box"][0], o["box"][0])
            height = min(d["box"][3], o["box"][3]) - max(d["box"][1], o["box"][1])
            shared = width * height if width > 0 and height > 0 else 0.0
            whole = d["area"] if o["crowd"] else d["area"] + _area(o["box"]) - shared
            table[-1].append(shared / whole if shared else 0.0)
    return table


def _judge(found, objects, overlaps, low, high, threshold):
    """(score, worth) of each detection: True, False, or None where it is ignored."""
    ignored = [o["crowd"] or not low <= o["area"] <= high for o in objects]
    taken, judged = set(), []
    for d, row in zip(found, overlaps, strict=True):
        free = [n for n, o in enumerate(objects) if row[n] >= threshold and (o["crowd"] or n not in taken)]
        best = max(free, key=lambda n: (not ignored[n], row[n], n), default=None)
        if best is None:
            judged.append((d["score"], False if low <= d["area"] <= high else None))
        else:
            taken.add(best)
            judged.append((d["score"], None if ignored[best] else True))
    return judged


def _average(judged, positives):
    precision, recall, right, kept = [], [], 0, 0
    for _, worth in sorted(judged, key=lambda row: -row[0]):
        if worth is not None:
            right, kept = right + worth, kept + 1
            precision.append(right / kept)
            recall.append(right / positives)
    for n in range(len(precision) - 1, 0, -1):
        precision[n - 1] = max(precision[n - 1], precision[n])
    places = [bisect.bisect_left(recall, point) for point in RECALL_POINTS]
    return sum(precision[n] for n in places if n < len(precision)) / len(RECALL_POINTS)
