"""Anchors: fixed boxes, tiled over the image, that a dense detector classifies and adjusts.

The head of the detector gives one row of scores per anchor and knows nothing of geometry. So the *order* of the anchors
is part of the contract: row k of the head's output belongs to anchor k.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor


def base_anchors(size: float, scales: Sequence[float], aspect_ratios: Sequence[float]) -> Float[Tensor, "A 4"]:
    """The len(aspect_ratios) * len(scales) anchor shapes of one level, as xyxy boxes centred at 0.

    An aspect ratio is height / width. The anchor of scale s and ratio r has
        width = size * s / sqrt(r)    height = size * s * sqrt(r)
    and the area (size * s)**2, whatever r is. Coordinates are not rounded.

    Order: ratio-major (all scales of the first ratio, then all scales of the second, ...). Returns float32 on the CPU.

    >>> base_anchors(8, scales=[1], aspect_ratios=[4])  # a quarter as wide as it is high
    tensor([[-2., -8.,  2.,  8.]])
    """
    half_sizes = [
        (0.5 * size * scale / math.sqrt(ratio), 0.5 * size * scale * math.sqrt(ratio))
        for ratio in aspect_ratios
        for scale in scales
    ]
    corners = [(-half_width, -half_height, half_width, half_height) for half_width, half_height in half_sizes]
    return torch.tensor(corners, dtype=torch.float32).reshape(-1, 4)


def grid_anchors(
    feature_size: tuple[int, int], stride: float, base: Float[Tensor, "A 4"]
) -> Float[Tensor, "num_anchors 4"]:
    """The A base anchors repeated at every cell of a feature map of `feature_size` = (height H, width W).

    Cell (row i, column j) covers `stride` x `stride` pixels of the image. Its anchors are centred in the middle of
    them, at x = (j + 0.5) * stride, y = (i + 0.5) * stride. Anchors that stick out of the image are not clipped.

    Order: rows, then columns within a row, then the base anchors within a cell. A head's output (H, W, A, ...) flattens
    in the same order. H, W or A may be 0.
    """
    y, x = ((torch.arange(cells, dtype=base.dtype, device=base.device) + 0.5) * stride for cells in feature_size)
    y, x = torch.meshgrid(y, x, indexing="ij")
    centers = torch.stack((x, y, x, y), dim=-1).reshape(-1, 1, 4)  # (H*W, 1, 4)
    return (centers + base).reshape(-1, 4)


def pyramid_anchors(
    feature_sizes: Sequence[tuple[int, int]],
    strides: Sequence[float],
    sizes: Sequence[float],
    *,
    scales: Sequence[float] = (1.0, 2 ** (1 / 3), 2 ** (2 / 3)),
    aspect_ratios: Sequence[float] = (0.5, 1.0, 2.0),
) -> list[Float[Tensor, "_ 4"]]:
    """The anchors of every level of a feature pyramid: one float32 tensor per level, in the order of the levels.

    Level l has a feature map of feature_sizes[l] = (height, width) cells of strides[l] pixels, and the anchor shapes
    base_anchors(sizes[l], scales, aspect_ratios). The defaults are RetinaNet's nine shapes. Three scales divide a
    doubling of the size evenly, so that sizes that double from level to level leave no gap. `strides` and `sizes` are
    as long as `feature_sizes`.

    Source: Lin et al., Focal Loss for Dense Object Detection (arXiv 1708.02002).
    """
    for name, values in (("strides", strides), ("sizes", sizes)):
        if len(values) != len(feature_sizes):
            raise ValueError(f"{name} has {len(values)} entries, but there are {len(feature_sizes)} levels")
    return [
        grid_anchors(feature_size, stride, base_anchors(size, scales, aspect_ratios))
        for feature_size, stride, size in zip(feature_sizes, strides, sizes, strict=True)
    ]
