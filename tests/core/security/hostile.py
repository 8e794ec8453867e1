"""What somebody who may write to the cache directory does there; no key is ever asked for."""

from __future__ import annotations

import json
import os
import sqlite3
import struct
import sys
from contextlib import closing
from typing import TYPE_CHECKING

from xxhash import xxh3_128_hexdigest

if TYPE_CHECKING:
    from pathlib import Path


def change(directory: Path, statement: str, *values: object) -> None:
    """Write to the database as anybody can."""
    with closing(sqlite3.connect(directory / "metadata.sqlite3", timeout=30)) as connection:
        connection.execute(statement, values)
        connection.commit()


def plant(
    directory: Path,
    payload: bytes,
    handler: str,
    *,
    metadata: object = None,
    cache_key: str = "k",
    **columns: object,
) -> None:
    """Give an entry that is there another payload, with a checksum that fits."""
    fields = {
        "handler": handler,
        "inline": payload,
        "blob": None,
        "blob_store": None,
        "checksum": f"xxh3-128:{xxh3_128_hexdigest(payload)}",
        "signature": None,
        "stored_bytes": len(payload),
        "logical_bytes": len(payload),
        "compressor": "none",
        "metadata": None if metadata is None else json.dumps(metadata),
        **columns,
    }
    names = ", ".join(f"{name} = ?" for name in fields)
    change(
        directory, f"UPDATE entries SET {names} WHERE cache_key = ?", *fields.values(), cache_key
    )


def blobs_of(directory: Path) -> list[Path]:
    return [path for path in (directory / "blobs").glob("??/*") if path.is_file()]


def journal_that_removes(victim: Path, database: Path) -> bytes:
    """A hot rollback journal whose end names a file, which SQLite removes when it is done."""
    magic, page = b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7", 4096
    head = magic + struct.pack(">IIIII", 0, 0, database.stat().st_size // page, 512, page)
    name = os.fsencode(victim)
    end = struct.pack(">II", len(name), sum(name) & 0xFFFFFFFF)
    return head.ljust(512, b"\0") + struct.pack(">I", (1 << 30) // page + 1) + name + end + magic


def log_of_sqlite(number: int, pages: int, page: bytes) -> bytes:
    """A write-ahead log of one transaction, with checksums that fit: a page, and the file's size.

    The format is at https://sqlite.org/fileformat2.html#the_write_ahead_log.
    """
    salt = b"\x11\x11\x11\x11\x22\x22\x22\x22"
    head = struct.pack(">IIII", 0x377F0682, 3007000, len(page), 0) + salt
    sums = _sums(head, (0, 0))
    frame = struct.pack(">II", number, pages)
    after = _sums(page, _sums(frame, sums))
    return head + struct.pack(">II", *sums) + frame + salt + struct.pack(">II", *after) + page


def _sums(data: bytes, sums: tuple[int, int]) -> tuple[int, int]:
    one, other = sums
    words = struct.unpack(f"<{len(data) // 4}I", data)
    for even, odd in zip(words[::2], words[1::2], strict=True):
        one = (one + even + other) & 0xFFFFFFFF
        other = (other + odd + one) & 0xFFFFFFFF
    return one, other


def everything(directory: Path) -> bytes:
    """All bytes of all files below a directory, and their names."""
    return b"\n".join(
        os.fsencode(path) + b"\n" + (path.read_bytes() if path.is_file() else b"")
        for path in sorted(directory.rglob("*"))
    )


def environment(home: Path) -> dict[str, str]:
    """Of a process of its own, which has no key."""
    known = {"PATH", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV"}
    kept = {name: value for name, value in os.environ.items() if name in known}
    return {**kept, "HOME": str(home), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
