# SPDX-License-Identifier: MIT
"""One cacheness cache for a team of machines, in PostgreSQL."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cacheness_postgres.backend import PostgresBackend as PostgresBackend
    from cacheness_postgres.blobs import PostgresBlobBackend as PostgresBlobBackend
    from cacheness_postgres.schema import schema_sql as schema_sql

__all__ = ["PostgresBackend", "PostgresBlobBackend", "schema_sql"]

_HOMES = {
    "PostgresBackend": "cacheness_postgres.backend",
    "PostgresBlobBackend": "cacheness_postgres.blobs",
    "schema_sql": "cacheness_postgres.schema",
}


def __getattr__(name: str) -> object:
    """Import a public name at its first use, so that naming the package costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
