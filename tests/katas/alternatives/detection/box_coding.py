"""Box coding coordinate by coordinate, as torchvision writes it."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

MAX_LOG_RATIO = math.log(1000 / 16)


def encode_boxes(
    boxes: Float[Tensor, "N 4"],
    anchors: Float[Tensor, "N 4"],
    *,
    weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
) -> Float[Tensor, "N 4"]:
    wx, wy, ww, wh = weights
    x1, y1, x2, y2 = boxes.T
    a1, b1, a2, b2 = anchors.T
    dx = ((x1 + x2) - (a1 + a2)) / (2 * (a2 - a1))
    dy = ((y1 + y2) - (b1 + b2)) / (2 * (b2 - b1))
    dw = torch.log(x2 - x1) - torch.log(a2 - a1)
    dh = torch.log(y2 - y1) - torch.log(b2 - b1)
    return torch.stack([wx * dx, wy * dy, ww * dw, wh * dh], dim=-1)


def decode_boxes(
    deltas: Float[Tensor, "N 4"],
    anchors: Float[Tensor, "N 4"],
    *,
    weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
    max_log_ratio: float = MAX_LOG_RATIO,
) -> Float[Tensor, "N 4"]:
    columns = []
    for axis in (0, 1):
        size = anchors[:, axis + 2] - anchors[:, axis]
        center = (anchors[:, axis + 2] + anchors[:, axis]) / 2 + deltas[:, axis] / weights[axis] * size
        log_ratio = deltas[:, axis + 2] / weights[axis + 2]
        limit = torch.full_like(log_ratio, max_log_ratio)
        size = size * torch.exp(torch.minimum(log_ratio, limit))
        columns += [center - size / 2, center + size / 2]
    x1, x2, y1, y2 = columns
    return torch.stack([x1, y1, x2, y2], dim=-1)
