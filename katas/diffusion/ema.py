"""EMA: sample from the average of the weights, not from the last ones.

The weights jitter around a good place as long as the learning rate is large; their moving average sits in the
middle.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class EMA:
    """An exponential moving average of a model's weights, beside the model.

    `model` is the averaged copy, of the same class, in evaluation mode, with parameters that take no
    gradient; it shares no memory with the model it was made from, which is left as it is. `num_updates`
    counts the updates.

    `decay` is the share of the old average that stays. Raises a ValueError that names `decay` if it is not in
    [0, 1). Buffers that are not persistent are out of scope.
    """

    def __init__(self, model: nn.Module, *, decay: float = 0.999) -> None:
        raise NotImplementedError

    def decay_at(self, num_updates: int) -> float:
        """The decay of update number `num_updates`, which is 1 for the first: min(decay, (1 + num_updates) /
        (10 + num_updates)).

        The average forgets its random start quickly, and lengthens its memory as there is more to remember.
        """
        raise NotImplementedError

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """One more step of the average: d * average + (1 - d) * weight for every parameter, frozen ones too,
        with d = `decay_at` of this update's number.

        Buffers (running statistics, counters, masks, whatever their dtype) are not averaged but copied.
        `model` is not changed.
        """
        raise NotImplementedError

    @contextmanager
    def swapped_into(self, model: nn.Module) -> Iterator[None]:
        """`with ema.swapped_into(model):` the model has the average's parameters and buffers; afterwards its
        own again, to the bit, also after an exception.

        Only values change: the parameters stay the same tensors, so that an optimizer goes on with them, and
        keep their gradients; modes stay as they are. The average stays as it is, whatever happens to the
        model inside, a training step included.
        """
        raise NotImplementedError

    def state_dict(self) -> dict:
        """What is needed to go on, as copies: a dictionary with `model` (the state dict of the averaged
        model) and `num_updates`. It can be saved with `torch.save`, and loaded with `weights_only=True`."""
        raise NotImplementedError

    def load_state_dict(self, state: dict) -> None:
        """Goes on from a `state_dict`, which is copied, not kept: the updates that follow are, to the bit,
        those of an average that was never interrupted."""
        raise NotImplementedError
