"""By sums of squares about the mean, and nn.BatchNorm2d's names by inheriting from it."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class BatchNorm2d(nn.BatchNorm2d):
    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__(num_features, eps=eps, momentum=momentum)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        rows = x.transpose(0, 1).reshape(x.shape[1], -1)
        if self.training and rows.shape[1] == 1:
            raise ValueError("x: one value in each channel")
        if not self.training or rows.shape[1] == 0:
            centre, variance = self.running_mean, self.running_var
        else:
            centre = rows.sum(1) / rows.shape[1]
            squares = (rows - centre[:, None]).pow(2).sum(1)
            variance = squares / rows.shape[1]
            new = {"running_mean": centre, "running_var": squares / (rows.shape[1] - 1)}
            for name, value in new.items():
                old = getattr(self, name)
                old.copy_((1 - self.momentum) * old + self.momentum * value.detach())
            self.num_batches_tracked.add_(1)
        shape = (1, -1, 1, 1)
        standard = (x - centre.view(shape)) * torch.rsqrt(variance + self.eps).view(shape)
        return torch.addcmul(self.bias.view(shape), standard, self.weight.view(shape))
