"""The mutation runner itself: what it changes, and that it cannot call a mistake caught that was not."""

import shutil
import subprocess
import sys

import pytest

from tests.katas.mutants import generic_mutants
from tests.katas.mutation import touched
from tests.warm import ROOT, run_module

SOURCE = '''
def clip(x: int = 3, *, low: float = 0.0) -> int:
    """At least 5, at most 7."""
    if x < low and not low:
        raise ValueError(f"x is {x + 1}, not 4")
    return max(-x, 2 * low, key=abs)
'''


def test_generic_mutants_change_one_thing_each_outside_docstrings_annotations_and_messages():
    names = [name for name, _ in generic_mutants(SOURCE)]
    assert set(names) == {
        "clip: 3 → 4",
        "clip: 0.0 → 1.0",
        "clip: if x < low and (not low) → if not (x < low and (not low))",
        "clip: x < low and (not low) → x < low or not low",
        "clip: x < low → x <= low",
        "clip: x < low → x >= low",
        "clip: x < low and (not low) → x < low and (not not low)",
        "clip: max(-x, 2 * low, key=abs) → min(-x, 2 * low, key=abs)",
        "clip: max(-x, 2 * low, key=abs) → max(-x, 2 * low)",
        "clip: max(-x, 2 * low, key=abs) → max(+x, 2 * low, key=abs)",
        "clip: 2 * low → 2 / low",
        "clip: 2 * low → 3 * low",
        "clip: x → x_",
        "clip: low → low_",
    }
    for _, changed in generic_mutants(SOURCE):
        compile(changed, "mutant", "exec")


BANK = """
from tests.katas.mistakes import Mistake

MISTAKES = [
    Mistake("subtracts", "test_adding_two_and_three", "Adding is not subtracting.", "x + y", "x - y"),
    Mistake("looks_elsewhere", "test_doubling_is_adding_twice", "The test does not look there.", "x + y", "x - y"),
    Mistake("no_such_test", "test_that_does_not_exist", "There is no such test.", "x + y", "x - y"),
    Mistake("hangs", "test_adding_two_and_three", "It never ends.", "return x + y", "while True: pass"),
    Mistake("dies", "test_adding_two_and_three", "It ends the process.", "return x + y", "import os; os._exit(0)"),
]
"""


@pytest.fixture
def bank(toy):
    for file in (
        "__init__.py",
        "katas/__init__.py",
        "katas/mutation.py",
        "katas/mutants.py",
        "katas/mistakes/__init__.py",
    ):
        toy.write(f"tests/{file}", (ROOT / "tests" / file).read_text())
    toy.write("tests/katas/mistakes/toy/__init__.py", "")
    pyproject = (toy.path / "pyproject.toml").read_text()
    toy.write("pyproject.toml", pyproject.replace("timeout = 20", "timeout = 1"))
    shutil.rmtree(toy.path / "solutions" / "toy" / "__pycache__", ignore_errors=True)

    def run(text: str) -> subprocess.CompletedProcess:
        toy.write("tests/katas/mistakes/toy/first.py", text)
        return run_module("tests.katas.mutation", "toy/first", "--table", folder=toy.path)

    return run


def test_only_a_failure_of_the_named_test_counts_as_caught(bank):
    result = bank(BANK)
    assert result.returncode == 1
    table = {line.split()[1]: line.split()[0] for line in result.stdout.splitlines() if line.startswith("    ")}
    assert table == {"subtracts": "✔", "looks_elsewhere": "✘", "no_such_test": "✘", "hangs": "✔", "dies": "✘"}
    assert "mistake looks_elsewhere: test_doubling_is_adding_twice passed it" in result.stdout
    assert "mistake no_such_test: test_that_does_not_exist does not exist" in result.stdout


def test_a_change_that_does_not_fit_the_solution_is_refused(bank):
    result = bank(BANK.replace('"x + y", "x - y"', '"x * y", "x - y"', 1))
    assert result.returncode != 0 and "occurs 0 times, not once" in result.stderr


def test_against_a_spec_that_refuses_its_solution_no_mistake_counts(bank, toy):
    file = toy.path / "solutions/toy/first.py"
    file.write_text(file.read_text().replace("x + y", "x - y"))
    result = bank(BANK.replace("x + y", "x - y").replace('"x - y", "x - y"', '"x - y", "x * y"'))
    assert result.returncode == 1 and "test_first.py must pass the solution" in result.stdout
    assert "subtracts" not in result.stdout


def test_an_alternative_that_is_refused_is_told(bank, toy):
    wrong = "def add(x, y):\n    return 2 * x + y - 2\n\n\ndef double(x):\n    return 2 * x\n"
    toy.write("tests/katas/alternatives/toy/first.py", wrong)
    result = bank(BANK)
    assert result.returncode == 1 and "test_first.py must pass the alternative: test_the_order" in result.stdout


@pytest.mark.parametrize("accident", ["KeyboardInterrupt", "ValueError"])
def test_trials_that_do_not_all_end_are_no_result(toy, accident):
    """pytest swallows both, and what was not tried would look caught."""
    source = f"""
from katas.lab.trials import Trial, _Host, run_trials

def listen(host):
    raise {accident}

_Host._listen = listen
run_trials([Trial("toy", "first", "a name", "")])
print("a result")
"""
    result = subprocess.run([sys.executable, "-c", source], cwd=toy.path, capture_output=True, text=True, timeout=60)
    assert result.returncode == 1 and "0 of 1 trials have ended" in result.stderr and not result.stdout


def test_a_change_touches_what_uses_it_and_nothing_else():
    katas = [("detection", "boxes"), ("detection", "nms"), ("detection", "focal_loss"), ("diffusion", "ddim")]
    for file, expected in {
        "solutions/detection/boxes.py": katas[:2],
        "katas/detection/test_nms.py": katas[1:2],
        "tests/katas/mistakes/diffusion/ddim.py": katas[3:],
        "katas/detection/given/scenes.py": katas[:3],
        "katas/lab/laws.py": katas,
        "README.md": [],
    }.items():
        assert touched(katas, [file]) == expected, file
