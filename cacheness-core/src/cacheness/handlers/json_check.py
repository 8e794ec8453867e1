# SPDX-License-Identifier: MIT
"""Tells which values JSON keeps exactly."""

from __future__ import annotations

from math import isfinite

from cacheness.errors import CannotHandleError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["check_json", "is_shallow"]

_CONTAINERS = frozenset({dict, list})
_FLOATS = frozenset({float})
_FLAT = frozenset({str, int, float, bool, type(None)})
_FEW = 32
_EASY = _FLAT - _FLOATS
_LONG = 64
_DEEPEST = 250  # levels of lists and dicts; orjson writes 254


def is_shallow(obj: Any) -> bool:
    """[hot] Whether JSON is sure to keep a value, but for what orjson tells by itself.

    That refuses keys that are no `str` itself, and has null for floats that are not finite. True
    only where there is at most one list in a list or dict, so that none occurs twice. Of few
    values a loop takes two thirds of what one in C takes, of many a fifth more.
    """
    kind = type(obj)
    if kind is not dict and kind is not list:
        return kind in _FLAT
    values = obj.values() if kind is dict else obj
    if len(values) > _FEW:
        return _FLAT.issuperset(map(type, values))
    inner: list[Any] | None = None
    try:
        for value in values:
            kind = type(value)
            if kind not in _FLAT:
                if kind is not list or inner is not None:
                    return False
                inner = value
    except RuntimeError:
        return False  # another thread changes the dict
    return inner is None or _FLAT.issuperset(map(type, inner))


def check_json(obj: Any) -> set[int]:
    """Make sure that JSON keeps a dict, a list or one of what may stand in them.

    A dict of three fields takes 0.8 µs, a million numbers 30 ms. Integers of more than 64
    bits and halves of surrogate pairs pass; orjson refuses them.

    Returns:
        The ids of the lists and dicts in it.

    Raises:
        CannotHandleError: Something in it would not come back as it was.
    """
    if type(obj) not in _CONTAINERS:
        if type(obj) is float and not isfinite(obj):
            raise CannotHandleError("a float that is not finite")
        return set()
    level = [obj]
    seen = {id(obj)}
    for _ in range(_DEEPEST):
        inner: list[Any] = []
        for container in level:
            _check_values(container, inner)
        if not inner:
            return seen
        count = len(seen) + len(inner)
        seen.update(map(id, inner))
        if len(seen) != count:
            raise CannotHandleError("a list or dict that occurs twice")
        level = inner
    raise CannotHandleError(f"more than {_DEEPEST} levels")


def _check_values(container: Any, inner: list[Any]) -> None:
    """Check all but the containers in a container, and add these to ``inner``."""
    values = container
    if type(container) is dict:
        for key in container:
            if type(key) is not str:
                raise CannotHandleError("a dict with keys that are no strings")
        values = container.values()
    elif len(container) > _LONG and _is_plain(container):
        return
    for value in values:
        kind = type(value)
        if kind is str or kind is int or kind is bool or value is None:
            continue
        if kind is float:
            if not isfinite(value):
                raise CannotHandleError("a float that is not finite")
        elif kind is dict or kind is list:
            inner.append(value)
        else:
            raise CannotHandleError(f"a {kind.__qualname__}, which JSON lacks")


def _is_plain(values: list[Any]) -> bool:
    """Whether JSON keeps all values of a long list, looked at by loops in C."""
    kinds = set(map(type, values))
    return kinds <= _EASY or (kinds <= _FLOATS and all(map(isfinite, values)))
