"""Which implementation runs, and which tests, in which order and under which hypothesis profile."""

import difflib
import os
import re
import sys
from pathlib import Path

import hypothesis
import pytest
from hypothesis.configuration import set_hypothesis_home_dir
from hypothesis.database import DirectoryBasedExampleDatabase

from katas.lab import catalog, trees
from katas.lab.plugin import doctor

KNOWN_TREES = "Trees: katas, solutions, tests/katas/alternatives"
ON_REQUEST = ("gpu", "benchmark")  # marks of tests that run only when they are asked for


def is_on_request(item) -> bool:
    return any(item.get_closest_marker(kind) for kind in ON_REQUEST)


# --- options and set-up -----------------------------------------------------------------------------------------------


def pytest_addoption(parser):
    group = parser.getgroup("katas", "ml-learning-lab")
    group.addoption("--impl", metavar="TREE[:TREE]", help="run the specs on another tree, such as `solutions`")
    group.addoption("--borrow", action="store_true", help="what other katas have not written comes from the solutions")
    group.addoption("--device", choices=("auto", "cpu", "cuda"), default="auto", help="for full checks and throughput")
    group.addoption("--data", metavar="DIR", help="where public data sets lie (default: ~/.cache/ml-learning-lab)")
    group.addoption("--download", action="store_true", help="fetch a public data set that a check needs and lacks")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    doctor.refuse_another_python()
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")  # a question that leaves CUDA alone, for the forks
    config.stash[_before] = os.environ.get("KATAS_IMPL")
    chosen = config.getoption("--impl")
    names = [name for name in (chosen or os.environ.get("KATAS_IMPL") or "").split(":") if name]
    if chosen is not None and not names:
        raise pytest.UsageError(f"--impl {chosen!r} names no tree. {KNOWN_TREES}")
    _refuse_unknown_trees(names, config)
    _refuse_what_no_test_is(config)
    os.environ["KATAS_IMPL"] = ":".join(names)
    trees.install(names, check_annotations=True, borrows=config.getoption("--borrow"))
    config.option.continue_on_collection_errors = True  # one kata that does not import must not stop the others
    if config.option.reportchars == "fE" and _is_about_katas(config):
        config.option.reportchars = ""  # pytest's default summary: it would list once more what the ladder tells
    config.option.no_header |= config.option.verbose == 0 and _is_about_katas(config)
    _load_hypothesis_profile(config)
    if config.getoption("--device") == "cuda":
        doctor.refuse_wrong_device(config)
    doctor.refuse_data_folder_without_data(config)


_before = pytest.StashKey[str | None]()


def pytest_unconfigure(config):
    before = config.stash.get(_before, None)
    if before is None:
        os.environ.pop("KATAS_IMPL", None)
    else:
        os.environ["KATAS_IMPL"] = before


def _refuse_unknown_trees(names: list[str], config) -> None:
    for name in names:
        if not any((catalog.tree_folder(name) / topic).is_dir() for topic in catalog.topics()):
            raise pytest.UsageError(f"--impl {name}: there is no such tree here. {KNOWN_TREES}")
    if not names:
        return
    for topic in _topics_asked_for(config):
        if not any((catalog.tree_folder(name) / topic).is_dir() for name in names):
            raise pytest.UsageError(f"--impl {':'.join(names)}: no tree of these has the topic `{topic}`")


def _refuse_what_no_test_is(config) -> None:
    """The file of a kata in place of its spec, and names that do not exist: what was probably meant is told."""
    known = {topic: f"katas/{topic}" for topic in catalog.topics()}
    for topic, kata in [*catalog.all_katas(), *((topic, check) for topic in known for check in catalog.CHECKS)]:
        known[f"{topic}/{kata}"] = catalog.spec_of(topic, kata)
    for argument, parts in zip(config.args, _paths_asked_for(config), strict=True):
        name = "/".join(part for part in parts if part != "katas").removesuffix(".py").replace("test_", "")
        is_kata = catalog.is_kata_file(catalog.ROOT.joinpath(*parts), []) and name in known
        if not parts or (catalog.ROOT.joinpath(*parts).exists() and not is_kata):
            continue
        meant = [name] if is_kata else difflib.get_close_matches(name, known, n=1)
        if meant:
            what = "is a kata. Its spec is" if is_kata else "does not exist. Did you mean"
            raise pytest.UsageError(f"{argument} {what} {known[meant[0]]}{'' if is_kata else '?'}")


def _paths_asked_for(config) -> list[tuple[str, ...]]:
    """The parts of each path in the arguments, from the root of the repository; () for one outside of it."""
    paths = [(config.invocation_params.dir / str(arg).split("::")[0]).resolve() for arg in config.args]
    return [path.relative_to(catalog.ROOT).parts if path.is_relative_to(catalog.ROOT) else () for path in paths]


def _topics_asked_for(config) -> list[str]:
    inside = [parts for parts in _paths_asked_for(config) if len(parts) >= 2 and parts[0] == "katas"]
    return [parts[1] for parts in inside if parts[1] in catalog.topics()]


def _is_about_katas(config) -> bool:
    return all(parts[:1] == ("katas",) for parts in _paths_asked_for(config))


def _load_hypothesis_profile(config) -> None:
    from hypothesis import HealthCheck, Phase

    set_hypothesis_home_dir(catalog.ROOT / ".hypothesis")
    phases = [Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink]  # no `explain`: 20 s on a red run
    shared = dict(
        deadline=None,
        max_examples=50,
        report_multiple_bugs=False,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    database = DirectoryBasedExampleDatabase(catalog.ROOT / ".hypothesis" / "examples")
    hypothesis.settings.register_profile("learner", phases=phases, database=database, **shared)
    hypothesis.settings.register_profile("ci", phases=phases, database=None, derandomize=True, **shared)
    quick = [Phase.explicit, Phase.generate]  # the first failure will do: for mutants
    hypothesis.settings.register_profile("mutants", phases=quick, database=None, derandomize=True, **shared)
    hypothesis.settings.register_profile("hints", hypothesis.settings.get_profile("mutants"), max_examples=12)
    hypothesis.settings.register_profile("first-look", phases=phases, database=database, **shared | {"max_examples": 8})
    if not config.getoption("--hypothesis-profile", None):
        seeded = config.getoption("--hypothesis-seed", None) is not None
        hypothesis.settings.load_profile("ci" if os.environ.get("CI") and not seeded else "learner")


def pytest_report_header(config):
    return _header(config)


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session):
    """In place of pytest's own eight lines."""
    config = session.config
    reporter = config.pluginmanager.getplugin("terminalreporter")
    if reporter and config.option.verbose == 0 and _is_about_katas(config) and not hasattr(config, "workerinput"):
        reporter.write_line(_header(config))


def _header(config) -> str:
    finder = trees.installed()
    trees_shown = ", then ".join(f"{name}/" for name in finder.trees) or "your code (katas/)"
    borrowed = ", and the solutions where other katas are unwritten" * finder.borrows
    return f"katas: implementation: {trees_shown}{borrowed}; device: {config.getoption('--device')}"


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    trees.running = catalog.kata_of_node(item.nodeid)


# --- which tests run ------------------------------------------------------------------------------------------------


def pytest_make_parametrize_id(config, val):
    """A case is called by its value: `[float16]`, `[(2,3)]`."""
    if type(val).__name__ == "dtype":
        return str(val).removeprefix("torch.")
    numbers = isinstance(val, (tuple, list)) and all(isinstance(one, (bool, int, float)) for one in val)
    return str(val).replace(" ", "") if numbers and len(val) <= 4 else None


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc):
    """A row of a table is called by its number, a row of refusals by the argument it is about: `[4]`, `[sigma]`."""
    for mark in metafunc.definition.iter_markers("parametrize"):
        columns, rows = (part.split(",") if isinstance(part, str) else part for part in mark.args[:2])
        columns, rows = [column.strip() for column in columns], list(rows)
        plain = all(isinstance(row, tuple) and all(map(_is_plain, row)) for row in rows)
        if len(columns) > 1 and "ids" not in mark.kwargs and not plain and type(rows[0]) in (tuple, list):
            named = columns.index("name") if "name" in columns else None
            mark.kwargs["ids"] = [str(n if named is None else row[named]) for n, row in enumerate(rows, start=1)]


def _is_plain(value) -> bool:
    return isinstance(value, int | float) or (isinstance(value, str) and value.isidentifier())


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
    names = catalog.kata_of_node(item.nodeid)
    if names is None or names[0] not in catalog.topics():
        return (len(catalog.topics()), 0)
    return catalog.topics().index(names[0]), catalog.rank(*names)


def _is_named(item, named: set[str]) -> bool:
    """Asked for by its file or node id, from whichever folder: the end of the id decides."""
    node = item.nodeid.split("[")[0]
    file = node.split("::")[0]
    own = {file, node} | {node.rsplit("::", 1)[0]}
    return any(
        any(one == name or one.endswith("/" + name) or name.endswith("/" + one) for one in own) for name in named
    )


def pytest_collection_finish(session):
    """The finder falls back silently by nature: make sure that each kata came from the tree that was meant."""
    if "torch" in sys.modules:  # the specs use it, so the card must be one that it knows
        doctor.refuse_wrong_device(session.config)
    finder = trees.installed()
    for name, module in list(sys.modules.items()):
        names = catalog.kata_of_module(name)
        file = getattr(module, "__file__", None)
        if names and finder and file:
            meant = finder.file_of(*names)
            if meant is not None and Path(file).resolve() != meant.resolve():
                raise pytest.UsageError(f"{name} was loaded from {file}, but {meant} was meant")
