"""Focal loss: cross-entropy that gives little weight to what is already right.

A dense detector sees a hundred thousand easy background anchors for every object. Each costs little, but together they
outweigh the rest. The factor (1 - p_t)**gamma makes them cost next to nothing.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def sigmoid_focal_loss(
    logits: Float[Tensor, "*shape"],
    targets: Float[Tensor, "*shape"],
    *,
    alpha: float = 0.25,
    gamma: float = 2.0,
) -> Float[Tensor, "*shape"]:
    """The focal loss of every logit against its own binary target (0 or 1); nothing is summed or averaged.

        p = sigmoid(logit)
        p_t = p,      alpha_t = alpha        where the target is 1
        p_t = 1 - p,  alpha_t = 1 - alpha    where the target is 0
        loss = -alpha_t * (1 - p_t)**gamma * log(p_t)

    gamma = 0 is binary cross-entropy, weighted by alpha_t. The formula holds, with a finite gradient, for logits of any
    size and every gamma: a logit of -200 on a positive target costs alpha * 200 with slope -alpha, in float32 as well.
    (A cost as small as the 2e-9 of a logit of 20 may be 0 in float32.) 0 <= `alpha` <= 1 and `gamma` >= 0.

    Source: Lin et al., Focal Loss for Dense Object Detection (arXiv 1708.02002), in its alpha-balanced form.
    """
    raise NotImplementedError


def normalised_focal_loss(
    logits: Float[Tensor, "*shape"],
    targets: Float[Tensor, "*shape"],
    *,
    alpha: float = 0.25,
    gamma: float = 2.0,
) -> Float[Tensor, ""]:
    """The sum of `sigmoid_focal_loss` over all elements, divided by max(1, number of positive targets).

    A mean does not work: almost every element is easy background, so the mean is small and hardly depends on the
    objects. An input without positives still teaches background. The loss of an empty input is 0. The sum and the count
    are in float32 at least, since a million elements are too many for float16. The quotient has the dtype of the
    logits.

    Source: Lin et al., Focal Loss for Dense Object Detection (arXiv 1708.02002).
    """
    raise NotImplementedError
