"""Smooth L1 from torch, GIoU coordinate by coordinate."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def smooth_l1_loss(
    pred: Float[Tensor, "*shape"], target: Float[Tensor, "*shape"], *, beta: float = 1.0
) -> Float[Tensor, "*shape"]:
    if beta < 0:
        raise ValueError(f"beta < 0: {beta}")
    return F.smooth_l1_loss(pred, target.detach(), beta=float(beta), reduction="none")


def giou_loss(boxes1: Float[Tensor, "N 4"], boxes2: Float[Tensor, "N 4"]) -> Float[Tensor, " N"]:
    dtype = boxes1.dtype
    boxes1, boxes2 = boxes1.to(torch.float64), boxes2.to(torch.float64)
    losses = []
    for (x1, y1, x2, y2), (u1, v1, u2, v2) in zip(boxes1.unbind(0), boxes2.unbind(0), strict=True):
        zero = x1 * 0
        width = torch.max(torch.min(x2, u2) - torch.max(x1, u1), zero)
        height = torch.max(torch.min(y2, v2) - torch.max(y1, v1), zero)
        union = (x2 - x1) * (y2 - y1) + (u2 - u1) * (v2 - v1) - width * height
        hull = (torch.max(x2, u2) - torch.min(x1, u1)) * (torch.max(y2, v2) - torch.min(y1, v1))
        iou = width * height / union if union > 0 else width * height
        empty = 1 - union / hull if hull > 0 else hull
        losses.append(1 - iou + empty)
    return (torch.stack(losses) if losses else boxes1[:, 0] + boxes2[:, 0]).to(dtype)
