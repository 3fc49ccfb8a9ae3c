"""Anchors by nested loops, in Python numbers."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor


def base_anchors(size: float, scales: Sequence[float], aspect_ratios: Sequence[float]) -> Float[Tensor, "A 4"]:
    anchors = torch.empty(len(aspect_ratios) * len(scales), 4, dtype=torch.float32)
    k = 0
    for ratio in aspect_ratios:
        for scale in scales:
            height = (ratio * (size * scale) ** 2) ** 0.5
            width = height / ratio
            anchors[k] = torch.tensor([-width, -height, width, height]) / 2
            k += 1
    return anchors


def grid_anchors(
    feature_size: tuple[int, int], stride: float, base: Float[Tensor, "A 4"]
) -> Float[Tensor, "num_anchors 4"]:
    height, width = feature_size
    cells = []
    for i in range(height):
        for j in range(width):
            offset = [j * stride + stride / 2, i * stride + stride / 2]
            cells.append(base + base.new_tensor(offset + offset))
    return torch.cat(cells) if cells else base[:0]


def pyramid_anchors(
    feature_sizes: Sequence[tuple[int, int]],
    strides: Sequence[float],
    sizes: Sequence[float],
    *,
    scales: Sequence[float] = (1.0, 2 ** (1 / 3), 2 ** (2 / 3)),
    aspect_ratios: Sequence[float] = (0.5, 1.0, 2.0),
) -> list[Float[Tensor, "_ 4"]]:
    if len(strides) != len(feature_sizes):
        raise ValueError("strides: one for every level, please")
    if len(sizes) != len(feature_sizes):
        raise ValueError("sizes: one for every level, please")
    levels = []
    for level in range(len(feature_sizes)):
        base = base_anchors(sizes[level], scales, aspect_ratios)
        levels.append(grid_anchors(feature_sizes[level], strides[level], base))
    return levels
