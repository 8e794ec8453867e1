# SPDX-License-Identifier: MIT
# ruff: noqa: S608  # what is put into SQL is a checked schema name; all values are bound
"""The fixed statements on entries, written out for the server to prepare."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from cacheness_postgres.rows import COLUMNS, FOUND

__all__ = ["KINDS", "RETURNED", "Statements", "returned", "statements"]

_TYPES = {
    "generation": "int8",
    "params": "jsonb",
    "handler_version": "int8",
    "stored_bytes": "int8",
    "logical_bytes": "int8",
    "inline": "bytea",
    "created_at": "float8",
    "renewed_at": "float8",
    "accessed_at": "float8",
    "ttl_seconds": "float8",
    "expires_at": "float8",
    "stale_until": "float8",
    "pinned": "bool",
    "hits": "int8",
    "cost_seconds": "float8",
    "tags": "jsonb",
    "custom_metadata": "jsonb",
    "exact": "bytea",
}
KINDS = tuple(_TYPES.get(name, "text") for name in COLUMNS)
"""The types of `COLUMNS`."""


def returned(table: str = "") -> str:
    """All columns, but NULL for the payload, which nobody needs of an entry that is gone."""
    dot = f"{table}." if table else ""
    return ", ".join(
        "NULL::bytea AS inline" if name == "inline" else dot + name for name in COLUMNS
    )


RETURNED = returned()

_AS_TEXT = {"inline": "NULL", "exact": "encode(old.exact, 'hex')"}
_OLD = (
    "CASE WHEN old.generation IS NOT NULL THEN ARRAY["
    + ", ".join(_AS_TEXT.get(name, f"old.{name}::text") for name in COLUMNS)
    + "] END"
)
"""The row that an upsert replaced as one value, for `cacheness_postgres.rows.from_texts`:
describing 35 columns to the client at every put takes longer than all else that we add to an
upsert, and psycopg reads an array of texts in C, but a composite value in Python."""

_OLD_REMAINS = "old.generation, old.prefix, old.blob, old.blob_store, old.exact"
"""Of that row what a plain put has to know, see `cacheness_postgres.rows.to_remains`."""

_OVER = "namespace = %b AND expires_at <= %b AND coalesce(stale_until, '-infinity') <= %b"
"""Asked twice by a deletion: of what is to be locked, and of that as it is once it is."""


@dataclass(frozen=True, slots=True)
class Statements:
    """Statements on the entries of one schema. Each names its values in its comment."""

    find: str  # namespace, cache_key
    find_many: str  # namespace, cache_keys
    get: str  # namespace, cache_key
    get_many: str  # namespace, cache_keys
    get_locked: str  # namespace, cache_keys
    labels: str  # namespace, cache_keys
    put: str  # *row, channel, sender; from PostgreSQL 18 on
    put_plain: str  # *row, channel, sender; from PostgreSQL 18 on
    put_locking: str  # namespace, cache_key, *row, channel, sender
    add: str  # *row
    touch: str  # now, namespace, cache_key, prefix, prefix, channel, sender
    rewrite: str  # *row, namespace, cache_key
    standing: str  # namespace, cache_key
    delete: str  # namespace, cache_key, channel, sender
    delete_generation: str  # namespace, cache_key, generation, channel, sender
    delete_many: str  # namespace, cache_keys, channel, sender
    delete_those: str  # namespace, cache_keys, generations, channel, sender
    expire: str  # namespace, cache_key, generation, now, channel, sender
    expire_all: str  # namespace, now, now, namespace, now, now, channel, sender
    hits: str  # cache_keys, counts, times, namespace
    page: str  # namespace, last cache_key
    keys: str  # namespace, last cache_key
    blobs: str  # last namespace, last cache_key
    count: str  # namespace
    total: str  # namespace
    totals: str  # namespace
    held: str  # now, namespace, what to take from times
    inexact: str  # namespace
    namespaces: str
    store_id: str
    read_notes: str  # namespace, kind
    write_notes: str  # namespace, kind, names, values
    add_notes: str  # namespace, kind, names, amounts
    drop_notes: str  # namespace, kind, names
    notify: str  # channel, sender


@cache
def statements(schema: str) -> Statements:
    """The statements on the schema of that name, which `check_schema_name` has passed."""
    entries, notes = f"{schema}.entries", f"{schema}.notes"
    keyed = "namespace = %b AND cache_key = %b"
    columns = ", ".join(COLUMNS)
    values = ", ".join(f"%b::{kind}" for kind in KINDS)
    replaced = ", ".join(
        f"{name} = excluded.{name}" for name in COLUMNS if name not in ("namespace", "cache_key")
    )
    return Statements(
        find=f"SELECT {FOUND} FROM {entries} WHERE {keyed}",
        find_many=f"SELECT {FOUND}, cache_key FROM {entries} "
        "WHERE namespace = %b AND cache_key = ANY(%b)",
        get=f"SELECT {columns} FROM {entries} WHERE {keyed}",
        get_many=f"SELECT {columns} FROM {entries} WHERE namespace = %b AND cache_key = ANY(%b)",
        get_locked=f"SELECT {columns} FROM {entries} WHERE namespace = %b "
        "AND cache_key = ANY(%b) ORDER BY cache_key FOR UPDATE",
        rewrite=f"UPDATE {entries} SET ({columns}) = ROW({values}) WHERE {keyed}",
        labels=f"SELECT cache_key, function, prefix, handler, cost_seconds, exact FROM {entries} "
        "WHERE namespace = %b AND cache_key = ANY(%b)",
        put=f"INSERT INTO {entries} AS e ({columns}) VALUES ({values}) "
        f"ON CONFLICT (namespace, cache_key) DO UPDATE SET {replaced} "
        f"RETURNING 1, {_OLD}, {_news(schema)}",
        put_plain=f"INSERT INTO {entries} AS e ({columns}) VALUES ({values}) "
        f"ON CONFLICT (namespace, cache_key) DO UPDATE SET {replaced} "
        f"RETURNING {_OLD_REMAINS}, {_news(schema)}",
        put_locking=_put_locking(schema, keyed, columns, values, replaced),
        add=f"INSERT INTO {entries} ({columns}) VALUES ({values}) "
        f"ON CONFLICT (namespace, cache_key) DO NOTHING RETURNING nextval('{schema}.added')",
        touch=f"WITH at AS (SELECT %b::float8 AS now), touched AS (UPDATE {entries} AS e SET "
        "accessed_at = at.now, renewed_at = at.now, expires_at = at.now + e.ttl_seconds, "
        "stale_until = at.now + e.ttl_seconds + (e.stale_until - e.expires_at) FROM at "
        "WHERE e.namespace = %b AND e.cache_key = %b "
        "AND (e.expires_at IS NULL OR e.expires_at > at.now) "
        "AND (%b::text IS NULL OR e.prefix = %b) RETURNING 1), "
        "told AS MATERIALIZED (SELECT pg_notify(%b, %b) AS void WHERE EXISTS "
        "(SELECT FROM touched)) SELECT told.void FROM told",
        standing=f"SELECT {RETURNED} FROM {entries} WHERE {keyed}",
        delete=_telling(f"DELETE FROM {entries} WHERE {keyed}"),
        delete_generation=_telling(f"DELETE FROM {entries} WHERE {keyed} AND generation = %b"),
        delete_many=_telling(
            f"DELETE FROM {entries} WHERE namespace = %b AND cache_key IN (SELECT cache_key "
            f"FROM {entries} WHERE namespace = %b AND cache_key = ANY(%b) "
            "ORDER BY cache_key FOR UPDATE)"
        ),
        delete_those=_telling(
            f"DELETE FROM {entries} AS e USING unnest(%b::text[], %b::int8[]) AS those (k, g) "
            "WHERE e.namespace = %b AND e.cache_key = those.k AND e.generation = those.g",
            "e",
        ),
        expire=_telling(
            f"DELETE FROM {entries} WHERE {keyed} AND generation = %b AND expires_at <= %b"
        ),
        expire_all=_telling(
            f"DELETE FROM {entries} WHERE {_OVER} AND cache_key IN (SELECT cache_key "
            f"FROM {entries} WHERE {_OVER} ORDER BY cache_key FOR UPDATE)"
        ),
        # Rows are locked in one order, so that two machines never wait for each other.
        hits=f"WITH news AS (SELECT * FROM unnest(%b::text[], %b::int8[], %b::float8[]) "
        f"AS n (k, count, at)), locked AS (SELECT e.cache_key FROM {entries} AS e JOIN news "
        "ON e.cache_key = news.k WHERE e.namespace = %b ORDER BY e.cache_key "
        f"FOR NO KEY UPDATE OF e), updated AS (UPDATE {entries} AS e SET "
        "hits = e.hits + news.count, accessed_at = greatest(e.accessed_at, news.at) "
        "FROM locked, news "
        "WHERE e.namespace = %b AND e.cache_key = locked.cache_key AND news.k = e.cache_key "
        "RETURNING 1) SELECT count(*) FROM updated",
        page=f"SELECT {RETURNED} FROM {entries} WHERE namespace = %b AND cache_key > %b "
        "ORDER BY cache_key LIMIT 1000",
        keys=f"SELECT cache_key FROM {entries} WHERE namespace = %b AND cache_key > %b "
        "ORDER BY cache_key LIMIT 10000",
        blobs=f"SELECT namespace, cache_key, blob FROM {entries} "
        "WHERE (namespace, cache_key) > (%b, %b) AND blob IS NOT NULL "
        "ORDER BY namespace, cache_key LIMIT 10000",
        count=f"SELECT count(*) FROM {entries} WHERE namespace = %b",
        total=f"SELECT coalesce(sum(stored_bytes), 0)::int8 FROM {entries} WHERE namespace = %b",
        totals="SELECT count(*), coalesce(sum(stored_bytes), 0)::int8 "
        f"FROM {entries} WHERE namespace = %b",
        held="SELECT function, code_digest, prefix, handler, count(*), sum(stored_bytes), "
        "sum(logical_bytes), count(*) FILTER (WHERE pinned), "
        f"count(*) FILTER (WHERE expires_at <= %b), max(created_at) FROM {entries} "
        "WHERE namespace = %b AND exact IS NULL "
        "GROUP BY function, code_digest, prefix, handler, floor((created_at - %b) / 86400)",
        inexact=f"SELECT {RETURNED} FROM {entries} WHERE namespace = %b AND exact IS NOT NULL",
        namespaces=_namespaces(entries),
        store_id=f"SELECT value FROM {schema}.settings WHERE name = 'store_id'",
        read_notes=f"SELECT name, value FROM {notes} WHERE namespace = %b AND kind = %b",
        write_notes=f"INSERT INTO {notes} (namespace, kind, name, value) "
        "SELECT %b, %b, n, v FROM unnest(%b::bytea[], %b::bytea[]) AS news (n, v) ORDER BY n "
        "ON CONFLICT (namespace, kind, name) DO UPDATE SET value = excluded.value RETURNING true",
        add_notes=f"INSERT INTO {notes} AS s (namespace, kind, name, value) "
        "SELECT %b, %b, n, v FROM unnest(%b::bytea[], %b::bytea[]) AS news (n, v) ORDER BY n "
        "ON CONFLICT (namespace, kind, name) DO UPDATE SET value = convert_to(("
        "convert_from(s.value, 'UTF8')::float8 + convert_from(excluded.value, 'UTF8')::float8"
        ")::text, 'UTF8') RETURNING true",
        drop_notes=f"DELETE FROM {notes} WHERE namespace = %b AND kind = %b AND name = ANY(%b) "
        "RETURNING true",
        notify="SELECT pg_notify(%b, %b)",
    )


def _news(schema: str) -> str:
    """Count a new entry, or tell of a replaced one: a text without meaning."""
    return (
        f"CASE WHEN old.generation IS NULL THEN nextval('{schema}.added')::text "
        "ELSE pg_notify(%b, %b)::text END"
    )


def _put_locking(schema: str, keyed: str, columns: str, values: str, replaced: str) -> str:
    """Upsert one row and give whether it was written, the row that it replaced, and news.

    From version 18 on the server can return the old row by itself, and does so faster.

    ``old`` locks the row that stands, in its newest version, before ``written`` starts,
    since that selects from it. Where there is none yet that we could see, but somebody
    inserts one before us, the conflict is with a row that is not in ``old``: nothing is
    written then, ``written`` is 0, and the caller runs the statement again. So what is
    returned is exactly what was replaced, whatever happens at the same time.
    """
    entries = f"{schema}.entries"
    return (
        f"WITH old AS MATERIALIZED (SELECT {RETURNED} FROM {entries} WHERE {keyed} FOR UPDATE), "
        f"written AS (INSERT INTO {entries} AS e ({columns}) SELECT {values} "
        "FROM (SELECT count(*) FROM old) AS locked "
        f"ON CONFLICT (namespace, cache_key) DO UPDATE SET {replaced} "
        "WHERE e.generation = (SELECT generation FROM old) RETURNING 1) "
        "SELECT (SELECT count(*) FROM written), "
        f"{_OLD}, {_news(schema)} FROM (SELECT) AS always LEFT JOIN old ON true"
    )


def _telling(delete: str, table: str = "") -> str:
    """A deletion that gives what it removed after one notification: a void, then `RETURNED`."""
    return (
        f"WITH removed AS ({delete} RETURNING {returned(table)}), told AS MATERIALIZED "
        "(SELECT pg_notify(%b, %b) AS void WHERE EXISTS (SELECT FROM removed)) "
        "SELECT told.void, removed.* FROM told, removed"
    )


def _namespaces(entries: str) -> str:
    """Hops along the primary key from one namespace to the next."""
    return (
        f"WITH RECURSIVE n AS ((SELECT namespace FROM {entries} ORDER BY namespace LIMIT 1) "
        f"UNION ALL SELECT (SELECT namespace FROM {entries} WHERE namespace > n.namespace "
        "ORDER BY namespace LIMIT 1) FROM n WHERE n.namespace IS NOT NULL) "
        "SELECT namespace FROM n WHERE namespace IS NOT NULL ORDER BY namespace"
    )
