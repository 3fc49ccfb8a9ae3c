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
    raise NotImplementedError


def interpolated_precision(
    precision: Float64[Tensor, " N"], recall: Float64[Tensor, " N"], recall_points: Float64[Tensor, " R"]
) -> Float64[Tensor, " R"]:
    """The highest precision at each recall or beyond: for each r of `recall_points`,

        max of precision[k] over all k with recall[k] >= r,     and 0 where the curve never reaches r.

    `precision` and `recall` are a curve of `precision_recall_curve`, so recall never falls. The points come in any
    order.
    """
    raise NotImplementedError


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
    raise NotImplementedError
