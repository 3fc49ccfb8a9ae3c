"""Projected Gaussians for the specs: what a rasterizer is given, in float64."""

import torch
from torch import Tensor

from katas.lab.strategies import normal, rng


def conics_of(covars2d: Tensor) -> Tensor:
    """(a, b, c), the upper triangles of the inverses."""
    return torch.linalg.inv(covars2d).flatten(1)[:, [0, 1, 3]]


def uniform(*shape: int, seed: int) -> Tensor:
    return torch.rand(shape, generator=rng(seed), dtype=torch.float64)


def scattered(seed: int, count: int, width: int, height: int, size: float = 2) -> dict[str, Tensor]:
    """The fields of `count` projected Gaussians, some of them beside the image, some of radius 0, many at equal depths.

    They are `size` pixels large, long or round, and turned by any angle.
    """
    roots = size * normal(count, 2, 2, seed=seed + 1) * torch.tensor([1, 0.3], dtype=torch.float64)
    covars2d = roots @ roots.mT + 0.3 * torch.eye(2, dtype=torch.float64)
    around = 1.4 * uniform(count, 2, seed=seed) - 0.2
    return {
        "means2d": around * torch.tensor([width, height], dtype=torch.float64),
        "depths": (5 * uniform(count, seed=seed + 2)).ceil(),
        "covars2d": covars2d,
        "conics": conics_of(covars2d),
        "radii": (uniform(count, seed=seed + 3) * 8).long(),
    }
