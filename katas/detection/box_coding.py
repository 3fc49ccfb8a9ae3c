"""Box coding: a box told relative to an anchor, so that size and place drop out.

Centres are coded in units of the anchor's size, sizes as log-ratios: every coordinate of a well-matched box
is then a number near 0, for small objects as for large ones.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

MAX_LOG_RATIO = math.log(1000 / 16)  # a decoded box is at most 62.5 times as wide, or as high, as its anchor


def encode_boxes(
    boxes: Float[Tensor, "N 4"],
    anchors: Float[Tensor, "N 4"],
    *,
    weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
) -> Float[Tensor, "N 4"]:
    """The deltas (dx, dy, dw, dh) that lead from anchor n to box n (both xyxy, of positive width and height).

    With centres (x, y), widths w and heights h, and the subscript a for the anchor:
        dx = wx * (x - xa) / wa    dw = ww * log(w / wa)
        dy = wy * (y - ya) / ha    dh = wh * log(h / ha)
    where weights = (wx, wy, ww, wh) set the scale of the four regression targets.

    Source: Girshick et al., Rich feature hierarchies (R-CNN, arXiv 1311.2524), appendix C (without weights).
    """
    raise NotImplementedError


def decode_boxes(
    deltas: Float[Tensor, "N 4"],
    anchors: Float[Tensor, "N 4"],
    *,
    weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
    max_log_ratio: float = MAX_LOG_RATIO,
) -> Float[Tensor, "N 4"]:
    """The boxes (xyxy) that the deltas (dx, dy, dw, dh) make of the anchors: the inverse of `encode_boxes`.

    The anchors are xyxy, of positive width and height.

    With dx, dy, dw, dh already divided by their weights, the box has
        x = xa + dx * wa    w = wa * exp(min(dw, max_log_ratio))
        y = ya + dy * ha    h = ha * exp(min(dh, max_log_ratio))
    The limit holds for the log-ratio itself, i.e. after the weights are undone, and has no lower counterpart;
    dx and dy have no limit.
    It keeps an untrained network's boxes, and their gradients, finite however large dw and dh are; round
    trips within the limit are exact but for rounding.

    Source: as `encode_boxes`; the limit is common practice, with this value in Detectron and torchvision.
    """
    raise NotImplementedError
