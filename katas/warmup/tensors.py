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
    raise NotImplementedError


def one_hot(labels: Int[Tensor, "*shape"], num_classes: int) -> Int64[Tensor, "*shape num_classes"]:
    """A new last axis of `num_classes` numbers: 1 at the label, 0 elsewhere.

    A label outside 0 ... num_classes - 1 gives a row of zeros. (`torch.nn.functional.one_hot` refuses it.)
    """
    raise NotImplementedError


def masked_mean(values: Float[Tensor, "*shape"], mask: Bool[Tensor, "*shape"], dim: int) -> Float[Tensor, "..."]:
    """The mean over axis `dim` of the values whose mask is True, and 0 where there are none.

    What is masked out reaches neither the result nor its gradient, NaN and infinity included. So values are selected,
    not multiplied by the mask: 0 * NaN is NaN. `dim` may count from the end.
    """
    raise NotImplementedError


def extract_patches(images: Float[Tensor, "B C H W"], kernel_size: int, stride: int) -> Float[Tensor, "B L P"]:
    """All square patches of `kernel_size` = k pixels, `stride` pixels apart: L patches of P = C · k · k numbers.

    Patches come row by row. The numbers of a patch come channel by channel, and row by row within a channel. What is
    left over at the right and at the bottom belongs to no patch. (`torch.nn.functional.unfold`, with its last two axes
    exchanged.) A vision transformer begins with this at stride = k, a convolution is a product with it.

    1 <= `kernel_size` <= H and W, 1 <= `stride`.
    """
    raise NotImplementedError
