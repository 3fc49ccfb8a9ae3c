"""Katas in any order: what another kata has not written yet is taken from its solution, while other specs run."""

import ast

from katas.lab import stubs

OWN_SPEC_RUNS = "_own_spec_runs_"  # in the globals of a module that borrows: whether its own spec is the one that runs


def completed(source: str, solution: str) -> ast.Module | None:
    """The module of `source`, with the bodies of the solution where its functions are unwritten; None if none is.

    While the kata's own spec runs, they raise NotImplementedError as before.
    """
    missing = {name for name, _ in stubs.unwritten(source)}
    if not missing:
        return None
    mine, theirs = ast.parse(source), ast.parse(solution)
    for node in mine.body:
        other = _named(theirs.body, getattr(node, "name", None))
        if isinstance(node, ast.FunctionDef) and node.name in missing and other is not None:
            _borrow_body(node, other)
        elif isinstance(node, ast.ClassDef) and any(name.startswith(f"{node.name}.") for name in missing) and other:
            _complete_class(node, other, missing)
    helpers = [node for node in theirs.body if _is_helper(node) and not _is_defined(node, mine.body)]
    for helper in helpers:
        _without_annotations(helper)
    imports = [node for node in theirs.body if isinstance(node, ast.Import | ast.ImportFrom)]
    docstring, rest = mine.body[:1], mine.body[1:]
    own_imports = [node for node in rest if isinstance(node, ast.Import | ast.ImportFrom)]
    rest = [node for node in rest if node not in own_imports]
    mine.body = [*docstring, *imports, *own_imports, *helpers, *rest]
    return mine


def _complete_class(node: ast.ClassDef, other: ast.ClassDef, missing: set[str]) -> None:
    for member in node.body:
        theirs = _named(other.body, getattr(member, "name", None))
        if f"{node.name}.{getattr(member, 'name', '')}" in missing and theirs is not None:
            _borrow_body(member, theirs)
    node.body += [member for member in other.body if _is_helper(member) and not _is_defined(member, node.body)]


def _borrow_body(mine: ast.FunctionDef, theirs: ast.FunctionDef) -> None:
    stub = mine.body.pop()  # raise NotImplementedError
    mine.body.append(ast.If(ast.Call(ast.Name(OWN_SPEC_RUNS, ast.Load()), [], []), [stub], []))
    mine.body += theirs.body[1:] if ast.get_docstring(theirs) is not None else theirs.body
    for statement in mine.body:
        for node in ast.walk(statement):
            if hasattr(node, "lineno") or isinstance(node, ast.stmt | ast.expr):
                node.lineno = node.end_lineno = stub.lineno  # tracebacks show the stub
                node.col_offset = node.end_col_offset = stub.col_offset


def _named(body: list[ast.stmt], name: str | None):
    return next((node for node in body if name and getattr(node, "name", None) == name), None)


def _names(node: ast.stmt) -> set[str]:
    if isinstance(node, ast.Assign):
        return {target.id for target in node.targets if isinstance(target, ast.Name)}
    return {node.name} if isinstance(node, ast.FunctionDef | ast.ClassDef) else set()


def _is_helper(node: ast.stmt) -> bool:
    names = _names(node)
    return bool(names) and all(name.startswith("_") and not name.startswith("__") for name in names)


def _is_defined(node: ast.stmt, body: list[ast.stmt]) -> bool:
    return any(_names(node) & _names(other) for other in body)


def _without_annotations(node: ast.stmt) -> None:
    """They may name classes that come later."""
    if isinstance(node, ast.FunctionDef):
        node.returns = None
        for argument in [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]:
            argument.annotation = None
