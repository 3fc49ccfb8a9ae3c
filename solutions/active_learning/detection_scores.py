"""One number for each image from the detections in it: which image is worth drawing boxes in?

A detector is uncertain about single detections, but images are bought. The sum prefers images with many detections, the
maximum looks at one, the mean does not ask how many there are. Classes that were seldom bought may count more.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor


def detection_entropy(scores: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """The entropy of "object or not", for scores that are probabilities of a sigmoid, in nats.

        H(p) = -p log p - (1 - p) log(1 - p)

    It is log 2 at p = 1/2, and 0 at p = 0 and p = 1, where the gradient of the formula is infinite and this one is
    finite.
    """
    uncertain = (scores > 0) & (scores < 1)
    p = torch.where(uncertain, scores, 0.5)  # before the logarithm: 0 · inf would be NaN in the backward pass
    entropies = -p * p.log() - (1 - p) * torch.log1p(-p)  # log(1 - p) loses the digits of a small p
    return torch.where(uncertain, entropies, 0)


def sum_per_image(uncertainties: Sequence[Float[Tensor, " _"]]) -> Float[Tensor, " images"]:
    """The sum over the detections of each image: many doubtful detections make an image valuable.

    `uncertainties` has one tensor per image. For this function and the next two: an image without detections gets 0. No
    images give an empty result. Sums are taken in float64. The result has the dtype of the first image.

    Source: Brust et al., Active Learning for Deep Object Detection (arXiv 1809.09875): aggregation by sum, maximum and
    average.
    """
    return _per_image(uncertainties, "sum")


def max_per_image(uncertainties: Sequence[Float[Tensor, " _"]]) -> Float[Tensor, " images"]:
    """The largest of each image: a single doubtful detection is enough. 0 without detections."""
    return _per_image(uncertainties, "amax")


def mean_per_image(uncertainties: Sequence[Float[Tensor, " _"]]) -> Float[Tensor, " images"]:
    """The mean over the detections of each image: their number does not count. 0 without detections."""
    return _per_image(uncertainties, "mean")


def class_weights(labels: Int[Tensor, " L"], num_classes: int) -> Float32[Tensor, " C"]:
    """A weight for each class, larger where fewer labels have been bought.

        w_c ∝ 1 / (n_c + 1),   scaled so that the mean over the classes is 1

    `labels` are the classes of all boxes bought so far, n_c of them of class c. The 1 keeps the weight of a class that
    was never bought finite. Without any labels all weights are 1. They are float32. `num_classes` ≥ 1.

    Source: Brust et al. (arXiv 1809.09875), weighting against class imbalance.
    """
    if num_classes < 1:
        raise ValueError(f"num_classes must be at least 1, got {num_classes}")
    inverse = 1 / (torch.bincount(labels, minlength=num_classes).double() + 1)
    return (inverse / inverse.mean()).float()


def class_balanced(
    uncertainties: Sequence[Float[Tensor, " _"]], labels: Sequence[Int[Tensor, " _"]], weights: Float[Tensor, " C"]
) -> list[Float[Tensor, " _"]]:
    """The uncertainty of each detection times the weight of its class, image by image as they came.

        u_i · weights[labels_i]

    `labels` are the predicted classes of the same detections: other images or other numbers of detections raise a
    ValueError. The dtype is that of the first image.
    """
    lengths = [len(image) for image in uncertainties]
    if lengths != [len(image) for image in labels]:
        raise ValueError("labels must hold one label for each of the uncertainties, image by image")
    if not lengths:
        return []
    weighted = torch.cat(list(uncertainties)) * weights[torch.cat(list(labels)).long()]
    return list(weighted.to(uncertainties[0].dtype).split(lengths))


def _per_image(uncertainties: Sequence[Float[Tensor, " _"]], reduce: str) -> Float[Tensor, " images"]:
    """All images at once: a loop of a few operations per image costs more than the operations."""
    if not uncertainties:
        return torch.zeros(0)
    values = torch.cat(list(uncertainties)).double()
    lengths = torch.tensor([len(image) for image in uncertainties], device=values.device)
    images = torch.arange(len(lengths), device=values.device).repeat_interleave(lengths, output_size=len(values))
    # include_self: the 0 at the start takes no part where an image has detections
    result = values.new_zeros(len(lengths)).scatter_reduce(0, images, values, reduce, include_self=False)
    return result.to(uncertainties[0].dtype)
