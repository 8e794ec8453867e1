# SPDX-License-Identifier: MIT
"""What this package registers with cacheness."""

from __future__ import annotations

from cacheness import BackendSpec, hookimpl

cacheness_api = 1


@hookimpl
def cacheness_metadata_backends() -> list[BackendSpec]:
    """Entries in PostgreSQL."""
    return [BackendSpec("postgres", "cacheness_postgres.backend:PostgresBackend")]


@hookimpl
def cacheness_blob_backends() -> list[BackendSpec]:
    """Payloads in PostgreSQL."""
    return [BackendSpec("postgres", "cacheness_postgres.blobs:PostgresBlobBackend")]
