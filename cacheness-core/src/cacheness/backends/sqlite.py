# SPDX-License-Identifier: MIT
"""Entries in one SQLite file: the default backend.

Single entries go straight through `sqlite3` with prepared statements, on a connection
for each thread; `cacheness.backends.sql` describes the same tables to SQLAlchemy.
"""

from __future__ import annotations

import os
import sqlite3
import sys

from cacheness.backends.base import MetadataBackend
from cacheness.backends.sqlite_connections import Connections
from cacheness.backends.sqlite_kept import KeptRows
from cacheness.errors import BackendUnavailableError, ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from cacheness.backends.base import BackendContext
    from cacheness.backends.plain_entry import PlainEntry
    from cacheness.backends.shapes import (
        Held,
        Labels,
        PlainPayload,
        Remains,
        Removed,
        StoredPayload,
    )
    from cacheness.backends.sqlite_changes import Changes
    from cacheness.backends.sqlite_journal import Journal
    from cacheness.custom_metadata import RecordQuery
    from cacheness.entry import Entry
    from cacheness.filters import Filter

# Every statement is made of the column names of this package; values are always bound.
# ruff: noqa: S608

__all__ = ["SQLiteBackend"]

_KEYED = "WHERE cache_key = ? AND namespace = ?"
_FOUND_COLUMNS = (
    "generation",
    "handler",
    "handler_version",
    "compressor",
    "checksum",
    "signature",
    "expires_at",
    "metadata",
    "inline",
    "blob",
    "blob_store",
    "stored_bytes",
    "logical_bytes",
    "prefix",
    "renewed_at",
    "distribution",
)
_FOUND = ", ".join(_FOUND_COLUMNS)
_sound_types: set[tuple[type, ...]] = set()
"""Of the rows that were found to be as they should be, see `sqlite_sound`."""
_FIND = f"SELECT {_FOUND} FROM entries {_KEYED}"
_FIND_MANY = (
    f"SELECT {_FOUND}, cache_key FROM entries "
    "WHERE cache_key IN (SELECT value FROM json_each(?)) AND namespace = ?"
)
_FIND_PLAIN = (
    # The sum is a number, whatever somebody wrote there.
    f"SELECT handler, checksum, expires_at + 0.0, inline FROM entries {_KEYED} "
    "AND inline IS NOT NULL AND signature IS NULL AND metadata IS NULL "
    "AND compressor = 'none' AND handler_version = 1"
)

_SMALLEST_SQLITE = (3, 35, 0)
"""``RETURNING`` came with it."""
_HEADER, _READ_VERSION = 20, 19
"""Where the file says which journal it has: 1 is a rollback journal, 2 the log."""


class SQLiteBackend(MetadataBackend):
    """Records entries in ``metadata.sqlite3``: safe for threads, processes and forks.

    Readers take no lock and never wait for a writer; writers wait for each other up to
    ``lock_timeout``.
    """

    capabilities = frozenset({"inline", "query", "records", "transactions", "watch"})
    knows_its_size = True
    finds_plain = True

    def __init__(
        self,
        context: BackendContext,
        *,
        busy_timeout: float | None = None,
        journal: Journal | None = None,
    ) -> None:
        """Open ``metadata.sqlite3`` in the cache's directory, and make it where there is none.

        Args:
            context: The cache's directory, namespace and configuration.
            busy_timeout: Seconds to wait for a lock instead of ``lock_timeout``.
            journal: ``"wal"`` or ``"rollback"``, instead of what suits the file system.

        Raises:
            ConfigError: The directory or the file can't be used.
        """
        if sqlite3.sqlite_version_info < _SMALLEST_SQLITE:
            raise ConfigError(
                f"metadata_backend='sqlite' needs SQLite 3.35 or newer, this Python has "
                f"{sqlite3.sqlite_version}"
            )
        if journal not in (None, "wal", "rollback"):
            raise ConfigError(f"journal={journal!r} is neither 'wal' nor 'rollback'")
        config = context.config
        self._namespace = context.namespace
        self._context = context
        self.directory = directory = context.make_directory()
        self._path = os.path.join(directory, "metadata.sqlite3")
        self._connections = Connections(
            self._path,
            timeout=config.lock_timeout if busy_timeout is None else busy_timeout,
            durable=config.durability == "fsync",
            read_only=config.read_only,
            journal=journal or _journal_for(self._path),
        )
        self._row = self._connections.row
        self._kept = KeptRows(self._connections, _FIND_PLAIN, self._namespace)
        self._made_changes: Changes | None = None
        try:
            self._connections.prepare(for_group=config.permissions == "group")
        except BaseException:
            self.close()
            raise

    # --- single entries ---------------------------------------------------------------

    def find(self, cache_key: str) -> StoredPayload | None:
        row: StoredPayload | None = self._row(_FIND, (cache_key, self._namespace))
        return None if row is None else _sound(row)

    def find_many(self, cache_keys: Sequence[str]) -> dict[str, StoredPayload]:
        import json

        rows = self._connections.rows(_FIND_MANY, (json.dumps(list(cache_keys)), self._namespace))
        return {row[-1]: _sound(row[:-1]) for row in rows}

    def find_plain(self, cache_key: str) -> PlainPayload | None:
        """[hot] Four columns instead of sixteen: each costs 0.25 µs on its way to Python.

        The conditions on the others are SQLite's to check, which costs next to nothing.
        A row that was read before is given again as long as nobody commits (`KeptRows`).
        """
        return self._kept.find(cache_key)

    def get_entry(self, cache_key: str) -> Entry | None:
        from cacheness.backends.sqlite_rows import RECORD, entry_of

        statement = f"SELECT {RECORD}, inline FROM entries {_KEYED}"
        row = self._row(statement, (cache_key, self._namespace))
        return None if row is None else entry_of(row[:-1], row[-1])

    def put_entry(self, entry: Entry, *, if_absent: bool = False) -> Entry | None:
        return self._changes.put(entry, if_absent=if_absent)

    def put_plain(self, plain: PlainEntry) -> Remains | None:
        return (self._made_changes or self._changes).put_plain(plain)

    def touch_entry(self, cache_key: str, prefix: str | None, *, now: float) -> bool | None:
        return (self._made_changes or self._changes).touch(cache_key, prefix, now)

    def update_fields(
        self, cache_key: str, changes: Mapping[str, Any], *, if_generation: int | None = None
    ) -> bool:
        return self._changes.update_fields(cache_key, changes, if_generation)

    def remove_entry(self, cache_key: str) -> Removed | None:
        return (self._made_changes or self._changes).remove(cache_key)

    def delete_entry(self, cache_key: str, *, if_generation: int | None = None) -> Entry | None:
        return self._changes.delete(cache_key, if_generation)

    def expire_entry(self, cache_key: str, *, if_generation: int, now: float) -> Entry | None:
        return self._changes.expire(cache_key, if_generation, now)

    @property
    def _changes(self) -> Changes:
        """Made at first need, since a read does without."""
        if self._made_changes is None:
            from cacheness.backends.sqlite_changes import Changes

            self._made_changes = Changes(self._connections, self._namespace)
        return self._made_changes

    def record_hits(self, hits: Mapping[str, tuple[int, float]]) -> None:
        from cacheness.backends.sqlite_hits import record_hits

        record_hits(self._connections, self._namespace, hits)

    def labels(self, cache_keys: Sequence[str]) -> dict[str, Labels]:
        from cacheness.backends.sqlite_hits import labels

        return labels(self._connections, self._namespace, cache_keys)

    # --- many entries -----------------------------------------------------------------

    def iter_entry_summaries(self) -> Iterator[dict[str, Any]]:
        from cacheness.backends.sqlite_bulk import iter_summaries

        return iter_summaries(self._connections, self._namespace)

    def iter_keys(self) -> Iterator[str]:
        from cacheness.backends.sqlite_bulk import iter_keys

        return iter_keys(self._connections, self._namespace)

    def rename_entries(self, renames: Iterable[tuple[str, int, Mapping[str, Any]]]) -> list[str]:
        from cacheness.backends.sqlite_bulk import rename_entries

        return rename_entries(self._connections, self._namespace, renames)

    def count(self) -> int:
        from cacheness.backends.sqlite_totals import count

        return count(self._connections, self._namespace)

    def total_size(self) -> int:
        from cacheness.backends.sqlite_totals import total_size

        return total_size(self._connections, self._namespace)

    def held(self, now: float) -> list[Held]:
        from cacheness.backends.sqlite_sums import held

        return held(self._connections, self._namespace, now)

    def query_meta(self, /, **filters: Any) -> Iterator[str]:
        from cacheness.backends.sqlite_bulk import query
        from cacheness.filters import Filter

        return iter(query(self._connections, self._namespace, Filter.parse(filters)))

    def query_where(self, filter: Filter, expression: object) -> Iterator[str]:
        from cacheness.backends.sqlite_where import query_where

        return iter(query_where(self._connections, self._namespace, filter, expression))

    def put_entries(self, entries: Iterable[Entry]) -> list[Entry]:
        from cacheness.backends.sqlite_bulk import put_entries

        return put_entries(self._connections, self._namespace, entries)

    def put_prepared(self, prepared: Iterable[Entry | PlainEntry]) -> list[Entry]:
        from cacheness.backends.sqlite_bulk import put_entries

        return put_entries(self._connections, self._namespace, prepared)

    def get_entries(self, cache_keys: Sequence[str]) -> dict[str, Entry]:
        from cacheness.backends.sqlite_bulk import get_entries

        return get_entries(self._connections, self._namespace, cache_keys)

    def delete_entries(self, cache_keys: Iterable[str]) -> list[Entry]:
        from cacheness.backends.sqlite_bulk import delete_entries

        return delete_entries(self._connections, self._namespace, cache_keys)

    def delete_generations(self, generations: Mapping[str, int]) -> list[Entry]:
        from cacheness.backends.sqlite_bulk import delete_generations

        return delete_generations(self._connections, self._namespace, generations)

    def query_records(self, query: RecordQuery) -> Iterator[tuple[str, Any]]:
        from cacheness.backends.sqlite_records import query_records

        return query_records(self._connections.rows, self._namespace, query)

    def touch_entries(self, filter: Filter, *, now: float) -> int:
        from cacheness.backends.sqlite_bulk import touch

        return touch(self._connections, self._namespace, filter, now)

    def delete_where(self, filter: Filter) -> list[Entry]:
        from cacheness.backends.sqlite_bulk import delete_where

        return delete_where(self._connections, self._namespace, filter)

    def remove_where(self, filter: Filter) -> list[Removed]:
        from cacheness.backends.sqlite_bulk import remove_where

        return remove_where(self._connections, self._namespace, filter)

    def remove_generations(self, generations: Mapping[str, int]) -> list[Removed]:
        from cacheness.backends.sqlite_bulk import remove_generations

        return remove_generations(self._connections, self._namespace, generations)

    def delete_expired(self, now: float) -> list[Entry]:
        from cacheness.backends.sqlite_bulk import delete_expired

        return delete_expired(self._connections, self._namespace, now)

    def victims(self, policy: str, size: int, count: int) -> list[Entry]:
        from cacheness.backends.sqlite_eviction import victims

        return victims(self._connections, self._namespace, policy, size, count)

    def evict(
        self, policy: str, *, max_size: int | None, max_entries: int | None, slack: float = 0.1
    ) -> list[Entry]:
        from cacheness.backends.sqlite_eviction import evict

        def excess() -> tuple[int, int]:
            size = 0 if max_size is None else self._excess(self.total_size(), max_size, slack)
            number = 0 if max_entries is None else self._excess(self.count(), max_entries, slack)
            return size, number

        return evict(self._connections, self._namespace, policy, excess)

    # --- the store --------------------------------------------------------------------

    @property
    def store_id(self) -> str:
        from cacheness.payloads.layout import store_id

        return store_id(self._context.directory, self._context.config)

    def namespaces(self) -> list[str]:
        from cacheness.backends.sqlite_totals import namespaces

        return namespaces(self._connections)

    def iter_blob_names(self) -> Iterator[str]:
        from cacheness.backends.sqlite_bulk import iter_blob_names

        return iter_blob_names(self._connections)

    def check_store(self, *, repair: bool) -> list[str]:
        from cacheness.backends.sqlite_sums import forget_sums
        from cacheness.backends.sqlite_totals import recount

        try:
            found = self._connections.rows("PRAGMA quick_check(20)")
        except BackendUnavailableError as error:
            if isinstance(error.__cause__, sqlite3.OperationalError):
                raise  # locked, or gone
            return [str(error)]
        faults = [f"{self._path}: {row[0]}" for row in found if row[0] != "ok"]
        if repair and not faults:
            recount(self._connections)
            forget_sums(self._connections)
        return faults

    def read_notes(self, kind: str) -> dict[str, Any]:
        import json

        statement = "SELECT name, value FROM notes WHERE namespace = ? AND kind = ?"
        rows = self._connections.rows(statement, (self._namespace, kind))
        return {name: json.loads(value) for name, value in rows}

    def write_notes(self, kind: str, notes: Mapping[str, Any]) -> None:
        import json

        with self._connections.transaction() as execute:
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

    def read_statistics(self) -> dict[str, float]:
        from cacheness.backends.sqlite_hits import read_statistics

        return read_statistics(self._connections, self._namespace)

    def add_statistics(self, amounts: Mapping[str, float]) -> None:
        from cacheness.backends.sqlite_hits import add_statistics

        add_statistics(self._connections, self._namespace, amounts)

    def change_token(self) -> object:
        """Differs after a commit of any other connection; this one's own are told by the caller."""
        return self._connections.version()

    def close(self) -> None:
        self._connections.close()


def _sound(row: Any) -> StoredPayload:
    """[hot] The row; what is of a wrong type in it is replaced."""
    if tuple(map(type, row)) in _sound_types:
        sound: StoredPayload = row
        return sound
    from cacheness.backends.sqlite_sound import sound_row

    return tuple(sound_row(row, _FOUND_COLUMNS, _sound_types))


def _journal_for(path: str) -> Journal:
    """The journal that suits the file system; see `_suited_journal`."""
    try:
        return _suited_journal(path)
    except OSError as error:
        raise BackendUnavailableError(f"{path} can't be used: {error}") from error


def _suited_journal(path: str) -> Journal:
    """A disk tells by its device, which takes 2 µs."""
    directory = os.path.dirname(path)
    if sys.platform.startswith("linux") and os.path.isdir(directory):
        if os.major(os.stat(directory).st_dev) != 0:
            return "wal"
    elif os.path.exists(path):
        # Elsewhere a program has to be asked, so that only who makes the file does so.
        with open(path, "rb") as file:
            return "rollback" if file.read(_HEADER)[_READ_VERSION:] == b"\1" else "wal"
    from cacheness.backends.sqlite_journal import journal_for

    return journal_for(directory)
