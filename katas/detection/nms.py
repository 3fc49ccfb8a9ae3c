"""Non-maximum suppression: a detector finds each object many times, and only the best box of each is kept.

Hard suppression drops a box that overlaps a better box too much. Soft suppression only lowers its score, so two objects
that stand close together can both survive.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from .boxes import box_iou


class SoftDetections(NamedTuple):
    """The picked boxes in the order picked: int64 indices into the input, and the lowered scores."""

    indices: Tensor
    scores: Tensor


def nms(boxes: Float[Tensor, "N 4"], scores: Float[Tensor, " N"], iou_threshold: float) -> Int64[Tensor, " K"]:
    """The indices of the boxes that greedy non-maximum suppression keeps, by falling score.

    Boxes are visited by falling score. Ties go to the lower index. A box is kept unless its IoU with a box that was
    already kept is greater than `iou_threshold`. An IoU equal to the threshold does not suppress, and neither does a
    suppressed box.

    Boxes are xyxy in continuous coordinates, which may be negative. A box without area has IoU 0 with every box, its
    own copy included, so it is always kept. IoUs are computed in float32 at least. `iou_threshold` lies in [0, 1].
    """
    raise NotImplementedError


def batched_nms(
    boxes: Float[Tensor, "N 4"],
    scores: Float[Tensor, " N"],
    labels: Int64[Tensor, " N"],
    iou_threshold: float,
) -> Int64[Tensor, " K"]:
    """Non-maximum suppression within each label: a box suppresses only boxes of its own label.

    Everything else is as in `nms`. All labels share one list of indices, by falling score, of equal scores the lower
    index first. Labels are any int64 numbers, negative and huge ones included.
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

    The box with the highest score among those not yet picked is picked next, of equal scores the lower index. It keeps
    its score. The score of every box b not yet picked is then multiplied by

        exp(-IoU(picked, b)² / sigma)

    Picking ends when all boxes are picked or the highest remaining score is below `score_threshold`. The result has the
    indices in the order picked, and the score of each box when it was picked, in the dtype of `scores`. Scores are at
    least 0. `sigma` > 0.
    """
    raise NotImplementedError
