"""Comparisons whose failures teach: the law that broke, what came out, what was expected.

Arguments and results may be tensors, numbers, and lists, tuples or dictionaries of them.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

LONGEST = 240  # characters of a value that is shown


def expect_close(got, expected, law: str, *, dtype: torch.dtype = torch.float64, **tolerances) -> None:
    """`torch.testing.assert_close`, with the law that broke, what came out and what was expected.

    Where plain numbers are expected, a floating tensor must have `dtype`: worked examples are in float64.
    """
    __tracebackhide__ = True
    for where, got_leaf, expected_leaf in _pairs(got, expected, law, dtype):
        if got_leaf.is_floating_point() and (got_leaf.isnan() & ~expected_leaf.isnan()).any():
            _broken(law + where, got_leaf, expected_leaf, "NaN came out where a number was expected")
        try:
            torch.testing.assert_close(got_leaf, expected_leaf, equal_nan=True, check_device=False, **tolerances)
        except AssertionError as error:
            shown = _around_the_first_difference(got_leaf, expected_leaf, tolerances)
            _broken(law + where, *shown, _difference(got_leaf, expected_leaf, str(error)))


def expect_equal(got, expected, law: str, *, dtype: torch.dtype = torch.float64) -> None:
    """The same without any tolerance: for indices, labels and masks."""
    __tracebackhide__ = True
    expect_close(got, expected, law, dtype=dtype, rtol=0, atol=0)


def _pairs(got, expected, law: str, dtype: torch.dtype, where: str = "") -> list[tuple[str, Tensor, Tensor]]:
    """(where in the result, got, expected) for every tensor or number of the result."""
    __tracebackhide__ = True
    if isinstance(got, Tensor):
        if not isinstance(expected, Tensor):
            wanted = dtype if got.is_floating_point() else got.dtype
            expected = torch.as_tensor(expected, dtype=wanted).reshape(_shape_of(expected, got))
        if got.shape != expected.shape:
            _broken(law, got, expected, f"shape {tuple(got.shape)} came out, not {tuple(expected.shape)}")
        if got.dtype != expected.dtype:
            _broken(law, got, expected, f"dtype {got.dtype} came out, not {expected.dtype}")
        if got.device != expected.device:
            _broken(law, got, expected, f"a tensor on the device {got.device} came out, not on {expected.device}")
        return [(where, got.detach(), expected.detach())]
    if isinstance(got, bool | int | float | np.generic):
        kind = torch.float64 if isinstance(got, float | np.floating) else torch.tensor(got).dtype
        return [(where, torch.tensor(got, dtype=kind), torch.as_tensor(expected, dtype=kind))]
    if not isinstance(got, list | tuple | dict):
        _broken(law, got, expected, f"a {type(got).__name__} came out")
    if isinstance(got, dict) and set(got) != set(expected):
        _broken(law, got, expected, f"the keys {sorted(got)} came out, not {sorted(expected)}")
    if len(got) != len(expected):
        _broken(law, got, expected, f"{len(got)} came out, not {len(expected)}")
    keys = list(got) if isinstance(got, dict) else range(len(got))
    names = getattr(got, "_fields", keys)
    parts = [(got[key], expected[key], f"{where} [{name}]") for key, name in zip(keys, names, strict=True)]
    return [pair for one, other, place in parts for pair in _pairs(one, other, law, dtype, place)]


def _shape_of(numbers, got: Tensor) -> tuple[int, ...]:
    shape = tuple(np.shape(numbers))
    return tuple(got.shape) if 0 in shape and got.numel() == 0 else shape  # [] stands for any empty tensor


def _around_the_first_difference(got: Tensor, expected: Tensor, tolerances: dict) -> list:
    """Both as they are; of large ones, three numbers on either side of the first that differs."""
    if got.dim() == 0 or max(len(show(got)), len(show(expected))) < LONGEST or got.is_meta:
        return [got, expected]
    wide = [tensor.flatten().to(torch.promote_types(tensor.dtype, torch.float64)) for tensor in (got, expected)]
    wrong = (~torch.isclose(*wide, **(tolerances or {"rtol": 1e-7, "atol": 0}), equal_nan=True)).nonzero()
    first = int(wrong[0]) if len(wrong) else 0
    index = tuple(int(place) for place in torch.unravel_index(torch.tensor(first), got.shape))
    return [_Part(tensor, max(first - 3, 0), first + 4, index) for tensor in (got, expected)]


class _Part(NamedTuple):
    """Some consecutive elements of a tensor, in reading order."""

    whole: Tensor
    first: int
    end: int
    index: tuple[int, ...]  # of what matters

    def __repr__(self) -> str:
        numbers = ", ".join(map(repr, _rounded(self.whole.flatten()[self.first : self.end].tolist())))
        before, after = "… " * (self.first > 0), " …" * (self.end < self.whole.numel())
        where = f"around [{', '.join(map(str, self.index))}]"
        return f"{before}{numbers}{after}   {_kind(self.whole)}, {where}"


def _kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape) if tensor.dim() else ''}".strip()


def _difference(got: Tensor, expected: Tensor, message: str) -> str:
    if got.dim() == 0:
        return f"off by {abs(float(got) - float(expected)):.3g}"
    lines = [line for line in message.splitlines() if line.startswith(("Mismatched", "Greatest absolute", "Expected"))]
    return "; ".join(lines) or message


def _broken(law: str, got, expected, difference: str):
    __tracebackhide__ = True
    raise AssertionError(f"{law}\n  got       {show(got)}\n  expected  {show(expected)}\n  {difference}")


def show(value, limit: int = LONGEST) -> str:
    """A value in few characters: numbers rounded, shape and dtype told where it is a tensor of any size."""
    if isinstance(value, Tensor):
        numbers = "…" if value.is_meta else _rounded(value.detach().tolist())
        text = " ".join(repr(numbers).split())
        text = text if len(text) <= limit else text[:limit] + " …"
        return f"{text}   {_kind(value)}"
    text = repr(value)
    return text if len(text) <= limit else text[:limit] + " …"


def _rounded(numbers):
    if isinstance(numbers, list):
        return [_rounded(number) for number in numbers]
    return float(f"{numbers:.9g}") if isinstance(numbers, float) else numbers


# --- refusals and noise -----------------------------------------------------------------------------------------------


def expect_refused(name: str, call: Callable[[], object]) -> None:
    """The call raises a ValueError that names the argument."""
    __tracebackhide__ = True
    law = f"a wrong argument raises a ValueError that names it: `{name}`"
    try:
        result = call()
    except NotImplementedError:
        raise
    except Exception as error:
        if isinstance(error, ValueError) and re.search(rf"\b{re.escape(name)}\b", str(error)):
            return
        first, *_ = str(error).splitlines() or [""]
        raise AssertionError(f"{law}\n  got       {type(error).__name__}: {first}") from error
    raise AssertionError(f"{law}\n  got       {show(result)}")


def expect_fresh_noise(noise: Tensor, law: str) -> None:
    """Standard normal, and along no axis (step, sample, channel, row …) is one slice a copy of another.

    A mean errs by 1 / sqrt(n), a variance by sqrt(2 / n), a correlation by 1 / sqrt(n). The limit is six of them: one
    false alarm in some ten million comparisons.
    """
    __tracebackhide__ = True
    count = noise.numel()
    if not abs(noise.mean()) < 6 / count**0.5 or not abs(noise.var() - 1) < 6 * (2 / count) ** 0.5:
        raise AssertionError(f"{law}\n  mean {noise.mean():.3f} and variance {noise.var():.3f} instead of 0 and 1")
    for axis in range(noise.dim()):
        slices = noise.movedim(axis, 0).flatten(1)
        worst = float(slices.corrcoef().fill_diagonal_(0).abs().max()) if len(slices) > 1 else 0.0
        if not worst < 6 / slices.shape[1] ** 0.5:
            raise AssertionError(
                f"{law}\n  two slices along axis {axis} have correlation {worst:.2f}: the same draw twice?"
            )
