"""Targets: from matched anchors to RetinaNet's two losses, where everything built so far comes together."""

from itertools import accumulate
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from .box_coding import encode_boxes
from .box_losses import smooth_l1_loss
from .focal_loss import sigmoid_focal_loss


class RetinaNetLoss(NamedTuple):
    """The two terms of the loss, to be weighted and added by whoever trains."""

    classification: Float[Tensor, ""]
    regression: Float[Tensor, ""]


def retinanet_loss(
    cls_logits: Float[Tensor, "B N K"],
    box_deltas: Float[Tensor, "B N 4"],
    anchors: Float[Tensor, "N 4"],
    matched_idxs: Int64[Tensor, "B N"],
    gt_boxes: list[Float[Tensor, "_ 4"]],
    gt_labels: list[Int64[Tensor, " _"]],
    *,
    alpha: float = 0.25,
    gamma: float = 2.0,
    beta: float = 1 / 9,
) -> RetinaNetLoss:
    """The classification and the regression loss of a batch of B images, which share their N anchors.

    `matched_idxs[b, n]` is a row of gt_boxes[b] and gt_labels[b] (foreground), -1 (background) or -2 (ignored). With F
    foreground anchors in the batch, and sums in float32 at least,

        classification = Σ focal(logits, target; alpha, gamma) / max(1, F)    over foreground, background, K classes
        target         = 1 for the class of the matched truth, 0 for all others
        regression     = Σ smooth_l1(deltas, code; beta) / max(1, F)          over foreground, 4 coordinates
        code           = the matched truth, encoded relative to the anchor with weights (1, 1, 1, 1)

    Ignored anchors, and the deltas of background anchors, may be NaN or infinite and get no gradient. A NaN elsewhere
    makes its loss NaN. Without foreground the regression loss is 0, and its gradient as well.

    `gt_boxes` and `gt_labels` have B entries. Labels outside 0 ... K - 1 are refused.

    Source: Lin et al., Focal Loss for Dense Object Detection (arXiv 1708.02002).
    """
    for name, values in (("gt_boxes", gt_boxes), ("gt_labels", gt_labels)):
        if len(values) != len(cls_logits):
            raise ValueError(f"{name} has {len(values)} entries for a batch of {len(cls_logits)} images")
    # The truths of all images in one list. A batch may have no images, and torch.cat refuses an empty list.
    boxes, labels = torch.cat([anchors.new_zeros(0, 4), *gt_boxes]), torch.cat([matched_idxs.new_zeros(0), *gt_labels])
    num_classes = cls_logits.shape[-1]
    if ((labels < 0) | (labels >= num_classes)).any():
        raise ValueError(f"gt_labels must lie in 0 ... {num_classes - 1}")
    counted = (matched_idxs >= -1)[..., None]
    image_idxs, anchor_idxs = torch.where(matched_idxs >= 0)
    first = torch.tensor([0, *accumulate(len(truths) for truths in gt_labels)], device=labels.device)  # of each image
    truth_idxs = first[image_idxs] + matched_idxs[image_idxs, anchor_idxs]
    cls_targets = torch.zeros_like(cls_logits)
    cls_targets[image_idxs, anchor_idxs, labels[truth_idxs]] = 1
    # Selected before the loss, not multiplied by 0 after it: 0 * NaN is NaN.
    focal = sigmoid_focal_loss(cls_logits.where(counted, 0), cls_targets, alpha=alpha, gamma=gamma).where(counted, 0)
    code = encode_boxes(boxes[truth_idxs], anchors[anchor_idxs]).to(anchors.dtype)
    distance = smooth_l1_loss(box_deltas[image_idxs, anchor_idxs], code, beta=beta)
    normaliser = max(1, len(anchor_idxs))
    wide = torch.promote_types(cls_logits.dtype, torch.float32)
    classification, regression = focal.sum(dtype=wide) / normaliser, distance.sum(dtype=wide) / normaliser
    return RetinaNetLoss(classification.to(cls_logits.dtype), regression.to(cls_logits.dtype))
