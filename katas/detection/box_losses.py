"""Box losses: how far a prediction is off, coordinate by coordinate (smooth L1) or as a whole (GIoU)."""

import torch
from jaxtyping import Float
from torch import Tensor


def smooth_l1_loss(
    pred: Float[Tensor, "*shape"], target: Float[Tensor, "*shape"], *, beta: float = 1.0
) -> Float[Tensor, "*shape"]:
    """The smooth L1 loss of every element; nothing is summed or averaged. With d = pred - target,

        loss = 0.5 * d**2 / beta    where |d| < beta     (a parabola: the gradient fades near the target)
               |d| - 0.5 * beta     elsewhere            (a line: the gradient stays at 1)

    beta is where the two meet, with equal value and slope. beta = 0 is the L1 loss |d|. Values and gradients are finite
    for `beta` >= 0, as long as a beta above 0 does not round to 0 in the dtype. `target` gets no gradient.

    Source: Girshick, Fast R-CNN (arXiv 1504.08083), which has beta = 1.
    """
    raise NotImplementedError


def giou_loss(boxes1: Float[Tensor, "N 4"], boxes2: Float[Tensor, "N 4"]) -> Float[Tensor, " N"]:
    """1 - GIoU of row n of `boxes1` and row n of `boxes2` (xyxy), in [0, 2] and symmetric.

        GIoU = intersection / union - (hull - union) / hull

    in areas, where the hull is the smallest box that encloses both. Unlike 1 - IoU it has a slope when the boxes do not
    overlap: they are pulled together. A fraction whose denominator is 0 counts as 0: two boxes without area cost 1 if
    their hull has no area. Gradients reach both boxes and are finite for x1 <= x2 and y1 <= y2, zero width or height
    included. Areas are in float32 at least, since float16 ends at 65504. The loss has the dtype of the boxes.

    Source: Rezatofighi et al., Generalized Intersection over Union (arXiv 1902.09630).
    """
    raise NotImplementedError
