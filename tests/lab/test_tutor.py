"""The tutor: a hint for a mistake that the bank knows, and none for one that it does not; a spec at every save."""

import os
import pty
import select
import subprocess
import sys
import termios
import time

import pytest

from katas.lab.tutor import essence
from tests.warm import ROOT, run_module

BANK = """
from tests.katas.mistakes import Mistake

MISTAKES = [
    Mistake("subtracts", "test_adding_two_and_three", "Adding is not subtracting.", "x + y", "x - y"),
    Mistake("forgets_the_second", "test_adding_two_and_three", "Both numbers count.", "x + y", "x"),
    Mistake("squares", "test_doubling_is_adding_twice", "Twice the number is no square.", "x * factor", "x**factor"),
]
"""
SUBTRACTS = '''def add(x: float, y: float) -> float:
    """The sum of two numbers."""
    result = x
    result -= y
    return result


def double(x: float) -> float:
    """Twice the number."""
    return x + x
'''


@pytest.fixture
def hint(toy):
    for file in ("__init__.py", "katas/__init__.py", "katas/mistakes/__init__.py"):
        toy.write(f"tests/{file}", (ROOT / "tests" / file).read_text())
    toy.write("tests/katas/mistakes/toy/__init__.py", "")
    toy.write("tests/katas/mistakes/toy/first.py", BANK)

    def ask(source: str, times: int = 1) -> str:
        toy.kata("first", source)
        for _ in range(times):
            result = run_module("katas", "hint", "toy/first", folder=toy.path)
        assert result.stderr == ""
        return result.stdout

    return ask


def test_a_hint_comes_in_steps_the_law_the_reason_the_place(hint):
    law, reason = (
        "The first law that breaks\n  2 + 3 = 5, got -1.0   (adding two and three)\n",
        "Adding is not subtracting.",
    )
    told = hint(SUBTRACTS)
    assert told == f"{law}\nOnce more for the reason\n"
    told = hint(SUBTRACTS)
    assert told.startswith(law) and f"of your 2 failing tests say the same as with a known mistake\n  {reason}" in told
    told = hint(SUBTRACTS, times=2)
    assert told.endswith(f"  {reason}\n\nWhere to look\n  katas/toy/first.py:2, add\n  The sum of two numbers.\n")
    assert hint(SUBTRACTS.replace("result -= y", "result *= y")).endswith("Once more for the reason\n"), (
        "from the start"
    )


def test_what_no_mistake_fits_gets_the_usual_reasons_and_no_hint(hint):
    told = hint(SUBTRACTS.replace("result -= y", "result *= 3 * y"), times=2)
    assert "No mistake that is known here fails like this. Usual reasons for this test to fail" in told
    assert "  · Adding is not subtracting." in told and "Where to look" not in told


def test_a_mistake_beside_an_unwritten_function_is_found(hint):
    told = hint(SUBTRACTS.replace("return x + x", "raise NotImplementedError"), times=2)
    assert "  Adding is not subtracting." in told


def test_a_mistake_beside_another_one_is_found(hint):
    told = hint(SUBTRACTS.replace("return x + x", "return 3 * x"), times=2)
    assert "2 of your 3 failing tests" in told and "  Adding is not subtracting." in told


@pytest.mark.parametrize(
    "source, told",
    [
        (SUBTRACTS.replace("-=", "+="), "Nothing of toy/first fails"),
        (SUBTRACTS.replace("result = x", "import os; os._exit(3)"), "it does not come to an end by itself"),
        (SUBTRACTS.replace("def double", "import nowhere\n\n\ndef double"), "cannot be imported"),
        ("def add(x, y:\n", "does not parse (line 1)"),
        ("def add(x, y):\n    raise NotImplementedError\n", "nothing is written yet. First write add in"),
    ],
)
def test_what_is_no_mistake_of_the_bank_is_said(hint, source, told):
    assert told in hint(source)


def test_a_red_run_names_the_command(hint, toy):
    hint(SUBTRACTS)
    toy.pytest("katas/toy/test_first.py").stdout.fnmatch_lines(["a hint: python -m katas hint toy/first"])


def test_the_last_digits_and_addresses_make_no_difference():
    assert essence("got 0.30000000000000004 at 0x7f1e") == essence("got 0.3000000001 at 0x7f2e")
    assert essence("got 1e-17") == essence("got -3.2e-18") != essence("got 1e-5")
    assert essence("row 3 of 4") != essence("row 2 of 4")


# --- watch ------------------------------------------------------------------------------------------------------------


class Screen:
    """A terminal with `python -m katas watch` in it: keys are pressed, and what comes is waited for."""

    def __init__(self, folder, *arguments):
        self.ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (40, 120))
        command = [sys.executable, "-m", "katas", "watch", *arguments]
        streams = dict(stdin=theirs, stdout=theirs, stderr=theirs)
        self.process = subprocess.Popen(command, cwd=folder, **streams, start_new_session=True)
        os.close(theirs)
        self.seen = ""

    def press(self, key: str) -> None:
        os.write(self.ours, key.encode())

    def until(self, text: str, seconds: float = 60) -> str:
        """What has come since the last time, up to the text."""
        end = time.monotonic() + seconds
        while text not in self.seen:
            ready, _, _ = select.select([self.ours], [], [], max(0, end - time.monotonic()))
            assert ready, f"{text!r} has not come in {seconds} s, but {self.seen!r}"
            self.seen += os.read(self.ours, 65536).decode(errors="replace")
        before, _, self.seen = self.seen.partition(text)
        return before


@pytest.fixture
def screen(toy):
    screens = []

    def start(*arguments) -> Screen:
        screens.append(Screen(toy.path, *arguments))
        return screens[-1]

    yield start
    for one in screens:
        one.process.kill()
        one.process.wait()
        os.close(one.ours)


def test_a_save_runs_the_spec_and_keys_do_the_rest(hint, toy, screen):
    hint(SUBTRACTS)
    watch = screen("toy")
    told = watch.until("q quit")
    assert "2 + 3 = 5, got -1.0" in told and "2 failed" in told and "1 more of first" in told
    watch.press("h")
    assert "Adding is not subtracting." in watch.until("q quit")
    toy.kata("first", SUBTRACTS.replace("result -= y", "while True:\n        import os; os._exit(1)"))
    assert "ended the process" in watch.until("q quit"), "only its fork has ended"
    began = time.monotonic()
    toy.kata("first", SUBTRACTS.replace("-=", "+="))
    assert "first is green" in watch.until("q quit")
    assert time.monotonic() - began < 20
    watch.press("n")
    assert "todo: write add_three" in watch.until("toy/second")
    watch.until("q quit")
    watch.press("a")
    told = watch.until("q quit")
    assert "3 passed" in told and "1 todo" in told
    watch.press("q")
    assert watch.process.wait(30) == 0
