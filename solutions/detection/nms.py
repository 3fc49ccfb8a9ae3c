"""Non-maximum suppression: a detector finds each object many times, and only the best box of each is kept.

Hard suppression drops a box that overlaps a better box too much. Soft suppression only lowers its score, so two objects
that stand close together can both survive.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from .boxes import box_iou

_CHUNK = 64  # boxes settled at a time: few, so that their IoUs with all the others stay in the cache


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
    _check_threshold(iou_threshold)
    # Each coordinate in one run of memory: twice as fast.
    columns = boxes.T.to(torch.promote_types(boxes.dtype, torch.float32)).contiguous()
    left = scores.argsort(descending=True, stable=True)
    kept = [left[:0]]
    # Chunk by chunk: the best boxes suppress most of a crowd, so most of the N × N matrix is never needed.
    while len(left) > 0:
        chunk = left[:_CHUNK]
        overlaps = _iou(columns[:, chunk], columns[:, left]) > iou_threshold
        keep = _greedy(overlaps[:, : len(chunk)])
        kept.append(chunk[keep])
        left = left[_CHUNK:][~overlaps[keep, _CHUNK:].any(dim=0)]
    return torch.cat(kept)


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
    _check_threshold(iou_threshold)  # without boxes there is no label to ask `nms` for
    # The well-known trick moves the boxes of each label apart. Its large offsets round the boxes in float32.
    kept = torch.zeros_like(labels, dtype=torch.bool)
    for label in labels.unique():
        members = torch.where(labels == label)[0]
        kept[members[nms(boxes[members], scores[members], iou_threshold)]] = True
    order = scores.argsort(descending=True, stable=True)
    return order[kept[order]]


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
    if not sigma > 0:
        raise ValueError(f"sigma must be positive, got {sigma}")
    decay = torch.exp(-box_iou(boxes, boxes).square() / sigma).to(scores.dtype)
    waiting = torch.ones_like(scores, dtype=torch.bool)
    picked = []
    # A true recurrence: which box comes next depends on every score lowered so far.
    while len(picked) < len(scores):
        best = int(scores.where(waiting, -1).argmax())
        if scores[best] < score_threshold:
            break
        picked.append(best)
        waiting[best] = False
        scores = torch.where(waiting, scores * decay[best], scores)
    indices = torch.tensor(picked, dtype=torch.int64, device=scores.device)
    return SoftDetections(indices, scores[indices])


def _check_threshold(iou_threshold: float) -> None:
    if not 0 <= iou_threshold <= 1:
        raise ValueError(f"iou_threshold must lie in [0, 1], got {iou_threshold}")


def _iou(columns1: Tensor, columns2: Tensor) -> Tensor:
    """IoU of boxes given as (4, N) and (4, M); NaN for two without area, and NaN exceeds no threshold."""
    x1, y1, x2, y2 = columns1[:, :, None]
    u1, v1, u2, v2 = columns2
    width = (torch.minimum(x2, u2) - torch.maximum(x1, u1)).clamp(min=0)
    height = (torch.minimum(y2, v2) - torch.maximum(y1, v1)).clamp(min=0)
    intersection = width * height
    return intersection / ((x2 - x1) * (y2 - y1) + (u2 - u1) * (v2 - v1) - intersection)


def _greedy(overlaps: Tensor) -> Tensor:
    """keep[j] = no i < j with keep[i] and overlaps[i, j]. This line is repeated until it changes nothing.

    The first box is settled at the start, and each round settles at least one more. So it ends with the greedy answer,
    after as many rounds as the longest chain of boxes that suppress one another in turn: in practice a few.
    """
    suppresses = overlaps.triu(diagonal=1)
    keep = torch.ones_like(suppresses[0])
    while True:
        updated = ~suppresses[keep].any(dim=0)
        if torch.equal(updated, keep):
            return keep
        keep = updated
