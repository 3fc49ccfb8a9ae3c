"""From the raw output of the head to detections: score, select, decode, clip, suppress, limit."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from .box_coding import decode_boxes
from .boxes import clip_boxes
from .nms import batched_nms


class Detections(NamedTuple):
    """The detections in one image, by falling score: boxes (D, 4) xyxy, scores (D,), labels (D,) int64."""

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
    """The detections in one image, from the outputs of a RetinaNet head for it.

    The three lists have one entry per pyramid level. Row n of each entry belongs to anchor n of that level. Each pair
    of an anchor and a class k = 0 … K-1 is a candidate. Its score is the sigmoid of its logit, its label is k. In this
    order:

        1. keep the candidates with a score greater than `score_thresh`
        2. per level, keep the `topk_per_level` candidates with the highest scores
        3. decode their boxes (`decode_boxes` with its defaults)
        4. clip the boxes to `image_size`, which is (height, width)
        5. drop each box with a side shorter than `min_size`
        6. suppress within each class, all levels together (`batched_nms` with `nms_thresh`)
        7. keep the `detections_per_image` candidates with the highest scores, by falling score

    Candidates with equal scores come in any order. A level may have no anchors, and a head no classes.
    """
    levels = [
        _candidates(*level, image_size, score_thresh=score_thresh, topk=topk_per_level, min_size=min_size)
        for level in zip(cls_logits, box_deltas, anchors, strict=True)
    ]
    boxes, scores, labels = (torch.cat(parts) for parts in zip(*levels, strict=True))
    keep = batched_nms(boxes, scores, labels, nms_thresh)[:detections_per_image]
    return Detections(boxes[keep], scores[keep], labels[keep])


def _candidates(
    cls_logits: Tensor,
    box_deltas: Tensor,
    anchors: Tensor,
    image_size: tuple[int, int],
    *,
    score_thresh: float,
    topk: int,
    min_size: float,
) -> Detections:
    """Steps 1 to 5 for one level."""
    scores = cls_logits.sigmoid().flatten()
    candidates = torch.where(scores > score_thresh)[0]
    best = scores[candidates].topk(min(topk, len(candidates))).indices
    candidates = candidates[best]
    num_classes = cls_logits.shape[1]
    anchor_idxs, labels = candidates // num_classes, candidates % num_classes
    boxes = clip_boxes(decode_boxes(box_deltas[anchor_idxs], anchors[anchor_idxs]), image_size)
    large = (boxes[:, 2:] - boxes[:, :2] >= min_size).all(dim=1)
    return Detections(boxes[large], scores[candidates][large], labels[large])
