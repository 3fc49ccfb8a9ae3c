"""Two small backbones for scenes with small objects; both give two maps, at strides 4 and 8."""

from torch import Tensor, nn


class SmallBackbone(nn.Module):
    """For digit scenes: residual blocks with batch norm; 32 channels at stride 4 and 64 at stride 8."""

    out_channels = [32, 64]
    strides = [4, 8]

    def __init__(self) -> None:
        super().__init__()
        # The first convolution keeps every pixel: where exactly a small box ends is decided here.
        self.stem = nn.Sequential(*_conv_norm(3, 16, 1), nn.ReLU(), *_conv_norm(16, 32, 2), nn.ReLU())
        self.stage4 = nn.Sequential(_Block(32, 32, 2), _Block(32, 32, 1))
        self.stage8 = nn.Sequential(_Block(32, 64, 2), _Block(64, 64, 1))

    def forward(self, images: Tensor) -> list[Tensor]:
        fine = self.stage4(self.stem(images))
        return [fine, self.stage8(fine)]


class TinyBackbone(nn.Module):
    """16 channels at stride 4 and 24 at stride 8, with batch norm: for what must be learnt in seconds."""

    out_channels = [16, 24]
    strides = [4, 8]

    def __init__(self) -> None:
        super().__init__()
        self.fine = nn.Sequential(
            *_conv_norm(3, 12, 2),
            nn.ReLU(),
            *_conv_norm(12, 16, 2),
            nn.ReLU(),
            *_conv_norm(16, 16, 1),
            nn.ReLU(),
        )
        self.coarse = nn.Sequential(*_conv_norm(16, 24, 2), nn.ReLU())

    def forward(self, images: Tensor) -> list[Tensor]:
        fine = self.fine(images)
        return [fine, self.coarse(fine)]


class _Block(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            *_conv_norm(in_channels, out_channels, stride),
            nn.ReLU(),
            *_conv_norm(out_channels, out_channels, 1),
        )
        same = in_channels == out_channels and stride == 1
        self.shortcut = nn.Identity() if same else nn.Sequential(*_conv_norm(in_channels, out_channels, stride, size=1))

    def forward(self, x: Tensor) -> Tensor:
        return (self.residual(x) + self.shortcut(x)).relu()


def _conv_norm(in_channels: int, out_channels: int, stride: int, size: int = 3) -> list[nn.Module]:
    conv = nn.Conv2d(in_channels, out_channels, size, stride=stride, padding=size // 2, bias=False)
    return [conv, nn.BatchNorm2d(out_channels)]
