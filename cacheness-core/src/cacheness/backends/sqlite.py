# SPDX-License-Identifier: MIT
"""Entries in one SQLite file: the default backend.

Single entries go straight through `sqlite3` with prepared statements, on a connection
for each thread; `cacheness.backends.sql` describes the same tables to SQLAlchemy.
"""

from __future__ import annotations

import os
import sqlite3
from _thread import RLock, _local
from time import monotonic, sleep
from weakref import finalize

from cacheness.backends.base import MetadataBackend
from cacheness.backends.sqlite_rows import (
    COLUMNS,
    SCHEMA,
    SCHEMA_VERSION,
    entry_of,
    row_of,
    summary_of,
)
from cacheness.backends.statements import is_forking, statements_of_this_thread
from cacheness.errors import BackendUnavailableError, CacheClosedError, ConfigError
from cacheness.forks import renew_in_child

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from cacheness.backends.base import BackendContext, Labels, PlainPayload, StoredPayload
    from cacheness.entry import Entry

# Every statement is made of the column names of this package; values are always bound.
# ruff: noqa: S608

__all__ = ["SQLiteBackend"]

_FOUND = (
    "generation, handler, handler_version, compressor, checksum, signature, expires_at, metadata, "
    "inline, blob, blob_store, stored_bytes, logical_bytes, prefix, renewed_at, distribution"
)
_ALL = ", ".join(COLUMNS)
_WITHOUT_PAYLOAD = ", ".join(name for name in COLUMNS if name != "inline")
_KEYED = "WHERE namespace = ? AND cache_key = ?"

_FIND = f"SELECT {_FOUND} FROM entries {_KEYED}"
_FIND_PLAIN = (
    f"SELECT handler, checksum, expires_at, inline FROM entries {_KEYED} "
    "AND inline IS NOT NULL AND signature IS NULL AND metadata IS NULL "
    "AND compressor = 'none' AND handler_version = 1"
)
_GET = f"SELECT {_ALL} FROM entries {_KEYED}"
_GET_WITHOUT_PAYLOAD = f"SELECT {_WITHOUT_PAYLOAD}, NULL FROM entries {_KEYED}"
_VALUES = f"({_ALL}) VALUES ({', '.join('?' * len(COLUMNS))})"
_INSERT = f"INSERT OR IGNORE INTO entries {_VALUES}"
_REPLACE = f"INSERT OR REPLACE INTO entries {_VALUES}"
_DELETE = f"DELETE FROM entries {_KEYED} RETURNING {_WITHOUT_PAYLOAD}, NULL"
_DELETE_GENERATION = (
    f"DELETE FROM entries {_KEYED} AND generation = ? RETURNING {_WITHOUT_PAYLOAD}, NULL"
)
_EXPIRE = (
    f"DELETE FROM entries {_KEYED} AND generation = ? AND expires_at <= ? "
    f"RETURNING {_WITHOUT_PAYLOAD}, NULL"
)
_HIT = f"UPDATE entries SET hits = hits + ?, accessed_at = max(accessed_at, ?) {_KEYED}"
_PAGE = (
    f"SELECT id, {_WITHOUT_PAYLOAD} FROM entries WHERE namespace = ? AND id > ? "
    "ORDER BY id LIMIT 500"
)
_KEYS_PAGE = (
    "SELECT id, cache_key FROM entries WHERE namespace = ? AND id > ? ORDER BY id LIMIT 2000"
)

_LABELS = (
    "SELECT cache_key, function, prefix, handler, cost_seconds FROM entries "
    "WHERE namespace = ? AND cache_key IN "
)
_ADD_STATISTIC = (
    "INSERT INTO notes (namespace, kind, name, value) VALUES (?, 'statistics', ?, ?) "
    "ON CONFLICT (namespace, kind, name) DO UPDATE SET "
    "value = printf('%!.17g', CAST(value AS REAL) + CAST(excluded.value AS REAL))"
)

_SMALLEST_SQLITE = (3, 35, 0)
"""``RETURNING`` came with it."""

_abandoned: list[object] = []
"""A forked child keeps its parent's connections here, unclosed: closing one would release
locks and checkpoint a log that are the parent's."""


class SQLiteBackend(MetadataBackend):
    """Records entries in ``metadata.sqlite3``: safe for threads, processes and forks.

    Readers take no lock and never wait for a writer; writers wait for each other up to
    ``lock_timeout``.
    """

    capabilities = frozenset({"inline", "transactions", "watch"})
    knows_its_size = True

    def __init__(self, context: BackendContext, *, busy_timeout: float | None = None) -> None:
        """Open ``metadata.sqlite3`` in the cache's directory, and make it where there is none.

        Args:
            context: The cache's directory, namespace and configuration.
            busy_timeout: Seconds to wait for a lock instead of ``lock_timeout``.

        Raises:
            ConfigError: The directory or the file can't be used.
        """
        if sqlite3.sqlite_version_info < _SMALLEST_SQLITE:
            raise ConfigError(
                f"metadata_backend='sqlite' needs SQLite 3.35 or newer, this Python has "
                f"{sqlite3.sqlite_version}"
            )
        config = context.config
        self._namespace = context.namespace
        self._timeout = config.lock_timeout if busy_timeout is None else busy_timeout
        self._synchronous = "FULL" if config.durability == "fsync" else "NORMAL"
        self._read_only = config.read_only
        self.directory = context.make_directory()
        self._path = os.path.join(self.directory, "metadata.sqlite3")
        self._local: Any = _local()
        self._lock = RLock()
        self._connections: dict[int, sqlite3.Connection] = {}
        self._ended: list[int] = []
        self._own_connections()
        self._closed = False
        try:
            self._make(config.permissions == "group")
        except BaseException:
            self.close()
            raise
        renew_in_child(self)

    # --- single entries ---------------------------------------------------------------

    def find(self, cache_key: str) -> StoredPayload | None:
        row: StoredPayload | None = self._row(_FIND, cache_key)
        return row

    def find_plain(self, cache_key: str) -> PlainPayload | None:
        """[hot] Four columns instead of sixteen: each costs 0.25 µs on its way to Python.

        The conditions on the others are SQLite's to check, which costs next to nothing.
        """
        row: PlainPayload | None = self._row(_FIND_PLAIN, cache_key)
        return row

    def _row(self, statement: str, cache_key: str) -> Any:
        """[hot] One SELECT on a cursor of this thread.

        Cursors are taken off a stack and put back, since a signal handler or a
        finaliser may read the cache between the two calls on one; making one for each
        read costs 1.8 µs of 8.
        """
        local = self._local
        try:
            inside = local.inside
        except AttributeError:
            self._connect()
            inside = local.inside
        cursors = local.cursors
        inside.depth += 1
        if is_forking():
            inside.wait()
        try:
            cursor = cursors.pop() if cursors else local.connection.cursor()
            row = cursor.execute(statement, (self._namespace, cache_key)).fetchone()
        except sqlite3.Error as error:
            raise self._failure(error) from error
        finally:
            inside.depth -= 1
        cursors.append(cursor)
        return row

    def get_entry(self, cache_key: str) -> Entry | None:
        row = self._one(_GET, (self._namespace, cache_key))
        return None if row is None else entry_of(row)

    def put_entry(self, entry: Entry, *, if_absent: bool = False) -> Entry | None:
        """[hot] One statement where the key is new, which is one transaction of its own."""
        row = row_of(entry)
        connection = self._connection()
        try:
            with self._local.inside:
                added = connection.execute(_INSERT, row).rowcount
        except sqlite3.Error as error:
            raise self._failure(error) from error
        if added:
            return None
        with _Transaction(self) as execute:
            old = execute(_GET_WITHOUT_PAYLOAD, row[:2]).fetchone()
            if old is None or not if_absent:
                execute(_REPLACE, row)
        return None if old is None else entry_of(old)

    def delete_entry(self, cache_key: str, *, if_generation: int | None = None) -> Entry | None:
        if if_generation is None:
            row = self._one(_DELETE, (self._namespace, cache_key))
        else:
            row = self._one(_DELETE_GENERATION, (self._namespace, cache_key, if_generation))
        return None if row is None else entry_of(row)

    def expire_entry(self, cache_key: str, *, if_generation: int, now: float) -> Entry | None:
        row = self._one(_EXPIRE, (self._namespace, cache_key, if_generation, now))
        return None if row is None else entry_of(row)

    def update_fields(
        self, cache_key: str, changes: Mapping[str, Any], *, if_generation: int | None = None
    ) -> bool:
        from dataclasses import replace

        with _Transaction(self) as execute:
            old = execute(_GET, (self._namespace, cache_key)).fetchone()
            if old is None:
                return False
            entry = entry_of(old)
            if if_generation is not None and entry.generation != if_generation:
                return False
            execute(_REPLACE, row_of(replace(entry, **changes)))
        return True

    def record_hits(self, hits: Mapping[str, tuple[int, float]]) -> None:
        with _Transaction(self) as execute:
            for cache_key, (count, accessed_at) in hits.items():
                execute(_HIT, (count, accessed_at, self._namespace, cache_key))

    def labels(self, cache_keys: Sequence[str]) -> dict[str, Labels]:
        found: dict[str, Labels] = {}
        for start in range(0, len(cache_keys), 500):
            some = cache_keys[start : start + 500]
            statement = f"{_LABELS}({', '.join('?' * len(some))})"
            for row in self._many(statement, (self._namespace, *some)):
                found[row[0]] = row[1:]
        return found

    # --- many entries -----------------------------------------------------------------

    def iter_entry_summaries(self) -> Iterator[dict[str, Any]]:
        for row in self._pages(_PAGE):
            yield summary_of(row[1:])

    def iter_keys(self) -> Iterator[str]:
        for row in self._pages(_KEYS_PAGE):
            yield row[1]

    def put_entries(self, entries: Iterable[Entry]) -> list[Entry]:
        displaced = []
        with _Transaction(self) as execute:
            for entry in entries:
                row = row_of(entry)
                if not execute(_INSERT, row).rowcount:
                    old = execute(_GET_WITHOUT_PAYLOAD, row[:2]).fetchone()
                    execute(_REPLACE, row)
                    displaced.append(entry_of(old))
        return displaced

    def delete_entries(self, cache_keys: Iterable[str]) -> list[Entry]:
        removed: list[Entry] = []
        with _Transaction(self) as execute:
            for cache_key in cache_keys:
                rows = execute(_DELETE, (self._namespace, cache_key)).fetchall()
                removed.extend(map(entry_of, rows))
        return removed

    def count(self) -> int:
        found = self._one("SELECT count(*) FROM entries WHERE namespace = ?", (self._namespace,))
        return int(found[0]) if found else 0

    def total_size(self) -> int:
        statement = "SELECT total(stored_bytes) FROM entries WHERE namespace = ?"
        found = self._one(statement, (self._namespace,))
        return int(found[0]) if found else 0

    # --- the store --------------------------------------------------------------------

    def namespaces(self) -> list[str]:
        rows = self._many("SELECT DISTINCT namespace FROM entries ORDER BY namespace", ())
        return [row[0] for row in rows]

    def read_notes(self, kind: str) -> dict[str, Any]:
        import json

        statement = "SELECT name, value FROM notes WHERE namespace = ? AND kind = ?"
        rows = self._many(statement, (self._namespace, kind))
        return {name: json.loads(value) for name, value in rows}

    def write_notes(self, kind: str, notes: Mapping[str, Any]) -> None:
        import json

        with _Transaction(self) as execute:
            for name, value in notes.items():
                where = (self._namespace, kind, name)
                if value is None:
                    execute(
                        "DELETE FROM notes WHERE namespace = ? AND kind = ? AND name = ?", where
                    )
                else:
                    execute(
                        "INSERT OR REPLACE INTO notes VALUES (?, ?, ?, ?)",
                        (*where, json.dumps(value)),
                    )

    def add_statistics(self, amounts: Mapping[str, float]) -> None:
        with _Transaction(self) as execute:
            for name, amount in amounts.items():
                execute(_ADD_STATISTIC, (self._namespace, name, repr(float(amount))))

    def change_token(self) -> object:
        """Differs after a commit of any other connection; this one's own are told by the caller."""
        found = self._one("PRAGMA data_version", ())
        return found and found[0]

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._local = _local()
            self._finalizer()

    def after_fork(self) -> None:
        """In a child: leave the parent's connections alone; each thread opens its own."""
        self._finalizer.detach()
        _abandoned.append((self._local, self._connections))
        self._local, self._connections, self._lock = _local(), {}, RLock()
        self._ended = []
        self._own_connections()

    def _own_connections(self) -> None:
        """Have the connections closed when this object is dropped without `close`.

        Not at exit, when buffered hits are still to be written.
        """
        self._finalizer = finalize(self, _close, self._connections)
        self._finalizer.atexit = False

    # --- connections ------------------------------------------------------------------

    def _connection(self) -> sqlite3.Connection:
        """This thread's connection."""
        try:
            connection: sqlite3.Connection = self._local.connection
        except AttributeError:
            connection = self._connect()
        return connection

    def _connect(self) -> sqlite3.Connection:
        inside = statements_of_this_thread()
        with inside, self._lock:
            if self._closed:
                raise CacheClosedError("the cache is closed")
            connection = self._open()
            self._close_those_of_ended_threads()
            self._connections[id(connection)] = connection
        local = self._local
        local.connection, local.cursors, local.inside = connection, [], inside
        # Goes with the thread, which says that its connection is nobody's any more.
        local.thread = _Thread()
        finalize(local.thread, self._ended.append, id(connection)).atexit = False
        return connection

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._uri(),
            uri=True,
            timeout=self._timeout,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            connection.execute(f"PRAGMA synchronous = {self._synchronous}")
        except BaseException:
            connection.close()
            raise
        return connection

    def _uri(self) -> str:
        path = self._path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
        if not self._read_only:
            return f"file:{path}"
        # A directory that can't be written can't hold the shared memory that WAL readers
        # need; without a log there is nothing to share.
        writable = os.access(os.path.dirname(self._path), os.W_OK)
        unchanging = not writable and not os.path.exists(f"{self._path}-wal")
        return f"file:{path}?{'immutable=1' if unchanging else 'mode=ro'}"

    def _close_those_of_ended_threads(self) -> None:
        while self._ended:
            connection = self._connections.pop(self._ended.pop(), None)
            if connection is not None:
                connection.close()

    def _make(self, for_group: bool) -> None:
        """Make the tables where there are none."""
        try:
            version = self._version()
            if version == 0 and not self._read_only:
                self._make_tables(for_group)
                version = SCHEMA_VERSION
        except sqlite3.Error as error:
            raise self._failure(error) from error
        if version > SCHEMA_VERSION:
            self.close()
            raise ConfigError(
                f"{self._path} has the schema {version}, this cacheness knows up to "
                f"{SCHEMA_VERSION}: upgrade cacheness-core, or name another directory"
            )

    def _version(self) -> int:
        row = self._one("PRAGMA user_version", ())
        return int(row[0]) if row else 0

    def _make_tables(self, for_group: bool) -> None:
        """Make the tables, while other processes may be doing so at the same instant.

        SQLite's own wait does not cover a change of the journal mode, so it is tried again
        until the time is up.
        """
        connection = self._connection()
        deadline = monotonic() + self._timeout
        while True:
            try:
                with self._local.inside:
                    connection.execute("PRAGMA journal_mode = WAL")
                break
            except sqlite3.OperationalError:
                if monotonic() > deadline:
                    raise
                sleep(0.005 + os.urandom(1)[0] / 10_000)
        with _Transaction(self) as execute:
            for statement in SCHEMA:
                execute(statement)
            execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        for suffix in ("", "-wal", "-shm"):
            try:
                os.chmod(self._path + suffix, 0o660 if for_group else 0o600)
            except OSError:
                continue  # not made yet, or another user's, who gave it its mode

    # --- statements -------------------------------------------------------------------

    def _one(self, statement: str, values: tuple[Any, ...]) -> Any:
        rows = self._many(statement, values)
        return rows[0] if rows else None

    def _many(self, statement: str, values: tuple[Any, ...]) -> list[Any]:
        connection = self._connection()
        try:
            with self._local.inside:
                return connection.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise self._failure(error) from error

    def _pages(self, statement: str) -> Iterator[Any]:
        """All rows, a page at a time: no read stays open while the caller takes its time."""
        last = -1
        while rows := self._many(statement, (self._namespace, last)):
            yield from rows
            last = rows[-1][0]

    def _failure(self, error: sqlite3.Error) -> Exception:
        """The error of the contract for one of SQLite's."""
        if self._closed:
            return CacheClosedError("the cache is closed")
        if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
            return BackendUnavailableError(
                f"{self._path} was locked by another process for {self._timeout:g} s; "
                "try again, or raise lock_timeout"
            )
        return BackendUnavailableError(f"{self._path} can't be used: {error}")


class _Thread:
    """Lives as long as a thread that has a connection."""

    __slots__ = ("__weakref__",)


def _close(connections: dict[int, sqlite3.Connection]) -> None:
    with statements_of_this_thread():
        while connections:
            connections.popitem()[1].close()


class _Transaction:
    """``BEGIN IMMEDIATE`` to ``COMMIT``, rolled back where the body raises."""

    __slots__ = ("_backend", "_connection", "_inside")

    def __init__(self, backend: SQLiteBackend) -> None:
        self._backend = backend

    def __enter__(self) -> Any:
        self._connection = self._backend._connection()
        self._inside = statements_of_this_thread()
        self._inside.__enter__()
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except BaseException as error:
            self._inside.__exit__()
            if isinstance(error, sqlite3.Error):
                raise self._backend._failure(error) from error
            raise
        return self._connection.execute

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            failed = self._end(error)
        finally:
            self._inside.__exit__()
        if failed is not None:
            raise self._backend._failure(failed) from failed

    def _end(self, error: BaseException | None) -> sqlite3.Error | None:
        """Commit, or roll back; give what SQLite had against it, or raised in the body."""
        failed = error if isinstance(error, sqlite3.Error) else None
        try:
            if error is None:
                self._connection.execute("COMMIT")
                return None
        except sqlite3.Error as refused:
            failed = refused
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        return failed
