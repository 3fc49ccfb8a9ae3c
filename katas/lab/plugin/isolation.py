"""Katas are imported and specs are run in forks of the warmed run, so nothing that a kata does takes the run with it.

A fork runs a test when it is asked to, and its reports are those of pytest. After a spec that failed the next one gets
a new fork. (One for each spec costs a quarter of a topic's time.) Where there is no fork (not Linux, a debugger,
`--in-process`) specs run in this process, under the limits of `guards` alone.
"""

import ast
import contextlib
import functools
import importlib
import importlib.util
import sys
import warnings
from collections import Counter
from pathlib import Path

import hypothesis
import hypothesis.strategies
import pytest
from _pytest.runner import runtestprotocol

from katas.lab import catalog, forks, stubs
from katas.lab.catalog import kata_of_node
from katas.lab.plugin import guards, messages
from katas.lab.plugin.selection import is_on_request
from katas.lab.plugin.world import World

_fork = pytest.StashKey["SpecFork | None"]()
_seconds = pytest.StashKey[float]()
_warned = pytest.StashKey[int]()
_hung = pytest.StashKey[Counter]()  # tests by spec
MOST_WARNINGS = 30  # of specs, in a run: a kata may warn in every call
SECONDS_AFTER_A_HANG, MOST_HANGS = 5, 3  # what hangs once hangs in every test: twenty of them would take minutes


def pytest_addoption(parser):
    group = parser.getgroup("katas")
    group.addoption("--in-process", action="store_true", help="run specs in this process: for a debugger or a profiler")


def pytest_configure(config):
    config.stash[_fork], config.stash[_hung], config.stash[_warned] = None, Counter(), 0


def pytest_unconfigure(config):
    _close(config)


def _is_of_a_spec(item) -> bool:
    return kata_of_node(item.nodeid) is not None and not is_on_request(item)


# --- running ----------------------------------------------------------------------------------------------------------


class SpecFork:
    """The fork in which specs run, one after the other, for as long as nothing fails."""

    is_child = debugged = False

    def __init__(self, session):
        self.session = session
        self.went_wrong: Path | None = None  # the spec of which a test has failed
        self.fork = forks.Fork(self._run)

    def _run(self, question: tuple[str, str | None, float]):
        """In the fork: the reports of one test, and the warnings it raised."""
        if not self.is_child:
            self.is_child = True
            self.session.config.stash[_fork] = self
            self.items = {item.nodeid: item for item in self.session.items}
            guards.enter_fork()
        nodeid, next_nodeid, seconds = question
        with warnings.catch_warnings(record=True) as raised:
            try:
                with guards.time_limit(seconds):
                    reports = runtestprotocol(self.items[nodeid], log=False, nextitem=self.items.get(next_nodeid))
            except pytest.exit.Exception as error:  # a person leaves the debugger
                return str(error)
        config = self.session.config
        told = [config.hook.pytest_report_to_serializable(config=config, report=report) for report in reports]
        return told, [(str(w.message), w.category, w.filename, w.lineno) for w in raised]


def pytest_runtest_protocol(item, nextitem):
    if not _is_of_a_spec(item) or not guards.forks_are_used(item.config):
        return None
    hook = item.ihook
    hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for report in _reports(item, nextitem):
        hook.pytest_runtest_logreport(report=report)
    hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    if nextitem is None:
        _close(item.config)
    return True


def _reports(item, nextitem) -> list:
    config = item.config
    spec = config.stash[_fork]
    if spec is None or spec.went_wrong not in (None, item.path):
        _close(config)
        _warm_up()
        spec = config.stash[_fork] = SpecFork(item.session)
    seconds = item.stash.get(_seconds, 0.0)
    if config.stash[_hung][item.path]:
        seconds = min(seconds, SECONDS_AFTER_A_HANG)
    if config.stash[_hung][item.path] >= MOST_HANGS:
        return _reports_of_the_end(item, forks.Ended(f"not run: {MOST_HANGS} tests of this spec have hung", []))
    try:
        answer = spec.fork.ask((item.nodeid, nextitem and nextitem.nodeid, seconds), seconds=seconds)
    except forks.Ended as ended:
        config.stash[_fork] = None
        config.stash[_hung][item.path] += ended.is_hang
        return _reports_of_the_end(item, ended)
    except BaseException:  # Ctrl-C
        spec.fork.close()
        config.stash[_fork] = None
        raise
    if isinstance(answer, str):
        pytest.exit(answer)
    told, raised = answer
    for message, category, file, line in raised[: MOST_WARNINGS - config.stash[_warned]]:
        config.stash[_warned] += 1
        warnings.warn_explicit(message, category, file, line)
    reports = [config.hook.pytest_report_from_serializable(config=config, data=data) for data in told]
    if any(report.failed and not getattr(report, "kata_todo", None) for report in reports):
        spec.went_wrong = item.path
    if any(getattr(report, "kata_hang", False) for report in reports):
        config.stash[_hung][item.path] += 1
    return reports


@functools.cache
def _warm_up() -> None:
    """Hypothesis reads the source of all modules before its first example: once here, and not in every fork."""

    @hypothesis.settings(max_examples=1, database=None)
    @hypothesis.given(hypothesis.strategies.integers())
    def nothing(number):
        pass

    nothing()


def _reports_of_the_end(item, ended: forks.Ended) -> list:
    """What pytest would have reported, had the test lived."""
    told, failure = messages.failure_of_frames(item.name, item.path, ended.reason, ended.frames)
    return [
        pytest.TestReport(
            nodeid=item.nodeid,
            location=item.location,
            keywords={item.name: 1},
            outcome="failed" if when == "call" else "passed",
            longrepr=told if when == "call" else None,
            when=when,
            kata_failure=list(failure) if when == "call" else None,
        )
        for when in ("setup", "call", "teardown")
    ]


def _close(config) -> None:
    spec, config.stash[_fork] = config.stash.get(_fork, None), None
    if spec is not None:
        spec.fork.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """In a fork nobody but the kata ends the run. What it hangs in is over here: the timer shall not ring in pytest."""
    try:
        return (yield)
    except (KeyboardInterrupt, pytest.exit.Exception) as error:
        if not _runs_here(item.config):
            raise
        raise messages.EndedByKata(type(error).__name__).with_traceback(error.__traceback__) from None
    finally:
        if _is_of_a_spec(item):
            guards.stop_timer()


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_timeout_set_timer(item, settings):
    """pytest-timeout knows the limit; in a fork it is kept there."""
    if not _is_of_a_spec(item):
        return None
    item.stash[_seconds] = settings.timeout
    if not guards.forks_are_used(item.config) and not guards.is_debugged(item.config):
        guards.start_timer(settings.timeout)
    return True


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_timeout_cancel_timer(item):
    if not _is_of_a_spec(item):
        return None
    guards.stop_timer()
    return True


def pytest_enter_pdb(config):
    """A person who looks around has all the time."""
    guards.stop_timer()
    forks.lift_limits()
    if _runs_here(config):
        config.stash[_fork].debugged = True


def _runs_here(config) -> bool:
    """Whether this process is the fork."""
    spec = config.stash.get(_fork, None)
    return spec is not None and spec.is_child and not spec.debugged


# --- importing --------------------------------------------------------------------------------------------------------


@pytest.hookimpl(tryfirst=True)
def pytest_make_collect_report(collector):
    """A kata is first imported in a fork. Only if that went well, its spec is imported here."""
    names = kata_of_node(collector.nodeid)
    if names is None or not isinstance(collector, pytest.Module) or not guards.forks_are_used(collector.config):
        return None
    _import_libraries_of(collector.path)
    fork = forks.Fork(lambda _: _problem_of_import(collector, names))
    try:
        problem = fork.ask(None, seconds=guards.SECONDS_TO_IMPORT)
    except forks.Ended as ended:
        problem = messages.import_problem_of_frames(collector.path, ended.reason, ended.frames)
    finally:
        fork.close()
    return problem and pytest.CollectReport(collector.nodeid, "failed", problem, [])


def _problem_of_import(collector, names: catalog.Names) -> str | None:
    """In the fork: why the import fails, or what it changes for other katas."""
    guards.enter_fork()
    with guards.one_thread(), guards.import_limits():
        world = World()
        try:
            if names not in catalog.all_katas():
                collector.collect()
            else:
                importlib.import_module(".".join((catalog.OWN_TREE, *names)))
        except BaseException as error:
            return messages.import_problem(error, collector.path)
    told = world.put_right()
    return told and f"{guards.told_file(*names)} {told}"


def _import_libraries_of(spec: Path) -> None:
    """What the spec and what it is given import, apart from katas: once here, and not in every fork."""
    for name in _libraries_of(spec, seen=set()):
        if name not in sys.modules and importlib.util.find_spec(name.partition(".")[0]) is not None:
            with contextlib.suppress(ImportError):  # told where it is imported in earnest
                importlib.import_module(name)


def _libraries_of(file: Path, seen: set[Path]) -> set[str]:
    seen.add(file)
    names = set()
    try:
        tree = ast.parse(stubs.source_of(file))
    except SyntaxError:  # told where it is imported in earnest
        return names
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module)
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    ours = {name for name in names if name.partition(".")[0] == catalog.OWN_TREE}
    found = names - ours
    for name in ours:
        path = catalog.ROOT.joinpath(*name.split(".")).with_suffix(".py")
        if catalog.kata_of_module(name) is None and path.is_file() and path not in seen:
            found |= _libraries_of(path, seen)
    return found
