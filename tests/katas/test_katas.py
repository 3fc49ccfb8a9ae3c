"""The katas as they are shipped: solutions and alternatives pass, stubs can be made, every named mistake is caught.

Nothing here looks at the learner's own files in katas/<topic>/<kata>.py: they may be half done, wrong, or not parse.
"""

import doctest
import importlib
import importlib.util
import os
import re
import subprocess
import sys

import pytest

from katas.lab import catalog, stubs, trees

KATAS = [names for names in catalog.all_katas() if catalog.solution_file(*names).is_file()]
TOPICS = [topic for topic in catalog.topics() if any(names[0] == topic for names in KATAS)]


def run(*command: str) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CI": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    result = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=catalog.ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=1500,
    )
    assert result.returncode == 0, f"{' '.join(command)}\n{result.stdout[-6000:]}\n{result.stderr[-2000:]}"
    return result.stdout


def specs_of(topic: str) -> list[str]:
    """Every spec whose kata has a solution (a topic in the making has some that do not), and the topic's light twins."""
    folder = catalog.ROOT / "katas" / topic
    ready = [f"test_{kata}.py" for own_topic, kata in KATAS if own_topic == topic]
    return [f"katas/{topic}/{name}" for name in ready if (folder / name).is_file()]


# One run for all topics each: a process takes as long to start as the specs of a topic.


@pytest.mark.timeout(1500)
def test_solutions_pass_their_specs():
    specs = [spec for topic in TOPICS for spec in specs_of(topic)]
    run("pytest", *specs, "--impl", "solutions", "-q", "-n", "2", "-p", "no:cacheprovider")


@pytest.mark.timeout(1500)
def test_alternatives_pass_the_specs_too():
    specs = [catalog.spec_of(*names) for names in KATAS if catalog.alternative_file(*names).is_file()]
    run("pytest", *specs, "--impl", "tests/katas/alternatives:solutions", "-q", "-n", "2", "-p", "no:cacheprovider")


@pytest.mark.timeout(1500)
def test_every_named_mistake_is_caught_by_the_test_named_for_it():
    print(run("tests.katas.mutation", *TOPICS))


@pytest.mark.parametrize("topic, kata", KATAS)
def test_every_kata_has_a_spec_a_bank_of_mistakes_and_an_alternative(topic, kata):
    spec = catalog.ROOT / catalog.spec_of(topic, kata)
    bank = importlib.import_module(f"tests.katas.mistakes.{topic}.{kata}")
    tests = set(re.findall(r"^def (test_\w+)", spec.read_text(), re.MULTILINE))
    assert len({mistake.name for mistake in bank.MISTAKES}) == len(bank.MISTAKES) >= 5
    assert {mistake.caught_by for mistake in bank.MISTAKES} <= tests
    assert all(len(mistake.why.split()) >= 5 for mistake in bank.MISTAKES)
    assert catalog.alternative_file(topic, kata).is_file()


@pytest.mark.parametrize("topic, kata", KATAS)
def test_the_stub_defines_every_public_name_and_gives_nothing_away(topic, kata):
    source = catalog.solution_file(topic, kata).read_text()
    stub = stubs.make_stub(source)
    compile(stub, f"{kata}.py", "exec")
    assert stubs.public_functions(stub) == stubs.public_functions(source)
    left = set(stubs.public_functions(stub)) - {name for name, _ in stubs.unwritten(stub)}
    assert not left, f"these functions keep their bodies in the stub: {left}"


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
