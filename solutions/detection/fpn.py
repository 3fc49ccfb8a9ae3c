"""The feature pyramid: coarse maps carry meaning, fine maps carry position. A top-down path gives every level both.

The pyramid brings all maps of the backbone to one number of channels and adds each coarse map, enlarged, to the next
finer one. Two still coarser levels are for large objects.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class FeaturePyramid(nn.Module):
    """The pyramid P3…P7 of RetinaNet, on top of the backbone maps C3…C5 (or any number of maps ≥ 1).

    `in_channels[l]` is the number of channels of map `l`, from fine to coarse. Submodules, so that weights can be
    copied:

        lateral_convs    nn.ModuleList: per map a 1×1 convolution from in_channels[l] to out_channels
        output_convs     nn.ModuleList: per map a 3×3 convolution (padding 1) from out_channels to out_channels
        p6               a 3×3 convolution (stride 2, padding 1) from in_channels[-1] to out_channels
        p7               a 3×3 convolution (stride 2, padding 1) from out_channels to out_channels

    All convolutions have a bias. Every bias starts at zero, and every weight at random, in any way. There is no
    normalisation. `in_channels` is not empty.

    Source: Lin et al., Feature Pyramid Networks for Object Detection (arXiv 1612.03144); P6 and P7 as in Lin et al.,
    Focal Loss for Dense Object Detection (arXiv 1708.02002).
    """

    def __init__(self, in_channels: list[int], out_channels: int) -> None:
        super().__init__()
        if not in_channels:
            raise ValueError("in_channels is empty: the pyramid needs at least one backbone map")
        self.lateral_convs = nn.ModuleList(nn.Conv2d(c, out_channels, 1) for c in in_channels)
        self.output_convs = nn.ModuleList(nn.Conv2d(out_channels, out_channels, 3, padding=1) for _ in in_channels)
        self.p6 = nn.Conv2d(in_channels[-1], out_channels, 3, stride=2, padding=1)
        self.p7 = nn.Conv2d(out_channels, out_channels, 3, stride=2, padding=1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, a=1)  # a=1: no ReLU follows that halves the variance
                nn.init.zeros_(module.bias)

    def forward(self, features: list[Float[Tensor, "B _ _ _"]]) -> list[Float[Tensor, "B C _ _"]]:
        """`len(features) + 2` maps of `out_channels` channels. Features and result go from fine to coarse.

            merged[last] = lateral_convs[last](features[last])
            merged[l] = lateral_convs[l](features[l]) + merged[l + 1] enlarged to the size of features[l]
            output[l] = output_convs[l](merged[l])
            P6 = p6(features[-1])        P7 = p7(relu(P6))

        Maps are enlarged by nearest neighbour (`F.interpolate(..., mode="nearest")`), and sizes need not be multiples
        of each other. P6 and P7 each halve the size, rounded up. Another number of features than `in_channels` is
        refused with both numbers.
        """
        if len(features) != len(self.lateral_convs):
            raise ValueError(f"expected {len(self.lateral_convs)} feature maps, got {len(features)}")
        merged = [conv(feature) for conv, feature in zip(self.lateral_convs, features, strict=True)]
        for level in range(len(merged) - 2, -1, -1):  # top-down: each level needs the one above it
            enlarged = F.interpolate(merged[level + 1], size=merged[level].shape[-2:], mode="nearest")
            merged[level] = merged[level] + enlarged
        p6 = self.p6(features[-1])
        return [conv(m) for conv, m in zip(self.output_convs, merged, strict=True)] + [p6, self.p7(F.relu(p6))]
