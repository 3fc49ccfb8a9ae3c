"""Two-dimensional densities to learn in seconds: moons, rings and a checkerboard, each about one unit
wide."""

import math
from collections.abc import Callable

import torch
from torch import Tensor


def moons(count: int, generator: torch.Generator) -> Tensor:
    """(count, 2): two half circles of radius 1 that reach into each other, blurred by 0.08."""
    angle = math.pi * torch.rand(count, generator=generator)
    lower = torch.randint(2, (count,), generator=generator).bool()
    x = torch.where(lower, 1 - angle.cos(), angle.cos()) - 0.5
    y = torch.where(lower, 0.5 - angle.sin(), angle.sin()) - 0.25
    return _scaled(torch.stack((x, y), dim=1) + 0.08 * torch.randn(count, 2, generator=generator), 0.9)


def rings(count: int, generator: torch.Generator) -> Tensor:
    """(count, 2): two circles around one centre, of radii 0.7 and 1.6, blurred by 0.06."""
    angle = 2 * math.pi * torch.rand(count, generator=generator)
    radius = torch.where(torch.rand(count, generator=generator) < 0.5, 0.7, 1.6)
    circle = radius[:, None] * torch.stack((angle.cos(), angle.sin()), dim=1)
    return _scaled(circle + 0.06 * torch.randn(count, 2, generator=generator), 0.8)


def checkerboard(count: int, generator: torch.Generator) -> Tensor:
    """(count, 2): the eight dark fields of a 4 × 4 board, from -1.6 to 1.6, each filled evenly."""
    column = torch.randint(4, (count,), generator=generator)
    row = 2 * torch.randint(2, (count,), generator=generator) + column % 2
    corner = torch.stack((column, row), dim=1) - 2
    return _scaled(corner + torch.rand(count, 2, generator=generator), 0.8)


DENSITIES: dict[str, Callable[[int, torch.Generator], Tensor]] = {
    "moons": moons,
    "rings": rings,
    "checkerboard": checkerboard,
}


def _scaled(points: Tensor, factor: float) -> Tensor:
    return factor * points
