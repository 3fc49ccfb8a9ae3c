"""COCO's average precision: it ignores crowds and objects of other sizes, and averages over IoU thresholds.

Only the matching is sequential, and only within an image. Here all images, area ranges and thresholds are matched at
the same time.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .postprocess import Detections
from .precision_recall import GroundTruth

# The grids of pycocotools, to the last bit: a recall of 7/10 lies just below RECALL_POINTS[70].
IOU_THRESHOLDS = tuple(np.linspace(0.5, 0.95, 10).tolist())
RECALL_POINTS = tuple(np.linspace(0, 1, 101).tolist())
AREA_RANGES = ((0.0, 1e10), (0.0, 32.0**2), (32.0**2, 96.0**2), (96.0**2, 1e10))  # all, small, medium, large
MAX_DETECTIONS = (1, 10, 100)


class CocoMetrics(NamedTuple):
    """COCO's twelve figures, each in [0, 1], or NaN if there is nothing to find."""

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


def coco_average_precision(detections: list[Detections], truths: list[GroundTruth]) -> CocoMetrics:
    """COCO's detection metrics, equal to those of pycocotools for boxes. The lists have one entry per image, by
    ascending id: of equal scores, the earlier image goes first.

    The protocol is in the topic's README, under "How COCO judges". Its constants are `IOU_THRESHOLDS`, `RECALL_POINTS`,
    `AREA_RANGES` (in square pixels, both ends included) and `MAX_DETECTIONS`. Everything is computed in float64.

    Each figure is a mean over classes and thresholds:

        ap, ap_small, ap_medium, ap_large    average precision, by the area of the object
        ap50, ap75                           average precision at IoU 0.5 and 0.75 only
        ar1, ar10, ar100                     recall with so many detections per image and class
        ar_small, ar_medium, ar_large        recall with 100 detections, by the area of the object

    A class without objects to be found is left out of the mean. A class with objects but without detections counts as
    0. A mean over nothing is NaN (pycocotools: -1).

    `crowd` is bool, or 0 and 1. `difficult` plays no part. `truths` is as long as `detections`.
    """
    if len(detections) != len(truths):
        raise ValueError(f"detections and truths have one entry per image, got {len(detections)} and {len(truths)}")
    if not truths:
        return CocoMetrics(*[math.nan] * len(CocoMetrics._fields))
    found, objects = _gather_detections(detections), _gather_objects(truths)
    labels = objects.labels.unique()
    precision = objects.areas.new_empty(len(labels), len(AREA_RANGES), len(IOU_THRESHOLDS))
    recall = objects.areas.new_empty(len(labels), len(MAX_DETECTIONS), len(AREA_RANGES), len(IOU_THRESHOLDS))
    for k, label in enumerate(labels):
        precision[k], recall[k] = _evaluate_class(
            _Found(*(field[found.labels == label] for field in found)),
            _Objects(*(field[objects.labels == label] for field in objects)),
        )
    ap, ar = precision.nanmean(dim=(0, 2)), recall.nanmean(dim=(0, 3))  # (area), (maximum of detections, area)
    ap50, ap75 = (precision[:, 0, IOU_THRESHOLDS.index(t)].nanmean() for t in (0.5, 0.75))
    return CocoMetrics(*torch.stack([ap[0], ap50, ap75, *ap[1:], *ar[:, 0], *ar[-1, 1:]]).tolist())


class _Found(NamedTuple):
    """All detections in one table: image after image, within an image by falling score."""

    images: Tensor
    boxes: Tensor
    scores: Tensor
    labels: Tensor


class _Objects(NamedTuple):
    """All objects in one table: image after image, as listed."""

    images: Tensor
    boxes: Tensor
    labels: Tensor
    crowd: Tensor
    areas: Tensor


def _gather_detections(detections: list[Detections]) -> _Found:
    orders = [found.scores.argsort(descending=True, stable=True) for found in detections]
    ordered = [[field[order] for field in found] for found, order in zip(detections, orders, strict=True)]
    boxes, scores, labels = (torch.cat(parts) for parts in zip(*ordered, strict=True))
    return _Found(_image_of_each(orders), boxes.double(), scores, labels)


def _gather_objects(truths: list[GroundTruth]) -> _Objects:
    boxes, labels = torch.cat([x.boxes for x in truths]).double(), torch.cat([x.labels for x in truths])
    crowd = [torch.zeros_like(x.labels, dtype=torch.bool) if x.crowd is None else x.crowd.bool() for x in truths]
    areas = [_area(x.boxes.double()) if x.areas is None else x.areas.double() for x in truths]
    return _Objects(_image_of_each([x.labels for x in truths]), boxes, labels, torch.cat(crowd), torch.cat(areas))


def _image_of_each(per_image: list[Tensor]) -> Tensor:
    return torch.cat([torch.full_like(rows, image) for image, rows in enumerate(per_image)])


def _turns(images: Tensor) -> Tensor:
    """0 for the first row of each image, 1 for its second, and so on. The rows of an image stand together."""
    counts = images.bincount()
    first = counts.cumsum(dim=0) - counts
    return torch.arange(len(images), device=images.device) - first[images]


def _area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def _outside(areas: Tensor) -> Tensor:
    """(area range, N): which areas lie outside each range."""
    low, high = areas.new_tensor(AREA_RANGES)[:, :, None].unbind(dim=1)
    return (areas < low) | (areas > high)


def _overlap(boxes: Tensor, objects: Tensor, crowd: Tensor) -> Tensor:
    """IoU of each detection (N, 4) with its candidates (N, M, 4). For a crowd: intersection / detection area."""
    boxes = boxes[:, None]
    size = torch.minimum(boxes[..., 2:], objects[..., 2:]) - torch.maximum(boxes[..., :2], objects[..., :2])
    intersection = size.clamp(min=0).prod(dim=-1)
    whole = torch.where(crowd, _area(boxes), _area(boxes) + _area(objects) - intersection)
    return intersection / whole  # 0 / 0 is NaN, and reaches no threshold


def _match(found: _Found, turns: Tensor, objects: _Objects, ignored_objects: Tensor) -> Tensor:
    """The object that each detection chooses, its index or -1: (area range, threshold, detection).

    A table of images by objects is as wide as the fullest image. So images with 1 to 7 objects are matched together,
    then those with 8 to 63, and so on.
    """
    counts = objects.images.bincount(minlength=1 + int(found.images.max()) if len(turns) else 0)
    size = counts.clamp(min=1).log2() // 3
    chosen = turns.new_full((len(AREA_RANGES), len(IOU_THRESHOLDS), len(turns)), -1)
    for some in size[objects.images].unique():
        mine, theirs = torch.where(size[found.images] == some)[0], torch.where(size[objects.images] == some)[0]
        part = _match_together(
            _Found(*(field[mine] for field in found)), turns[mine],
            _Objects(*(field[theirs] for field in objects)), ignored_objects[:, theirs],
        )  # fmt: skip
        chosen[:, :, mine] = F.pad(theirs, (0, 1), value=-1)[part]  # the place -1 is the last
    return chosen


def _match_together(found: _Found, turns: Tensor, objects: _Objects, ignored_objects: Tensor) -> Tensor:
    # One row of object indices per image, the last listed first, because argmax finds the first of equal maxima.
    positions = _turns(objects.images)
    num_images = 1 + int(torch.cat([objects.images, found.images]).max())
    rows = positions.new_full((num_images, 1 + int(positions.max())), -1)
    rows[objects.images, positions] = torch.arange(len(positions), device=rows.device)
    rows = rows.flip(1)
    thresholds = found.boxes.new_tensor(IOU_THRESHOLDS)[:, None, None]
    taken = ignored_objects.new_zeros(len(AREA_RANGES), len(IOU_THRESHOLDS), len(positions))
    chosen = turns.new_empty(*taken.shape[:2], len(turns))
    # A true recurrence: which objects are free depends on the turns before. All images take each turn together.
    for turn in turns.unique():
        now = torch.where(turns == turn)[0]
        choice = rows[found.images[now]]  # (n, most objects of an image)
        overlap = _overlap(found.boxes[now], objects.boxes[choice], objects.crowd[choice])
        free = (overlap >= thresholds) & (choice >= 0) & ~taken[:, :, choice]
        regular = free & ~ignored_objects[:, None, choice]
        free = regular.where(regular.any(dim=-1, keepdim=True), free)
        best, hit = torch.where(free, overlap, -1).argmax(dim=-1), free.any(dim=-1)
        target = choice[torch.arange(len(now), device=now.device), best]
        chosen[:, :, now] = target.where(hit, -1)
        takes = hit & ~objects.crowd[target]
        area, threshold, _ = torch.where(takes)
        taken[area, threshold, target[takes]] = True
    return chosen


def _evaluate_class(found: _Found, objects: _Objects) -> tuple[Tensor, Tensor]:
    """For one class: average precision (area range, threshold), recall (maximum of detections, range, threshold)."""
    turns = _turns(found.images)
    found = _Found(*(field[turns < MAX_DETECTIONS[-1]] for field in found))
    turns = turns[turns < MAX_DETECTIONS[-1]]
    ignored_objects = objects.crowd | _outside(objects.areas)
    chosen = _match(found, turns, objects, ignored_objects)
    ranges = torch.arange(len(AREA_RANGES), device=chosen.device)[:, None, None]
    ignored = torch.where(chosen >= 0, ignored_objects[ranges, chosen], _outside(_area(found.boxes))[:, None])
    correct = (chosen >= 0) & ~ignored
    num_positives = (~ignored_objects).sum(dim=1)[:, None].double()  # 0 makes recall 0 / 0 = NaN: nothing to find
    within = turns < turns.new_tensor(MAX_DETECTIONS)[:, None, None, None]
    recall = (correct & within).sum(dim=-1) / num_positives
    order = found.scores.argsort(descending=True, stable=True)
    by_range = zip(correct[..., order], ignored[..., order], num_positives, strict=True)  # together they take much room
    return torch.stack([_average_precision(*one) for one in by_range]), recall


def _average_precision(correct: Tensor, ignored: Tensor, num_positives: Tensor) -> Tensor:
    """The mean of the interpolated precision at `RECALL_POINTS`, for all thresholds at once."""
    true_positives = correct.cumsum(dim=-1).double()
    recall = true_positives / num_positives
    precision = true_positives / (~ignored).cumsum(dim=-1).clamp(min=1)
    best_from = F.pad(precision.flip(-1).cummax(dim=-1).values.flip(-1), (0, 1))
    points = recall.new_tensor(RECALL_POINTS).expand(len(recall), -1).contiguous()
    interpolated = best_from.gather(-1, torch.searchsorted(recall, points))
    return torch.where(num_positives > 0, interpolated.mean(dim=-1), torch.nan)
