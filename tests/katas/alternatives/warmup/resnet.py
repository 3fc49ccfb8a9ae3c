"""With torchvision's block inside, and stages as nested Sequentials."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models import resnet


class BasicBlock(resnet.BasicBlock):
    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        same = stride == 1 and in_channels == out_channels
        projection = [resnet.conv1x1(in_channels, out_channels, stride), nn.BatchNorm2d(out_channels)]
        super().__init__(in_channels, out_channels, stride, None if same else nn.Sequential(*projection))
        self.bn2.weight.data.fill_(0)


class ResNet(nn.Module):
    def __init__(
        self,
        num_classes: int,
        *,
        in_channels: int = 3,
        widths: Sequence[int] = (16, 32, 64),
        blocks_per_stage: int = 2,
    ) -> None:
        super().__init__()
        first = [nn.Conv2d(in_channels, widths[0], 3, padding="same", bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU()]
        stages = []
        for before, width in zip([None, *widths], widths, strict=False):
            begin = BasicBlock(before or width, width, 1 if before is None else 2)
            stages.append(nn.Sequential(begin, *[BasicBlock(width, width) for _ in range(blocks_per_stage - 1)]))
        self.features = nn.Sequential(*first, *stages, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classify = nn.Linear(widths[-1], num_classes)
        for part in self.features.modules():
            if type(part) is nn.Conv2d:
                fan_out = part.weight.shape[0] * part.weight[0, 0].numel()
                torch.nn.init.normal_(part.weight, std=(2 / fan_out) ** 0.5)

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B num_classes"]:
        return self.classify(self.features(images))
