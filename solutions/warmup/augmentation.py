"""Augmentation: every image of a batch moved by chance, and no Python loop over them."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def random_flip_crop(
    images: Float[Tensor, "B C H W"], padding: int, generator: torch.Generator, *, flip_probability: float = 0.5
) -> Float[Tensor, "B C H W"]:
    """Each image flipped and shifted by chance, each for itself.

    An image is mirrored left to right with `flip_probability`. Then it is surrounded by `padding` pixels of zeros, and
    a window of its old size is cut out, at one of the (2 * padding + 1)**2 places, all equally likely. All channels of
    an image move together. The label stays: choose only what does not change it. (A mirrored 2 is no digit.)

    `generator` is on the device of the images. `padding` >= 0, 0 <= `flip_probability` <= 1.
    """
    if padding < 0:
        raise ValueError(f"padding must not be negative, got {padding}")
    if not 0 <= flip_probability <= 1:
        raise ValueError(f"flip_probability must lie in [0, 1], got {flip_probability}")
    batch, _, height, width = images.shape
    options = dict(generator=generator, device=images.device)
    flipped = torch.rand(batch, **options) < flip_probability
    images = torch.where(flipped[:, None, None, None], images.flip(3), images)
    top, left = torch.randint(2 * padding + 1, (2, batch), **options)
    rows = top[:, None] + torch.arange(height, device=images.device)  # (B, H): the rows of each image's window
    columns = left[:, None] + torch.arange(width, device=images.device)
    padded = F.pad(images, [padding] * 4)
    image = torch.arange(batch, device=images.device)
    # Three indices that broadcast to (B, H, W) pick those pixels; the channels, moved last, come along.
    window = padded.movedim(1, -1)[image[:, None, None], rows[:, :, None], columns[:, None, :]]
    return window.movedim(-1, 1)
