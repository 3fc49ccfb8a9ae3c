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
        if not 0 <= decay < 1:
            raise ValueError(f"decay must lie in [0, 1), got {decay}")
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay
        self.num_updates = 0

    def decay_at(self, num_updates: int) -> float:
        """The decay of update number `num_updates`, which is 1 for the first: min(decay, (1 + num_updates) /
        (10 + num_updates)).

        The average forgets its random start quickly, and lengthens its memory as there is more to remember.
        """
        return min(self.decay, (1 + num_updates) / (10 + num_updates))

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """One more step of the average: d * average + (1 - d) * weight for every parameter, frozen ones too,
        with d = `decay_at` of this update's number.

        Buffers (running statistics, counters, masks, whatever their dtype) are not averaged but copied.
        `model` is not changed.
        """
        self.num_updates += 1
        decay = self.decay_at(self.num_updates)
        for average, weight in zip(self.model.parameters(), model.parameters()):
            average.lerp_(weight, 1 - decay)
        for ours, theirs in zip(self.model.buffers(), model.buffers()):
            ours.copy_(theirs)

    @contextmanager
    def swapped_into(self, model: nn.Module) -> Iterator[None]:
        """`with ema.swapped_into(model):` the model has the average's parameters and buffers; afterwards its
        own again, to the bit, also after an exception.

        Only values change: the parameters stay the same tensors, so that an optimizer goes on with them, and
        keep their gradients; modes stay as they are. The average stays as it is, whatever happens to the
        model inside, a training step included.
        """
        own = _copies(model)
        model.load_state_dict(self.model.state_dict())
        try:
            yield
        finally:
            model.load_state_dict(own)

    def state_dict(self) -> dict:
        """What is needed to go on, as copies: a dictionary with `model` (the state dict of the averaged
        model) and `num_updates`. It can be saved with `torch.save`, and loaded with `weights_only=True`."""
        return {"model": _copies(self.model), "num_updates": self.num_updates}

    def load_state_dict(self, state: dict) -> None:
        """Goes on from a `state_dict`, which is copied, not kept: the updates that follow are, to the bit,
        those of an average that was never interrupted."""
        self.model.load_state_dict(state["model"])
        self.num_updates = state["num_updates"]


def _copies(model: nn.Module) -> dict[str, Tensor]:
    # A state dict holds the model's own memory, which the next training step would overwrite.
    return {name: value.clone() for name, value in model.state_dict().items()}
