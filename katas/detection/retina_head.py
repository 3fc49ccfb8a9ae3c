"""The head of RetinaNet: two small convolutional networks that answer, for every anchor of every level,
*what* and *where*.

The same weights run over all levels of the pyramid. The classifier starts out believing that an object is
rare: otherwise the thousands of background anchors swamp the first steps of training.
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
    """Classification and box regression, shared by all levels; `num_anchors` A is the number of anchors at
    each place.

    Submodules, so that weights can be copied:

    - `cls_subnet` and `box_subnet`: each an `nn.Sequential` of `num_convs` times (3×3 convolution with
      padding 1, `in_channels` to `in_channels`; `nn.ReLU`). They share no weight with each other;
    - `cls_logits`: a 3×3 convolution (padding 1) to `num_anchors * num_classes` channels, after `cls_subnet`;
      channel `a * num_classes + k` is the logit of class k for anchor a;
    - `box_deltas`: a 3×3 convolution (padding 1) to `num_anchors * 4` channels, after `box_subnet`; channel
      `a * 4 + d` is delta d of anchor a.

    No activation follows the last two. At the start all biases are zero, but that of `cls_logits` is
    `-log((1 - prior_probability) / prior_probability)`, so that features of zero give exactly the probability
    `prior_probability` to every class; the weights of `cls_logits` and `box_deltas` are drawn from a normal
    distribution with standard deviation 0.01. (The weights of the subnets may start as you like.)

    A `prior_probability` outside the open interval (0, 1) is rejected with a ValueError that names it.

    Lin et al., "Focal Loss for Dense Object Detection", 2017.
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
        """Per level, in the order of `features`: cls_logits (B, H*W*A, num_classes) and box_deltas (B, H*W*A,
        4).

        Rows are ordered as the anchors are: by row of the map, then column, then anchor. The row of anchor a
        at cell (i, j) is `(i * W + j) * A + a`.
        """
        raise NotImplementedError
