"""Plain Python lists, image by image and detection by detection; interpolation by comparing all pairs."""

from typing import NamedTuple

import torch

from .postprocess import Detections

ELEVEN_POINTS = tuple(i / 10 for i in range(11))


class GroundTruth(NamedTuple):
    boxes: torch.Tensor
    labels: torch.Tensor
    difficult: torch.Tensor | None = None
    crowd: torch.Tensor | None = None
    areas: torch.Tensor | None = None


class PrecisionRecall(NamedTuple):
    precision: torch.Tensor
    recall: torch.Tensor


def precision_recall_curve(scores, correct, num_positives):
    if num_positives <= 0 or correct.long().sum() > num_positives:
        raise ValueError(f"num_positives = {num_positives}")
    ranked = correct[torch.sort(scores, descending=True, stable=True).indices].to(torch.float64)
    right, wrong = ranked.cumsum(0), (1 - ranked).cumsum(0)
    return PrecisionRecall(right / (right + wrong), right / num_positives)


def interpolated_precision(precision, recall, recall_points):
    reached = recall >= recall_points[:, None]
    candidates = torch.where(reached, precision, 0.0)
    return torch.cat([candidates, candidates.new_zeros(len(recall_points), 1)], dim=1).amax(dim=1)


def _iou(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height)


def voc_average_precision(detections: list[Detections], truths, *, iou_threshold=0.5, eleven_point=False):
    if len(detections) != len(truths):
        raise ValueError(f"{len(detections)} detections for {len(truths)} truths")
    if iou_threshold <= 0 or iou_threshold > 1:
        raise ValueError(f"iou_threshold {iou_threshold}")
    objects, claims = {}, {}
    for image, truth in enumerate(truths):
        hard = [False] * len(truth.labels) if truth.difficult is None else truth.difficult.tolist()
        for box, label, difficult in zip(truth.boxes.tolist(), truth.labels.tolist(), hard, strict=True):
            objects.setdefault(label, {}).setdefault(image, []).append((box, difficult))
    for image, found in enumerate(detections):
        for box, score, label in zip(*(field.tolist() for field in found), strict=True):
            claims.setdefault(label, []).append((-score, image, len(claims.get(label, [])), box))
    results = {}
    for label, images in objects.items():
        num_positives = sum(not hard for image in images.values() for _, hard in image)
        taken, judged = set(), []
        for _, image, _, box in sorted(claims.get(label, [])):
            overlaps = [_iou(box, other) for other, _ in images.get(image, [])]
            best = overlaps.index(max(overlaps)) if overlaps else -1
            if best < 0 or overlaps[best] < iou_threshold:
                judged.append(False)
            elif not images[image][best][1]:
                judged.append((image, best) not in taken)
                taken.add((image, best))
        if num_positives:
            results[label] = _average(judged, num_positives, eleven_point)
    return results


def _average(judged, num_positives, eleven_point):
    levels, total = [], 0
    for kept, right in enumerate(judged, start=1):
        total += right
        levels.append((total / num_positives, total / kept))
    if eleven_point:
        return sum(max([p for r, p in levels if r >= point], default=0.0) for point in ELEVEN_POINTS) / 11
    area, before = 0.0, 0.0
    for place, (r, _) in enumerate(levels):
        area += (r - before) * max(p for _, p in levels[place:])
        before = r
    return area
