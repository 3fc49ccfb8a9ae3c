"""A small residual network: every block adds a correction to what it was given, and starts with none."""

from collections.abc import Sequence

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions and a shortcut around them:

        relu(bn2(conv2(relu(bn1(conv1(x))))) + shortcut(x))

    `conv1` has the `stride` and makes `out_channels` of `in_channels`. Convolutions have no bias: the norm that follows
    would take it away. Where the shape changes, the shortcut is `downsample`, a 1 x 1 convolution with the same stride
    and a norm (a `Sequential` of the two). Elsewhere it is x itself, and `downsample` is None. Names are those of
    torchvision's BasicBlock: state dicts load both ways.

    The scale of `bn2` starts at 0. So a new block is relu(shortcut(x)), however deep the network, and learns from there
    what to add.

    Source: He et al., Deep Residual Learning (arXiv 1512.03385); Goyal et al. (arXiv 1706.02677) for the scale of 0.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        raise NotImplementedError

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        raise NotImplementedError


class ResNet(nn.Module):
    """A classifier for small images, of 8 to 32 pixels or more, of any height and width: logits (B, num_classes).

        stem      3 x 3 convolution to widths[0] channels, norm, ReLU; no pooling, the images are small enough
        stages    one for each width, of `blocks_per_stage` BasicBlocks; all but the first begin with stride 2
        head      the mean over all places, then a linear layer

    Every convolution starts by Kaiming normal with fan_out. A new network knows nothing: its loss is about log
    num_classes.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        in_channels: int = 3,
        widths: Sequence[int] = (16, 32, 64),
        blocks_per_stage: int = 2,
    ) -> None:
        raise NotImplementedError

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B num_classes"]:
        raise NotImplementedError
