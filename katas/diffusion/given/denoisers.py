"""A network for points, where a U-Net has nothing to convolve."""

from collections.abc import Callable

from torch import Tensor, nn

WAVES = 32


class PointDenoiser(nn.Module):
    """Points (B, D) and timesteps (B,) → a prediction (B, D): a few wide layers, told the timestep at each.

    `embed` is yours: `timestep_embedding`, called as `embed(t, 32)`. A picture shows how noisy it is; a point does not,
    so the network has to be told.
    """

    def __init__(
        self, embed: Callable[[Tensor, int], Tensor], dim: int = 2, *, width: int = 128, layers: int = 3
    ) -> None:
        super().__init__()
        self.embed = embed
        self.first = nn.Linear(dim, width)
        self.times = nn.ModuleList(nn.Linear(WAVES, 2 * width) for _ in range(layers))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(layers))
        self.hidden = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))
        self.last = nn.Linear(width, dim)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        waves = self.embed(t, WAVES)
        h = self.first(x)
        for time, norm, layer in zip(self.times, self.norms, self.hidden, strict=True):
            scale, shift = time(waves).chunk(2, dim=1)
            h = h + layer(nn.functional.silu(norm(h) * (1 + scale) + shift))
        return self.last(nn.functional.silu(h))
