"""Batch normalisation: two behaviours behind one name, and two variances that differ by N / (N - 1)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class BatchNorm2d(nn.Module):
    """Normalises every channel of images (B, C, H, W) to mean 0 and variance 1, then scales and shifts it.

        y = (x - mean) / sqrt(var + eps) * weight + bias

    In training, mean and variance are those of the batch, over all N = B · H · W values of a channel, with the biased
    variance, divided by N. Running statistics follow, with the *unbiased* variance, divided by N - 1:

        running <- (1 - momentum) * running + momentum * batch

    In evaluation the running statistics are used: an image's answer does not depend on its neighbours. The gradient
    flows through the batch's mean and variance.

    Parameters `weight` and `bias`, buffers `running_mean`, `running_var` and `num_batches_tracked` are those of
    `nn.BatchNorm2d`, with the same first values: state dicts load both ways.

    Source: Ioffe & Szegedy, Batch Normalization (arXiv 1502.03167).
    """

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight = nn.Parameter(torch.ones(num_features))
        self.bias = nn.Parameter(torch.zeros(num_features))
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """In training, a single value per channel raises a ValueError that names `x`: it would always become 0."""
        if self.training and len(x):  # an empty batch has no statistics
            mean, var = self._statistics_of(x)
        else:
            mean, var = self.running_mean, self.running_var
        scale = self.weight / (var + self.eps).sqrt()
        return (x - mean[:, None, None]) * scale[:, None, None] + self.bias[:, None, None]

    def _statistics_of(self, x: Tensor) -> tuple[Tensor, Tensor]:
        count = x.numel() // x.shape[1]
        if count == 1:
            raise ValueError(f"x has one value per channel, and no variance: {tuple(x.shape)}")
        mean, var = x.mean(dim=(0, 2, 3)), x.var(dim=(0, 2, 3), correction=0)
        with torch.no_grad():  # in place, so that a state dict or another reference sees it
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(var * count / (count - 1), self.momentum)
            self.num_batches_tracked += 1
        return mean, var
