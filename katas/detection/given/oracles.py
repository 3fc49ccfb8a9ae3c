"""What several specs compare with, and modules whose numbers can be seen."""

from torch import nn

from katas.lab.strategies import normal


def iou(a, b) -> float:
    """Of two boxes in Python numbers."""
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height
    return width * height / union if union > 0 else 0.0


def randomised(module: nn.Module, seed: int = 0) -> nn.Module:
    """The module in float64 with every parameter, biases included, drawn anew."""
    for place, parameter in enumerate(module.double().parameters()):
        parameter.data = normal(*parameter.shape, seed=seed + place) / 3
    return module
