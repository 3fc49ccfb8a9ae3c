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
    raise NotImplementedError
