"""What belongs to all katas: settings of torch, functions of the libraries, seeds, threads. Who changes it is named."""

import functools
import operator
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from katas.lab import catalog, trees

SETTINGS = {  # of torch: how to ask, and how to put back
    "default dtype": (lambda torch: torch.get_default_dtype(), lambda torch, was: torch.set_default_dtype(was)),
    "default device": (lambda torch: torch.get_default_device(), lambda torch, was: torch.set_default_device(was)),
    "gradient mode": (lambda torch: torch.is_grad_enabled(), lambda torch, was: torch.set_grad_enabled(was)),
}
OF_THE_PROCESS = {  # the same. (Libraries change the environment and the module search path themselves.)
    "working directory": (os.getcwd, os.chdir),
    "recursion limit": (sys.getrecursionlimit, sys.setrecursionlimit),
}
SHARED = ("torch", "torch.Tensor", "torch.nn", "torch.nn.functional", "torch.nn.init", "numpy", "math", "random")
SEEDS = {  # what sets the state of a global random generator to a fixed one, and what puts it back
    "torch.random": (("manual_seed", "seed"), "set_rng_state"),
    "numpy.random": (("seed",), "set_state"),
    "random": (("seed",), "setstate"),
}


class World:
    """What all katas share: settings, functions of the libraries, seeds, threads.

    With `monkeypatched`, the spec replaces functions and settings of the process itself, and puts them right later.
    """

    def __init__(self, *, monkeypatched: bool = False):
        watch_seeds()
        _seeded.clear()
        torch, names = sys.modules.get("torch"), () if monkeypatched else SHARED
        self.settings = {name: ask(torch) for name, (ask, _) in SETTINGS.items()} if torch else {}
        self.process = {} if monkeypatched else {name: ask() for name, (ask, _) in OF_THE_PROCESS.items()}
        self.functions = {name: dict(vars(shared)) for name in names if (shared := _shared(name))}
        self.threads = set(threading.enumerate())

    def put_right(self) -> str | None:
        """What is no longer as it was, in words. From then on it is again, but for threads."""
        told, torch = [], sys.modules.get("torch")
        for name, was in self.settings.items():
            ask, put_back = SETTINGS[name]
            if (now := ask(torch)) != was:
                told.append(f"the {name} of torch is {now} from here on, no longer {was}")
                put_back(torch, was)
        for name, was in self.process.items():
            ask, put_back = OF_THE_PROCESS[name]
            if _asked(ask) != was:
                told.append(f"the {name} is another one from here on")
                put_back(was)
        for name, functions in self.functions.items():
            now = vars(_shared(name))
            if name == "torch.Tensor":  # most of its methods are inherited: to replace them is to add them
                added = [own for own in now if own not in functions and hasattr(torch._C.TensorBase, own)]
                for own in [own for own in added if not _is_of_the_library(now[own], name, own)]:
                    told.append(f"{name}.{own} is something else from here on")
                    delattr(torch.Tensor, own)
            if all(map(operator.is_, functions.values(), map(now.get, functions))):  # at the speed of C
                continue
            changed = [own for own, was in functions.items() if now.get(own) is not was]
            for own in [own for own in changed if not _is_of_the_library(now.get(own), name, own)]:
                told.append(f"{name}.{own} is something else from here on")
                setattr(_shared(name), own, functions[own])
        for library, place in _seeded.items():
            told.append(f"the global random generator of {library} starts anew: {place}")
        for thread in set(threading.enumerate()) - self.threads:
            if getattr(getattr(thread, "_target", None), "__module__", "") == "concurrent.futures.thread":
                continue  # those of a pool, such as torch.compile has one, end with the process
            thread.join(0 if thread.daemon else 1)
            if thread.is_alive() and not thread.daemon:
                told.append(f"the thread {thread.name} has not ended")
        return "changes what all katas share\n  " + "\n  ".join(told) if told else None


def _asked(ask: Callable):
    try:
        return ask()
    except OSError:  # the working directory is gone
        return None


def _is_of_the_library(value, name: str, own: str) -> bool:
    """PyTorch replaces some of its own functions, when the first optimizer is made."""
    code, library = getattr(value, "__code__", None), sys.modules[name.partition(".")[0]]
    if code is None:
        return getattr(value, "__name__", None) == own
    home = getattr(library, "__file__", None)
    return home is not None and Path(code.co_filename).is_relative_to(Path(home).parent)


def _shared(name: str):
    module = sys.modules.get(name.removesuffix(".Tensor"))
    return module.Tensor if module and name.endswith(".Tensor") else module


# --- seeds ------------------------------------------------------------------------------------------------------------

_seeded: dict[str, str] = {}  # the library, and the call that seeded its global generator


def watch_seeds() -> None:
    """From here on it is known which kata seeds a global generator, and does not put it back (`fork_rng` does)."""
    for home, (seeding, restoring) in SEEDS.items():
        module = sys.modules.get(home)
        if module is None or hasattr(getattr(module, restoring), "watched"):
            continue
        for name in (*seeding, restoring):
            watched = _watched(getattr(module, name), home, is_seed=name in seeding)
            for owner in (module, sys.modules[home.partition(".")[0]]):
                if hasattr(owner, name):
                    setattr(owner, name, watched)


def _watched(function: Callable, home: str, *, is_seed: bool) -> Callable:
    library = home.partition(".")[0]

    @functools.wraps(function)
    def call(*args, **kwargs):
        place = _kata_that_calls(sys._getframe(1))
        if not is_seed:
            _seeded.pop(library, None)
        elif place:
            _seeded[library] = f"{home.replace('torch.random', 'torch')}.{function.__name__} at {place}"
        return function(*args, **kwargs)

    call.watched = True
    return call


def _kata_that_calls(frame: FrameType | None) -> str | None:
    """The innermost frame outside of the libraries, if it is a kata's."""
    while frame is not None and "-packages" in frame.f_code.co_filename:
        frame = frame.f_back
    if frame is None or not trees.is_kata_file(frame.f_code.co_filename):
        return None
    return f"{catalog.shown(frame.f_code.co_filename)}:{frame.f_lineno}"
