"""Generic mutants: one small change at a time to the bodies, default values and names of a module's functions."""

import ast
from collections import Counter
from collections.abc import Iterator

SWAPPED = {
    ast.Add: [ast.Sub], ast.Sub: [ast.Add], ast.Mult: [ast.Div], ast.Div: [ast.Mult], ast.FloorDiv: [ast.Mult],
    ast.Pow: [ast.Mult], ast.Mod: [ast.Mult], ast.BitAnd: [ast.BitOr], ast.BitOr: [ast.BitAnd],
    ast.Lt: [ast.LtE, ast.GtE], ast.LtE: [ast.Lt, ast.Gt], ast.Gt: [ast.GtE, ast.LtE], ast.GtE: [ast.Gt, ast.Lt],
    ast.Eq: [ast.NotEq], ast.NotEq: [ast.Eq], ast.Is: [ast.IsNot], ast.IsNot: [ast.Is],
    ast.And: [ast.Or], ast.Or: [ast.And],
}  # fmt: skip
PAIRS = [
    ("min", "max"), ("minimum", "maximum"), ("amin", "amax"), ("argmin", "argmax"), ("any", "all"), ("sum", "mean"),
    ("floor", "ceil"), ("cummax", "cummin"), ("logical_and", "logical_or"), ("log", "log1p"), ("exp", "expm1"),
]  # fmt: skip
RENAMED = {a: b for pair in PAIRS for a, b in (pair, pair[::-1])}


def generic_mutants(source: str) -> list[tuple[str, str]]:
    """(name, changed source) of every mutant. Names tell the function and the change; equal ones are numbered."""
    tree = ast.parse(source)
    mutants, seen = [], Counter()
    for qualname, function in functions_of(tree):
        parents = {child: parent for parent in ast.walk(function) for child in ast.iter_child_nodes(parent)}
        for node in mutable_nodes(function):
            for change, undo in changes(node):
                shown = shown_node(node, parents)
                before = text_of(shown)
                change()
                name = f"{qualname}: {before} → {text_of(shown)}"
                changed = ast.unparse(tree)
                undo()
                seen[name] += 1
                mutants.append((name if seen[name] == 1 else f"{name} ({seen[name]})", changed))
        mutants += [(f"{qualname}: {name} → {name}_", changed) for name, changed in renamed_arguments(function, tree)]
    return mutants


def renamed_arguments(function: ast.FunctionDef, tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Every argument of a public function under another name: it may be given by keyword."""
    given = [*function.args.args, *function.args.kwonlyargs]
    public = function.name == "__init__" or not function.name.startswith("_")
    for argument in [argument for argument in given if public and argument.arg != "self"]:
        name = argument.arg
        uses = [node for node in ast.walk(function) if isinstance(node, ast.Name) and node.id == name]
        argument.arg = f"{name}_"
        for node in uses:
            node.id = argument.arg
        yield name, ast.unparse(tree)
        argument.arg = name
        for node in uses:
            node.id = name


def functions_of(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef]]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield node.name, node
        elif isinstance(node, ast.ClassDef):
            for member in node.body:
                if isinstance(member, ast.FunctionDef):
                    yield f"{node.name}.{member.name}", member


def mutable_nodes(function: ast.FunctionDef) -> Iterator[ast.AST]:
    """Every node of the body and the defaults; not annotations, decorators, docstrings and error messages."""
    defaults = [default for default in [*function.args.defaults, *function.args.kw_defaults] if default is not None]
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    queue: list[ast.AST] = [*defaults, *body]
    while queue:
        node = queue.pop(0)
        yield node
        if isinstance(node, ast.Raise | ast.JoinedStr):
            continue
        skipped = [node.annotation] if isinstance(node, ast.AnnAssign) else []
        queue += [child for child in ast.iter_child_nodes(node) if child not in skipped and not _is_strict(child)]


def _is_strict(node: ast.AST) -> bool:
    """`zip(…, strict=True)` guards the writer; no call that a spec may make tells it from False."""
    return isinstance(node, ast.keyword) and node.arg == "strict"


def changes(node: ast.AST) -> Iterator[tuple]:
    """(make the change, undo it) for every operator that applies to the node."""

    def setting(owner, attribute, value):
        before = getattr(owner, attribute)
        return (lambda: setattr(owner, attribute, value)), (lambda: setattr(owner, attribute, before))

    if isinstance(node, ast.BinOp | ast.BoolOp | ast.AugAssign):
        for operator in SWAPPED.get(type(node.op), []):
            yield setting(node, "op", operator())
    elif isinstance(node, ast.Compare):
        for index, operator in enumerate(node.ops):
            for other in SWAPPED.get(type(operator), []):
                yield setting(node, "ops", [*node.ops[:index], other(), *node.ops[index + 1 :]])
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield setting(node, "value", not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        yield setting(node, "value", node.value + 1)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Invert | ast.Not):
        yield setting(node, "op", ast.UAdd()) if isinstance(node.op, ast.USub) else doubled(node)
    elif isinstance(node, ast.Call):
        for index in [i for i, keyword in enumerate(node.keywords) if not _is_strict(keyword)]:
            yield setting(node, "keywords", node.keywords[:index] + node.keywords[index + 1 :])
    elif isinstance(node, ast.If | ast.IfExp | ast.While):
        yield setting(node, "test", ast.UnaryOp(ast.Not(), node.test))
    if isinstance(node, ast.Attribute) and node.attr in RENAMED:
        yield setting(node, "attr", RENAMED[node.attr])
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in RENAMED:
        yield setting(node, "id", RENAMED[node.id])


def doubled(node: ast.UnaryOp) -> tuple:
    """`not x` → `not not x`, `~x` → `~~x`: the operator undone."""
    before = node.operand
    return (
        lambda: setattr(node, "operand", ast.UnaryOp(node.op, before)),
        lambda: setattr(node, "operand", before),
    )


def shown_node(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> ast.AST:
    """A lone number or operator says nothing: show the expression around it."""
    while (
        isinstance(node, ast.Constant | ast.Name | ast.UnaryOp | ast.Slice | ast.keyword | ast.Tuple)
        and node in parents
    ):
        parent = parents[node]
        if isinstance(parent, ast.FunctionDef | ast.arguments):
            return node
        node = parent
    return node


def text_of(node: ast.AST) -> str:
    return f"if {ast.unparse(node.test)}" if isinstance(node, ast.If | ast.While) else ast.unparse(node)
