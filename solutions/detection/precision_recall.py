"""Precision and recall: how many of the best detections are right, and how many of the objects they find.

Average precision is the area under that curve. Here it is Pascal VOC's, at one IoU threshold. The next kata has COCO's,
which averages over thresholds, sizes and classes.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor
from torch.nn import functional as F

from .boxes import box_iou
from .postprocess import Detections

ELEVEN_POINTS = tuple(i / 10 for i in range(11))  # i / 10, as recalls are: 3 * 0.1 would lie above 3 / 10


class GroundTruth(NamedTuple):
    """The M objects of one image: boxes (M, 4) xyxy and labels (M,) int64. The other fields are optional.

    difficult    (M,) bool: VOC does not count these objects. None: no object is difficult.
    crowd        (M,) bool: for COCO, the box holds many objects. None: no box is a crowd.
    areas        (M,): for COCO, the area of the object itself, often less than that of its box. None: of the box.
    """

    boxes: Tensor
    labels: Tensor
    difficult: Tensor | None = None
    crowd: Tensor | None = None
    areas: Tensor | None = None


class PrecisionRecall(NamedTuple):
    """A curve: point k (from 0) is where the k + 1 best detections are kept. Both float64 of shape (N,)."""

    precision: Tensor
    recall: Tensor


def precision_recall_curve(
    scores: Float[Tensor, " N"], correct: Bool[Tensor, " N"], num_positives: int
) -> PrecisionRecall:
    """One point per detection, by falling score. Equal scores keep the order in which they are given.

    Of the k + 1 best detections, tp are `correct`: precision[k] = tp / (k + 1), recall[k] = tp / num_positives. Both
    are float64, whatever the dtype of the scores.

    `num_positives` counts the objects to be found. It is at least 1, and at least the number of correct detections.
    """
    if num_positives < max(1, int(correct.sum())):
        raise ValueError(f"num_positives must be at least 1 and the number of correct detections, got {num_positives}")
    order = scores.argsort(descending=True, stable=True)
    true_positives = correct[order].cumsum(dim=0).double()
    kept = torch.arange(1, len(scores) + 1, device=scores.device)
    return PrecisionRecall(true_positives / kept, true_positives / num_positives)


def interpolated_precision(
    precision: Float64[Tensor, " N"], recall: Float64[Tensor, " N"], recall_points: Float64[Tensor, " R"]
) -> Float64[Tensor, " R"]:
    """The highest precision at each recall or beyond: for each r of `recall_points`,

        max of precision[k] over all k with recall[k] >= r,     and 0 where the curve never reaches r.

    `precision` and `recall` are a curve of `precision_recall_curve`, so recall never falls. The points come in any
    order.
    """
    # The maximum over all points from k on. One more point, of precision 0, stands for recalls never reached.
    best_from = F.pad(precision.flip(0).cummax(dim=0).values.flip(0), (0, 1))
    return best_from[torch.searchsorted(recall.contiguous(), recall_points.contiguous())]


def voc_average_precision(
    detections: list[Detections],
    truths: list[GroundTruth],
    *,
    iou_threshold: float = 0.5,
    eleven_point: bool = False,
) -> dict[int, float]:
    """Average precision of each class, {label: AP}, as Pascal VOC defines it.

    The lists have one entry per image. Each class is judged on its own, over all images. Its detections are visited by
    falling score, equal scores in the order of the lists. Each is compared with the object of its class and image that
    has the highest IoU (in float64), ties go to the first. It never tries a second object. It is

        wrong                    if this IoU is below `iou_threshold`, or there is no such object
        left out of the curve    if the object is `difficult`
        correct                  if no earlier detection has taken the object
        wrong                    otherwise

    The objects to be found are those not difficult. A class without any is not in the result. `crowd` and `areas` play
    no part. With p(r) the interpolated precision at recall r, AP is

        the sum over k of (recall[k] - recall[k-1]) * p(recall[k]), from recall 0 on       (VOC 2010 and later)
        the mean of p at `ELEVEN_POINTS`, with `eleven_point`                              (VOC 2007)

    `truths` is as long as `detections`. 0 < `iou_threshold` <= 1.
    """
    if len(detections) != len(truths):
        raise ValueError(f"detections and truths have one entry per image, got {len(detections)} and {len(truths)}")
    if not 0 < iou_threshold <= 1:
        raise ValueError(f"iou_threshold must lie in (0, 1], got {iou_threshold}")
    results = {}
    for label in sorted({label for truth in truths for label in truth.labels.tolist()}):
        scores, targets, difficult = _targets(detections, truths, label, iou_threshold)
        counted, correct = _judge(scores, targets, difficult)
        num_positives = difficult.count(False)
        if num_positives > 0:
            curve = precision_recall_curve(scores[counted], correct[counted], num_positives)
            results[label] = _eleven_point_average(*curve) if eleven_point else _area_under(*curve)
    return results


def _targets(
    detections: list[Detections], truths: list[GroundTruth], label: int, iou_threshold: float
) -> tuple[Tensor, list[int], list[bool]]:
    """For one class: scores, the object that each detection overlaps most (-1: too little), the difficult flags."""
    scores, targets, difficult = [], [], []
    for found, truth in zip(detections, truths, strict=True):
        mine, theirs = found.labels == label, truth.labels == label
        ious = box_iou(found.boxes[mine].double(), truth.boxes[theirs].double())
        overlap, index = F.pad(ious, (0, 1)).max(
            dim=1
        )  # without objects there is no maximum: one more column, of zeros
        scores.append(found.scores[mine])
        targets += torch.where(overlap >= iou_threshold, index + len(difficult), -1).tolist()
        flags = torch.zeros_like(theirs) if truth.difficult is None else truth.difficult
        difficult += flags[theirs].tolist()
    return torch.cat(scores), targets, difficult


def _judge(scores: Tensor, targets: list[int], difficult: list[bool]) -> tuple[Tensor, Tensor]:
    """Which detections count at all, and which of them are correct."""
    counted = torch.ones_like(scores, dtype=torch.bool)
    correct = torch.zeros_like(counted)
    taken = set()
    # A true recurrence: whether a detection is right depends on what better ones have taken.
    for n in scores.argsort(descending=True, stable=True).tolist():
        if targets[n] >= 0 and difficult[targets[n]]:
            counted[n] = False
        elif targets[n] >= 0 and targets[n] not in taken:
            correct[n] = True
            taken.add(targets[n])
    return counted, correct


def _area_under(precision: Tensor, recall: Tensor) -> float:
    steps = recall.diff(prepend=recall.new_zeros(1))
    return float((steps * interpolated_precision(precision, recall, recall)).sum())


def _eleven_point_average(precision: Tensor, recall: Tensor) -> float:
    return float(interpolated_precision(precision, recall, recall.new_tensor(ELEVEN_POINTS)).mean())
