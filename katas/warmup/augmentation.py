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
    raise NotImplementedError
