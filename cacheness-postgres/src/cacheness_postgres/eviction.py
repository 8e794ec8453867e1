# SPDX-License-Identifier: MIT
"""Eviction by one machine at a time: decided, chosen and removed in one transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cacheness.filters import eviction_order as check_policy
from cacheness_postgres.rows import to_entry
from cacheness_postgres.schema import advisory_key
from cacheness_postgres.selection import victim_query
from cacheness_postgres.statements import statements

if TYPE_CHECKING:
    from collections.abc import Callable

    from cacheness.entry import Entry
    from cacheness_postgres.connections import Database
    from cacheness_postgres.session import Session

__all__ = ["evict"]

_FIRST_PAGE = 256
_KEY, _GENERATION, _BYTES = 1, 2, 12
"""Where these stand in a row."""


def evict(
    database: Database,
    schema: str,
    namespace: str,
    policy: str,
    excess: Callable[[int, int], tuple[int, int]],
    told: tuple[str, str],
) -> list[Entry]:
    """Remove what is over a bound, in the order of the policy.

    Args:
        database: The connections.
        schema: Where the tables are.
        namespace: Of which entries.
        policy: What goes first.
        excess: How many bytes and entries are too many, of how many there are.
        told: The channel and the sender of the news.
    """
    check_policy(policy)
    totals = statements(schema).totals
    if not any(excess(*database.fetch(totals, (namespace,))[0])):
        return []

    def work(session: Session) -> list[Entry]:
        cursor = session.cursor
        # Whoever waited here counts anew, in a statement that sees what the others removed.
        number = advisory_key("evict", schema, namespace)
        cursor.execute(f"SELECT pg_advisory_xact_lock({number})", prepare=False)
        row = cursor.execute(totals, (namespace,), prepare=False).fetchone() or (0, 0)
        chosen = _choose(session, schema, namespace, policy, *excess(*row))
        if not chosen:
            return []
        keys, generations = zip(*((row[_KEY], row[_GENERATION]) for row in chosen), strict=True)
        cursor.execute(
            statements(schema).delete_those,
            (list(keys), list(generations), namespace, *told),
            prepare=False,
        )
        return [to_entry(row, database.clock.distance) for row in chosen]

    return database.transact(work)


def _choose(
    session: Session, schema: str, namespace: str, policy: str, size: int, count: int
) -> list[tuple[Any, ...]]:
    """As few rows as free so much, which are locked now.

    What others have locked is being replaced, used or removed, and is passed over.
    """
    chosen: list[tuple[Any, ...]] = []
    page = max(_FIRST_PAGE, count)
    while size > 0 or count > 0:
        statement, values = victim_query(schema, namespace, policy, len(chosen), page)
        rows = session.cursor.execute(statement, values, prepare=False).fetchall()
        for row in rows:
            if size <= 0 and count <= 0:
                break
            chosen.append(row)
            size -= row[_BYTES]
            count -= 1
        if len(rows) < page:
            break
        page *= 2
    return chosen
