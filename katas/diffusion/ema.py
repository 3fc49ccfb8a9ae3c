"""EMA: sample from a moving average of the weights.

At a constant learning rate the weights jitter around a good place. Their average sits in the middle of it.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class EMA:
    """An exponential moving average of a model's weights, beside the model.

    `model` is the averaged copy. It has the same class, is in evaluation mode, takes no gradient and shares no memory
    with the model it was made from. `num_updates` counts the updates. `decay`, in [0, 1), is the share of the old
    average that is kept. Buffers that are not persistent are out of scope.
    """

    def __init__(self, model: nn.Module, *, decay: float = 0.999) -> None:
        raise NotImplementedError

    def decay_at(self, num_updates: int) -> float:
        """The decay of update number `num_updates`, which is 1 for the first.

            min(decay, (1 + num_updates) / (10 + num_updates))

        So the random start soon has little weight, and the average covers more and more updates.
        """
        raise NotImplementedError

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """average ← d · average + (1 − d) · weight for every floating parameter, frozen ones included.

        d is `decay_at` of the number of this update. A parameter that two modules share is averaged once. Everything
        else is copied: buffers of any dtype (running statistics, counters, masks) and integer parameters.
        """
        raise NotImplementedError

    @contextmanager
    def swapped_into(self, model: nn.Module) -> Iterator[None]:
        """Inside `with ema.swapped_into(model):` the model has the parameters and buffers of the average.

        Afterwards it has its own again, to the bit, also after an exception, and also if a buffer was replaced by
        another tensor inside. Only values change. The parameters stay the same tensors, so an optimizer goes on with
        them, and they keep their gradients. Train and eval modes stay as they are. Nothing that happens to the model
        inside reaches the average.
        """
        raise NotImplementedError

    def state_dict(self) -> dict:
        """Copies of what is needed to go on: `model`, the state dict of the averaged model, and `num_updates`.

        It can be saved with `torch.save` and loaded with `weights_only=True`.
        """
        raise NotImplementedError

    def load_state_dict(self, state: dict) -> None:
        """Goes on from a `state_dict`, whose tensors are copied. Later updates are, to the bit, those of a run that was
        never interrupted.
        """
        raise NotImplementedError
