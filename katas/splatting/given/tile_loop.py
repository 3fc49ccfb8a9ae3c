"""The peer of the throughput table: a rasterizer in pure PyTorch that loops over tiles in Python.

That is how hbb1/torch-splatting (GitHub) does it: tiles of 64 × 64 pixels, in each the Gaussians whose square of three
standard deviations meets it, sorted by depth. Written down again from the published formulas.
"""

import torch
from torch import Tensor

SIDE = 64


def tile_loop(projected, colors: Tensor, opacities: Tensor, background: Tensor, width: int, height: int) -> Tensor:
    low, high = (projected.means2d + sign * projected.radii[:, None] for sign in (-1, 1))
    bands = []
    for top in range(0, height, SIDE):
        tiles = []
        for left in range(0, width, SIDE):
            corner = projected.means2d.new_tensor([left, top])
            meets = ((high > corner) & (low < corner + SIDE)).all(dim=1) & (projected.radii > 0)
            listed = meets.nonzero()[:, 0]
            listed = listed[projected.depths[listed].argsort()]
            tiles.append(_tile(projected, colors, opacities, background, listed, left, top, width, height))
        bands.append(torch.cat(tiles, dim=1))
    return torch.cat(bands)


def _tile(projected, colors, opacities, background, listed, left, top, width, height) -> Tensor:
    x = torch.arange(left, min(left + SIDE, width), device=colors.device) + 0.5
    y = torch.arange(top, min(top + SIDE, height), device=colors.device) + 0.5
    dx = x[None, :, None] - projected.means2d[listed, 0]
    dy = y[:, None, None] - projected.means2d[listed, 1]
    a, b, c = projected.conics[listed].unbind(dim=1)
    weights = torch.exp(-0.5 * (dx**2 * a + dy**2 * c + 2 * dx * dy * b))
    alphas = (weights * opacities[listed]).clamp(max=0.99)
    passed = torch.cat((torch.ones_like(alphas[..., :1]), (1 - alphas)[..., :-1]), dim=-1).cumprod(dim=-1)
    shares = passed * alphas
    return (shares[..., None] * colors[listed]).sum(dim=2) + (1 - shares.sum(dim=2))[..., None] * background
