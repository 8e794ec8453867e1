# SPDX-License-Identifier: MIT
"""A cache on PostgreSQL, beside what psycopg takes for the same rows of the same tables."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING
from uuid import uuid4

import psycopg

from areas.small import VALUE
from cacheness import UnifiedCache
from cacheness_postgres.backend import PostgresBackend
from cacheness_postgres.rows import to_row
from cacheness_postgres.statements import KINDS, statements
from cacheness_postgres.tables import tables
from loopback import server, settings
from measuring import Row, interleaved

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cacheness_postgres.session import Session

KEYS = 500
MANY, FEW = 10_000, 300


def rows(folder: str) -> Iterator[Row]:
    """Compare a small get and put, and storing many, over TCP with a server on this machine."""
    schema = f"bench_{uuid4().hex[:8]}"
    with server() as url, psycopg.connect(url, autocommit=True) as admin:
        options = {"url": url, "schema": schema}
        try:
            with UnifiedCache(
                f"{folder}/c", metadata_backend="postgres", metadata_options=options
            ) as cache:
                yield from _singles(cache, schema)
                yield from _bulk(cache, settings(url))
        finally:
            admin.execute("SET client_min_messages = error")
            admin.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")


def upsert(schema: str) -> str:
    """The least that replaces a row: nothing is returned, told or locked beforehand."""
    names = tables(schema).entries.columns.keys()
    changes = ", ".join(f"{n} = excluded.{n}" for n in names if n not in ("namespace", "cache_key"))
    values = ", ".join(f"%b::{kind}" for kind in KINDS)
    return (
        f"INSERT INTO {schema}.entries ({', '.join(names)}) VALUES ({values}) "
        f"ON CONFLICT (namespace, cache_key) DO UPDATE SET {changes}"
    )


def session_of(backend: object) -> Session:
    """The one connection of the backend's pool.

    All contenders have to talk to the same process of the server: on which core it happens to
    run makes a difference of 1 to 4.
    """
    assert isinstance(backend, PostgresBackend)
    session = backend._database.take()
    backend._database.give(session)
    return session


def _singles(cache: UnifiedCache, schema: str) -> Iterator[Row]:
    keys = [f"{i:032x}" for i in range(KEYS)]
    for key in keys:
        cache.put(VALUE, key)
    backend = cache.engine.backend
    raw = session_of(backend).connection
    select, change = statements(schema).find, upsert(schema)
    values = [to_row(entry, 0.0) for entry in backend.get_entries(keys).values()]
    turn = itertools.count()

    def next_of(number: int) -> Iterator[int]:
        return (next(turn) % KEYS for _ in range(number))

    def our_get(number: int) -> None:
        for i in next_of(number):
            cache.get(keys[i])

    def their_get(number: int) -> None:
        for i in next_of(number):
            raw.execute(select, ("", keys[i]), prepare=True, binary=True).fetchone()

    def our_put(number: int) -> None:
        for i in next_of(number):
            cache.put(VALUE, keys[i])

    def their_put(number: int) -> None:
        for i in next_of(number):
            raw.execute(change, values[i], prepare=True, binary=True)

    taken = interleaved({"ours": our_get, "theirs": their_get}, rounds=40, number=50)
    limit = "limit: psycopg, prepared select"
    yield Row("PostgreSQL, small get", taken["ours"], limit, taken["theirs"], 1.3)
    taken = interleaved({"ours": our_put, "theirs": their_put}, rounds=40, number=25)
    limit = "limit: psycopg, prepared upsert"
    yield Row("PostgreSQL, small put over an entry", taken["ours"], limit, taken["theirs"], 1.4)


def _bulk(cache: UnifiedCache, known: dict[str, str]) -> Iterator[Row]:
    fresh = itertools.count()

    def pairs() -> Iterator[tuple[object, str]]:
        return ((VALUE, f"m{next(fresh):031}") for _ in range(MANY))

    def of_a_list(_: int) -> None:
        cache.put_batch(list(pairs()))

    def as_they_come(_: int) -> None:
        cache.put_batch(pairs())

    def one_by_one(_: int) -> None:
        for _ in range(FEW):
            cache.put(VALUE, f"s{next(fresh):031}")

    sides = {"list": of_a_list, "iterator": as_they_come, "single": one_by_one}
    taken = interleaved(sides, rounds=9, number=1)
    theirs = FEW / taken["single"]
    # One at a time waits for the server's disk at each, so what the server promises belongs here.
    waits = f"fsync {known['fsync']}, synchronous_commit {known['synchronous_commit']}"
    for side in ("list", "iterator"):
        what = f"PostgreSQL, {MANY:,} entries at once, of a{'n' * (side == 'iterator')} {side}"
        against = f"bare: one at a time, {waits}"
        # What comes one by one has to be taken in before any of it may be locked: that informs.
        target = 20 if side == "list" else None
        yield Row(what, MANY / taken[side], against, theirs, target, at_least=True, unit="1/s")
