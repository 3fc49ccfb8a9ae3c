"""Tiles: the image of the rasterizer, from those pairs of pixel and Gaussian that show anything.

A Gaussian with a standard deviation of one pixel covers some 30 of the 65,536 pixels of a small image. So the image is
cut into square tiles, every tile gets the list of Gaussians that may touch it, and only these are composited.

The lists have different lengths. Where Gaussians crowd, most pairs would be empty if all were filled up to the longest.
So all lists lie one after the other in one tensor, and a running sum over it takes the place of a product within each.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from .projection import ProjectedGaussians
from .rasterizer import alphas_at


class TileIntersections(NamedTuple):
    """Tile t, counted row by row, is touched by gaussian_ids[offsets[t] : offsets[t + 1]], the nearest first."""

    gaussian_ids: Int[Tensor, "M"]
    offsets: Int[Tensor, "tiles_plus_1"]


def tile_intersections(
    means2d: Float[Tensor, "N 2"],
    extents: Float[Tensor, "N 2"],
    depths: Float[Tensor, "N"],
    width: int,
    height: int,
    *,
    tile_size: int = 8,
) -> TileIntersections:
    """Which Gaussians touch which tile, sorted by tile, within a tile by depth, and at equal depths by index.

    Gaussian n fills the box from means2d[n] - extents[n] to means2d[n] + extents[n]. It touches a tile where the two
    share an area. A box that only meets the edge of a tile does not touch it, nor does one of which an extent is 0 or
    less. Extents may be infinite.

    The image has ceil(width / tile_size) tiles in a row and ceil(height / tile_size) rows: the last ones may reach
    beyond the image. `width`, `height` and `tile_size` are positive.
    """
    raise NotImplementedError


def rasterize_tiled(
    projected: ProjectedGaussians,
    colors: Float[Tensor, "N C"],
    opacities: Float[Tensor, "N"],
    background: Float[Tensor, "C"],
    width: int,
    height: int,
    *,
    tile_size: int = 8,
    max_pairs: int = 2**22,
) -> Float[Tensor, "{height} {width} C"]:
    """The image and the gradients of `rasterize`, up to rounding, for any size of image and tile.

    A Gaussian has an alpha of at least 1/255 only within `extents` of its mean:

        sqrt(2 ln(255 opacity) variance),      variance = covars2d[0, 0] for x, covars2d[1, 1] for y

    Those with a radius of 0 or an opacity below 1/255 have none. Python loops go over groups of tiles only. A group
    makes at most `max_pairs` pairs of pixel and Gaussian, or is a single tile. With several groups, autograd keeps
    their inputs, and the backward pass computes each group again before it goes through it. The result does not depend
    on `max_pairs`. `width`, `height`, `tile_size` and `max_pairs` are positive.
    """
    raise NotImplementedError
