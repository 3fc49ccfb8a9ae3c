"""`python -m katas new`: a topic or a kata, laid out complete but for its content."""

import re
from pathlib import Path

from katas.lab import catalog

NAME = re.compile(r"[a-z][a-z0-9_]*")

SOLUTION = '''"""{kata}: what it is about, in a sentence or two."""

from jaxtyping import Float
from torch import Tensor


def {kata}(x: Float[Tensor, " N"], *, scale: float = 1.0) -> Float[Tensor, " N"]:
    """What comes back. The formula, the conventions, the paper and its equation.

        y = scale * x

    `scale` > 0.
    """
    if not scale > 0:
        raise ValueError(f"scale must be positive, got {{scale}}")
    return scale * x
'''
IMPORTS = (
    "from katas.lab.expect import expect_close, expect_refused",
    "from katas.lab.laws import STANDING_LAWS, gradients_are_right",
    "from katas.lab.strategies import normal, tensors",
)
SPEC = '''"""{kata}: what it is checked against, and what is out of scope."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

{imports}

# --- the definition ---------------------------------------------------------------------------------------------------


def definition(x, scale):
    """On Python floats, one element at a time."""
    return [scale * value for value in x.tolist()]


# --- worked examples --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("x, scale, expected", [
    ([2.0, -3.0, 0.5], 4, [8.0, -12.0, 2.0]),
    ([1e-3, 1e5], 0.5, [5e-4, 5e4]),
])  # fmt: skip
def test_by_hand(x, scale, expected):
    expect_close({kata}(x=torch.tensor(x).double(), scale=scale), expected, "scale times x")


# --- the property and the laws ----------------------------------------------------------------------------------------


@given(tensors(st.integers(1, 9), low=-1e5, high=1e5), st.sampled_from([1e-3, 1, 7.5]))
def test_it_agrees_with_the_definition(x, scale):
    expect_close({kata}(x, scale=scale), definition(x, scale), "element by element")


def test_the_gradient_is_that_of_the_formula():
    gradients_are_right({kata}, normal(3), scale=2)


# --- refusals and standing laws ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, call", [
    ("scale", lambda: {kata}(normal(3), scale=0)),
    ("scale", lambda: {kata}(normal(3), scale=-1)),
])  # fmt: skip
def test_what_is_out_of_range_is_refused(name, call):
    expect_refused(name, call)


@pytest.mark.parametrize("law", STANDING_LAWS)
def test_standing_laws(law):
    law({kata}, normal(4), scale=3)
'''
BANK = '''"""Wrong versions of {kata} that people write."""

from tests.katas.mistakes import Mistake

MISTAKES = [
    Mistake("scale_ignored", "test_by_hand",
            why="The scale multiplies every element.",
            find="return scale * x",
            replace="return 1.0 * x"),
]
'''
ALTERNATIVE = '''"""{kata}, one element at a time."""

import torch


def {kata}(x, *, scale=1.0):
    if scale <= 0:
        raise ValueError("scale")
    return torch.stack([value * scale for value in x]) if len(x) else x * scale
'''
TOPIC_README = """# {title}

**Objective.** What you build, and what you can do at the end.

## The ideas

**The first idea.** What it is, with its formula. A picture (`python -m katas figures {topic}`).
*Why:* the short derivation. *Predict first:* a question to answer before you run. *Read:* paper and section.

## Notation

| paper | here |
|---|---|

## The katas, in order

| kata | you write | the point | minutes |
|---|---|---|---|

## Done when

    pytest katas/{topic}                   # every kata green
    pytest katas/{topic} -m gpu            # your code, trained; what happens without its pieces
    pytest katas/{topic} -m benchmark      # your speed beside the solution's and the library's

What was measured stands in [RESULTS.md](RESULTS.md).
"""
RESULTS = """# Results of {topic}

What was measured, on which hardware.

| check | figure | hardware |
|---|---|---|
"""
RECIPES = '"""The recipes of the {topic} checks: models, data, and how they are trained."""\n'
FIGURES = '''"""The pictures of the README, drawn from the solutions. `python -m katas figures {topic}`"""

FIGURES = {{}}  # file name in katas/{topic}/figures/ → function that writes the picture to the path it is given
'''
CHECK = '''"""{title}. `pytest katas/{topic} -m {mark}`"""

import pytest

pytestmark = pytest.mark.{mark}
'''
TITLES = {
    "full_training": ("Full checks: your code, trained end to end in five minutes of a GTX 1060 each", "gpu"),
    "dynamics": ("Dynamics: what changes when one thing is different, and why", "gpu"),
    "throughput": ("How fast: yours, the solution, and the library that does it", "benchmark"),
}


def files_of_topic(topic: str) -> dict[Path, str]:
    room, words = catalog.topic_folder(topic), {"topic": topic, "title": topic.replace("_", " ").capitalize()}
    files = {
        room / "__init__.py": f'"""{words["title"]}."""\n\n{catalog.LIST_COMMENT}\nKATAS = ()\n',
        room / "README.md": TOPIC_README.format(**words),
        room / "RESULTS.md": RESULTS.format(**words),
        room / "given" / "__init__.py": "",
        room / "given" / "recipes.py": RECIPES.format(**words),
        room / "given" / "figures.py": FIGURES.format(**words),
        catalog.solution_file(topic, "__init__"): "",
        catalog.bank_file(topic, "__init__"): "",
    }
    for check, (title, mark) in TITLES.items():
        files[catalog.ROOT / catalog.spec_of(topic, check)] = CHECK.format(topic=topic, title=title, mark=mark)
    return files


def files_of_kata(topic: str, kata: str) -> dict[Path, str]:
    from katas.lab.stubs import make_stub

    solution = SOLUTION.format(kata=kata)
    imports = "\n".join(sorted([f"from katas.{topic}.{kata} import {kata}", *IMPORTS]))
    return {
        catalog.solution_file(topic, kata): solution,
        catalog.kata_file(topic, kata): make_stub(solution),
        catalog.ROOT / catalog.spec_of(topic, kata): SPEC.format(topic=topic, kata=kata, imports=imports),
        catalog.bank_file(topic, kata): BANK.format(kata=kata),
        catalog.alternative_file(topic, kata): ALTERNATIVE.format(kata=kata),
    }


def new(name: str) -> list[Path]:
    """The files that were written. Nothing that exists is touched; a ValueError says what is wrong with the name."""
    topic, slash, kata = name.strip("/").partition("/")
    for part in (topic, kata) if slash else (topic,):
        if not NAME.fullmatch(part):
            raise ValueError(f"{name!r} is no name for a topic or a kata: small letters, digits and _")
    if topic in catalog.NOT_A_TOPIC or kata in (*catalog.NOT_A_KATA, *catalog.CHECKS):
        raise ValueError(f"{name!r} is taken by the laboratory")
    if slash and topic not in catalog.topics():
        raise ValueError(f"there is no topic {topic!r}: python -m katas new {topic}")
    files = files_of_kata(topic, kata) if slash else files_of_topic(topic)
    there = [file for file in files if file.exists()]
    if there:
        raise ValueError(f"{catalog.shown(there[0])} exists, and nothing was written")
    for file, text in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
    if slash:
        _append_to_the_list(topic, kata)
    return list(files)


def _append_to_the_list(topic: str, kata: str) -> None:
    file = catalog.topic_folder(topic) / "__init__.py"
    before, _, _ = file.read_text("utf-8").partition("KATAS = ")
    names = "".join(f'    "{name}",\n' for name in (*catalog.katas_of(topic), kata))
    file.write_text(f"{before}KATAS = (\n{names})\n", "utf-8")
