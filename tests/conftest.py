"""A small repository of its own for each test of the runner: the real laboratory, and a topic that needs no PyTorch."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.warm import ROOT, run_module


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config):
    """The whole of `tests` is shared between two to four workers; `-n 0` and `--pdb` mean one process."""
    option, asked = config.option, [(config.invocation_params.dir / arg).resolve() for arg in config.args]
    chosen = option.numprocesses is not None or option.usepdb or hasattr(config, "workerinput")
    if asked == [ROOT / "tests"] and not chosen:
        option.numprocesses = min(max(os.cpu_count() or 2, 2), 4)
        option.dist, option.maxschedchunk = "load", 1


def pytest_itemcollected(item):
    """The 20 seconds of a kata's test are not for these, which start Pythons of their own."""
    if item.get_closest_marker("timeout") is None:
        item.add_marker(pytest.mark.timeout(300))


FIRST = '''"""Adding."""


def add(x: float, y: float) -> float:
    """The sum of two numbers."""
    return x + y


def double(x: float) -> float:
    """Twice the number."""
    return _times(x, 2)


def _times(x, factor):
    return x * factor
'''
SECOND = '''"""Building on adding."""

from .first import add


def add_three(x: float, y: float, z: float) -> float:
    """The sum of three numbers."""
    return add(add(x, y), z)
'''
TEST_FIRST = '''"""first: adding and doubling."""

from hypothesis import given
from hypothesis import strategies as st

from katas.lab.plugin.messages import sentence
from katas.toy.first import add, double


def test_adding_two_and_three():
    assert add(2.0, 3.0) == 5.0, f"2 + 3 = 5, got {add(2.0, 3.0)}"


@given(st.integers(0, 1000), st.integers(0, 1000))
def test_the_order_does_not_matter(x, y):
    assert add(float(x), float(y)) == add(float(y), float(x)), "x + y = y + x"


def test_doubling_is_adding_twice():
    assert double(4.0) == 8.0
'''
TEST_SECOND = '''"""second: three numbers."""

from katas.toy.second import add_three


def test_three_numbers():
    assert add_three(1.0, 2.0, 4.0) == 7.0
'''
TEST_FULL = '''"""Full checks."""

import pytest


@pytest.mark.gpu
def test_a_long_training(device, run_dir, metrics, progress):
    bar = progress(3, "training")
    for step in range(3):
        metrics.row(step=step, loss=1.0 / (step + 1))
        bar.update(1)
    (run_dir / "curve.txt").write_text("falling")


@pytest.mark.benchmark
def test_throughput():
    pass


def test_the_light_twin():
    pass
'''


class Toy:
    """The small repository: write files, run pytest or `python -m katas` in it."""

    def __init__(self, pytester):
        self.pytester = pytester
        self.path: Path = pytester.path
        shutil.copytree(
            ROOT / "katas" / "lab", self.path / "katas" / "lab", ignore=shutil.ignore_patterns("__pycache__")
        )
        for name in ("katas/__init__.py", "katas/__main__.py", "conftest.py", "pyproject.toml"):
            shutil.copy(ROOT / name, self.path / name)
        self.write("katas/toy/__init__.py", 'KATAS = ("first", "second")\n')
        for file in ("solutions/__init__.py", "solutions/toy/__init__.py"):
            self.write(file, "")
        self.write("solutions/toy/first.py", FIRST)
        self.write("solutions/toy/second.py", SECOND)
        self.write("katas/toy/test_first.py", TEST_FIRST)
        self.write("katas/toy/test_second.py", TEST_SECOND)
        self.write("katas/toy/test_full_training.py", TEST_FULL)
        self.stub("first")
        self.stub("second")

    def write(self, file: str, text: str) -> Path:
        path = self.path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def kata(self, name: str, text: str) -> Path:
        return self.write(f"katas/toy/{name}.py", text)

    def stub(self, name: str) -> Path:
        from katas.lab.stubs import make_stub

        return self.kata(name, make_stub((self.path / f"solutions/toy/{name}.py").read_text()))

    def pytest(self, *args, timeout: float = 60) -> pytest.RunResult:
        """In whichever folder the test is, which the `pytester` has set."""
        begin = time.monotonic()
        result = run_module("pytest", *args, folder=Path.cwd(), timeout=timeout)
        lines = result.stdout.splitlines(), result.stderr.splitlines()
        return pytest.RunResult(result.returncode, *lines, time.monotonic() - begin)

    def lab(self, *args, answer: str | None = None) -> subprocess.CompletedProcess:
        given = {"input": answer} if answer is not None else {"stdin": subprocess.DEVNULL}
        command = [sys.executable, "-m", "katas", *args]
        told = {"capture_output": True, "text": True, "errors": "replace", "timeout": 60}
        return subprocess.run(command, cwd=self.path, **told, **given)


@pytest.fixture
def toy(pytester, monkeypatch) -> Toy:
    for name in (
        "KATAS_IMPL",
        "PYTEST_XDIST_WORKER",
        "PYTEST_XDIST_TESTRUNUID",
    ):  # those of the run that this test is in
        monkeypatch.delenv(name, raising=False)
    return Toy(pytester)
