# SPDX-License-Identifier: MIT
"""How many entries a SQLite file holds, of what size, without visiting them.

A counter that every put adds to would cost it a page more to write, a fifth of all it
costs. So ``totals`` counts the rows up to an id, ``counted.last_id``, and whoever asks
adds the few that are younger; when they have become many, they are counted in. Rows that
are counted and go, or change their size, are told to ``totals`` by triggers, in the
transaction in which they do.

Ids must not be used twice on the young side. SQLite gives the largest id and one, so it is
enough that the row of ``last_id`` stands, or that it is zero.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cacheness.backends.sqlite_connections import Connections, Execute

# Every statement is made of the column names of this package; values are always bound.
# ruff: noqa: S608

__all__ = ["count", "count_in", "namespaces", "recount", "total_size"]

_FEW = 1000
"""So many young rows are added up whenever somebody asks."""

_YOUNG = "FROM entries WHERE id > (SELECT last_id FROM counted)"
_COUNT = (
    "SELECT coalesce((SELECT {column} FROM totals WHERE namespace = ?), 0), "
    f"(SELECT {{total}} {_YOUNG} AND +namespace = ?), "
    f"(SELECT max(id) FROM entries) - (SELECT last_id FROM counted)"
)
_ENTRIES = _COUNT.format(column="entries", total="count(*)")
_BYTES = _COUNT.format(column="bytes", total="coalesce(sum(stored_bytes), 0)")
_NAMESPACES = (
    "SELECT namespace FROM totals WHERE entries > 0 "
    f"UNION SELECT namespace {_YOUNG} ORDER BY namespace"
)
_ADD = (
    "ON CONFLICT (namespace) DO UPDATE SET "
    "entries = entries + excluded.entries, bytes = bytes + excluded.bytes"
)
_HOW_MANY = f"SELECT count(*), total(namespace = ?), coalesce(sum(stored_bytes), 0) {_YOUNG}"
_COUNT_IN_MINE = f"INSERT INTO totals VALUES (?, ?, ?) {_ADD}"
_COUNT_IN = (
    f"INSERT INTO totals SELECT +namespace, count(*), sum(stored_bytes) {_YOUNG} "
    f"GROUP BY +namespace {_ADD}"
)
_LAST = "UPDATE counted SET last_id = coalesce((SELECT max(id) FROM entries), 0)"


def count(connections: Connections, namespace: str) -> int:
    """The number of entries of a namespace."""
    return _sum(connections, _ENTRIES, namespace)


def total_size(connections: Connections, namespace: str) -> int:
    """The bytes of all payloads of a namespace."""
    return _sum(connections, _BYTES, namespace)


def namespaces(connections: Connections) -> list[str]:
    """The namespaces that hold entries, sorted."""
    return [row[0] for row in connections.rows(_NAMESPACES)]


def count_in(execute: Execute, namespace: str) -> None:
    """Count the young rows in, within a transaction; the namespace is likely theirs."""
    number, mine, size = execute(_HOW_MANY, (namespace,)).fetchone()
    if number == mine:  # which needs no sorting
        execute(_COUNT_IN_MINE, (namespace, number, size))
    else:
        execute(_COUNT_IN)
    execute(_LAST)


def recount(connections: Connections) -> None:
    """Count every row anew."""
    with connections.transaction() as execute:
        execute("DELETE FROM totals")
        execute("UPDATE counted SET last_id = 0")
        execute(_COUNT_IN)
        execute(_LAST)


def _sum(connections: Connections, statement: str, namespace: str) -> int:
    counted, young, how_young = connections.row(statement, (namespace, namespace))
    if (how_young or 0) > _FEW and connections.may_begin():
        from cacheness.errors import BackendUnavailableError

        try:
            with connections.transaction(timeout=0) as execute:
                count_in(execute, namespace)
        except BackendUnavailableError:
            pass  # another time: the answer is right all the same
    try:
        return int(counted + young)
    except (OverflowError, ValueError):
        return 0  # a size that somebody made infinite
