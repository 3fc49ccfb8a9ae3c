"""A posed picture, and cameras by hand for the specs, in float64."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class View(NamedTuple):
    """A picture in [0, 1] with the camera that took it, all float32. The conventions are those of the README."""

    image: Float[Tensor, "H W 3"]
    viewmat: Float[Tensor, "4 4"]  # world to camera
    K: Float[Tensor, "3 3"]  # in pixels of this image


def rows(*values) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def matrix(fx: float, fy: float, cx: float, cy: float) -> Tensor:
    """The intrinsics K."""
    return rows((fx, 0, cx), (0, fy, cy), (0, 0, 1))


def posed(rotation, translation: Tensor) -> Tensor:
    """The viewmat [[R, t], [0, 1]]."""
    top = torch.cat((torch.as_tensor(rotation, dtype=torch.float64), translation[:, None]), dim=1)
    return torch.cat((top, rows((0, 0, 0, 1))))
