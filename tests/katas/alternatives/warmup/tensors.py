"""With PyTorch's own functions where it has one."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor


def squared_distances(x: Float[Tensor, "N D"], y: Float[Tensor, "M D"]) -> Float[Tensor, "N M"]:
    columns = [torch.zeros(len(x), len(y), dtype=x.dtype, device=x.device)]
    for a, b in zip(x.unbind(1), y.unbind(1), strict=True):
        columns.append(columns.pop() + torch.sub(a.unsqueeze(1), b.unsqueeze(0)) ** 2)
    return columns[0]


def one_hot(labels: Int[Tensor, "*shape"], num_classes: int) -> Int64[Tensor, "*shape num_classes"]:
    known = (labels >= 0) & (labels < num_classes)
    rows = F.one_hot(torch.where(known, labels, num_classes).long(), num_classes + 1)
    return rows[..., :num_classes]


def masked_mean(values: Float[Tensor, "*shape"], mask: Bool[Tensor, "*shape"], dim: int) -> Float[Tensor, "..."]:
    means = torch.masked_fill(values, ~mask, torch.nan).nanmean(dim)
    means = means.masked_fill((values.isnan() & mask).any(dim), torch.nan)
    return torch.where(mask.any(dim), means, torch.zeros_like(means))


def extract_patches(images: Float[Tensor, "B C H W"], kernel_size: int, stride: int) -> Float[Tensor, "B L P"]:
    if kernel_size < 1 or kernel_size > images.shape[2] or kernel_size > images.shape[3]:
        raise ValueError("kernel_size: does not fit")
    if stride <= 0:
        raise ValueError("stride: at least 1")
    if len(images) == 0:
        rows, columns = ((side - kernel_size) // stride + 1 for side in images.shape[2:])
        return images.new_zeros(0, rows * columns, images.shape[1] * kernel_size**2)
    return F.unfold(images, kernel_size, stride=stride).mT
