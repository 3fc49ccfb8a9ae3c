"""Who is how fast. All take turns, so that nobody pays alone for a clock, a cache or another process."""

import statistics
import time
from collections.abc import Callable, Mapping

import torch


def in_turns(
    tasks: Mapping[str, Callable[[], object]], device: str = "cpu", *, seconds: float = 2.0, clock=time.perf_counter
) -> dict[str, list[float]]:
    """By name, what each round of each task took, in seconds. There are at least three rounds after the first one.

    Rounds go on for about so many `seconds`. The first third warms up and is left out.
    """
    times: dict[str, list[float]] = {name: [] for name in tasks}
    end, rounds = time.perf_counter() + seconds, 0
    while rounds < 4 or time.perf_counter() < end:
        rounds += 1
        for name, task in tasks.items():
            start = clock()
            task()
            if device == "cuda":
                torch.cuda.synchronize()
            times[name].append(clock() - start)
    return {name: found[max(1, rounds // 3) :] for name, found in times.items()}


def told(times: Mapping[str, list[float]], number: int = 0, what: str = "") -> str:
    """The medians on a line: "yours 1.2 ms, solution 1.1 ms". With a `number` of things, also things a second."""
    medians = {name: statistics.median(found) for name, found in times.items()}
    return ", ".join(
        f"{name} {_readable(median)}{f' ({number / median:,.0f} {what} a second)' if number else ''}"
        for name, median in medians.items()
    )


def ratio(times: Mapping[str, list[float]], one: str, other: str) -> float:
    """The median over the rounds of the time of `one` over that of `other`."""
    return statistics.median(a / b for a, b in zip(times[one], times[other], strict=True))


def _readable(seconds: float) -> str:
    unit, factor = next(((u, f) for u, f in (("s", 1), ("ms", 1e3)) if seconds * f >= 1), ("µs", 1e6))
    return f"{seconds * factor:.3g} {unit}"
