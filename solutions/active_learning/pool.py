"""The pool: which examples have a label, and the only way to buy another one.

A simulated run has all labels on disk. Whatever reads one before it is bought, a stratified split or a normalisation,
makes the learning curve too good.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Int, Int64
from torch import Tensor


class ActivePool:
    """`size` examples, numbered from 0. At any time each is either labelled or unlabelled; at first none is labelled.

    `oracle(index)` is a person who labels example `index`, a Python int: the only way to a label, slow and dear. It is
    asked when a label is bought, once for each label, and never otherwise. `size` is at least 0.

    All tensors that come out are int64, on the CPU, and copies. So is the list of labels; the labels in it are the
    objects that the oracle returned.
    """

    def __init__(self, size: int, oracle: Callable[[int], Any]) -> None:
        if size < 0:
            raise ValueError(f"size must be at least 0, got {size}")
        self._size, self._oracle = size, oracle
        self._bought: dict[int, Any] = {}  # global index → label, in the order bought

    @property
    def labelled(self) -> Int64[Tensor, " labelled"]:
        """The global indices of the labelled examples, in the order bought."""
        return torch.tensor(list(self._bought), dtype=torch.int64, device="cpu")

    @property
    def labels(self) -> list[Any]:
        """The oracle's answers: `labels[i]` is the label of example `labelled[i]`."""
        return list(self._bought.values())

    @property
    def unlabelled(self) -> Int64[Tensor, " unlabelled"]:
        """The global indices of all other examples, ascending."""
        free = torch.ones(self._size, dtype=torch.bool, device="cpu")
        free[self.labelled] = False
        return free.nonzero().flatten()

    def buy(self, positions: Int[Tensor, " B"]) -> Int64[Tensor, " B"]:
        """Buys the labels of `unlabelled[positions]`, in this order, and returns the global indices.

        Positions count within `unlabelled` as it is before the call: scores of the unlabelled examples have the same
        positions. Refused with a ValueError, before the oracle is asked: a position that is negative or too large, or
        occurs twice. If the oracle raises (KeyboardInterrupt too), its error goes on to the caller.
        In both cases the pool stays as it was.
        """
        unlabelled = self.unlabelled
        chosen = _checked("positions", positions, len(unlabelled))
        indices = unlabelled[chosen]
        self._open(indices)
        return indices

    def seed(self, indices: Int[Tensor, " B"]) -> None:
        """Buys the labels of the global `indices`, in this order: the initial set, chosen before there is a model.

        Refused like in `buy`: an index out of range, twice in one call, or labelled already.
        """
        indices = _checked("indices", indices, self._size)
        known = [index for index in indices.tolist() if index in self._bought]
        if known:
            raise ValueError(f"indices must be unlabelled, but {known} are labelled already")
        self._open(indices)

    def _open(self, indices: Int64[Tensor, " B"]) -> None:
        """All answers come before any is stored: an oracle that raises midway leaves the pool as it was."""
        answers = {index: self._oracle(index) for index in indices.tolist()}
        self._bought.update(answers)

    def state_dict(self) -> dict:
        """A copy of what has been bought, to go on later without asking the oracle again.

        `torch.load` reads it with `weights_only=True` if it can read the labels: numbers, strings, tensors, and lists
        and dictionaries of them.
        """
        return {"size": self._size, "labelled": self.labelled, "labels": self.labels}

    def load_state_dict(self, state: dict) -> None:
        """Goes on from the `state_dict` of a pool of the same size; what this pool had bought is forgotten.

        The state can be loaded again: the pool takes a copy. A state of another size raises a ValueError that names
        `size`, and nothing changes.
        """
        if state["size"] != self._size:
            raise ValueError(f"size of the saved pool is {state['size']}, of this one {self._size}")
        self._bought = dict(zip(state["labelled"].tolist(), state["labels"], strict=True))


def _checked(name: str, numbers: Int[Tensor, " B"], limit: int) -> Int64[Tensor, " B"]:
    """As int64 on the CPU: torch takes no int16 for an index."""
    numbers = numbers.to("cpu", torch.int64)
    outside = numbers[(numbers < 0) | (numbers >= limit)].tolist()
    if outside:
        raise ValueError(f"{name} must lie between 0 and {limit - 1}, got {outside}")
    if len(numbers.unique()) < len(numbers):
        raise ValueError(f"{name} must differ, got {numbers.tolist()}")
    return numbers


def stratified_seed(
    labels: Int[Tensor, " N"], per_class: int, *, num_classes: int, generator: torch.Generator
) -> Int64[Tensor, " chosen"]:
    """The indices of `per_class` examples of each class, drawn without replacement, in any order.

    Each choice of `per_class` examples of a class is equally likely, whatever is drawn of other classes. The labels lie
    in [0, num_classes). A class that has fewer than `per_class` is refused with a ValueError that names `labels` and
    the class. `per_class` is at least 0, `num_classes` at least 1.

    It looks at every label, and so at some that are not bought. Comparisons of strategies start from such a set to keep
    chance out of the first rounds. A real project has no labels to begin with, and starts from random examples.
    """
    if per_class < 0:
        raise ValueError(f"per_class must be at least 0, got {per_class}")
    if num_classes < 1:
        raise ValueError(f"num_classes must be at least 1, got {num_classes}")
    chosen = []
    for label in range(num_classes):
        members = (labels == label).nonzero().flatten()
        if len(members) < per_class:
            raise ValueError(f"labels has only {len(members)} examples of class {label}, fewer than {per_class}")
        order = torch.randperm(len(members), generator=generator, device=generator.device)
        chosen.append(members[order[:per_class].to(labels.device)])
    return torch.cat(chosen)
