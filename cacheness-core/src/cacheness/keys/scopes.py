# SPDX-License-Identifier: MIT
"""Which names a piece of source looks up outside of itself, and which of them it changes."""

from __future__ import annotations

import ast

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import TypeAlias

    FunctionNode: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda

__all__ = ["Uses", "imports_of_module", "uses_of_function"]

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_CHANGING = frozenset(
    {
        "add",
        "append",
        "appendleft",
        "clear",
        "difference_update",
        "discard",
        "extend",
        "insert",
        "intersection_update",
        "move_to_end",
        "pop",
        "popitem",
        "popleft",
        "remove",
        "reverse",
        "setdefault",
        "sort",
        "symmetric_difference_update",
        "update",
    }
)
"""Methods that change what they are called on."""


class Uses:
    """What `Definition` says of names, while it is gathered."""

    __slots__ = ("changed", "imports", "names", "writes")

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.writes: set[str] = set()
        self.imports: set[str] = set()
        self.changed: set[str] = set()


def uses_of_function(node: FunctionNode) -> Uses:
    """What a function's body uses; decorators, defaults and annotations are no part of it."""
    uses = Uses()
    _function_body(node, frozenset(), uses)
    parameters = {argument.arg for argument in _arguments(node.args)}
    for inner in ast.walk(node):
        changed = _changed(inner)
        if changed in parameters:
            uses.changed.add(changed)
    return uses


def imports_of_module(tree: ast.Module) -> set[str]:
    """All imports anywhere in a module, as `Definition.imports` writes them."""
    found: set[str] = set()
    for node in ast.walk(tree):
        found.update(_imports(node))
    return found


def _function_body(node: FunctionNode, outer: frozenset[str], uses: Uses) -> None:
    body: list[ast.AST] = [node.body] if isinstance(node, ast.Lambda) else [*node.body]
    scope = _Bindings(body)
    local = scope.bound | {argument.arg for argument in _arguments(node.args)}
    local |= {parameter.name for parameter in getattr(node, "type_params", ())}
    uses.writes |= scope.globals | (scope.nonlocals - outer)
    bound = (outer | (local - scope.nonlocals)) - scope.globals
    _walk(body, bound, bound, uses)


def _arguments(arguments: ast.arguments) -> Iterator[ast.arg]:
    yield from (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
    yield from filter(None, (arguments.vararg, arguments.kwarg))


class _Bindings:
    """The names that a scope binds, and those that it declares global or nonlocal."""

    __slots__ = ("bound", "globals", "nonlocals")

    def __init__(self, body: Iterable[ast.AST]) -> None:
        self.bound: set[str] = set()
        self.globals: set[str] = set()
        self.nonlocals: set[str] = set()
        stack = list(body)
        while stack:
            node = stack.pop()
            self.bound.update(_bound(node))
            if isinstance(node, ast.Global):
                self.globals.update(node.names)
            elif isinstance(node, ast.Nonlocal):
                self.nonlocals.update(node.names)
            if isinstance(node, _COMPREHENSIONS):
                # Its own targets stay inside; a walrus in it binds out here.
                stack.extend(_walruses(node))
            elif isinstance(node, _FUNCTIONS):
                stack.extend(_outer_parts(node))
            elif isinstance(node, ast.ClassDef):
                stack.extend((*node.decorator_list, *node.bases, *node.keywords))
            else:
                stack.extend(ast.iter_child_nodes(node))


def _bound(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Name):
        if not isinstance(node.ctx, ast.Load):
            yield node.id
    elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        yield node.name
    elif isinstance(node, ast.alias):
        yield node.asname or node.name.partition(".")[0]
    elif isinstance(node, (ast.ExceptHandler, ast.MatchAs, ast.MatchStar)):
        if node.name:
            yield node.name
    elif isinstance(node, ast.MatchMapping) and node.rest:
        yield node.rest


def _walruses(node: ast.AST) -> Iterator[ast.AST]:
    for inner in ast.walk(node):
        if isinstance(inner, ast.NamedExpr):
            yield inner.target


def _outer_parts(node: FunctionNode) -> Iterator[ast.AST]:
    """What of a nested function is evaluated where it stands."""
    yield from getattr(node, "decorator_list", ())
    yield from node.args.defaults
    yield from (default for default in node.args.kw_defaults if default is not None)


def _walk(
    nodes: Iterable[ast.AST], bound: frozenset[str], inner: frozenset[str], uses: Uses
) -> None:
    """Visit nodes of one scope.

    Args:
        nodes: The nodes.
        bound: The names that are not looked up outside.
        inner: The same for functions nested here: those in a class don't see its names.
        uses: What is gathered.
    """
    stack = list(nodes)
    while stack:
        node = stack.pop()
        if isinstance(node, _FUNCTIONS):
            stack.extend(_outer_parts(node))
            _function_body(node, inner, uses)
        elif isinstance(node, _COMPREHENSIONS):
            targets = _targets(node)
            _walk(ast.iter_child_nodes(node), bound | targets, inner | targets, uses)
        elif isinstance(node, ast.ClassDef):
            stack.extend((*node.decorator_list, *node.bases, *node.keywords))
            _walk(node.body, bound | _Bindings(node.body).bound, inner, uses)
        elif isinstance(node, ast.AnnAssign):
            stack.extend((node.target, *([] if node.value is None else [node.value])))
        else:
            uses.imports.update(_imports(node))
            stack.extend(_look(node, bound, uses))


def _targets(node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp) -> set[str]:
    return {
        inner.id
        for generator in node.generators
        for inner in ast.walk(generator.target)
        if isinstance(inner, ast.Name)
    }


def _look(node: ast.AST, bound: frozenset[str], uses: Uses) -> Iterator[ast.AST]:
    """Note what one node looks up; give the children that are left to visit."""
    chain = _chain(node)
    if chain is not None:
        if chain.partition(".")[0] not in bound:
            uses.names.add(chain)
            if isinstance(node, (ast.Name, ast.Attribute)) and not isinstance(node.ctx, ast.Load):
                uses.writes.add(chain)
        return
    changed = _changed(node)
    if changed is not None and changed.partition(".")[0] not in bound:
        uses.writes.add(changed)
    yield from ast.iter_child_nodes(node)


def _chain(node: ast.AST) -> str | None:
    """``a.b.c`` of a name or of attributes of a name."""
    steps: list[str] = []
    while isinstance(node, ast.Attribute):
        steps.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return None
    return ".".join((node.id, *reversed(steps)))


def _changed(node: ast.AST) -> str | None:
    """The name whose value a node changes in place: ``a`` of ``a[0] = 1`` and ``a.append(1)``."""
    if isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load):
        return _chain(node.value)
    call = node.func if isinstance(node, ast.Call) else None
    if isinstance(call, ast.Attribute) and call.attr in _CHANGING:
        return _chain(call.value)
    return None


def _imports(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield f"0:{alias.name}:"
    elif isinstance(node, ast.ImportFrom):
        names = ",".join(sorted(alias.name for alias in node.names))
        yield f"{node.level}:{node.module or ''}:{names}"
