"""The U-Net: from a noisy image and its timestep to a prediction of the same shape.

The downward half shrinks the image, the upward half restores the size. Each level passes its result to the same level
of the upward half. Every block gets the timestep and the label.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, Real
from torch import Tensor, nn

from .time_embedding import timestep_embedding


class ResBlock(nn.Module):
    """Two 3 x 3 convolutions with a shortcut around them, conditioned on the embedding by a scale and a shift.

        h = conv1(silu(norm1(x)))
        scale, shift = embedding_layer(silu(embedding)), each (B, out_channels, 1, 1), in this order
        h = conv2(silu(norm2(h) * (1 + scale) + shift))
        result = shortcut(x) + h

    `norm1` and `norm2` are `nn.GroupNorm(groups, ...)`. The convolutions keep height and width. `embedding_layer` is an
    `nn.Linear` to 2 * out_channels. `shortcut` is the identity if the number of channels does not change, else a 1 x 1
    convolution. The weight and bias of `conv2` start at 0, so the block starts as its shortcut.

    Source: the residual block of Dhariwal & Nichol, Diffusion Models Beat GANs on Image Synthesis (arXiv 2105.05233).
    """

    def __init__(self, in_channels: int, out_channels: int, embedding_channels: int, *, groups: int = 8) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.embedding_layer = nn.Linear(embedding_channels, 2 * out_channels)
        self.norm2 = nn.GroupNorm(groups, out_channels)
        self.conv2 = _zeroed(nn.Conv2d(out_channels, out_channels, 3, padding=1))
        same = in_channels == out_channels
        self.shortcut = nn.Identity() if same else nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Float[Tensor, "B C H W"], embedding: Float[Tensor, "B E"]) -> Float[Tensor, "B D H W"]:
        h = self.conv1(F.silu(self.norm1(x)))
        scale, shift = self.embedding_layer(F.silu(embedding))[:, :, None, None].chunk(2, dim=1)
        h = self.conv2(F.silu(self.norm2(h) * (1 + scale) + shift))
        return self.shortcut(x) + h


class SelfAttention2d(nn.Module):
    """Self-attention over all pixels of the image, with a shortcut around it.

        q, k, v = qkv(norm(x))                              in this order, `channels` channels each
        mixed = softmax(q · k / sqrt(channels / heads)) v   per head, softmax over the pixels of k
        result = x + proj(mixed)

    `norm` is an `nn.GroupNorm(groups, channels)`, `qkv` and `proj` are 1 x 1 convolutions. A head has channels / heads
    consecutive channels of q, k and v. The attribute `heads` holds their number, which divides `channels`. The weight
    and bias of `proj` start at 0, so the block starts as the identity.

    Source: Vaswani et al., Attention Is All You Need (arXiv 1706.03762).
    """

    def __init__(self, channels: int, *, heads: int = 4, groups: int = 8) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"heads must divide channels = {channels}, got {heads}")
        self.heads = heads
        self.norm = nn.GroupNorm(groups, channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.proj = _zeroed(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        batch, channels, height, width = x.shape
        qkv = self.qkv(self.norm(x)).reshape(batch, 3, self.heads, channels // self.heads, height * width)
        q, k, v = qkv.unbind(dim=1)
        attention = (q.mT @ k / math.sqrt(channels // self.heads)).softmax(dim=-1)  # (B, heads, query, key)
        return x + self.proj((v @ attention.mT).reshape(x.shape))


class UNet(nn.Module):
    """A small U-Net for images of any height and width, conditioned on the timestep and, if asked, on a label.

        in        a 3 x 3 convolution from in_channels to channels[0]
        down      at level l = 0, 1, …: `blocks` ResBlocks with channels[l] channels. Level 0 has the full size, each
                  further level has half the height and width, rounded up.
        middle    ResBlock, SelfAttention2d, ResBlock, at the smallest size
        up        at level l = …, 1, 0: enlarged to the size of level l, `blocks` ResBlocks with channels[l] channels.
                  The first also gets, as further channels in any order, the last result of level l on the way down.
        out       GroupNorm, SiLU and the convolution `conv_out`

    Down and up, the levels in `attention_levels` have a SelfAttention2d after each ResBlock. All blocks and norms have
    the same `heads` and `groups`.

    Every ResBlock gets `timestep_embedding(t)` (in float32 or wider) after two linear layers with a nonlinearity
    between them. With `num_classes`, a row of the table `label_embedding` (num_classes + 1 rows) is added. Its last
    row, `null_label` = num_classes, is used without labels. Without `num_classes`, `null_label` is None and `labels`
    are refused. The weight and bias of `conv_out` start at 0, so an untrained network predicts 0.

    Source: Ho et al., Denoising Diffusion Probabilistic Models (arXiv 2006.11239), made small.
    """

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
        self.time_channels, width = channels[0], 4 * channels[0]
        first, second = nn.Linear(self.time_channels, width), nn.Linear(width, width)
        self.time_mlp = nn.Sequential(first, nn.SiLU(), second)
        self.null_label = num_classes
        if num_classes is not None:
            self.label_embedding = nn.Embedding(num_classes + 1, width)

        def level_of(index: int, first_in: int) -> nn.ModuleList:
            out, layers = channels[index], nn.ModuleList()
            for block in range(blocks):
                layers.append(ResBlock(first_in if block == 0 else out, out, width, groups=groups))
                if index in attention_levels:
                    layers.append(SelfAttention2d(out, heads=heads, groups=groups))
            return layers

        last, below = len(channels) - 1, [*channels[1:], channels[-1]]
        self.conv_in = nn.Conv2d(in_channels, channels[0], 3, padding=1)
        self.down = nn.ModuleList(level_of(i, channels[max(i - 1, 0)]) for i in range(last + 1))
        self.shrink = nn.ModuleList(nn.Conv2d(c, c, 3, stride=2, padding=1) for c in channels[:-1])
        self.middle = nn.ModuleList(
            (
                ResBlock(channels[-1], channels[-1], width, groups=groups),
                SelfAttention2d(channels[-1], heads=heads, groups=groups),
                ResBlock(channels[-1], channels[-1], width, groups=groups),
            )
        )
        self.up = nn.ModuleList(level_of(i, below[i] + channels[i]) for i in range(last + 1))
        self.grow = nn.ModuleList(nn.Conv2d(c, c, 3, padding=1) for c in channels[1:])
        self.norm_out = nn.GroupNorm(groups, channels[0])
        self.conv_out = _zeroed(nn.Conv2d(channels[0], in_channels, 3, padding=1))

    def forward(
        self, x: Float[Tensor, "B C H W"], t: Real[Tensor, " B"], labels: Int64[Tensor, " B"] | None = None
    ) -> Float[Tensor, "B C H W"]:
        """The prediction for images `x` at timesteps `t`, of the shape and dtype of `x`."""
        embedding = self._embedding(t, labels, x.dtype)
        h, seen = self.conv_in(x), []
        for i, layers in enumerate(self.down):
            h = _through(layers, self.shrink[i - 1](h) if i else h, embedding)
            seen.append(h)
        h = _through(self.middle, h, embedding)
        for i in reversed(range(len(self.up))):
            h = _through(self.up[i], torch.cat((h, seen[i]), dim=1), embedding)
            if i:
                h = self.grow[i - 1](F.interpolate(h, size=seen[i - 1].shape[-2:], mode="nearest"))
        return self.conv_out(F.silu(self.norm_out(h)))

    def _embedding(self, t: Tensor, labels: Tensor | None, dtype: torch.dtype) -> Tensor:
        t = t.to(torch.promote_types(dtype, torch.float32))  # bfloat16 has no odd numbers above 256
        embedding = self.time_mlp(timestep_embedding(t, self.time_channels).to(dtype))
        if self.null_label is None:
            if labels is not None:
                raise ValueError("labels were given, but the network was made without num_classes")
            return embedding
        if labels is None:
            labels = torch.full(t.shape, self.null_label, device=t.device)
        return embedding + self.label_embedding(labels)


def _through(layers: nn.ModuleList, h: Tensor, embedding: Tensor) -> Tensor:
    for layer in layers:
        h = layer(h, embedding) if isinstance(layer, ResBlock) else layer(h)
    return h


def _zeroed(layer: nn.Module) -> nn.Module:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
