"""A U-Net built recursively, each level around the one below it; attention by PyTorch's own function."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, Real
from torch import Tensor, nn

from .time_embedding import timestep_embedding


class ResBlock(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, embedding_channels: int, *, groups: int = 8) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(groups, in_channels), nn.GroupNorm(groups, out_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, kernel_size=3, padding="same")
        self.conv2 = nn.Conv2d(out_channels, out_channels, kernel_size=3, padding="same")
        self.embedding_layer = nn.Linear(embedding_channels, 2 * out_channels)
        if in_channels != out_channels:
            self.shortcut = nn.Conv2d(in_channels, out_channels, kernel_size=1)
        with torch.no_grad():
            self.conv2.weight.fill_(0)
            self.conv2.bias.fill_(0)

    def forward(self, x: Float[Tensor, "B C H W"], embedding: Float[Tensor, "B E"]) -> Float[Tensor, "B D H W"]:
        told = self.embedding_layer(F.silu(embedding)).unflatten(1, (2, -1))
        h = self.norm2(self.conv1(F.silu(self.norm1(x))))
        h = torch.addcmul(h + told[:, 1, :, None, None], h, told[:, 0, :, None, None])
        return self.conv2(F.silu(h)) + (self.shortcut(x) if hasattr(self, "shortcut") else x)


class SelfAttention2d(nn.Module):
    def __init__(self, channels: int, *, heads: int = 4, groups: int = 8) -> None:
        super().__init__()
        if channels / heads != channels // heads:
            raise ValueError("heads!")
        self.norm, self.heads = nn.GroupNorm(groups, channels), heads
        self.qkv, self.proj = nn.Conv2d(channels, 3 * channels, 1), nn.Conv2d(channels, channels, 1)
        for parameter in self.proj.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        parts = self.qkv(self.norm(x)).chunk(3, dim=1)
        q, k, v = (part.unflatten(1, (self.heads, -1)).flatten(3).transpose(2, 3) for part in parts)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(2, 3)
        return self.proj(mixed.reshape(x.shape)) + x


class Level(nn.Module):
    def __init__(self, entering, channels, embedding, *, index, blocks, attention_levels, options, heads):
        super().__init__()
        own, rest = channels[0], channels[1:]
        attend = index in attention_levels

        def stage(first):
            made = []
            for i in range(blocks):
                made.append(ResBlock(first if i == 0 else own, own, embedding, **options))
                if attend:
                    made.append(SelfAttention2d(own, heads=heads, **options))
            return nn.ModuleList(made)

        self.into, self.out = stage(entering), None
        if rest:
            self.smaller = nn.Conv2d(own, own, 3, stride=2, padding=1)
            arguments = dict(blocks=blocks, attention_levels=attention_levels, options=options, heads=heads)
            self.below = Level(own, rest, embedding, index=index + 1, **arguments)
            self.larger = nn.Conv2d(rest[0], rest[0], 3, padding=1)
        else:
            first, last = (ResBlock(own, own, embedding, **options) for _ in range(2))
            self.below = nn.ModuleList([first, SelfAttention2d(own, heads=heads, **options), last])
        self.out = stage(own + (rest[0] if rest else own))

    def forward(self, x, embedding):
        seen = run(self.into, x, embedding)
        if isinstance(self.below, Level):
            up = F.interpolate(self.below(self.smaller(seen), embedding), seen.shape[2:])
            up = self.larger(up)
        else:
            up = run(self.below, seen, embedding)
        return run(self.out, torch.cat((seen, up), dim=1), embedding)


def run(layers, x, embedding):
    for layer in layers:
        x = layer(x) if isinstance(layer, SelfAttention2d) else layer(x, embedding)
    return x


class UNet(nn.Module):
    def __init__(
        self,
        in_channels: int,
        *,
        channels: Sequence[int] = (32, 64),
        blocks: int = 1,
        attention_levels: Sequence[int] = (),
        num_classes: int | None = None,
        heads: int = 4,
        groups: int = 8,
    ) -> None:
        super().__init__()
        self.null_label, self.dim = num_classes, 2 * channels[0]
        self.first, self.second = nn.Linear(self.dim, 64), nn.Linear(64, 64)
        if num_classes is not None:
            self.label_embedding = nn.Embedding(num_classes + 1, 64)
        self.conv_in = nn.Conv2d(in_channels, channels[0], 3, padding=1)
        arguments = dict(attention_levels=attention_levels, options=dict(groups=groups), heads=heads)
        self.top = Level(channels[0], list(channels), 64, index=0, blocks=blocks, **arguments)
        self.norm_out = nn.GroupNorm(groups, channels[0])
        self.conv_out = nn.Conv2d(channels[0], in_channels, 3, padding=1)
        nn.init.zeros_(self.conv_out.weight), nn.init.zeros_(self.conv_out.bias)

    def forward(
        self, x: Float[Tensor, "B C H W"], t: Real[Tensor, " B"], labels: Int64[Tensor, " B"] | None = None
    ) -> Float[Tensor, "B C H W"]:
        if labels is not None and self.null_label is None:
            raise ValueError("labels!")
        waves = timestep_embedding(t.double(), self.dim).to(x)
        embedding = self.second(F.relu(self.first(waves)))
        if self.null_label is not None:
            embedding = embedding + self.label_embedding(
                torch.full_like(t, self.null_label).long() if labels is None else labels
            )
        return self.conv_out(F.silu(self.norm_out(self.top(self.conv_in(x), embedding))))
