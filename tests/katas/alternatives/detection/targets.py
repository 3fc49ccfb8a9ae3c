"""The two losses image by image, with one-hot targets and torchvision's coder and focal loss."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor
from torchvision.models.detection._utils import BoxCoder
from torchvision.ops import sigmoid_focal_loss


class RetinaNetLoss(NamedTuple):
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
    num_images, _, num_classes = cls_logits.shape
    if len(gt_boxes) != num_images:
        raise ValueError("gt_boxes: one entry an image")
    if len(gt_labels) != num_images:
        raise ValueError("gt_labels: one entry an image")
    for labels in gt_labels:
        if len(labels) and (labels.min() < 0 or labels.max() >= num_classes):
            raise ValueError("gt_labels: no such class")
    classification, regression, num_foreground = cls_logits[:, :0].double().sum(), box_deltas[:, :0].double().sum(), 0
    images = zip(cls_logits.double(), box_deltas.double(), matched_idxs, gt_boxes, gt_labels, strict=True)
    for logits, deltas, matched, boxes, labels in images:
        positive, negative = (matched >= 0).nonzero().flatten(), (matched == -1).nonzero().flatten()
        mine = matched[positive]
        one_hot = F.one_hot(labels[mine], num_classes).to(logits.dtype)
        kwargs = dict(alpha=alpha, gamma=gamma, reduction="sum")
        classification = classification + sigmoid_focal_loss(logits[positive], one_hot, **kwargs)
        nothing = torch.zeros_like(logits[negative])
        classification = classification + sigmoid_focal_loss(logits[negative], nothing, **kwargs)
        wanted = BoxCoder((1.0, 1.0, 1.0, 1.0)).encode_single(boxes[mine].detach().double(), anchors[positive].double())
        regression = regression + F.smooth_l1_loss(deltas[positive], wanted, beta=beta, reduction="sum")
        num_foreground += len(positive)
    losses = [loss / max(1, num_foreground) for loss in (classification, regression)]
    return RetinaNetLoss(*(loss.to(cls_logits.dtype) for loss in losses))
