"""Cameras by hand for the specs, in float64."""

import torch
from torch import Tensor


def rows(*values) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def matrix(fx: float, fy: float, cx: float, cy: float) -> Tensor:
    """The intrinsics K."""
    return rows((fx, 0, cx), (0, fy, cy), (0, 0, 1))


def posed(rotation, translation: Tensor) -> Tensor:
    """The viewmat [[R, t], [0, 1]]."""
    top = torch.cat((torch.as_tensor(rotation, dtype=torch.float64), translation[:, None]), dim=1)
    return torch.cat((top, rows((0, 0, 0, 1))))
