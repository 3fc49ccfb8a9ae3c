"""Front to back with a loop over the samples, as a rasterizer does it."""

import torch

from solutions.splatting.compositing import Composite


def composite(alphas, colors, background, *, max_alpha=0.99):
    if not (max_alpha > 0 and max_alpha <= 1):
        raise ValueError("max_alpha")
    left = alphas.new_ones(alphas.shape[:-1])
    color = alphas.new_zeros((*alphas.shape[:-1], background.shape[-1]))
    weights = []
    for n, alpha in enumerate(alphas.unbind(dim=-1)):
        alpha = torch.where(alpha > max_alpha, max_alpha, alpha)
        weights.append(left * alpha)
        color = color + weights[-1].unsqueeze(-1) * colors.select(-2, n)
        left = left * (1 - alpha)
    color = (color + left.unsqueeze(-1) * background).to(alphas.dtype)
    return Composite(color, torch.stack(weights, dim=-1) if weights else torch.zeros_like(alphas), left)
