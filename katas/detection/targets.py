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
    raise NotImplementedError
