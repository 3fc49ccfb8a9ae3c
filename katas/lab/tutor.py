"""Which known mistake does a learner's kata look like? It is run beside each mistake of the bank on the same tests.

Two versions are alike where the same tests fail and say the same: equal wrong values are the strongest sign there is.
A hint comes in steps: the law that breaks first, why a version is wrong that breaks it in the same way, where to look.
"""

import ast
import hashlib
import importlib
import json
import math
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from katas.lab import catalog, stubs
from katas.lab.catalog import ROOT, Names
from katas.lab.plugin.messages import sentence
from katas.lab.trials import Outcome, Trial, run_trials, warm

PROFILES = ("hints", "mutants")  # few examples; if these find nothing, as many as a mutant gets
NUMBER = re.compile(r"-?\d+\.\d+(?:e[+-]?\d+)?|-?\d+e[+-]?\d+")
MOST_USUAL = 3
# Chosen on 60 mistakes in six katas that are in no bank. Of 60 others, in six other katas, 40 get a hint, and 39 of
# these are right (LEARNING.md).
ENOUGH, ENOUGH_WITHOUT_VALUES = 0.4, 0.75  # of `likeness`


class Said(NamedTuple):
    """What a failing test says, in short."""

    law: str
    all: str
    shows_a_value: bool

    @classmethod
    def of(cls, said: str) -> "Said":
        law, _, rest = said.partition("\n")
        shows_a_value = rest.startswith("  got ") and not law.startswith("a wrong argument")
        return cls(digest_of_text(essence(law)), digest_of_text(essence(said)), shows_a_value)


Print = dict[str, Said]  # of one version: its failing tests


class Known(NamedTuple):
    """A mistake of the bank that says the same as the learner's version where that fails first."""

    why: str
    function: str  # where the solution has it
    failing: int  # its tests that fail
    same: int  # those of them that say the same in the learner's version
    same_values: int  # and show a wrong value


class Findings(NamedTuple):
    """Of a version that fails."""

    first: str  # the first test that fails
    law: str  # what it says
    failing: int
    known: list[Known]  # the likest first
    usual: list[str]  # reasons why the first test fails, the likest first


def find(topic: str, kata: str, source: str, jobs: int = 2) -> Findings | None:
    """None if nothing fails that is written. `trials.warm` has been called for the kata."""
    for profile in PROFILES:
        [mine] = run_trials([Trial(topic, kata, "learner", source, whole=True, profile=profile)])
        if mine.exit_code not in (0, 1):
            return Findings("(the whole spec)", "it does not come to an end by itself", 1, [], [])
        if mine.failed:
            return _compared(mine, profile, jobs)
    return None


def _compared(mine: Outcome, profile: str, jobs: int) -> Findings:
    names, failing, first = (mine.trial.topic, mine.trial.kata), print_of(mine.failed), next(iter(mine.failed))
    bank = [mistake for mistake in bank_of(*names) if mistake.caught_by in functions(failing)]
    looked = prints_of(names, bank, profile, jobs, first)
    there = {mistake: looked[mistake.name][first] for mistake in bank if first in looked[mistake.name]}
    alike = [mistake for mistake, said in there.items() if said == failing[first]]
    prints = prints_of(names, alike, profile, jobs)
    solution, known = catalog.solution_file(*names).read_text("utf-8"), []
    for mistake in alike:
        theirs = prints[mistake.name]
        same = [test for test, said in theirs.items() if failing.get(test) == said]
        values = sum(failing[test].shows_a_value for test in same)
        known.append(Known(mistake.why, enclosing(solution, mistake.find), len(theirs), len(same), values))
    known.sort(key=lambda one: -likeness(one, len(failing)))
    others = [mistake for mistake in there if mistake not in alike]
    others.sort(key=lambda one: (there[one].law != failing[first].law, one.caught_by not in functions([first])))
    usual = [one.why for one in (*known, *others)]
    return Findings(first, mine.failed[first].split("\n")[0], len(failing), known, usual)


def likeness(one: Known, failing: int) -> float:
    """How much of what fails says the same: the geometric mean of the shares in either version. 1 if all does."""
    return one.same / math.sqrt(one.failing * failing)


def same_as(found: Findings) -> list[Known]:
    """Those that say enough of the same, the best first. All of either version is enough if it shows a wrong value."""

    def fits(one: Known) -> bool:
        enough = likeness(one, found.failing) >= (ENOUGH if one.same_values else ENOUGH_WITHOUT_VALUES)
        all_of_one = one.same_values > 0 and one.same in (one.failing, found.failing)
        return enough or all_of_one

    return list(filter(fits, found.known))


# --- alike ------------------------------------------------------------------------------------------------------------


def print_of(failed: dict[str, str]) -> Print:
    return {test: Said.of(said) for test, said in failed.items()}


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
    if str(ROOT) not in sys.path:  # the command may be given in any folder
        sys.path.insert(0, str(ROOT))
    return importlib.import_module(f"tests.katas.mistakes.{topic}.{kata}").MISTAKES


def prints_of(names: Names, bank: list, profile: str, jobs: int, test: str | None = None) -> dict[str, Print]:
    """Of each of these mistakes, on the whole spec or one test. Remembered until what it depends on changes."""
    file, key = (
        memory_of(*names).with_suffix(f".{digest_of_text(test or 'whole')}.json"),
        f"{digest_of(*names)} {profile}",
    )
    known = {
        name: {test: Said(*said) for test, said in found.items()} for name, found in (_read(file, key) or {}).items()
    }
    missing = [mistake for mistake in bank if mistake.name not in known]
    solution = catalog.solution_file(*names).read_text("utf-8")
    changed = {mistake.name: solution.replace(mistake.find, mistake.replace) for mistake in missing}
    trials = [Trial(*names, name, source, test, whole=True, profile=profile) for name, source in changed.items()]
    known |= {outcome.trial.name: print_of(outcome.failed) for outcome in run_trials(trials, jobs)}
    if missing:
        _write(file, key, known)
    return known


def memory_of(topic: str, kata: str) -> Path:
    return ROOT / ".pytest_cache" / "hints" / topic / f"{kata}.json"


def _read(file: Path, key: str):
    try:
        found = json.loads(file.read_text("utf-8"))
        return found["what"] if found["key"] == key else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _write(file: Path, key: str, what) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"key": key, "what": what}), "utf-8")


def digest_of(topic: str, kata: str) -> str:
    """Of all that the result of a mistake depends on, but for the libraries."""
    files = [ROOT / catalog.spec_of(topic, kata), catalog.bank_file(topic, kata)]
    for folder in (ROOT / "katas" / "lab", catalog.topic_folder(topic) / "given", ROOT / catalog.SOLUTIONS / topic):
        files += sorted(folder.rglob("*.py"))
    return digest_of_text("\n".join(file.read_text("utf-8") for file in files if file.is_file()))


def digest_of_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


# --- what a person reads ----------------------------------------------------------------------------------------------


def hint(topic: str, kata: str, jobs: int = 2, *, is_warm: bool = False) -> tuple[list[str], int]:
    """The steps of the hint that were asked for until now, for the kata as it is, and how many are left."""
    source = stubs.source_of(catalog.kata_file(topic, kata))
    memory, key = memory_of(topic, kata).with_suffix(".asked.json"), digest_of(topic, kata) + digest_of_text(source)
    asked = _read(memory, key)
    if asked is None:
        if not is_warm:
            warm([(topic, kata)])
        asked = {"steps": steps_of(topic, kata, source, jobs), "told": 0}
    asked["told"] = min(asked["told"] + 1, len(asked["steps"]))
    _write(memory, key, asked)
    return asked["steps"][: asked["told"]], len(asked["steps"]) - asked["told"]


def steps_of(topic: str, kata: str, source: str, jobs: int) -> list[str]:
    found = find(topic, kata, source, jobs)
    if found is None:
        return [f"Nothing of {topic}/{kata} fails: pytest {catalog.spec_of(topic, kata)}"]
    if found.first == "(import)":
        return [f"{catalog.shown(catalog.kata_file(topic, kata))} cannot be imported\n  {found.law}"]
    law = f"The first law that breaks\n  {found.law}   ({sentence(found.first)})"
    fitting = same_as(found)
    if not fitting:
        usual = "\n".join(f"  · {why}" for why in found.usual[:MOST_USUAL])
        told = f"Usual reasons for this test to fail\n{usual}" if usual else f"Look at the law again\n  {found.law}"
        return [law, f"No mistake that is known here fails like this. {told}"]
    best = fitting[0]
    how = f"{best.same} of your {found.failing} failing tests say the same as with a known mistake"
    where = where_to_look(topic, kata, source, best)
    return [law, f"{how}\n  {best.why}", *([where] if where else [])]


def where_to_look(topic: str, kata: str, source: str, known: Known) -> str | None:
    """The line of the function's docstring that has most words in common with the reason."""
    node = _node_of(source, known.function)
    if node is None or ast.get_docstring(node) is None:
        return None
    first, lines = node.body[0].lineno, source.splitlines()
    told = [(number, lines[number - 1].strip(' "')) for number in range(first, node.body[0].end_lineno + 1)]
    number, text = max(told, key=lambda line: len(_words(line[1]) & _words(known.why)))
    return f"Where to look\n  {catalog.shown(catalog.kata_file(topic, kata))}:{number}, {known.function}\n  {text}"


def _words(text: str) -> set[str]:
    """Those that say something, without an ending."""
    return {word.removesuffix("s") for word in re.findall(r"[a-z]{4,}", text.lower())}


def _node_of(source: str, name: str):
    body = ast.parse(source).body
    for part in name.split("."):
        node = next((node for node in body if getattr(node, "name", None) == part), None)
        body = node.body if node else []
    return node if name else None


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
