# SPDX-License-Identifier: MIT
"""The tables of the SQLite file, and whether they are all that there is in one.

A view or a virtual table in the place of a table, a generated column, a trigger: each makes
SQLite compute what the writer of the file likes, for hours or up to a gigabyte, as somebody
reads an entry. So a file with anything that is not made here is not used; `sqlite_compiling`
says when that is looked at.
"""

from __future__ import annotations

from cacheness.errors import BackendUnavailableError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "COLUMNS",
    "SCHEMA",
    "SCHEMA_VERSION",
    "NewerSchemaError",
    "check_schema",
    "check_version",
]

SCHEMA_VERSION = 1

COLUMNS = {
    "namespace": "TEXT NOT NULL",
    "cache_key": "TEXT NOT NULL",
    "generation": "INTEGER NOT NULL",
    "handler": "TEXT NOT NULL",
    "handler_version": "INTEGER NOT NULL DEFAULT 1",
    "compressor": "TEXT NOT NULL DEFAULT 'none'",
    "checksum": "TEXT NOT NULL",
    "signature": "TEXT",
    "expires_at": "REAL",
    "metadata": "TEXT",
    "blob": "TEXT",
    "blob_store": "TEXT",
    "stored_bytes": "INTEGER NOT NULL",
    "logical_bytes": "INTEGER NOT NULL",
    "prefix": "TEXT NOT NULL DEFAULT ''",
    "renewed_at": "REAL NOT NULL",
    "distribution": "TEXT NOT NULL",
    "created_at": "REAL NOT NULL",
    "accessed_at": "REAL NOT NULL",
    "ttl_seconds": "REAL",
    "stale_until": "REAL",
    "pinned": "INTEGER NOT NULL DEFAULT 0",
    "hits": "INTEGER NOT NULL DEFAULT 0",
    "cost_seconds": "REAL",
    "function": "TEXT",
    "details": "TEXT",
    "worth": "REAL NOT NULL",
    "inline": "BLOB",
}
"""What the store selects or orders by. The payload comes last, so that nothing that is
read without it lies behind its overflow pages; what is only described is in ``details``;
``worth`` is `cacheness.worth.cost_rank`, by which one policy evicts."""

_TABLES = (
    "CREATE TABLE IF NOT EXISTS entries (id INTEGER PRIMARY KEY, "
    + ", ".join(f"{name} {of}" for name, of in COLUMNS.items())
    + ")",
    # The key comes first, where SQLite compares without unpacking the rest of the record.
    "CREATE UNIQUE INDEX IF NOT EXISTS entries_by_key ON entries (cache_key, namespace)",
    (
        "CREATE INDEX IF NOT EXISTS entries_by_expiry ON entries (namespace, expires_at) "
        "WHERE expires_at IS NOT NULL"
    ),
    (
        "CREATE TABLE IF NOT EXISTS notes (namespace TEXT NOT NULL, kind TEXT NOT NULL, "
        "name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (namespace, kind, name)) "
        "WITHOUT ROWID"
    ),
)

_TOTALS = (
    (
        "CREATE TABLE IF NOT EXISTS totals (namespace TEXT NOT NULL PRIMARY KEY, "
        "entries INTEGER NOT NULL, bytes INTEGER NOT NULL) WITHOUT ROWID"
    ),
    "CREATE TABLE IF NOT EXISTS counted (last_id INTEGER NOT NULL PRIMARY KEY)",
    "INSERT INTO counted SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM counted)",
    (
        "CREATE TRIGGER IF NOT EXISTS entry_gone AFTER DELETE ON entries "
        "WHEN old.id <= (SELECT last_id FROM counted) BEGIN "
        "UPDATE totals SET entries = entries - 1, bytes = bytes - old.stored_bytes "
        "WHERE namespace = old.namespace; "
        "UPDATE counted SET last_id = coalesce((SELECT max(id) FROM entries "
        "WHERE id < old.id), 0) WHERE last_id = old.id; END"
    ),
    (
        "CREATE TRIGGER IF NOT EXISTS entry_resized AFTER UPDATE OF stored_bytes ON entries "
        "WHEN old.stored_bytes != new.stored_bytes "
        "AND old.id <= (SELECT last_id FROM counted) BEGIN "
        "UPDATE totals SET bytes = bytes - old.stored_bytes + new.stored_bytes "
        "WHERE namespace = old.namespace; END"
    ),
)
"""See `sqlite_totals`."""

SCHEMA = (*_TABLES, *_TOTALS)
"""What makes them, where they are not there yet."""

_KNOWN = {statement.replace(" IF NOT EXISTS", "") for statement in SCHEMA}


class NewerSchemaError(BackendUnavailableError):
    """A newer cacheness made the file, or has changed it meanwhile."""


def check_version(path: str, version: int) -> None:
    """Tell the version of a schema, which the file keeps, from those to come.

    Raises:
        NewerSchemaError: It is one of those.
    """
    if version > SCHEMA_VERSION:
        raise NewerSchemaError(
            f"{path} has the schema {version}, this cacheness knows up to {SCHEMA_VERSION}: "
            "upgrade cacheness-core, or name another directory"
        )


def check_schema(path: str, schema: Iterable[tuple[object, object, object]]) -> None:
    """Take a look at all tables, indexes and triggers: type, name and statement of each.

    Raises:
        BackendUnavailableError: There is one that nothing here makes.
    """
    seen = set()
    for kind, name, statement in schema:
        if (kind, name) in seen:
            # A damaged file can have one page stand for any number of them.
            raise BackendUnavailableError(
                f"{path} is not used, as it has {kind!s:.20} {name!s:.80} more than once: "
                "remove the file to begin anew"
            )
        seen.add((kind, name))
        # SQLite makes an index of its own for a primary key, and has no statement for it.
        if statement in _KNOWN or (statement is None and kind == "index"):
            continue
        from cacheness.backends.sqlite_later import is_made_later

        if not is_made_later(statement):
            raise BackendUnavailableError(
                f"{path} is not used, as it has {kind!s:.20} {name!s:.80}, which "
                "cacheness did not make: drop it, or remove the file to begin anew"
            )
