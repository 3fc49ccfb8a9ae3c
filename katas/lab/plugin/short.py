"""`--short`: full checks and dynamics cut down to seconds. All of their lines run; what they reach is not asserted.

What is cut says `given/short.py` of a topic: by name, what a constant becomes or, for a function, what wraps it.
"""

import functools
import importlib

import pytest

from katas.lab import catalog

CUT_DOWN = ("full_training", "dynamics")


def pytest_addoption(parser):
    help_text = "full checks and dynamics in seconds: do they run to their end? Nothing is asserted of their results"
    parser.getgroup("katas").addoption("--short", action="store_true", help=help_text)


def pytest_configure(config):
    if config.getoption("--short"):
        catalog.RUNS = catalog.RUNS / "short"  # what real runs have left is not written over


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makemodule(module_path, parent):
    topic, check = catalog.kata_of_node(catalog.shown(module_path)) or ("", "")
    return ShortCheck.from_parent(parent, path=module_path) if check in CUT_DOWN and _is_asked_for(parent) else None


def _is_asked_for(collector) -> bool:
    return collector.config.getoption("--short")


class ShortCheck(pytest.Module):
    def collect(self):
        """The module once more without its assertions, after what it is given has been cut."""
        module, (topic, _) = self.obj, catalog.kata_of_node(self.nodeid)
        changes = _what_is_given_is_cut(topic)
        exec(compile(self.path.read_text("utf-8"), str(self.path), "exec", optimize=1), module.__dict__)
        _cut(module, changes)
        return [item for item in super().collect() if not _is_another_seed(item)]


@functools.cache
def _what_is_given_is_cut(topic: str) -> dict:
    if not (catalog.topic_folder(topic) / "given" / "short.py").is_file():
        return {}
    short = importlib.import_module(f"katas.{topic}.given.short")
    for module in short.MODULES:
        _cut(module, short.CHANGES)
    return short.CHANGES


def _cut(module, changes: dict) -> None:
    for name in changes.keys() & vars(module).keys():
        change = changes[name]
        setattr(module, name, change(getattr(module, name)) if callable(change) else change)


def _is_another_seed(item) -> bool:
    return bool(getattr(item, "callspec", None) and item.callspec.params.get("seed"))


# --- for given/short.py -----------------------------------------------------------------------------------------------


def first(count: int):
    """A function's result, a tuple, cut to so many rows."""
    return lambda real: lambda *args, **kwargs: type(found := real(*args, **kwargs))(*(part[:count] for part in found))


def at_most(count: int):
    """A function's first argument, cut."""
    return lambda real: lambda number, *args, **kwargs: real(min(number, count), *args, **kwargs)


def always(**options):
    """A function, called with these options whatever the check says."""
    return lambda real: lambda *args, **kwargs: real(*args, **(kwargs | options))


def smaller(**changes):
    """A dictionary of options, some of them changed."""
    return lambda options: options | changes


def nothing(real):
    return lambda *args, **kwargs: None
