"""Specs run on sources that are on no disk, each trial in a fork of one warmed parent: for mutation and for hints.

warm([("detection", "nms")])                          import everything once, in this process
run_trials([Trial("detection", "nms", "a name", source)])    → an Outcome each, in the order of the trials
"""

import contextlib
import gc
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
import pytest
import pytest_timeout

from katas.lab import catalog, trees
from katas.lab.catalog import Names
from katas.lab.plugin import messages

SECONDS_PER_TRIAL = 60
CAUGHT, SURVIVED = 1, 0


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


def run_spec(nodes: list[str], *extra: str, impl: str = catalog.SOLUTIONS) -> tuple[int, _Listener]:
    """pytest in this process on a tree (and `trees.replaced_sources`): its exit code and what failed."""
    heard = _Listener()
    options = ["-q", "--impl", impl, "-p", "no:cacheprovider", "-p", "no:warnings", "--no-header"]
    options += ["--in-process"]  # this is a fork already
    options += ["--disable-plugin-autoload"]  # to look for plugins takes longer than a test
    code = pytest.main([*nodes, *options, *extra], plugins=[heard, _hypothesis_pytestplugin, pytest_timeout])
    return int(code), heard


@contextlib.contextmanager
def quiet():
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()):
        yield out


def warm(katas: list[Names]) -> None:
    """Import everything once. One thread: a pool of them cannot be forked."""
    os.environ["CI"] = "1"  # derandomized hypothesis, no database
    import torch
    import torch._dynamo  # the first optimizer imports it: a second in every fork if the parent has not

    torch.set_num_threads(1)
    if torch.get_num_threads() != 1:
        raise RuntimeError("torch runs several threads: set OMP_NUM_THREADS=1")
    os.chdir(catalog.ROOT)
    with quiet() as out:
        code, heard = run_spec([catalog.spec_of(*names) for names in katas], "--collect-only")
    if code != 0:
        raise RuntimeError(f"the specs cannot be collected: {heard.test or code}\n{out.getvalue()}")
    trees.forget_katas()
    gc.collect()
    gc.freeze()


def fork_trial(trial: Trial) -> tuple[int, int]:
    """Start the trial in a fork: (process id, pipe that will hold what failed)."""
    reader, writer = os.pipe()
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        os.close(writer)
        return pid, reader
    code, told = 99, {}
    try:
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, 1)
        os.dup2(nothing, 2)
        trees.replaced_sources[f"katas.{trial.topic}.{trial.kata}"] = trial.source
        node = f"{trial.spec}::{trial.test}" if trial.test else trial.spec
        code, heard = run_spec([node], f"--hypothesis-profile={trial.profile}", *([] if trial.whole else ["-x"]))
        told = {"failed": heard.failed, "todo": heard.todo}
    except BaseException as error:
        told = {"failed": {repr(error): ""}}
    with open(writer, "w") as pipe:
        json.dump(told, pipe)
    os._exit(code)


def run_trials(trials: list[Trial], jobs: int = 2, show=lambda outcome: None) -> list[Outcome]:
    outcomes: list[Outcome] = []
    waiting, running = list(trials)[::-1], {}
    while waiting or running:
        while waiting and len(running) < jobs:
            trial = waiting.pop()
            pid, pipe = fork_trial(trial)
            running[pipe] = (pid, trial, time.monotonic())
        ready, _, _ = select.select(list(running), [], [], 1.0)
        overdue = [pipe for pipe, (_, _, since) in running.items() if time.monotonic() - since > SECONDS_PER_TRIAL]
        for pipe in {*ready, *overdue}:
            pid, trial, since = running.pop(pipe)
            if pipe not in ready:
                os.kill(pid, signal.SIGKILL)
            with open(pipe) as told:
                text = told.read()
            _, status = os.waitpid(pid, 0)
            seconds = time.monotonic() - since
            outcome = Outcome(trial, os.waitstatus_to_exitcode(status), seconds, **json.loads(text or "{}"))
            show(outcome)
            outcomes.append(outcome)
    return sorted(outcomes, key=lambda outcome: trials.index(outcome.trial))
