"""Augmentation for detection: whatever is done to the image is done to its boxes."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor


class ImageAndBoxes(NamedTuple):
    """An image and the boxes in it."""

    image: Float[Tensor, "C H W"]
    boxes: Float[Tensor, "N 4"]


class Crop(NamedTuple):
    """A crop of an image, the boxes that are still in it, and their labels."""

    image: Float[Tensor, "C H W"]
    boxes: Float[Tensor, "N 4"]
    labels: Int64[Tensor, " N"]


def hflip_with_boxes(image: Float[Tensor, "C H W"], boxes: Float[Tensor, "N 4"]) -> ImageAndBoxes:
    """The image mirrored left to right, and its boxes (xyxy) with it, in the same order.

    Coordinates are continuous: the image spans x from 0 to its width W, pixel column j the interval from j to j + 1. So
    the mirror takes x to W - x. The boxes returned have x1 <= x2 again.
    """
    raise NotImplementedError


def random_crop_with_boxes(
    image: Float[Tensor, "C H W"],
    boxes: Float[Tensor, "N 4"],
    labels: Int64[Tensor, " N"],
    crop_size: tuple[int, int],
    generator: torch.Generator,
    *,
    min_visibility: float,
) -> Crop:
    """A random window of `crop_size` = (height, width) of the image, with the boxes that remain in it.

    Every position of the window (whole pixels, inside the image) is equally likely. The given boxes (xyxy) lie within
    the image. The boxes returned are relative to the window and cut at its border.

    A box remains if its area in the window is above 0 and at least `min_visibility` times its area before the crop. So
    a box with an area that lies wholly in the window remains. The order is kept. Areas are in float32 at least, since
    float16 ends at 65504.

    1 <= `crop_size` <= the size of the image, in both directions, and 0 <= `min_visibility` <= 1.
    """
    raise NotImplementedError


def resize_with_boxes(
    image: Float[Tensor, "C H W"], boxes: Float[Tensor, "N 4"], size: tuple[int, int]
) -> ImageAndBoxes:
    """The image resized to `size` = (height, width), its boxes (xyxy) stretched with it, in the same order.

    Height and width may change by different factors: x is multiplied by new width / old width, y by new height / old
    height. Pixels are interpolated bilinearly, with pixel centres at + 0.5 (so corners are not aligned) and with
    antialiasing where the image shrinks. `size` is at least (1, 1).
    """
    raise NotImplementedError
