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
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.downsample = None
        if stride != 1 or in_channels != out_channels:
            shrink = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
            self.downsample = nn.Sequential(shrink, nn.BatchNorm2d(out_channels))
        nn.init.zeros_(self.bn2.weight)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        shortcut = x if self.downsample is None else self.downsample(x)
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(out)) + shortcut)


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
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, widths[0], 3, padding=1, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU()
        )
        blocks, channels = [], widths[0]
        for stage, width in enumerate(widths):
            for block in range(blocks_per_stage):
                blocks.append(BasicBlock(channels, width, stride=2 if stage > 0 and block == 0 else 1))
                channels = width
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(channels, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B num_classes"]:
        return self.head(self.blocks(self.stem(images)).mean(dim=(2, 3)))
