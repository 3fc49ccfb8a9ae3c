"""The budget of a full check: what it would cost on a GeForce GTX 1060, measured on whatever machine runs it.

    with budget(device):  # in a check, the fixture: `with budget():`
        train(...)

tells wall time, peak GPU memory, floating-point operations and the projected time, and fails if the operations would
take too long on that card or the memory is over the limit. Counting operations costs time, so hand over `flops` if
they are known from one step.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

PEAK_FLOPS = 4.4e12  # of a GTX 1060 in float32
EFFICIENCY = 0.35  # of the peak, reached by small convolutional networks
MAX_SECONDS = 5 * 60.0
MAX_BYTES = 5.5 * 2**30


class Cost(NamedTuple):
    wall_seconds: float
    flops: float
    peak_bytes: int | None  # None: not measured, there is no GPU
    on_gpu: bool

    @property
    def projected_seconds(self) -> float:
        """On a GTX 1060: the larger of the time the operations need there and, if a GPU did it, the time it
        took here."""
        return max(self.wall_seconds, self.seconds_by_flops) if self.on_gpu else self.seconds_by_flops

    @property
    def seconds_by_flops(self) -> float:
        return self.flops / (PEAK_FLOPS * EFFICIENCY)

    def __str__(self) -> str:
        memory = "no GPU" if self.peak_bytes is None else f"{self.peak_bytes / 2**30:.2f} GiB of GPU memory"
        return (
            f"{self.wall_seconds:.0f} s of wall time, {memory}, {self.flops / 1e12:.2f} TFLOP; "
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
    max_seconds: float = MAX_SECONDS,
    max_bytes: float = MAX_BYTES,
    report: Callable[[str], None] = print,
) -> Iterator[None]:
    """Measures the block, reports the cost in one line and checks it.

    `flops`: the operations, if they are known; None counts them, which makes the block slower.
    """
    on_gpu = torch.device(device).type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(device)
    start = time.perf_counter()
    with FlopCounterMode(display=False) if flops is None else nullcontext() as counter:
        yield
    if on_gpu:
        torch.cuda.synchronize(device)
    peak = torch.cuda.max_memory_allocated(device) if on_gpu else None
    total = float(counter.get_total_flops()) if flops is None else flops
    cost = Cost(time.perf_counter() - start, total, peak, on_gpu)
    report(str(cost))
    cost.check(max_seconds, max_bytes)


def cap_gpu_memory(max_bytes: float = MAX_BYTES) -> None:
    """From now on this process gets no more GPU memory than that, however large the card is."""
    total = torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, max_bytes / total))


def flops_of(step: Callable[[], object]) -> float:
    """Floating-point operations of `step()`, forward and backward, by torch.utils.flop_counter (a
    multiply-add is two)."""
    with FlopCounterMode(display=False) as counter:
        step()
    return float(counter.get_total_flops())
