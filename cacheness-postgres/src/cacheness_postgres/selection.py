# SPDX-License-Identifier: MIT
"""What filters select, and what eviction takes first, done in the database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    ColumnElement,
    Select,
    and_,
    bindparam,
    cast,
    false,
    func,
    literal_column,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Double, LargeBinary, Text

from cacheness.filters import eviction_order as check_policy
from cacheness_postgres.queries import compiled, translate
from cacheness_postgres.rows import COLUMNS, to_entry, to_summary
from cacheness_postgres.statements import statements
from cacheness_postgres.tables import eviction_order, tables
from cacheness_postgres.where import as_text, asking, shifted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import FromClause

    from cacheness.entry import Entry
    from cacheness.filters import Filter
    from cacheness_postgres.connections import Database
    from cacheness_postgres.session import Session

    Row = tuple[Any, ...]

__all__ = [
    "delete",
    "key_query",
    "select_keys",
    "select_where",
    "touch",
    "victim_query",
    "victims",
]

_BATCH = 2_000
_FIRST_VICTIMS = 64
_MARK = "cacheness_condition"
"""Stands where a condition goes, which SQLAlchemy would quote again."""


def select_keys(database: Database, schema: str, namespace: str, filter: Filter) -> list[str]:
    """The cache keys of the entries that the filter selects, oldest first."""
    distance = database.clock.distance
    where = translate(filter, schema, distance)
    if where.is_exact:
        rows = database.fetch(*key_query(schema, namespace, filter, distance), prepare=False)
        found = [(row[0], row[1]) for row in rows]
    else:
        found = []
    for summary in _looked_at(database, schema, namespace, filter):
        found.append((summary["created_at"] + distance, summary["cache_key"]))
    found.sort()
    return [key for _, key in found]


def select_where(
    database: Database, schema: str, namespace: str, filter: Filter, expression: object
) -> list[str]:
    """The cache keys of what the filter and the condition select, oldest first.

    Raises:
        TypeError: The expression is no condition of SQLAlchemy's.
        ConfigError: It can't be evaluated on the table ``entries``.
    """
    if not isinstance(expression, ColumnElement):
        raise TypeError(
            f"where={expression!r} is no condition: give one on the columns of "
            "cacheness.backends.sql.entries, such as entries.c.hits > 5"
        )
    distance = database.clock.distance
    condition, bound = as_text(shifted(expression, distance), "where_")
    column = tables(schema).entries.c
    statement = (
        select(column.created_at, column.cache_key)
        .where(column.namespace == namespace, literal_column(_MARK))
        .order_by(column.created_at, column.cache_key)
    )
    filtered = translate(filter, schema, distance)
    certain = and_(column.exact.is_(None), filtered.clause) if filtered.is_exact else false()
    doubtful = [summary["cache_key"] for summary in _looked_at(database, schema, namespace, filter)]
    keys = bindparam(None, doubtful, type_=ARRAY(Text()))
    text, values = compiled(statement.where(or_(certain, column.cache_key == func.any(keys))))
    with asking(expression):
        rows = database.fetch(
            text.replace(_MARK, f"({condition})"), {**values, **bound}, prepare=False
        )
    return [row[1] for row in rows]


def key_query(
    schema: str, namespace: str, filter: Filter, distance: float
) -> tuple[str, dict[str, Any]]:
    """The statement that finds the exact rows: its text and its values."""
    column = tables(schema).entries.c
    statement = (
        select(column.created_at, column.cache_key)
        .where(column.namespace == namespace, column.exact.is_(None))
        .where(translate(filter, schema, distance).clause)
        .order_by(column.created_at, column.cache_key)
    )
    return compiled(statement)


def delete(
    database: Database, schema: str, namespace: str, filter: Filter, told: tuple[str, str]
) -> list[Entry]:
    """Remove what the filter selects; give what was removed."""
    distance = database.clock.distance
    where = translate(filter, schema, distance)
    entries = tables(schema).entries

    def work(session: Session) -> list[Entry]:
        removed: list[Row] = []
        if where.is_exact:
            column = entries.c
            chosen = (
                entries.delete()
                .where(column.namespace == namespace, column.exact.is_(None), where.clause)
                .returning(*_returned(entries))
            )
            text, values = compiled(chosen)
            removed += session.cursor.execute(text, values, prepare=False).fetchall()
        for some in _batches(_looked_at(database, schema, namespace, filter, session)):
            keys = [summary["cache_key"] for summary in some]
            generations = [summary["generation"] for summary in some]
            found = session.cursor.execute(
                statements(schema).delete_those,
                (keys, generations, namespace, *told),
                prepare=False,
            ).fetchall()
            removed += [row[1:] for row in found]
        if removed:
            session.cursor.execute(statements(schema).notify, told)
        return [to_entry(row, distance) for row in removed]

    return database.transact(work)


def touch(
    database: Database,
    schema: str,
    namespace: str,
    filter: Filter,
    now: float,
    told: tuple[str, str],
) -> int:
    """Renew what the filter selects as of ``now``, which is a time of the server.

    What has expired by then stays as it is.
    """
    where = translate(filter, schema, database.clock.distance)
    entries = tables(schema).entries
    column = entries.c
    at: ColumnElement[float] = bindparam(None, now, type_=Double())
    renew = (
        update(entries)
        .values(
            accessed_at=at,
            renewed_at=at,
            expires_at=at + column.ttl_seconds,
            stale_until=at + column.ttl_seconds + (column.stale_until - column.expires_at),
        )
        .where(column.namespace == namespace)
        .where(or_(column.expires_at.is_(None), column.expires_at > at))
    )

    def work(session: Session) -> int:
        touched = 0
        if where.is_exact:
            touched += _changed(session, renew.where(column.exact.is_(None), where.clause))
        for some in _batches(_looked_at(database, schema, namespace, filter, session)):
            keys = bindparam(None, [summary["cache_key"] for summary in some], type_=ARRAY(Text()))
            touched += _changed(session, renew.where(column.cache_key == func.any(keys)))
        if touched:
            session.cursor.execute(statements(schema).notify, told)
        return touched

    return database.transact(work)


def victims(
    database: Database, schema: str, namespace: str, policy: str, size: int, count: int
) -> list[Entry]:
    """What eviction removes first: as few as free ``size`` bytes and ``count`` entries.

    Read off an index, in pages that grow. Entries that another machine is about to remove
    or replace are passed over.
    """
    check_policy(policy)
    chosen: list[Entry] = []
    page = max(_FIRST_VICTIMS, count)
    while size > 0 or count > 0:
        rows = database.fetch(
            *victim_query(schema, namespace, policy, len(chosen), page), prepare=False
        )
        for row in rows:
            if size <= 0 and count <= 0:
                return chosen
            entry = to_entry(row, database.clock.distance)
            chosen.append(entry)
            size -= entry.stored_bytes
            count -= 1
        if len(rows) < page:
            return chosen
        page *= 2
    return chosen


def victim_query(
    schema: str, namespace: str, policy: str, offset: int, limit: int
) -> tuple[str, dict[str, Any]]:
    """The statement that gives a page of what eviction removes first: text and values."""
    entries = tables(schema).entries
    column = entries.c
    statement = (
        select(*_returned(entries))
        .where(column.namespace == namespace, ~column.pinned)
        .order_by(*eviction_order(entries, policy))
        .offset(offset)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return compiled(statement)


def _looked_at(
    database: Database,
    schema: str,
    namespace: str,
    filter: Filter,
    session: Session | None = None,
) -> Iterator[dict[str, Any]]:
    """What the filter selects of the rows on which SQL can't have the last word.

    These are the inexact rows, and all that SQL lets through where it can't express the
    filter. Read in pages, in the session's transaction where one is given, and then locked.
    """
    distance = database.clock.distance
    where = translate(filter, schema, distance)
    entries = tables(schema).entries
    column = entries.c
    doubtful = column.exact.isnot(None)
    statement = (
        select(*_returned(entries))
        .where(column.namespace == namespace)
        .where(doubtful if where.is_exact else where.clause | doubtful)
        .order_by(column.cache_key)
        .limit(_BATCH)
    )
    last = ""
    while True:
        text, values = compiled(_locking(statement.where(column.cache_key > last), session))
        if session is None:
            rows = database.fetch(text, values, prepare=False)
        else:
            rows = session.cursor.execute(text, values, prepare=False).fetchall()
        for row in rows:
            summary = to_summary(row, distance)
            if filter.matches(summary):
                yield summary
        if len(rows) < _BATCH:
            return
        last = rows[-1][1]


def _locking(statement: Select[Any], session: Session | None) -> Select[Any]:
    return statement if session is None else statement.with_for_update()


def _returned(entries: FromClause) -> list[ColumnElement[Any]]:
    return [
        cast(null(), LargeBinary).label("inline") if name == "inline" else entries.c[name]
        for name in COLUMNS
    ]


def _changed(session: Session, statement: Any) -> int:
    text, values = compiled(statement)
    return session.cursor.execute(text, values, prepare=False).rowcount


def _batches(summaries: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    some: list[dict[str, Any]] = []
    for summary in summaries:
        some.append(summary)
        if len(some) == _BATCH:
            yield some
            some = []
    if some:
        yield some
