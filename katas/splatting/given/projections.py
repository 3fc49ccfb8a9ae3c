"""Gaussians for the specs, raw or projected, in float64, and their image."""

import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from katas.lab.strategies import normal, rng
from katas.splatting.given.gaussians import Gaussians
from katas.splatting.given.views import posed, rows


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


def random_scene(seed: int, count: int, coefficients: int = 4, size: float = -1) -> tuple[Gaussians, Tensor]:
    """Gaussians around the origin of the world, and the viewmat of a camera about 3 away that looks past it."""
    means, log_scales = normal(count, 3, seed=seed), size + 0.7 * normal(count, 3, seed=seed + 1)
    quats, logits = 4 * normal(count, 4, seed=seed + 2), 2 * normal(count, seed=seed + 3)
    sh, turned = normal(count, coefficients, 3, seed=seed + 4), Rotation.from_quat(normal(4, seed=seed + 5).numpy())
    return Gaussians(means, log_scales, quats, logits, sh), posed(turned.as_matrix(), rows(0.2, -0.3, 3))


def painted(projected, colors: Tensor, opacities: Tensor, background: Tensor, width: int, height: int) -> Tensor:
    """The image by one Gaussian after the other, each over the whole image, the nearest first."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    pixels = torch.stack((x, y), dim=-1).to(projected.means2d.dtype) + 0.5
    image, left = 0, torch.ones(height, width, 1, dtype=pixels.dtype)
    depths, seen = projected.depths.tolist(), projected.radii.tolist()
    for n in sorted((n for n in range(len(depths)) if seen[n] > 0), key=lambda n: (depths[n], n)):
        away = pixels - projected.means2d[n]
        a, b, c = projected.conics[n]
        exponents = (a * away[..., 0] ** 2 + c * away[..., 1] ** 2) / 2 + b * away.prod(dim=-1)
        alphas = opacities[n] * torch.exp(-exponents)[..., None]
        alphas = alphas.where(alphas >= 1 / 255, 0).clamp(max=0.99)
        image, left = image + left * alphas * colors[n], left * (1 - alphas)
    return image + left * background
