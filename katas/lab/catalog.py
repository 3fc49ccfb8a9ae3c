"""What there is: topics, katas and checks, and where their files lie. The only module that knows the layout.

A kata is named by (topic, kata), in text `topic/kata`. The files `test_full_training.py`, `test_dynamics.py` and
`test_throughput.py` of a topic are checks; they have names of the same form.
"""

import ast
import functools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
RUNS = ROOT / "runs"  # what checks leave behind
OWN_TREE, SOLUTIONS, ALTERNATIVES = "katas", "solutions", "tests/katas/alternatives"
TREES = (OWN_TREE, SOLUTIONS, ALTERNATIVES)
ORDER = ("warmup", "detection", "diffusion", "rl", "active_learning", "splatting")
CHECKS = {"full_training": "full training", "dynamics": "dynamics", "throughput": "throughput"}
NOT_A_TOPIC, NOT_A_KATA = ("lab",), ("given",)
SPEC = re.compile(r"(?:^|/)katas/(\w+)/test_(\w+)\.py")

LIST_COMMENT = "# The topic's katas in learning order: the one list that everything else reads."

Names = tuple[str, str]


# --- topics and katas -------------------------------------------------------------------------------------------------


@functools.cache
def topics() -> list[str]:
    folders = sorted(file.parent.name for file in (ROOT / OWN_TREE).glob("*/__init__.py"))
    present = [name for name in folders if name not in NOT_A_TOPIC]
    return [topic for topic in ORDER if topic in present] + [topic for topic in present if topic not in ORDER]


@functools.cache
def katas_of(topic: str) -> tuple[str, ...]:
    """`KATAS` of the topic's `__init__.py`, read without importing any kata."""
    module = ast.parse((topic_folder(topic) / "__init__.py").read_text("utf-8"))
    for node in module.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "KATAS":
            return ast.literal_eval(node.value)
    return ()


def all_katas() -> list[Names]:
    return [(topic, kata) for topic in topics() for kata in katas_of(topic)]


def rank(topic: str, kata: str) -> int:
    """The place of a kata on its topic's ladder. Checks come after the katas."""
    order = [*katas_of(topic), *CHECKS]
    return order.index(kata) if kata in order else len(order)


class Card(NamedTuple):
    """A row of the table of katas in a topic's README."""

    point: str = ""
    minutes: int | None = None


@functools.cache
def cards_of(topic: str) -> dict[str, Card]:
    readme = topic_folder(topic) / "README.md"
    text = readme.read_text("utf-8") if readme.is_file() else ""
    rows = re.findall(r"^\| \[`?(\w+)`?\]\(\w+\.py\) \|.*\| (.*) \| (\d+) \|$", text, re.MULTILINE)
    return {kata: Card(point.replace("`", ""), int(minutes)) for kata, point, minutes in rows}


# --- where things lie -------------------------------------------------------------------------------------------------


def tree_folder(tree: str) -> Path:
    return ROOT / tree


def topic_folder(topic: str) -> Path:
    return ROOT / OWN_TREE / topic


def kata_file(topic: str, kata: str, tree: str = OWN_TREE) -> Path:
    return tree_folder(tree) / topic / f"{kata}.py"


def solution_file(topic: str, kata: str) -> Path:
    return kata_file(topic, kata, SOLUTIONS)


def alternative_file(topic: str, kata: str) -> Path:
    return kata_file(topic, kata, ALTERNATIVES)


def bank_file(topic: str, kata: str) -> Path:
    return ROOT / "tests" / "katas" / "mistakes" / topic / f"{kata}.py"


def spec_of(topic: str, kata: str) -> str:
    """The path of the spec or check from the root of the repository."""
    return f"{OWN_TREE}/{topic}/test_{kata}.py"


def shown(file: Path | str) -> str:
    """A path as it is told: from the root of the repository where it lies inside."""
    file = Path(file)
    return str(file.relative_to(ROOT)) if file.is_relative_to(ROOT) else str(file)


# --- names of katas ---------------------------------------------------------------------------------------------------


def kata_of_module(fullname: str) -> Names | None:
    """`katas.detection.nms` → ("detection", "nms"); None for everything that is no kata."""
    parts = fullname.split(".")
    if len(parts) != 3 or parts[0] != OWN_TREE or parts[1] in NOT_A_TOPIC or parts[2] in NOT_A_KATA:
        return None
    return None if parts[2].startswith(("test_", "conftest")) else (parts[1], parts[2])


def kata_of_node(nodeid: str) -> Names | None:
    """The kata or check that a test belongs to: `katas/detection/test_nms.py::test_ties` → ("detection", "nms")."""
    match = SPEC.search(nodeid.replace("\\", "/"))
    return (match.group(1), match.group(2)) if match and match.group(1) not in NOT_A_TOPIC else None


def is_kata_file(file: Path | str, trees: Sequence[str]) -> bool:
    """Whether a file of one of the trees is a kata: `<tree>/<topic>/<kata>.py`, neither a spec nor given."""
    path = Path(file)
    inside = any(path.parent.parent == tree_folder(tree) for tree in [*trees, OWN_TREE])
    return inside and path.parent.name not in NOT_A_TOPIC and not path.name.startswith(("test_", "__"))
