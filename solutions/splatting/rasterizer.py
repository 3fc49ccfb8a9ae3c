"""The rasterizer: the image of projected Gaussians, as the definition has it, for every pixel and every Gaussian."""

import torch
from jaxtyping import Float
from torch import Tensor

from .compositing import composite
from .projection import ProjectedGaussians

_LEAST_ALPHA = 1 / 255


def alphas_at(
    means2d: Float[Tensor, "*#batch N 2"],
    conics: Float[Tensor, "*#batch N 3"],
    opacities: Float[Tensor, "*#batch N"],
    points: Float[Tensor, "*#batch P 2"],
) -> Float[Tensor, "*batch P N"]:
    """How much of each of P points (x, y) of the image each of N Gaussians covers.

        alpha = opacity * exp(-(a dx² + 2 b dx dy + c dy²) / 2),      (dx, dy) = point - mean,  (a, b, c) = conic

    An alpha below 1/255 is 0, with gradient 0: no screen shows it, and most pairs need no further work. There alpha
    jumps, so its gradient is not the slope of a finite difference. Batch axes broadcast.

    Source: Kerbl et al., 3D Gaussian Splatting (arXiv 2308.04079). The threshold is that of its code and of gsplat.
    """
    dx, dy = (points[..., :, None, axis] - means2d[..., None, :, axis] for axis in (0, 1))
    a, b, c = (-0.5 * conics[..., None, :, :]).unbind(dim=-1)
    alphas = opacities[..., None, :] * torch.exp(dx * (a * dx + 2 * b * dy) + c * dy * dy)
    return torch.where(alphas >= _LEAST_ALPHA, alphas, 0).to(means2d.dtype)


def rasterize(
    projected: ProjectedGaussians,
    colors: Float[Tensor, "N C"],
    opacities: Float[Tensor, "N"],
    background: Float[Tensor, "C"],
    width: int,
    height: int,
) -> Float[Tensor, "{height} {width} C"]:
    """The image of N Gaussians before a background, computed for every pixel and every Gaussian.

    The pixel in row i and column j is what `composite` makes of `alphas_at` the point (j + 0.5, i + 0.5), front to
    back. The nearest Gaussian has the smallest depth. At equal depths the lower index is in front. Gaussians of radius
    0 are not drawn. Colours have any number of channels and are not clamped. Depths and radii have no gradient.

    The time and the memory are those of width * height * N numbers. `width` and `height` are positive.
    """
    for name, size in (("width", width), ("height", height)):
        if size < 1:
            raise ValueError(f"{name} must be positive, got {size}")
    order = projected.depths.argsort(stable=True)
    order = order[projected.radii[order] > 0]
    means2d, conics = projected.means2d[order], projected.conics[order]
    alphas = alphas_at(means2d, conics, opacities[order], _pixel_centres(width, height, means2d))
    return composite(alphas, colors[order], background).color.reshape(height, width, -1).to(means2d.dtype)


def _pixel_centres(width: int, height: int, like: Tensor) -> Float[Tensor, "pixels 2"]:
    """Row by row, each as (x, y)."""
    x, y = (torch.arange(size, dtype=like.dtype, device=like.device) + 0.5 for size in (width, height))
    return torch.cartesian_prod(y, x).flip(1)
