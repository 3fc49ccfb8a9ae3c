"""Box by box in Python, with torchvision for the pixels."""

from typing import NamedTuple

import torch
import torchvision.transforms.v2.functional as tv
from jaxtyping import Float, Int64
from torch import Tensor


class ImageAndBoxes(NamedTuple):
    image: Float[Tensor, "C H W"]
    boxes: Float[Tensor, "N 4"]


class Crop(NamedTuple):
    image: Float[Tensor, "C H W"]
    boxes: Float[Tensor, "N 4"]
    labels: Int64[Tensor, " N"]


def hflip_with_boxes(image: Float[Tensor, "C H W"], boxes: Float[Tensor, "N 4"]) -> ImageAndBoxes:
    mirrored = boxes.clone()
    mirrored[:, [0, 2]] = image.size(-1) - boxes[:, [2, 0]]
    return ImageAndBoxes(tv.hflip(image), mirrored)


def random_crop_with_boxes(
    image: Float[Tensor, "C H W"],
    boxes: Float[Tensor, "N 4"],
    labels: Int64[Tensor, " N"],
    crop_size: tuple[int, int],
    generator: torch.Generator,
    *,
    min_visibility: float,
) -> Crop:
    free_rows, free_columns = image.size(1) - crop_size[0], image.size(2) - crop_size[1]
    if min(crop_size) <= 0 or min(free_rows, free_columns) < 0:
        raise ValueError("crop_size")
    if min_visibility < 0 or min_visibility > 1:
        raise ValueError("min_visibility")
    position = torch.randint((free_rows + 1) * (free_columns + 1), (1,), generator=generator).item()
    y, x = divmod(position, free_columns + 1)
    kept, rows = [], []
    for n, (x1, y1, x2, y2) in enumerate(boxes.tolist()):
        u1, u2 = (min(max(0, each - x), crop_size[1]) for each in (x1, x2))
        v1, v2 = (min(max(0, each - y), crop_size[0]) for each in (y1, y2))
        left_over = (u2 - u1) * (v2 - v1)
        if left_over > 0 and left_over / ((x2 - x1) * (y2 - y1)) >= min_visibility:
            kept.append(n)
            rows.append([u1, v1, u2, v2])
    return Crop(tv.crop(image, y, x, *crop_size), boxes.new_tensor(rows).reshape(-1, 4), labels[kept])


def resize_with_boxes(
    image: Float[Tensor, "C H W"], boxes: Float[Tensor, "N 4"], size: tuple[int, int]
) -> ImageAndBoxes:
    if min(size) <= 0:
        raise ValueError("size")
    resized = tv.resize(image, list(size), interpolation=tv.InterpolationMode.BILINEAR, antialias=True)
    relative = boxes / boxes.new_tensor([image.shape[2], image.shape[1]]).repeat(2)
    return ImageAndBoxes(resized, relative * boxes.new_tensor([size[1], size[0]]).repeat(2))
