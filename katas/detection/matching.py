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
    raise NotImplementedError


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
    raise NotImplementedError
