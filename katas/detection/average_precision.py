"""COCO's average precision: it ignores crowds and objects of other sizes, and averages over IoU thresholds.

Only the matching is sequential, and only within an image. Here all images, area ranges and thresholds are matched
at the same time.
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
    """COCO's detection metrics, equal to those of pycocotools for boxes. The lists have one entry per image.

    Each class is judged on its own, for each of the `AREA_RANGES` (in square pixels, both ends included) and each t
    of `IOU_THRESHOLDS`. Per image and class only the 100 detections with the highest scores count. All numbers are
    float64.

    *Matching, per image.* An object is ignored if it is a crowd (`crowd`: bool, or 0 and 1) or its area lies outside
    the range. The others are regular. Detections choose in turn, by falling score, of equal scores the first listed.
    A detection may choose an object that it overlaps by at least t and that is not taken. Only crowds can be chosen
    again. It prefers regular objects, then the highest overlap, then the last listed. Overlap is IoU, but with a crowd
    it is intersection / area of the detection. A box without area overlaps nothing. `difficult` plays no part.

    *Result.* A detection that chose a regular object is correct. It is ignored if it chose an ignored object, or chose
    none and has an area outside the range. All others are wrong.

    *Average, over all images.* AP is the mean of the interpolated precision at `RECALL_POINTS`, of the curve of all
    detections that are not ignored. Equal scores come image by image, in the order of their turns. The objects to be
    found are the regular ones. Recall counts the correct detections within the first 1, 10 or 100 turns of each image
    (`MAX_DETECTIONS`).

    The figures are means over classes and thresholds. `ap50` and `ap75` have t = 0.5 and 0.75 only. `ar1`, `ar10` and
    `ar100` are the recall after so many turns, for all areas. The sizes have 100 turns. A class without regular objects
    in a range is left out of the mean. One with objects but no detections counts as 0. A mean over nothing is NaN
    (pycocotools: -1).

    `truths` is as long as `detections`.
    """
    raise NotImplementedError
