"""Non-maximum suppression: a detector finds each object many times over; keep the best of every heap of boxes.

Hard suppression drops whatever overlaps a better box too much. Soft suppression only lowers its score, so that
two objects that really stand close together may both survive.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from .boxes import box_iou

_CHUNK = 64  # boxes settled at a time: few, so that their IoUs with all the others stay in the cache


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
    _check_threshold(iou_threshold)
    # Each coordinate in one run of memory: twice as fast. In float16 an area of 256 × 256 would overflow.
    columns = boxes.T.to(torch.promote_types(boxes.dtype, torch.float32)).contiguous()
    left = scores.argsort(descending=True, stable=True)
    kept = [left[:0]]
    # Chunk by chunk: of a crowd little is left after its best boxes, and the whole N × N matrix would be wasted.
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

    Everything else as in `nms`: one list of indices for all labels together, by falling score, of equal scores
    the lower index first. Labels are any integers, negative and huge ones included.
    """
    _check_threshold(iou_threshold)  # without boxes there is no label to ask `nms` for
    # Not the well-known trick of moving each label's boxes apart: large offsets round the boxes in float32.
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

    Again and again, the box with the highest score among those not yet picked is picked (of equal scores the
    lower index) and keeps its score; the score of every box b not yet picked is then multiplied by

        exp(-IoU(picked, b)² / sigma)

    As soon as the highest score left is below `score_threshold`, nothing more is picked, and what is left is
    dropped. Returned are the indices in the order picked, and each box's score at the moment it was picked, in
    the dtype of the scores. Scores are never negative. No boxes give empty tensors. A `sigma` that is not
    positive raises a ValueError that names it.
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
    """keep[j] = no i < j with keep[i] and overlaps[i, j]: found by repeating that very line until it holds.

    Each round settles at least one more j (j = 0 is settled from the start), so it ends, and with the greedy
    answer; in practice after a few rounds, as many as the longest chain of boxes that overlap one another in turn.
    """
    suppresses = overlaps.triu(diagonal=1)
    keep = torch.ones_like(suppresses[0])
    while True:
        updated = ~suppresses[keep].any(dim=0)
        if torch.equal(updated, keep):
            return keep
        keep = updated
