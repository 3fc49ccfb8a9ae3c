"""`python -m katas`: progress, diff, reset, new, stub and drift; and the stub tool itself."""

import os
import pty
import subprocess
import sys

import pytest

from katas.lab.stubs import make_stub, public_functions, unwritten
from tests.conftest import FIRST
from tests.warm import ROOT

SOLUTION = '''"""What the module is about."""

import math
from typing import NamedTuple

from torch import nn

LIMIT = 3  # a constant stays
_SECRET = 4


class Pair(NamedTuple):
    """Kept whole."""

    first: int  # a comment
    second: int = 0


# How the helper works.
@staticmethod
def _helper(x):
    return x


def area(width: float, height: float = 1.0) -> float:
    """Width × height.

    >>> area(2.0)
    2.0
    """
    # A comment that gives it away.
    return width * height


class Model(nn.Module):
    """A model; `scale` is promised."""

    def __init__(self, scale: float) -> None:
        """Needs a scale."""
        super().__init__()
        self.scale = scale

    def _private(self):
        return self.scale

    @property
    def doubled(self) -> float:
        return 2 * self.scale


def last(x):
    return math.sqrt(
        x,
    )
'''
STUB = '''"""What the module is about."""

import math
from typing import NamedTuple

from torch import nn

LIMIT = 3  # a constant stays


class Pair(NamedTuple):
    """Kept whole."""

    first: int  # a comment
    second: int = 0


def area(width: float, height: float = 1.0) -> float:
    """Width × height.

    >>> area(2.0)
    2.0
    """
    raise NotImplementedError


class Model(nn.Module):
    """A model; `scale` is promised."""

    def __init__(self, scale: float) -> None:
        """Needs a scale."""
        raise NotImplementedError

    @property
    def doubled(self) -> float:
        raise NotImplementedError


def last(x):
    raise NotImplementedError
'''


def test_a_stub_keeps_what_is_public_and_drops_bodies_and_helpers():
    assert make_stub(SOLUTION) == STUB


def test_a_stub_of_a_stub_is_the_stub():
    assert make_stub(STUB) == STUB


def test_unwritten_functions_are_found_by_name_and_line():
    assert [name for name, _ in unwritten(STUB)] == ["area", "Model.__init__", "Model.doubled", "last"]
    assert unwritten(SOLUTION) == []
    assert public_functions(SOLUTION) == public_functions(STUB)


# --- the command ----------------------------------------------------------------------------------------------------


def test_progress_names_the_next_function_then_the_spec_to_run(toy):
    shown = toy.lab().stdout
    assert "· first" in shown and "0 of 2 written" in shown
    assert "next: write add in katas/toy/first.py:4\n      pytest katas/toy/test_first.py" in shown
    toy.kata("first", (toy.path / "solutions/toy/first.py").read_text())
    assert "not run since" in toy.lab().stdout
    toy.pytest("katas/toy/test_first.py")
    assert "✔ first" in toy.lab().stdout and "3 passed" in toy.lab().stdout
    toy.kata("first", "def add(x, y):\n    return x - y\n\n\ndef double(x):\n    return 2 * x\n")
    toy.pytest("katas/toy/test_first.py")
    assert "1 passed, 2 red" in toy.lab().stdout
    toy.kata("first", "def add(x, y:\n")
    assert "does not parse (line 1)" in toy.lab().stdout


@pytest.mark.parametrize("source", ["from .first", "from katas.toy.first"])
def test_a_result_is_old_when_anything_that_the_kata_imports_has_changed(toy, source):
    toy.kata("first", (toy.path / "solutions/toy/first.py").read_text())
    second = (toy.path / "solutions/toy/second.py").read_text()
    toy.kata("second", second.replace("from .first", source))
    assert toy.pytest("katas/toy").ret == 0
    assert "✔ second" in toy.lab().stdout
    toy.kata("first", (toy.path / "solutions/toy/first.py").read_text().replace("x + y", "x - y"))
    shown = toy.lab().stdout
    assert "? first" in shown and "? second" in shown, shown


def test_progress_does_not_count_runs_on_other_trees(toy):
    toy.kata("first", (toy.path / "solutions/toy/first.py").read_text())
    toy.pytest("katas/toy", "--impl", "solutions")
    assert "not run since" in toy.lab().stdout


def test_diff_shows_the_kata_against_the_solution(toy):
    result = toy.lab("diff", "toy/first")
    assert result.returncode == 0
    assert "--- katas/toy/first.py" in result.stdout and "+    return x + y" in result.stdout


@pytest.mark.parametrize("name", ["toy/first", "katas/toy/first.py", "katas/toy/test_first.py"])
def test_a_kata_may_be_named_by_its_path(toy, name):
    assert toy.lab("diff", name).returncode == 0


README = """
| kata | you write | the point | minutes |
|---|---|---|---|
| [first](first.py) | add, double | sums in pairs | 20 |
| [`second`](second.py) | add_three | `add` twice | 60 |
"""


def test_a_topic_has_a_size_and_katas_that_are_long_or_short(toy):
    toy.write("katas/toy/README.md", README)
    shown = toy.lab("toy").stdout.splitlines()
    assert shown[0] == "toy                 0 of 2   about 1 h left"
    assert shown[1] == "  · first                20 min ●    0 of 2 written   sums in pairs"
    assert shown[2] == "  · second               60 min ●●●  0 of 1 written   add twice"
    assert "0 of 2 katas are green" in toy.lab().stdout
    toy.kata("first", FIRST)
    green = toy.pytest("katas/toy/test_first.py").stdout
    green.fnmatch_lines(
        ["first is green*", "next: second (about 60 minutes): write add_three in katas/toy/second.py:6"]
    )
    assert "1 of 2 katas are green" in toy.lab().stdout


def test_the_topic_that_comes_next_can_be_chosen(toy):
    for file in ("katas/other/__init__.py", "solutions/other/__init__.py"):
        toy.write(file, 'KATAS = ("first",)\n')
    toy.write("solutions/other/first.py", FIRST)
    toy.write("katas/other/first.py", make_stub(FIRST))
    assert "next: write add in katas/other/first.py" in toy.lab().stdout
    assert toy.lab("next", "toy").returncode == 0
    shown = toy.lab().stdout
    assert "next: write add in katas/toy/first.py" in shown and "· second" in shown and "other" in shown


def test_a_topic_can_be_reset(toy):
    toy.kata("first", "mine = 1\n")
    toy.kata("second", "mine = 2\n")
    assert "Replace 2 katas of toy by their stubs?" in toy.lab("reset", "toy", answer="n\n").stdout
    assert (toy.path / "katas/toy/second.py").read_text() == "mine = 2\n"
    assert toy.lab("reset", "toy", "--yes").returncode == 0 and len(list((toy.path / "runs/reset").iterdir())) == 2
    assert "2 katas of toy are stubs already" in toy.lab("reset", "toy").stdout


def test_diff_asks_a_person_before_it_gives_away_what_is_unwritten(toy):
    toy.write("tests/katas/alternatives/toy/first.py", FIRST.replace("x + y", "sum([x, y])"))
    assert "sum([x, y])" in toy.lab("diff", "--alternative", "toy/first").stdout
    for answer, given in ((b"n\n", False), (b"y\n", True)):
        ours, theirs = pty.openpty()
        os.write(ours, answer)
        command = [sys.executable, "-m", "katas", "diff", "toy/first"]
        done = subprocess.run(command, cwd=toy.path, stdin=theirs, capture_output=True, text=True, timeout=60)
        assert "For a hint: python -m katas hint toy/first" in done.stdout
        assert ("return x + y" in done.stdout) == given
        os.close(ours), os.close(theirs)


def test_an_unknown_kata_is_refused_with_the_nearest_names(toy):
    result = toy.lab("diff", "toy/frist")
    assert result.returncode == 2 and "there is no kata 'toy/frist'. Did you mean toy/first" in result.stderr


def commit_all(path):
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c"]
    for command in (["init", "-q"], ["add", "katas/toy"], ["commit", "-qm", "all"]):
        subprocess.run([*git, *command], cwd=path, check=True)


def test_reset_asks_first(toy):
    toy.kata("first", "mine = 1\n")
    for answer in ("n\n", "\n", ""):
        result = toy.lab("reset", "toy/first", answer=answer)
        assert result.returncode == 1 and "Nothing changed" in result.stdout
        assert (toy.path / "katas/toy/first.py").read_text() == "mine = 1\n"


def test_reset_keeps_uncommitted_work_and_says_where(toy):
    toy.kata("first", "mine = 1\n")
    result = toy.lab("reset", "toy/first", answer="y\n")
    assert result.returncode == 0 and "kept at runs/reset/toy-first-" in result.stdout
    [kept] = (toy.path / "runs/reset").iterdir()
    assert kept.read_text() == "mine = 1\n"
    assert "raise NotImplementedError" in (toy.path / "katas/toy/first.py").read_text()


def test_what_cannot_be_written_over_is_told_and_left(toy):
    file = toy.path / "katas/toy/first.py"
    file.write_text("mine = 1\n")
    file.chmod(0o444)
    for command in (["reset", "--yes"], ["stub"]):
        result = toy.lab(*command, "toy/first")
        assert result.returncode == 1 and "katas/toy/first.py is read-only. Nothing changed." in result.stdout
    assert file.read_text() == "mine = 1\n" and not (toy.path / "runs").exists()
    file.unlink()
    file.symlink_to("nowhere.py")
    assert "is a link to nowhere.py, which does not exist" in toy.lab("reset", "--yes", "toy/first").stdout
    file.unlink()
    file.mkdir()
    assert "is a folder. Nothing changed." in toy.lab("reset", "--yes", "toy/first").stdout
    file.rmdir()
    assert "✘ first               the file is missing" in toy.lab().stdout
    assert "`python -m katas reset toy/first` makes it again" in toy.lab("diff", "toy/first").stdout
    assert toy.lab("reset", "--yes", "toy/first").returncode == 0 and file.is_file()


def test_a_kata_that_is_no_text_is_told_by_every_command(toy):
    file = toy.path / "katas/toy/first.py"
    for bad in (b"# gr\xfc\n", b"# gr\0\n"):
        file.write_bytes(b"a = 1\n" + bad)
        assert "does not parse (line 2)" in (shown := toy.lab()).stdout and "mend katas/toy/first.py:2" in shown.stdout
        assert "a = 1" in toy.lab("diff", "toy/first").stdout
        assert toy.lab("drift").returncode == 1
        assert "Nothing changed" in toy.lab("reset", "toy/first", answer="n\n").stdout
    assert toy.lab("reset", "--yes", "toy/first").returncode == 0


def test_the_terminal_may_be_narrow_minded_closed_or_full(toy):
    command = f"{sys.executable} -m katas"
    for line, told in (
        (f"PYTHONIOENCODING=ascii {command}", "? first"),
        (f"{command} | head -1", "toy"),
        (f"{command} > /dev/full", "No space left on device"),
    ):
        result = subprocess.run(["bash", "-c", line], cwd=toy.path, capture_output=True, text=True, timeout=60)
        assert told in result.stdout + result.stderr and "Traceback" not in result.stderr, line


def test_no_color_is_honoured(toy):
    for chosen, coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
        ours, theirs = pty.openpty()
        command = [sys.executable, "-m", "katas", "diff", "toy/first"]
        subprocess.run(command, cwd=toy.path, stdout=theirs, env={**os.environ, **chosen}, timeout=60)
        os.close(theirs)
        assert (b"\x1b[" in os.read(ours, 4096)) == coloured, chosen
        os.close(ours)


def test_reset_of_committed_work_needs_no_copy(toy):
    toy.kata("first", "mine = 1\n")
    commit_all(toy.path)
    assert toy.lab("reset", "toy/first", "--yes").returncode == 0
    assert not (toy.path / "runs/reset").exists()
    assert "is the stub already" in toy.lab("reset", "toy/first", "--yes").stdout


def test_a_stub_is_not_written_over_work_without_a_copy(toy):
    work = "def add(x, y):\n    return x + y\n"
    toy.kata("first", work)
    result = toy.lab("stub", "toy/first")
    [kept] = (toy.path / "runs/reset").iterdir()
    assert result.returncode == 0 and kept.name in result.stdout and kept.read_text() == work
    toy.lab("stub", "toy/first")
    assert len(list((toy.path / "runs/reset").iterdir())) == 1, "a stub is no work"


def test_drift_names_the_stub_that_is_not_what_its_solution_gives(toy):
    assert toy.lab("drift").returncode == 0
    toy.kata("second", "old = 1\n")
    result = toy.lab("drift")
    assert result.returncode == 1 and "toy/second" in result.stdout and "toy/first" not in result.stdout
    assert toy.lab("stub", "toy/second").returncode == 0
    assert toy.lab("drift").returncode == 0


# --- new --------------------------------------------------------------------------------------------------------------


def test_a_new_topic_with_a_new_kata_is_whole(toy):
    for file in (
        "__init__.py",
        "katas/__init__.py",
        "katas/mutation.py",
        "katas/mutants.py",
        "katas/mistakes/__init__.py",
    ):
        toy.write(f"tests/{file}", (ROOT / "tests" / file).read_text())
    assert toy.lab("new", "rl").returncode == 0
    made = toy.lab("new", "rl/returns")
    assert made.returncode == 0 and "katas/rl/test_returns.py" in made.stdout
    assert toy.lab("drift").returncode == 0 and "returns" in toy.lab().stdout
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.katas.mutation", "rl/returns"]
    proved = subprocess.run(command, cwd=toy.path, env=environment, capture_output=True, text=True, timeout=120)
    assert proved.returncode == 0 and "rl/returns" in proved.stdout, proved.stdout + proved.stderr
    assert "todo" in toy.pytest("katas/rl/test_returns.py").stdout.str()


@pytest.mark.parametrize(
    "name, told",
    [
        ("toy/first", "exists, and nothing was written"),
        ("rl/gae", "there is no topic 'rl'"),
        ("toy/Third", "no name for"),
        ("lab", "taken by the laboratory"),
        ("toy/dynamics", "taken by the laboratory"),
    ],
)
def test_what_cannot_be_laid_out_is_said_and_nothing_is_written(toy, name, told):
    before = sorted(toy.path.rglob("*.py"))
    result = toy.lab("new", name)
    assert result.returncode == 2 and told in result.stderr
    assert sorted(toy.path.rglob("*.py")) == before
