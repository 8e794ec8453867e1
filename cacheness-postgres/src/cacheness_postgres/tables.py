# SPDX-License-Identifier: MIT
"""The tables as SQLAlchemy sees them, for making them and for dynamic queries."""

from __future__ import annotations

from functools import cache
from math import log
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    FromClause,
    Index,
    LargeBinary,
    MetaData,
    Numeric,
    PrimaryKeyConstraint,
    Table,
    Text,
    case,
    cast,
    collate,
    false,
    func,
    literal_column,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

from cacheness.worth import COST_HALF_LIFE, ENTRY_WEIGHT, UNKNOWN_COST

if TYPE_CHECKING:
    from sqlalchemy.sql.elements import ColumnElement

__all__ = [
    "DIALECT",
    "INDEXED_CHARACTERS",
    "UNCOMPRESSED",
    "Tables",
    "beginning",
    "eviction_order",
    "filled",
    "number_at",
    "tables",
    "text_at",
    "worth",
]

DIALECT = PGDialect_psycopg()  # type: ignore[no-untyped-call]  # SQLAlchemy gives it none

INDEXED_CHARACTERS = 200
"""Of a text of any length an index holds these: a B-tree refuses more than 2.7 kB."""

UNCOMPRESSED = (("entries", "inline"), ("incoming", "inline"), ("blob_chunks", "data"))
"""Payloads are compressed by us or not worth it; the server need not try."""


class Tables(NamedTuple):
    """The tables of one schema."""

    metadata: MetaData
    """All of them, for making."""
    entries: Table
    """An entry a row: columns in the order of `Entry`'s fields, then ``exact``.

    Defaults are for what `copying.PLAIN_COLUMNS` leave out."""
    notes: Table
    """Small side tables: name → JSON for each namespace and kind, all three as JSON in bytes."""
    blobs: Table
    """A blob a row, in the same transaction as its chunks."""
    chunks: Table
    """The bytes of blobs."""
    settings: Table
    """The schema's version and the store's id."""
    incoming: Table
    """Entries on their way in by ``COPY``; empty between transactions."""


def _incoming(column: Column[Any]) -> Column[Any]:
    # COPY takes JSONB as text only.
    return Column(column.name, Text() if isinstance(column.type, JSONB) else column.type)


def _text(name: str, *, nullable: bool = False, default: str | None = None) -> Column[str]:
    # "C" compares code points, as Python does.
    return Column(name, Text(collation="C"), nullable=nullable, server_default=default)


def _time(name: str, *, nullable: bool = False) -> Column[float]:
    return Column(name, Double, nullable=nullable)


def _count(name: str, default: int | None = None) -> Column[int]:
    given: ColumnElement[int] | None = None
    if default is not None:
        given = literal_column(str(default))
    return Column(name, BigInteger, nullable=False, server_default=given)


def _documents(name: str, empty: str) -> Column[Any]:
    return Column(name, JSONB, nullable=False, server_default=empty)


@cache
def tables(schema: str) -> Tables:
    """The tables of the schema of that name."""
    metadata = MetaData(schema=schema)
    entries = Table(
        "entries",
        metadata,
        _text("namespace"),
        _text("cache_key"),
        _count("generation"),
        _text("prefix", default=""),
        _text("description", default=""),
        Column("params", JSONB, nullable=False),
        _text("handler"),
        _count("handler_version", 1),
        _text("metadata", nullable=True),
        _text("object_type"),
        _text("summary"),
        _text("compressor", default="none"),
        _count("stored_bytes"),
        _count("logical_bytes"),
        _text("checksum"),
        _text("signature", nullable=True),
        Column("inline", LargeBinary),
        _text("blob", nullable=True),
        _text("blob_store", nullable=True),
        _time("created_at"),
        _time("renewed_at"),
        _time("accessed_at"),
        _time("ttl_seconds", nullable=True),
        _time("expires_at", nullable=True),
        _time("stale_until", nullable=True),
        Column("pinned", Boolean, nullable=False, server_default=false()),
        _count("hits", 0),
        _time("cost_seconds", nullable=True),
        _text("function", nullable=True),
        _text("code_digest", nullable=True),
        _text("key_parts", nullable=True),
        _documents("tags", "[]"),
        _documents("custom_metadata", "{}"),
        _text("distribution"),
        Column("exact", LargeBinary),
        PrimaryKeyConstraint("namespace", "cache_key", name="entries_pkey"),
    )
    _index_entries(entries)
    notes = Table(
        "notes",
        metadata,
        _text("namespace"),
        Column("kind", LargeBinary, nullable=False),
        Column("name", LargeBinary, nullable=False),
        Column("value", LargeBinary, nullable=False),
        PrimaryKeyConstraint("namespace", "kind", "name", name="notes_pkey"),
    )
    blobs = Table(
        "blobs",
        metadata,
        _text("name"),
        _count("size"),
        _time("changed_at"),
        PrimaryKeyConstraint("name", name="blobs_pkey"),
    )
    chunks = Table(
        "blob_chunks",
        metadata,
        Column(
            "name",
            Text(collation="C"),
            ForeignKey(blobs.c.name, ondelete="CASCADE", deferrable=True, initially="DEFERRED"),
            nullable=False,
        ),
        _count("position"),
        Column("data", LargeBinary, nullable=False),
        PrimaryKeyConstraint("name", "position", name="blob_chunks_pkey"),
    )
    settings = Table(
        "settings",
        metadata,
        _text("name"),
        _text("value"),
        PrimaryKeyConstraint("name", name="settings_pkey"),
    )
    incoming = Table(
        "incoming",
        metadata,
        Column("batch", BigInteger, nullable=False),
        *(_incoming(column) for column in entries.columns),
        prefixes=["UNLOGGED"],
    )
    Index("incoming_by_batch", incoming.c.batch)
    return Tables(metadata, entries, notes, blobs, chunks, settings, incoming)


def beginning(column: ColumnElement[str]) -> ColumnElement[str]:
    """The part of a text that an index holds."""
    return func.left(column, literal_column(str(INDEXED_CHARACTERS)))


def filled(documents: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether there is anything in a column of JSONB: which rows its index holds."""
    empty = "[]" if getattr(documents, "name", "") == "tags" else "{}"
    return documents != literal_column(f"'{empty}'::jsonb")


def worth(entries: FromClause) -> ColumnElement[float]:
    """`cacheness.worth.cost_rank` in SQL, as a sum of logarithms, which can't overflow."""
    column = entries.c
    cost = func.greatest(func.coalesce(column.cost_seconds, _number(UNKNOWN_COST)), _number(1e-6))
    doublings = (
        _log2(_double(func.greatest(column.hits, _number(0))) + _number(1))
        + _log2(cost)
        - _log2(_double(func.greatest(column.stored_bytes, _number(0))) + _number(ENTRY_WEIGHT))
    )
    return column.accessed_at + _number(COST_HALF_LIFE) * doublings


def number_at(value: ColumnElement[Any], text: ColumnElement[str]) -> ColumnElement[Any]:
    """A JSONB value as a number, or NULL; the form that indexes of ranges have."""
    return case((func.jsonb_typeof(value) == literal_column("'number'"), cast(text, Numeric)))


def text_at(value: ColumnElement[Any], text: ColumnElement[str]) -> ColumnElement[Any]:
    """A JSONB value as text that compares by code point, or NULL."""
    return case((func.jsonb_typeof(value) == literal_column("'string'"), collate(text, "C")))


def eviction_order(entries: FromClause, policy: str) -> tuple[ColumnElement[Any], ...]:
    """`cacheness.filters.eviction_order` in SQL."""
    column = entries.c
    orders: dict[str, tuple[ColumnElement[Any], ...]] = {
        "lru": (column.accessed_at, column.cache_key),
        "lfu": (column.hits, column.accessed_at, column.cache_key),
        "fifo": (column.created_at, column.cache_key),
        "cost": (worth(entries), column.cache_key),
    }
    return orders[policy]


def _log2(value: ColumnElement[Any]) -> ColumnElement[float]:
    return func.ln(_double(value)) * _number(1 / log(2))


def _double(value: ColumnElement[Any]) -> ColumnElement[float]:
    return cast(value, Double)


def _number(value: float) -> ColumnElement[Any]:
    # Written out, since a bound value would keep the planner from knowing the index again.
    return literal_column(repr(value))


def _index_entries(entries: Table) -> None:
    column = entries.c
    Index(
        "entries_by_expiry",
        column.namespace,
        column.expires_at,
        postgresql_where=column.expires_at.isnot(None),
    )
    # Most entries have none, which would cost each of their rows a fifth of its COPY.
    Index(
        "entries_by_prefix",
        column.namespace,
        beginning(column.prefix),
        postgresql_where=beginning(column.prefix) != literal_column("''"),
    )
    Index(
        "entries_by_function",
        column.namespace,
        beginning(column.function),
        postgresql_where=column.function.isnot(None),
    )
    # Of what is empty a GIN index would hold a mark for each row, and most rows have no tags
    # and no metadata of their own: a tenth of what a row of a large batch takes.
    for documents in (column.params, column.custom_metadata, column.tags):
        Index(
            f"entries_by_{documents.name}",
            documents,
            postgresql_using="gin",
            postgresql_ops={documents.name: "jsonb_path_ops"},
            postgresql_where=filled(documents),
        )
    Index(
        "entries_inexact",
        column.namespace,
        column.cache_key,
        postgresql_where=column.exact.isnot(None),
    )
