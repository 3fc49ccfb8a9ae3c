"""A fork of this process that answers questions, and a parent that outlives it.

    fork = Fork(answer)
    fork.ask(question, seconds=20)    answer(question), computed in the fork; raises `Ended` if it did not live to tell
    fork.close()

Whatever the fork does to itself (it ends the process, crashes, hangs in C, changes torch) stays there. Linux only.
"""

import ctypes
import faulthandler
import gc
import multiprocessing
import os
import re
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from typing import Any, NamedTuple

SUPPORTED = sys.platform == "linux"
WALL = 6  # on a busy machine a second of CPU time takes several: the wall limit is so many times the CPU limit
PR_SET_PDEATHSIG = 1  # of Linux, in <sys/prctl.h>
GRACE = 3  # seconds for the limits inside the fork, which tell more than a kill
_NO_LIMIT = "no limit from here on"


class Frame(NamedTuple):
    file: str
    line: int
    function: str


class Ended(Exception):
    """The fork did not live to answer: why, and where it was (outermost frame first; empty if nobody knows)."""

    def __init__(self, reason: str, frames: list[Frame], *, is_hang: bool = False):
        super().__init__(reason)
        self.reason, self.frames, self.is_hang = reason, frames, is_hang


_ending: list["Fork"] = []
_to_the_parent = None


def lift_limits() -> None:
    """In a fork: the parent waits for this answer as long as it takes."""
    if _to_the_parent is not None:
        _to_the_parent.send(_NO_LIMIT)


class Fork:
    """Forks at once. The child computes `answer(question)` for each question, and ends when the parent closes."""

    def __init__(self, answer: Callable[[Any], Any]):
        self._trace = tempfile.TemporaryFile()
        self._pipe, childs_end = multiprocessing.Pipe()
        self._status: int | None = None  # of the child, once it has ended
        sys.stdout.flush()
        sys.stderr.flush()
        gc.freeze()  # what exists now is not garbage: a collection in the child would copy all of its memory
        self._pid = os.fork()
        if self._pid == 0:
            self._pipe.close()
            self._pipe = childs_end
            self._serve(answer)
        gc.unfreeze()
        childs_end.close()

    # --- in the child -------------------------------------------------------------------------------------------------

    def _serve(self, answer: Callable[[Any], Any]) -> None:
        global _to_the_parent
        _to_the_parent, end = self._pipe, os._exit

        def end_and_tell_where(code: int) -> None:
            faulthandler.dump_traceback(self._trace, all_threads=False)
            end(code)

        try:
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # whoever stops the parent stops the child
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a person's Ctrl-C is the parent's affair
            faulthandler.enable(self._trace, all_threads=False)
            faulthandler.register(signal.SIGUSR2, self._trace, all_threads=False)
            os._exit = end_and_tell_where
            while True:
                self._pipe.send(answer(self._pipe.recv()))
        except (EOFError, BrokenPipeError):  # the parent is done, or gone
            end(0)
        except BaseException:
            traceback.print_exc()
            end(70)

    # --- in the parent ------------------------------------------------------------------------------------------------

    def ask(self, question: Any, *, seconds: float) -> Any:
        """`seconds` of CPU time, which a busy machine does not use up; 0 for no limit."""
        cpu_end, wall_end = self._cpu_seconds() + seconds + GRACE, time.monotonic() + WALL * seconds + GRACE
        try:
            self._pipe.send(question)
            while True:
                if self._pipe.poll(0.2):
                    said = self._pipe.recv()
                    if not isinstance(said, str) or said != _NO_LIMIT:
                        return said
                    seconds = 0
                elif self._has_ended():
                    raise EOFError
                elif seconds and (self._cpu_seconds() > cpu_end or time.monotonic() > wall_end):
                    frames = self._where()
                    self.close()
                    raise Ended(f"not finished after {seconds:g} s", frames, is_hang=True)
        except (EOFError, ConnectionError):
            pass
        self._wait_for_the_end(1)
        reason, frames = _how_it_ended(self._status), self._frames_told()
        self.close()
        raise Ended(reason, frames)

    def close(self) -> None:
        """No more questions. The child holds nothing that is still needed, so it is not asked to end."""
        if self._status is None and not self._has_ended():
            os.kill(self._pid, signal.SIGKILL)
            _ending.append(self)  # it takes a while to give its memory back
        _ending[:] = [fork for fork in _ending if not fork._has_ended()]
        self._pipe.close()
        self._trace.close()

    def _has_ended(self) -> bool:
        if self._status is None:
            try:
                pid, status = os.waitpid(self._pid, os.WNOHANG)
            except ChildProcessError:  # it belongs to the process of which this one is a fork
                pid, status = self._pid, 0
            self._status = status if pid else None
        return self._status is not None

    def _wait_for_the_end(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not self._has_ended() and time.monotonic() < end:
            time.sleep(0.005)

    def _cpu_seconds(self) -> float:
        try:
            with open(f"/proc/{self._pid}/stat") as stat:
                user, system = stat.read().rpartition(")")[2].split()[11:13]
        except OSError:
            return 0.0
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def _where(self) -> list[Frame]:
        """Asks by a signal, which is heard inside an endless call of C, too."""
        before = os.fstat(self._trace.fileno()).st_size
        os.kill(self._pid, signal.SIGUSR2)
        for _ in range(100):
            time.sleep(0.02)
            if os.fstat(self._trace.fileno()).st_size > before:
                time.sleep(0.1)  # for the rest of the lines
                break
        return self._frames_told()

    def _frames_told(self) -> list[Frame]:
        told = os.pread(self._trace.fileno(), 2**20, 0).decode(errors="replace")
        last = re.split(r"\(most recent call first\):\n", told)[-1]
        found = re.findall(r'^  File "(.*)", line (\d+) in (.*)$', last, re.MULTILINE)
        return [Frame(file, int(line), function) for file, line, function in found][::-1]


def _how_it_ended(status: int | None) -> str:
    code = 0 if status is None else os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"ended the process (exit code {code})"
    if -code == signal.SIGKILL:
        return "was killed by the system, usually for lack of memory"
    return f"crashed the process ({signal.strsignal(-code)})"
