# SPDX-License-Identifier: MIT
"""The entries of a cache as a frame."""

from __future__ import annotations

import sys
from array import array
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from cacheness import UnifiedCache

__all__ = ["entries_frame"]

_TEXTS = (
    *("namespace", "cache_key", "prefix", "description", "object_type", "summary", "handler"),
    *("compressor", "function", "code_digest"),
)
_INTS = ("stored_bytes", "logical_bytes", "hits")
_TIMES = ("created_at", "renewed_at", "accessed_at", "expires_at")
_SECONDS = ("ttl_seconds", "cost_seconds")


def entries_frame(cache: UnifiedCache, /, **filters: Any) -> pd.DataFrame:
    """The entries that the filters select, a row each, oldest first; no payload is read.

    Columns are fields of `cacheness.Entry` under their names: texts; sizes and hits as
    ``int64``; times as UTC in microseconds, NaT where an entry never expires; seconds as
    ``float64``; ``pinned``; ``tags``, a tuple each. Then there is a column ``param.NAME`` for
    every parameter that any of the entries has, and ``meta.NAME`` for every field of
    custom metadata: ``boolean``, ``Int64``, ``float64`` or ``str`` where all its values are of
    that type, else of objects. Before pandas 3, texts are objects, too.

    Args:
        cache: The cache.
        filters: Those of `cacheness.UnifiedCache.entries`.

    Raises:
        TypeError: A filter means nothing.

    Example:
        >>> entries_frame(cache, prefix="runs").groupby("param.lr")["stored_bytes"].sum()
    """
    texts: dict[str, list[str | None]] = {name: [] for name in _TEXTS}
    ints = {name: array("q") for name in _INTS}
    floats = {name: array("d") for name in (*_TIMES, *_SECONDS)}
    pinned = array("b")
    tags: list[tuple[str, ...]] = []
    params, custom = _Sparse("param."), _Sparse("meta.")
    for at, entry in enumerate(cache.entries(**filters)):
        _append(entry, texts, _shared)
        _append(entry, ints, int)
        _append(entry, floats, _or_nan)
        pinned.append(entry.pinned)
        tags.append(entry.tags)
        params.add(at, entry.params)
        custom.add(at, entry.custom_metadata)
    columns: dict[str, Any] = {name: _text_column(values) for name, values in texts.items()}
    columns |= {name: np.array(values, np.int64) for name, values in ints.items()}
    columns |= {name: _times(floats[name]) for name in _TIMES}
    columns |= {name: np.array(floats[name], np.float64) for name in _SECONDS}
    columns["pinned"] = np.array(pinned, np.bool_)
    columns["tags"] = _objects(len(tags), enumerate(tags))
    frame = pd.DataFrame({**columns, **params.columns(len(tags)), **custom.columns(len(tags))})
    return frame.sort_values(["created_at", "cache_key"], ignore_index=True)


def _append(entry: object, columns: Mapping[str, Any], convert: Callable[[Any], Any]) -> None:
    for name, values in columns.items():
        values.append(convert(getattr(entry, name)))


def _shared(text: str | None) -> str | None:
    """The text, one object for all entries that have the same."""
    return None if text is None else sys.intern(text)


def _or_nan(seconds: float | None) -> float:
    return float("nan") if seconds is None else seconds


class _Sparse:
    """Columns that some rows have: of each name, which rows and what is there."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._found: dict[str, tuple[array[int], list[Any]]] = {}

    def add(self, at: int, values: Mapping[str, Any]) -> None:
        for name, value in values.items():
            rows, found = self._found.setdefault(name, (array("q"), []))
            rows.append(at)
            found.append(value)

    def columns(self, count: int) -> dict[str, Any]:
        return {
            f"{self._prefix}{name}": _column(_objects(count, zip(rows, found, strict=True)), found)
            for name, (rows, found) in self._found.items()
        }


def _objects(count: int, numbered: Iterable[tuple[int, Any]]) -> Any:
    values = np.full(count, None, object)
    for at, value in numbered:
        values[at] = value
    return values


def _column(values: Any, found: list[Any]) -> Any:
    """The values in the dtype of those that are there, where they are of one type."""
    kinds = set(map(type, found))
    if kinds == {str}:
        return _text_column(values)
    if kinds == {bool}:
        return pd.array(values, dtype="boolean")
    if kinds == {float}:
        return values.astype(np.float64)
    if kinds == {int} and all(-(1 << 63) <= value < 1 << 63 for value in found):
        return pd.array(values, dtype="Int64")
    return values


def _text_column(values: Any) -> Any:
    """Texts and None; before pandas 3 its ``str`` would make a text of None, too."""
    dtype = "str" if int(pd.__version__.partition(".")[0]) >= 3 else object
    return pd.Series(values, dtype=dtype).array


def _times(seconds: array[float]) -> pd.DatetimeIndex:
    micros = np.rint(np.array(seconds, np.float64) * 1e6)
    instants = np.where(np.isnan(micros), np.iinfo(np.int64).min, micros).astype(np.int64)
    return pd.DatetimeIndex(instants.view("M8[us]")).tz_localize("UTC")
