"""What the end of a run says: how far each kata is, and what to do next, exactly."""

import contextlib
import shlex
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from katas.lab import catalog, results, stubs, trees
from katas.lab.catalog import kata_of_node, rank
from katas.lab.plugin import fixtures, messages

MOST_CAUSES = 3  # of one kata that are told in full; all of them with -v
LISTS_THE_OTHERS = True
REMEMBERS_WHAT_HOLDS = True


def pytest_configure(config):
    config.pluginmanager.register(Ladder(config), "katas-ladder")


class Ladder:
    """Counts results per kata and shows, at the end, how far each one is and what to do next."""

    def __init__(self, config):
        self.config = config
        self.counts: dict[tuple[str, str], Counter] = defaultdict(Counter)
        self.todos: dict[tuple[str, str], list[dict]] = defaultdict(list)
        self.failed: dict[tuple[str, str], list] = defaultdict(list)  # reports
        self.of_data: set[str] = set()  # node ids of checks whose data set is damaged: no code is to blame
        self.reasons: dict[tuple[str, str], list[str]] = defaultdict(list)  # of what was skipped
        self.tests: dict[tuple[str, str], int] = {}  # how many the spec has, where this process has collected it
        self.digests: dict[tuple[str, str], str] = {}
        self.ran: dict[tuple[str, str], set[str]] = defaultdict(set)
        self.artefacts: set[str] = set()
        self.running: str | None = None
        self.told: list[str] = []  # what checks found out about time and speed

    def pytest_runtest_logreport(self, report):
        if report.when == "teardown":  # by then the test has said all that it will
            self.artefacts.update(value for key, value in report.user_properties if key == "artefacts")
            self.told += [
                f"{key}: {value}" for key, value in report.user_properties if key in ("cost", "speed", "found")
            ]
        names = kata_of_node(report.nodeid)
        if names is None:
            return
        if report.when == "teardown":
            self.ran[names].add(report.nodeid)
        if getattr(report, "kata_todo", None):
            self.counts[names]["todo"] += 1
            self.todos[names].append(report.kata_todo)
        elif report.failed:
            self.counts[names]["failed"] += 1
            self.failed[names].append(report)
            if getattr(report, "kata_data", False):
                self.of_data.add(report.nodeid)
        elif report.skipped:
            self.counts[names]["skipped"] += 1
            if isinstance(report.longrepr, (tuple, list)):  # an expected failure has something else
                self.reasons[names].append(report.longrepr[2].removeprefix("Skipped: "))
        elif report.when == "call":
            self.counts[names]["passed"] += 1

    def pytest_sessionstart(self):
        """Under xdist others collect."""
        if getattr(self.config.option, "numprocesses", None):
            self.digests = {names: results.digest_of(*names) for names in catalog.all_katas()}

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node):
        """Under xdist the workers collect, and say at their end how many tests a spec has."""
        self.tests |= {tuple(name.split("/")): count for name, count in node.workeroutput.get("kata_tests", {}).items()}

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(self, collector):
        """The digest is that of the files as they are imported: what is saved while they run has not been seen."""
        names = kata_of_node(collector.nodeid)
        if names and isinstance(collector, pytest.Module):
            self.digests[names] = results.digest_of(*names)
        report = yield
        if names and report.passed and isinstance(collector, pytest.Module):
            self.tests[names] = len(report.result)
        return report

    def pytest_collectreport(self, report):
        names = kata_of_node(report.nodeid)
        if names and report.failed:
            self.counts[names]["failed"] += 1
            self.failed[names].append(report)

    def pytest_runtest_logstart(self, nodeid):
        self.running = nodeid

    def pytest_runtest_logfinish(self):
        self.running = None

    def pytest_keyboard_interrupt(self):
        """What is interrupted has no report, but perhaps metrics."""
        if self.running and (names := kata_of_node(self.running)):
            self.counts[names]["interrupted"] += 1
        folder = self.config.stash.get(fixtures.in_use, None)
        if folder and any(folder.iterdir()):
            self.artefacts.add(catalog.shown(folder) + "/")

    def pytest_sessionfinish(self, session):
        """The result of each whole spec is remembered, for `python -m katas`."""
        config = self.config
        for reports in self.failed.values():
            reports.sort(
                key=lambda report: failure.kind if (failure := messages.failure_in(report)) else messages.CRASH
            )
            for report in reports:
                if messages.failure_in(report):
                    report._pdbshown = True  # so pytest does not tell it as well
        own_code = not trees.installed() or not trees.installed().trees
        cache = getattr(config, "cache", None)
        if hasattr(config, "workerinput"):
            config.workeroutput["kata_tests"] = {"/".join(names): count for names, count in self.tests.items()}
        if not own_code or cache is None or hasattr(config, "workerinput"):
            return
        for names, counts in self.counts.items():
            holds = REMEMBERS_WHAT_HOLDS and self._is_whole(names)
            if catalog.kata_file(*names).is_file() and (counts["failed"] or holds):
                cache.set(results.cache_key(*names), {**counts, "digest": self.digests.get(names)})

    def _is_whole(self, names: tuple[str, str]) -> bool:
        """Whether every test of the spec ran to its end, whichever way it was asked for."""
        return names in self.tests and len(self.ran[names]) >= self.tests[names]

    def pytest_terminal_summary(self, terminalreporter):
        writer = terminalreporter
        if self.config.option.tbstyle != "no" and any(self.failed.values()):
            writer.write_line("")
            self._write_failures(writer)
        for line in self.told:
            writer.write_line(line)
        for path in sorted(self.artefacts):
            writer.write_line(f"pictures and metrics: {path}")
        for topic in [topic for topic in catalog.topics() if any(names[0] == topic for names in self.counts)]:
            writer.write_sep("=", topic, bold=True)
            for kata in self._in_order(topic):
                self._write_row(writer, topic, kata)
        if len(self.counts) == 1:
            self._write_todos(writer)
        self._write_next(writer)

    def _write_failures(self, writer) -> None:
        """Each cause once, with the first test that it broke; of a kata the first few in full."""
        most = MOST_CAUSES if self.config.option.verbose <= 0 else None
        for names in self._all_in_order():
            by_cause = defaultdict(list)
            for report in self.failed[names]:
                if failure := messages.failure_in(report):
                    by_cause[failure.cause].append(report)
            causes = list(by_cause.values())
            for first, *others in causes[:most]:
                for line in str(first.longrepr).splitlines():
                    writer.write_line(line, **_colour_of(line))
                for name, text in first.sections:
                    writer.write_line(f"  {name.lower()}\n{messages.indented(text, 4)}")
                if others:
                    writer.write_line(f"  and {_counted(others, 'more test')}: {_named(others)}")
                writer.write_line("")
            if causes[most:]:
                how = ", in full with -v:" if LISTS_THE_OTHERS else ""
                writer.write_line(f"{len(causes) - most} more of {names[1]}{how}")
            for reports in causes[most:] if LISTS_THE_OTHERS else ():
                law = messages.failure_in(reports[0]).essence.partition("\n")[0]
                count = f" ({len(reports)} tests)" if reports[1:] else ""
                writer.write_line(
                    f"✘ {messages.sentence(_test(reports[0]))}: {law}{count}"[: writer._tw.fullwidth], red=True
                )
            if causes[most:]:
                writer.write_line("")

    def _in_order(self, topic: str) -> list[str]:
        present = [kata for (own_topic, kata) in self.counts if own_topic == topic]
        return sorted(present, key=lambda kata: (rank(topic, kata), kata))

    def _write_row(self, writer, topic: str, kata: str) -> None:
        counts = self.counts[topic, kata]
        mark, colour = "✔", "green"
        if counts["failed"]:
            mark, colour = "✘", "red"
        elif counts["todo"]:
            mark, colour = "·", "yellow"
        elif not counts["passed"] or counts["interrupted"]:
            mark, colour = "-", "white"
        shown = [
            f"{counts[kind]:3d} {kind}"
            for kind in ("passed", "failed", "todo", "skipped", "interrupted")
            if counts[kind]
        ]
        writer.write(f" {mark} {catalog.CHECKS.get(kata, kata):<18}", **{colour: True})
        writer.write_line("  ".join(shown))
        for reason in dict.fromkeys(self.reasons[topic, kata]):
            writer.write_line(f"     skipped: {reason}")

    def _write_todos(self, writer) -> None:
        """With one kata in the run: every function that is still to be written, and how many tests wait for it."""
        [(names, todos)] = [(names, self.todos[names]) for names in self.counts]
        waiting = Counter(messages.todo_line(messages.Todo(**todo), names[1]) for todo in todos)
        for line, count in waiting.items():
            writer.write_line(f"   {line}: {count} test{'s' * (count > 1)}")

    def _write_next(self, writer) -> None:
        finder = trees.installed()
        for names in self._all_in_order():
            topic, kata = names
            spec = catalog.spec_of(topic, kata)
            if self.failed[names]:
                report = self.failed[names][0]
                first, failure = report.nodeid, messages.failure_in(report)
                if first in self.of_data:
                    writer.write_line("next: repair the data set, as the DataError above says")
                    writer.write_line(f"      {_again(self.config, first)}")
                    return
                law = f"`{messages.sentence(first.split('::')[-1])}` hold" if "::" in first else f"{first} run"
                writer.write_line(f"next: make {law}")
                file = finder.file_of(topic, kata) if finder else None
                shown = (failure and failure.file) or (catalog.shown(file) if file else None)
                where = f"your code {shown}, " if shown else ""
                writer.write_line(f"      {where}its spec {spec}")
                writer.write_line(f"      {_again(self.config, first)}")
                own = not (finder and finder.trees) and names in catalog.all_katas()
                if own and catalog.bank_file(*names).is_file():
                    writer.write_line(f"a hint: python -m katas hint {topic}/{kata}")
                return
            if self.todos[names]:
                todo = min(self.todos[names], key=lambda todo: (rank(topic, todo["kata"]), todo["line"]))
                writer.write_line(f"next: write {todo['function']} in {todo['file']}:{todo['line']}")
                writer.write_line(f"      {_again(self.config, catalog.spec_of(topic, todo['kata']))}")
                return
        passed = [
            names for names in self._all_in_order() if self.counts[names]["passed"] and names[1] not in catalog.CHECKS
        ]
        partly = [names for names in passed if not self._is_whole(names) or self.counts[names]["skipped"]]
        if partly:
            writer.write_line("what ran holds. Now all of its spec:")
            writer.write_line(f"      {_again(self.config, catalog.spec_of(*partly[0]))}")
        elif passed and not (finder and finder.trees):
            topic, kata = passed[-1]
            told = f"{kata} is green" if len(passed) == 1 else f"all {len(passed)} katas are green"
            writer.write_line(f"{told}. Compare with the solution: python -m katas diff {topic}/{kata}")
            self._write_next_kata(writer, topic, kata)

    def _write_next_kata(self, writer, topic: str, kata: str) -> None:
        """The first after this one that is not written."""
        katas = catalog.katas_of(topic)
        for other in katas[katas.index(kata) + 1 :]:
            file = catalog.kata_file(topic, other)
            with contextlib.suppress(OSError, SyntaxError):
                if left := stubs.unwritten(stubs.source_of(file)):
                    minutes = catalog.cards_of(topic).get(other, catalog.Card()).minutes
                    told = f" (about {minutes} minutes)" if minutes else ""
                    writer.write_line(f"next: {other}{told}: write {left[0][0]} in {catalog.shown(file)}:{left[0][1]}")
                    writer.write_line(f"      {_again(self.config, catalog.spec_of(topic, other))}")
                    return

    def _all_in_order(self) -> list[tuple[str, str]]:
        return [(topic, kata) for topic in catalog.topics() for kata in self._in_order(topic)]


def _again(config, what: str) -> str:
    """The command that runs it again, as it can be pasted from where the person is."""
    words = ["pytest", what]
    if (finder := trees.installed()) and finder.trees:
        words += ["--impl", ":".join(finder.trees)]
    words += [option for option in ("--short", "--borrow") if config.getoption(option)]
    if config.getoption("--device") != "auto":
        words += ["--device", config.getoption("--device")]
    from_root = "" if Path.cwd() == catalog.ROOT else f"cd {shlex.quote(str(catalog.ROOT))} && "
    return from_root + shlex.join(words)


def _colour_of(line: str) -> dict[str, bool]:
    word = line.split(maxsplit=1)[0] if line.strip() else ""
    return {"✘": {"red": True, "bold": True}, "got": {"red": True}, "expected": {"green": True}}.get(word, {})


def _test(report) -> str:
    return report.nodeid.split("::", 1)[-1]


def _counted(reports: list, what: str) -> str:
    return f"{len(reports)} {what}{'s' * (len(reports) > 1)}"


def _named(reports: list, most: int = 4) -> str:
    """Tests; of a function with several of them how many."""
    names = [messages.sentence(_test(report)) for report in reports]
    counts = Counter(name.partition(" [")[0] for name in names)
    told = [
        f"{rule} ({count})" if count > 1 else next(name for name in names if name.startswith(rule))
        for rule, count in counts.items()
    ]
    return ", ".join(told[:most]) + (f" and {len(told) - most} others" if len(told) > most else "")
