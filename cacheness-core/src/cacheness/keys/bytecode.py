# SPDX-License-Identifier: MIT
"""Compiled code as canonical bytes: equal exactly where the code is, wherever it stands."""

from __future__ import annotations

import sys
from types import CodeType

from blake3 import blake3

from cacheness.keys.encoding import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["code_bytes", "code_hash"]

_VERSION = f"{sys.implementation.cache_tag} {sys.flags.optimize}"


def code_hash(code: CodeType) -> str:
    """A digest of compiled code that names the Python version it is for."""
    return blake3(code_bytes(code)).digest(16).hex()


def code_bytes(code: CodeType) -> bytes:
    """All that decides what the code does, without file name, lines and name.

    Holds for one Python version, which is part of it. Constant sets are sorted, since
    their order follows the hash seed.
    """
    return encode([_VERSION, *_parts(code)])


def _parts(code: CodeType) -> list[Any]:
    return [
        code.co_code,
        code.co_exceptiontable,
        code.co_flags,
        code.co_argcount,
        code.co_posonlyargcount,
        code.co_kwonlyargcount,
        code.co_names,
        code.co_varnames,
        code.co_cellvars,
        code.co_freevars,
        [_constant(value) for value in code.co_consts],
    ]


def _constant(value: Any) -> Any:
    if isinstance(value, CodeType):
        return ("code", value.co_name, _parts(value))
    return value
