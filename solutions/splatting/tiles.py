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
    _refuse_sizes(width=width, height=height, tile_size=tile_size)
    tiles_in_row, tile_rows = -(-width // tile_size), -(-height // tile_size)
    tiles = means2d.new_tensor([tiles_in_row, tile_rows])
    nearest_first = depths.argsort(stable=True)
    means2d, extents = means2d[nearest_first], extents[nearest_first]
    first = ((means2d - extents) / tile_size).floor().clamp(min=0).minimum(tiles).long()
    last = ((means2d + extents) / tile_size).ceil().clamp(min=0).minimum(tiles).long()
    columns, rows = torch.where((extents > 0).all(dim=1, keepdim=True), last - first, 0).clamp(min=0).unbind(dim=1)
    counts = columns * rows
    of = torch.arange(len(counts), device=counts.device).repeat_interleave(counts)  # one entry per Gaussian and tile
    within = torch.arange(len(of), device=of.device) - (counts.cumsum(0) - counts)[of]  # 0, 1, … in each box
    row, column = first[of, 1] + within // columns[of], first[of, 0] + within % columns[of]
    tile, by_tile = (row * tiles_in_row + column).sort(stable=True)  # stable: the depths stay sorted
    offsets = torch.searchsorted(tile, torch.arange(tiles_in_row * tile_rows + 1, device=tile.device))
    return TileIntersections(nearest_first[of][by_tile], offsets)


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
    _refuse_sizes(width=width, height=height, tile_size=tile_size, max_pairs=max_pairs)
    like, extents = projected.means2d, _extents(projected, opacities)
    lists = tile_intersections(like.detach(), extents, projected.depths.detach(), width, height, tile_size=tile_size)
    gaussians = torch.cat((like, projected.conics, opacities[:, None].to(like.dtype), colors.to(like.dtype)), dim=1)
    tiles_in_row, offsets, parts = -(-width // tile_size), lists.offsets.tolist(), []
    tiles = torch.arange(len(offsets) - 1, device=like.device)
    corners = tile_size * torch.stack((tiles % tiles_in_row, tiles // tiles_in_row), dim=1)
    groups = _groups(offsets, max_pairs // tile_size**2)
    for first, last in groups:
        ids, some = lists.gaussian_ids[offsets[first] : offsets[last]], slice(first, last)
        given = gaussians, ids, lists.offsets.diff()[some], corners[some], tile_size, background.to(like.dtype)
        again = len(groups) > 1  # in the backward pass, instead of keeping what all groups computed
        parts.append(checkpoint(_render, *given, use_reentrant=False) if again else _render(*given))
    image = torch.cat(parts).reshape(-1, tiles_in_row, tile_size, tile_size, len(background)).transpose(1, 2)
    return image.flatten(2, 3).flatten(0, 1)[:height, :width]


def _extents(projected: ProjectedGaussians, opacities: Float[Tensor, "N"]) -> Float[Tensor, "N 2"]:
    variances = projected.covars2d.detach().diagonal(dim1=1, dim2=2)
    squares = 2 * (255 * opacities.detach()).log().clamp(min=0)[:, None] * variances
    return torch.where(projected.radii[:, None] > 0, squares.sqrt(), 0).to(variances.dtype)


def _groups(offsets: list[int], max_listed: int) -> list[tuple[int, int]]:
    """Tiles first to last - 1 go together: as many as have at most `max_listed` entries in all, and at least one."""
    groups, first = [], 0
    for tile in range(1, len(offsets)):
        if tile == len(offsets) - 1 or offsets[tile + 1] - offsets[first] > max_listed:
            groups.append((first, tile))
            first = tile
    return groups


def _render(gaussians, ids, counts, corners, tile_size, background) -> Float[Tensor, "tiles pixels C"]:
    """The pixels of some tiles, row by row within each. `ids` are the lists of these tiles, one after the other."""
    tile = torch.arange(len(counts), device=ids.device).repeat_interleave(counts, output_size=len(ids))
    means2d, conics, opacities, colors = gaussians[ids, None].split((2, 3, 1, len(background)), dim=-1)
    centres = torch.arange(tile_size, dtype=gaussians.dtype, device=ids.device) + 0.5
    points = corners[tile, None] + torch.cartesian_prod(centres, centres).flip(1)
    alphas = alphas_at(means2d, conics, opacities[..., 0], points)[..., 0].clamp(max=0.99)
    # ln T: one running sum over all lists, minus what it was where the list began. float64, because the sum gets long.
    logs = F.pad(torch.log1p(-alphas).double().cumsum(dim=0), (0, 0, 1, 0))
    start, end = counts.cumsum(0) - counts, counts.cumsum(0)
    weights = alphas * (logs[:-1] - logs[start][tile]).exp().to(alphas.dtype)
    seen = weights.new_zeros(len(counts), tile_size**2, len(background)).index_add(0, tile, weights[..., None] * colors)
    return seen + (logs[end] - logs[start]).exp().to(alphas.dtype)[..., None] * background


def _refuse_sizes(**sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} must be positive, got {size}")
