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
    x1, y1, x2, y2 = boxes.unbind(dim=1)
    width = image.shape[2]
    return ImageAndBoxes(image.flip(2), torch.stack((width - x2, y1, width - x1, y2), dim=1))


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
    (height, width), (crop_height, crop_width) = image.shape[1:], crop_size
    if not (1 <= crop_height <= height and 1 <= crop_width <= width):
        raise ValueError(f"crop_size {tuple(crop_size)} does not fit into an image of {height} x {width}")
    if not 0 <= min_visibility <= 1:
        raise ValueError(f"min_visibility must lie in [0, 1], got {min_visibility}")
    top = int(torch.randint(height - crop_height + 1, (), generator=generator, device=generator.device))
    left = int(torch.randint(width - crop_width + 1, (), generator=generator, device=generator.device))
    wide = boxes.to(torch.promote_types(boxes.dtype, torch.float32))
    shifted = wide - wide.new_tensor([left, top, left, top])
    cut = shifted.clamp(min=0).minimum(wide.new_tensor([crop_width, crop_height, crop_width, crop_height]))
    area, visible_area = _area(wide), _area(cut)
    keep = (visible_area > 0) & (visible_area >= min_visibility * area)
    window = image[:, top : top + crop_height, left : left + crop_width]
    return Crop(window, cut[keep].to(boxes.dtype), labels[keep])


def _area(boxes: Float[Tensor, "N 4"]) -> Float[Tensor, " N"]:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def resize_with_boxes(
    image: Float[Tensor, "C H W"], boxes: Float[Tensor, "N 4"], size: tuple[int, int]
) -> ImageAndBoxes:
    """The image resized to `size` = (height, width), its boxes (xyxy) stretched with it, in the same order.

    Height and width may change by different factors: x is multiplied by new width / old width, y by new height / old
    height. Pixels are interpolated bilinearly, with pixel centres at + 0.5 (so corners are not aligned) and with
    antialiasing where the image shrinks. `size` is at least (1, 1).
    """
    new_height, new_width = size
    if new_height < 1 or new_width < 1:
        raise ValueError(f"size must be at least 1 x 1, got {tuple(size)}")
    height, width = image.shape[1:]
    resized = F.interpolate(image[None], size=size, mode="bilinear", align_corners=False, antialias=True)[0]
    scale_x, scale_y = new_width / width, new_height / height
    return ImageAndBoxes(resized, boxes * boxes.new_tensor([scale_x, scale_y, scale_x, scale_y]))
