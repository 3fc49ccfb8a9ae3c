"""Gaussians for the specs, and the definition of their image: one painted after the other over all pixels, in float64.

Nothing here is what the learner writes. Autograd differentiates it.
"""

import math
from types import SimpleNamespace

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


def projected_by_hand(gaussians: Gaussians, viewmat: Tensor, K: Tensor, width: int, height: int) -> SimpleNamespace:
    """The means2d, depths, conics and radii of a scene. A quaternion must not be 0."""
    (fx, _, cx), (_, fy, cy), _ = K.tolist()
    points = gaussians.means @ viewmat[:3, :3].T + viewmat[:3, 3]
    in_front, depths = points[:, 2] > 0.01, points[:, 2].detach()
    x, y, z = torch.where(in_front[:, None], points, 1).unbind(dim=1)
    means2d, zero = torch.stack((fx * x / z + cx, fy * y / z + cy), dim=1), torch.zeros_like(z)
    clamped = means2d.clamp(-0.15 * rows(width, height), 1.15 * rows(width, height))
    slopes = torch.stack((fx + zero, zero, cx - clamped[:, 0], zero, fy + zero, cy - clamped[:, 1]), dim=1) / z[:, None]
    roots = (
        slopes.reshape(-1, 2, 3) @ viewmat[:3, :3] @ turned(gaussians.quats) @ gaussians.log_scales.exp().diag_embed()
    )
    covars2d = roots @ roots.mT + 0.3 * torch.eye(2, dtype=torch.float64)
    radii = (3 * torch.linalg.eigvalsh(covars2d.detach())[:, 1:].sqrt()).ceil()
    inside = ((means2d + radii > 0) & (means2d - radii < rows(width, height))).all(dim=1)
    radii = (radii[:, 0] * (in_front & inside)).long()
    return SimpleNamespace(means2d=means2d, depths=depths, conics=conics_of(covars2d), radii=radii)


def turned(quats: Tensor) -> Tensor:
    """Rotation matrices by the formula of Rodrigues: I + 2 w [v] + 2 [v]², with [v] the matrix of v × …"""
    w, x, y, z = (quats / torch.linalg.norm(quats, dim=1, keepdim=True)).T
    zero = torch.zeros_like(w)
    cross = torch.stack((zero, -z, y, z, zero, -x, -y, x, zero), dim=1).reshape(-1, 3, 3)
    return torch.eye(3, dtype=torch.float64) + 2 * w[:, None, None] * cross + 2 * cross @ cross


def colors_by_hand(gaussians: Gaussians, viewmat: Tensor) -> Tensor:
    """With harmonics of degrees 0 and 1: coefficients beyond the fourth are not used."""
    away = gaussians.means - torch.linalg.inv(viewmat)[:3, 3]
    x, y, z = (away / torch.linalg.norm(away, dim=1, keepdim=True)).T[:, :, None]
    sh, c0, c1 = gaussians.sh, 0.5 / math.sqrt(math.pi), 0.5 * math.sqrt(3 / math.pi)
    colors = 0.5 + c0 * sh[:, 0]
    return (colors + c1 * (z * sh[:, 2] - y * sh[:, 1] - x * sh[:, 3]) if sh.shape[1] > 1 else colors).clamp(min=0)


def painted_scene(
    gaussians: Gaussians, viewmat: Tensor, K: Tensor, width: int, height: int, background: Tensor
) -> tuple[Tensor, SimpleNamespace]:
    """The image of a scene, and its projection. Take the gradient of `means2d` in it with the shapes held."""
    projected, opacities = projected_by_hand(gaussians, viewmat, K, width, height), gaussians.opacity_logits.sigmoid()
    shown = projected.means2d = projected.means2d.clone()
    shown.requires_grad or shown.requires_grad_()
    image = painted(projected, colors_by_hand(gaussians, viewmat), opacities, background, width, height)
    return image.expand(height, width, 3), projected
