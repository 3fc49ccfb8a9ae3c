"""The laws that every kata obeys (`katas/README.md`), and laws that several specs need.

A law takes a function and example arguments, float64 where they are floating: `law(box_iou, boxes1, boxes2)`. Arguments
and results may be tensors, numbers, and lists, tuples or dictionaries of them.
"""

import random
from collections.abc import Callable
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map

from katas.lab.expect import expect_close, show
from katas.lab.trees import annotation_checks

# --- the standing laws ----------------------------------------------------------------------------------------------


def inputs_are_not_changed(fn: Callable, *args, **kwargs) -> None:
    __tracebackhide__ = True
    leaves = _tensors((args, kwargs))
    before = [(leaf.clone(), leaf._version, leaf.requires_grad) for leaf in leaves]
    fn(*args, **kwargs)
    for leaf, (copy, version, requires_grad) in zip(leaves, before, strict=True):
        changed = leaf._version != version or not torch.equal(leaf.nan_to_num(), copy.nan_to_num())
        if changed or leaf.requires_grad != requires_grad:
            raise AssertionError(
                f"{_name(fn)} changes its input: the caller's tensor is no longer what it was\n"
                f"  before  {show(copy)}\n  after   {show(leaf)}\n"
                "  an in-place operation (+=, clamp_, index assignment) works on the caller's memory: make a new tensor"
            )


def dtype_is_followed(fn: Callable, *args, **kwargs) -> None:
    """float32 in, float32 out; float64 in, float64 out: whatever the default dtype is. No float32 result is NaN or
    infinite where the float64 one is not.
    """
    __tracebackhide__ = True
    finite = []
    for dtype, other in ((torch.float32, torch.float64), (torch.float64, torch.float32)):
        cast_args, cast_kwargs = _cast((args, kwargs), dtype)
        with default_dtype(other):
            result = fn(*cast_args, **cast_kwargs)
        for leaf in _tensors(result):
            if leaf.is_floating_point() and leaf.dtype != dtype:
                raise AssertionError(
                    f"{_name(fn)} does not follow the dtype of its input: {dtype} went in, {leaf.dtype} came out\n"
                    "  a new tensor takes its dtype from an input: `x.new_zeros(…)`, `dtype=x.dtype`"
                )
        finite.append([leaf.isfinite() for leaf in _tensors(result)])
    for narrow, wide in zip(*finite, strict=True):
        if narrow.shape == wide.shape and (wide & ~narrow).any():
            raise AssertionError(
                f"{_name(fn)} gives NaN or infinity in float32 where float64 gives a number\n"
                "  1e-60 is 0 in float32, and exp(89) infinite: choose what is added or clamped by the dtype"
            )


# A tensor on the default device that is read as numbers, or moved (`torch.tensor(2.0).to(x)`), is right on any device;
# only the meta device, which has no numbers, cannot play along: no verdict.
_READ_OR_MOVED = ("copy out of meta", "cannot be called on meta", "convert meta device", "register_meta function")


def device_is_followed(fn: Callable, *args, **kwargs) -> None:
    """Tensors are made on the device of the input. That is the CPU here, and the default device is another one.

    The same on every machine: a module or a generator that the function has in itself would stay behind if the
    arguments were moved to a GPU.
    """
    __tracebackhide__ = True
    told = (
        f"{_name(fn)} makes a tensor on the default device, not on that of its input, a tensor or a generator\n"
        "  say `device=x.device` for every new tensor, or derive it (`x.new_zeros(…)`, `torch.zeros_like(x)`)"
    )
    expected = fn(*args, **kwargs)  # an error that has nothing to do with devices shows itself here
    moves = _Moves()
    with torch.device("meta"), moves:
        try:
            result = fn(*args, **kwargs)
        except IndexError as error:  # an index on the meta device has no numbers: what is read there is garbage
            raise AssertionError(f"{told}\n  {str(error).splitlines()[0]}") from None
        except (RuntimeError, NotImplementedError, TypeError) as error:
            if moves.to_the_cpu or any(words in str(error) for words in _READ_OR_MOVED):
                return
            if isinstance(error, NotImplementedError | TypeError) and "meta" not in str(error):
                raise
            if "device" not in str(error) and "meta" not in str(error):
                raise
            raise AssertionError(f"{told}\n  {str(error).splitlines()[0]}") from None
    if any(leaf.device.type != "cpu" for leaf in _tensors(result)):
        raise AssertionError(told)
    if not _equal(result, expected) and _equal(fn(*args, **kwargs), expected):  # not random: garbage was read
        raise AssertionError(f"{told}\n  with another default device the result has other numbers")


class _Moves(TorchFunctionMode):
    """Notices code that moves tensors to the CPU on purpose: it may mix what comes from there with new tensors."""

    to_the_cpu = False

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        named = func is Tensor.to and any(isinstance(a, str) and a == "cpu" for a in (*args, *kwargs.values()))
        self.to_the_cpu |= func is Tensor.cpu or named
        return func(*args, **kwargs)


def _equal(result, expected) -> bool:
    first, second = _tensors(result), _tensors(expected)
    same = all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(first, second, strict=False))
    return len(first) == len(second) and same


def global_rng_is_untouched(fn: Callable, *args, **kwargs) -> None:
    __tracebackhide__ = True
    torch.rand(1), np.random.rand(), random.random()  # past every seed that the function may set
    before = _rng_states()
    with annotation_checks(False):  # they look at a random item of a list
        fn(*args, **kwargs)
    after = _rng_states()
    for library, state in before.items():
        if not np.array_equal(state, after[library]):
            raise AssertionError(
                f"{_name(fn)} draws from the global random generator of {library}, so a run cannot be repeated\n"
                "  randomness comes from the arguments (a generator, or the noise itself)"
            )


def _rng_states() -> dict[str, np.ndarray]:
    _, numbers, place, *_ = np.random.get_state()
    return {
        "torch": torch.get_rng_state().numpy(),
        "numpy": np.append(numbers, place),
        "random": np.array(random.getstate()[1]),
    }


def memory_layout_does_not_matter(fn: Callable, *args, **kwargs) -> None:
    """The same numbers, laid out in memory with gaps and in another order, give the same result."""
    __tracebackhide__ = True
    scattered_args, scattered_kwargs = tree_map(_scattered, (args, kwargs))
    expected = fn(*args, **kwargs)
    try:
        result = fn(*scattered_args, **scattered_kwargs)
    except RuntimeError as error:
        if "view" not in str(error) and "contiguous" not in str(error):
            raise
        raise AssertionError(
            f"{_name(fn)} needs contiguous memory, and a transposed or sliced tensor has none: use reshape, not view\n"
            f"  {str(error).splitlines()[0]}"
        ) from None
    expect_close(result, expected, f"{_name(fn)} does not depend on how its input lies in memory")


def empty_batches_give_empty_results(fn: Callable, *args, **kwargs) -> None:
    """Every tensor that is as long as the first one is cut to length 0: what was a batch comes out empty.

    In the example every batched tensor has the length of the first, and no other tensor has it. A mean over nothing is
    for the spec to settle; here a call must not fail.
    """
    __tracebackhide__ = True
    sizes = [len(leaf) for leaf in _tensors((args, kwargs)) if leaf.dim()]
    if not sizes:
        return

    def emptied(leaf):
        return leaf[:0] if isinstance(leaf, Tensor) and leaf.dim() and len(leaf) == sizes[0] else leaf

    empty_args, empty_kwargs = tree_map(emptied, (args, kwargs))
    expected = _tensors(fn(*args, **kwargs))
    try:
        result = _tensors(fn(*empty_args, **empty_kwargs))
    except (RuntimeError, IndexError, ValueError, ZeroDivisionError) as error:
        raise AssertionError(
            f"{_name(fn)} fails on an empty batch\n  {type(error).__name__}: {str(error).splitlines()[0]}"
        ) from error
    for got, full in zip(result, expected, strict=True):
        if full.dim() and (got.shape[1:] != full.shape[1:] or len(got) > 0) and len(full) == sizes[0]:
            shapes = f"{tuple(got.shape)}, not {(0, *full.shape[1:])}"
            raise AssertionError(f"{_name(fn)} gives an empty result for an empty batch\n  shape {shapes}")


STANDING_LAWS = [
    inputs_are_not_changed,
    dtype_is_followed,
    device_is_followed,
    global_rng_is_untouched,
    memory_layout_does_not_matter,
    empty_batches_give_empty_results,
]


# --- laws that several specs need -------------------------------------------------------------------------------------


def unit_of_length_does_not_matter(fn: Callable, *args, power: float = 0, **kwargs) -> None:
    """`fn` of coordinates in another unit is `fn` of the coordinates, times unit ** power (0: IoU; 1: boxes; 2: areas).

    Every floating tensor among `args` is a length. The units are powers of two, so nothing is rounded. Of coordinates
    about 10 they make about 1e-3 and 1e6.
    """
    __tracebackhide__ = True
    expected = fn(*args, **kwargs)
    for unit in (2.0**-13, 2.0**17):
        scaled = [leaf * unit if _floating(leaf) else leaf for leaf in args]
        wanted = tree_map(lambda leaf, unit=unit: leaf * unit**power if _floating(leaf) else leaf, expected)
        expect_close(
            fn(*scaled, **kwargs), wanted, f"{_name(fn)} is the same rule at every size: coordinates × {unit:g}"
        )


# --- gradients ------------------------------------------------------------------------------------------------------


def gradients_are_right(fn: Callable, *args, **kwargs) -> None:
    """Against finite differences in float64, for every floating tensor among `args` and every floating output.

    Keep away from kinks.
    """
    __tracebackhide__ = True
    leaves = [leaf.detach().clone().requires_grad_() if _floating(leaf) else leaf for leaf in args]

    def outputs(*inputs):
        return tuple(leaf for leaf in _tensors(fn(*inputs, **kwargs)) if leaf.is_floating_point())

    results = outputs(*leaves)
    for index, result in enumerate(results):  # gradcheck passes over an output that has no gradient
        if not result.requires_grad:
            raise AssertionError(_no_gradient(fn, result, f" to output {index}" if len(results) > 1 else ""))
    if not results:
        raise AssertionError(f"{_name(fn)} returns no floating tensor")
    try:
        torch.autograd.gradcheck(outputs, tuple(leaves))
    except RuntimeError as error:
        raise AssertionError(f"the gradient of {_name(fn)} is not that of the formula\n{error}") from None


def gradients_are_finite(fn: Callable, *args, **kwargs) -> None:
    """The sum of the outputs has a finite gradient with respect to every floating tensor among `args`."""
    __tracebackhide__ = True
    leaves = [leaf.detach().clone().requires_grad_() if _floating(leaf) else leaf for leaf in args]
    results = [leaf for leaf in _tensors(fn(*leaves, **kwargs)) if leaf.is_floating_point()]
    total = sum(leaf.sum() for leaf in results)
    if not isinstance(total, Tensor) or not total.requires_grad:
        raise AssertionError(_no_gradient(fn, results[0] if results else total))
    inputs = [leaf for leaf in leaves if _floating(leaf)]
    gradients = torch.autograd.grad(total, inputs, allow_unused=True)
    for leaf, gradient in zip(inputs, gradients, strict=True):
        if gradient is not None and not gradient.isfinite().all():
            raise AssertionError(
                f"the gradient of {_name(fn)} is not finite\n  input     {show(leaf)}\n  gradient  {show(gradient)}\n"
                "  masking a bad value afterwards is too late: 0 × inf is NaN in the backward pass; guard it before"
            )


def _no_gradient(fn: Callable, result, where: str = "") -> str:
    return (
        f"no gradient flows through {_name(fn)}{where}: a constant, detached, or computed on Python numbers?\n"
        f"  it returned  {show(result)}"
    )


# --- plumbing -------------------------------------------------------------------------------------------------------


def _tensors(tree) -> list[Tensor]:
    return [leaf for leaf in tree_flatten(tree)[0] if isinstance(leaf, Tensor)]


def _floating(leaf) -> bool:
    return isinstance(leaf, Tensor) and leaf.is_floating_point()


def _cast(tree, dtype: torch.dtype):
    return tree_map(lambda leaf: leaf.to(dtype) if _floating(leaf) else leaf, tree)


def _scattered(leaf):
    if not isinstance(leaf, Tensor) or leaf.dim() == 0:
        return leaf
    padded = torch.stack([leaf, torch.zeros_like(leaf)], dim=-1)  # every second element is something else
    order = list(range(leaf.dim()))[::-1]
    laid_out = padded.permute(*order, leaf.dim()).contiguous()  # the first axis now runs fastest
    return laid_out.permute(*order, leaf.dim())[..., 0]


@contextmanager
def default_dtype(dtype: torch.dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _name(fn: Callable) -> str:
    return getattr(fn, "__name__", type(fn).__name__)
