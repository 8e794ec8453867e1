# SPDX-License-Identifier: MIT
# ruff: noqa: S608  # what is put into SQL is a checked schema name; all values are bound
"""Payloads in PostgreSQL: blobs as chunks of bytes, streamed both ways."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager

import psycopg

from cacheness.blobs.base import BlobBackend, check_blob_name
from cacheness.disk.scratch import private_directory
from cacheness.errors import CacheClosedError
from cacheness_postgres import failures
from cacheness_postgres.backend import open_database
from cacheness_postgres.connections import unshare

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any

    from cacheness.backends.base import BackendContext
    from cacheness.handlers.protocols import Buffer
    from cacheness_postgres.session import Session

__all__ = ["PostgresBlobBackend"]

CHUNK = 1 << 20
"""Bytes in a row. The server cuts them further; we only keep both ends' memory flat."""

_PAGE = 1_000
_OWNER = "owner "
"""What the settings that name owners begin with."""


class PostgresBlobBackend(BlobBackend):
    """Keeps payloads in the schema of `PostgresBackend`, over 1 GiB each where need be.

    A blob and its chunks are one transaction, so that it is there whole or not at all.
    """

    def __init__(
        self,
        context: BackendContext,
        *,
        url: str | None = None,
        schema: str | None = None,
        pool_size: int | None = None,
    ) -> None:
        """Connect, and make the tables where there are none.

        Args:
            context: The configuration; nothing is kept on disk.
            url: As for `PostgresBackend`; by default what that was given.
            schema: As for `PostgresBackend`; by default what that was given.
            pool_size: As for `PostgresBackend`; by default what that was given.

        Raises:
            ConfigError: An option can't work, or the role lacks a grant.
        """
        config = context.config
        given = config.metadata_options if config.metadata_backend == "postgres" else {}
        options = {
            "url": url,
            "schema": schema or given.get("schema", "cacheness"),
            "pool_size": pool_size or given.get("pool_size", 8),
        }
        self._key, self._database = open_database(context, options)
        self._schema = options["schema"]
        self._directory = context.directory
        self._store_id: str | None = None
        self._closed = False

    @property
    def store_id(self) -> str:
        if self._store_id is None:
            query = f"SELECT value FROM {self._schema}.settings WHERE name = 'store_id'"
            self._store_id = str(self._fetch(query)[0][0])
        return self._store_id

    def claim(self, owner: str) -> None:
        query = (
            f"INSERT INTO {self._schema}.settings (name, value) VALUES (%b, '') "
            "ON CONFLICT (name) DO NOTHING RETURNING true"
        )
        self._fetch(query, (f"{_OWNER}{owner}",))

    def owners(self) -> frozenset[str]:
        query = f"SELECT name FROM {self._schema}.settings WHERE starts_with(name, %b)"
        return frozenset(row[0].removeprefix(_OWNER) for row in self._fetch(query, (_OWNER,)))

    def write(self, name: str, source: Iterable[Buffer]) -> int:
        chunks = _Chunks(source)
        first = bytes(chunks.take())
        if chunks.is_exhausted():
            return self._write_small(check_blob_name(name), first)
        return self._write_large(check_blob_name(name), first, chunks)

    def read(self, name: str) -> Buffer:
        blob = bytearray()
        with self._chunks_of(name) as chunks:
            next(chunks)
            for chunk in chunks:
                blob += chunk
        return blob

    def read_into(self, name: str, target: memoryview) -> Iterator[memoryview]:
        with self._chunks_of(name) as chunks:
            if next(chunks) > len(target):
                raise ValueError(f"blob {name} is longer than {len(target)} bytes")
            at = 0
            for chunk in chunks:
                end = at + len(chunk)
                if end > len(target):
                    raise ValueError(f"blob {name} is longer than {len(target)} bytes")
                target[at:end] = chunk
                yield target[at:end]
                at = end

    def pieces(self, name: str) -> Iterator[Buffer]:
        with self._chunks_of(name) as chunks:
            next(chunks)
            yield from chunks

    @contextmanager
    def local_path(self, name: str) -> Iterator[str]:
        """A private copy of the blob, which is gone with the context."""
        with private_directory() as directory:
            path = os.path.join(directory, os.path.basename(check_blob_name(name)))
            with open(path, "xb") as file, self._chunks_of(name) as chunks:
                next(chunks)
                file.writelines(chunks)
            yield path

    def delete(self, name: str) -> bool:
        query = f"DELETE FROM {self._schema}.blobs WHERE name = %b RETURNING true"
        return bool(self._fetch(query, (check_blob_name(name),)))

    def exists(self, name: str) -> bool:
        query = f"SELECT true FROM {self._schema}.blobs WHERE name = %b"
        return bool(self._fetch(query, (check_blob_name(name),)))

    def renew(self, name: str) -> bool:
        query = f"UPDATE {self._schema}.blobs SET changed_at = %b WHERE name = %b RETURNING true"
        return bool(self._fetch(query, (self._now(), check_blob_name(name))))

    def iter_blobs(self) -> Iterator[tuple[str, int, float]]:
        query = (
            f"SELECT name, size, changed_at FROM {self._schema}.blobs WHERE name > %b "
            f"ORDER BY name LIMIT {_PAGE}"
        )
        last = ""
        while rows := self._fetch(query, (last,)):
            for name, size, changed_at in rows:
                yield name, size, changed_at - self._database.clock.distance
            last = rows[-1][0]

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            unshare(self._key)

    def __repr__(self) -> str:
        return f"PostgresBlobBackend({self._database.address}, schema={self._schema!r})"

    # --- inside -----------------------------------------------------------------------

    def _fetch(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        self._check_open()
        return self._database.fetch(query, values)

    def _check_open(self) -> None:
        if self._closed:
            raise CacheClosedError("the cache is closed")

    def _now(self) -> float:
        return time.time() + self._database.clock.distance

    def _write_small(self, name: str, data: bytes) -> int:
        """One statement, which is a transaction of its own."""
        query = (
            f"WITH longer AS (DELETE FROM {self._schema}.blob_chunks "
            "WHERE name = %b AND position > 0), "
            f"blob AS (INSERT INTO {self._schema}.blobs (name, size, changed_at) "
            "VALUES (%b, %b, %b) ON CONFLICT (name) DO UPDATE SET size = excluded.size, "
            "changed_at = excluded.changed_at RETURNING true) "
            f"INSERT INTO {self._schema}.blob_chunks (name, position, data) VALUES (%b, 0, %b) "
            "ON CONFLICT (name, position) DO UPDATE SET data = excluded.data RETURNING true"
        )
        self._fetch(query, (name, name, len(data), self._now(), name, data))
        return len(data)

    def _write_large(self, name: str, first: Buffer, chunks: _Chunks) -> int:
        """``COPY`` in a transaction, once only: ``source`` can't be begun again."""
        self._check_open()
        session = self._database.take_live()
        try:
            with session.connection.transaction():
                size = self._copy_in(session, name, first, chunks)
        except psycopg.Error as error:
            self._database.discard(session)
            raise failures.unusable(error, self._database.address) from error
        except BaseException:
            self._database.discard(session)
            raise
        self._database.give(session)
        return size

    def _copy_in(self, session: Session, name: str, first: Buffer, chunks: _Chunks) -> int:
        size = position = 0
        cursor = session.cursor
        cursor.execute(f"DELETE FROM {self._schema}.blobs WHERE name = %b", (name,), prepare=False)
        target = f"{self._schema}.blob_chunks (name, position, data)"
        with cursor.copy(f"COPY {target} FROM STDIN (FORMAT BINARY)") as copy:
            copy.set_types(["text", "int8", "bytea"])
            chunk = first
            while len(chunk):
                copy.write_row((name, position, chunk))
                size += len(chunk)
                position += 1
                chunk = chunks.take()
        cursor.execute(
            f"INSERT INTO {self._schema}.blobs (name, size, changed_at) VALUES (%b, %b, %b)",
            (name, size, self._now()),
            prepare=False,
        )
        return size

    @contextmanager
    def _chunks_of(self, name: str) -> Iterator[Any]:
        """An iterator of the blob's size, then its chunks, of one statement's snapshot.

        Raises:
            FileNotFoundError: There is no such blob.
        """
        self._check_open()
        check_blob_name(name)
        database = self._database
        session = database.take_live()
        done = False
        try:
            rows = session.cursor.stream(self._read_query(), (name,), binary=True)
            head = next(rows, None)
            if head is None:
                done = True
                raise FileNotFoundError(f"no blob {name} in {database.address}")
            yield _size_and_chunks(head, rows)
            done = next(rows, None) is None
        except psycopg.Error as error:
            raise failures.unusable(error, database.address) from error
        finally:
            # A stream that was not read to its end still has rows on the line.
            (database.give if done else database.discard)(session)

    def _read_query(self) -> str:
        return (
            f"SELECT b.size, c.data FROM {self._schema}.blobs AS b "
            f"LEFT JOIN {self._schema}.blob_chunks AS c USING (name) "
            "WHERE b.name = %b ORDER BY c.position"
        )


def _size_and_chunks(head: tuple[Any, ...], rows: Iterator[tuple[Any, ...]]) -> Iterator[Any]:
    yield head[0]
    if head[1] is not None:
        yield head[1]
    for row in rows:
        yield row[1]


class _Chunks:
    """Buffers of any sizes as chunks of one size."""

    def __init__(self, source: Iterable[Buffer]) -> None:
        self._source = iter(source)
        self._rest: memoryview = memoryview(b"")

    def take(self) -> Buffer:
        """The next chunk; shorter at the end only, empty after it.

        It is a view where one buffer holds it whole. What waits for the next buffer is
        copied, since the source may use its buffer again.
        """
        if len(self._rest) >= CHUNK:
            return self._cut(CHUNK)
        gathered = bytearray(self._cut(len(self._rest)))
        while len(gathered) < CHUNK:
            buffer = next(self._source, None)
            if buffer is None:
                break
            self._rest = memoryview(buffer).cast("B")
            if not gathered and len(self._rest) >= CHUNK:
                return self._cut(CHUNK)
            gathered += self._cut(CHUNK - len(gathered))
        return gathered

    def is_exhausted(self) -> bool:
        """Whether nothing follows; reads ahead until something does."""
        while not len(self._rest):
            buffer = next(self._source, None)
            if buffer is None:
                return True
            self._rest = memoryview(buffer).cast("B")
        return False

    def _cut(self, size: int) -> memoryview:
        part, self._rest = self._rest[:size], self._rest[size:]
        return part
