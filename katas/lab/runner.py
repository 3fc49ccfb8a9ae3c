"""The laboratory's pytest plugin: which implementation runs, which tests run, and how results are told.

Loaded by the `conftest.py` at the root, so it works from every folder of the repository.
"""

import csv
import hashlib
import importlib.util
import os
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import hypothesis
import pytest
from hypothesis.configuration import set_hypothesis_home_dir
from hypothesis.database import DirectoryBasedExampleDatabase

from katas.lab import guards, report, stubs, trees

SPEC_ID = re.compile(r"katas/(\w+)/test_(\w+)\.py")
ON_REQUEST = ("gpu", "benchmark")
NEEDED = ("torch", "torchvision", "jaxtyping", "beartype", "pytest_timeout", "pytest_benchmark")
SECONDS_TO_IMPORT = 60  # a spec with its kata; PyTorch on a cold disk included
CHECK_FILES = {"full_training": "full training", "dynamics": "dynamics", "throughput": "throughput"}


# --- options and set-up ---------------------------------------------------------------------------------------------


def pytest_addoption(parser):
    group = parser.getgroup("katas", "ml-learning-lab")
    group.addoption("--impl", metavar="TREE[:TREE]", help="run the specs on another tree, such as `solutions`")
    group.addoption("--device", choices=("auto", "cpu", "cuda"), default="auto", help="for full checks and throughput")
    group.addoption("--data", metavar="DIR", help="where public data sets lie (default: ~/.cache/ml-learning-lab)")
    group.addoption("--download", action="store_true", help="fetch a public data set that a check needs and lacks")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    _refuse_another_python()
    config.stash[_before] = os.environ.get("KATAS_IMPL")
    chosen = config.getoption("--impl") or os.environ.get("KATAS_IMPL") or ""
    names = [name for name in chosen.split(":") if name]
    _refuse_unknown_trees(names, config)
    os.environ["KATAS_IMPL"] = ":".join(names)
    trees.install(names, check_annotations=True)
    config.option.continue_on_collection_errors = True  # one kata that does not import must not stop the others
    if config.option.reportchars == "fE" and _is_about_katas(config):
        config.option.reportchars = ""  # pytest's default summary: it would list once more what the ladder tells
    if config.getoption("benchmark_columns", "no plugin") is None:  # its default is twice as wide as a terminal
        config.option.benchmark_columns = ["min", "median", "ops", "rounds"]
    _load_hypothesis_profile(config)
    if config.getoption("--device") == "cuda":
        _refuse_wrong_device(config)
    _refuse_data_folder_without_data(config)
    config.stash[_screen] = _open_screen(config)
    config.pluginmanager.register(Ladder(config), "katas-ladder")


_before = pytest.StashKey[str | None]()
_screen = pytest.StashKey[TextIO | None]()


def _open_screen(config) -> TextIO | None:
    """The terminal itself, kept open beside the capture that is about to begin; None where nobody watches."""
    if hasattr(config, "workerinput") or not sys.__stdout__ or not sys.__stdout__.isatty():
        return None
    return os.fdopen(os.dup(sys.__stdout__.fileno()), "w", buffering=1)


def pytest_unconfigure(config):
    if config.stash.get(_screen, None):
        config.stash[_screen].close()
    before = config.stash.get(_before, None)
    if before is None:
        os.environ.pop("KATAS_IMPL", None)
    else:
        os.environ["KATAS_IMPL"] = before


def _refuse_another_python() -> None:
    """A Python without the project's packages would fail every kata, as if it were the learner's fault."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise pytest.UsageError(
            f"{', '.join(missing)} not installed in this Python, {sys.executable}\n"
            "  activate the virtual environment first: source .venv/bin/activate\n"
            "  (README.md, \"Set up\", says how to make it)"
        )


def _refuse_unknown_trees(names: list[str], config) -> None:
    for name in names:
        if not trees.tree_folder(name).is_dir():
            known = ["katas", "solutions", "tests/alternatives"]
            raise pytest.UsageError(f"--impl {name}: there is no such tree here. Trees: {', '.join(known)}")
    if not names:
        return
    for topic in _topics_asked_for(config):
        if not any((trees.tree_folder(name) / topic).is_dir() for name in names):
            raise pytest.UsageError(f"--impl {':'.join(names)}: no tree of these has the topic `{topic}`")


def _paths_asked_for(config) -> list[tuple[str, ...]]:
    """The parts of each path in the arguments, from the root of the repository; () for one outside of it."""
    paths = [(config.invocation_params.dir / str(arg).split("::")[0]).resolve() for arg in config.args]
    return [path.relative_to(trees.ROOT).parts if path.is_relative_to(trees.ROOT) else () for path in paths]


def _topics_asked_for(config) -> list[str]:
    inside = [parts for parts in _paths_asked_for(config) if len(parts) >= 2 and parts[0] == "katas"]
    return [parts[1] for parts in inside if parts[1] in stubs.topics()]


def _is_about_katas(config) -> bool:
    return all(parts[:1] == ("katas",) for parts in _paths_asked_for(config))


def _load_hypothesis_profile(config) -> None:
    from hypothesis import HealthCheck, Phase

    set_hypothesis_home_dir(trees.ROOT / ".hypothesis")
    phases = [Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink]  # no `explain`: 20 s on a red run
    shared = dict(
        deadline=None,
        max_examples=50,
        report_multiple_bugs=False,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    database = DirectoryBasedExampleDatabase(trees.ROOT / ".hypothesis" / "examples")
    hypothesis.settings.register_profile("learner", phases=phases, database=database, **shared)
    hypothesis.settings.register_profile("ci", phases=phases, database=None, derandomize=True, **shared)
    quick = [Phase.explicit, Phase.generate]  # the first failure will do: for mutants
    hypothesis.settings.register_profile("mutants", phases=quick, database=None, derandomize=True, **shared)
    if not config.getoption("--hypothesis-profile", None):
        seeded = config.getoption("--hypothesis-seed", None) is not None
        hypothesis.settings.load_profile("ci" if os.environ.get("CI") and not seeded else "learner")


def _refuse_wrong_device(config) -> None:
    import torch

    wanted = config.getoption("--device")
    if wanted == "cuda" and not torch.cuda.is_available():
        raise pytest.UsageError(f"--device cuda: {no_cuda_reason()}")
    if wanted != "cpu" and torch.cuda.is_available():
        name, capability = torch.cuda.get_device_name(), torch.cuda.get_device_capability()
        problem = unsupported_card(name, capability, torch.cuda.get_arch_list(), torch.__version__)
        if problem:
            raise pytest.UsageError(problem)


def _refuse_data_folder_without_data(config) -> None:
    """A folder that was named for nothing: nearly always a slip of the pen. With --download it may well be new."""
    chosen = config.getoption("--data")
    if not chosen or config.getoption("--download"):
        return
    folder = Path(chosen).expanduser()
    if not folder.is_dir():
        raise pytest.UsageError(f"--data {chosen}: there is no such folder")
    if not any(folder.iterdir()):
        raise pytest.UsageError(f"--data {chosen}: the folder is empty. --download fetches what the checks need")


def no_cuda_reason() -> str:
    import torch

    if torch.version.cuda is None:
        return "this PyTorch is a build for the CPU alone. Install the one with CUDA: pip install torch==2.7.1"
    return "PyTorch finds no CUDA device. Does `nvidia-smi` list the card? If not, install NVIDIA's driver"


def unsupported_card(name: str, capability: tuple[int, int], arch_list: list[str], version: str) -> str | None:
    """Why this PyTorch build cannot run on the card, and the command that fixes it; None if it can.

    Code for sm_XY runs on every X.Z with Z ≥ Y; compute_XY (PTX) runs on every later card.
    """
    major, minor = capability
    for arch in arch_list:
        kind, _, number = arch.rpartition("_")
        digits = re.match(r"\d+", number)
        if not digits:
            continue
        arch_major, arch_minor = divmod(int(digits.group()), 10)
        same_family = arch_major == major and arch_minor <= minor
        if (kind == "sm" and same_family) or (kind == "compute" and (arch_major, arch_minor) <= capability):
            return None
    fix = (
        "pip install torch==2.7.1 torchvision==0.22.1   (the last release with kernels for Pascal)"
        if capability < (7, 5)
        else "pip install --upgrade torch torchvision"
    )
    return (
        f"PyTorch {version} has no kernels for {name} (compute capability {major}.{minor}): it was built for "
        f"{' '.join(arch_list)}.\n  Fix: {fix}\n  Or run on the processor: --device cpu"
    )


def pytest_report_header(config):
    finder = trees.installed()
    trees_shown = ", then ".join(f"{name}/" for name in finder.trees) or "your code (katas/)"
    return f"katas: implementation: {trees_shown}; device: {config.getoption('--device')}"


# --- which tests run ------------------------------------------------------------------------------------------------


def pytest_make_parametrize_id(config, val):
    """A case is called by its value: `[float16]`, `[(2,3)]`."""
    if type(val).__name__ == "dtype":
        return str(val).removeprefix("torch.")
    numbers = isinstance(val, (tuple, list)) and all(isinstance(one, (bool, int, float)) for one in val)
    return str(val).replace(" ", "") if numbers and len(val) <= 4 else None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    asked = [str(arg) for arg in config.args]
    named = {arg.replace(os.sep, "/").split("[")[0] for arg in asked if ".py" in arg}
    markexpr = config.getoption("-m") or ""
    kept, left_out = [], []
    for item in items:
        kinds = [kind for kind in ON_REQUEST if item.get_closest_marker(kind)]
        if kinds:
            item.add_marker(pytest.mark.timeout(0))
        wanted = not kinds or any(re.search(rf"\b{kind}\b", markexpr) for kind in kinds) or _is_named(item, named)
        (kept if wanted else left_out).append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
    items[:] = sorted(kept, key=_learning_order)


def _learning_order(item) -> tuple[int, int]:
    """Specs run in the order of the ladder (so `-x` stops at the lowest rung); the sort keeps everything else."""
    names = kata_of_node(item.nodeid)
    if names is None or names[0] not in stubs.topics():
        return (len(stubs.topics()), 0)
    return stubs.topics().index(names[0]), rank(*names)


def rank(topic: str, kata: str) -> int:
    order = [*stubs.katas_of(topic), *CHECK_FILES]
    return order.index(kata) if kata in order else len(order)


def _is_named(item, named: set[str]) -> bool:
    """Asked for by its file or node id, from whichever folder: the end of the id decides."""
    node = item.nodeid.split("[")[0]
    file = node.split("::")[0]
    own = {file, node} | {node.rsplit("::", 1)[0]}
    return any(any(one == name or one.endswith("/" + name) or name.endswith("/" + one) for one in own) for name in named)


def pytest_collection_finish(session):
    """The finder falls back silently by nature: make sure that each kata came from the tree that was meant."""
    if "torch" in sys.modules:  # the specs use it, so the card must be one that it knows
        _refuse_wrong_device(session.config)
    finder = trees.installed()
    for name, module in list(sys.modules.items()):
        names = trees.kata_of_module(name)
        file = getattr(module, "__file__", None)
        if names and finder and file:
            meant = finder.file_of(*names)
            if meant is not None and Path(file).resolve() != meant.resolve():
                raise pytest.UsageError(f"{name} was loaded from {file}, but {meant} was meant")


# --- running a test -------------------------------------------------------------------------------------------------


def kata_of_node(nodeid: str) -> tuple[str, str] | None:
    match = SPEC_ID.match(nodeid)
    return (match.group(1), match.group(2)) if match and match.group(1) != "lab" else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item, nextitem):
    on_request = any(item.get_closest_marker(kind) for kind in ON_REQUEST)
    with trees.annotation_checks(not on_request), _one_thread(not on_request):
        return (yield)


@contextmanager
def _one_thread(on: bool):
    """The tensors of a spec are tiny: on a busy machine several threads only wait for each other (20 times slower)."""
    torch = sys.modules.get("torch")
    if not on or torch is None:
        yield
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    if not item.get_closest_marker("gpu") or item.config.getoption("--device") != "auto":
        return
    import torch

    if not torch.cuda.is_available():
        pytest.skip(f"needs a GPU: {no_cuda_reason()}. To run it on the processor: --device cpu")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    limited = kata_of_node(item.nodeid) and not any(item.get_closest_marker(kind) for kind in ON_REQUEST)
    if not limited:
        return (yield)
    with guards.memory_limit():
        return (yield)


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_timeout_set_timer(item, settings):
    if kata_of_node(item.nodeid) is None or not settings.timeout or sys.platform == "win32":
        return None  # pytest-timeout's own timer
    guards.start_timer(settings.timeout)
    return True


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_timeout_cancel_timer(item):
    if kata_of_node(item.nodeid) is None or sys.platform == "win32":
        return None
    guards.stop_timer()
    return True


# --- how results are told -------------------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    result = yield
    names = kata_of_node(item.nodeid)
    if names is None or call.excinfo is None or not result.failed:
        return result
    error = call.excinfo.value
    todo = report.todo_of(error)
    if todo is not None:
        kata = None if names[1] in CHECK_FILES else names[1]
        result.kata_todo = todo._asdict()
        result.longrepr = report.todo_line(todo, kata)
        result.sections = []
    elif item.config.option.tbstyle == "auto":
        result.longrepr = report.failure_text(item.name, Path(item.path), error)
        result.sections = [(name, report.cut(text, most=10)) for name, text in result.sections if text.strip()]
    return result


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    if kata_of_node(collector.nodeid) and sys.platform != "win32":
        guards.start_timer(SECONDS_TO_IMPORT)
        try:
            result = yield
        finally:
            guards.stop_timer()
    else:
        result = yield
    call = getattr(result, "call", None)
    if result.failed and call is not None and call.excinfo is not None and kata_of_node(collector.nodeid):
        problem = report.import_problem(call.excinfo.value, Path(collector.path))
        if problem is not None:
            result.longrepr = problem
    return result


@pytest.hookimpl(tryfirst=True)
def pytest_report_teststatus(report, config):
    if report.failed and getattr(report, "kata_todo", None):
        return "todo", "t", ("TODO", {"yellow": True})
    return None


class Ladder:
    """Counts results per kata and shows, at the end, how far each one is and what to do next."""

    def __init__(self, config):
        self.config = config
        self.counts: dict[tuple[str, str], Counter] = defaultdict(Counter)
        self.todos: dict[tuple[str, str], list[dict]] = defaultdict(list)
        self.failures: dict[tuple[str, str], list[str]] = defaultdict(list)
        self.reasons: dict[tuple[str, str], list[str]] = defaultdict(list)  # of what was skipped
        self.artefacts: set[str] = set()
        self.told: list[str] = []  # what checks found out about time and speed

    def pytest_runtest_logreport(self, report):
        if report.when == "teardown":  # by then the test has said all that it will
            self.artefacts.update(value for key, value in report.user_properties if key == "artefacts")
            self.told += [f"{key}: {value}" for key, value in report.user_properties if key in ("cost", "speed")]
        names = kata_of_node(report.nodeid)
        if names is None:
            return
        if getattr(report, "kata_todo", None):
            self.counts[names]["todo"] += 1
            self.todos[names].append(report.kata_todo)
        elif report.failed:
            self.counts[names]["failed"] += 1
            self.failures[names].append(report.nodeid)
        elif report.skipped:
            self.counts[names]["skipped"] += 1
            if isinstance(report.longrepr, (tuple, list)):  # an expected failure has something else
                self.reasons[names].append(report.longrepr[2].removeprefix("Skipped: "))
        elif report.when == "call":
            self.counts[names]["passed"] += 1

    def pytest_collectreport(self, report):
        names = kata_of_node(report.nodeid)
        if names and report.failed:
            self.counts[names]["failed"] += 1
            self.failures[names].append(report.nodeid)

    def pytest_sessionfinish(self, session):
        """Remember the result of each whole spec, for `python -m katas`."""
        config = self.config
        partial = config.getoption("-k") or config.getoption("-m") or any("::" in str(arg) for arg in config.args)
        own_code = not trees.installed() or not trees.installed().trees
        cache = getattr(config, "cache", None)
        if partial or not own_code or cache is None or hasattr(config, "workerinput") or session.shouldstop:
            return
        for (topic, kata), counts in self.counts.items():
            file = stubs.kata_file(topic, kata)
            if file.is_file():
                cache.set(f"katas/{topic}/{kata}", {**counts, "digest": digest_of(file)})

    def pytest_terminal_summary(self, terminalreporter):
        writer = terminalreporter
        for line in self.told:
            writer.write_line(line)
        for path in sorted(self.artefacts):
            writer.write_line(f"pictures and metrics: {path}")
        for topic in [topic for topic in stubs.topics() if any(names[0] == topic for names in self.counts)]:
            writer.write_sep("=", topic, bold=True)
            for kata in self._in_order(topic):
                self._write_row(writer, topic, kata)
        if len(self.counts) == 1:
            self._write_todos(writer)
        self._write_next(writer)

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
        elif not counts["passed"]:
            mark, colour = "-", "white"
        shown = [f"{counts[kind]:3d} {kind}" for kind in ("passed", "failed", "todo", "skipped") if counts[kind]]
        writer.write(f" {mark} {CHECK_FILES.get(kata, kata):<18}", **{colour: True})
        writer.write_line("  ".join(shown))
        for reason in dict.fromkeys(self.reasons[topic, kata]):
            writer.write_line(f"     skipped: {reason}")

    def _write_todos(self, writer) -> None:
        """With one kata in the run: every function that is still to be written, and how many tests wait for it."""
        [(names, todos)] = [(names, self.todos[names]) for names in self.counts]
        waiting = Counter(report.todo_line(report.Todo(**todo), names[1]) for todo in todos)
        for line, count in waiting.items():
            writer.write_line(f"   {line}: {count} test{'s' * (count > 1)}")

    def _write_next(self, writer) -> None:
        finder = trees.installed()
        for names in self._all_in_order():
            topic, kata = names
            spec = f"katas/{topic}/test_{kata}.py"
            if self.failures[names]:
                first = self.failures[names][0]
                law = f"`{report.sentence(first.split('::')[-1])}` hold" if "::" in first else f"{first} run"
                writer.write_line(f"next: make {law}")
                file = finder.file_of(topic, kata) if finder else None
                where = f"your code {report.shown_path(file)}, " if file else ""
                writer.write_line(f"      {where}its spec {spec}")
                writer.write_line(f"      {_again(finder, first)}")
                return
            if self.todos[names]:
                todo = min(self.todos[names], key=lambda todo: (rank(topic, todo["kata"]), todo["line"]))
                writer.write_line(f"next: write {todo['function']} in {todo['file']}:{todo['line']}")
                own_spec = f"katas/{topic}/test_{todo['kata']}.py"
                writer.write_line(f"      {_again(finder, own_spec)}")
                return
        green = [names for names in self._all_in_order() if self.counts[names]["passed"] and names[1] not in CHECK_FILES]
        if green and not (finder and finder.trees):
            topic, kata = green[-1]
            told = f"{kata} is green" if len(green) == 1 else f"all {len(green)} katas are green"
            writer.write_line(f"{told}. Compare with the solution: python -m katas diff {topic}/{kata}")

    def _all_in_order(self) -> list[tuple[str, str]]:
        return [(topic, kata) for topic in stubs.topics() for kata in self._in_order(topic)]


def _again(finder, what: str) -> str:
    """The command that runs it again, as it can be pasted from the root of the repository."""
    from_root = "" if Path.cwd() == trees.ROOT else f"cd {trees.ROOT} && "
    impl = f" --impl {':'.join(finder.trees)}" if finder and finder.trees else ""
    quoted = f"'{what}'" if "[" in what else what
    return f"{from_root}pytest {quoted}{impl}"


def digest_of(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16]


# --- fixtures for the checks that train -----------------------------------------------------------------------------


@pytest.fixture
def device(request):
    """The torch.device of `--device`, held to what a GTX 1060 has: 5.5 GiB, and float32 without TF32."""
    import torch

    wanted = request.config.getoption("--device")
    if wanted == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    from katas.lab.budget import cap_gpu_memory

    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    cap_gpu_memory()
    return torch.device("cuda")


@pytest.fixture
def data_dir(request) -> Path:
    chosen = request.config.getoption("--data")
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "ml-learning-lab"


@pytest.fixture
def download(request) -> bool:
    return request.config.getoption("--download")


@pytest.fixture
def run_dir(request) -> Iterator[Path]:
    """runs/<topic>/<check>/, where a check leaves its pictures and metrics; the summary says so."""
    topic, _ = kata_of_node(request.node.nodeid) or ("other", "")
    check = re.sub(r"\W+", "_", request.node.name.removeprefix("test_")).strip("_")
    folder = trees.ROOT / "runs" / topic / check
    folder.mkdir(parents=True, exist_ok=True)
    yield folder
    if any(folder.iterdir()):  # a check that is skipped leaves nothing
        request.node.user_properties.append(("artefacts", report.shown_path(folder) + "/"))


@pytest.fixture
def budget(request, device):
    """`with budget(flops=…): train()` measures a check, fails it over the budget of a GTX 1060; the summary tells."""
    from katas.lab.budget import budget as measure

    def told(cost: str) -> None:
        request.node.user_properties.append(("cost", f"{report.sentence(request.node.name)}: {cost}"))

    return lambda **options: measure(device, report=told, **options)


class Metrics:
    """Appends rows to a CSV file, each one on the disk at once: an interrupted run keeps what it had."""

    def __init__(self, file: Path):
        self.file = file
        self.file.unlink(missing_ok=True)
        self.columns: list[str] = []

    def row(self, **values) -> None:
        new = not self.columns
        self.columns = self.columns or list(values)
        with self.file.open("a", newline="") as stream:
            writer = csv.DictWriter(stream, self.columns, restval="", extrasaction="raise")
            if new:
                writer.writeheader()
            writer.writerow(values)


@pytest.fixture
def metrics(run_dir) -> Metrics:
    return Metrics(run_dir / "metrics.csv")


@pytest.fixture
def progress(request):
    """`progress(total, desc)` → a live tqdm bar with an ETA on the terminal, without `-s`; silent where there is none."""
    from tqdm import tqdm

    screen = request.config.stash.get(_screen, None)
    bars = []

    def make(total: int, desc: str = ""):
        if screen and not bars:
            screen.write("\n")
        bars.append(tqdm(total=total, desc=desc, file=screen, disable=not screen, leave=False, dynamic_ncols=True))
        return bars[-1]

    yield make
    for bar in bars:
        bar.close()
