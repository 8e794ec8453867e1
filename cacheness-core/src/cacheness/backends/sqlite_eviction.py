# SPDX-License-Identifier: MIT
"""What the SQLite backend evicts, read off an index and removed in one transaction."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cacheness.backends.sqlite_indexes import POLICIES, make_indexes
from cacheness.backends.sqlite_rows import RECORD, entry_of
from cacheness.filters import eviction_order as check_policy

if TYPE_CHECKING:
    from collections.abc import Callable

    from cacheness.backends.sqlite_connections import Connections
    from cacheness.entry import Entry

# Every statement is made of the column names of this package; values are always bound.
# ruff: noqa: S608

__all__ = ["evict", "victims"]


def victims(
    connections: Connections, namespace: str, policy: str, size: int, count: int
) -> list[Entry]:
    """As few as free ``size`` bytes and ``count`` entries, in the order of the policy."""
    check_policy(policy)
    make_indexes(connections, POLICIES[policy][:1])
    if size <= 0 and count <= 0:
        return []
    statement = f"SELECT {RECORD}, stored_bytes {_in_order(policy)}"
    chosen: list[Any] = []
    limit = max(64, count)
    while True:
        # No cursor stays open: what it has not read yet would keep the log from being
        # written back.
        rows = connections.rows(f"{statement} LIMIT {limit}", (namespace,))
        chosen = _as_few(rows, size, count)
        if len(chosen) < len(rows) or len(rows) < limit or _freed(rows) >= size:
            return [entry_of(row[:-1]) for row in chosen]
        limit *= 4


def evict(
    connections: Connections,
    namespace: str,
    policy: str,
    excess: Callable[[], tuple[int, int]],
) -> list[Entry]:
    """Remove what is over a bound; ``excess`` tells how many bytes and entries that is."""
    check_policy(policy)
    size, count = excess()
    if size <= 0 and count <= 0:
        return []
    make_indexes(connections, POLICIES[policy][:1])
    with connections.transaction() as execute:
        # Others may have evicted while this one waited for its turn.
        size, count = excess()
        if size <= 0 and count <= 0:
            return []
        cursor = execute(f"SELECT id, stored_bytes {_in_order(policy)}", (namespace,))
        ids = [row[0] for row in _as_few(cursor, size, count)]
        cursor.close()
        rows = execute(
            "DELETE FROM entries WHERE id IN (SELECT value FROM json_each(?)) "
            f"RETURNING {RECORD}, id",
            (json.dumps(ids),),
        ).fetchall()
    connections.wrote(len(rows))
    place = {row_id: number for number, row_id in enumerate(ids)}
    rows.sort(key=lambda row: place[row[-1]])
    return [entry_of(row[:-1]) for row in rows]


def _in_order(policy: str) -> str:
    return f"FROM entries WHERE namespace = ? AND pinned = 0 ORDER BY {', '.join(POLICIES[policy])}"


def _as_few(rows: Any, size: int, count: int) -> list[Any]:
    """The first rows, whose last column is a size, until both bounds are met."""
    chosen: list[Any] = []
    if size <= 0 and count <= 0:
        return chosen
    for row in rows:
        chosen.append(row)
        size -= row[-1]
        count -= 1
        if size <= 0 and count <= 0:
            break
    return chosen


def _freed(rows: list[Any]) -> int:
    return sum(row[-1] for row in rows)
