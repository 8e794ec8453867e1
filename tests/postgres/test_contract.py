# SPDX-License-Identifier: MIT
"""The backends keep every promise that cacheness relies on."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from cacheness.testing import BlobBackendContract, MetadataBackendContract

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cacheness.backends.base import BackendContext


class OnPostgres:
    """A schema for each directory that a suite uses, as others have a file in it."""

    server: str

    @pytest.fixture(autouse=True)
    def _server(self, url: str, schemas: set[str]) -> None:
        self.server = url
        self.schemas = schemas

    @pytest.fixture
    def schemas(self, url: str) -> Iterator[set[str]]:
        made: set[str] = set()
        yield made
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("SET client_min_messages = error")
            for name in made:
                connection.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE")

    def options(self, context: BackendContext) -> dict[str, Any]:
        digest = hashlib.blake2b(context.directory.encode(), digest_size=8).hexdigest()
        self.schemas.add(f"c_{digest}")
        return {"url": self.server, "schema": f"c_{digest}"}


class TestPostgresBackend(OnPostgres, MetadataBackendContract):
    target = "cacheness_postgres.backend:PostgresBackend"
    shared = True
    persistent = True


class TestPostgresBlobBackend(OnPostgres, BlobBackendContract):
    target = "cacheness_postgres.blobs:PostgresBlobBackend"
    shared = True
    persistent = True
