# SPDX-License-Identifier: MIT
"""Sums up for statistics what a SQLite file holds, without a row of it becoming Python's."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cacheness.backends.shapes import Held
    from cacheness.backends.sqlite_connections import Connections

__all__ = ["held"]

_HELD = (
    "SELECT function, CASE WHEN function IS NOT NULL AND json_valid(details) "
    "THEN json_extract(details, '$.code_digest') END, prefix, handler, "
    # The payload comes last in a row, so that nothing of it is read here.
    "CAST(created_at / 86400 AS INTEGER), count(*), total(stored_bytes), total(logical_bytes), "
    "total(pinned <> 0), total(expires_at <= ?), max(created_at) "
    "FROM entries WHERE namespace = ? GROUP BY 1, 2, 3, 4, 5"
)


def held(connections: Connections, namespace: str, now: float) -> list[Held]:
    """What there is of a namespace, as `MetadataBackend.held` gives it."""
    return [_sound(row) for row in connections.rows(_HELD, (now, namespace))]


def _sound(row: Any) -> Held:
    """The row, without what somebody may have written there that is of another type."""
    function, digest, prefix, handler, _, entries, stored, logical, pinned, expired, newest = row
    at = newest if type(newest) in (int, float) else 0.0
    return (
        function if type(function) is str else None,
        digest if type(digest) is str else None,
        prefix if type(prefix) is str else "",
        handler if type(handler) is str else "",
        entries,
        _whole(stored),
        _whole(logical),
        int(pinned),
        int(expired),
        at,
    )


def _whole(amount: float) -> int:
    try:
        return int(amount)
    except (OverflowError, ValueError):
        return 0  # a size that somebody made infinite
