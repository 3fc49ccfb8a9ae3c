"""What a learner reads of one failure: the law in a sentence, the smallest input, got and expected, the place."""

import errno
import functools
import re
import textwrap
import traceback
import unittest
from pathlib import Path
from typing import NamedTuple

import pytest

from katas.lab import catalog, forks, trees
from katas.lab.catalog import kata_of_node
from katas.lab.catalog import shown as shown_path
from katas.lab.data import DataError
from katas.lab.plugin import guards
from katas.lab.trees import is_kata_file

MOST_LINES = 30  # of any one failure message
# What `expect` says of a result that cannot be compared.
WRONG_TYPE_OF_RESULT = r"^  (shape|dtype) .* came out, not |^  a tensor on the device .* came out|^  an? \w+ came out$"
# Of pytest's explanation of an assertion: steps that say nothing of the values, tensors at full length, advice.
MACHINERY = re.compile(
    r"^ *\+.*(<(built-in method|bound method|function) |tensor\(|Parameter)|^ *Use -v to get|^assert \[\]$"
)

# Of several failures, the one that names the cause is told first: what crashes or changes its input breaks other laws
# for no visible reason.
CRASH, CHANGED_INPUT, WRONG_TYPE, EXAMPLE, PROPERTY = range(5)

SKIPS = (pytest.skip.Exception, pytest.xfail.Exception, unittest.SkipTest)


class Place(NamedTuple):
    file: Path
    line: int
    function: str
    text: str


class Todo(NamedTuple):
    """A function that still raises NotImplementedError."""

    file: str
    line: int
    function: str
    kata: str


def places(error: BaseException, of=lambda file: True) -> list[Place]:
    """The frames of the error in files `of` this kind, outermost first; not those of the annotation checker."""
    frames = []
    for frame, line in traceback.walk_tb(error.__traceback__):
        code = frame.f_code
        if code.co_filename.startswith("<") or code.co_filename == trees.__file__ or not of(code.co_filename):
            continue
        text = traceback.linecache.getline(code.co_filename, line, frame.f_globals).strip()
        frames.append(Place(Path(code.co_filename), line, code.co_qualname, text))
    return frames


def kata_places(error: BaseException) -> list[Place]:
    return places(error, of=is_kata_file)


def todo_of(error: BaseException) -> Todo | None:
    """The unwritten function, if the error is NotImplementedError raised by a kata itself (PyTorch raises it too)."""
    error = error.__cause__ if isinstance(error, Unwritten) else error
    if not isinstance(error, NotImplementedError):
        return None
    frames = [(f, line) for f, line in traceback.walk_tb(error.__traceback__)]
    code = frames[-1][0].f_code if frames else None
    if code is None or not is_kata_file(code.co_filename):
        return None
    if not places(error)[-1].text.startswith("raise NotImplementedError"):  # PyTorch raises it out of C as well
        return None
    name = code.co_qualname.replace(".<locals>", "")
    return Todo(shown_path(code.co_filename), code.co_firstlineno, name, Path(code.co_filename).stem)


def todo_line(todo: Todo, kata: str | None) -> str:
    where = f"{todo.file}:{todo.line}"
    if kata is not None and todo.kata != kata:
        return f"todo: blocked by {todo.kata}: write {todo.function} first ({where}), or borrow it: --borrow"
    return f"todo: write {todo.function} ({where})"


def sentence(test_name: str) -> str:
    """`test_boxes_that_touch_do_not_overlap[x]` → "boxes that touch do not overlap [x]"."""
    name, bracket, parameters = test_name.partition("[")
    words = name.removeprefix("test_").replace("_", " ")
    return f"{words} [{parameters.removesuffix(']').replace('_', ' ')}]" if bracket else words


class Failure(NamedTuple):
    """What a report carries of a failure, beside its text."""

    kind: int
    cause: str  # failures with the same one are told once
    essence: str  # without the places in files: for hints
    file: str | None  # of the kata that raised it


def failure_in(report) -> Failure | None:
    """Between processes it is a list."""
    carried = getattr(report, "kata_failure", None)
    return Failure(*carried) if carried else None


def failure_of(item, error: BaseException) -> tuple[str, Failure]:
    kata_frames, example = kata_places(error), smallest_input(error)
    message, spec = message_of(error, kata_frames), Path(item.path)
    kind = _kind_of(error, message, kata_frames, is_property=hasattr(getattr(item, "obj", None), "hypothesis"))
    cause = cause_of(kind, message, kata_frames)
    told = _told(item.name, message, example, arguments_of(item), kata_frames, places(error), spec)
    essence = "\n".join(filter(None, (message, example)))
    return told, Failure(kind, cause, essence, shown_path(kata_frames[-1].file) if kata_frames else None)


def _kind_of(error: BaseException, message: str, kata_frames: list[Place], *, is_property: bool) -> int:
    if type(error).__name__ == "TypeCheckError":
        return WRONG_TYPE
    if not isinstance(error, AssertionError | pytest.fail.Exception):
        return CRASH if kata_frames else EXAMPLE
    if "changes its input" in message:
        return CHANGED_INPUT
    if is_property:
        return PROPERTY
    return WRONG_TYPE if re.search(WRONG_TYPE_OF_RESULT, message, re.MULTILINE) else EXAMPLE


def cause_of(kind: int, message: str, kata_frames: list[Place]) -> str:
    """The place of a crash; else the law, without the numbers in it."""
    if kind == CRASH and kata_frames:
        return f"{kata_frames[-1].file}:{kata_frames[-1].line} {message.partition(':')[0]}"
    return re.sub(r"\s*-?\d[\d.e+-]*", "#", message if kind == WRONG_TYPE else message.partition("\n")[0])


def arguments_of(item) -> str | None:
    """The row of a table that a test was given, but for what it expects."""
    row = getattr(getattr(item, "callspec", None), "params", {})
    for value in row.values():
        code = getattr(value, "__code__", None)
        if code is not None and code.co_name == "<lambda>":  # its line tells all there is in the row
            return traceback.linecache.getline(code.co_filename, code.co_firstlineno).strip().rstrip(",")
    told = [f"{name} = {_in_short(value)}" for name, value in row.items() if name not in ("law", "expected", "name")]
    return ", ".join(told) or None


def _in_short(value) -> str:
    text = " ".join(getattr(value, "__name__", repr(value)).split())
    return text if len(text) <= 80 else text[:80] + " …"


def failure_of_frames(test_name: str, spec: Path, reason: str, frames: list[forks.Frame]) -> tuple[str, Failure]:
    """Of a test that did not live to fail by itself."""
    known = [_place(frame) for frame in frames]
    kata_frames = [place for place in known if is_kata_file(str(place.file))]
    told = _told(test_name, reason, None, None, kata_frames, known, spec)
    file = shown_path(kata_frames[-1].file) if kata_frames else None
    return told, Failure(CRASH, cause_of(CRASH, reason, kata_frames), reason, file)


def _place(frame: forks.Frame) -> Place:
    return Place(
        Path(frame.file), frame.line, frame.function, traceback.linecache.getline(frame.file, frame.line).strip()
    )


def _told(test_name, message, example, arguments, kata_frames, frames, spec) -> str:
    spec_frames = [place for place in frames if place.file == spec]
    paragraphs = [f"✘ {sentence(test_name)}", indented(cut(message), 2)]
    if arguments:
        paragraphs.append(f"  with {arguments}")
    if example:
        paragraphs.append(f"  smallest input found\n{indented(cut(example), 4)}")
    if kata_frames:
        place = kata_frames[-1]
        paragraphs.append(f"  in {shown_path(place.file)}:{place.line}, {place.function}\n      {place.text}")
    if spec_frames:
        place = spec_frames[-1]
        paragraphs.append(f"  asked at {shown_path(place.file)}:{place.line}\n      {place.text}")
    return "\n".join(paragraphs)


def message_of(error: BaseException, kata_frames: list[Place]) -> str:
    name, text = type(error).__name__, text_of(error)
    function = kata_frames[-1].function if kata_frames else "the code under test"
    function = "the import" if function == "<module>" else function
    if isinstance(error, guards.KataTimeout):
        return f"not finished after {error} s: an endless loop, or far too slow; it was at the line below"
    if isinstance(error, SKIPS):
        return f"{function} skips its own spec ({name}): only a spec may do that"
    if isinstance(error, SystemExit | KeyboardInterrupt | pytest.exit.Exception | EndedByKata):
        return f"{function} would end the whole run ({text if isinstance(error, EndedByKata) else name})"
    if isinstance(error, OSError) and error.errno == errno.EFBIG:
        return f"{function} writes more than {guards.OUTPUT_LIMIT_MIB} MiB: does it print in a loop?"
    if isinstance(error, RecursionError):
        return f"{function} calls itself without end (RecursionError)"
    if isinstance(error, MemoryError) or "can't allocate memory" in text:
        return f"{function} asked for more than {guards.MEMORY_LIMIT_GIB} GiB beyond what the run had"
    if name == "TypeCheckError":
        return wrong_type(text)
    if name == "Flaky" or name == "FlakyFailure":
        for each in getattr(error, "exceptions", ()):  # a type error inside a property never looks the same twice
            if type(each).__name__ == "TypeCheckError":
                return wrong_type(str(each))
        return f"the result changed between two calls with the same input: is there hidden state or randomness?\n{text}"
    if isinstance(error, AssertionError) or name == "Failed":
        lines = [line for line in text.strip().splitlines() if not MACHINERY.search(line)]
        return "\n".join(lines) or "the assertion below does not hold"
    return f"{name}: {text}".strip()


def text_of(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException as another:
        return f"(its own message fails: {type(another).__name__})"


def wrong_type(message: str) -> str:
    """jaxtyping's report in the words of shapes: what was returned or given, and what the signature says."""
    checked = re.search(r"checking (?:the )?(return value|parameters?) of \S*?([\w.<>]+?)\.?$", message, re.MULTILINE)
    actual = re.search(r"^Actual value: (.*)$", message, re.MULTILINE)
    wanted = re.search(r"^Expected type: (.*?)\.?$", message, re.MULTILINE)
    parameter = re.search(r"parameter '(\w+)'", message)
    if not (checked and actual and wanted):
        return message
    function = checked.group(2).split(".")[-1]
    expected = re.sub(r"^<class '(.*)'>$", r"\1", wanted.group(1))
    sizes = re.findall(r"^(\w+)=(\d+)$", message, re.MULTILINE)
    known = f", where {', '.join(f'{axis} = {size}' for axis, size in sizes)}" if sizes else ""
    what = f"{function} returned" if "return" in checked.group(1) else f"{function} was given"
    named = f" as `{parameter.group(1)}`" if parameter else ""
    return (
        f"a wrong shape, dtype or type\n  {what} {spelled_out(actual.group(1))}{named}\n"
        f"  its signature says {expected}{known}"
    )


def spelled_out(array: str) -> str:
    """`f32[3,4](torch)` → `float32 (3, 4)`."""
    kinds = {"f": "float", "i": "int", "u": "uint", "bf": "bfloat", "c": "complex"}

    def spelled(match: re.Match) -> str:
        kind = "bool" if match.group(1) == "bool" else kinds[match.group(2)] + match.group(3)
        sizes = [size for size in match.group(4).split(",") if size]
        return f"{kind} ({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"

    return re.sub(r"\b(bool|(bf|f|i|u|c)(\d+))\[([\d,]*)\]\(torch\)", spelled, array)


def smallest_input(error: BaseException) -> str | None:
    notes = getattr(error, "__notes__", [])
    for note in notes:
        match = re.match(r"(?:Falsifying example|Failing test case): \w+\(\n?(.*?)\n?\)\s*$", note, re.DOTALL)
        if match:
            given = textwrap.dedent(match.group(1)).rstrip().removesuffix(",").splitlines()
            drawn = [note for note in notes if note.startswith("Draw ")]  # of `data`, one after the other
            return "\n".join([line for line in given if line.rstrip(",") != "data=data(...)"] + drawn)
    return None


def import_problem(error: BaseException, spec: Path) -> str | None:
    """Why a spec could not even be collected, when a kata is the reason."""
    cause = error.__cause__ or error
    if isinstance(cause, SyntaxError) and cause.filename and is_kata_file(cause.filename):
        text = (cause.text or "").rstrip()
        return f"{shown_path(cause.filename)}:{cause.lineno} does not parse: {cause.msg}\n      {text.strip()}".rstrip()
    names = catalog.kata_of_module(cause.name or "") if isinstance(cause, ModuleNotFoundError) else None
    if names in catalog.all_katas():
        kata = "/".join(names)
        return f"{shown_path(catalog.kata_file(*names))} is missing: `python -m katas reset {kata}` makes it again"
    missing = re.match(r"cannot import name '(\w+)' from '(katas\.[\w.]+)' \((.*)\)", str(cause))
    if isinstance(cause, ImportError) and missing and is_kata_file(missing.group(3)):
        name, _, file = missing.groups()
        return f"{shown_path(file)} has no `{name}`: every name of the stub must stay (a `reset` shows the stub again)"
    kata_frames = kata_places(cause)
    if kata_frames:
        place = kata_frames[-1]
        return _fails_while_imported(place, message_of(cause, kata_frames))
    if not isinstance(cause, Exception):
        return f"{shown_path(spec)} would end the whole run ({type(cause).__name__})"
    return None


def import_problem_of_frames(spec: Path, reason: str, frames: list[forks.Frame]) -> str:
    kata_frames = [_place(frame) for frame in frames if is_kata_file(frame.file)]
    if not kata_frames:
        return f"{shown_path(spec)} cannot be imported: {reason}"
    return _fails_while_imported(kata_frames[-1], reason)


def _fails_while_imported(place: Place, what: str) -> str:
    return f"{shown_path(place.file)}:{place.line} fails while it is imported\n  {what}\n      {place.text}"


def cut(text: str, most: int = MOST_LINES) -> str:
    lines = [line if len(line) <= 600 else line[:600] + " …" for line in text.splitlines()]
    return "\n".join(lines if len(lines) <= most else [*lines[:most], f"… {len(lines) - most} more lines"])


def indented(text: str, spaces: int) -> str:
    return "\n".join(" " * spaces + line for line in text.splitlines())


# --- hooks ------------------------------------------------------------------------------------------------------------


class Unwritten(BaseException):
    """A stub was reached inside a property. Not an Exception, so hypothesis neither shrinks it nor tries again."""


class SkippedByKata(AssertionError):
    """Not the Skipped that pytest would believe."""


class EndedByKata(AssertionError):
    """Not the exception that would end pytest. It holds the name of that."""


def _stop_at_a_stub(test):
    @functools.wraps(test)
    def inner_test(*args, **kwargs):
        try:
            return test(*args, **kwargs)
        except NotImplementedError as error:
            if todo_of(error) is None:
                raise
            raise Unwritten from error

    return inner_test


def pytest_itemcollected(item):
    handle = getattr(getattr(item, "obj", None), "hypothesis", None)
    if handle is not None and kata_of_node(item.nodeid):
        handle.inner_test = _stop_at_a_stub(handle.inner_test)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    names, error = kata_of_node(item.nodeid), call.excinfo and call.excinfo.value
    todo, told, failure = None, None, None
    if names and isinstance(error, SKIPS) and (of_katas := kata_places(error)):
        error = SkippedByKata(message_of(error, of_katas)).with_traceback(error.__traceback__)
        call.excinfo = pytest.ExceptionInfo.from_exception(error)
    if names and error:
        todo = todo_of(error)
        if todo is not None:
            told = todo_line(todo, None if names[1] in catalog.CHECKS else names[1])
        elif item.config.option.tbstyle == "auto":
            told, failure = failure_of(item, error)
        if told is not None:
            item.repr_failure = lambda excinfo: told  # pytest's own would take 30 ms, and be thrown away
    result = yield
    if result.failed and told is not None:
        result.longrepr, result.kata_failure = told, failure and list(failure)  # as it goes between processes
        result.kata_hang, result.kata_data = isinstance(error, guards.KataTimeout), isinstance(error, DataError)
        result.sections = [(name, cut(text, most=10)) for name, text in result.sections if text.strip()]
    if result.failed and todo is not None:
        result.kata_todo, result.sections = todo._asdict(), []
    return result


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    if kata_of_node(collector.nodeid) is None:
        return (yield)
    result = yield
    call = getattr(result, "call", None)
    if result.failed and call is not None and call.excinfo is not None:
        problem = import_problem(call.excinfo.value, Path(collector.path))
        if problem is not None:
            result.longrepr = problem
    return result


@pytest.hookimpl(tryfirst=True)
def pytest_report_teststatus(report, config):
    if report.failed and getattr(report, "kata_todo", None):
        return "todo", "t", ("TODO", {"yellow": True})
    return None
