"""The U-Net: from a noisy image and its timestep to a prediction of the same shape.

Down to see the whole, up again to draw; what was seen on the way down is handed across at each size. Every
block is told the timestep and the label.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, Real
from torch import Tensor, nn

from .time_embedding import timestep_embedding


class ResBlock(nn.Module):
    """Two 3 x 3 convolutions with a shortcut around them, told the embedding by scale and shift.

        h = conv1(silu(norm1(x)))
        scale, shift = embedding_layer(silu(embedding)), each (B, out_channels, 1, 1), in this order
        h = conv2(silu(norm2(h) * (1 + scale) + shift))
        result = shortcut(x) + h

    `norm1` and `norm2` are `nn.GroupNorm(groups, ...)`, the convolutions keep height and width,
    `embedding_layer` is an `nn.Linear` to 2 * out_channels, `shortcut` is the identity if the channels stay,
    and a 1 x 1 convolution if not. The weight and bias of `conv2` start at 0, so that the block starts as its
    shortcut.

    Source: the residual block of Dhariwal & Nichol, Diffusion Models Beat GANs on Image Synthesis (arXiv
    2105.05233).
    """

    def __init__(self, in_channels: int, out_channels: int, embedding_channels: int, *, groups: int = 8) -> None:
        raise NotImplementedError

    def forward(self, x: Float[Tensor, "B C H W"], embedding: Float[Tensor, "B E"]) -> Float[Tensor, "B D H W"]:
        raise NotImplementedError


class SelfAttention2d(nn.Module):
    """Self-attention over all places of the image, with a shortcut around it.

    `norm` (an `nn.GroupNorm(groups, channels)`), then the 1 x 1 convolution `qkv` to 3 * channels: first the
    queries, then the keys, then the values, each split into `heads` heads (kept as the attribute `heads`) of
    channels / heads consecutive channels. For every head

        attention = softmax(queries · keys / sqrt(channels / heads)) over the places of the keys, times the
        values

    then the 1 x 1 convolution `proj`, and x is added. The weight and bias of `proj` start at 0, so that the
    block starts as the identity. Raises a ValueError that names `heads` if it does not divide `channels`.

    Source: Vaswani et al., Attention Is All You Need (arXiv 1706.03762).
    """

    def __init__(self, channels: int, *, heads: int = 4, groups: int = 8) -> None:
        raise NotImplementedError

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        raise NotImplementedError


class UNet(nn.Module):
    """A small U-Net for images of any height and width, conditioned on the timestep and, if asked, on a
    label.

    `channels` has one entry a level, from the full size down; each level after the first works at half the
    height and width of the one above, rounded up, so sizes need not be multiples of anything. A level has
    `blocks` ResBlocks on the way down and as many on the way up; levels named in `attention_levels` (0 is
    the full size) have a SelfAttention2d after each of them; in the middle, at the smallest size, are
    ResBlock, SelfAttention2d, ResBlock. On the way up the first block of a level also sees what the last
    one on the way down gave (after its attention, if it has one), as further channels. `heads` and `groups`
    hold for every block and for the GroupNorm before the last convolution.

    The embedding that every ResBlock is told is a network of two linear layers, with a nonlinearity between
    them, on `timestep_embedding` of t, made in float32 or wider. With `num_classes` there is a table of
    num_classes + 1 learnt embeddings, `label_embedding`, whose row for the label is added to it; the last
    row, `null_label` = num_classes, stands for "no label" and is used where no labels are given. Without
    `num_classes`, `null_label` is None, and labels are refused with a ValueError that names `labels`.

    The weight and bias of the last convolution, `conv_out`, start at 0: an untrained network predicts 0.

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
