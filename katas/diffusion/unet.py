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
        raise NotImplementedError

    def forward(self, x: Float[Tensor, "B C H W"], embedding: Float[Tensor, "B E"]) -> Float[Tensor, "B D H W"]:
        raise NotImplementedError


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
        raise NotImplementedError

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        raise NotImplementedError


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
        raise NotImplementedError

    def forward(
        self, x: Float[Tensor, "B C H W"], t: Real[Tensor, " B"], labels: Int64[Tensor, " B"] | None = None
    ) -> Float[Tensor, "B C H W"]:
        """The prediction for images `x` at timesteps `t`, of the shape and dtype of `x`."""
        raise NotImplementedError
