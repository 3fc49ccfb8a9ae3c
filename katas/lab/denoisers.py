"""A network for points, where a U-Net has nothing to convolve: given, so that two-dimensional densities can be learnt."""

import math

import torch
from torch import Tensor, nn


class PointDenoiser(nn.Module):
    """Points (B, D) and timesteps (B,) → a prediction (B, D): a few wide layers, told the timestep at each."""

    def __init__(self, dim: int = 2, *, width: int = 128, layers: int = 3, num_timesteps: int = 1000) -> None:
        super().__init__()
        self.register_buffer("frequencies", 2.0 ** torch.arange(8) * math.pi / (2 * num_timesteps))
        self.first = nn.Linear(dim, width)
        self.times = nn.ModuleList(nn.Linear(16, 2 * width) for _ in range(layers))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(layers))
        self.hidden = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))
        self.last = nn.Linear(width, dim)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        angles = t[:, None] * self.frequencies
        waves = torch.cat((angles.cos(), angles.sin()), dim=1)
        h = self.first(x)
        for time, norm, layer in zip(self.times, self.norms, self.hidden):
            scale, shift = time(waves).chunk(2, dim=1)
            h = h + layer(nn.functional.silu(norm(h) * (1 + scale) + shift))
        return self.last(nn.functional.silu(h))
