# SPDX-License-Identifier: MIT
"""What the SQLite backend does with many entries at once, in one transaction each."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import chain, groupby, islice
from typing import TYPE_CHECKING, Any

from cacheness.backends.plain_entry import PlainEntry
from cacheness.backends.sqlite_filters import Selection
from cacheness.backends.sqlite_indexes import INDEXES, make_indexes
from cacheness.backends.sqlite_rows import (
    ALWAYS,
    EXPIRING,
    RECORD,
    REMOVED,
    RENEW,
    described,
    displaced_rows,
    entry_of,
    plain_row,
    put_statement,
    renewed_at,
    row_of,
    summary_of,
)
from cacheness.backends.sqlite_totals import count_in
from cacheness.disk.unrecorded import check_own

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from cacheness.backends.shapes import Removed
    from cacheness.backends.sqlite_connections import Connections
    from cacheness.entry import Entry
    from cacheness.filters import Filter

# Every statement is made of the column names of this package; values are always bound.
# ruff: noqa: S608

__all__ = [
    "delete_entries",
    "delete_expired",
    "delete_generations",
    "delete_where",
    "get_entries",
    "iter_blob_names",
    "iter_keys",
    "iter_summaries",
    "put_entries",
    "query",
    "remove_generations",
    "remove_where",
    "rename_entries",
    "touch",
]

_MINE = "WHERE namespace = ?"
_THESE = f"{_MINE} AND cache_key IN (SELECT value FROM json_each(?))"
_KEYED = "WHERE cache_key = ? AND namespace = ?"
_OLDEST_FIRST = "ORDER BY created_at, cache_key"
# The plus keeps SQLite from an index of namespaces, from which it would have to sort.
_NEXT = "FROM entries WHERE +namespace = ? AND id > ? ORDER BY id LIMIT 500"

_AT_ONCE = 1000
"""Rows that are made before the transaction begins, and for each statement in it."""


def put_entries(
    connections: Connections, namespace: str, entries: Iterable[Entry | PlainEntry]
) -> list[Entry]:
    """Put all of them; give what they displaced."""
    held = connections.mine()  # whose connection is closed in a child that is forked from here on
    typed: list[Entry] = []
    rows = map(_row, _own(entries, typed))
    # Most batches are whole before others have to wait for them.
    first = list(islice(rows, _AT_ONCE))
    displaced = held.displaced
    mark = len(displaced)
    number = 0
    try:
        with connections.transaction() as execute:
            many = held.connection.executemany
            for names, alike in groupby(chain(first, rows), lambda row: row[0]):
                number += many(put_statement(names), (values for _, values in alike)).rowcount
            if typed:
                from cacheness.backends.sqlite_records import write_record

                for entry in typed:
                    write_record(execute, entry)
            if number >= _AT_ONCE:
                count_in(execute, namespace)
        connections.wrote(number)
        return list(map(entry_of, displaced_rows(displaced[mark:])))
    finally:
        del displaced[mark:]


def _row(entry: Entry | PlainEntry) -> tuple[tuple[str, ...], tuple[Any, ...]]:
    """[hot] `row_of` of an entry that may be said in short."""
    if isinstance(entry, PlainEntry):
        return ALWAYS if entry.ttl_seconds is None else EXPIRING, plain_row(entry)[1]
    return row_of(entry)


def _own(entries: Iterable[Entry | PlainEntry], typed: list[Entry]) -> Iterator[Entry | PlainEntry]:
    """The entries; those whose custom metadata is a record go into the list, too.

    Raises:
        ForkedError: A child goes on with what its parent began.
    """
    for entry in entries:
        if not isinstance(entry, PlainEntry):
            check_own(entry.blob)
            if type(entry.custom_metadata) is not dict:
                typed.append(replace(entry, inline=None))
        yield entry


def get_entries(
    connections: Connections, namespace: str, cache_keys: Iterable[str]
) -> dict[str, Entry]:
    """Those that there are, with their payloads."""
    statement = f"SELECT {RECORD}, inline FROM entries {_THESE}"
    rows = connections.rows(statement, (namespace, json.dumps(list(cache_keys))))
    return {row[1]: entry_of(row[:-1], row[-1]) for row in rows}


def iter_blob_names(connections: Connections) -> Iterator[str]:
    """The blobs of every namespace, a page at a time."""
    statement = (
        "SELECT id, blob FROM entries WHERE id > ? AND blob IS NOT NULL ORDER BY id LIMIT 2000"
    )
    last = -1
    while rows := connections.rows(statement, (last,)):
        for row in rows:
            if type(row[1]) is str:
                yield row[1]
        last = rows[-1][0]


def delete_entries(
    connections: Connections, namespace: str, cache_keys: Iterable[str]
) -> list[Entry]:
    """Remove those that there are."""
    keys = list(cache_keys)
    statement = f"DELETE FROM entries {_THESE} RETURNING {RECORD}"
    rows = connections.rows(statement, (namespace, json.dumps(keys)), pages=len(keys))
    return list(map(entry_of, rows))


def delete_generations(
    connections: Connections, namespace: str, generations: Mapping[str, int]
) -> list[Entry]:
    """Remove those that still are of these generations."""
    return list(map(entry_of, _delete_those(connections, namespace, generations, RECORD)))


def remove_generations(
    connections: Connections, namespace: str, generations: Mapping[str, int]
) -> list[Removed]:
    """The same; each row that is returned whole takes as long as two deletions."""
    return _delete_those(connections, namespace, generations, REMOVED)


def _delete_those(
    connections: Connections, namespace: str, generations: Mapping[str, int], columns: str
) -> list[Any]:
    statement = f"DELETE FROM entries {_KEYED} AND generation = ? RETURNING {columns}"
    removed: list[Any] = []
    with connections.transaction(pages=len(generations)) as execute:
        for cache_key, generation in generations.items():
            removed += execute(statement, (cache_key, namespace, generation)).fetchall()
    return removed


def rename_entries(
    connections: Connections,
    namespace: str,
    renames: Iterable[tuple[str, int, Mapping[str, Any]]],
) -> list[str]:
    """Change keys where they stand: payloads are neither read nor written."""
    find = f"SELECT {RECORD} FROM entries {_KEYED} AND generation = ?"
    renamed = []
    with connections.transaction() as execute:
        for cache_key, generation, changes in renames:
            place = (cache_key, namespace, generation)
            row = execute(find, place).fetchone()
            if row is None:
                continue
            changed = described(replace(entry_of(row), **changes))
            settings = ", ".join(f"{name} = ?" for name in changed)
            statement = f"UPDATE OR IGNORE entries SET {settings} {_KEYED} AND generation = ?"
            if execute(statement, (*changed.values(), *place)).rowcount:
                renamed.append(str(changed["cache_key"]))
    return renamed


def delete_where(connections: Connections, namespace: str, filter: Filter) -> list[Entry]:
    """Remove what the filter selects."""
    return list(map(entry_of, _delete(connections, namespace, filter, RECORD)))


def remove_where(connections: Connections, namespace: str, filter: Filter) -> list[Removed]:
    """The same, as in `remove_generations`."""
    return _delete(connections, namespace, filter, REMOVED)


def _delete(connections: Connections, namespace: str, filter: Filter, columns: str) -> list[Any]:
    chosen = _select(connections, filter)
    statement = f"DELETE FROM entries {_MINE} AND {chosen.sql} RETURNING {columns}"
    rows = connections.rows(statement, (namespace, *chosen.values), pages=2)
    connections.wrote(len(rows))
    return rows


def delete_expired(connections: Connections, namespace: str, now: float) -> list[Entry]:
    """Remove what has expired and is not served stale any more."""
    statement = (
        f"DELETE FROM entries {_MINE} AND expires_at <= ? "
        f"AND (stale_until IS NULL OR stale_until <= ?) RETURNING {RECORD}"
    )
    rows = connections.rows(statement, (namespace, now, now), pages=2)
    connections.wrote(len(rows))
    return list(map(entry_of, rows))


def touch(connections: Connections, namespace: str, filter: Filter, now: float) -> int:
    """Renew what the filter selects as of now."""
    chosen = _select(connections, filter)
    statement = f"{RENEW} {_MINE} AND (expires_at IS NULL OR expires_at > ?) AND {chosen.sql}"
    values = (*renewed_at(now), namespace, now, *chosen.values)
    touched = connections.change(statement, values)
    connections.wrote(touched)
    return touched


def query(connections: Connections, namespace: str, filter: Filter) -> list[str]:
    """The keys of what the filter selects, oldest first."""
    chosen = _select(connections, filter)
    statement = f"SELECT cache_key FROM entries {_MINE} AND {chosen.sql} {_OLDEST_FIRST}"
    return [row[0] for row in connections.rows(statement, (namespace, *chosen.values))]


def iter_summaries(connections: Connections, namespace: str) -> Iterator[dict[str, Any]]:
    """Every entry as a flat dict."""
    for row in _pages(connections, f"SELECT {RECORD}, id {_NEXT}", namespace):
        yield summary_of(row[:-1])


def iter_keys(connections: Connections, namespace: str) -> Iterator[str]:
    """Every key; what else may stand in its column names nothing."""
    for row in _pages(connections, f"SELECT cache_key, id {_NEXT}", namespace):
        if type(row[0]) is str:
            yield row[0]


def _pages(connections: Connections, statement: str, namespace: str) -> Iterator[Any]:
    """All rows, a page at a time: no read stays open while the caller takes its time."""
    last = -1
    while rows := connections.rows(statement, (namespace, last)):
        yield from rows
        last = rows[-1][-1]


def _select(connections: Connections, filter: Filter) -> Selection:
    chosen = Selection(filter, connections)
    make_indexes(connections, chosen.fields & INDEXES.keys())
    return chosen
