"""What keeps a wild kata from taking the machine with it: limits of time and memory around its code.

A hang is cut here, by the timer of `start_timer`; pytest-timeout says when to start and to stop it.
"""

import contextlib
import signal
import sys
from collections.abc import Iterator

import pytest

from katas.lab.catalog import kata_of_node
from katas.lab.plugin.selection import is_on_request
from katas.lab.trees import annotation_checks

GIB = 1024**3
MEMORY_LIMIT_GIB = 4
SECONDS_TO_IMPORT = 60  # a spec with its kata; PyTorch on a cold disk included


# --- limits -----------------------------------------------------------------------------------------------------------


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
    """An allocation of more than `gib` beyond what the process has now fails. Linux only; not once CUDA is in use."""
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


@contextlib.contextmanager
def import_limit() -> Iterator[None]:
    """For a spec that is imported, with its kata."""
    if sys.platform == "win32":
        yield
        return
    start_timer(SECONDS_TO_IMPORT)
    try:
        yield
    finally:
        stop_timer()


# --- around a test ----------------------------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item, nextitem):
    on_request = is_on_request(item)
    with annotation_checks(not on_request), _one_thread(not on_request):
        return (yield)


@contextlib.contextmanager
def _one_thread(on: bool):
    """The tensors of a spec are tiny: on a busy machine several threads only wait for each other (20 times slower)."""
    torch = sys.modules.get("torch")
    if not on or torch is None:
        yield
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    limited = kata_of_node(item.nodeid) and not is_on_request(item)
    if not limited:
        return (yield)
    with memory_limit():
        return (yield)


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_timeout_set_timer(item, settings):
    if kata_of_node(item.nodeid) is None or not settings.timeout or sys.platform == "win32":
        return None  # pytest-timeout's own timer
    start_timer(settings.timeout)
    return True


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_timeout_cancel_timer(item):
    if kata_of_node(item.nodeid) is None or sys.platform == "win32":
        return None
    stop_timer()
    return True
