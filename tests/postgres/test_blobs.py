# SPDX-License-Identifier: MIT
"""Blobs are streamed in and out, whole or not at all, of any size."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from cacheness_postgres.blobs import CHUNK, PostgresBlobBackend

from .conftest import context_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import psycopg

NAME = "ab/" + "0123456789abcdef" * 2 + ".npy"


@pytest.mark.parametrize(
    "sizes",
    [
        [],
        [0],
        [1],
        [CHUNK - 1],
        [CHUNK],
        [CHUNK + 1],
        [1, CHUNK],
        [CHUNK, 1],
        [3, 0, 5],
        [CHUNK // 2 + 1] * 5,
        [3 * CHUNK + 7],
        [7] * 1000,
    ],
)
def test_buffers_of_any_sizes_make_one_blob(
    blobs: PostgresBlobBackend, admin: psycopg.Connection[Any], schema: str, sizes: list[int]
) -> None:
    buffers = [os.urandom(size) for size in sizes]
    whole = b"".join(buffers)

    assert blobs.write(NAME, iter(buffers)) == len(whole)

    assert bytes(blobs.read(NAME)) == whole
    target = bytearray(len(whole) + 5)
    slices = list(blobs.read_into(NAME, memoryview(target)))
    assert b"".join(slices) == whole
    assert target[: len(whole)] == whole
    with blobs.local_path(NAME) as path, open(path, "rb") as file:
        assert file.read() == whole
    assert not os.path.exists(path)
    query = f"SELECT max(length(data)), count(*) FROM {schema}.blob_chunks"
    longest, count = admin.execute(query).fetchone() or (0, 0)
    assert longest is None or longest <= CHUNK
    assert count <= len(whole) // CHUNK + 1


def test_a_blob_written_again_is_the_new_one_whole(blobs: PostgresBlobBackend) -> None:
    blobs.write(NAME, [b"x" * (3 * CHUNK)])
    blobs.write(NAME, [b"y" * (2 * CHUNK)])
    assert bytes(blobs.read(NAME)) == b"y" * (2 * CHUNK)

    blobs.write(NAME, [b"z"])
    assert bytes(blobs.read(NAME)) == b"z"


def test_a_reader_who_stops_early_leaves_the_pool_usable(
    url: str, schema: str, tmp_path: Path
) -> None:
    blobs = PostgresBlobBackend(context_for(tmp_path), url=url, schema=schema, pool_size=1)
    blobs.write(NAME, [b"x" * (3 * CHUNK)])

    reading = blobs.read_into(NAME, memoryview(bytearray(3 * CHUNK)))
    next(reading)
    reading.close()
    with pytest.raises(ValueError, match="longer"):
        list(blobs.read_into(NAME, memoryview(bytearray(CHUNK))))

    assert blobs.exists(NAME)
    blobs.close()


def test_deleting_a_blob_leaves_no_chunk(
    blobs: PostgresBlobBackend, admin: psycopg.Connection[Any], schema: str
) -> None:
    blobs.write(NAME, [b"x" * (3 * CHUNK)])

    assert blobs.delete(NAME)

    assert admin.execute(f"SELECT count(*) FROM {schema}.blob_chunks").fetchone() == (0,)


def test_the_store_is_told_by_its_schema(
    blobs: PostgresBlobBackend, url: str, schema: str, tmp_path: Path
) -> None:
    again = PostgresBlobBackend(context_for(tmp_path / "elsewhere"), url=url, schema=schema)

    assert blobs.store_id == again.store_id
    assert len(blobs.store_id) == 32
    again.close()


LARGE = """
import sys

def peak():
    # In KiB. That of getrusage is the parent's at first.
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))

from cacheness.backends.base import BackendContext
from cacheness.config import CacheConfig
from cacheness_postgres.blobs import PostgresBlobBackend
url, schema, name, mebibytes = *sys.argv[1:4], int(sys.argv[4])
blobs = PostgresBlobBackend(BackendContext("/nowhere", "", CacheConfig()), url=url, schema=schema)
blobs.exists(name)
piece = bytes(1 << 20)
before = peak()
size = blobs.write(name, (piece for _ in range(mebibytes)))
with blobs._chunks_of(name) as chunks:
    read = next(chunks) and sum(map(len, chunks))
after = peak()
blobs.delete(name)
blobs.close()
print(size, read, (after - before) // 1024)
"""


@pytest.mark.parametrize(
    "mebibytes", [48, pytest.param(1100, marks=[pytest.mark.slow, pytest.mark.one_server])]
)
def test_a_large_blob_is_never_whole_in_memory(url: str, schema: str, mebibytes: int) -> None:
    command = [sys.executable, "-c", LARGE, url, schema, NAME, str(mebibytes)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout

    size, read, grown = map(int, output.split())

    assert size == read == mebibytes << 20
    assert grown < 24


def test_a_source_that_fails_leaves_the_old_blob(blobs: PostgresBlobBackend) -> None:
    def source() -> Iterator[bytes]:
        yield b"y" * (2 * CHUNK)
        raise RuntimeError("the source failed")

    blobs.write(NAME, [b"x" * (2 * CHUNK)])
    with pytest.raises(RuntimeError, match="the source failed"):
        blobs.write(NAME, source())

    assert bytes(blobs.read(NAME)) == b"x" * (2 * CHUNK)
