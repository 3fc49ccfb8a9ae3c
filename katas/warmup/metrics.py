"""Metrics: what a classifier is judged by, and how a mean over batches stays a mean over examples."""

import math

from jaxtyping import Float, Int, Int64
from torch import Tensor


def topk_accuracy(logits: Float[Tensor, "N C"], targets: Int64[Tensor, " N"], k: int = 1) -> Float[Tensor, ""]:
    """The share of the rows whose target is among the k largest logits. Without rows it is 0.

    A tie counts against the target: it is a hit if fewer than k *other* classes have a logit that is not smaller. A
    NaN elsewhere counts as not smaller, and a target whose own logit is NaN is never a hit. So a network whose
    answer is constant, or has become NaN, scores nothing for free. (`topk` and `argmax` pick some class among equals,
    often the first: always answering 0 would then be right on class 0.)

    1 <= k <= C.
    """
    raise NotImplementedError


def confusion_matrix(
    predictions: Int[Tensor, " N"], targets: Int[Tensor, " N"], num_classes: int
) -> Int64[Tensor, "num_classes num_classes"]:
    """How often class j was answered where class i was right: entry (i, j). Rows are true classes.

    The diagonal over the sum of its row is the recall of a class, over the sum of its column its precision. A class
    outside 0 ... num_classes - 1 raises a ValueError that names `predictions` or `targets`.
    """
    raise NotImplementedError


class RunningMean:
    """The mean over all examples so far, from the means of batches of different sizes.

    The mean of the batches' means is not that: a last batch of one example would weigh as much as a full one.
    """

    def __init__(self) -> None:
        raise NotImplementedError

    def update(self, mean: float | Float[Tensor, ""], count: int) -> None:
        """`mean` is that of a batch of `count` >= 0 examples. No tensor is kept, and no graph.

        A batch of no examples changes nothing, even if its mean is NaN.
        """
        raise NotImplementedError

    @property
    def value(self) -> float:
        """NaN before the first example."""
        raise NotImplementedError
