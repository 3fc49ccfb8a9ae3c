"""The feature pyramid by recursion, enlarging with an explicit table of the nearest source rows and
columns."""

import torch
from torch import nn


class FeaturePyramid(nn.Module):
    def __init__(self, in_channels, out_channels):
        super().__init__()
        if len(in_channels) == 0:
            raise ValueError("FeaturePyramid: in_channels must name at least one map")
        self.lateral_convs, self.output_convs = nn.ModuleList(), nn.ModuleList()
        for channels in in_channels:
            self.lateral_convs.append(nn.Conv2d(channels, out_channels, kernel_size=1))
            self.output_convs.append(nn.Conv2d(out_channels, out_channels, kernel_size=3, padding="same"))
        self.p6 = nn.Conv2d(in_channels[-1], out_channels, kernel_size=3, stride=2, padding=1)
        self.p7 = nn.Conv2d(out_channels, out_channels, kernel_size=3, stride=2, padding=1)
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.constant_(parameter, 0.0)

    def forward(self, features):
        if len(features) != len(self.lateral_convs):
            raise ValueError(f"this pyramid takes {len(self.lateral_convs)} maps, but {len(features)} were given")

        def merged_from(level):
            """The merged maps of this level and all coarser ones, fine to coarse."""
            own = self.lateral_convs[level](features[level])
            if level == len(features) - 1:
                return [own]
            coarser = merged_from(level + 1)
            return [own + enlarge(coarser[0], own.shape[2], own.shape[3]), *coarser]

        levels = [conv(merged) for conv, merged in zip(self.output_convs, merged_from(0), strict=True)]
        levels.append(self.p6(features[-1]))
        levels.append(self.p7(levels[-1].clamp(min=0)))
        return levels


def enlarge(coarse, height, width):
    rows = torch.tensor([i * coarse.shape[2] // height for i in range(height)], device=coarse.device)
    columns = torch.tensor([j * coarse.shape[3] // width for j in range(width)], device=coarse.device)
    return coarse[:, :, rows][:, :, :, columns]
