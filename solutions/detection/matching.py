"""Matching: which anchor is responsible for which ground-truth box, and which anchors are background.

Two rules: fixed IoU thresholds with a rescue for the truths that no anchor fits well (Faster R-CNN, RetinaNet), and
ATSS, which derives a threshold for each truth from the anchors around it.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor

BACKGROUND = -1
BETWEEN_THRESHOLDS = -2


def match_anchors(
    match_quality_matrix: Float[Tensor, "*images M N"],
    *,
    fg_iou_thresh: float = 0.5,
    bg_iou_thresh: float = 0.4,
    allow_low_quality_matches: bool = True,
) -> Int64[Tensor, "*images N"]:
    """For every anchor, of one image or several: the index of its truth, -1 for background, or -2 for ignored.

    `match_quality_matrix[m, n]` is the IoU of truth m and anchor n. An anchor's own truth has the highest IoU, below
    called `best`; of equal ones the lowest index.

        best >= fg_iou_thresh                     the anchor is matched to its own truth
        bg_iou_thresh <= best < fg_iou_thresh     -2
        best < bg_iou_thresh                      -1

    With `allow_low_quality_matches`, every truth then claims its best anchors: all that tie exactly for its highest
    IoU, if that is above 0. A claimed anchor is matched to that truth. Of several claims the highest IoU wins, the
    lowest index among equals. Without truths every anchor is background.

    `bg_iou_thresh` <= `fg_iou_thresh`.

    Source: Ren et al., Faster R-CNN (arXiv 1506.01497). (torchvision gives a claimed anchor to its own truth instead.)
    """
    if bg_iou_thresh > fg_iou_thresh:
        raise ValueError(f"bg_iou_thresh {bg_iou_thresh} must not exceed fg_iou_thresh {fg_iou_thresh}")
    if match_quality_matrix.numel() == 0:  # max over an empty dimension is an error
        *images, _, num_anchors = match_quality_matrix.shape
        return torch.full((*images, num_anchors), BACKGROUND, device=match_quality_matrix.device)
    best, matched_idxs = match_quality_matrix.max(dim=-2)
    matched_idxs[best < fg_iou_thresh] = BETWEEN_THRESHOLDS
    matched_idxs[best < bg_iou_thresh] = BACKGROUND
    if allow_low_quality_matches:
        claims = match_quality_matrix == match_quality_matrix.amax(dim=-1, keepdim=True)
        highest_claim, claimed_by = (match_quality_matrix * claims).max(dim=-2)  # 0 is no claim at all
        matched_idxs = torch.where(highest_claim > 0, claimed_by, matched_idxs)
    return matched_idxs


def _centers(boxes: Float[Tensor, "N 4"]) -> Float[Tensor, "N 2"]:
    return 0.5 * (boxes[:, :2] + boxes[:, 2:])


def _nearest_of_each_level(
    distances: Float[Tensor, "M N"], num_anchors_per_level: Sequence[int], top_k: int
) -> Int64[Tensor, "M C"]:
    nearest, start = [], 0
    for level in distances.split(list(num_anchors_per_level), dim=1):
        # Not topk: anchors at equal distance are the rule on a grid, and it promises no order among equals.
        nearest.append(level.argsort(dim=1, stable=True)[:, :top_k] + start)
        start += level.shape[1]
    return torch.cat(nearest, dim=1)


def atss_match(
    match_quality_matrix: Float[Tensor, "M N"],
    gt_boxes: Float[Tensor, "M 4"],
    anchors: Float[Tensor, "N 4"],
    num_anchors_per_level: Sequence[int],
    *,
    top_k: int = 9,
) -> Int64[Tensor, " N"]:
    """For every anchor the index of its truth, or -1 for background, by Adaptive Training Sample Selection.

    The N anchors lie level after level, num_anchors_per_level[l] of them on level l. For each truth:

        candidates    from every level, the `top_k` anchors (all, if it has fewer) whose centres are nearest to its own
                      in Euclidean distance, the lower index among equals
        threshold     mean + sample standard deviation (divided by C - 1; 0 for one candidate) of the IoUs of all C
                      candidates, those of IoU 0 included
        claims        the candidates with IoU >= threshold whose centre lies strictly inside the truth

    Of several claims the highest IoU wins, the lowest index among equals. Unclaimed anchors are background.

    The entries of `num_anchors_per_level` add up to N. `top_k` >= 1.

    Source: Zhang et al., Bridging the Gap Between Anchor-based and Anchor-free Detection (arXiv 1912.02424), and the
    authors' code.
    """
    if sum(num_anchors_per_level) != len(anchors):
        raise ValueError(f"num_anchors_per_level {list(num_anchors_per_level)} is not {len(anchors)} in all")
    if top_k < 1:
        raise ValueError(f"top_k must be at least 1, got {top_k}")
    if match_quality_matrix.numel() == 0:
        return torch.full((len(anchors),), BACKGROUND, device=anchors.device)
    centers = _centers(anchors)
    distances = (_centers(gt_boxes)[:, None] - centers).square().sum(dim=-1)
    candidates = _nearest_of_each_level(distances, num_anchors_per_level, top_k)
    ious = match_quality_matrix.gather(1, candidates)
    correction = min(1, ious.shape[1] - 1)  # one candidate has no spread: 0 / 0 otherwise
    thresholds = ious.mean(dim=1) + ious.std(dim=1, correction=correction)
    inside = ((centers > gt_boxes[:, None, :2]) & (centers < gt_boxes[:, None, 2:])).all(dim=-1)
    positive = (ious >= thresholds[:, None]) & inside.gather(1, candidates)
    claims = ious.where(positive, -1.0)
    claimed_ious = torch.full_like(match_quality_matrix, -1.0).scatter(1, candidates, claims)
    highest_claim, claimed_by = claimed_ious.max(dim=0)
    return claimed_by.where(highest_claim >= 0, BACKGROUND)
