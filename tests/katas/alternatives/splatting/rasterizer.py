"""One Gaussian after the other, painted over what is left of every pixel; the exponent by a product of matrices."""

import torch


def alphas_at(means2d, conics, opacities, points):
    matrices = conics[..., [0, 1, 1, 2]].unflatten(-1, (2, 2))
    away = points.unsqueeze(-2) - means2d.unsqueeze(-3)
    squares = (away.unsqueeze(-2) @ matrices.unsqueeze(-4) @ away.unsqueeze(-1))[..., 0, 0]
    alphas = opacities.unsqueeze(-2) * (-squares / 2).exp()
    return (alphas * (alphas * 255 > 1)).to(means2d.dtype)


def rasterize(projected, colors, opacities, background, width, height):
    if width <= 0:
        raise ValueError("width")
    if height <= 0:
        raise ValueError("height")
    like = {"dtype": projected.means2d.dtype, "device": projected.means2d.device}
    y, x = torch.meshgrid(torch.arange(height, **like), torch.arange(width, **like), indexing="ij")
    points = torch.stack((x, y), dim=-1).reshape(-1, 2) + 0.5
    left = torch.ones(len(points), 1, **like)
    image = torch.zeros(len(points), len(background), **like)
    ranks = sorted(range(len(colors)), key=projected.depths.tolist().__getitem__)
    for n in ranks:
        if projected.radii[n] > 0:
            one = slice(n, n + 1)
            alpha = alphas_at(projected.means2d[one], projected.conics[one], opacities[one], points).clamp(max=0.99)
            image = image + left * alpha * colors[n]
            left = left * (1 - alpha)
    return (image + left * background).reshape(height, width, len(background)).to(projected.means2d.dtype)
