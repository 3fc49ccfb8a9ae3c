"""The head of RetinaNet: two small convolutional networks that say, for every anchor of every level, what and where.

The same weights run over all levels of the pyramid. The classifier starts with a small probability for every class.
Otherwise thousands of background anchors dominate the first steps of training.
"""

import math
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, nn


class RetinaHeadOutput(NamedTuple):
    """Per level, fine to coarse: class logits (B, H*W*A, K) and box deltas (B, H*W*A, 4)."""

    cls_logits: list[Tensor]
    box_deltas: list[Tensor]


class RetinaHead(nn.Module):
    """Classification and box regression, shared by all levels. `num_anchors` A is the number of anchors per cell.

    Submodules, so that weights can be copied:

        cls_subnet    nn.Sequential of `num_convs` times (convolution from in_channels to in_channels, nn.ReLU)
        cls_logits    a convolution on top of it; channel a * num_classes + k is the logit of class k for anchor a
        box_subnet    as cls_subnet
        box_deltas    a convolution on top of it; channel a * 4 + d is delta d of anchor a

    All convolutions are 3×3 with padding 1. No activation follows `cls_logits` and `box_deltas`, whose weights are
    drawn from a normal distribution with standard deviation 0.01. All biases start at 0 except those of `cls_logits`,
    which start at

        -log((1 - prior_probability) / prior_probability)

    so features of 0 give every class this probability. 0 < `prior_probability` < 1. The weights of the subnets start at
    random, in any way.

    Source: Lin et al., Focal Loss for Dense Object Detection (arXiv 1708.02002), section 4.1.
    """

    def __init__(
        self,
        in_channels: int,
        num_anchors: int,
        num_classes: int,
        *,
        num_convs: int = 4,
        prior_probability: float = 0.01,
    ) -> None:
        raise NotImplementedError

    def forward(self, features: list[Float[Tensor, "B C _ _"]]) -> RetinaHeadOutput:
        """Per level, in the order of `features`: cls_logits (B, H*W*A, num_classes) and box_deltas (B, H*W*A, 4).

        Rows are in the order of the anchors. The row of anchor a of cell (i, j) is `(i * W + j) * A + a`.
        """
        raise NotImplementedError
