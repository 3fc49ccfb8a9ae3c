"""Specs run on sources that are on no disk, each trial in a fork of one warmed parent: for mutation and for hints.

warm([("detection", "nms")])                          import everything once, in this process
run_trials([Trial("detection", "nms", "a name", source)])    → an Outcome each, in the order of the trials
"""

import contextlib
import gc
import importlib
import io
import json
import os
import select
import signal
import sys
import time
from dataclasses import dataclass, field
from typing import NamedTuple

import _hypothesis_pytestplugin
import hypothesis
import pytest
import pytest_timeout

from katas.lab import catalog, trees
from katas.lab.catalog import ROOT, Names
from katas.lab.plugin import messages

SECONDS_PER_TRIAL = 60
CAUGHT, SURVIVED = 1, 0
IMPORTED_LATE = {  # by PyTorch, at the first optimizer or gradcheck: a second in every fork if the parent has not
    "optim": "torch._dynamo",
    "gradients_are_right": "torch.fx.experimental.symbolic_shapes",
}


class Trial(NamedTuple):
    topic: str
    kata: str
    name: str
    source: str  # in place of the solution's
    test: str | None = None  # the one test that is run; None for the whole spec
    whole: bool = False  # go on after the first failure
    profile: str = "mutants"  # of hypothesis

    @property
    def spec(self) -> str:
        return catalog.spec_of(self.topic, self.kata)


@dataclass
class Outcome:
    trial: Trial
    exit_code: int
    seconds: float
    failed: dict[str, str] = field(default_factory=dict)  # what each test said, by its name
    todo: list[str] = field(default_factory=list)  # tests that met an unwritten function

    @property
    def test(self) -> str:
        """The first that failed."""
        return next(iter([*self.failed, *self.todo]), "")

    @property
    def caught(self) -> bool:
        return self.exit_code == CAUGHT


class _Listener:
    def __init__(self):
        self.failed, self.todo = {}, []

    def pytest_runtest_logreport(self, report):
        name = report.nodeid.split("::", 1)[-1]
        if getattr(report, "kata_todo", None):
            self.todo.append(name)
        elif report.failed:
            failure = messages.failure_in(report)
            self.failed.setdefault(name, failure.essence if failure else str(report.longrepr))

    def pytest_collectreport(self, report):
        if report.failed:
            self.failed.setdefault("(import)", str(report.longrepr))


def run_spec(nodes: list[str], *extra: str, impl: str = catalog.SOLUTIONS, plugins=()) -> tuple[int, _Listener]:
    """pytest in this process on a tree (and `trees.replaced_sources`): its exit code and what failed."""
    heard = _Listener()
    options = ["-q", "--impl", impl, "-p", "no:cacheprovider", "-p", "no:warnings", "--no-header"]
    options += ["--in-process"]  # this is a fork already
    options += ["--disable-plugin-autoload"]  # to look for plugins takes longer than a test
    code = pytest.main([*nodes, *options, *extra], plugins=[heard, *plugins, _hypothesis_pytestplugin, pytest_timeout])
    return int(code), heard


@contextlib.contextmanager
def quiet():
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()):
        yield out


def warm(katas: list[Names]) -> None:
    """Import everything once. One thread: a pool of them cannot be forked."""
    os.environ["CI"] = "1"  # derandomized hypothesis, no database
    import torch

    files = [file for names in katas for file in (catalog.solution_file(*names), ROOT / catalog.spec_of(*names))]
    text = "".join(file.read_text("utf-8") for file in files if file.is_file())
    for module in [module for word, module in IMPORTED_LATE.items() if word in text]:
        importlib.import_module(module)
    torch.set_num_threads(1)
    if torch.get_num_threads() != 1:
        raise RuntimeError("torch runs several threads: set OMP_NUM_THREADS=1")
    os.chdir(ROOT)
    with quiet() as out:
        code, heard = run_spec([catalog.spec_of(*names) for names in katas], "--collect-only")
    if code != 0:
        raise RuntimeError(f"the specs cannot be collected: {heard.test or code}\n{out.getvalue()}")
    trees.forget_katas()
    gc.collect()
    gc.freeze()


def run_trials(trials: list[Trial], jobs: int = 2) -> list[Outcome]:
    """pytest starts once, in this process; from its collection on, each trial is a fork."""
    if not trials:
        return []
    host = _Host(trials, jobs)
    code, told = 99, {}
    try:
        with quiet() as out:
            code, heard = run_spec([trials[0].spec], "--capture=sys", plugins=[host])
        told = {"failed": heard.failed, "todo": heard.todo}
    except BaseException as error:
        if host.pipe is None:
            raise
        told = {"failed": {repr(error): ""}}
    if host.pipe is None:
        if len(host.outcomes) < len(trials):  # Ctrl-C, or pytest itself: what was not tried must not look caught
            raise RuntimeError(f"{len(host.outcomes)} of {len(trials)} trials have ended\n{out.getvalue()}")
        return sorted(host.outcomes, key=lambda outcome: trials.index(outcome.trial))
    with open(host.pipe, "w") as pipe:
        json.dump(told, pipe)
    os._exit(code)


class _Host:
    """A plugin. It holds up the collection until all trials have run; in each of their forks the session goes on."""

    def __init__(self, trials: list[Trial], jobs: int):
        self.waiting, self.jobs = trials[::-1], jobs
        self.running: dict[int, tuple[int, Trial, float]] = {}  # by the pipe that will hold what failed
        self.outcomes: list[Outcome] = []
        self.pipe: int | None = None  # in a fork: where to tell what failed

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self, session):
        while self.waiting or self.running:
            while self.waiting and len(self.running) < self.jobs:
                trial = self.waiting.pop()
                if self._is_fork_of(trial):
                    return _set_up(session.config, trial)
            self._listen()
        return True  # there is nothing to collect here

    def _is_fork_of(self, trial: Trial) -> bool:
        reader, writer = os.pipe()
        sys.stdout.flush()
        pid = os.fork()
        if pid:
            os.close(writer)
            self.running[reader] = pid, trial, time.monotonic()
        else:
            self.pipe = writer
        return pid == 0

    def _listen(self) -> None:
        ready, _, _ = select.select(list(self.running), [], [], 1.0)
        now = time.monotonic()
        overdue = {pipe for pipe, (_, _, since) in self.running.items() if now - since > SECONDS_PER_TRIAL}
        for pipe in {*ready, *overdue}:
            pid, trial, since = self.running.pop(pipe)
            if pipe not in ready:
                os.kill(pid, signal.SIGKILL)
            with open(pipe) as told:
                text = told.read()
            _, status = os.waitpid(pid, 0)
            seconds = time.monotonic() - since
            self.outcomes.append(Outcome(trial, os.waitstatus_to_exitcode(status), seconds, **json.loads(text or "{}")))


def _set_up(config, trial: Trial) -> None:
    """In the fork: what the session shall collect, and how it shall run."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    trees.replaced_sources[f"katas.{trial.topic}.{trial.kata}"] = trial.source
    config.args[:] = [f"{trial.spec}::{trial.test}" if trial.test else trial.spec]
    config.option.maxfail = 0 if trial.whole else 1
    hypothesis.settings.load_profile(trial.profile)
