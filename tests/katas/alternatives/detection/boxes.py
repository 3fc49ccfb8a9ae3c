"""A Python loop over the first boxes, each against all of the second at once."""

import torch


def _numbers(boxes):
    return boxes if boxes.dtype in (torch.float32, torch.float64) else boxes.to(torch.float32)


def xyxy_to_cxcywh(boxes):
    boxes = boxes if boxes.is_floating_point() else boxes.to(torch.float32)
    lower, upper = boxes[..., :2], boxes[..., 2:]
    return torch.cat([lower + (upper - lower) * 0.5, upper - lower], dim=-1)


def cxcywh_to_xyxy(boxes):
    boxes = boxes if boxes.is_floating_point() else boxes.to(torch.float32)
    centre, half = boxes[..., :2], boxes[..., 2:] * 0.5
    return torch.cat([centre - half, centre + half], dim=-1)


def box_area(boxes):
    sizes = _numbers(boxes)[:, 2:] - _numbers(boxes)[:, :2]
    return sizes.prod(dim=1)


def clip_boxes(boxes, image_size):
    height, width = image_size
    limits = torch.tensor([width, height, width, height], dtype=boxes.dtype, device=boxes.device)
    return torch.minimum(boxes.clamp(min=0), limits)


def _pairwise(boxes1, boxes2, measure):
    boxes1, boxes2 = _numbers(boxes1), _numbers(boxes2)
    rows = [measure(a, boxes2.T) for a in boxes1]
    return torch.stack(rows) if rows else boxes1.new_zeros(len(boxes1), len(boxes2))


def _parts(a, b):
    width = torch.relu(torch.min(a[2], b[2]) - torch.max(a[0], b[0]))
    height = torch.relu(torch.min(a[3], b[3]) - torch.max(a[1], b[1]))
    area = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return width * height, area - width * height


def _ratio(part, whole):
    some = whole > 0
    return torch.where(some, part / torch.where(some, whole, 1), 0 * part)


def _iou(a, b):
    intersection, union = _parts(a, b)
    return _ratio(intersection, union)


def _giou(a, b):
    intersection, union = _parts(a, b)
    hull = (torch.max(a[2], b[2]) - torch.min(a[0], b[0])) * (torch.max(a[3], b[3]) - torch.min(a[1], b[1]))
    return _ratio(intersection, union) - _ratio(hull - union, hull)


def box_iou(boxes1, boxes2):
    return _pairwise(boxes1, boxes2, _iou)


def generalized_box_iou(boxes1, boxes2):
    return _pairwise(boxes1, boxes2, _giou)
