"""Precision and recall: walk down the detections by falling score, and watch how many are right, how many found.

Average precision sums the walk up in one number. Here in the style of Pascal VOC, at one IoU threshold; COCO's,
which averages over thresholds, sizes and classes, is the next kata.
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
    """The M objects of one image: boxes (M, 4) xyxy and labels (M,) int64. The rest may be left out (None).

    difficult (M,) bool: VOC neither asks for these objects nor punishes finding them; None: no object is.
    crowd (M,) bool: for COCO, the box holds many objects; None: no box does.
    areas (M,): for COCO, the area of the object itself, often less than that of its box; None: the box's area.
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
    """One point a detection, by falling score; equal scores keep the order in which they were given.

    Of the k + 1 best detections, tp are `correct`: precision[k] = tp / (k + 1), recall[k] = tp / num_positives.
    Both are float64, whatever the dtype of the scores. No detections give an empty curve.

    `num_positives` counts the objects to be found. If it is not positive, or less than the number of correct
    detections, a ValueError names it.
    """
    raise NotImplementedError


def interpolated_precision(
    precision: Float64[Tensor, " N"], recall: Float64[Tensor, " N"], recall_points: Float64[Tensor, " R"]
) -> Float64[Tensor, " R"]:
    """The best precision to be had at each recall: for each r of `recall_points`,

        max of precision[k] over all k with recall[k] >= r,     and 0 where the curve never reaches r.

    `precision` and `recall` are a curve as `precision_recall_curve` gives it: recall never falls. The points come in
    any order.
    """
    raise NotImplementedError


def voc_average_precision(
    detections: list[Detections],
    truths: list[GroundTruth],
    *,
    iou_threshold: float = 0.5,
    eleven_point: bool = False,
) -> dict[int, float]:
    """Average precision of each class, {label: AP}, as Pascal VOC defines it; its mean is called mAP.

    The lists have one entry an image. Each class is judged by itself, over all images: its detections are visited
    by falling score (equal scores: by image, then by place in it). A detection looks at the one object of its
    class and image with the highest IoU (of equals the first listed). If that IoU is at least `iou_threshold`, it is

    - ignored, as if it were not there, if the object is `difficult`;
    - correct, if no detection before it has taken the object, which it takes now;
    - wrong otherwise, as a second detection of one object: it does not try the next best object.

    A detection that overlaps no object that much is wrong. Objects to be found are those not difficult; a class
    without any does not appear in the result. IoU is computed in float64; `crowd` and `areas` play no part.

    With p(r) the `interpolated_precision` of the class's curve at recall r: AP is the area under p, i.e. the sum
    over the points k of the curve of (recall[k] - recall[k-1]) * p(recall[k]), the recall before the first point
    being 0 (VOC 2010 and later); with `eleven_point`, it is the mean of p at `ELEVEN_POINTS` (VOC 2007). A class
    with objects and without detections has AP 0.

    Lists of different lengths, or an `iou_threshold` outside (0, 1], raise a ValueError that names them.
    """
    raise NotImplementedError
