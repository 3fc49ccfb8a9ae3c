"""Does code wait for the GPU? Seen on the CPU, at the calls that would read a tensor's numbers."""

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

READS = {
    "item", "tolist", "numpy", "cpu", "__array__", "__bool__", "__int__", "__float__", "__index__", "__contains__",
    "equal", "allclose", "nonzero", "argwhere", "masked_select", "unique", "unique_consecutive",
}  # fmt: skip


class NothingWaits(TorchFunctionMode):
    """Inside `with NothingWaits():` a call that would make the CPU wait for a GPU raises an AssertionError.

    Such a call needs numbers, not tensors: `.item()`, `if tensor`, and a boolean index, whose result is as long as the
    mask has ones. `x[mask] = number` does not: it knows the size.
    """

    def __torch_function__(self, func, types, args=(), kwargs=None):
        __tracebackhide__ = True
        if _waits(func.__name__, args, kwargs or {}):
            raise AssertionError(
                f"`{func.__name__}` reads the numbers of a tensor: on a GPU the CPU waits until all work is done\n"
                "  stay with tensors: torch.where(mask, a, b) instead of a boolean index or an `if`"
            )
        return func(*args, **(kwargs or {}))


def _waits(name: str, args: tuple, kwargs: dict) -> bool:
    if name == "__getitem__":
        return _has_mask(args[1])
    if name == "__setitem__":
        single = args[2].numel() == 1 if isinstance(args[2], Tensor) else isinstance(args[2], bool | int | float)
        return _has_mask(args[1]) and not single
    if name == "where":
        return len(args) + len(kwargs) == 1
    return name in READS


def _has_mask(index) -> bool:
    parts = index if isinstance(index, tuple | list) else (index,)
    return any(isinstance(part, Tensor) and part.dtype in (torch.bool, torch.uint8) for part in parts)
