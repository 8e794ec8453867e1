# SPDX-License-Identifier: MIT
# ruff: noqa: S608  # what is put into SQL is a checked schema name; all values are bound
"""Many entries written in one transaction: streamed in, or given other keys."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import cache
from itertools import chain, islice
from typing import NamedTuple

from cacheness.backends.plain_entry import PlainEntry, in_full
from cacheness.disk.unrecorded import check_own
from cacheness.entry import Entry
from cacheness_postgres.copying import PLAIN_COLUMNS, copied
from cacheness_postgres.records import follow, make_tables, write_records
from cacheness_postgres.rows import COLUMNS, to_entry, to_row
from cacheness_postgres.statements import KINDS, returned, statements

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from cacheness.backends.in_order import InOrder
    from cacheness_postgres.connections import Database
    from cacheness_postgres.rows import Row
    from cacheness_postgres.session import Cursor, Session

__all__ = ["put_all", "put_in_order", "rename_all"]

_ROWS = 10_000
"""Rows that are written by one statement."""
_SURE = 100
"""Of more keys than these the server may take reading the whole table for cheaper than looking
each key up: it supposes that a page of the index comes from the disk each time."""
_MARK, _MARK_SQL = "\n", "E'\\n'"
"""Between keys that are sent as one text."""
_INCOMING_KINDS = ["int8", *("text" if kind == "jsonb" else kind for kind in KINDS)]
_ADDED_KINDS = ["bytea" if kind == "jsonb" else kind for kind in KINDS]
_DOCUMENTS = tuple(position for position, kind in enumerate(KINDS) if kind == "jsonb")


def put_all(
    database: Database,
    schema: str,
    entries: Iterable[Entry | PlainEntry],
    channel: str,
    sender: str,
) -> list[Entry]:
    """Record the entries in one transaction; give those that they displaced.

    Of several entries with one key the last stays, and the others count as displaced.
    """
    given = list(entries)
    latest = {entry.cache_key: entry for entry in given}
    displaced: list[Entry] = []
    if len(latest) < len(given):
        displaced += (in_full(one) for one in given if latest[one.cache_key] is not one)
    # All transactions take their row locks in this order, so none waits in a circle.
    keys = sorted(latest)
    ordered = [latest[key] for key in keys]
    recorded = [
        entry
        for entry in ordered
        if type(entry) is Entry and type(entry.custom_metadata) is not dict
    ]
    if recorded:
        make_tables(database, schema, (entry.custom_metadata for entry in recorded))
    namespaces = list({entry.namespace for entry in ordered})

    def merge(session: Session) -> list[Entry]:
        check_own(*(entry.blob for entry in ordered if type(entry) is Entry))
        found = _merge(session, schema, namespaces, keys, ordered, database.clock.distance)
        write_records(session.cursor, schema, recorded)
        # Of our own generation, it is our first try, acknowledged by a connection that broke.
        found = [old for old in found if old.generation != latest[old.cache_key].generation]
        if found:
            session.cursor.execute("SELECT pg_notify(%b, %b)", (channel, sender))
        return found

    return displaced + database.transact(merge) if ordered else displaced


def put_in_order(
    database: Database, schema: str, namespace: str, entries: InOrder, channel: str, sender: str
) -> list[Entry]:
    """`put_all` of entries that are made while the server takes those before them."""

    def merge(session: Session) -> list[Entry]:
        distance = database.clock.distance
        found = _merge(session, schema, [namespace], entries.keys, entries, distance)
        if found:
            session.cursor.execute("SELECT pg_notify(%b, %b)", (channel, sender))
        return found

    return database.transact(merge) if entries.keys else []


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


def _merge(
    session: Session,
    schema: str,
    namespaces: list[str],
    keys: Sequence[str],
    entries: Iterable[Entry | PlainEntry],
    distance: float,
) -> list[Entry]:
    """Write entries, which come in the order of their keys; give those that they displaced."""
    does = _statements(schema)
    if len(keys) > _SURE:
        session.cursor.execute("SET LOCAL enable_seqscan = off")
    displaced: list[Entry] = []
    coming = iter(entries)
    for start in range(0, len(keys), _ROWS):
        some = keys[start : start + _ROWS]
        standing = session.cursor.execute(
            does.lock, (namespaces, *_as_one_text(some)), prepare=False
        ).fetchall()
        _write(session.cursor, does, standing, islice(coming, len(some)), distance)
        displaced += (to_entry(row, distance) for row in standing)
    return displaced


def _write(
    cursor: Cursor,
    does: _Statements,
    standing: list[Row],
    entries: Iterator[Entry | PlainEntry],
    distance: float,
) -> None:
    """Replace what stands, which is locked, and copy the rest in, without a price for each row.

    What stands can't go while it is locked. A key that others insert between the steps
    violates the primary key; then the transaction is done again.
    """
    known = {row[:2] for row in standing}
    over: list[Row] = []

    def new() -> Iterator[Entry | PlainEntry]:
        for entry in entries:
            if (entry.namespace, entry.cache_key) in known:
                over.append(to_row(in_full(entry), distance))
            else:
                yield entry

    added = new() if known else entries
    first = next(added, None)
    if first is not None:
        _add(cursor, does, first, added, distance)
    if over:
        _replace(cursor, does, over)


def _as_one_text(keys: Sequence[str]) -> tuple[list[str] | None, str | None]:
    """The keys for ``lock``: as one text if that can be, which takes 0.2 µs a key, else as a list.

    psycopg and the server take 0.5 µs for each element of a list.
    """
    text = _MARK.join(keys)
    return (None, text) if text.count(_MARK) == len(keys) - 1 else (list(keys), None)


def _add(
    cursor: Cursor,
    does: _Statements,
    first: Entry | PlainEntry,
    others: Iterator[Entry | PlainEntry],
    distance: float,
) -> None:
    """Write rows of new keys; what is next is made while the server takes what was before."""
    unusual: list[Entry | PlainEntry] = [first]
    if type(first) is PlainEntry:
        unusual = []
        with cursor.copy(does.add_plain) as copy:
            for block in copied(chain((first,), others), distance, unusual):
                copy.write(block)
    if unusual:
        # It and all after it, since rows are locked in the order of their keys. Of rows that
        # are all different psycopg makes bytes faster than we can.
        with cursor.copy(does.add) as copy:
            copy.set_types(_ADDED_KINDS)
            for entry in chain(unusual, others):
                copy.write_row(_with_documents(to_row(in_full(entry), distance)))
    cursor.execute(does.tell, prepare=False)


def _replace(cursor: Cursor, does: _Statements, rows: list[Row]) -> None:
    """Write rows over those of their keys, which are locked."""
    batch = int.from_bytes(os.urandom(7), "big")
    with cursor.copy(does.send) as copy:
        copy.set_types(_INCOMING_KINDS)
        for row in rows:
            copy.write_row((batch, *row))
    cursor.execute(does.replace, (batch,), prepare=False)
    cursor.execute(does.clear, (batch,), prepare=False)


def _with_documents(row: Row) -> list[Any]:
    """A row whose JSON texts are JSONB as ``COPY`` takes it: a version, and the text."""
    values = list(row)
    for position in _DOCUMENTS:
        values[position] = b"\x01" + values[position].encode()
    return values


class _Statements(NamedTuple):
    lock: str  # namespaces, and as `_as_one_text`
    add: str
    add_plain: str
    send: str
    replace: str  # batch
    clear: str  # batch
    tell: str


@cache
def _statements(schema: str) -> _Statements:
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
        # As a subquery's, the keys are none of the planner's business, which would look at each.
        lock=f"SELECT {returned('e')} FROM {entries} AS e WHERE e.namespace = ANY(%b) "
        "AND e.cache_key = ANY((SELECT coalesce(%b::text[], "
        f'string_to_array(%b::text COLLATE "C", {_MARK_SQL})))::text[]) '
        "ORDER BY e.cache_key FOR UPDATE",
        add=f"COPY {entries} ({columns}) FROM STDIN (FORMAT BINARY)",
        add_plain=f"COPY {entries} ({', '.join(PLAIN_COLUMNS)}) FROM STDIN (FORMAT BINARY)",
        send=f"COPY {incoming} (batch, {columns}) FROM STDIN (FORMAT BINARY)",
        replace=f"UPDATE {entries} AS e SET {changes} FROM {incoming} AS i "
        f"WHERE i.batch = %b AND {same}",
        clear=f"DELETE FROM {incoming} WHERE batch = %b",
        tell=f"SELECT nextval('{schema}.added')",
    )
