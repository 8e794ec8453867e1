# SPDX-License-Identifier: MIT
# ruff: noqa: S608  # what is put into SQL is a checked schema name; all values are bound
"""Many entries written in one transaction: streamed in and merged, or given other keys."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import cache
from typing import NamedTuple

from cacheness_postgres.records import follow, make_tables, write_records
from cacheness_postgres.rows import COLUMNS, to_entry, to_row
from cacheness_postgres.statements import KINDS, returned, statements

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from cacheness.entry import Entry
    from cacheness_postgres.connections import Database
    from cacheness_postgres.session import Session

__all__ = ["put_all", "rename_all"]

_ROWS = 10_000
"""Rows that are merged by one statement."""
_INCOMING_KINDS = ["int8", *("text" if kind == "jsonb" else kind for kind in KINDS)]


class _OvertakenError(Exception):
    """Somebody inserted one of the keys while we looked for what stands."""


def put_all(
    database: Database, schema: str, entries: Iterable[Entry], channel: str, sender: str
) -> list[Entry]:
    """Record the entries in one transaction; give those that they displaced.

    Of several entries with one key the last stays, and the others count as displaced.
    """
    latest: dict[str, Entry] = {}
    displaced: list[Entry] = []
    for entry in entries:
        older = latest.pop(entry.cache_key, None)
        if older is not None:
            displaced.append(older)
        latest[entry.cache_key] = entry
    # All transactions take their row locks in this order, so none waits in a circle.
    ordered = [latest[key] for key in sorted(latest)]
    recorded = [entry for entry in ordered if type(entry.custom_metadata) is not dict]
    if recorded:
        make_tables(database, schema, (entry.custom_metadata for entry in recorded))

    def merge(session: Session) -> list[Entry]:
        found: list[Entry] = []
        for start in range(0, len(ordered), _ROWS):
            found += _merge(
                session, schema, ordered[start : start + _ROWS], database.clock.distance
            )
        write_records(session.cursor, schema, recorded)
        if found:
            session.cursor.execute("SELECT pg_notify(%b, %b)", (channel, sender))
        return found

    while ordered:
        try:
            return displaced + database.transact(merge)
        except _OvertakenError:
            continue
    return displaced


def rename_all(
    database: Database,
    schema: str,
    namespace: str,
    renames: Iterable[tuple[str, int, Mapping[str, Any]]],
    told: tuple[str, str],
) -> list[str]:
    """Give entries other keys, all in one transaction; give the keys of those that got them.

    All rows that are named are read at first, and locked, so that each rename is decided on
    what the ones before it left. A key that somebody else inserts meanwhile violates the
    primary key; then the transaction is done again.
    """
    asked = list(renames)
    names = sorted({name for key, _, to in asked for name in (key, to["cache_key"])})
    does = statements(schema)

    def rename(session: Session) -> list[str]:
        cursor, distance = session.cursor, database.clock.distance
        rows = cursor.execute(does.get_locked, (namespace, names), prepare=False).fetchall()
        standing = {row[1]: to_entry(row, distance) for row in rows}
        moves: list[tuple[Entry, Entry]] = []
        for key, generation, changes in asked:
            old = standing.get(key)
            if old is None or old.generation != generation or changes["cache_key"] in standing:
                continue
            new = replace(standing.pop(key), **changes)
            standing[new.cache_key] = new
            moves.append((old, new))
        for old, new in moves:
            follow(cursor, schema, old, {"generation": new.generation})
        values = [(*to_row(new, distance), namespace, old.cache_key) for old, new in moves]
        if values:
            cursor.executemany(does.rewrite, values)
            cursor.execute(does.notify, told)
        return [new.cache_key for _, new in moves]

    return database.transact(rename) if asked else []


def _merge(session: Session, schema: str, entries: list[Entry], distance: float) -> list[Entry]:
    batch = int.from_bytes(os.urandom(7), "big")
    does = _statements(schema)
    cursor = session.cursor
    with cursor.copy(does.copy) as copy:
        copy.set_types(_INCOMING_KINDS)
        for entry in entries:
            copy.write_row((batch, *to_row(entry, distance)))
    standing = cursor.execute(does.lock, (batch,), prepare=False).fetchall()
    replaced = cursor.execute(does.replace, (batch,), prepare=False).rowcount if standing else 0
    inserted = cursor.execute(does.insert, (batch,), prepare=False).rowcount
    if replaced != len(standing) or replaced + inserted != len(entries):
        raise _OvertakenError
    cursor.execute(does.clear, (batch,), prepare=False)
    cursor.execute(does.tell, prepare=False)
    return [to_entry(row, distance) for row in standing]


class _Statements(NamedTuple):
    copy: str
    lock: str
    replace: str
    insert: str
    clear: str
    tell: str


@cache
def _statements(schema: str) -> _Statements:
    """The steps of a merge, each for one batch.

    What stands is locked and replaced, what is missing inserted, without the price of
    ``ON CONFLICT`` for each row. Keys that others insert between two steps make the numbers
    differ, or violate the primary key; then the transaction is done again.
    """
    entries, incoming = f"{schema}.entries", f"{schema}.incoming"
    columns = ", ".join(COLUMNS)
    values = {
        name: f"i.{name}::jsonb" if kind == "jsonb" else f"i.{name}"
        for name, kind in zip(COLUMNS, KINDS, strict=True)
    }
    changes = ", ".join(
        f"{name} = {value}"
        for name, value in values.items()
        if name not in ("namespace", "cache_key")
    )
    same = "e.namespace = i.namespace AND e.cache_key = i.cache_key"
    return _Statements(
        copy=f"COPY {incoming} (batch, {columns}) FROM STDIN (FORMAT BINARY)",
        lock=f"SELECT {returned('e')} FROM {entries} AS e JOIN {incoming} AS i ON {same} "
        "WHERE i.batch = %b ORDER BY e.cache_key FOR UPDATE OF e",
        replace=f"UPDATE {entries} AS e SET {changes} FROM {incoming} AS i "
        f"WHERE i.batch = %b AND {same}",
        insert=f"INSERT INTO {entries} ({columns}) SELECT {', '.join(values.values())} "
        f"FROM {incoming} AS i WHERE i.batch = %b "
        f"AND NOT EXISTS (SELECT FROM {entries} AS e WHERE {same}) ORDER BY i.cache_key",
        clear=f"DELETE FROM {incoming} WHERE batch = %b",
        tell=f"SELECT nextval('{schema}.added')",
    )
