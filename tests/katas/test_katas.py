"""The katas as they are shipped: solutions and alternatives pass, every mistake is caught, stubs can be made.

Nothing here looks at the learner's own files in katas/<topic>/<kata>.py: they may be half done, wrong, or not parse.
"""

import ast
import builtins
import dis
import doctest
import importlib
import re
import shutil
import subprocess
import sys
import types

import pytest

from katas.lab import catalog, stubs, trees
from tests.katas.mutation import mistake_trials
from tests.warm import run_module

KATAS = [names for names in catalog.all_katas() if catalog.solution_file(*names).is_file()]
FEW_TOGETHER = [  # each process imports everything once
    [f"{topic}/{kata}" for kata in katas[first : first + 5]]
    for topic in catalog.topics()
    for katas in [[kata for own, kata in KATAS if own == topic]]
    for first in range(0, len(katas), 5)
]
TOPICS = [topic for topic in catalog.topics() if any(names[0] == topic for names in KATAS)]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("katas", FEW_TOGETHER, ids=" ".join)
def test_the_solution_and_the_alternative_pass_and_every_mistake_is_caught(katas):
    result = run_module("tests.katas.mutation", *katas, timeout=800)
    assert result.returncode == 0, f"{result.stdout[-6000:]}\n{result.stderr[-2000:]}"


def test_a_spec_passes_in_a_python_that_has_loaded_nothing():
    """As a person runs it. PyTorch changes itself when the first optimizer is made: no kata is to blame."""
    command = [sys.executable, "-m", "pytest", catalog.spec_of("diffusion", "ema"), "--impl", "solutions", "-q"]
    result = subprocess.run(command, cwd=catalog.ROOT, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("topic", TOPICS)
def test_every_test_on_untouched_stubs_is_todo_and_nothing_else(topic, tmp_path):
    """In a copy whose katas are the stubs: the learner's own may be half done."""
    for name in ("katas", "solutions"):
        shutil.copytree(catalog.ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("conftest.py", "pyproject.toml"):
        shutil.copy(catalog.ROOT / name, tmp_path)
    for names in KATAS:
        stub = stubs.make_stub(catalog.solution_file(*names).read_text())
        (tmp_path / catalog.shown(catalog.kata_file(*names))).write_text(stub)
    result = run_module("pytest", f"katas/{topic}", "-q", folder=tmp_path, timeout=300)
    last = result.stdout.splitlines()[-1]
    assert re.fullmatch(r"(\d+ deselected, )?\d+ todo in .*", last), f"{last}\n{result.stdout[-6000:]}"


@pytest.mark.parametrize("topic, kata", KATAS)
def test_every_kata_has_a_spec_a_bank_of_mistakes_and_an_alternative(topic, kata):
    spec = catalog.ROOT / catalog.spec_of(topic, kata)
    bank = importlib.import_module(f"tests.katas.mistakes.{topic}.{kata}")
    tests = set(re.findall(r"^def (test_\w+)", spec.read_text(), re.MULTILINE))
    assert 8 <= len({mistake.name for mistake in bank.MISTAKES}) == len(bank.MISTAKES) <= 20
    lines, most = len(spec.read_text().splitlines()), 300 if kata.endswith("training") else 200
    assert lines <= most and len(tests) <= 20, (
        f"a spec of {lines} lines and {len(tests)} tests: its kata holds two ideas"
    )
    assert {mistake.caught_by for mistake in bank.MISTAKES} <= tests
    assert all(len(mistake.why.split()) >= 5 for mistake in bank.MISTAKES)
    assert catalog.alternative_file(topic, kata).is_file()


@pytest.mark.parametrize("topic, kata", KATAS)
def test_no_mistake_is_caught_by_a_name_that_nobody_defined(topic, kata):
    """A NameError fails every test, so that it would count as caught whatever the spec asks."""
    for mistake in mistake_trials(topic, kata):
        steps = [step for code in _codes(compile(mistake.source, "", "exec")) for step in dis.get_instructions(code)]
        loaded = {step.argval for step in steps if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
        stored = {step.argval for step in steps if step.opname == "STORE_NAME"}
        lost = {name for name in loaded - stored - set(dir(builtins)) if not name.startswith("__")}
        assert not lost, f"mistake {mistake.name}: {lost}"


def _codes(code):
    yield code
    for part in code.co_consts:
        if isinstance(part, types.CodeType):
            yield from _codes(part)


@pytest.mark.parametrize("topic, kata", KATAS)
def test_the_stub_defines_every_public_name_and_gives_nothing_away(topic, kata):
    source = catalog.solution_file(topic, kata).read_text()
    stub = stubs.make_stub(source)
    compile(stub, f"{kata}.py", "exec")
    assert stubs.public_functions(stub) == stubs.public_functions(source)
    left = set(stubs.public_functions(stub)) - {name for name, _ in stubs.unwritten(stub)}
    assert not left, f"these functions keep their bodies in the stub: {left}"


@pytest.mark.parametrize("topic, kata", KATAS)
def test_a_docstring_has_at_most_120_words_beside_its_formulas(topic, kata):
    for node in ast.walk(ast.parse(catalog.solution_file(topic, kata).read_text())):
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
            lines = (ast.get_docstring(node) or "").splitlines()
            words = " ".join(line for line in lines if not line.startswith("    ")).split()
            assert len(words) <= 120, f"{getattr(node, 'name', kata)}: {len(words)} words"


@pytest.mark.parametrize("topic, kata", KATAS)
def test_the_examples_in_the_docstrings_are_true(topic, kata):
    source = catalog.solution_file(topic, kata).read_text()
    if ">>>" not in source:
        return
    module = importlib.import_module(f"solutions.{topic}.{kata}")
    result = doctest.testmod(module, extraglobs={"torch": importlib.import_module("torch")})
    assert result.attempted and not result.failed


def test_a_learners_broken_kata_does_not_reach_these_tests(tmp_path):
    """The solutions run although every kata beside them does not even parse."""
    finder = trees.KataFinder(["solutions"], check_annotations=False)
    for topic, kata in KATAS:
        assert finder.file_of(topic, kata) == catalog.solution_file(topic, kata)


def test_ci_runs_what_the_readme_tells_a_newcomer_to_run():
    commands = re.findall(r"^    (python3 -m venv .*)$", (catalog.ROOT / "README.md").read_text(), re.MULTILINE)
    assert len(commands) == 2 and commands[1] in (catalog.ROOT / ".ci" / "run").read_text()
