"""Targets: from matched anchors to RetinaNet's two losses, where everything built so far comes together."""

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

    `matched_idxs[b, n]` says what anchor n is in image b: a row of gt_boxes[b] and gt_labels[b] (foreground),
    -1 (background) or -2 (ignored). Labels are classes 0 ... K - 1; there is no background class.

    classification: the sigmoid focal loss (`alpha`, `gamma`) of all K logits of every foreground and every
        background anchor. The target is 1 for the matched truth's class and 0 for all others, so K zeros for
        background.
    regression: the smooth L1 loss (`beta`) of every foreground anchor's deltas against its truth, encoded relative
        to the anchor with weights (1, 1, 1, 1); summed over the four coordinates.
    Both are summed over the whole batch and divided by the number of foreground anchors in the whole batch
    (at least by 1), not image by image.

    An ignored anchor counts nowhere and gets no gradient, even if its logits or deltas are NaN or infinite;
    the same holds for the deltas of background anchors. A NaN that does count makes its loss NaN. An image
    without truths, gt_boxes[b] of shape (0, 4), still teaches background. Without any foreground anchor the
    regression loss is 0, with zero gradient (it can be differentiated: a batch without objects trains like
    any other).
    Raises a ValueError that names `gt_boxes` or `gt_labels` if the list has not B entries, or `gt_labels` if
    a label is outside 0 ... K - 1.

    Source: Lin et al., Focal Loss for Dense Object Detection (arXiv 1708.02002).
    """
    for name, values in (("gt_boxes", gt_boxes), ("gt_labels", gt_labels)):
        if len(values) != len(cls_logits):
            raise ValueError(f"{name} has {len(values)} entries for a batch of {len(cls_logits)} images")
    num_classes = cls_logits.shape[-1]
    if any(((labels < 0) | (labels >= num_classes)).any() for labels in gt_labels):
        raise ValueError(f"gt_labels must lie in 0 ... {num_classes - 1}")
    foreground, counted = matched_idxs >= 0, matched_idxs >= -1
    cls_targets = torch.zeros_like(cls_logits)
    delta_targets = []
    for b, (boxes, labels) in enumerate(zip(gt_boxes, gt_labels)):  # ragged: every image has its own truths
        anchor_idxs = foreground[b].nonzero().squeeze(1)
        truth_idxs = matched_idxs[b, anchor_idxs]
        cls_targets[b, anchor_idxs, labels[truth_idxs]] = 1
        delta_targets.append(encode_boxes(boxes[truth_idxs], anchors[anchor_idxs]))
    normaliser = foreground.sum().clamp(min=1)
    # Selected, not multiplied by a mask: 0 * NaN is NaN.
    focal = sigmoid_focal_loss(cls_logits[counted], cls_targets[counted], alpha=alpha, gamma=gamma)
    distance = smooth_l1_loss(box_deltas[foreground], torch.cat(delta_targets), beta=beta)
    return RetinaNetLoss(focal.sum() / normaliser, distance.sum() / normaliser)
