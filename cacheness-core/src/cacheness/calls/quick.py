# SPDX-License-Identifier: MIT
"""Says of arguments whether a key of them takes microseconds."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["are_quick"]

_SCALARS = frozenset({int, float, bool, type(None), complex})
_TEXTS = frozenset({str, bytes})
_CONTAINERS = frozenset({tuple, list, set, frozenset})
_LONGEST_TEXT = 64 << 10
_MOST_ELEMENTS = 100
_DEEPEST = 3


def are_quick(values: Iterable[object], depth: int = 0) -> bool:
    """Whether all are short plain values; of any other nobody knows what is in it."""
    return all(_is_quick(value, depth) for value in values)


def _is_quick(value: object, depth: int) -> bool:
    kind = type(value)
    if kind in _SCALARS:
        return True
    if kind in _TEXTS:
        return len(value) <= _LONGEST_TEXT  # type: ignore[arg-type]  # a str or bytes
    if depth == _DEEPEST:
        return False
    if kind is dict:
        return len(value) <= _MOST_ELEMENTS and are_quick(  # type: ignore[arg-type]  # a dict
            [*value.keys(), *value.values()],  # type: ignore[attr-defined]
            depth + 1,
        )
    if kind in _CONTAINERS:
        return len(value) <= _MOST_ELEMENTS and are_quick(value, depth + 1)  # type: ignore[arg-type]
    return False
