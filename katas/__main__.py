"""`python -m katas`: progress and what is next, or the katas of a topic; `hint`, `diff` and `reset` for one kata.

For authors: `new`, `stub`, `drift`, `figures`.
"""

import argparse
import difflib
import os
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

from katas.lab import catalog, scaffold, stubs
from katas.lab.catalog import ROOT
from katas.lab.results import digest_of, last_run


def main(argv: list[str] | None = None) -> int:
    arguments = parser().parse_args(argv)
    match arguments.command:
        case "hint":
            return hint(*arguments.kata)
        case "watch":
            return watch(arguments.what)
        case "diff":
            return diff(*arguments.kata, yes=arguments.yes, alternative=arguments.alternative)
        case "reset":
            return reset(arguments.what, yes=arguments.yes)
        case "next":
            return turn_to(arguments.topic)
        case "stub":
            return stub(*arguments.kata)
        case "new":
            return new(arguments.name)
        case "drift":
            return drift()
        case "figures":
            return figures(arguments.topic)
    return progress(arguments.command)


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m katas", description=__doc__, epilog=f"Topics: {', '.join(catalog.topics())}"
    )
    commands = parser.add_subparsers(dest="command", metavar="TOPIC | COMMAND")
    for topic in catalog.topics():
        commands.add_parser(topic)
    for name, told in (
        ("hint", "which known mistake it looks like; once more for the next step"),
        ("diff", "your kata against the solution"),
        ("stub", "for authors: write the stub that follows from the solution"),
    ):
        command = commands.add_parser(name, help=told)
        command.add_argument("kata", metavar="TOPIC/KATA", type=named_kata)
        if name == "diff":
            command.add_argument("--alternative", action="store_true", help="against another right version")
            command.add_argument("--yes", action="store_true", help="do not ask")
    command = commands.add_parser("watch", help="run the spec at every save")
    command.add_argument("what", metavar="TOPIC[/KATA]", nargs="?", type=named_katas, help="default: the next topic")
    command = commands.add_parser("reset", help="practise it again from the stub")
    command.add_argument("what", metavar="TOPIC[/KATA]", type=named_katas)
    command.add_argument("--yes", action="store_true", help="do not ask")
    command = commands.add_parser("next", help="go on with this topic")
    command.add_argument("topic", choices=catalog.topics())
    command = commands.add_parser("new", help="for authors: lay out a topic or a kata")
    command.add_argument("name", metavar="TOPIC[/KATA]")
    commands.add_parser("drift", help="for authors: fails if a committed stub is not what its solution gives")
    command = commands.add_parser("figures", help="for authors: draw the pictures of the READMEs from the solutions")
    command.add_argument("topic", nargs="?", choices=catalog.topics(), help="default: every topic")
    return parser


def named_kata(text: str) -> tuple[str, str]:
    """`detection/nms`, or a path to its file or spec, as it comes from tab completion."""
    parts = Path(text.removesuffix(".py")).parts[-2:]
    if len(parts) == 2:
        topic, kata = parts[0], parts[1].removeprefix("test_")
        if (topic, kata) in catalog.all_katas():
            if not catalog.solution_file(topic, kata).is_file():
                raise argparse.ArgumentTypeError(f"{topic}/{kata} has no solution yet")
            return topic, kata
    near = difflib.get_close_matches(text, ["/".join(names) for names in catalog.all_katas()], n=3, cutoff=0.4)
    meant = f" Did you mean {' or '.join(near)}?" if near else " `python -m katas` lists them."
    raise argparse.ArgumentTypeError(f"there is no kata {text!r}.{meant}")


def named_katas(text: str) -> list[tuple[str, str]]:
    """Those of a topic, or the one kata."""
    topic = text.removeprefix("katas/").strip("/")
    if topic in catalog.topics():
        return [(topic, kata) for kata in catalog.katas_of(topic)]
    return [named_kata(text)]


# --- progress ---------------------------------------------------------------------------------------------------------

CHOSEN = ROOT / ".pytest_cache" / "katas_topic"  # the topic that was turned to


def progress(shown: str | None = None) -> int:
    """A line for each topic, and a row for each kata of the one that is `shown`, or comes next."""
    states = {names: state_of(*names) for names in catalog.all_katas()}
    width = shutil.get_terminal_size().columns
    chosen = CHOSEN.read_text("utf-8") if CHOSEN.is_file() else None
    order = sorted(states, key=lambda names: names[0] != (shown or chosen))
    coming = next((names for names in order if states[names][2]), None)
    unfolded = shown or (coming or order[-1])[0]
    for topic in [shown] if shown else catalog.topics():
        katas = catalog.katas_of(topic)
        left = [kata for kata in katas if states[topic, kata][0] != "✔"]
        minutes = sum(catalog.cards_of(topic).get(kata, catalog.Card()).minutes or 0 for kata in left)
        hours = f"   about {max(1, round(minutes / 60))} h left" if minutes else ""
        print(f"{topic:<18}{len(katas) - len(left):3d} of {len(katas)}{hours}")
        for kata in katas if topic == unfolded else ():
            row = row_of(topic, kata, *states[topic, kata][:2])
            print(row if len(row) <= width else row[: width - 2] + " …")
    green = sum(mark == "✔" for mark, *_ in states.values())
    print(f"\n{green} of {len(states)} katas are green" if not shown else "")
    step = states[coming][2] if coming and (not shown or coming[0] == shown) else None
    if step:
        print(f"next: {step}")
    else:
        print(
            f"{shown or 'Everything'} is green. Now the full checks: pytest {f'katas/{shown} ' if shown else ''}-m gpu"
        )
    return 0


def in_order(first: str | None = None) -> list[tuple[str, str]]:
    """All katas: those of this topic first, or of the one that was turned to."""
    first = first or (CHOSEN.read_text("utf-8") if CHOSEN.is_file() else None)
    return sorted(catalog.all_katas(), key=lambda names: names[0] != first)


def row_of(topic: str, kata: str, mark: str, told: str) -> str:
    """The minutes are estimates; half an hour is easy, more than 45 minutes is hard."""
    card = catalog.cards_of(topic).get(kata, catalog.Card())
    size = f"{card.minutes:3d} min {'●' * (1 + (card.minutes > 30) + (card.minutes > 45)):<3}  " if card.minutes else ""
    return f"  {mark} {kata:<20}{size}{told:<16} {card.point}".rstrip()


def turn_to(topic: str) -> int:
    CHOSEN.parent.mkdir(exist_ok=True)
    CHOSEN.write_text(topic, "utf-8")
    return progress(topic)


def state_of(topic: str, kata: str) -> tuple[str, str, str | None]:
    """A mark, a few words and the next step of one kata: from its file, and from the last run of its spec."""
    file, spec = catalog.kata_file(topic, kata), catalog.spec_of(topic, kata)
    if not catalog.solution_file(topic, kata).is_file() and not file.is_file():
        return " ", "to come", None
    if not file.is_file():
        return "✘", "the file is missing", f"python -m katas reset {topic}/{kata}"
    try:
        source = stubs.source_of(file)
        unwritten, public = stubs.unwritten(source), stubs.public_functions(source)
    except SyntaxError as error:
        return "✘", f"does not parse (line {error.lineno})", f"mend {file.relative_to(ROOT)}:{error.lineno}"
    if unwritten:
        name, line = unwritten[0]
        step = f"write {name} in {file.relative_to(ROOT)}:{line}\n      pytest {spec}"
        return "·", f"{max(len(public) - len(unwritten), 0)} of {len(public)} written", step
    last = last_run(topic, kata)
    if last is None or last["digest"] != digest_of(topic, kata):
        return "?", "not run since", f"pytest {spec}"
    if last.get("failed") or last.get("todo"):
        red = last.get("failed", 0) + last.get("todo", 0)
        return "✘", f"{last.get('passed', 0)} passed, {red} red", f"pytest {spec}"
    return "✔", f"{last.get('passed', 0)} passed", None


# --- one kata ---------------------------------------------------------------------------------------------------------


def hint(topic: str, kata: str) -> int:
    mark, told, step = state_of(topic, kata)
    if not catalog.kata_file(topic, kata).is_file() or told.startswith("does not parse"):
        print(f"{topic}/{kata} {told}. {step}")
        return 1
    if told.startswith("0 of "):
        print(f"{topic}/{kata}: nothing is written yet. First {step}")
        return 1
    os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported: a pool of threads cannot be forked
    from katas.lab import tutor

    if sys.stdout.isatty():
        print("comparing with known mistakes …\n", flush=True)
    steps, left = tutor.hint(topic, kata)
    print("\n\n".join(steps))
    if left:
        print(f"\nOnce more for {'the reason' if len(steps) == 1 else 'where to look'}")
    return 0


def watch(katas: list[tuple[str, str]] | None) -> int:
    os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported: a pool of threads cannot be forked
    from katas.lab.watch import Watch

    def is_green(names: tuple[str, str]) -> bool:
        return state_of(*names)[0] == "✔"

    if katas is None:
        topic = next((names[0] for names in in_order() if not is_green(names)), catalog.topics()[0])
        katas = named_katas(topic)
    return Watch(katas, is_green, lambda names: diff(*names, yes=False, alternative=False)).until_quit()


def diff(topic: str, kata: str, *, yes: bool, alternative: bool) -> int:
    other = catalog.alternative_file if alternative else catalog.solution_file
    mine, solution = catalog.kata_file(topic, kata), other(topic, kata)
    if not mine.is_file():
        print(f"{catalog.shown(mine)} is missing. `python -m katas reset {topic}/{kata}` makes it again")
        return 1
    names = [catalog.shown(mine), catalog.shown(solution)]
    if mine.read_bytes() == solution.read_bytes():
        print(f"{names[0]} is the same as {names[1]}")
        return 0
    mark, told, _ = state_of(topic, kata)
    if mark in "·✘" and not yes and sys.stdin.isatty():
        print(f"{topic}/{kata}: {told}. For a hint: python -m katas hint {topic}/{kata}")
        if not confirmed("Show the solution all the same?"):
            return 1
    colour = "always" if sys.stdout.isatty() and not os.environ.get("NO_COLOR") else "never"
    options = ["--no-index", "--no-prefix", f"--color={colour}", "-U2", "--text"]
    try:
        done = subprocess.run(["git", "--no-pager", "diff", *options, "--", *names], cwd=ROOT)
    except FileNotFoundError:
        print(f"diff needs git. Compare {' with '.join(names)}")
        return 1
    return 0 if done.returncode in (0, 1) else done.returncode


def reset(katas: list[tuple[str, str]], *, yes: bool) -> int:
    stubs_of = {names: stubs.make_stub(catalog.solution_file(*names).read_text("utf-8")) for names in katas}
    files = {names: catalog.kata_file(*names) for names in katas}
    changed = [n for n in katas if not files[n].is_file() or files[n].read_bytes() != stubs_of[n].encode()]
    if not changed:
        print(f"{shown_together(files, katas)} {'is the stub' if len(katas) == 1 else 'are stubs'} already")
        return 0
    for names in changed:
        if problem := why_not_written(files[names]):
            print(f"{catalog.shown(files[names])} {problem}. Nothing changed.")
            return 1
    what = "its stub" if len(changed) == 1 else "their stubs"
    if not yes and not confirmed(f"Replace {shown_together(files, changed)} by {what}?"):
        print("Nothing changed.")
        return 1
    for names in changed:
        try:
            keep_uncommitted(*names)
            write(files[names], stubs_of[names])
        except OSError as error:
            print(f"{catalog.shown(files[names])} cannot be replaced: {error}. It has not changed.")
            return 1
        print(f"{catalog.shown(files[names])} is the stub again. Run: pytest {catalog.spec_of(*names)}")
    return 0


def shown_together(files: dict, katas: list) -> str:
    return catalog.shown(files[katas[0]]) if len(katas) == 1 else f"{len(katas)} katas of {katas[0][0]}"


def why_not_written(file: Path) -> str | None:
    """Why a file should not be, or cannot be, written over."""
    if file.is_dir():
        return "is a folder"
    if file.is_symlink() and not file.exists():
        return f"is a link to {file.readlink()}, which does not exist"
    if file.exists() and not file.stat().st_mode & stat.S_IWUSR:
        return "is read-only"
    return None


def write(file: Path, text: str) -> None:
    """In one step: if the disk is full, the old file is still there."""
    file = file.resolve()  # a link stays one
    unfinished = file.with_name(f".{file.name}.unfinished")
    try:
        unfinished.write_text(text, "utf-8")
        unfinished.replace(file)
    finally:
        unfinished.unlink(missing_ok=True)


def keep_uncommitted(topic: str, kata: str) -> None:
    """A copy of work that would be lost."""
    file = catalog.kata_file(topic, kata)
    if file.is_file() and not is_committed(file):
        backup = (
            ROOT / "runs" / "reset" / f"{topic}-{kata}-{time.strftime('%Y%m%d-%H%M%S')}-{digest_of(topic, kata)[:4]}.py"
        )
        backup.parent.mkdir(parents=True, exist_ok=True)
        backup.write_bytes(file.read_bytes())
        print(f"Your version was not committed; it is kept at {catalog.shown(backup)}")


def confirmed(question: str) -> bool:
    try:
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        print("\nNobody answered (say --yes to go on without asking).")
        return False


def is_committed(file: Path) -> bool:
    """Whether git has exactly these bytes in HEAD."""
    relative = file.relative_to(ROOT).as_posix()
    try:
        committed = subprocess.run(["git", "show", f"HEAD:{relative}"], cwd=ROOT, capture_output=True)
    except OSError:
        return False
    return committed.returncode == 0 and committed.stdout == file.read_bytes()


# --- for authors ------------------------------------------------------------------------------------------------------


def stub(topic: str, kata: str) -> int:
    file = catalog.kata_file(topic, kata)
    if problem := why_not_written(file):
        print(f"{catalog.shown(file)} {problem}. Nothing changed.")
        return 1
    if file.is_file() and is_work(file):
        keep_uncommitted(topic, kata)
    write(file, stubs.make_stub(catalog.solution_file(topic, kata).read_text("utf-8")))
    return 0


def is_work(file: Path) -> bool:
    """Whether anything of it is written: it is no stub, be it that of an older solution."""
    try:
        source = stubs.source_of(file)
        public = stubs.public_functions(source)
        return not public or len(stubs.unwritten(source)) < len(public)
    except SyntaxError:
        return True


def new(name: str) -> int:
    try:
        files = scaffold.new(name)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    for file in files:
        print(f"  {catalog.shown(file)}")
    if "/" in name.strip("/"):
        print(f"Its example is whole: python -m tests.katas.mutation {name}")
    else:
        print(f"Next, its first kata: python -m katas new {name}/NAME")
    return 0


def figures(topic: str | None) -> int:
    import importlib

    from katas.lab import trees

    trees.install([catalog.SOLUTIONS])
    for each in [topic] if topic else catalog.topics():
        drawn = importlib.import_module(f"katas.{each}.given.figures").FIGURES
        for name, draw in drawn.items():
            path = catalog.topic_folder(each) / "figures" / name
            draw(path)
            print(catalog.shown(path))
    return 0


def drift() -> int:
    names = stubs.drifted()
    for name in names:
        print(f"{name}: not the stub that its solution gives (for authors: `python -m katas stub {name}` writes it)")
    if not names:
        print(f"no drift: {len(catalog.all_katas())} stubs are what their solutions give")
    return 1 if names else 0


def main_of_the_terminal() -> int:
    """A terminal that knows fewer letters, a reader that has seen enough, a full disk: no traceback for those."""
    sys.stdout.reconfigure(errors="replace")
    try:
        code = main()
        sys.stdout.flush()
        return code
    except OSError as error:
        if not isinstance(error, BrokenPipeError):
            print(f"python -m katas: {error}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at the end
        return 1


if __name__ == "__main__":
    sys.exit(main_of_the_terminal())
