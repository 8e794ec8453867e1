# SPDX-License-Identifier: MIT
"""What reads did, written to a SQLite file: a script pays for it at its exit."""

from __future__ import annotations

from cacheness.worth import cost_rank

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cacheness.backends.shapes import Labels
    from cacheness.backends.sqlite_connections import Connections

# Every statement is made of the column names of this package; values are always bound.
# ruff: noqa: S608

__all__ = ["add_statistics", "labels", "read_statistics", "record_hits"]

_ADD_STATISTIC = (
    "INSERT INTO notes (namespace, kind, name, value) VALUES (?, 'statistics', ?, ?) "
    "ON CONFLICT (namespace, kind, name) DO UPDATE SET "
    "value = printf('%!.17g', CAST(value AS REAL) + CAST(excluded.value AS REAL))"
)

_MOST = 500
"""Keys that one statement asks for: older versions of SQLite take 999 values."""


def record_hits(
    connections: Connections, namespace: str, hits: Mapping[str, tuple[int, float]]
) -> None:
    """Add to the hits of entries."""
    connections.function("cost_rank", 4, cost_rank)
    statement = (
        "UPDATE entries SET hits = hits + ?, accessed_at = max(accessed_at, ?), worth = "
        "cost_rank(cost_seconds, stored_bytes, hits + ?, max(accessed_at, ?)) "
        "WHERE cache_key = ? AND namespace = ?"
    )
    rows = [(count, at, count, at, cache_key, namespace) for cache_key, (count, at) in hits.items()]
    with connections.transaction(pages=len(rows)):
        connections.connection().executemany(statement, rows)


def labels(
    connections: Connections, namespace: str, cache_keys: Sequence[str]
) -> dict[str, Labels]:
    """What statistics group the entries by."""
    found: dict[str, Labels] = {}
    for start in range(0, len(cache_keys), _MOST):
        asked = cache_keys[start : start + _MOST]
        statement = (
            "SELECT cache_key, function, prefix, handler, cost_seconds FROM entries "
            f"WHERE namespace = ? AND cache_key IN ({', '.join('?' * len(asked))})"
        )
        found |= {row[0]: row[1:] for row in connections.rows(statement, (namespace, *asked))}
    return found


def add_statistics(connections: Connections, namespace: str, amounts: Mapping[str, float]) -> None:
    """Add to the sums of a store, each by its name."""
    with connections.transaction() as execute:
        for name, amount in amounts.items():
            execute(_ADD_STATISTIC, (namespace, name, repr(float(amount))))


def read_statistics(connections: Connections, namespace: str) -> dict[str, float]:
    """The sums, by name; what is no number is left out."""
    from cacheness.noted import is_number

    sums = {}
    statement = "SELECT name, value FROM notes WHERE namespace = ? AND kind = 'statistics'"
    for name, value in connections.rows(statement, (namespace,)):
        try:
            amount = float(value)
        except (TypeError, ValueError):
            continue
        if is_number(amount) and isinstance(name, str):
            sums[name] = amount
    return sums
