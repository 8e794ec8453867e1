# SPDX-License-Identifier: MIT
"""Which names compiled code looks up outside of itself, for code without source."""

from __future__ import annotations

import dis
from types import CodeType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["names_in_code"]


def names_in_code(code: CodeType) -> tuple[set[str], set[str], set[str]]:
    """Dotted names that are looked up, names that are assigned, and imports.

    The names include the code's own free variables. See `Definition` for the forms.
    """
    names: set[str] = set()
    writes: set[str] = set()
    imports: set[str] = set()
    stack = [(code, frozenset[str]())]
    while stack:
        code, bound = stack.pop()
        for name in _loaded(code):
            if name.partition(".")[0] not in bound:
                names.add(name)
        writes |= _stored(code) - bound
        imports.update(_imported(code))
        bound |= {*code.co_cellvars, *code.co_varnames}
        stack.extend((inner, bound) for inner in code.co_consts if isinstance(inner, CodeType))
    return names, writes, imports


def _loaded(code: CodeType) -> Iterator[str]:
    chain = ""
    for step in dis.get_instructions(code):
        if step.opname in ("LOAD_ATTR", "LOAD_METHOD") and chain:
            chain = f"{chain}.{step.argval}"
            continue
        if chain:
            yield chain
        chain = ""
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            chain = step.argval
        elif step.opname in ("LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_DEREF"):
            chain = step.argval if step.argval in code.co_freevars else ""
    if chain:
        yield chain


def _stored(code: CodeType) -> set[str]:
    # STORE_NAME is a class's own scope, so only what is declared global or nonlocal.
    return {
        step.argval
        for step in dis.get_instructions(code)
        if step.opname in ("STORE_GLOBAL", "DELETE_GLOBAL")
        or (step.opname in ("STORE_DEREF", "DELETE_DEREF") and step.argval in code.co_freevars)
    }


def _imported(code: CodeType) -> Iterator[str]:
    constants: list[object] = [0, None]
    for step in dis.get_instructions(code):
        if step.opname == "IMPORT_NAME":
            level, names = constants[-2:]
            listed = ",".join(sorted(names)) if isinstance(names, tuple) else ""
            yield f"{level}:{step.argval}:{listed}"
        elif step.opname.startswith("LOAD_"):
            constants.append(step.argval)
