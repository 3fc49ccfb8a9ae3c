"""Which known mistake does a learner's kata look like? It is run beside each mistake of the bank on the same tests.

Two versions are alike where the same tests fail and say the same: equal wrong values are the strongest sign there is.
"""

import ast
import hashlib
import importlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from katas.lab import catalog, stubs
from katas.lab.catalog import ROOT, Names
from katas.lab.trials import Outcome, Trial, run_trials, warm

PROFILES = ("hints", "mutants")  # few examples; if these find nothing, as many as a mutant gets
NUMBER = re.compile(r"-?\d+\.\d+(?:e[+-]?\d+)?|-?\d+e[+-]?\d+")

Print = dict[str, str]  # of one version: what each failing test says, in short


class Known(NamedTuple):
    """A mistake of the bank beside the learner's version."""

    name: str
    why: str
    function: str  # where the solution has it
    same: int  # of its failing tests, those that say the same in the learner's version
    failing: int
    first_is_same: bool  # the learner's first failure is one of these
    first_fails: bool

    @property
    def likeness(self) -> float:
        return self.same / max(self.failing, 1)


class Findings(NamedTuple):
    """Of a version that fails."""

    first: str  # the first test that fails
    law: str  # what it says
    failing: int
    known: list[Known]


def find(topic: str, kata: str, source: str, jobs: int = 2) -> Findings | None:
    """None if nothing fails that is written. `trials.warm` has been called for the kata."""
    for profile in PROFILES:
        [mine] = run_trials([Trial(topic, kata, "learner", source, whole=True, profile=profile)])
        if mine.exit_code not in (0, 1):
            return Findings("(the whole spec)", "it does not come to an end by itself", 1, [])
        if mine.failed:
            return _compared(mine, profile, jobs)
    return None


def _compared(mine: Outcome, profile: str, jobs: int) -> Findings:
    names, failing, first = (mine.trial.topic, mine.trial.kata), print_of(mine.failed), next(iter(mine.failed))
    bank = [mistake for mistake in bank_of(*names) if mistake.caught_by in functions(failing)]
    prints = prints_of(names, bank, profile, jobs)
    solution, known = catalog.solution_file(*names).read_text("utf-8"), []
    for mistake in bank:
        theirs = {test: said for test, said in prints[mistake.name].items() if test not in mine.todo}
        same = [test for test, said in theirs.items() if failing.get(test) == said]
        place = enclosing(solution, mistake.find)
        known.append(Known(mistake.name, mistake.why, place, len(same), len(theirs), first in same, first in theirs))
    known.sort(key=lambda one: -one.likeness)
    return Findings(first, mine.failed[first].split("\n")[0], len(failing), known)


# --- alike ------------------------------------------------------------------------------------------------------------


def print_of(failed: dict[str, str]) -> Print:
    return {test: hashlib.sha256(essence(said).encode()).hexdigest()[:12] for test, said in failed.items()}


def essence(said: str) -> str:
    """Without what differs between two right ways to compute the same wrong value: the last digits, addresses."""

    def rounded(match: re.Match) -> str:
        number = float(match.group())
        return "0" if abs(number) < 1e-12 else f"{number:.5g}"

    return NUMBER.sub(rounded, re.sub(r"0x[0-9a-f]+", "0x", said))


def functions(tests: Iterable[str]) -> set[str]:
    return {test.partition("[")[0] for test in tests}


# --- the bank ---------------------------------------------------------------------------------------------------------


def bank_of(topic: str, kata: str) -> list:
    if not catalog.bank_file(topic, kata).is_file():
        return []
    return importlib.import_module(f"tests.katas.mistakes.{topic}.{kata}").MISTAKES


def prints_of(names: Names, bank: list, profile: str, jobs: int) -> dict[str, Print]:
    """Of each of these mistakes. They are remembered until anything changes that they depend on."""
    file, digest = memory_of(*names), digest_of(*names) + profile
    remembered = _read(file)
    known = remembered["prints"] if remembered.get("digest") == digest else {}
    missing = [mistake for mistake in bank if mistake.name not in known]
    solution = catalog.solution_file(*names).read_text("utf-8")
    changed = {mistake.name: solution.replace(mistake.find, mistake.replace) for mistake in missing}
    trials = [Trial(*names, name, source, whole=True, profile=profile) for name, source in changed.items()]
    known |= {outcome.trial.name: print_of(outcome.failed) for outcome in run_trials(trials, jobs)}
    if missing:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"digest": digest, "prints": known}), "utf-8")
    return known


def memory_of(topic: str, kata: str) -> Path:
    return ROOT / ".pytest_cache" / "hints" / topic / f"{kata}.json"


def _read(file: Path) -> dict:
    try:
        return json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}


def digest_of(topic: str, kata: str) -> str:
    """Of all that the result of a mistake depends on, but for the libraries."""
    files = [ROOT / catalog.spec_of(topic, kata), catalog.bank_file(topic, kata)]
    for folder in (ROOT / "katas" / "lab", catalog.topic_folder(topic) / "given", ROOT / catalog.SOLUTIONS / topic):
        files += sorted(folder.rglob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]


def enclosing(source: str, find: str) -> str:
    """The public function or method in which the text begins; of a private one, the first public one that uses it."""
    line = source[: source.index(find)].count("\n") + find.startswith("\n") + 1
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    around = [node for node in nodes if node.lineno <= line <= node.end_lineno]
    if not around:
        return ""
    name = around[0].name
    if len(around) > 1 and isinstance(around[0], ast.ClassDef):
        name += f".{around[1].name}"
    public = stubs.public_functions(source)
    return name if name in public else next((other for other in public if _uses(nodes, other, around[-1].name)), "")


def _uses(nodes: list, user: str, used: str) -> bool:
    own = next((node for node in nodes if node.name == user.split(".")[-1]), None)
    return own is not None and bool(re.search(rf"\b{used}\b", ast.unparse(own)))
