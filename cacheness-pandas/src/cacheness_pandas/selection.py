# SPDX-License-Identifier: MIT
"""Which columns and rows a caller wants of a stored table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cacheness.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    import pandas as pd

__all__ = ["PARTIAL", "Selection", "positions_of"]

PARTIAL = frozenset({"columns", "rows"})
"""The options that ask for a part of a payload."""
_KNOWN = PARTIAL | {"format"}


class Selection:
    """The columns and rows that ``options`` ask for.

    Args:
        options: ``columns``, a list of labels, and ``rows``, a slice by position; as in
            ``frame[columns].iloc[rows]``.

    Raises:
        ConfigError: An option is unknown or of the wrong type.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        unknown = sorted(set(options) - _KNOWN)
        if unknown:
            raise ConfigError(f"options {unknown} are unknown here: there are {sorted(_KNOWN)}")
        self.columns: list[Hashable] | None = _list_of(options.get("columns"))
        self.rows: slice | None = _slice_of(options.get("rows"))

    def span(self, count: int) -> tuple[slice | None, slice | None]:
        """The rows to read of ``count``, of step one, and what to take of those then."""
        if self.rows is None:
            return None, None
        wanted = range(*self.rows.indices(count))
        then = None if wanted.step == 1 else slice(None, None, wanted.step)
        if not wanted:
            return slice(0, 0), then
        first, last = min(wanted[0], wanted[-1]), max(wanted[0], wanted[-1])
        return slice(first, last + 1), then


def positions_of(columns: list[Hashable], labels: pd.Index[Any]) -> list[int]:
    """Where the columns lie, in the order asked for; all of a label that is there twice.

    Raises:
        ConfigError: There is no such column.
    """
    positions: list[int] = []
    for label in columns:
        try:
            found = labels.get_loc(label)
        except (KeyError, TypeError):
            raise ConfigError(f"the stored frame has no column {label!r}") from None
        if isinstance(found, int):
            positions.append(found)
        elif isinstance(found, slice):
            positions.extend(range(*found.indices(len(labels))))
        else:
            positions.extend(map(int, found.nonzero()[0]))
    return positions


def _list_of(columns: object) -> list[Hashable] | None:
    if columns is None or isinstance(columns, list):
        return columns
    raise ConfigError(f"option columns is a list of labels, not {columns!r}")


def _slice_of(rows: object) -> slice | None:
    if rows is None or isinstance(rows, slice):
        return rows
    raise ConfigError(f"option rows is a slice, not {rows!r}")
