"""All levels in one table, with the level as a column; decoding and suppression written out."""

from typing import NamedTuple

import torch
import torchvision


class Detections(NamedTuple):
    boxes: torch.Tensor
    scores: torch.Tensor
    labels: torch.Tensor


def postprocess_detections(
    cls_logits,
    box_deltas,
    anchors,
    image_size,
    *,
    score_thresh=0.05,
    topk_per_level=1000,
    nms_thresh=0.5,
    detections_per_image=100,
    min_size=0.01,
):
    probabilities = torch.sigmoid(torch.cat(cls_logits))
    level = torch.cat([rows.new_full((len(rows),), n, dtype=torch.long) for n, rows in enumerate(cls_logits)])
    row, label = torch.nonzero(probabilities > score_thresh, as_tuple=True)
    score = probabilities[row, label]
    order = torch.argsort(score, descending=True)
    row, label, score = row[order], label[order], score[order]
    keep = torch.zeros_like(row, dtype=torch.bool)
    for n in range(len(cls_logits)):
        keep |= (level[row] == n) & ((level[row] == n).cumsum(0) <= topk_per_level)
    row, label, score = row[keep], label[keep], score[keep]
    boxes = _decoded(torch.cat(box_deltas)[row], torch.cat(anchors)[row])
    boxes = torchvision.ops.clip_boxes_to_image(boxes, image_size)
    large = torchvision.ops.remove_small_boxes(boxes, min_size)
    boxes, score, label = boxes[large], score[large], label[large]
    wide = torch.promote_types(score.dtype, torch.float32)
    survivors = [torch.zeros(0, dtype=torch.long, device=score.device)]
    for k in range(probabilities.shape[1]):
        mine = torch.nonzero(label == k).flatten()
        survivors.append(mine[torchvision.ops.nms(boxes[mine].to(wide), score[mine].to(wide), nms_thresh)])
    final = torch.cat(survivors).sort().values[:detections_per_image]
    return Detections(boxes[final], score[final], label[final])


def _decoded(deltas, anchors):
    corner, size = anchors[:, :2], anchors[:, 2:] - anchors[:, :2]
    centre = corner + size / 2 + deltas[:, :2] * size
    half = size * deltas[:, 2:].clamp(max=4.135166556742356).exp() / 2
    return torch.cat([centre - half, centre + half], dim=1)
