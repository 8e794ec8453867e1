# SPDX-License-Identifier: MIT
"""Gives the definition of running code, parsed at most once and then remembered."""

from __future__ import annotations

import sys

from blake3 import blake3

from cacheness.keys.bytecode import code_hash
from cacheness.keys.definition import Definition
from cacheness.keys.origin import OWNERS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, FunctionType
    from typing import Any, Protocol

    class DigestStore(Protocol):
        """Where definitions are remembered between processes, a small text per name.

        The texts hold digests and names of code, no values. A store that forgets, or
        that fails by giving None, costs a parse and nothing else.
        """

        def get(self, name: str) -> str | None:
            """The text that was put last under this name, or None."""

        def put(self, name: str, value: str) -> None:
            """Keep a text, replacing one of the same name."""


__all__ = ["Definitions"]

FORMAT = "cacheness code 1"
MOST_LINES = 400
"""A function's memory is cut to this, newest last, when it is written."""

_MOST_CODES = 4096
_BY_CODE: dict[CodeType, tuple[str, Definition]] = {}


class Definitions:
    """The definitions behind one digest, with what a store remembers of them.

    Args:
        name: What the store keeps them under: one name a function.
        store: The store; None parses what this process has not parsed before.
    """

    def __init__(self, name: str, store: DigestStore | None) -> None:
        self._name = f"code {sys.implementation.cache_tag} {name}"
        self._store = store
        self._lines: dict[str, str] = {}
        self._used: dict[str, str] = {}
        self._read()

    def of_function(self, fn: FunctionType) -> Definition:
        """The definition of a function's running code."""
        code = fn.__code__
        known = _BY_CODE.get(code)
        if known is None:
            key = code_hash(code)
            remembered = self._remembered(key)
            known = (key, remembered or _define_function(fn))
            if len(_BY_CODE) >= _MOST_CODES:
                _BY_CODE.clear()
            _BY_CODE[code] = known
        self._used[known[0]] = known[1].line()
        return known[1]

    def of_module(self, file: str, functions: list[FunctionType]) -> Definition:
        """The definition of a module's whole source.

        Args:
            file: Its source file.
            functions: The module's functions, where it is loaded: the source is believed
                only if it compiles to them all.
        """
        try:
            with open(file, "rb") as opened:
                text = opened.read()
        except OSError:
            text = b""
        codes = sorted(code_hash(fn.__code__) for fn in functions)
        key = blake3("\n".join(codes).encode() + b"\0" + text).digest(16).hex()
        definition = self._remembered(key) or _define_module(file, text, functions, codes)
        self._used[key] = definition.line()
        return definition

    def save(self) -> None:
        """Hand the store what it did not know."""
        owners = {f"@{top}": owner for top, owner in OWNERS.items()}
        fresh = {**self._used, **owners}
        if self._store is None or fresh.items() <= self._lines.items():
            return
        lines = {**self._lines, **fresh}
        kept = list(lines.items())[-MOST_LINES:]
        text = "\n".join([FORMAT, *(f"{key}\t{line}" for key, line in kept)])
        self._store.put(self._name, text)
        self._lines = dict(kept)

    def _read(self) -> None:
        text = None if self._store is None else self._store.get(self._name)
        if not text:
            return
        head, *lines = text.split("\n")
        if head != FORMAT:
            return
        for line in lines:
            key, _, rest = line.partition("\t")
            self._lines[key] = rest
            if key.startswith("@"):
                OWNERS.setdefault(key[1:], rest)

    def _remembered(self, key: str) -> Definition | None:
        line = self._lines.get(key)
        return None if line is None else Definition.parse(line)


def _define_function(fn: FunctionType) -> Definition:
    from cacheness.keys.scopes import uses_of_function
    from cacheness.keys.source import function_node
    from cacheness.keys.syntax import function_digest

    node = function_node(fn.__code__, fn.__globals__)
    if node is None:
        from cacheness.keys.disassembly import names_in_code

        names, writes, imports = names_in_code(fn.__code__)
        digest = blake3(_without_docstring(fn)).digest(16).hex()
        return Definition(digest, "bytecode", sorted(names), sorted(writes), sorted(imports))
    uses = uses_of_function(node)
    return Definition(
        function_digest(node),
        "source",
        sorted(uses.names),
        sorted(uses.writes),
        sorted(uses.imports),
        sorted(uses.changed),
    )


def _without_docstring(fn: FunctionType) -> bytes:
    from cacheness.keys.bytecode import code_bytes

    code: Any = fn.__code__
    constants = code.co_consts
    if constants and isinstance(constants[0], str) and constants[0] == fn.__doc__:
        code = code.replace(co_consts=(None, *constants[1:]))
    return code_bytes(code)


def _define_module(
    file: str, text: bytes, functions: list[FunctionType], codes: list[str]
) -> Definition:
    from cacheness.keys.scopes import imports_of_module
    from cacheness.keys.source import compiled_source
    from cacheness.keys.syntax import module_digest

    source = compiled_source(text, file, 0)
    if source is None or not all(source.holds(fn.__code__) for fn in functions):
        return Definition(blake3("\n".join(codes).encode()).digest(16).hex(), "bytecode", ())
    return Definition(
        module_digest(source.tree), "source", (), imports=sorted(imports_of_module(source.tree))
    )
