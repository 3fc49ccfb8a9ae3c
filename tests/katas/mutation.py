"""Do the specs notice? The solutions and the alternatives must pass their specs, every named mistake must fail.

    python -m tests.katas.mutation detection/boxes            solution, alternative, and each mistake of the bank
    python -m tests.katas.mutation detection/boxes --generic  also swapped operators, changed constants and the like
    python -m tests.katas.mutation detection --table          a row per mistake: which test caught it, in which time
    python -m tests.katas.mutation --changed                  only what the uncommitted changes touch

One warmed parent imports everything. Each trial is a fork of it, with its source compiled in memory. Only pytest's exit
code 1 counts as caught.
"""

import argparse
import importlib
import re
import subprocess
import sys

from katas.lab import catalog
from katas.lab.catalog import Names
from katas.lab.trials import SURVIVED, Outcome, Trial, run_trials, warm
from tests.katas.mutants import generic_mutants

# --- what to try ----------------------------------------------------------------------------------------------------


def mistake_module(topic: str, kata: str):
    return importlib.import_module(f"tests.katas.mistakes.{topic}.{kata}")


def has_bank(topic: str, kata: str) -> bool:
    return catalog.bank_file(topic, kata).is_file()


def mistake_trials(topic: str, kata: str) -> list[Trial]:
    source = catalog.solution_file(topic, kata).read_text()
    trials = []
    for mistake in mistake_module(topic, kata).MISTAKES:
        count = source.count(mistake.find)
        if count != 1:
            raise ValueError(f"{topic}/{kata}, mistake {mistake.name}: {mistake.find!r} occurs {count} times, not once")
        changed = source.replace(mistake.find, mistake.replace)
        trials.append(Trial(topic, kata, mistake.name, changed, mistake.caught_by))
    return trials


def right_trials(topic: str, kata: str) -> list[Trial]:
    """The solution, and the alternative on top of the solutions: the whole spec must pass."""
    files = {"solution": catalog.solution_file(topic, kata), "alternative": catalog.alternative_file(topic, kata)}
    return [Trial(topic, kata, name, file.read_text()) for name, file in files.items() if file.is_file()]


def generic_trials(topic: str, kata: str) -> list[Trial]:
    source = catalog.solution_file(topic, kata).read_text()
    return [Trial(topic, kata, name, changed) for name, changed in generic_mutants(source)]


def equivalents(topic: str, kata: str) -> dict[str, str]:
    """Generic mutants that no spec can or should catch, with the reason."""
    return getattr(mistake_module(topic, kata), "EQUIVALENT", {}) if has_bank(topic, kata) else {}


# --- command ----------------------------------------------------------------------------------------------------------


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.katas.mutation", description=__doc__.split("\n\n")[0])
    parser.add_argument("what", nargs="*", help="TOPIC or TOPIC/KATA (default: everything)")
    parser.add_argument("--changed", action="store_true", help="only katas that the uncommitted changes touch")
    parser.add_argument("--generic", action="store_true", help="also try the generic operators on whole specs")
    parser.add_argument("--table", action="store_true", help="a row for every mistake")
    parser.add_argument("--jobs", type=int, choices=range(1, 65), default=2, metavar="N")
    arguments = parser.parse_args(argv)
    katas = chosen_katas(arguments.what)
    if arguments.changed:
        katas = touched(katas, changed_files())
        if not katas:
            print("no kata is touched by the uncommitted changes")
            return 0
    if not katas:
        parser.error(f"no kata with a bank of mistakes among {arguments.what}")
    warm(katas)
    print(f"{'kata':<34}{'mistakes':>9}{'caught':>8}{'seconds':>9}")
    refused = refused_solutions(katas, arguments.jobs)
    if any(outcome.trial.name == "solution" for outcome in refused):
        katas = []  # against a spec that refuses its solution, every mistake looks caught
    missed = [outcome for names in katas for outcome in try_bank(*names, arguments)]
    survivors = [outcome for names in katas for outcome in try_generic(*names, arguments)] if arguments.generic else []
    for outcome in refused:
        told = f"{outcome.test}, exit code {outcome.exit_code}"
        print(f"REFUSED    {outcome.trial.spec} must pass the {outcome.trial.name}: {told}")
    for outcome in missed:
        told = {0: "passed it", 4: "does not exist"}.get(outcome.exit_code, f"ended with exit code {outcome.exit_code}")
        print(f"NOT CAUGHT {outcome.trial.spec}: mistake {outcome.trial.name}: {outcome.trial.test} {told}")
    for outcome in survivors:
        ended = "" if outcome.exit_code == SURVIVED else f"   [exit code {outcome.exit_code}: {outcome.test}]"
        print(f"SURVIVED   {outcome.trial.topic}/{outcome.trial.kata}: {outcome.trial.name!r}{ended}")
    return 1 if refused or missed or survivors else 0


def chosen_katas(what: list[str]) -> list[Names]:
    wanted = [name.strip("/").removesuffix(".py") for name in what]
    return [
        (topic, kata)
        for topic, kata in catalog.all_katas()
        if has_bank(topic, kata) and (not wanted or topic in wanted or f"{topic}/{kata}" in wanted)
    ]


def changed_files() -> list[str]:
    """What differs from the last commit, files that git does not know included."""
    commands = ["git", "diff", "--name-only", "HEAD"], ["git", "ls-files", "--others", "--exclude-standard"]
    outputs = [subprocess.run(c, cwd=catalog.ROOT, capture_output=True, text=True, check=True).stdout for c in commands]
    return "".join(outputs).splitlines()


def touched(katas: list[Names], files: list[str]) -> list[Names]:
    """Those whose solution, spec, bank or alternative is among the files, or that use one whose solution is.

    A change of the laboratory, or of what all topics share, touches everything.
    """
    if any(file.startswith(("katas/lab/", "tests/katas/m", "conftest")) and file.count("/") < 3 for file in files):
        return katas
    own = (catalog.solution_file, catalog.bank_file, catalog.alternative_file)

    def is_touched(topic: str, kata: str) -> bool:
        mine = {catalog.shown(file(topic, kata)) for file in own} | {catalog.spec_of(topic, kata)}
        if mine & set(files) or any(file.startswith(f"katas/{topic}/given/") for file in files):
            return True
        used = re.findall(r"^from \.(\w+) import", catalog.solution_file(topic, kata).read_text(), re.MULTILINE)
        return any(catalog.shown(catalog.solution_file(topic, other)) in files for other in used)

    return [names for names in katas if is_touched(*names)]


def refused_solutions(katas: list[Names], jobs: int) -> list[Outcome]:
    """One row for the solutions and alternatives, and those that their specs refuse."""
    outcomes = run_trials([trial for names in katas for trial in right_trials(*names)], jobs)
    refused = [outcome for outcome in outcomes if outcome.exit_code != SURVIVED]
    seconds = sum(outcome.seconds for outcome in outcomes)
    print(f"{'solutions and alternatives':<34}{len(outcomes):>9}{len(refused):>8}{seconds:>9.1f}")
    return refused


def try_bank(topic: str, kata: str, arguments) -> list[Outcome]:
    """One row for the kata, and the mistakes that the test named for them let pass."""
    outcomes = run_trials(mistake_trials(topic, kata), arguments.jobs)
    caught = sum(outcome.caught for outcome in outcomes)
    seconds = sum(outcome.seconds for outcome in outcomes)
    print(f"{topic + '/' + kata:<34}{len(outcomes):>9}{caught:>8}{seconds:>9.1f}")
    if arguments.table:
        for outcome in outcomes:
            mark = "✔" if outcome.caught else "✘"
            print(f"    {mark} {outcome.trial.name:<44}{outcome.test:<70}{outcome.seconds:5.1f}")
    return [outcome for outcome in outcomes if not outcome.caught]


def try_generic(topic: str, kata: str, arguments) -> list[Outcome]:
    """One row for the kata, and the survivors that are not listed as equivalent."""
    listed = equivalents(topic, kata)
    outcomes = run_trials(generic_trials(topic, kata), arguments.jobs)
    names = {outcome.trial.name for outcome in outcomes}
    survivors = [outcome for outcome in outcomes if not outcome.caught]
    caught = len(outcomes) - len(survivors)
    explained = [outcome for outcome in survivors if outcome.trial.name in listed]
    seconds = sum(outcome.seconds for outcome in outcomes)
    row = f"{topic}/{kata} generic"
    print(f"{row:<34}{len(outcomes):>9}{caught:>8}{seconds:>9.1f}   {len(explained)} explained")
    for stale in sorted(set(listed) - names):
        print(f"    listed as equivalent, but there is no such mutant: {stale!r}")
    for outcome in outcomes:
        if outcome.caught and outcome.trial.name in listed:
            print(f"    listed as equivalent, but {outcome.test} catches it: {outcome.trial.name!r}")
    return [outcome for outcome in survivors if outcome.trial.name not in listed]


if __name__ == "__main__":
    sys.exit(main())
