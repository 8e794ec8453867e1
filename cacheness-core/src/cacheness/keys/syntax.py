# SPDX-License-Identifier: MIT
"""The canonical form of source code, the same on every Python version."""

from __future__ import annotations

import ast

from blake3 import blake3

from cacheness.keys.encoding import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, TypeAlias

    FunctionNode: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda

__all__ = ["function_digest", "module_digest"]

_SKIPPED = frozenset(("ctx", "kind", "type_comment", "type_ignores", "type_params"))


def function_digest(node: FunctionNode) -> str:
    """The digest of what a function does, without its name, decorators and defaults.

    Those three are seen in the running function instead: the name where it is used, the
    decorators as what they made of it, the defaults as values.
    """
    bare = ast.arguments(
        posonlyargs=node.args.posonlyargs,
        args=node.args.args,
        vararg=node.args.vararg,
        kwonlyargs=node.args.kwonlyargs,
        kw_defaults=[],
        kwarg=node.args.kwarg,
        defaults=[],
    )
    body = [node.body] if isinstance(node, ast.Lambda) else _statements(node.body)
    return _digest([type(node).__name__, bare, *body])


def module_digest(tree: ast.Module) -> str:
    """The digest of a whole module's source."""
    return _digest(["Module", *_statements(tree.body)])


def _digest(parts: list[Any]) -> str:
    return blake3(encode(list(_tokens(parts)))).digest(16).hex()


def _tokens(parts: list[Any]) -> Iterator[object]:
    """A tree as a flat list: each node's type, its number of fields, then names and values.

    Without recursion, for a long sum nests deeper than the stack allows.
    """
    stack: list[Any] = parts[::-1]
    while stack:
        part = stack.pop()
        if isinstance(part, ast.Constant):
            yield "Constant"
            yield part.value
        elif isinstance(part, ast.AST):
            name, fields = _node(part)
            yield name
            yield len(fields)
            for field, value in reversed(fields):
                stack.append(value)
                stack.append(_Name(field))
        elif isinstance(part, list):
            yield "["
            yield len(part)
            stack.extend(reversed(part))
        elif isinstance(part, _Name):
            yield part.text
        else:
            yield "="
            yield part


class _Name:
    """A field's name among values."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


def _node(node: ast.AST) -> tuple[str, list[tuple[str, Any]]]:
    """A node's type and the fields that count, normalised."""
    if isinstance(node, ast.AnnAssign) and node.value is not None:
        # An annotated local is an assignment like any other.
        return "Assign", [("targets", [node.target]), ("value", node.value)]
    if isinstance(node, ast.JoinedStr):
        return "JoinedStr", [("values", _merged(node.values))]
    name = type(node).__name__
    return name, [
        (field, value)
        for field in node._fields
        if field not in _SKIPPED and (value := _field(node, field)) is not None and value != []
    ]


def _field(node: ast.AST, field: str) -> Any:
    value = getattr(node, field, None)
    if field in ("annotation", "returns"):
        return None
    if field == "body" and isinstance(value, list):
        return _class_body(value) if isinstance(node, ast.ClassDef) else _statements(value)
    if field in ("orelse", "finalbody") and isinstance(value, list):
        return _statements(value)
    if field == "format_spec" and isinstance(value, ast.JoinedStr) and not value.values:
        return None
    return value


def _statements(body: list[ast.stmt]) -> list[Any]:
    """The statements without those that do nothing: docstrings, ``pass``, bare annotations."""
    return [statement for statement in body if not _is_idle(statement)]


def _is_idle(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Expr):
        return isinstance(statement.value, ast.Constant)
    if isinstance(statement, ast.AnnAssign):
        return statement.value is None
    return isinstance(statement, ast.Pass)


def _class_body(body: list[ast.stmt]) -> list[Any]:
    """A class's statements: the annotations of its fields stay, for dataclasses use them."""
    kept: list[Any] = []
    for statement in body:
        if isinstance(statement, ast.AnnAssign):
            value = [] if statement.value is None else [statement.value]
            kept.append(["field", statement.target, statement.annotation, *value])
        elif not _is_idle(statement):
            kept.append(statement)
    return kept


def _merged(values: list[ast.expr]) -> list[ast.expr]:
    """The parts of an f-string with neighbouring texts joined, as some versions leave them."""
    merged: list[ast.expr] = []
    for value in values:
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            if not value.value:
                continue
            last = merged[-1] if merged else None
            if isinstance(last, ast.Constant) and isinstance(last.value, str):
                merged[-1] = ast.Constant(last.value + value.value)
                continue
        merged.append(value)
    return merged
