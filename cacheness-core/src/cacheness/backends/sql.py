# SPDX-License-Identifier: MIT
"""The tables of a SQL store as SQLAlchemy sees them."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
)

__all__ = ["counted", "entries", "lazy_indexes", "metadata", "notes", "totals"]

metadata = MetaData()

entries = Table(
    "entries",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("namespace", Text, nullable=False),
    Column("cache_key", Text, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("handler", Text, nullable=False),
    Column("handler_version", Integer, nullable=False),
    Column("compressor", Text, nullable=False),
    Column("checksum", Text, nullable=False),
    Column("signature", Text),
    Column("expires_at", Float),
    Column("metadata", JSON),
    Column("blob", Text),
    Column("blob_store", Text),
    Column("stored_bytes", Integer, nullable=False),
    Column("logical_bytes", Integer, nullable=False),
    Column("prefix", Text, nullable=False),
    Column("renewed_at", Float, nullable=False),
    Column("distribution", Text, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("accessed_at", Float, nullable=False),
    Column("ttl_seconds", Float),
    Column("stale_until", Float),
    Column("pinned", Boolean, nullable=False),
    Column("hits", Integer, nullable=False),
    Column("cost_seconds", Float),
    Column("function", Text),
    Column("details", JSON),
    Column("worth", Float, nullable=False),
    Column("inline", LargeBinary),
)
"""The record of one stored value a row; ``details`` holds what is only described."""

Index("entries_by_key", entries.c.cache_key, entries.c.namespace, unique=True)
Index(
    "entries_by_expiry",
    entries.c.namespace,
    entries.c.expires_at,
    sqlite_where=entries.c.expires_at.isnot(None),
)


def lazy_indexes() -> list[Index]:
    """The indexes that a SQLite file has once somebody needed them."""
    copy = entries.to_metadata(MetaData())
    column = copy.c
    policy = (column.cache_key, column.pinned)
    return [
        Index("entries_by_prefix", column.namespace, column.prefix),
        Index("entries_by_function", column.namespace, column.function),
        Index("entries_by_age", column.namespace, column.created_at, *policy),
        Index("entries_by_access", column.namespace, column.accessed_at, *policy),
        Index("entries_by_hits", column.namespace, column.hits, column.accessed_at, *policy),
        Index("entries_by_size", column.namespace, column.stored_bytes),
        Index("entries_by_worth", column.namespace, column.worth, *policy),
    ]


notes = Table(
    "notes",
    metadata,
    Column("namespace", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("value", JSON, nullable=False),
)
"""Small side tables: name → JSON for each kind."""

totals = Table(
    "totals",
    metadata,
    Column("namespace", Text, primary_key=True),
    Column("entries", Integer, nullable=False),
    Column("bytes", Integer, nullable=False),
)
"""How many of the rows up to ``counted.last_id`` there are of each namespace."""

counted = Table("counted", metadata, Column("last_id", Integer, primary_key=True))
"""One row: the youngest that is in ``totals``."""
