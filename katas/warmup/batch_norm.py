"""Batch normalisation: two behaviours behind one name, and two variances that differ by N / (N - 1)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class BatchNorm2d(nn.Module):
    """Normalises every channel of images (B, C, H, W) to mean 0 and variance 1, then scales and shifts it.

        y = (x - mean) / sqrt(var + eps) * weight + bias

    In training, mean and variance are those of the batch, over all B · H · W values of a channel; the variance is the
    biased one, divided by N. The running statistics follow them, with the *unbiased* variance, divided by N - 1:

        running <- (1 - momentum) * running + momentum * batch

    In evaluation the running statistics are used, so that the answer for an image does not depend on the images beside
    it. The gradient flows through the batch's mean and variance; running statistics carry none.

    Parameters `weight` (1) and `bias` (0), buffers `running_mean` (0), `running_var` (1) and `num_batches_tracked` (0)
    are those of `nn.BatchNorm2d`: state dicts load both ways.

    Source: Ioffe & Szegedy, Batch Normalization (arXiv 1502.03167).
    """

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        raise NotImplementedError

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """In training, a single value per channel raises a ValueError that names `x`: it would always become 0."""
        raise NotImplementedError
