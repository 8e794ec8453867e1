# SPDX-License-Identifier: MIT
"""The tables of the SQLite file, and how an entry becomes a row of them."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cacheness.entry import Entry

__all__ = ["COLUMNS", "SCHEMA", "SCHEMA_VERSION", "entry_of", "row_of", "summary_of"]

SCHEMA_VERSION = 1

COLUMNS = {
    "namespace": "TEXT NOT NULL",
    "cache_key": "TEXT NOT NULL",
    "generation": "INTEGER NOT NULL",
    "handler": "TEXT NOT NULL",
    "handler_version": "INTEGER NOT NULL",
    "compressor": "TEXT NOT NULL",
    "checksum": "TEXT NOT NULL",
    "signature": "TEXT",
    "expires_at": "REAL",
    "metadata": "TEXT",
    "blob": "TEXT",
    "blob_store": "TEXT",
    "stored_bytes": "INTEGER NOT NULL",
    "logical_bytes": "INTEGER NOT NULL",
    "prefix": "TEXT NOT NULL",
    "renewed_at": "REAL NOT NULL",
    "distribution": "TEXT NOT NULL",
    "created_at": "REAL NOT NULL",
    "accessed_at": "REAL NOT NULL",
    "ttl_seconds": "REAL",
    "stale_until": "REAL",
    "pinned": "INTEGER NOT NULL",
    "hits": "INTEGER NOT NULL",
    "cost_seconds": "REAL",
    "function": "TEXT",
    "details": "TEXT",
    "inline": "BLOB",
}
"""What the store selects or orders by. The payload comes last, so that nothing that is
read without it lies behind its overflow pages; what is only described is in ``details``."""

_DETAILS: dict[str, Any] = {
    "description": "",
    "params": {},
    "object_type": "",
    "summary": "",
    "code_digest": None,
    "key_parts": {},
    "tags": (),
    "custom_metadata": {},
}
"""Fields that stand in the JSON object ``details``, where they are not these defaults."""

SCHEMA = (
    "CREATE TABLE IF NOT EXISTS entries (id INTEGER PRIMARY KEY, "
    + ", ".join(f"{name} {of}" for name, of in COLUMNS.items())
    + ")",
    "CREATE UNIQUE INDEX IF NOT EXISTS entries_by_key ON entries (namespace, cache_key)",
    (
        "CREATE INDEX IF NOT EXISTS entries_by_expiry ON entries (expires_at) "
        "WHERE expires_at IS NOT NULL"
    ),
    (
        "CREATE TABLE IF NOT EXISTS notes (namespace TEXT NOT NULL, kind TEXT NOT NULL, "
        "name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (namespace, kind, name)) "
        "WITHOUT ROWID"
    ),
)


def row_of(entry: Entry) -> tuple[Any, ...]:
    """An entry as the table's row, in the order of `COLUMNS`."""
    return (
        entry.namespace,
        entry.cache_key,
        entry.generation,
        entry.handler,
        entry.handler_version,
        entry.compressor,
        entry.checksum,
        entry.signature,
        entry.expires_at,
        _dump(entry.metadata) if entry.metadata else None,
        entry.blob,
        entry.blob_store,
        entry.stored_bytes,
        entry.logical_bytes,
        entry.prefix,
        entry.renewed_at,
        entry.distribution,
        entry.created_at,
        entry.accessed_at,
        entry.ttl_seconds,
        entry.stale_until,
        entry.pinned,
        entry.hits,
        entry.cost_seconds,
        entry.function,
        _dump(_details(entry)),
        entry.inline,
    )


def summary_of(row: tuple[Any, ...]) -> dict[str, Any]:
    """A row without the payload as a flat dict of `Entry`'s fields."""
    summary = dict(zip(COLUMNS, row, strict=False))
    details = summary.pop("details")
    summary["metadata"] = _load(summary["metadata"]) if summary["metadata"] else {}
    summary["pinned"] = bool(summary["pinned"])
    for name, default in _DETAILS.items():
        summary[name] = default.copy() if isinstance(default, dict) else default
    if details:
        summary.update(_load(details))
        summary["tags"] = tuple(summary["tags"])
    return summary


def _details(entry: Entry) -> dict[str, Any]:
    fields = {}
    for name, default in _DETAILS.items():
        value = getattr(entry, name)
        if value != default:
            fields[name] = value
    return fields


def entry_of(row: tuple[Any, ...]) -> Entry:
    """A row with the payload, or NULL for it, as an entry."""
    from cacheness.entry import build_entry

    summary = summary_of(row[:-1])
    return build_entry(inline=row[-1], **summary)


def _dump(value: Any) -> str:
    """JSON text; the standard library's where orjson can't keep the value."""
    import orjson

    try:
        return orjson.dumps(value).decode()
    except TypeError:
        import json

        return json.dumps(value, ensure_ascii=True, separators=(",", ":"))


def _load(text: str) -> Any:
    """Exact for what either wrote: orjson would make floats of large integers."""
    import json

    return json.loads(text)
