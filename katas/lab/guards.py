"""What keeps a wild kata from taking the machine with it: a time limit and a memory limit for each test."""

import contextlib
import signal
import sys
from collections.abc import Iterator

GIB = 1024**3
MEMORY_LIMIT_GIB = 4


class KataTimeout(BaseException):
    """Not an Exception: neither a kata's `except Exception` nor hypothesis, which would try again, may swallow it."""


def start_timer(seconds: float) -> None:
    def stop(signum, frame):
        raise KataTimeout(f"{seconds:g}")

    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)


def stop_timer() -> None:
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)


@contextlib.contextmanager
def memory_limit(gib: float = MEMORY_LIMIT_GIB) -> Iterator[None]:
    """An allocation that takes this process more than `gib` above what it has now fails. Linux; not once CUDA is in use."""
    torch = sys.modules.get("torch")
    in_use = _data_bytes()
    if in_use is None or (torch is not None and torch.cuda.is_initialized()):
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = in_use + int(gib * GIB)
    resource.setrlimit(resource.RLIMIT_DATA, (limit if soft == resource.RLIM_INFINITY else min(soft, limit), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _data_bytes() -> int | None:
    """Private writable memory of this process, as RLIMIT_DATA counts it."""
    try:
        with open("/proc/self/status") as status:
            line = next(line for line in status if line.startswith("VmData:"))
        return int(line.split()[1]) * 1024
    except (OSError, StopIteration):
        return None
