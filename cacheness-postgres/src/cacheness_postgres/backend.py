# SPDX-License-Identifier: MIT
"""Entries in PostgreSQL: the metadata backend of a cache that many machines share."""

from __future__ import annotations

from contextlib import suppress

from cacheness.backends.base import MetadataBackend
from cacheness.disk.unrecorded import check_own
from cacheness.errors import BackendUnavailableError, CacheClosedError, ConfigError
from cacheness_postgres.address import Address, find_url
from cacheness_postgres.connections import Database, share, unshare
from cacheness_postgres.locks import AdvisoryLock, AdvisoryLocks
from cacheness_postgres.notify import Watcher
from cacheness_postgres.rows import (
    from_bytes,
    from_texts,
    is_unmistakable,
    plain_row,
    shift_found,
    to_bytes,
    to_entry,
    to_remains,
    to_row,
    to_summary,
)
from cacheness_postgres.schema import check_schema_name, prepare_schema
from cacheness_postgres.statements import statements

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from cacheness.backends.base import BackendContext
    from cacheness.backends.plain_entry import PlainEntry
    from cacheness.backends.shapes import Held, Labels, Remains, StoredPayload
    from cacheness.config import CacheConfig
    from cacheness.custom_metadata import RecordQuery
    from cacheness.entry import Entry
    from cacheness.filters import Filter
    from cacheness_postgres.rows import Row
    from cacheness_postgres.session import Session

__all__ = ["PostgresBackend", "open_database"]

_OPTIONS = ("url", "schema", "pool_size", "range_indexes")
_BATCH = 2_000
_RETURNS_OLD = 180_000
"""The version from which the server gives the row that an upsert replaced."""


class PostgresBackend(MetadataBackend):
    """Records entries in PostgreSQL: safe for machines, processes, threads and forks.

    Machines that name the same server, schema and namespace share their entries. Times are
    kept by the server's clock. A server that is out of reach when the backend is made is
    looked for again at each use.
    """

    capabilities = frozenset({"inline", "query", "lock", "watch", "transactions", "records"})
    blob_backend = "postgres"
    shared = True
    works_apart = True

    def __init__(
        self,
        context: BackendContext,
        *,
        url: str | None = None,
        schema: str = "cacheness",
        pool_size: int = 8,
        range_indexes: Sequence[str] = (),
    ) -> None:
        """Connect, and make the tables where there are none.

        Args:
            context: The namespace and the configuration; nothing is kept on disk.
            url: ``postgresql://user:password@host:5432/database``, or
                ``CACHENESS_POSTGRES_URL``. What libpq understands is understood.
            schema: The PostgreSQL schema that the tables lie in.
            pool_size: How many connections this process keeps for statements. Locks that
                are held and the listener each take one more.
            range_indexes: Parameters (``"lr"``) and custom metadata (``"meta__day"``) whose
                ranges are to be answered by an index of their own.

        Raises:
            ConfigError: An option can't work, or the role lacks a grant.
        """
        config = context.config
        self._namespace = context.namespace
        self._timeout = config.lock_timeout
        self._schema = check_schema_name(schema)
        self._statements = statements(schema)
        self._key, self._database = open_database(
            context, {"url": url, "schema": schema, "pool_size": pool_size}
        )
        self._fetch = self._database.fetch
        self._locks = AdvisoryLocks(self._database, schema)
        self._watcher = Watcher(self._database, schema, context.namespace)
        self._told = (self._watcher.channel, self._watcher.sender)
        self._store_id: str | None = None
        self._closed = False
        try:
            self._reach(config, range_indexes)
        except BaseException:
            self.close()
            raise

    # --- single entries ---------------------------------------------------------------

    def find(self, cache_key: str) -> StoredPayload | None:
        """[hot] One prepared select on a connection of the pool."""
        rows = self._fetch(self._statements.find, (self._namespace, cache_key))
        if not rows:
            return None
        row = rows[0]
        distance = self._database.clock.distance
        if distance or row[16] is not None:
            return shift_found(row, distance)
        return row[:16]

    def find_many(self, cache_keys: Sequence[str]) -> dict[str, StoredPayload]:
        found: dict[str, StoredPayload] = {}
        for start in range(0, len(cache_keys), _BATCH):
            some = list(cache_keys[start : start + _BATCH])
            distance = self._distance()
            for row in self._fetch(self._statements.find_many, (self._namespace, some)):
                is_plain = not distance and row[16] is None
                found[row[17]] = row[:16] if is_plain else shift_found(row, distance)
        return found

    def get_entry(self, cache_key: str) -> Entry | None:
        return self._first(self._fetch(self._statements.get, (self._namespace, cache_key)))

    def put_entry(self, entry: Entry, *, if_absent: bool = False) -> Entry | None:
        """[hot] One prepared upsert, which also gives what it displaced."""
        if type(entry.custom_metadata) is not dict:
            return self._put_with_record(entry, if_absent=if_absent)
        if if_absent:
            return self._add(entry)
        row = to_row(entry, self._distance())
        while True:
            written, old, _ = self._fetch(*self._put(row), blob=entry.blob)[0]
            if written:
                break
        if old is None:
            return None
        displaced = to_entry(from_texts(old), self._distance())
        # Of our own generation, it is our first try, acknowledged by a connection that broke.
        return None if displaced.generation == entry.generation else displaced

    def put_plain(self, plain: PlainEntry) -> Remains | None:
        """[hot] `put_entry`, which asks for less of the row that it replaces."""
        if self._database.version < _RETURNS_OLD:
            return super().put_plain(plain)
        distance = self._distance()
        row = plain_row(plain, distance) or to_row(plain.entry(), distance)
        *old, _ = self._fetch(self._statements.put_plain, (*row, *self._told))[0]
        # As in `put_entry`.
        return None if old[0] in (None, plain.generation) else to_remains(tuple(old))

    def touch_entry(self, cache_key: str, prefix: str | None, *, now: float) -> bool | None:
        if prefix is not None and not is_unmistakable(prefix):
            return None
        now += self._distance()
        values = (now, self._namespace, cache_key, prefix, prefix, *self._told)
        return bool(self._fetch(self._statements.touch, values))

    def delete_entry(self, cache_key: str, *, if_generation: int | None = None) -> Entry | None:
        where = (self._namespace, cache_key)
        if if_generation is None:
            rows = self._fetch(self._statements.delete, (*where, *self._told))
        else:
            values = (*where, if_generation, *self._told)
            rows = self._fetch(self._statements.delete_generation, values)
        return self._first([row[1:] for row in rows])

    def expire_entry(self, cache_key: str, *, if_generation: int, now: float) -> Entry | None:
        now += self._distance()
        values = (self._namespace, cache_key, if_generation, now, *self._told)
        return self._first([row[1:] for row in self._fetch(self._statements.expire, values)])

    def update_fields(
        self, cache_key: str, changes: Mapping[str, Any], *, if_generation: int | None = None
    ) -> bool:
        from dataclasses import replace

        select = f"{self._statements.get} FOR UPDATE"
        records_change = "generation" in changes or "custom_metadata" in changes

        def update(session: Session) -> bool:
            check_own(changes.get("blob"))
            cursor = session.cursor
            row = cursor.execute(select, (self._namespace, cache_key), prepare=False).fetchone()
            if row is None or (if_generation is not None and row[2] != if_generation):
                return False
            distance = self._distance()
            old = to_entry(row, distance)
            changed = replace(old, **changes)
            put = self._put(to_row(changed, distance))
            if records_change:
                from cacheness_postgres.records import change_record, write_records

                change_record(cursor, self._schema, old, changes)
                cursor.execute(*put, prepare=self._database.prepares)
                if "custom_metadata" in changes:
                    write_records(cursor, self._schema, [changed])
            else:
                cursor.execute(*put, prepare=self._database.prepares)
            return True

        if type(changes.get("custom_metadata", {})) is not dict:
            from cacheness_postgres.records import make_tables

            make_tables(self._database, self._schema, [changes["custom_metadata"]])
        return self._database.transact(update)

    def record_hits(self, hits: Mapping[str, tuple[int, float]]) -> None:
        distance = self._distance()
        keys = sorted(hits)
        for start in range(0, len(keys), _BATCH):
            some = keys[start : start + _BATCH]
            counts = [hits[key][0] for key in some]
            times = [hits[key][1] + distance for key in some]
            values = (some, counts, times, self._namespace, self._namespace)
            self._fetch(self._statements.hits, values)

    def labels(self, cache_keys: Sequence[str]) -> dict[str, Labels]:
        found: dict[str, Labels] = {}
        for start in range(0, len(cache_keys), _BATCH):
            some = list(cache_keys[start : start + _BATCH])
            for key, *labels, exact in self._fetch(
                self._statements.labels, (self._namespace, some)
            ):
                function, prefix, handler, cost = labels
                if exact is not None:
                    known = from_bytes(exact)
                    function, prefix, handler = (
                        known[name] for name in ("function", "prefix", "handler")
                    )
                found[key] = function, prefix, handler, cost
        return found

    # --- many entries -----------------------------------------------------------------

    def iter_entry_summaries(self) -> Iterator[dict[str, Any]]:
        for row in self._pages(self._statements.page, 1):
            yield to_summary(row, self._distance())

    def held(self, now: float) -> list[Held]:
        from cacheness.backends.sums import sum_up

        distance = self._distance()
        values = (now + distance, self._namespace, distance)
        held: list[Held] = []
        for row in self._fetch(self._statements.held, values):
            function, digest, prefix, handler, count, stored, logical, pinned, expired, newest = row
            of = (function, digest, prefix, handler)
            sums = (count, int(stored), int(logical), pinned, expired)
            held.append((*of, *sums, newest - distance))
        odd = self._fetch(self._statements.inexact, (self._namespace,))
        return held + sum_up((to_summary(row, distance) for row in odd), now)

    def iter_keys(self) -> Iterator[str]:
        for row in self._pages(self._statements.keys, 0):
            yield row[0]

    def query_meta(self, /, **filters: Any) -> Iterator[str]:
        from cacheness.filters import Filter
        from cacheness_postgres.selection import select_keys

        keys = select_keys(self._database, self._schema, self._namespace, Filter.parse(filters))
        yield from keys

    def put_entries(self, entries: Iterable[Entry]) -> list[Entry]:
        return self.put_prepared(entries)

    def put_prepared(self, prepared: Iterable[Entry | PlainEntry]) -> list[Entry]:
        from cacheness.backends.in_order import InOrder
        from cacheness_postgres.bulk import put_all, put_in_order

        if isinstance(prepared, InOrder):
            return put_in_order(
                self._database, self._schema, self._namespace, prepared, *self._told
            )
        return put_all(self._database, self._schema, prepared, *self._told)

    def get_entries(self, cache_keys: Sequence[str]) -> dict[str, Entry]:
        found: dict[str, Entry] = {}
        for start in range(0, len(cache_keys), _BATCH):
            some = list(cache_keys[start : start + _BATCH])
            for row in self._fetch(self._statements.get_many, (self._namespace, some)):
                found[row[1]] = to_entry(row, self._distance())
        return {key: found[key] for key in cache_keys if key in found}

    def delete_entries(self, cache_keys: Iterable[str]) -> list[Entry]:
        keys = sorted(set(cache_keys))
        if not keys:
            return []
        values = (self._namespace, self._namespace, keys, *self._told)
        rows = self._fetch(self._statements.delete_many, values)
        return [to_entry(row[1:], self._distance()) for row in rows]

    def delete_generations(self, generations: Mapping[str, int]) -> list[Entry]:
        if not generations:
            return []
        keys = sorted(generations)
        values = (keys, [generations[key] for key in keys], self._namespace, *self._told)
        rows = self._fetch(self._statements.delete_those, values)
        return [to_entry(row[1:], self._distance()) for row in rows]

    def delete_expired(self, now: float) -> list[Entry]:
        now += self._distance()
        values = (*(self._namespace, now, now) * 2, *self._told)
        rows = self._fetch(self._statements.expire_all, values)
        return [to_entry(row[1:], self._distance()) for row in rows]

    def rename_entries(self, renames: Iterable[tuple[str, int, Mapping[str, Any]]]) -> list[str]:
        from cacheness_postgres.bulk import rename_all

        return rename_all(self._database, self._schema, self._namespace, renames, self._told)

    def query_where(self, filter: Filter, expression: object) -> Iterator[str]:
        from cacheness_postgres.selection import select_where

        keys = select_where(self._database, self._schema, self._namespace, filter, expression)
        return iter(keys)

    def query_records(self, query: RecordQuery) -> Iterator[tuple[str, Any]]:
        from cacheness_postgres.records import query_records

        return query_records(self._database, self._schema, self._namespace, query)

    def touch_entries(self, filter: Filter, *, now: float) -> int:
        from cacheness_postgres.selection import touch

        return touch(
            self._database,
            self._schema,
            self._namespace,
            filter,
            now + self._distance(),
            self._told,
        )

    def delete_where(self, filter: Filter) -> list[Entry]:
        from cacheness_postgres.selection import delete

        return delete(self._database, self._schema, self._namespace, filter, self._told)

    def victims(self, policy: str, size: int, count: int) -> list[Entry]:
        from cacheness_postgres.selection import victims

        return victims(self._database, self._schema, self._namespace, policy, size, count)

    def evict(
        self, policy: str, *, max_size: int | None, max_entries: int | None, slack: float = 0.1
    ) -> list[Entry]:
        """As the default, by one machine at a time, in one transaction."""
        from cacheness_postgres.eviction import evict

        def excess(count: int, size: int) -> tuple[int, int]:
            return (
                0 if max_size is None else self._excess(size, max_size, slack),
                0 if max_entries is None else self._excess(count, max_entries, slack),
            )

        return evict(self._database, self._schema, self._namespace, policy, excess, self._told)

    def count(self) -> int:
        return int(self._fetch(self._statements.count, (self._namespace,))[0][0])

    def total_size(self) -> int:
        return int(self._fetch(self._statements.total, (self._namespace,))[0][0])

    # --- the store --------------------------------------------------------------------

    @property
    def store_id(self) -> str:
        if self._store_id is None:
            self._store_id = str(self._fetch(self._statements.store_id)[0][0])
        return self._store_id

    def namespaces(self) -> list[str]:
        return [row[0] for row in self._fetch(self._statements.namespaces)]

    def iter_blob_names(self) -> Iterator[str]:
        last = ("", "")
        while rows := self._page(self._statements.blobs, last):
            for namespace, cache_key, blob in rows:
                yield blob
                last = (namespace, cache_key)

    def check_store(self, *, repair: bool) -> list[str]:
        from cacheness_postgres.checking import check_store

        return check_store(self._database, self._schema, repair=repair)

    def read_notes(self, kind: str) -> dict[str, Any]:
        rows = self._fetch(self._statements.read_notes, (self._namespace, to_bytes(kind)))
        return {from_bytes(name): from_bytes(value) for name, value in rows}

    def write_notes(self, kind: str, notes: Mapping[str, Any]) -> None:
        where = (self._namespace, to_bytes(kind))
        kept = {to_bytes(name): to_bytes(of) for name, of in notes.items() if of is not None}
        dropped = sorted(to_bytes(name) for name, of in notes.items() if of is None)
        if kept:
            self._fetch(self._statements.write_notes, (*where, list(kept), list(kept.values())))
        if dropped:
            self._fetch(self._statements.drop_notes, (*where, dropped))

    def add_statistics(self, amounts: Mapping[str, float]) -> None:
        names = sorted(amounts)
        if names:
            where = (self._namespace, to_bytes("statistics"))
            added = [to_bytes(float(amounts[name])) for name in names]
            self._fetch(self._statements.add_notes, (*where, list(map(to_bytes, names)), added))

    def change_token(self) -> object:
        """Differs after somebody else replaced, changed or removed an entry."""
        self._check_open()
        return self._watcher.token()

    def lock(self, cache_key: str) -> AdvisoryLock:
        """Mutual exclusion on a key between all machines; see `AdvisoryLock`."""
        self._check_open()
        return self._locks.lock(self._namespace, cache_key, timeout=self._timeout)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._fetch = _refuse
        self._watcher.close()
        self._locks.close()
        unshare(self._key)

    def __repr__(self) -> str:
        where = f"{self._database.address}, schema={self._schema!r}, namespace={self._namespace!r}"
        return f"PostgresBackend({where})"

    # --- inside -----------------------------------------------------------------------

    def _reach(self, config: CacheConfig, range_indexes: Sequence[str]) -> None:
        """Find out at once what is misconfigured; an outage may be over by the first use."""
        try:
            self._database.give(self._database.take())
        except BackendUnavailableError:
            return
        if not config.read_only:
            self._make_indexes(config, range_indexes)

    def _make_indexes(self, config: CacheConfig, range_indexes: Sequence[str]) -> None:
        bounded = config.max_size is not None or config.max_entries is not None
        if not bounded and not range_indexes:
            return
        from cacheness_postgres import indexes

        for label in range_indexes:
            for name, statement in indexes.range_indexes(self._schema, label):
                indexes.make_index(self._database, self._schema, name, statement)
        if bounded:
            # A role that does not own the tables evicts all the same, by sorting.
            with suppress(ConfigError):
                found = indexes.policy_index(self._schema, config.policy)
                indexes.make_index(self._database, self._schema, *found)

    def _add(self, entry: Entry) -> Entry | None:
        row = to_row(entry, self._distance())
        while True:
            if self._fetch(self._statements.add, row, blob=entry.blob):
                return None
            found = self._fetch(self._statements.standing, row[:2])
            if found:
                standing = to_entry(found[0], self._distance())
                return None if standing.generation == entry.generation else standing

    def _put_with_record(self, entry: Entry, *, if_absent: bool) -> Entry | None:
        from cacheness_postgres.records import make_tables, write_records

        make_tables(self._database, self._schema, [entry.custom_metadata])
        row = to_row(entry, self._distance())

        def put(session: Session) -> tuple[Any, ...] | None:
            check_own(entry.blob)
            cursor, statements = session.cursor, self._statements
            while True:
                found = cursor.execute(f"{statements.standing} FOR UPDATE", row[:2]).fetchone()
                if found is not None and if_absent:
                    return found
                if found is None:
                    written = cursor.execute(statements.add, row).rowcount
                else:
                    written = cursor.execute(*self._put(row)).fetchall()[0][0]
                if written:
                    write_records(cursor, self._schema, [entry])
                    return found

        found = self._database.transact(put)
        if found is None or found[2] == entry.generation:
            return None
        return to_entry(found, self._distance())

    def _put(self, row: Row) -> tuple[str, Row]:
        """The statement that puts a row on this server, and its values."""
        if self._database.version >= _RETURNS_OLD:
            return self._statements.put, (*row, *self._told)
        return self._statements.put_locking, (row[0], row[1], *row, *self._told)

    def _distance(self) -> float:
        return self._database.clock.distance

    def _first(self, rows: Sequence[tuple[Any, ...]]) -> Entry | None:
        return to_entry(rows[0], self._distance()) if rows else None

    def _pages(self, statement: str, key_at: int) -> Iterator[tuple[Any, ...]]:
        """All rows, a page at a time: no transaction stays open while the caller takes its time."""
        last = ""
        while rows := self._page(statement, (self._namespace, last)):
            yield from rows
            last = rows[-1][key_at]

    def _page(self, statement: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        """Rows in the order of an index.

        Of a table that was filled a moment ago the server knows too little, and would read and
        sort all that is left for each page.
        """

        def read(session: Session) -> list[tuple[Any, ...]]:
            session.cursor.execute("SET LOCAL enable_sort = off")
            prepare = self._database.prepares
            return session.cursor.execute(statement, values, prepare=prepare).fetchall()

        return self._database.transact(read)

    def _check_open(self) -> None:
        if self._closed:
            raise CacheClosedError("the cache is closed")


def open_database(context: BackendContext, options: Mapping[str, Any]) -> tuple[object, Database]:
    """The connections for these options, shared by all backends of this process that name them.

    Returns:
        The key to hand to `unshare`, and the database.

    Raises:
        ConfigError: An option can't work.
    """
    config = context.config
    address = Address(find_url(context, options))
    schema = check_schema_name(options["schema"])
    size = options["pool_size"]
    if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= 1000:
        raise ConfigError(
            f"pool_size={size!r} is no number of connections: give an int from 1 to 1000"
        )
    timeout, read_only = config.lock_timeout, config.read_only
    key = (address, schema, size, timeout, read_only)

    def prepare(session: Session) -> None:
        prepare_schema(session, address, schema, read_only=read_only)

    return key, share(key, lambda: Database(address, size=size, timeout=timeout, prepare=prepare))


def _refuse(*_: object, **__: object) -> list[tuple[Any, ...]]:
    raise CacheClosedError("the cache is closed")
