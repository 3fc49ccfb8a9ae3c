"""COCO's average precision: matching that forgives crowds and objects of other sizes, averaged over thresholds.

Only the walk by falling score is sequential, and only within an image: here all images, area ranges and
thresholds walk side by side.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .postprocess import Detections
from .precision_recall import GroundTruth

# The evaluation's own grids, to the last bit: 7/10 of the objects found lies just below RECALL_POINTS[70].
IOU_THRESHOLDS = tuple(np.linspace(0.5, 0.95, 10).tolist())
RECALL_POINTS = tuple(np.linspace(0, 1, 101).tolist())
AREA_RANGES = ((0.0, 1e10), (0.0, 32.0**2), (32.0**2, 96.0**2), (96.0**2, 1e10))  # all, small, medium, large
MAX_DETECTIONS = (1, 10, 100)


class CocoMetrics(NamedTuple):
    """COCO's twelve figures, in [0, 1], or NaN where there was nothing to find."""

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
    """COCO's detection metrics, equal to what pycocotools computes for boxes. The lists have one entry an image.

    Each class is judged by itself; of its detections only the 100 with the highest scores of each image count. The
    following is done for each of the `AREA_RANGES` (areas in square pixels, both ends belong to the range) and for
    each t of `IOU_THRESHOLDS`.

    *Matching, within each image.* An object is ignored if it is a crowd, or if its area lies outside the range; the
    others are regular. Detections choose in turn, by falling score (equal scores: first listed first). A detection
    may choose an object which it overlaps by at least t and which no detection before it has chosen; a crowd may be
    chosen again and again. It chooses a regular object if it can, else an ignored one; among these the one that it
    overlaps most, and of equals the last listed. Overlap means IoU, but with a crowd intersection / area of the
    detection; a box without area overlaps nothing. All numbers are float64. `difficult` plays no part.

    *Worth.* A detection that chose a regular object is correct. One that chose an ignored object, or that chose
    none and whose own box has an area outside the range, is ignored as if it were not there. All others are wrong.

    *Average, over all images.* The curve of precision and recall of the class (see `precision_recall`; equal
    scores: by image, and within an image in the order of their turns), the objects to be found being the regular
    ones; the mean of its interpolated precision at `RECALL_POINTS` is the average precision of this class, range
    and threshold. The recall of the same is that of all its detections; or of those within the first 1 or 10 turns
    of their image (`MAX_DETECTIONS`).

    The figures are means over classes and thresholds: `ap`, and `ap_small`, `ap_medium`, `ap_large` for the ranges;
    `ap50` and `ap75` at t = 0.5 and 0.75 alone; `ar1`, `ar10`, `ar100` the recall over all areas after so many
    turns, and `ar_small`, `ar_medium`, `ar_large` after 100 turns for the ranges. A class without regular objects
    in a range takes no part in the mean; one that has some, but no detections, takes part with 0. A mean over
    nothing is NaN (pycocotools: -1); without images, all twelve are.

    Lists of different lengths raise a ValueError that names them.
    """
    raise NotImplementedError
