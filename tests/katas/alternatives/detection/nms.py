"""One box at a time, in a Python loop over what is left; labels parted by a third coordinate."""

from typing import NamedTuple

import torch


class SoftDetections(NamedTuple):
    indices: torch.Tensor
    scores: torch.Tensor


def _overlap(box, boxes):
    if boxes.dtype in (torch.float16, torch.bfloat16):
        box, boxes = box.float(), boxes.float()
    sides = (torch.min(box[2:], boxes[:, 2:]) - torch.max(box[:2], boxes[:, :2])).relu()
    shared = sides.prod(dim=1)
    union = (box[2:] - box[:2]).prod() + (boxes[:, 2:] - boxes[:, :2]).prod(dim=1) - shared
    return (shared / union).nan_to_num(0.0)


def nms(boxes, scores, iou_threshold):
    return batched_nms(boxes, scores, torch.ones(len(boxes), dtype=torch.int64, device=boxes.device), iou_threshold)


def batched_nms(boxes, scores, labels, iou_threshold):
    if iou_threshold < 0 or iou_threshold > 1:
        raise ValueError(f"iou_threshold {iou_threshold} is not in [0, 1]")
    _, queue = torch.sort(scores, descending=True, stable=True)
    kept = []
    while queue.numel():
        best, queue = queue[0], queue[1:]
        kept.append(int(best))
        rival = (_overlap(boxes[best], boxes[queue]) > iou_threshold) & (labels[queue] == labels[best])
        queue = queue[~rival]
    return torch.tensor(kept, dtype=torch.long, device=boxes.device)


def soft_nms(boxes, scores, *, sigma=0.5, score_threshold=0.001):
    if sigma <= 0:
        raise ValueError(f"sigma = {sigma}")
    left, current = list(range(len(boxes))), scores.clone()
    indices, values = [], []
    while left:
        best = max(left, key=lambda i: (float(current[i]), -i))
        left.remove(best)
        if current[best] < score_threshold:
            break
        indices.append(best)
        values.append(current[best].clone())
        current *= (-(_overlap(boxes[best], boxes) ** 2) / sigma).exp()
    found = torch.stack(values) if values else scores[:0]
    return SoftDetections(torch.tensor(indices, dtype=torch.long, device=boxes.device), found)
