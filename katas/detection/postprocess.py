"""From the head's raw numbers to detections: score, select, decode, clean up, suppress, limit."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from .box_coding import decode_boxes
from .boxes import clip_boxes
from .nms import batched_nms


class Detections(NamedTuple):
    """What was found in one image, by falling score: boxes (K, 4) xyxy, scores (K,), labels (K,) int64."""

    boxes: Tensor
    scores: Tensor
    labels: Tensor


def postprocess_detections(
    cls_logits: list[Float[Tensor, "_ K"]],
    box_deltas: list[Float[Tensor, "_ 4"]],
    anchors: list[Float[Tensor, "_ 4"]],
    image_size: tuple[int, int],
    *,
    score_thresh: float = 0.05,
    topk_per_level: int = 1000,
    nms_thresh: float = 0.5,
    detections_per_image: int = 100,
    min_size: float = 0.01,
) -> Detections:
    """The detections of one image, from the outputs of a RetinaNet head on it.

    The three lists have one entry a pyramid level; row n of a level's entries belongs to its anchor n. K classes, each
    scored independently by the sigmoid of its logit: one anchor may yield several classes, and each pair of anchor
    and class is a candidate of its own, with the label k = 0 ... K-1 and the anchor's decoded box. In this order:

    1. keep the candidates with a score greater than `score_thresh` (equal is not enough);
    2. on each level by itself, keep the `topk_per_level` candidates with the highest scores;
    3. decode their boxes against their anchors (`decode_boxes` with its default weights and clamp);
    4. clip the boxes to the image, of `image_size` (height, width);
    5. drop the boxes of which a side is now shorter than `min_size`;
    6. suppress within each class, all levels together: IoU greater than `nms_thresh` (`batched_nms`);
    7. keep the `detections_per_image` with the highest scores, by falling score.

    Which of several candidates with equal scores come first, or survive a limit, is not promised. A level may have
    no anchors. Nothing found gives a (0, 4), a (0,) and a (0,) tensor. Boxes and scores have the dtype of the input,
    labels are int64.
    """
    raise NotImplementedError
