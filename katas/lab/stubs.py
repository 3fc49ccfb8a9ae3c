"""Stubs from solutions: signatures, docstrings, constants and imports stay; bodies and private helpers go."""

import ast
import importlib.util
from pathlib import Path

from katas.lab.catalog import all_katas, kata_file, solution_file


def make_stub(source: str) -> str:
    """The stub of a solution, as text. Everything outside the removed bodies and helpers is kept to the letter."""
    lines = source.splitlines()
    edits: list[tuple[int, int, list[str]]] = []  # (first line, last line, what replaces them), counted from 1
    for node in ast.parse(source).body:
        edits += _edits(node, lines)
    for first, last, replacement in sorted(edits, reverse=True):
        lines[first - 1 : last] = replacement
    return _tidy(lines)


def _edits(node: ast.stmt, lines: list[str]) -> list[tuple[int, int, list[str]]]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef) and _is_private(node.name):
        return [(_first_line(node, lines), node.end_lineno, [])]
    if isinstance(node, ast.FunctionDef):
        return [_emptied(node)]
    if isinstance(node, ast.ClassDef):
        return [edit for member in node.body for edit in _edits(member, lines)]
    if isinstance(node, ast.Assign) and all(isinstance(t, ast.Name) and _is_private(t.id) for t in node.targets):
        return [(_first_line(node, lines), node.end_lineno, [])]
    return []


def _is_private(name: str) -> bool:
    return name.startswith("_") and not (name.startswith("__") and name.endswith("__"))


def _first_line(node: ast.stmt, lines: list[str]) -> int:
    """With its decorators, the comment right above it and the blank lines before that."""
    first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
    while first > 1 and lines[first - 2].strip().startswith("#"):
        first -= 1
    while first > 1 and not lines[first - 2].strip():
        first -= 1
    return first


def _emptied(node: ast.FunctionDef) -> tuple[int, int, list[str]]:
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    first = node.body[0].end_lineno + 1 if ast.get_docstring(node) is not None else node.body[0].lineno
    indent = " " * (node.col_offset + 4)
    last = max(node.end_lineno, first) if body else node.body[0].end_lineno
    return (first, last if body else first - 1, [f"{indent}raise NotImplementedError"])


def _tidy(lines: list[str]) -> str:
    """At most two blank lines in a row, none at the end."""
    text: list[str] = []
    for line in lines:
        if line.strip() or text[-2:] != ["", ""]:
            text.append(line.rstrip())
    return "\n".join(text).rstrip() + "\n"


def source_of(file: Path | str) -> str:
    """The text of a Python file as Python reads it (a BOM is fine); a SyntaxError says why there is none."""
    data = Path(file).read_bytes()
    if b"\0" in data:
        place = str(file), data[: data.index(b"\0")].count(b"\n") + 1, 0, ""
        raise SyntaxError("it holds null bytes, and so is no text", place)
    try:
        return importlib.util.decode_source(data)
    except UnicodeDecodeError as error:
        place = str(file), data[: error.start].count(b"\n") + 1, 0, ""
        raise SyntaxError(f"the byte {data[error.start]:#x} is not UTF-8: save the file as UTF-8", place) from None


def unwritten(source: str) -> list[tuple[str, int]]:
    """(name, line) of every function whose body, apart from its docstring, is only `raise NotImplementedError`."""
    found = []
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef) and _is_unwritten(node):
            found.append((node.name, node.lineno))
        elif isinstance(node, ast.ClassDef):
            members = [m for m in node.body if isinstance(m, ast.FunctionDef) and _is_unwritten(m)]
            found += [(f"{node.name}.{member.name}", member.lineno) for member in members]
    return found


def _is_unwritten(node: ast.FunctionDef) -> bool:
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    if len(body) != 1 or not isinstance(body[0], ast.Raise):
        return False
    raised = body[0].exc.func if isinstance(body[0].exc, ast.Call) else body[0].exc
    return isinstance(raised, ast.Name) and raised.id == "NotImplementedError"


def public_functions(source: str) -> list[str]:
    """Every public function and method, `Class.method`, in reading order."""
    names = []
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef) and not _is_private(node.name):
            names.append(node.name)
        elif isinstance(node, ast.ClassDef) and not _is_private(node.name):
            members = [m.name for m in node.body if isinstance(m, ast.FunctionDef) and not _is_private(m.name)]
            names += [f"{node.name}.{member}" for member in members]
    return names


def drifted() -> list[str]:
    """The katas whose stub file is not what the tool makes from the solution today (`topic/kata`)."""
    return [
        f"{topic}/{kata}"
        for topic, kata in all_katas()
        if not kata_file(topic, kata).is_file()
        or kata_file(topic, kata).read_bytes() != make_stub(solution_file(topic, kata).read_text("utf-8")).encode()
    ]
