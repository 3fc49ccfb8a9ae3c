"""Labels that nobody can read before they are bought."""

from collections.abc import Sequence
from typing import Any


class LabelLeak(Exception):
    """A label was read that has not been bought."""


class SealedLabels:
    """An oracle: `sealed(index)` opens one label, and `opened` lists what was opened, in order.

    Every other look at them (an index, a loop, a length, a conversion to a tensor) raises a `LabelLeak`.
    """

    def __init__(self, labels: Sequence[Any]):
        self.__labels = list(labels)
        self.opened: list[int] = []

    def __call__(self, index: int) -> Any:
        index = int(index)
        if not 0 <= index < len(self.__labels):
            raise LabelLeak(f"there is no label {index}: the pool has {len(self.__labels)}")
        if index in self.opened:
            raise LabelLeak(f"label {index} is bought twice")
        self.opened.append(index)
        return self.__labels[index]

    def _leak(self, *args, **kwargs):
        raise LabelLeak("a label is read that has not been bought: `oracle(index)` is the only way to one")

    __getitem__ = __iter__ = __len__ = __array__ = __contains__ = __eq__ = _leak
    __hash__ = None
