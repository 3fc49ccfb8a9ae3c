"""Pairs of pixel and Gaussian in one flat list without padding: log transmittance by a cumulative sum in float64."""

import torch
from torch.utils.checkpoint import checkpoint

from solutions.splatting.rasterizer import alphas_at
from solutions.splatting.tiles import TileIntersections


def _check(**sizes):
    for name, size in sizes.items():
        if size <= 0:
            raise ValueError(name)


def tile_intersections(means2d, extents, depths, width, height, *, tile_size=8):
    _check(width=width, height=height, tile_size=tile_size)
    order = sorted(range(len(depths)), key=depths.tolist().__getitem__)
    index = torch.tensor(order, dtype=torch.long, device=depths.device)
    low, high = (means2d - extents)[index, None], (means2d + extents)[index, None]
    columns, rows = (-(-size // tile_size) for size in (width, height))
    tile = torch.arange(columns * rows, device=depths.device)
    corner = torch.stack((tile % columns, tile // columns), dim=1) * tile_size
    shared = torch.minimum(high, corner + tile_size) > torch.maximum(low, corner)  # N, tiles, 2
    touched, n = shared.all(dim=2).T.nonzero().unbind(1)
    offsets = torch.cat((tile[:1] * 0, torch.bincount(touched, minlength=columns * rows).cumsum(0)))
    return TileIntersections(index[n], offsets)


def rasterize_tiled(projected, colors, opacities, background, width, height, *, tile_size=8, max_pairs=2**22):
    _check(width=width, height=height, tile_size=tile_size, max_pairs=max_pairs)
    like, dtype = projected.means2d, projected.means2d.dtype
    with torch.no_grad():
        spread = torch.stack((projected.covars2d[:, 0, 0], projected.covars2d[:, 1, 1]), dim=1)
        reach = torch.log(255 * opacities).mul(2).nan_to_num(nan=0, neginf=0).clamp(min=0)
        extents = (spread * reach.unsqueeze(1)).sqrt() * (projected.radii > 0).unsqueeze(1)
        ids, offsets = tile_intersections(like, extents.to(dtype), projected.depths, width, height, tile_size=tile_size)
    columns = -(-width // tile_size)
    image = like.new_zeros(height * width, len(background))
    ends, first = offsets.tolist(), 0
    while first < len(ends) - 1:
        last = first + 1
        while last < len(ends) - 1 and (ends[last + 1] - ends[first]) * tile_size**2 <= max_pairs:
            last += 1
        some = torch.arange(first, last, device=like.device)
        given = projected, colors, opacities, background, ids, offsets, some, columns, tile_size
        pixels = checkpoint(_some_tiles, *given, use_reentrant=False)
        y, x = (
            corner + torch.arange(tile_size, device=like.device)
            for corner in ((some // columns * tile_size)[:, None], (some % columns * tile_size)[:, None])
        )
        inside = (y[:, :, None] < height) & (x[:, None, :] < width)
        at = (y[:, :, None] * width + x[:, None, :])[inside]
        image = image.index_put((at,), pixels.reshape(*inside.shape, -1)[inside])
        first = last
    return image.reshape(height, width, len(background))


def _some_tiles(projected, colors, opacities, background, ids, offsets, tiles, columns, size):
    dtype, start = projected.means2d.dtype, offsets[tiles[0]]
    ids, counts = ids[start : offsets[tiles[-1] + 1]], offsets[tiles + 1] - offsets[tiles]
    of = torch.repeat_interleave(torch.arange(len(tiles), device=tiles.device), counts)
    step = torch.arange(size * size, device=tiles.device)
    local = torch.stack((step % size, step // size), dim=1) + 0.5
    corner = torch.stack((tiles % columns, tiles // columns), dim=1) * size
    points = (corner[of][:, None] + local).to(dtype)
    alphas = alphas_at(projected.means2d[ids, None], projected.conics[ids, None], opacities[ids, None], points)[..., 0]
    alphas = alphas.clamp(max=0.99).double()
    logs = torch.log1p(-alphas)
    through = torch.cat((logs.new_zeros(1, size * size), logs.cumsum(0)))
    begin = offsets[tiles] - start
    before = (through[:-1] - through[begin][of]).exp()
    parts = (alphas * before)[..., None] * colors[ids, None].double()
    left = (through[begin + counts] - through[begin]).exp()[..., None]
    seen = torch.zeros(len(tiles), size * size, colors.shape[1], dtype=torch.float64, device=tiles.device)
    return (seen.index_add(0, of, parts) + left * background).to(dtype)
