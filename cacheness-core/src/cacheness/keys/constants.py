# SPDX-License-Identifier: MIT
"""Which values of globals and class attributes count by value: constants, and small containers."""

from __future__ import annotations

import sys
import types

from cacheness.keys.encoding import SCALARS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal, TypeAlias

    Constancy: TypeAlias = Literal["fixed", "mutable"]

__all__ = ["constancy", "is_plain"]

MOST_LEAVES = 100
"""The most values in all that a container which can change may hold to be compared by
value at each call."""

MOST_FIXED_LEAVES = 100_000
"""The same for what can't change, which is looked at once."""

_SCALARS = frozenset((type(None), bool, int, float, complex, str, bytes, range, type(...)))
_BY_PATH = frozenset(
    (
        "datetime.date",
        "datetime.datetime",
        "datetime.time",
        "datetime.timedelta",
        "datetime.timezone",
        "decimal.Decimal",
        "fractions.Fraction",
        "pathlib.PosixPath",
        "pathlib.PurePosixPath",
        "pathlib.PureWindowsPath",
        "pathlib.WindowsPath",
        "pathlib._local.PosixPath",
        "pathlib._local.PurePosixPath",
        "pathlib._local.PureWindowsPath",
        "pathlib._local.WindowsPath",
        "re.Pattern",
        "uuid.UUID",
        "zoneinfo.ZoneInfo",
    )
)
_SEQUENCES = frozenset({list, tuple, set, frozenset})
_CODE = (type, types.FunctionType, types.BuiltinFunctionType)


def constancy(value: object) -> Constancy | None:
    """Whether a value counts by value: ``"fixed"`` if it can't change, ``"mutable"`` if it can.

    Constants are numbers, texts, dates and the like, enum members, functions and
    classes; containers are the built-in ones, named tuples and frozen dataclasses.
    None for anything else, and for a container that holds anything else or too much.
    """
    if type(value) in _SCALARS:
        return "fixed"
    leaves = 0
    verdict: Constancy = "fixed"
    stack: list[Any] = [value]
    while stack:
        part = stack.pop()
        inner = _inside(part)
        if inner is None:
            if not _is_leaf(part):
                return None
        else:
            stack.extend(inner)
            if type(part) in (list, dict, set):
                verdict = "mutable"
        leaves += 1
        if leaves > (MOST_LEAVES if verdict == "mutable" else MOST_FIXED_LEAVES):
            return None
    return verdict


def is_plain(value: object) -> bool:
    """Whether a value is made of nothing but scalars, lists, tuples, sets and dicts.

    Raises:
        RecursionError: It contains itself or is nested too deeply.
    """
    kind = type(value)
    if kind in SCALARS:
        return True
    if isinstance(value, dict):
        return kind is dict and all(map(is_plain, value)) and all(map(is_plain, value.values()))
    return kind in _SEQUENCES and all(map(is_plain, value))  # type: ignore[call-overload]  # a sequence


def _is_leaf(value: Any) -> bool:
    kind = type(value)
    if kind in _SCALARS or issubclass(kind, _CODE):
        return True
    if f"{kind.__module__}.{kind.__qualname__}" in _BY_PATH:
        return True
    if kind.__module__ == "numpy" and issubclass(kind, sys.modules["numpy"].generic):
        return True
    enum = sys.modules.get("enum")
    return enum is not None and issubclass(kind, enum.Enum)


def _inside(value: Any) -> list[Any] | None:
    """What a container holds; None for what is none."""
    kind = type(value)
    if kind in (list, tuple, set, frozenset):
        return list(value)
    if kind is dict:
        return [*value.keys(), *value.values()]
    if kind is slice:
        return [value.start, value.stop, value.step]
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return list(value)
    parameters = getattr(kind, "__dataclass_params__", None)
    if parameters is not None and parameters.frozen:
        return [getattr(value, name, None) for name in kind.__dataclass_fields__]  # pyright: ignore[reportAttributeAccessIssue]  # a frozen dataclass, by its parameters
    return None
