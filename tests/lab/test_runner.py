"""What a learner sees for every state that a kata can be in. Each test runs pytest in a small repository."""

import errno
import fcntl
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
import torch

from katas.lab.checks.recorder import save
from katas.lab.plugin.doctor import unsupported_card
from katas.lab.plugin.fixtures import card_of
from tests.conftest import FIRST

WRONG_ADD = """def add(x: float, y: float) -> float:
    return x - y


def double(x: float) -> float:
    return x + x
"""
RIGHT_ADD = WRONG_ADD.replace("x - y", "x + y")
SPEC = "katas/toy/test_first.py"


def hears_ctrl_c() -> None:
    """A job in the background ignores it, and so do its children."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def text_of(result) -> str:
    return result.stdout.str() + result.stderr.str()


# --- todo -----------------------------------------------------------------------------------------------------------


def test_an_unwritten_stub_is_todo_and_names_the_function(toy):
    result = toy.pytest("katas/toy/test_first.py")
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        ["*test_first.py ttt*", " · first*3 todo", "*todo: write add (katas/toy/first.py:4): 2 tests"]
    )
    result.stdout.fnmatch_lines(["*todo: write double (katas/toy/first.py:9): 1 test", "next: write add in*first.py:4"])
    result.stdout.fnmatch_lines(["*pytest katas/toy/test_first.py"])
    assert "failed" not in text_of(result) and "Traceback" not in text_of(result)


def test_todo_counts_as_failed_for_x_lf_and_junit(toy):
    stopped = toy.pytest("katas/toy", "-x", "--junitxml=report.xml")
    assert stopped.ret == 1 and "1 todo" in text_of(stopped) and "stopping after 1 failures" in text_of(stopped)
    assert 'failures="1"' in (toy.path / "report.xml").read_text()
    toy.kata("first", RIGHT_ADD.replace("return x + x", "raise NotImplementedError"))
    toy.pytest("katas/toy/test_first.py")
    again = toy.pytest("katas/toy/test_first.py", "--lf")
    assert "1 todo" in text_of(again) and "passed" not in re.findall(r"=.*=$", text_of(again))[-1]


def test_a_kata_blocked_by_an_earlier_one_says_which_function_to_write(toy):
    toy.kata("second", "from .first import add\n\n\ndef add_three(x, y, z):\n    return add(add(x, y), z)\n")
    result = toy.pytest("katas/toy/test_second.py")
    result.stdout.fnmatch_lines(["*todo: blocked by first: write add first (katas/toy/first.py:4)*"])
    result.stdout.fnmatch_lines(["next: write add in katas/toy/first.py:4", "*pytest katas/toy/test_first.py"])


def test_what_another_kata_has_not_written_can_be_borrowed(toy):
    twice = "from .first import Pair, add, double\n\n\ndef add_three(x, y, z):\n"
    twice += "    return double(Pair(x, y).total()) - add(x, y) + z\n"
    pair = "\n\nclass Pair(_Base):\n    def __init__(self, x: float, y: float) -> None:\n        super().__init__()\n"
    pair += "        self._x, self._y = x, y\n\n    def total(self) -> float:\n        return self._sum()\n\n"
    pair += "    def _sum(self) -> float:\n        return self._x + self._y + _ZERO\n"
    toy.write("solutions/toy/first.py", FIRST + "\n\n_ZERO = 0\n\n\nclass _Base:\n    pass\n" + pair)
    toy.stub("first")
    (toy.path / "katas/toy/first.py").write_text((toy.path / "katas/toy/first.py").read_text().replace("(_Base)", ""))
    toy.kata("second", twice)
    asked = ("katas/toy/test_first.py", "katas/toy/test_second.py")
    assert "1 passed" not in text_of(toy.pytest(*asked))
    result = toy.pytest(*asked, "--borrow")
    result.stdout.fnmatch_lines(
        [" · first*3 todo", " ✔ second*1 passed", "next: write add in*", "*test_first.py --borrow"]
    )
    result.stdout.fnmatch_lines(["katas: implementation: your code (katas/), and the solutions where other katas*"])
    file = toy.path / "katas/toy/first.py"
    file.write_text(
        file.read_text().replace("raise NotImplementedError", "return x + y + 1", 1)
    )  # add is written, wrongly
    wrong = toy.pytest("katas/toy/test_second.py", "--borrow")
    wrong.stdout.fnmatch_lines([" ✘ second*1 failed"])


def test_not_implemented_raised_by_a_library_is_a_failure(toy):
    toy.write("library.py", "def call():\n    raise NotImplementedError('forward')\n")
    toy.kata(
        "first", "import library\n\n\ndef add(x, y):\n    return library.call()\n\n\ndef double(x):\n    return 2 * x\n"
    )
    result = toy.pytest("katas/toy/test_first.py")
    assert "2 failed" in text_of(result) and "todo" not in text_of(result)
    result.stdout.fnmatch_lines(["*NotImplementedError: forward*"])


# --- failures -------------------------------------------------------------------------------------------------------


def test_a_failure_is_short_and_says_the_law_the_input_and_the_place(toy):
    toy.kata("first", WRONG_ADD)
    result = toy.pytest("katas/toy/test_first.py")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["✘ adding two and three", "  2 + 3 = 5, got -1.0*"])
    result.stdout.fnmatch_lines(
        ["✘ the order does not matter", "  x + y = y + x*", "  smallest input found", "    x=0,", "    y=1"]
    )
    result.stdout.fnmatch_lines(["  asked at katas/toy/test_first.py:*"])
    assert "Traceback" not in text_of(result) and "hypothesis/core.py" not in text_of(result)
    result.stdout.fnmatch_lines([" ✘ first*1 passed*2 failed", "next: make `adding two and three` hold"])
    result.stdout.fnmatch_lines(["*pytest katas/toy/test_first.py::test_adding_two_and_three"])


def test_a_changed_input_is_told_before_everything_else(toy):
    toy.kata("first", WRONG_ADD.replace("return x + x", "raise AssertionError('double changes its input: …')"))
    result = toy.pytest("katas/toy/test_first.py")
    result.stdout.fnmatch_lines(["✘ doubling is adding twice", "✘ adding two and three", "next: make `doubling is*"])


def test_one_cause_is_told_once_and_a_crash_before_what_comes_out_wrong(toy):
    toy.kata("first", "def add(x, y):\n    return [][int(x)]\n\n\ndef double(x):\n    return 2 * x + 1\n")
    spec = (toy.path / SPEC).read_text()
    first = "def test_doubling_by_hand():\n    assert double(3.0) == 6.0, f'2 * 3 = 6, got {double(3.0)}'\n\n\n"
    toy.write(SPEC, spec.replace("def test_adding", first + "def test_adding"))
    result = toy.pytest(SPEC)
    told = [line for line in result.stdout.lines if line.startswith(("✘", "  and", "next"))]
    assert told == [
        "✘ adding two and three", "  and 1 more test: the order does not matter", "✘ doubling by hand",
        "✘ doubling is adding twice", "next: make `adding two and three` hold",
    ], text_of(result)  # fmt: skip


def test_more_causes_than_a_screen_holds_are_a_line_each(toy):
    toy.kata("first", WRONG_ADD)
    toy.write(
        SPEC,
        "import pytest\n\nfrom katas.toy.first import add\n\n\n@pytest.mark.parametrize('x', [3, 4, 5, 6])\n"
        "def test_adding(x):\n    assert add(x, 1) == x + 1, f'{\"x\" * x} + 1'\n",
    )
    result = toy.pytest(SPEC)
    result.stdout.fnmatch_lines(["✘ adding [[]3[]]", "  with x = 3", "1 more of first, in full with -v:"])
    result.stdout.fnmatch_lines(["✘ adding [[]6[]]: xxxxxx + 1"])
    assert text_of(toy.pytest(SPEC, "-v")).count("  with x = ") == 4


def test_a_refusal_that_fails_shows_the_call(toy):
    toy.kata("first", RIGHT_ADD)
    toy.write(
        SPEC,
        "import pytest\n\nfrom katas.lab.expect import expect_refused\nfrom katas.toy.first import add\n\n\n"
        "@pytest.mark.parametrize('name, call', [\n    ('y', lambda: add(2, y=-1)),\n])\n"
        "def test_refusals(name, call):\n    expect_refused(name, call)\n",
    )
    toy.pytest(SPEC).stdout.fnmatch_lines(
        ["✘ refusals [[]y[]]", "    got       1", "  with ('y', lambda: add(2, y=-1))"]
    )


def test_a_failure_inside_an_earlier_kata_names_its_file(toy):
    toy.kata("first", RIGHT_ADD.replace("return x + y", "return [][int(x)]"))
    toy.kata("second", (toy.path / "solutions/toy/second.py").read_text())
    result = toy.pytest("katas/toy/test_second.py")
    result.stdout.fnmatch_lines(["next: make `three numbers` hold", "*your code katas/toy/first.py, its spec*"])


def test_a_longer_traceback_is_there_for_the_asking(toy):
    toy.kata("first", WRONG_ADD)
    result = toy.pytest("katas/toy/test_first.py", "--tb=long")
    result.stdout.fnmatch_lines(["*def test_adding_two_and_three*"])


def test_a_row_of_a_table_is_called_by_its_number_and_a_refusal_by_its_argument(toy):
    toy.kata("first", RIGHT_ADD)
    toy.write(
        "katas/toy/test_first.py",
        "import pytest\n\nfrom katas.toy.first import add, double\n\n\n"
        "@pytest.mark.parametrize('law, xs, y', [('a long law', [1, 2], 3), ('another law', [1, 2], 4)])\n"
        "def test_sums(law, xs, y):\n    assert add(*xs) == y, law\n\n\n"
        "@pytest.mark.parametrize('name, call', [('x', lambda: add(-1, 1))])\n"
        "def test_refusals(name, call):\n    with pytest.raises(ValueError):\n        call()\n\n\n"
        "@pytest.mark.parametrize('x, y', [(1, 'one')])\ndef test_plain(x, y):\n    pass\n",
    )
    result = toy.pytest("katas/toy/test_first.py", "-v")
    for name in (
        "test_sums[[]1[]] PASSED",
        "test_sums[[]2[]] FAILED",
        "test_refusals[[]x[]] FAILED",
        "test_plain[[]1-one[]] *",
    ):
        result.stdout.fnmatch_lines([f"*::{name}*"])


def test_an_error_inside_a_kata_shows_the_learners_line(toy):
    toy.kata("first", RIGHT_ADD.replace("x + x", "[1, 2][int(x)]"))
    result = toy.pytest("katas/toy/test_first.py")
    result.stdout.fnmatch_lines(
        ["  IndexError: list index out of range", "  in katas/toy/first.py:6, double", "*[[]1, 2[]][[]int(x)[]]"]
    )


def test_a_wrong_type_is_told_from_the_annotations(toy):
    toy.kata("first", RIGHT_ADD.replace("return x + x", "return str(x)"))
    result = toy.pytest("katas/toy/test_first.py")
    result.stdout.fnmatch_lines(
        ["  a wrong shape, dtype or type", "*double returned*'4.0'*", "*its signature says*float*"]
    )


def test_a_wrong_type_inside_a_property_is_told_too(toy):
    helper = "\n\ndef _sum(x: float, y: float) -> float:\n    return x + y\n"
    toy.kata("first", RIGHT_ADD.replace("return x + y", "return _sum(x, str(y))") + helper)
    result = toy.pytest("katas/toy/test_first.py")
    assert text_of(result).count("a wrong shape, dtype or type") == 2 and "hidden state" not in text_of(result)
    result.stdout.fnmatch_lines(["✘ the order does not matter", "*_sum was given*", "*its signature says float*"])


def test_a_hang_inside_a_property_is_cut_once(toy):
    toy.kata("first", RIGHT_ADD.replace("return x + y", "while x == 7: pass\n    return x + y"))
    begin = time.monotonic()
    toy.write("katas/toy/test_first.py", (toy.path / "katas/toy/test_first.py").read_text().replace("0, 1000", "7, 7"))
    result = toy.pytest("katas/toy/test_first.py", "-o", "timeout=1")
    assert "not finished after 1 s" in text_of(result) and time.monotonic() - begin < 15


def test_a_kata_that_prints_a_lot_does_not_flood_the_screen(toy):
    toy.kata("first", WRONG_ADD.replace("return x - y", "for i in range(5000): print('line', i)\n    return x - y"))
    result = toy.pytest("katas/toy/test_first.py")
    assert "2 failed" in text_of(result) and len(text_of(result).splitlines()) < 120


# --- katas that cannot be imported ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "source, told",
    [
        ("def add(x, y:\n    return x\n", "*katas/toy/first.py:1 does not parse*"),
        ("def add(x, y):\n    return x + y\n", "*katas/toy/first.py has no `double`*"),
        ("import no_such_library\n", "*katas/toy/first.py:1 fails while it is imported*"),
        ("1 / 0\n", "*ZeroDivisionError*"),
    ],
)
def test_only_the_kata_that_cannot_be_imported_fails(toy, source, told):
    toy.kata("first", source)
    toy.kata("second", "def add_three(x, y, z):\n    return x + y + z\n")
    result = toy.pytest("katas/toy")
    assert result.ret == 1
    result.stdout.fnmatch_lines([told])
    result.stdout.fnmatch_lines([" ✘ first*1 failed", " ✔ second*1 passed"])
    assert "Traceback" not in text_of(result)
    result.stdout.fnmatch_lines(["next: make katas/toy/test_first.py run"])


# --- which implementation runs --------------------------------------------------------------------------------------


def test_the_solutions_run_the_same_specs(toy):
    result = toy.pytest("katas/toy", "--impl", "solutions")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["katas: implementation: solutions/*", " ✔ first*3 passed"])


def test_of_two_trees_the_first_that_has_the_kata_wins(toy):
    toy.write("mine/toy/first.py", WRONG_ADD)
    result = toy.pytest("katas/toy", "--impl", "mine:solutions")
    result.stdout.fnmatch_lines(
        ["*mine/, then solutions/*", "*asked at katas/toy/test_first.py:*", " ✘ first*2 failed"]
    )
    assert "✘ second" in text_of(result)  # from solutions, on top of the wrong `add` of mine


def test_green_katas_say_how_to_compare_with_the_solution(toy):
    toy.kata("first", RIGHT_ADD)
    result = toy.pytest("katas/toy/test_first.py")
    result.stdout.fnmatch_lines(["first is green. Compare with the solution: python -m katas diff toy/first"])


DESELECTED = ["--deselect", SPEC + "::test_doubling_is_adding_twice"]


@pytest.mark.parametrize("arguments", [["-k", "two_and_three"], ["-x", *DESELECTED], ["-n", "2", *DESELECTED]])
def test_a_part_of_a_spec_is_not_green(toy, arguments):
    toy.kata("first", RIGHT_ADD.replace("x + x", "3 * x"))
    result = toy.pytest(SPEC, *arguments)
    result.stdout.fnmatch_lines([" ✔ first*passed", "what ran holds. Now all of its spec:", f"*pytest {SPEC}"])
    assert "is green" not in text_of(result) and not (toy.path / ".pytest_cache/v/katas").exists()


def test_what_is_saved_while_its_spec_runs_has_not_been_seen(toy):
    toy.kata("first", RIGHT_ADD)
    saves = "\n\ndef test_saving():\n    with open(first.__file__, 'a') as file:\n        file.write('# more')\n"
    spec = (toy.path / SPEC).read_text().replace("from katas.toy", "from katas.toy import first\nfrom katas.toy", 1)
    toy.write(SPEC, spec + saves)
    assert toy.pytest(SPEC).ret == 0
    assert "? first" in toy.lab().stdout


def test_a_test_file_that_cannot_be_read_takes_nothing_with_it(toy):
    toy.kata("first", RIGHT_ADD)
    for text, told in (
        ("def test_a(:", "SyntaxError"),
        ("import numpy.nosuch", "ModuleNotFoundError"),
        ("raise SystemExit(3)", "katas/toy/test_mine.py would end the whole run (SystemExit)"),
    ):
        toy.write("katas/toy/test_mine.py", text)
        result = toy.pytest("katas/toy/test_mine.py", SPEC)
        assert result.ret == 1 and told in text_of(result) and "✔ first               3 passed" in text_of(result), text


def test_the_runner_warns_of_nothing_of_its_own(toy):
    toy.kata("first", RIGHT_ADD)
    errors = "-W", "error::ResourceWarning", "-W", "error::pytest.PytestUnraisableExceptionWarning"
    assert toy.pytest(SPEC, *errors).ret == 0


def test_a_whole_spec_by_its_node_ids_is_green(toy):
    toy.kata("first", RIGHT_ADD)
    tests = re.findall(r"^def (test_\w+)", (toy.path / SPEC).read_text(), re.MULTILINE)
    result = toy.pytest(*[f"{SPEC}::{test}" for test in tests])
    result.stdout.fnmatch_lines(["first is green.*"])


@pytest.mark.parametrize(
    "arguments, told",
    [
        (["katas/toy", "--impl", "solutoins"], "*--impl solutoins: there is no such tree here*"),
        (["katas/other", "--impl", "solutions"], "*no tree of these has the topic `other`*"),
        (["katas/toy", "--impl", "katas/toy"], "*--impl katas/toy: there is no such tree here*"),
        (["katas/toy", "--impl", ":"], "*--impl ':' names no tree*"),
        (["katas/toy", "--impl", ""], "*--impl '' names no tree*"),
        (["katas/toy/first.py"], "*katas/toy/first.py is a kata. Its spec is katas/toy/test_first.py"),
        (["katas/tyo"], "*katas/tyo does not exist. Did you mean katas/toy?"),
        (["katas/toy/test_frist.py::test_adding"], "*does not exist. Did you mean katas/toy/test_first.py?"),
    ],
)
def test_what_does_not_exist_is_refused_and_what_was_meant_is_told(toy, arguments, told):
    toy.write("katas/other/__init__.py", 'KATAS = ("third",)\n')
    result = toy.pytest(*arguments)
    assert result.ret == 4
    result.stderr.fnmatch_lines([told])


def test_spawned_processes_run_the_same_implementation(toy):
    toy.write(
        "katas/toy/test_first.py",
        "import multiprocessing\n\nfrom katas.toy.first import double\n\n\n"
        "def test_a_worker_doubles():\n"
        "    with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
        "        assert pool.map(double, [4.0]) == [8.0]\n",
    )
    assert toy.pytest("katas/toy/test_first.py", "--impl", "solutions").ret == 0


def test_everything_works_under_xdist(toy):
    toy.kata("second", WRONG_ADD.replace("def add", "def add_three(x, y, z):\n    return 0.0\n\n\ndef add"))
    result = toy.pytest("katas/toy", "-n", "2")
    assert result.ret == 1
    result.stdout.fnmatch_lines([" · first*3 todo", " ✘ second*1 failed", "next: write add in katas/toy/first.py:4"])
    assert toy.pytest("katas/toy", "-n", "2", "--impl", "solutions").ret == 0


def test_it_works_from_a_folder_inside_the_repository(toy, monkeypatch):
    monkeypatch.chdir(toy.path / "katas" / "toy")
    result = toy.pytest("test_first.py", "--impl", "solutions")
    assert result.ret == 0
    result.stdout.fnmatch_lines([" ✔ first*3 passed"])
    assert not (toy.path / "katas" / "toy" / ".hypothesis").exists()


def test_it_works_with_the_root_of_an_editor_a_folder_up(toy):
    broken = FIRST.replace("x + y", "x - y")
    toy.kata("first", broken)
    result = toy.pytest("katas/toy/test_first.py", f"--rootdir={toy.path.parent}")
    result.stdout.fnmatch_lines(["✘ adding two and three", " ✘ first*1 passed*2 failed"])
    assert "Traceback" not in text_of(result)


def test_specs_run_in_the_order_of_the_ladder(toy):
    toy.write("katas/toy/__init__.py", 'KATAS = ("second", "first")\n')
    result = toy.pytest("katas/toy", "--impl", "solutions", "-v")
    assert text_of(result).index("test_three_numbers") < text_of(result).index("test_adding_two_and_three")


# --- checks on request ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments, passed, deselected",
    [
        (["katas/toy/test_first.py", "katas/toy/test_full_training.py::test_the_light_twin"], 4, 0),
        (["katas/toy"], 5, 2),
        (["katas/toy", "-m", "gpu", "--device", "cpu"], 1, 6),
        (["katas/toy", "-m", "benchmark"], 1, 6),
        (["katas/toy", "-m", "not gpu"], 5, 2),
        (["katas/toy/test_full_training.py::test_a_long_training", "--device", "cpu"], 1, 0),
    ],
)
def test_long_checks_run_only_when_they_are_asked_for(toy, arguments, passed, deselected):
    result = toy.pytest(*arguments, "--impl", "solutions")
    result.assert_outcomes(passed=passed, deselected=deselected)


def test_a_check_leaves_its_metrics_and_says_where(toy):
    result = toy.pytest("katas/toy", "-m", "gpu", "--device", "cpu", "--impl", "solutions")
    result.stdout.fnmatch_lines(["pictures and metrics: runs/toy/a_long_training/"])
    rows = (toy.path / "runs/toy/a_long_training/metrics.csv").read_text().splitlines()
    assert rows[0] == "step,loss" and len(rows) == 4
    source = (toy.path / "katas/toy/test_full_training.py").read_text()
    toy.write("katas/toy/test_full_training.py", source.replace("    bar = ", "    raise OSError\n    bar = "))
    toy.pytest("katas/toy", "-m", "gpu", "--device", "cpu", "--impl", "solutions")
    kept = (toy.path / "runs/toy/a_long_training/metrics.csv").read_text().splitlines()
    assert kept == rows, "a run that stops at its start keeps the metrics of the one before"


def test_the_cost_of_a_check_is_told_in_the_summary(toy):
    test = "def test_costly(budget):\n    with budget(flops=1.54e12 * 60):\n        pass\n"
    source = f"import pytest\n\n\n@pytest.mark.gpu\n{test}"
    toy.write("katas/toy/test_full_training.py", source)
    result = toy.pytest("katas/toy", "-m", "gpu", "--device", "cpu")
    result.stdout.fnmatch_lines(["cost: costly: *no GPU*projected on a GTX 1060: 1.0 min"])


def test_what_a_throughput_check_records_as_speed_is_told_in_the_summary(toy):
    test = "def test_fast(record_property):\n    record_property('speed', '7 a second')\n"
    toy.write("katas/toy/test_throughput.py", f"import pytest\n\n\n@pytest.mark.benchmark\n{test}")
    result = toy.pytest("katas/toy", "-m", "benchmark")
    result.stdout.fnmatch_lines(["speed: 7 a second"])


def test_a_python_without_the_packages_is_refused_and_says_what_to_do(toy):
    doctor = toy.path / "katas/lab/plugin/doctor.py"
    doctor.write_text(doctor.read_text().replace('NEEDED = ("torch",', 'NEEDED = ("no_such_package",'))
    result = toy.pytest("katas/toy")
    assert result.ret == 4
    told = f"ERROR: no_such_package not installed in this Python, {sys.executable}"
    result.stderr.fnmatch_lines([told, "*source .venv/bin/activate"])


def test_an_annotation_that_cannot_be_checked_is_not_checked(toy):
    kata = FIRST.replace('"""Adding."""', "from typing import Self\n\nimport torch")
    for old, new in (("x, factor)", "x: any, factor: [int]) -> Self"), ("def add(x: float", "def add(x: torch.tensor")):
        kata = kata.replace(old, new)
    toy.kata("first", kata)
    result = toy.pytest("katas/toy/test_first.py")
    assert result.ret == 0, text_of(result)


def test_a_kata_that_is_no_text_is_named_with_the_line(toy):
    file = toy.path / "katas/toy/first.py"
    file.write_bytes(b"\xef\xbb\xbf" + FIRST.encode())  # a BOM
    assert toy.pytest("katas/toy/test_first.py").ret == 0
    for bad, told in ((b"# gr\xfc\n", "the byte 0xfc is not UTF-8"), (b"# gr\0\n", "it holds null bytes")):
        file.write_bytes(FIRST.encode() + bad)
        toy.pytest("katas/toy/test_first.py").stdout.fnmatch_lines([f"katas/toy/first.py:16 does not parse: {told}*"])
    file.unlink()
    missing = "katas/toy/first.py is missing: `python -m katas reset toy/first` makes it again"
    toy.pytest("katas/toy/test_first.py").stdout.fnmatch_lines([missing])


def test_the_line_to_paste_is_quoted_and_keeps_the_device(toy):
    law = "@pytest.mark.parametrize('n', ['a b'])\ndef test_adding(n):\n    assert False\n"
    toy.write("katas/toy/test_first.py", f"import pytest\n\nimport katas.toy.first\n\n\n{law}")
    result = toy.pytest("katas/toy/test_first.py", "--device", "cpu")
    result.stdout.fnmatch_lines(["      pytest 'katas/toy/test_first.py::test_adding[[]a b]' --device cpu"])


def test_two_runs_of_a_check_do_not_mix_their_rows(toy):
    folder = toy.path / "runs/toy/a_long_training"
    folder.mkdir(parents=True)
    other_run = os.open(folder, os.O_RDONLY)
    fcntl.flock(other_run, fcntl.LOCK_EX)
    result = toy.pytest("katas/toy", "-m", "gpu", "--device", "cpu")
    assert result.ret == 1 and not list(folder.iterdir())
    result.stdout.fnmatch_lines(["  another run of this check is under way, and writes into runs/toy/a_long_training/"])
    os.close(other_run)
    assert toy.pytest("katas/toy", "-m", "gpu", "--device", "cpu").ret == 0


def test_a_full_disk_leaves_the_last_saved_file(tmp_path, monkeypatch):
    file, write = tmp_path / "model.pt", Path.write_bytes
    save({"weight": torch.ones(2)}, file)

    def until_full(path, data):
        write(path, data[:10])
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", until_full)
    with pytest.raises(OSError, match="No space left on device"):
        save({"weight": torch.zeros(2)}, file)
    assert torch.load(file)["weight"].sum() == 2 and list(tmp_path.iterdir()) == [file]


def test_an_interrupted_check_keeps_its_metrics(toy):
    source = (toy.path / "katas/toy/test_full_training.py").read_text()
    toy.write(
        "katas/toy/test_full_training.py",
        source.replace("        bar.update(1)", "        import time; time.sleep(60)"),
    )
    command = [sys.executable, "-m", "pytest", "katas/toy", "-m", "gpu", "--device", "cpu", "--impl", "solutions"]
    process = subprocess.Popen(
        command, cwd=toy.path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, preexec_fn=hears_ctrl_c
    )
    metrics = toy.path / "runs/toy/a_long_training/metrics.csv"
    deadline = time.monotonic() + 30
    while not metrics.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 2 and "KeyboardInterrupt" in output
    assert "pictures and metrics: runs/toy/a_long_training/\n" in output and "1 interrupted" in output, output
    assert metrics.read_text().splitlines() == ["step,loss", "0,1.0"]


def test_a_long_check_shows_a_live_bar_without_s(toy):
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, 100))
    command = [sys.executable, "-m", "pytest", "katas/toy", "-m", "gpu", "--device", "cpu", "--impl", "solutions"]
    process = subprocess.Popen(command, cwd=toy.path, stdout=slave, stderr=slave, close_fds=True)
    os.close(slave)
    seen = b""
    try:
        while chunk := os.read(master, 4096):
            seen += chunk
    except OSError:  # the other end is closed
        pass
    assert process.wait(30) == 0
    assert "training:" in seen.decode() and "/3 [" in seen.decode()


def test_without_a_gpu_the_check_is_skipped_and_says_what_to_do(toy):
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    result = toy.pytest("katas/toy", "-m", "gpu", "--impl", "solutions")
    result.stdout.fnmatch_lines(["*1 skipped", "     skipped: needs a GPU*--device cpu*"])
    refused = toy.pytest("katas/toy", "--device", "cuda")
    assert refused.ret == 4
    refused.stderr.fnmatch_lines(["*--device cuda: *"])


def test_a_data_folder_with_no_data_is_refused(toy):
    (toy.path / "empty").mkdir()
    for folder, told in (("nowhere", "there is no such folder"), ("empty", "the folder is empty*--download*")):
        refused = toy.pytest("katas/toy", "--data", folder)
        assert refused.ret == 4
        refused.stderr.fnmatch_lines([f"*--data {folder}: {told}*"])
    assert toy.pytest("katas/toy", "--impl", "solutions", "--data", "nowhere", "--download").ret == 0


def test_data_that_is_missing_skips_the_check_and_data_that_is_broken_fails_it(toy):
    source = """import pytest

from katas.lab.data import DataError, DataMissing


@pytest.mark.gpu
@pytest.mark.parametrize("error", [DataError, DataMissing])
def test_gated(error, run_dir):
    try:
        raise error("MNIST: expected it in DIR")
    except DataMissing as missing:
        pytest.skip(str(missing))
"""
    toy.write("katas/toy/test_full_training.py", source)
    result = toy.pytest("katas/toy", "-m", "gpu", "--device", "cpu")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["  DataError: MNIST: expected it in DIR", " ✘ full training*1 failed*1 skipped"])
    result.stdout.fnmatch_lines(["next: repair the data set, as the DataError above says", "*test_gated?DataError?'*"])
    assert "pictures and metrics" not in text_of(result), "neither left anything"


SHORT_CHECK = """import pytest

STEPS = 1000


@pytest.mark.gpu
def test_a_long_training(device, run_dir, record_property):
    (run_dir / "steps.txt").write_text(str(STEPS))
    assert STEPS == 7, "right code does not get there so soon"
    (run_dir / "to_the_end.txt").write_text("yes")
"""


def test_short_checks_run_to_their_end_and_assert_nothing(toy):
    toy.write("katas/toy/given/__init__.py", "")
    toy.write("katas/toy/given/short.py", "MODULES = ()\nCHANGES = {'STEPS': lambda steps: steps // 500}\n")
    toy.write("katas/toy/test_full_training.py", SHORT_CHECK)
    asked = ("katas/toy", "-m", "gpu", "--device", "cpu")
    assert toy.pytest(*asked, "--short").ret == 0 and toy.pytest(*asked).ret == 1
    short, real = toy.path / "runs/short/toy/a_long_training", toy.path / "runs/toy/a_long_training"
    assert (short / "steps.txt").read_text() == "2" and (short / "to_the_end.txt").is_file()
    assert (real / "steps.txt").read_text() == "1000", "a short run writes beside what a real one has left"


# --- the card and the PyTorch build ---------------------------------------------------------------------------------

CUDA_126 = ["sm_50", "sm_60", "sm_70", "sm_75", "sm_80", "sm_86", "sm_90"]  # torch 2.7.1 from PyPI
CUDA_128 = ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120", "compute_120"]


def test_workers_take_turns_with_the_cards():
    assert [card_of(f"gw{n}", 3) for n in range(5)] == [0, 1, 2, 0, 1] and card_of("gw7", 1) == 0


@pytest.mark.parametrize(
    "capability, arch_list",
    [((6, 1), CUDA_126), ((8, 9), CUDA_126), ((9, 0), CUDA_126), ((12, 0), CUDA_128), ((12, 1), CUDA_128)],
)
def test_a_card_that_the_build_knows_is_accepted(capability, arch_list):
    assert unsupported_card("a card", capability, arch_list, "2.7.1") is None


def test_an_old_card_is_told_the_last_release_that_has_its_kernels():
    problem = unsupported_card("NVIDIA GeForce GTX 1060 6GB", (6, 1), CUDA_128, "2.11.0")
    assert "GTX 1060" in problem and "pip install --force-reinstall torch==2.7.1 torchvision==0.22.1" in problem


def test_a_card_newer_than_the_build_is_told_to_upgrade():
    problem = unsupported_card("a card of tomorrow", (12, 0), CUDA_126, "2.7.1")
    assert "pip install --upgrade torch" in problem
