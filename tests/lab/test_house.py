"""The shape of the house: which module may import which, and what a folder holds."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from katas.lab import catalog

ROOT = catalog.ROOT
SPECS = sorted(file for topic in catalog.topics() for file in (ROOT / "katas" / topic).glob("test_*.py"))
LAB = sorted((ROOT / "katas" / "lab").rglob("*.py"))
# The lowest first: a module imports only modules of the lines above its own, or of its own.
FLOORS = [
    [
        "katas.lab.borrow",
        "katas.lab.catalog",
        "katas.lab.data",
        "katas.lab.digits",
        "katas.lab.painter",
        "katas.lab.results",
        "katas.lab.stubs",
    ],
    ["katas.lab.trees"],
    [
        "katas.lab.expect",
        "katas.lab.laws",
        "katas.lab.strategies",
        "katas.lab.killing",
        "katas.lab.watched",
        "katas.lab.checks",
    ],
    ["katas.lab.plugin"],
    ["katas.lab.trials"],
    ["katas.lab.tutor"],
    ["katas.lab.watch"],
]
FOR_SPECS = (
    "expect",
    "laws",
    "strategies",
    "killing",
    "watched",
    "checks",
    "data",
    "digits",
    "trees",
    "plugin.messages",
)


def imports_of(file: Path) -> set[str]:
    """Every `katas.…`, `solutions.…` or `tests.…` that the file imports, relative imports spelled out."""
    package = catalog.shown(file.parent).replace("/", ".")
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            found |= {f"{module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] in ("katas", "solutions", "tests")}


def floor_of(name: str) -> int | None:
    return next((f for f, names in enumerate(FLOORS) if any(f"{name}.".startswith(f"{n}.") for n in names)), None)


@pytest.mark.parametrize("file", LAB, ids=catalog.shown)
def test_the_laboratory_imports_downwards_only(file):
    own = floor_of(catalog.shown(file).removesuffix(".py").replace("/", "."))
    for name in imports_of(file):
        assert name.startswith("katas.lab"), f"the laboratory knows no topic, but imports {name}"
        found = floor_of(name)
        assert own is None or found is None or found <= own, f"{name} stands above {catalog.shown(file)}"


@pytest.mark.parametrize("file", SPECS, ids=catalog.shown)
def test_a_spec_imports_its_topic_and_what_specs_are_written_with(file):
    for name in imports_of(file):
        parts = name.split(".")
        assert not any(part.startswith("test_") for part in parts), f"a test module is no library: {name}"
        if parts[:2] == ["katas", "lab"]:
            assert ".".join(parts[2:]).startswith(FOR_SPECS), name
        elif parts[0] == "katas":
            assert parts[1] == file.parent.name, f"topics do not import each other: {name}"


def test_given_and_solutions_stay_within_their_topic():
    for topic in catalog.topics():
        files = [*(ROOT / "katas" / topic / "given").glob("*.py"), *(ROOT / "solutions" / topic).glob("*.py")]
        allowed = (f"katas.{topic}.", "katas.lab.", f"solutions.{topic}.")
        allowed += ("solutions.detection.",) if topic == "active_learning" else ()
        for file in files:
            strange = [name for name in imports_of(file) if not name.startswith(allowed)]
            assert not strange, f"{catalog.shown(file)} imports {strange}"


def test_the_command_starts_without_pytest_hypothesis_and_torch():
    code = "import sys, katas.__main__; print([n for n in ('pytest', 'hypothesis', 'torch') if n in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert result.stdout.strip() == "[]", result.stdout + result.stderr


def test_what_cannot_be_installed_says_what_to_do():
    sys.path.insert(0, str(ROOT / ".ci"))
    try:
        import only_editable as backend
    finally:
        sys.path.pop(0)
    for build in (backend.get_requires_for_build_wheel, backend.build_wheel, backend.build_sdist):
        with pytest.raises(SystemExit, match="pip install -e ."):
            build()
    backend.refuse_a_python_too_new((3, 13, 9))
    with pytest.raises(SystemExit, match="no build for Python 3.14.\n.*3.11, 3.12 or 3.13"):
        backend.refuse_a_python_too_new((3, 14, 0))
    assert callable(backend.build_editable)


@pytest.mark.parametrize("topic", catalog.topics())
def test_every_room_has_the_same_shape(topic):
    room = ROOT / "katas" / topic
    needed = ["README.md", "RESULTS.md", "given/__init__.py"] + [f"test_{check}.py" for check in catalog.CHECKS]
    missing = [name for name in needed if not (room / name).is_file()]
    assert not missing, f"katas/{topic} lacks {missing}"
    specs = {file.name for file in room.glob("test_*.py")} - {f"test_{check}.py" for check in catalog.CHECKS}
    assert specs <= {f"test_{kata}.py" for kata in catalog.katas_of(topic)}, "a spec belongs to a kata of the list"
