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

    `matched_idxs[b, n]` is a row of gt_boxes[b] and gt_labels[b] (foreground), -1 (background) or -2 (ignored).

    classification: the sigmoid focal loss (`alpha`, `gamma`) of all K logits of every foreground and background anchor.
        The target is 1 for the class of the matched truth and 0 for all others, so K zeros for background.
    regression: the smooth L1 loss (`beta`) of the deltas of every foreground anchor against its truth, encoded relative
        to the anchor with weights (1, 1, 1, 1), summed over the four coordinates.
    Each is summed over the batch (in float32 at least) and divided by max(1, foreground anchors of the batch).

    Logits and deltas of ignored anchors and deltas of background anchors do not count: they get no gradient and may be
    NaN or infinite. A NaN that counts makes its loss NaN. An image without truths still teaches background. Without
    foreground the regression loss is a 0 that can be differentiated.
    `gt_boxes` and `gt_labels` have B entries. Labels lie in 0 ... K - 1.

    Source: Lin et al., Focal Loss for Dense Object Detection (arXiv 1708.02002).
    """
    raise NotImplementedError
