"""Boxes: two ways to write one down, and how much two of them overlap.

A box is `xyxy`, (x1, y1, x2, y2) with x1 ≤ x2 and y1 ≤ y2, or `cxcywh`, (centre x, centre y, width, height).
Coordinates are continuous, in pixels; y points down. The width is x2 − x1: no "+ 1" as for pixel indices.
"""

import torch
from jaxtyping import Float, Real
from torch import Tensor


def xyxy_to_cxcywh(boxes: Real[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 4"]:
    """Corners to centre and size. Integer boxes give float32, because a centre may lie at a half.

    >>> xyxy_to_cxcywh(torch.tensor([[10.0, 20.0, 14.0, 30.0]]))
    tensor([[12., 25.,  4., 10.]])
    """
    x1, y1, x2, y2 = _as_floating(boxes).unbind(-1)
    return torch.stack([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1], dim=-1)


def cxcywh_to_xyxy(boxes: Real[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 4"]:
    """Centre and size to corners, the inverse of `xyxy_to_cxcywh`. Integer boxes give float32."""
    cx, cy, width, height = _as_floating(boxes).unbind(-1)
    return torch.stack([cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2], dim=-1)


def box_area(boxes: Real[Tensor, "N 4"]) -> Float[Tensor, " N"]:
    """Width × height of each xyxy box.

    float32 and float64 boxes keep their dtype. All others are computed and returned in float32: integers would wrap
    around (uint8 at 256, int32 at 46341 × 46341), and float16 ends at 65504, just short of 256 × 256.
    """
    x1, y1, x2, y2 = _as_wide_floating(boxes).unbind(-1)
    return (x2 - x1) * (y2 - y1)


def clip_boxes(boxes: Real[Tensor, "*batch 4"], image_size: tuple[int, int]) -> Real[Tensor, "*batch 4"]:
    """The xyxy boxes cut at the border of an image of `image_size` = (height, width).

    Then x lies in [0, width] and y in [0, height]. A box outside the image becomes degenerate (zero width or height) on
    the border; none is dropped. Integer boxes keep their dtype, which must be able to hold the width and the height.
    """
    height, width = image_size
    x1, y1, x2, y2 = boxes.unbind(-1)
    return torch.stack([x1.clamp(0, width), y1.clamp(0, height), x2.clamp(0, width), y2.clamp(0, height)], dim=-1)


def box_iou(boxes1: Real[Tensor, "N 4"], boxes2: Real[Tensor, "M 4"]) -> Float[Tensor, "N M"]:
    """Intersection over union of every xyxy box of `boxes1` with every one of `boxes2`, in [0, 1].

    Boxes that are apart, or that share only an edge or a corner, have IoU 0. Two boxes without area have IoU 0 and a
    finite gradient. Where the areas are exact, as for boxes of whole or half pixels, an IoU of 1/4, 1/2 or 3/4 comes
    out exactly, so that `>= 0.5` can be trusted. Both arguments have the same dtype; the result has that of `box_area`.
    """
    intersection, union = _intersection_and_union(boxes1, boxes2)
    return _safe_ratio(intersection, union)


def generalized_box_iou(boxes1: Real[Tensor, "N 4"], boxes2: Real[Tensor, "M 4"]) -> Float[Tensor, "N M"]:
    """Generalized IoU of every pair, in [-1, 1]: IoU − (hull − union) / hull.

    The hull is the area of the smallest box around both boxes. Unlike IoU, GIoU tells how far apart two boxes lie when
    they do not overlap. Where the hull has no area the second term is 0 and the gradient is finite. Dtypes as in
    `box_iou`.

    Source: Rezatofighi et al., Generalized Intersection over Union (arXiv 1902.09630).
    """
    intersection, union = _intersection_and_union(boxes1, boxes2)
    x1, y1, x2, y2 = _as_wide_floating(boxes1).unsqueeze(1).unbind(-1)  # each (N, 1)
    u1, v1, u2, v2 = _as_wide_floating(boxes2).unbind(-1)  # each (M,)
    hull = (torch.maximum(x2, u2) - torch.minimum(x1, u1)) * (torch.maximum(y2, v2) - torch.minimum(y1, v1))
    return _safe_ratio(intersection, union) - _safe_ratio(hull - union, hull)


def _as_floating(boxes: Tensor) -> Tensor:
    return boxes if boxes.is_floating_point() else boxes.float()


def _as_wide_floating(boxes: Tensor) -> Tensor:
    return boxes if boxes.dtype in (torch.float32, torch.float64) else boxes.float()


def _intersection_and_union(boxes1: Tensor, boxes2: Tensor) -> tuple[Tensor, Tensor]:
    x1, y1, x2, y2 = _as_wide_floating(boxes1).unsqueeze(1).unbind(-1)  # each (N, 1)
    u1, v1, u2, v2 = _as_wide_floating(boxes2).unbind(-1)  # each (M,)
    # One (N, M) map for x and one for y: half the memory traffic of (N, M, 2).
    width = (torch.minimum(x2, u2) - torch.maximum(x1, u1)).clamp(min=0)
    height = (torch.minimum(y2, v2) - torch.maximum(y1, v1)).clamp(min=0)
    intersection = width * height
    return intersection, box_area(boxes1)[:, None] + box_area(boxes2) - intersection


def _safe_ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    # 0 / 0 would be NaN, and masking the NaN afterwards would leave it in the gradient.
    return numerator / denominator.where(denominator > 0, 1)
