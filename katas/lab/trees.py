"""Which implementation runs: an import finder that serves `katas.<topic>.<kata>` from the chosen tree.

`KATAS_IMPL="a:b"` (set by `pytest --impl a:b`) serves a kata from the first named tree that has it, then from `katas/`
itself. Module names stay `katas.…`, and tracebacks show the real file. Specs, `given` and `katas.lab` are never
touched. Under pytest the loader also checks shapes and dtypes from the annotations (jaxtyping and beartype).
"""

import functools
import importlib.abc
import importlib.machinery
import importlib.util
import linecache
import os
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from katas.lab import borrow, catalog, stubs

# Module name → source that is run in place of the file's: how mistakes are tried without writing them to the disk.
replaced_sources: dict[str, str] = {}

running: catalog.Names | None = None  # the kata whose spec runs now


class KataFinder(importlib.abc.MetaPathFinder):
    """Serves kata modules from `trees`, in order, then from `katas/`."""

    def __init__(self, trees: list[str], check_annotations: bool, borrows: bool = False):
        self.trees = trees
        self.check_annotations = check_annotations
        self.borrows = borrows  # what the learner's katas have not written, but for the one whose spec runs

    def find_spec(self, fullname, path=None, target=None):
        names = catalog.kata_of_module(fullname)
        if names is None:
            return None
        file = self.file_of(*names)
        if file is None:
            return None
        loader = KataLoader(fullname, str(file), self)
        return importlib.util.spec_from_file_location(fullname, file, loader=loader)

    def file_of(self, topic: str, kata: str) -> Path | None:
        candidates = (catalog.kata_file(topic, kata, tree) for tree in [*self.trees, catalog.OWN_TREE])
        return next((file for file in candidates if file.is_file()), None)


class KataLoader(importlib.machinery.SourceFileLoader):
    def __init__(self, fullname: str, path: str, finder: KataFinder):
        super().__init__(fullname, path)
        self.finder = finder

    def get_code(self, fullname):
        own = stubs.source_of(self.path)  # tells more of a file that is no text
        source = replaced_sources.get(fullname)
        names = catalog.kata_of_module(fullname)
        if source is None and self.finder.borrows and catalog.solution_file(*names).is_file():
            whole = borrow.completed(own, catalog.solution_file(*names).read_text("utf-8"))
            return super().get_code(fullname) if whole is None else compile(whole, self.path, "exec", dont_inherit=True)
        if source is None:
            return super().get_code(fullname)
        linecache.cache[self.path] = len(source), None, source.splitlines(keepends=True), self.path  # for tracebacks
        return compile(source, self.path, "exec", dont_inherit=True)

    def exec_module(self, module):
        names = catalog.kata_of_module(module.__name__)
        setattr(module, borrow.OWN_SPEC_RUNS, lambda: running == names)
        super().exec_module(module)
        if self.finder.check_annotations:
            check_annotations_of(module)


def install(trees: list[str] | None = None, *, check_annotations: bool = False, borrows: bool = False) -> KataFinder:
    """Install the finder (once: a second call replaces the first). Without `trees`, KATAS_IMPL names them."""
    if trees is None:
        trees = [tree for tree in os.environ.get("KATAS_IMPL", "").split(":") if tree]
    uninstall()
    finder = KataFinder(trees, check_annotations, borrows)
    sys.meta_path.insert(0, finder)
    return finder


def uninstall() -> None:
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, KataFinder)]


def installed() -> KataFinder | None:
    return next((finder for finder in sys.meta_path if isinstance(finder, KataFinder)), None)


def is_kata_file(file: str) -> bool:
    """Whether it is a kata of one of the trees that are installed."""
    finder = installed()
    return _is_kata_file(file, tuple(finder.trees if finder else ()))


_is_kata_file = functools.cache(catalog.is_kata_file)


def forget_katas() -> None:
    """Drop every imported module of a topic, so that the next import reads it anew."""
    for name in list(sys.modules):
        parts = name.split(".")
        if parts[0] == catalog.OWN_TREE and len(parts) >= 3 and parts[1] not in catalog.NOT_A_TOPIC:
            module, (parent, _, own) = sys.modules.pop(name), name.rpartition(".")
            if getattr(sys.modules.get(parent), own, None) is module:
                delattr(sys.modules[parent], own)
    # beartype knows hints by their text, so `list[Detections]` would go on to mean the class that was just dropped.
    # It forgets them all as soon as it is shown a class for the second time.
    if "beartype" in sys.modules:
        from beartype import beartype

        for _ in range(2):
            beartype(type("Forgotten", (), {"__module__": __name__}))


# --- shapes and dtypes from the annotations -------------------------------------------------------------------------

_checking = True


@contextmanager
def annotation_checks(on: bool) -> Iterator[None]:
    """Switch the checks on or off: training and timing run without them."""
    global _checking
    before, _checking = _checking, on
    try:
        yield
    finally:
        _checking = before


def check_annotations_of(module: types.ModuleType) -> None:
    """Wrap the module's own functions, and the methods of its own classes, so that calls are checked."""
    for name, value in list(vars(module).items()):
        if _is_own_function(value, module):
            setattr(module, name, _checked(value))
        elif isinstance(value, type) and value.__module__ == module.__name__:
            for attribute, member in list(vars(value).items()):
                inner = member.__func__ if isinstance(member, staticmethod | classmethod) else member
                if _is_own_function(inner, module):
                    wrapped = _checked(inner)
                    setattr(value, attribute, type(member)(wrapped) if inner is not member else wrapped)


def _is_own_function(value, module: types.ModuleType) -> bool:
    own = isinstance(value, types.FunctionType) and value.__code__.co_filename == module.__file__
    return own and bool(value.__annotations__)


def _checked(function: types.FunctionType):
    from beartype import BeartypeConf, beartype
    from beartype.roar import BeartypeDecorHintException
    from jaxtyping import jaxtyped

    # the numeric tower: as everywhere in Python, a `float` may be an int
    try:
        checked = jaxtyped(typechecker=beartype(conf=BeartypeConf(is_pep484_tower=True)))(function)
    except BeartypeDecorHintException:  # such as `-> Self`, or `-> torch.tensor`, which is no type
        return function

    @functools.wraps(function)
    def call(*args, **kwargs):
        __tracebackhide__ = True
        return (checked if _checking else function)(*args, **kwargs)

    return call
