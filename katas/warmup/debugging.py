"""Debugging: four instruments for a network that does not learn.

They run the model in the modes in which it is, and leave it as they found it: parameters, buffers, gradients, modes,
hooks, and the global random state, also after an error.
"""

import contextlib
import copy
import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

Loss = Callable[..., Tensor]  # loss_fn(model, *batch) → a scalar


def gradient_norms(model: nn.Module) -> dict[str, float]:
    """The Euclidean norm of each parameter's gradient, by its name in `model.named_parameters()`; 0 without a gradient.

    A layer whose norm is 0 does not learn. Norms that fall from layer to layer vanish, norms that grow explode.
    """
    raise NotImplementedError


def dead_relu_fraction(model: nn.Module, x: Tensor) -> dict[str, float]:
    """For each `nn.ReLU` that runs, by its name: the share of its units that are 0 for the whole batch `x`.

    A unit is a channel of (B, C, …), or a feature of (B, C). It is dead if it is 0 for every example and every place:
    no gradient reaches it. Of a ReLU that runs several times, all outputs count together.
    """
    raise NotImplementedError


def overfit_one_batch(model: nn.Module, loss_fn: Loss, batch: tuple, *, steps: int, lr: float = 1e-3) -> list[float]:
    """The loss `loss_fn(model, *batch)` of each of `steps` steps of Adam, all on this batch.

    It must come near 0. A model that cannot overfit sixteen examples has a bug: in the labels, the loss, or a
    layer that lets no gradient through. The loss of a step is the one before its update.
    """
    raise NotImplementedError


def learning_rate_range_test(
    model: nn.Module, loss_fn: Loss, batches: Sequence[tuple], *, min_lr: float, max_lr: float
) -> list[tuple[float, float]]:
    """(rate, loss) for each of the `batches`, while the rate of plain SGD grows from batch to batch.

        rate_i = min_lr * (max_lr / min_lr) ** (i / (len(batches) - 1))         a single batch has min_lr

    The loss is the one before the step with that rate. The test ends with a loss that is not finite, or above 4 times
    the lowest so far. A good rate is well below the one where the loss turns up.

    0 < `min_lr` <= `max_lr`.

    Source: Smith, Cyclical Learning Rates for Training Neural Networks (arXiv 1506.01186), section 3.3.
    """
    raise NotImplementedError
