"""Matching truth by truth and anchor by anchor, in plain Python."""

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
    if not bg_iou_thresh <= fg_iou_thresh:
        raise ValueError("bg_iou_thresh > fg_iou_thresh")
    if match_quality_matrix.ndim > 2:
        options = fg_iou_thresh, bg_iou_thresh, allow_low_quality_matches
        return torch.stack([_match(image, *options) for image in match_quality_matrix])
    return _match(match_quality_matrix, fg_iou_thresh, bg_iou_thresh, allow_low_quality_matches)


def _match(match_quality_matrix, fg_iou_thresh, bg_iou_thresh, allow_low_quality_matches):
    num_truths, num_anchors = match_quality_matrix.shape
    matched = torch.full((num_anchors,), BACKGROUND, device=match_quality_matrix.device, dtype=torch.int64)
    for anchor in range(num_anchors):
        best = -1.0
        for truth in range(num_truths):
            if match_quality_matrix[truth, anchor] > best:
                best = match_quality_matrix[truth, anchor].item()
                own = truth
        if best >= fg_iou_thresh:
            matched[anchor] = own
        elif best >= bg_iou_thresh and num_truths:
            matched[anchor] = BETWEEN_THRESHOLDS
    if allow_low_quality_matches and num_anchors:
        # Weaker claims first, so that stronger ones overwrite them; of equals the lower index comes last.
        top = match_quality_matrix.amax(dim=1)
        for truth in sorted(range(num_truths), key=lambda m: (float(top[m]), -m)):
            if top[truth] > 0:
                matched[match_quality_matrix[truth] == top[truth]] = truth
    return matched


def atss_match(
    match_quality_matrix: Float[Tensor, "M N"],
    gt_boxes: Float[Tensor, "M 4"],
    anchors: Float[Tensor, "N 4"],
    num_anchors_per_level: Sequence[int],
    *,
    top_k: int = 9,
) -> Int64[Tensor, " N"]:
    if sum(num_anchors_per_level) != anchors.shape[0]:
        raise ValueError("num_anchors_per_level must cover all anchors")
    if top_k <= 0:
        raise ValueError("top_k must be positive")
    matched = torch.full((len(anchors),), BACKGROUND, dtype=torch.int64, device=anchors.device)
    best = torch.zeros(len(anchors), dtype=anchors.dtype, device=anchors.device)
    x, y = (anchors[:, 0] + anchors[:, 2]) / 2, (anchors[:, 1] + anchors[:, 3]) / 2
    for truth, (x1, y1, x2, y2) in enumerate(gt_boxes):
        distance = torch.hypot(x - (x1 + x2) / 2, y - (y1 + y2) / 2)
        chosen = torch.zeros_like(distance, dtype=torch.bool)
        end = 0
        for count in num_anchors_per_level:
            begin, end = end, end + count
            chosen[begin + distance[begin:end].sort(stable=True).indices[:top_k]] = True
        ious = match_quality_matrix[truth]
        if chosen.sum() > 1:
            limit = ious[chosen].mean() + ious[chosen].std()
        else:
            limit = 0.0
        chosen &= (ious >= limit) & (torch.minimum(x - x1, x2 - x) > 0) & (torch.minimum(y - y1, y2 - y) > 0)
        better = chosen & ((matched < 0) | (ious > best))
        matched[better] = truth
        best[better] = ious[better]
    return matched
