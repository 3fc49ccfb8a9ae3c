"""Image by image, each with its own slice."""

import torch
from jaxtyping import Float
from torch import Tensor


def random_flip_crop(
    images: Float[Tensor, "B C H W"], padding: int, generator: torch.Generator, *, flip_probability: float = 0.5
) -> Float[Tensor, "B C H W"]:
    if padding < 0:
        raise ValueError("padding: not negative")
    if not (flip_probability >= 0 and flip_probability <= 1):
        raise ValueError("flip_probability: a probability")
    result = torch.zeros_like(images, memory_format=torch.contiguous_format)
    height, width = images.shape[-2:]
    for n in range(len(images)):
        down, right = torch.randint(-padding, padding + 1, (2,), generator=generator, device=images.device).tolist()
        image = images[n]
        if torch.rand((), generator=generator, device=images.device) < flip_probability:
            image = image[..., torch.arange(width - 1, -1, -1, device=images.device)]
        if abs(down) < height and abs(right) < width:
            source = image[:, max(0, -down) : height - max(0, down), max(0, -right) : width - max(0, right)]
            result[n, :, max(0, down) : height + min(0, down), max(0, right) : width + min(0, right)] = source
    return result
