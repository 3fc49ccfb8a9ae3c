"""The budget of a full check: what it would cost on a GeForce GTX 1060, measured on whatever machine runs it.

    with budget(device):  # in a check, the fixture: `with budget():`
        train(...)

tells wall time, peak GPU memory, floating-point operations and the projected time, and fails if the operations would
take too long on that card or the memory is over the limit. Counting operations costs time, so hand over `flops` if
they are known from one step.

Small models wait for the CPU that launches their kernels. `work_of(step)` counts what a step launches, computes and
moves. `Work.seconds` is what that costs on a GTX 1060 and the desktop CPU that feeds it.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, flop_registry

PEAK_FLOPS = 4.4e12  # of a GTX 1060 in float32
EFFICIENCY = 0.35  # of the peak, reached by small convolutional networks
BYTES_PER_SECOND = 192e9  # of its memory
SECONDS_PER_LAUNCH = 25e-6  # of a desktop CPU; 20e-6 were measured on an H100's host
MAX_SECONDS = 5 * 60.0
MAX_BYTES = 5.5 * 2**30


class Work(NamedTuple):
    """What some steps launch and compute. `seconds_on_card` is the sum of what each operator takes there alone."""

    launches: float = 0
    waits: float = 0  # for the device: .item(), boolean indices
    flops: float = 0
    seconds_on_card: float = 0

    @property
    def seconds(self) -> float:
        """On a GTX 1060: the card, or the CPU that feeds it, whichever is slower."""
        return max(self.seconds_on_card, self.launches * SECONDS_PER_LAUNCH)

    def times(self, number: float) -> "Work":
        return Work(*(number * part for part in self))


class Cost(NamedTuple):
    wall_seconds: float
    flops: float
    peak_bytes: int | None  # None: not measured, there is no GPU
    on_gpu: bool
    work: Work | None = None

    @property
    def projected_seconds(self) -> float:
        """On a GTX 1060: the larger of the time that the operations and launches need there and, if a GPU did it, the
        time it took here."""
        needed = self.work.seconds if self.work else self.seconds_by_flops
        return max(self.wall_seconds, needed) if self.on_gpu else needed

    @property
    def seconds_by_flops(self) -> float:
        return self.flops / (PEAK_FLOPS * EFFICIENCY)

    def __str__(self) -> str:
        memory = "no GPU" if self.peak_bytes is None else f"{self.peak_bytes / 2**30:.2f} GiB of GPU memory"
        return (
            f"{self.wall_seconds:.0f} s of wall time, {memory}, {self.flops / 1e12:.2f} TFLOP"
            f"{f', {self.work.launches:,.0f} launches' if self.work else ''}; "
            f"projected on a GTX 1060: {self.projected_seconds / 60:.1f} min"
        )

    def check(self, max_seconds: float = MAX_SECONDS, max_bytes: float = MAX_BYTES) -> None:
        """AssertionError that says by how much the budget is exceeded. Nobody fails for the time that passed here."""
        limit = max_seconds / 60
        assert self.seconds_by_flops <= max_seconds, f"more than {limit:.1f} min on a GTX 1060: {self}"
        fits = self.peak_bytes is None or self.peak_bytes <= max_bytes
        assert fits, f"more than {max_bytes / 2**30:.1f} GiB of GPU memory: {self}"


@contextmanager
def budget(
    device: torch.device | str = "cpu",
    *,
    flops: float | None = None,
    work: Work | None = None,
    max_seconds: float = MAX_SECONDS,
    max_bytes: float = MAX_BYTES,
    report: Callable[[str], None] = print,
) -> Iterator[None]:
    """Measures the block, reports the cost in one line and checks it.

    `flops`: the operations, if they are known; None counts them, which makes the block slower. `work`, from `work_of` a
    part of it, knows the launches as well.
    """
    on_gpu = torch.device(device).type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(device)
    start = time.perf_counter()
    flops = work.flops if work else flops
    with FlopCounterMode(display=False) if flops is None else nullcontext() as counter:
        yield
    if on_gpu:
        torch.cuda.synchronize(device)
    peak = torch.cuda.max_memory_allocated(device) if on_gpu else None
    total = float(counter.get_total_flops()) if flops is None else flops
    cost = Cost(time.perf_counter() - start, total, peak, on_gpu, work)
    report(str(cost))
    cost.check(max_seconds, max_bytes)


def cap_gpu_memory(max_bytes: float = MAX_BYTES) -> None:
    """From now on this process gets no more GPU memory than that, however large the card is."""
    total = torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, max_bytes / total))


NO_KERNEL = {"aten::empty", "aten::new_empty", "aten::empty_like", "aten::empty_strided", "aten::new_empty_strided"}
WAITS = {"aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::equal", "aten::_unique2"}


class _Counter(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.work = Work()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        name = func._schema.name
        if not func.is_view and name not in NO_KERNEL and name.startswith(("aten::", "torchvision::")):
            tensors = [leaf for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, Tensor)]
            count = flop_registry.get(func.overloadpacket)
            flops = count(*args, **(kwargs or {}), out_val=result) if count else 0
            moved = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
            seconds = max(flops / (PEAK_FLOPS * EFFICIENCY), moved / BYTES_PER_SECOND)
            by_mask = name.startswith("aten::index") and any(tensor.dtype == torch.bool for tensor in tensors[1:])
            more = (1, float(name in WAITS or by_mask), flops, seconds)
            self.work = Work(*(old + new for old, new in zip(self.work, more, strict=True)))
        return result


def work_of(step: Callable[[], object]) -> Work:
    """What `step()` launches, forward and backward. Counted on the CPU, it is an upper bound: some operators that run
    one by one there are one launch on a GPU."""
    with _Counter() as counter:
        step()
    return counter.work


def flops_of(step: Callable[[], object]) -> float:
    """Floating-point operations of `step()`, forward and backward, by torch.utils.flop_counter (a
    multiply-add is two)."""
    with FlopCounterMode(display=False) as counter:
        step()
    return float(counter.get_total_flops())
