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
    if not 1 <= k <= logits.shape[1]:
        raise ValueError(f"k must lie in 1 ... {logits.shape[1]}, got {k}")
    of_target = logits.gather(1, targets[:, None])
    rivals = (~(logits < of_target)).sum(dim=1) - 1  # the target is not smaller than itself
    hits = (rivals < k) & ~of_target[:, 0].isnan()
    return (hits.sum() / max(1, len(hits))).to(logits.dtype)


def confusion_matrix(
    predictions: Int[Tensor, " N"], targets: Int[Tensor, " N"], num_classes: int
) -> Int64[Tensor, "num_classes num_classes"]:
    """How often class j was answered where class i was right: entry (i, j). Rows are true classes.

    The diagonal over the sum of its row is the recall of a class, over the sum of its column its precision. A class
    outside 0 ... num_classes - 1 raises a ValueError that names `predictions` or `targets`.
    """
    for name, classes in (("predictions", predictions), ("targets", targets)):
        if ((classes < 0) | (classes >= num_classes)).any():
            raise ValueError(f"{name} must lie in 0 ... {num_classes - 1}")
    # Each pair has a number of its own. `matrix[targets, predictions] += 1` counts a pair that repeats only once.
    pairs = targets.long() * num_classes + predictions.long()
    return pairs.bincount(minlength=num_classes**2).reshape(num_classes, num_classes)


class RunningMean:
    """The mean over all examples so far, from the means of batches of different sizes.

    The mean of the batches' means is not that: a last batch of one example would weigh as much as a full one.
    """

    def __init__(self) -> None:
        self._total, self._count = 0.0, 0

    def update(self, mean: float | Float[Tensor, ""], count: int) -> None:
        """`mean` is that of a batch of `count` >= 0 examples. No tensor is kept, and no graph.

        A batch of no examples changes nothing, even if its mean is NaN.
        """
        if count < 0:
            raise ValueError(f"count must not be negative, got {count}")
        if count:
            self._total += float(mean) * count
            self._count += count

    @property
    def value(self) -> float:
        """NaN before the first example."""
        return self._total / self._count if self._count else math.nan
