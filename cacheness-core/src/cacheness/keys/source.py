# SPDX-License-Identifier: MIT
"""Finds the source of running code, and believes it only where it compiles to that code."""

from __future__ import annotations
import __future__

import ast
import os
import sys
import warnings
from types import CodeType

from cacheness.keys.bytecode import code_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any, TypeAlias

    FunctionNode: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda

__all__ = ["Source", "compiled_source", "function_node", "read_source"]

_MOST_SOURCES = 32
_SENT_BY_VALUE = "<dynamic-code>"
_FUTURES = 0
for _name in __future__.all_feature_names:
    # A notebook's cells hand on their __future__ imports to later cells unsaid.
    _FUTURES |= getattr(__future__, _name).compiler_flag

_SOURCES: dict[tuple[object, ...], Source | None] = {}


def function_node(code: CodeType, namespace: Mapping[str, Any]) -> FunctionNode | None:
    """The syntax tree of the function that has this code; None without source to believe.

    Args:
        code: The code that runs.
        namespace: The globals of the function.
    """
    text = read_source(code.co_filename, namespace)
    if text is None:
        return None
    flags = code.co_flags & _FUTURES
    key = (code.co_filename, text, flags)
    if key not in _SOURCES:
        if len(_SOURCES) >= _MOST_SOURCES:
            _SOURCES.clear()
        _SOURCES[key] = compiled_source(text, code.co_filename, flags)
    source = _SOURCES[key]
    return None if source is None else source.find(code)


def read_source(filename: str, namespace: Mapping[str, Any] | None = None) -> str | bytes | None:
    """The text of a file, of a notebook's cell, or of what a module's loader can show."""
    path = filename
    if not os.path.isabs(path) and namespace is not None:
        # The name that a script was started with means nothing after a change of directory,
        # and cloudpickle sends none at all.
        known = namespace.get("__file__")
        if isinstance(known, str) and (
            os.path.basename(known) == os.path.basename(path) or path == _SENT_BY_VALUE
        ):
            path = known
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        import linecache

        return "".join(linecache.getlines(filename, dict(namespace or {}))) or None


class Source:
    """A parsed text and the code that it compiles to."""

    def __init__(self, tree: ast.Module, compiled: CodeType) -> None:
        self.tree = tree
        self._codes: dict[str, list[CodeType]] = {}
        self._nodes: dict[tuple[int, str], list[FunctionNode]] | None = None
        for code in _nested(compiled):
            self._codes.setdefault(code.co_qualname, []).append(code)

    def find(self, running: CodeType) -> FunctionNode | None:
        """The node whose compiled code is the one that runs."""
        candidates = self._codes.get(running.co_qualname, [])
        if not candidates:
            return None
        wanted = code_bytes(running)
        candidates.sort(key=lambda code: code.co_firstlineno != running.co_firstlineno)
        # Of two lambdas on one line that compile alike, either says what the other does.
        for code in candidates:
            if code_bytes(code) == wanted:
                return self._node_of(code)
        return None

    def holds(self, running: CodeType) -> bool:
        """Whether the text compiles to this code under this name."""
        return self.find(running) is not None

    def _node_of(self, code: CodeType) -> FunctionNode | None:
        if self._nodes is None:
            self._nodes = {}
            for node in ast.walk(self.tree):
                if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
                    self._nodes.setdefault(_place(node), []).append(node)
        nodes = self._nodes.get((code.co_firstlineno, code.co_name), [])
        return nodes[0] if len(nodes) == 1 else _innermost(nodes, code)


def compiled_source(text: str | bytes, filename: str, flags: int) -> Source | None:
    """Parse and compile a module's text; None where it is no valid Python."""
    for more in (0, ast.PyCF_ALLOW_TOP_LEVEL_AWAIT):
        try:
            # Our own parse must not repeat the warnings of the text, or fail on them.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = ast.parse(text, filename)
                code = compile(text, filename, "exec", flags | more, dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        return Source(tree, code)
    return None


def _nested(code: CodeType) -> Iterator[CodeType]:
    stack = [code]
    while stack:
        code = stack.pop()
        yield code
        stack.extend(const for const in code.co_consts if isinstance(const, CodeType))


def _place(node: FunctionNode) -> tuple[int, str]:
    """The first line and the name that the compiled code of a node bears."""
    if isinstance(node, ast.Lambda):
        return node.lineno, "<lambda>"
    decorators = node.decorator_list
    return (decorators[0].lineno if decorators else node.lineno), node.name


def _innermost(nodes: list[FunctionNode], code: CodeType) -> FunctionNode | None:
    """Of several lambdas that start on one line, the one whose body holds the code's columns."""
    spots = [
        (line, column, last_line, last_column)
        for line, last_line, column, last_column in code.co_positions()
        if line is not None and column is not None and (column or last_column)
    ]
    if not spots:
        return None
    holding = [node for node in nodes if _body_holds(node, spots)]
    holding.sort(key=_extent)
    return holding[0] if holding else None


def _body_holds(node: FunctionNode, spots: list[Any]) -> bool:
    if not isinstance(node, ast.Lambda):
        return False
    body = node.body
    start = (body.lineno, body.col_offset)
    end = (body.end_lineno, body.end_col_offset)
    return all(start <= spot[:2] and spot[2:] <= end for spot in spots)


def _extent(node: FunctionNode) -> tuple[int, int, int, int]:
    body = node.body
    if isinstance(body, list):
        return (sys.maxsize, 0, 0, 0)
    lines = (body.end_lineno or body.lineno) - body.lineno
    return (lines, (body.end_col_offset or 0) - body.col_offset, body.lineno, body.col_offset)
