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
    raise NotImplementedError


def cxcywh_to_xyxy(boxes: Real[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 4"]:
    """Centre and size to corners, the inverse of `xyxy_to_cxcywh`. Integer boxes give float32."""
    raise NotImplementedError


def box_area(boxes: Real[Tensor, "N 4"]) -> Float[Tensor, " N"]:
    """Width × height of each xyxy box.

    Computed and returned in the dtype of the boxes; in float32 for integer boxes (uint8 would wrap around at 256)
    and for float16 and bfloat16 ones (float16 ends at 65504, just short of an area of 256 × 256).
    """
    raise NotImplementedError


def clip_boxes(boxes: Real[Tensor, "*batch 4"], image_size: tuple[int, int]) -> Real[Tensor, "*batch 4"]:
    """The xyxy boxes cut at the border of an image of `image_size` = (height, width).

    Then x lies in [0, width] and y in [0, height]. A box that lies outside becomes degenerate (zero width or height)
    on the border; none is dropped. The dtype stays; the caller sees to it that it can hold the width and the height.
    """
    raise NotImplementedError


def box_iou(boxes1: Real[Tensor, "N 4"], boxes2: Real[Tensor, "M 4"]) -> Float[Tensor, "N M"]:
    """Intersection over union of every xyxy box of `boxes1` with every one of `boxes2`, in [0, 1].

    Boxes that are apart, or that share only an edge or a corner, have IoU 0. Where the union has no area (two
    degenerate boxes) the IoU is 0 too, and the gradient is finite there. Where the areas come out exact, as for boxes
    of whole or half pixels, an IoU of 1/4, 1/2 or 3/4 does too: it may meet a threshold. Dtypes as in `box_area`; both
    arguments have the same one.
    """
    raise NotImplementedError


def generalized_box_iou(boxes1: Real[Tensor, "N 4"], boxes2: Real[Tensor, "M 4"]) -> Float[Tensor, "N M"]:
    """GIoU of every pair: IoU − (hull − union) / hull, in [-1, 1], hull being the area of the smallest box around both.

    Unlike IoU it still tells how far apart two boxes are that do not overlap. Where the hull has no area the second
    term is 0, and the gradient is finite there. Dtypes as in `box_iou`.

    Source: Rezatofighi et al., Generalized Intersection over Union (arXiv 1902.09630).
    """
    raise NotImplementedError
