"""detection_scores image by image, with loops."""

import torch


def detection_entropy(scores):
    flat = scores.reshape(-1)
    result = torch.zeros_like(flat)
    inside = ((flat > 0) & (flat < 1)).nonzero()[:, 0]
    p = flat[inside]
    return result.index_put((inside,), -torch.special.xlogy(p, p) - torch.special.xlog1py(1 - p, -p)).reshape(
        scores.shape
    )


def _each(uncertainties, rule):
    if len(uncertainties) == 0:
        return torch.empty(0)
    zero = uncertainties[0].new_zeros((), dtype=torch.float64)
    numbers = [rule(image.double()) if image.numel() else zero for image in uncertainties]
    return torch.stack(numbers).to(uncertainties[0].dtype)


def sum_per_image(uncertainties):
    return _each(uncertainties, torch.sum)


def max_per_image(uncertainties):
    return _each(uncertainties, torch.max)


def mean_per_image(uncertainties):
    return _each(uncertainties, torch.mean)


def class_weights(labels, num_classes):
    if num_classes <= 0:
        raise ValueError("num_classes")
    counts = torch.stack([(labels == c).sum() for c in range(num_classes)])
    frequencies = (counts + 1).double() / (len(labels) + num_classes)
    return (num_classes * (1 / frequencies) / (1 / frequencies).sum()).to(torch.float32)


def class_balanced(uncertainties, labels, weights):
    if len(uncertainties) != len(labels) or any(len(u) != len(c) for u, c in zip(uncertainties, labels, strict=True)):
        raise ValueError("labels")
    return [(u * weights[c.long()]).to(uncertainties[0].dtype) for u, c in zip(uncertainties, labels, strict=True)]
