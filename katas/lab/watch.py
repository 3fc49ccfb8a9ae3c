"""`python -m katas watch`: at every save the spec of that kata runs, in a fork of this process, which is warm.

Whatever a kata does to its process ends with the fork.
"""

import contextlib
import io
import math
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import _hypothesis_pytestplugin
import pytest
import pytest_timeout
import watchfiles

from katas.lab import catalog, tutor
from katas.lab.catalog import Names
from katas.lab.plugin import ladder
from katas.lab.trials import warm

KEYS = "h hint   d diff   n next kata   a all   q quit"
SECONDS_BETWEEN_LOOKS = 0.1  # at the keyboard
SECONDS_TO_LOOK_FIRST = 5
TOLD = 40  # an exit code that no kata is likely to end its process with


class Watch:
    def __init__(self, katas: list[Names], is_green: Callable[[Names], bool], diff: Callable[[Names], object]):
        self.katas, self.is_green, self.diff = katas, is_green, diff
        self.current = next((names for names in katas if not is_green(names)), katas[0])
        self.warmed: set[Names] = set()

    def until_quit(self) -> int:
        folders = {catalog.topic_folder(topic) for topic, _ in self.katas}
        looks = int(1000 * SECONDS_BETWEEN_LOOKS)
        with _keyboard() as pressed:
            self.run([self.current])
            for changes in watchfiles.watch(
                *folders, step=20, rust_timeout=looks, yield_on_timeout=True, raise_interrupt=False, recursive=False
            ):
                saved = [names for _, file in sorted(changes) if (names := kata_of_file(file)) in self.katas]
                if saved:
                    self.run(saved[-1:])
                elif (key := pressed()) == "q":
                    return 0
                elif key:
                    self.do(key)
        return 0

    def do(self, key: str) -> None:
        if key == "h":
            print("comparing with known mistakes …", flush=True)
            self.in_a_fork(lambda: print("\n\n".join(tutor.hint(*self.current, is_warm=True)[0])))
        elif key == "d":
            self.diff(self.current)
        elif key == "n":
            after = self.katas.index(self.current) + 1
            order = self.katas[after:] + self.katas[:after]
            self.run([next((names for names in order if not self.is_green(names)), order[0])])
            return
        elif key == "a":
            self.run(self.katas)
            return
        print(f"\n{KEYS}", flush=True)

    def run(self, katas: list[Names]) -> None:
        self.current = katas[0] if len(katas) == 1 else self.current
        if missing := [names for names in katas if names not in self.warmed]:
            warm(missing)
            self.warmed.update(missing)
        print("\033[2J\033[H" if sys.stdout.isatty() else "", end="")
        specs = [catalog.spec_of(*names) for names in katas]
        if katas[1:] or self.in_a_fork(lambda: _first_look(specs), SECONDS_TO_LOOK_FIRST) != TOLD:
            self.in_a_fork(lambda: _pytest(specs))
        print(f"\n{'/'.join(self.current)}   {KEYS}", flush=True)

    def in_a_fork(self, work: Callable[[], object], seconds: float = math.inf) -> int:
        """What `work` returns, or how it was ended."""
        sys.stdout.flush()
        pid, end = os.fork(), time.monotonic() + seconds
        if pid == 0:
            code = 70
            try:
                code = work() or 0
                sys.stdout.flush()
            finally:
                os._exit(code)
        while True:
            with contextlib.suppress(KeyboardInterrupt):  # the fork has heard it as well, and ends
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    return os.waitstatus_to_exitcode(status)
                if time.monotonic() > end:
                    os.kill(pid, signal.SIGKILL)
                time.sleep(0.01)


def _first_look(specs: list[str]) -> int:
    """Fast: few examples, which mostly are enough for what is wrong, and not in a fork for each spec.

    Only what is red is told. Everything else, a crash or a hang among it, is found out by the run that follows.
    """
    ladder.REMEMBERS_WHAT_HOLDS = False
    with contextlib.redirect_stdout(io.StringIO()) as told:
        code = _pytest(specs, "--hypothesis-profile=first-look", "--in-process")
    if code != pytest.ExitCode.TESTS_FAILED:
        return code
    print(told.getvalue(), end="")
    return TOLD


def _pytest(specs: list[str], *options: str) -> int:
    os.environ.pop("CI", None)  # `warm` sets it: a learner's run is not derandomized
    ladder.MOST_CAUSES, ladder.LISTS_THE_OTHERS = 1, False
    colour = ["--color=yes"] * sys.__stdout__.isatty()
    options = ["-q", *options, *colour, "--disable-plugin-autoload"]  # to look for plugins takes long
    options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # what is warm is imported already
    return pytest.main([*specs, *options], plugins=[_hypothesis_pytestplugin, pytest_timeout])


def kata_of_file(file: str) -> Names | None:
    """Of a kata or of its spec."""
    path = Path(file)
    name = path.name.removeprefix("test_").removesuffix(".py")
    return (path.parent.name, name) if path.suffix == ".py" else None


@contextlib.contextmanager
def _keyboard() -> Iterator[Callable[[], str]]:
    """A function that gives the key that was pressed, or "", without waiting and without Enter."""
    if not sys.stdin.isatty():
        yield lambda: sys.stdin.read(1) if select.select([sys.stdin], [], [], 0)[0] else ""
        return
    import termios
    import tty

    before = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin, termios.TCSANOW)
    try:
        yield lambda: os.read(sys.stdin.fileno(), 1).decode() if select.select([sys.stdin], [], [], 0)[0] else ""
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
