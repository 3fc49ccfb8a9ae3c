"""Non-maximum suppression: a detector finds each object many times over; keep the best of every heap of boxes.

Hard suppression drops whatever overlaps a better box too much. Soft suppression only lowers its score, so that
two objects that really stand close together may both survive.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from .boxes import box_iou


class SoftDetections(NamedTuple):
    """What soft suppression leaves, by falling score: indices into the input (int64), and lowered scores."""

    indices: Tensor
    scores: Tensor


def nms(boxes: Float[Tensor, "N 4"], scores: Float[Tensor, " N"], iou_threshold: float) -> Int64[Tensor, " K"]:
    """The indices of the boxes that greedy non-maximum suppression keeps, by falling score.

    Boxes are visited by falling score; of equal scores the lower index comes first. A box is kept unless its
    IoU with a box that was already kept is greater than `iou_threshold` (equal is not enough). So a box that was
    itself suppressed suppresses nobody.

    Boxes are xyxy in continuous coordinates, which may be negative. A box without area has IoU 0 with every box
    (its own copy included), so it is always kept. No boxes give no indices. A threshold outside [0, 1] raises a
    ValueError that names `iou_threshold`.
    """
    raise NotImplementedError


def batched_nms(
    boxes: Float[Tensor, "N 4"],
    scores: Float[Tensor, " N"],
    labels: Int64[Tensor, " N"],
    iou_threshold: float,
) -> Int64[Tensor, " K"]:
    """Non-maximum suppression within each label: a box suppresses only boxes of its own label.

    Everything else as in `nms`: one list of indices for all labels together, by falling score, of equal scores
    the lower index first. Labels are any integers, negative and huge ones included.
    """
    raise NotImplementedError


def soft_nms(
    boxes: Float[Tensor, "N 4"],
    scores: Float[Tensor, " N"],
    *,
    sigma: float = 0.5,
    score_threshold: float = 0.001,
) -> SoftDetections:
    """Soft-NMS with the Gaussian penalty (Bodla et al. 2017, arXiv 1704.04503).

    Again and again, the box with the highest score among those not yet picked is picked (of equal scores the
    lower index) and keeps its score; the score of every box b not yet picked is then multiplied by

        exp(-IoU(picked, b)² / sigma)

    As soon as the highest score left is below `score_threshold`, nothing more is picked, and what is left is
    dropped. Returned are the indices in the order picked, and each box's score at the moment it was picked, in
    the dtype of the scores. Scores are never negative. No boxes give empty tensors. A `sigma` that is not
    positive raises a ValueError that names it.
    """
    raise NotImplementedError
