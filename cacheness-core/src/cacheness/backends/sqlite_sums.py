# SPDX-License-Identifier: MIT
"""Sums up for statistics what a SQLite file holds; of many entries without visiting them.

As `sqlite_totals` does for the number of entries, ``sums`` has what the rows up to an id,
``summed.last_id``, are and take, by what statistics tell apart, and whoever asks adds the
younger ones. Rows that are summed and go, or change, are told to it by triggers. It is made
only once somebody asks for the statistics of many entries: until then no put pays for it.
"""

from __future__ import annotations

from cacheness.backends.sqlite_later import GROUP, SUMS, group_of
from cacheness.errors import BackendUnavailableError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cacheness.backends.shapes import Held
    from cacheness.backends.sqlite_connections import Connections

# Every statement is made of the column names of this package; values are always bound.
# ruff: noqa: S608

__all__ = ["forget_sums", "held"]

_MANY = 5000
"""Rows from which they are summed up for good, in 30 ms."""
_FEW = 1000
"""So many young rows are added up whenever somebody asks."""
_AT_ONCE = 20_000
"""Rows that one transaction sums up, in 0.1 s: others wait for it."""

_IS_MADE = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'sums'"
_LARGEST = "SELECT coalesce(max(id), 0) FROM entries"
_HOW_YOUNG = f"SELECT ({_LARGEST}) - last_id FROM summed"
_YOUNG = "id > (SELECT last_id FROM summed)"
# The payload comes last in a row, so that nothing of it is read here.
_ROW = f"{group_of('')}, 1, stored_bytes, logical_bytes, created_at"
_AMOUNTS = "sum(entries), total(stored), total(logical), total(entries * pinned), max(newest)"
_NAMES = f"{GROUP}, entries, stored, logical, newest"

_VISITED = (
    f"SELECT {GROUP}, {_AMOUNTS} FROM (SELECT {group_of('', named=True)}, 1 AS entries, "
    "stored_bytes AS stored, logical_bytes AS logical, created_at AS newest "
    "FROM entries WHERE namespace = ?) GROUP BY 1, 2, 3, 4, 5, 6"
)
_SUMMED = (
    f"SELECT {GROUP}, {_AMOUNTS} FROM (SELECT {_NAMES} FROM sums WHERE namespace = ? "
    f"UNION ALL SELECT {_ROW} FROM entries WHERE {_YOUNG} AND +namespace = ?) "
    "GROUP BY 1, 2, 3, 4, 5, 6 HAVING sum(entries) > 0"
)
_EXPIRED = "SELECT count(*) FROM entries WHERE namespace = ? AND expires_at <= ?"

_UP_TO = f"SELECT max(id) FROM (SELECT id FROM entries WHERE {_YOUNG} ORDER BY id LIMIT ?)"
_SUM_UP = (
    f"INSERT INTO sums (namespace, {_NAMES}) SELECT namespace, {group_of('', named=True)}, "
    "count(*), sum(stored_bytes), sum(logical_bytes), max(created_at) "
    f"FROM entries WHERE {_YOUNG} AND id <= ? GROUP BY 1, 2, 3, 4, 5, 6, 7 "
    f"ON CONFLICT (namespace, {GROUP}) DO UPDATE SET entries = entries + excluded.entries, "
    "stored = stored + excluded.stored, logical = logical + excluded.logical, "
    "newest = max(newest, excluded.newest)"
)


def held(connections: Connections, namespace: str, now: float) -> list[Held]:
    """What there is of a namespace, as `MetadataBackend.held` gives it.

    How many have expired stands in an item of its own.
    """
    if _has_sums(connections):
        rows = connections.rows(_SUMMED, (namespace, namespace))
    else:
        rows = connections.rows(_VISITED, (namespace,))
    (expired,) = connections.row(_EXPIRED, (namespace, now))
    return [*map(_sound, rows), (None, None, "", "", 0, 0, 0, 0, expired, 0.0)]


def forget_sums(connections: Connections) -> None:
    """Have all rows summed up anew, by whoever asks next."""
    if _is_made(connections):
        with connections.transaction() as execute:
            execute("DELETE FROM sums")
            execute("UPDATE summed SET last_id = 0")


def _has_sums(connections: Connections) -> bool:
    """Whether there are sums; they are made, or made to have nearly all rows, if they can be."""
    is_made = _is_made(connections)
    try:
        if is_made:
            (young,) = connections.row(_HOW_YOUNG, ())
        else:
            (young,) = connections.row(_LARGEST, ())
        if young > (_FEW if is_made else _MANY) and connections.may_begin():
            _sum_up(connections)
            is_made = True
    except BackendUnavailableError:
        is_made = _is_made(connections)  # another time: the answer is right all the same
    return is_made


def _is_made(connections: Connections) -> bool:
    return connections.row(_IS_MADE, ()) is not None


def _sum_up(connections: Connections) -> None:
    """Sum up the young rows, a part of them in each transaction."""
    up_to: int | None = 0
    while up_to is not None:
        with connections.transaction(timeout=0) as execute:
            if not up_to:
                for statement in SUMS:
                    execute(statement)
                execute("DELETE FROM sums WHERE entries <= 0")
            (up_to,) = execute(_UP_TO, (_AT_ONCE,)).fetchone()
            if up_to is not None:
                execute(_SUM_UP, (up_to,))
                execute("UPDATE summed SET last_id = ?", (up_to,))


def _sound(row: Any) -> Held:
    """The row, without what somebody may have written there that is of another type."""
    function, digest, prefix, handler, _, _, entries, stored, logical, pinned, newest = row
    at = newest if type(newest) in (int, float) else 0.0
    return (
        function if function and type(function) is str else None,
        digest if digest and type(digest) is str else None,
        prefix if type(prefix) is str else "",
        handler if type(handler) is str else "",
        entries,
        _whole(stored),
        _whole(logical),
        _whole(pinned),
        0,
        at,
    )


def _whole(amount: float) -> int:
    try:
        return int(amount)
    except (OverflowError, ValueError):
        return 0  # a size that somebody made infinite
