"""Tensors without loops: broadcasting, masks, and views of memory.

Each function has an obvious loop over rows, and a form that moves whole tensors. The second one is what a GPU is for.
"""

import torch
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor


def squared_distances(x: Float[Tensor, "N D"], y: Float[Tensor, "M D"]) -> Float[Tensor, "N M"]:
    """The squared Euclidean distance of every row of `x` to every row of `y`, never negative.

        |x - y|^2 = |x|^2 - 2 x·y + |y|^2

    The left side broadcasts to N · M · D numbers. The right side is a matrix product, and needs none that
    large. It subtracts large numbers, though: points near (1000, 1000) lose six digits. Distances do not change if
    all points move together, so move the mean of `y` to 0 first. (`torch.cdist` squared; it does not centre.)
    """
    centre = y.mean(dim=0) if len(y) else y.sum(dim=0)
    x, y = x - centre, y - centre
    distances = x.square().sum(dim=1)[:, None] - 2 * x @ y.T + y.square().sum(dim=1)
    return distances.clamp(min=0)  # rounding makes 0 a little negative, and its root NaN


def one_hot(labels: Int[Tensor, "*shape"], num_classes: int) -> Int64[Tensor, "*shape num_classes"]:
    """A new last axis of `num_classes` numbers: 1 at the label, 0 elsewhere.

    A label outside 0 ... num_classes - 1 gives a row of zeros. (`torch.nn.functional.one_hot` refuses it.)
    """
    classes = torch.arange(num_classes, device=labels.device)
    return (labels[..., None] == classes).long()


def masked_mean(values: Float[Tensor, "*shape"], mask: Bool[Tensor, "*shape"], dim: int) -> Float[Tensor, "..."]:
    """The mean over axis `dim` of the values whose mask is True, and 0 where there are none.

    What is masked out reaches neither the result nor its gradient, NaN and infinity included. So values are selected,
    not multiplied by the mask: 0 * NaN is NaN. `dim` may count from the end.
    """
    total = values.where(mask, 0).sum(dim=dim)
    return total / mask.sum(dim=dim).clamp(min=1)


def extract_patches(images: Float[Tensor, "B C H W"], kernel_size: int, stride: int) -> Float[Tensor, "B L P"]:
    """All square patches of `kernel_size` = k pixels, `stride` pixels apart: L patches of P = C · k · k numbers.

    Patches come row by row. The numbers of a patch come channel by channel, and row by row within a channel. What is
    left over at the right and at the bottom belongs to no patch. (`torch.nn.functional.unfold`, with its last two axes
    exchanged.) A vision transformer begins with this at stride = k, a convolution is a product with it.

    1 <= `kernel_size` <= H and W, 1 <= `stride`.
    """
    batch, channels, height, width = images.shape
    if not 1 <= kernel_size <= min(height, width):
        raise ValueError(f"kernel_size {kernel_size} does not fit into images of {height} x {width}")
    if stride < 1:
        raise ValueError(f"stride must be at least 1, got {stride}")
    # A view of the same memory, (B, C, rows, columns, k, k): nothing is copied before the reshape.
    windows = images.unfold(2, kernel_size, stride).unfold(3, kernel_size, stride)
    rows, columns = windows.shape[2:4]
    return windows.permute(0, 2, 3, 1, 4, 5).reshape(batch, rows * columns, channels * kernel_size**2)
