"""What keeps a wild kata from harming the machine, other katas, or the truth of a result.

Limits of time, memory and output around a kata's code, and what it changes for everybody. `isolation` adds what only
another process can do.
"""

import contextlib
import operator
import os
import resource
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from katas.lab import catalog, forks, trees
from katas.lab.catalog import kata_of_node
from katas.lab.plugin.selection import is_on_request
from katas.lab.plugin.world import World
from katas.lab.trees import annotation_checks

GIB = 1024**3
MEMORY_LIMIT_GIB = 4
OUTPUT_LIMIT_MIB = 64
SECONDS_TO_IMPORT = 20  # a spec with its kata; the libraries are there
DEBUGGERS = ("debugpy", "pydevd", "_pydevd_bundle")


def forks_are_used(config) -> bool:
    """Where they are not, the limits of this module are all there is."""
    torch = sys.modules.get("torch")
    on_gpu = torch is not None and torch.cuda.is_initialized()  # CUDA does not survive a fork
    return forks.SUPPORTED and not is_debugged(config) and not on_gpu and not config.getoption("--in-process")


def is_debugged(config) -> bool:
    """Whether a person may look around in this process, for as long as they like."""
    attached = sys.gettrace() is not None or any(name in sys.modules for name in DEBUGGERS)
    return bool(config.option.usepdb or config.option.trace or attached)


def enter_fork() -> None:
    """In the fork, before anything of a kata: memory counts from here, and there is no GPU, which no spec needs."""
    global _began_with
    _began_with = None
    os.environ["CUDA_VISIBLE_DEVICES"] = ""


# --- limits -----------------------------------------------------------------------------------------------------------


class KataTimeout(BaseException):
    """Not an Exception: neither a kata's `except Exception` nor hypothesis, which would try again, may swallow it."""


def start_timer(seconds: float) -> None:
    """Of CPU time, or `forks.WALL` times as long by the clock.

    It then rings every second until it is heard: an exception can be swallowed.
    """

    def stop(signum, frame):
        raise KataTimeout(f"{seconds:g}")

    for timer, sign, limit in (
        (signal.ITIMER_PROF, signal.SIGPROF, seconds),
        (signal.ITIMER_REAL, signal.SIGALRM, forks.WALL * seconds),
    ):
        signal.signal(sign, stop)
        signal.setitimer(timer, limit, 1)


def stop_timer() -> None:
    for timer, sign in ((signal.ITIMER_PROF, signal.SIGPROF), (signal.ITIMER_REAL, signal.SIGALRM)):
        signal.setitimer(timer, 0)
        signal.signal(sign, signal.SIG_DFL)


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Of CPU time, for what this process does; 0 for none."""
    if seconds:
        start_timer(seconds)
    try:
        yield
    finally:
        stop_timer()


@contextlib.contextmanager
def memory_limit(gib: float = MEMORY_LIMIT_GIB) -> Iterator[None]:
    """An allocation of more than `gib` beyond what the run began with fails. Linux only; not once CUDA is in use."""
    global _began_with
    torch, in_use = sys.modules.get("torch"), _data_bytes()
    if in_use is None or (torch is not None and torch.cuda.is_initialized()):
        yield
        return
    _began_with = _began_with or in_use
    with _resource_limit(resource.RLIMIT_DATA, _began_with + int(gib * GIB)):
        yield


_began_with: int | None = None


def _data_bytes() -> int | None:
    """Private writable memory of this process, as RLIMIT_DATA counts it."""
    try:
        with open("/proc/self/status") as status:
            line = next(line for line in status if line.startswith("VmData:"))
        return int(line.split()[1]) * 1024
    except (OSError, StopIteration):
        return None


@contextlib.contextmanager
def _resource_limit(kind: int, limit: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (limit if soft == resource.RLIM_INFINITY else min(soft, limit), hard))
    try:
        yield
    finally:
        resource.setrlimit(kind, (soft, hard))


def output_limit():
    """A file, and so what is captured of a test's output, grows no further."""
    return _resource_limit(resource.RLIMIT_FSIZE, OUTPUT_LIMIT_MIB * 2**20)


def told_file(topic: str, kata: str) -> str:
    finder = trees.installed()
    return catalog.shown(finder and finder.file_of(topic, kata) or catalog.spec_of(topic, kata))


# --- around an import and a test --------------------------------------------------------------------------------------


@contextlib.contextmanager
def import_limits() -> Iterator[None]:
    """For a spec that is imported, with its kata."""
    with time_limit(SECONDS_TO_IMPORT), memory_limit(), output_limit():
        yield


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    if kata_of_node(collector.nodeid) is None or forks_are_used(collector.config):  # a fork has tried it, with limits
        return (yield)
    with import_limits():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item, nextitem):
    on_request = is_on_request(item)
    with annotation_checks(not on_request), one_thread(not on_request):
        return (yield)


@contextlib.contextmanager
def one_thread(on: bool = True) -> Iterator[None]:
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
    names = kata_of_node(item.nodeid)
    if names is None or is_on_request(item):
        return (yield)
    world = World(monkeypatched="monkeypatch" in item.fixturenames)
    try:
        with memory_limit(), output_limit():
            return (yield)
    finally:
        if told := world.put_right():
            raise AssertionError(f"{told_file(*names)} {told}") from None
