"""The rasterizer: the image of projected Gaussians, as the definition has it, for every pixel and every Gaussian."""

import torch
from jaxtyping import Float
from torch import Tensor

from .compositing import composite
from .projection import ProjectedGaussians


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
    raise NotImplementedError


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
    raise NotImplementedError
