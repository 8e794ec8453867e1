# SPDX-License-Identifier: MIT
"""Rows in the binary form in which ``COPY`` takes them."""

from __future__ import annotations

from functools import lru_cache
from struct import Struct

from cacheness.backends.plain_entry import PlainEntry
from cacheness_postgres.rows import can_be_stored, json_image

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cacheness.entry import Entry

__all__ = ["PLAIN_COLUMNS", "copied"]

PLAIN_COLUMNS = (
    "namespace",
    "cache_key",
    "generation",
    "params",
    "handler",
    "object_type",
    "summary",
    "stored_bytes",
    "logical_bytes",
    "checksum",
    "inline",
    "created_at",
    "renewed_at",
    "accessed_at",
    "ttl_seconds",
    "expires_at",
    "distribution",
)
"""What is written of a `PlainEntry`; in the others the table's defaults are right."""

_BLOCK = 200
"""Rows that are handed over at a time, some 100 KB: what is larger psycopg takes apart."""

_BEGIN = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_END = b"\xff\xff"
_COUNT = Struct(">h").pack(len(PLAIN_COLUMNS))
_length = Struct(">i").pack


def copied(
    entries: Iterable[Entry | PlainEntry], distance: float, unusual: list[Entry | PlainEntry]
) -> Iterator[bytes]:
    """[hot] All that ``COPY`` is to read for these entries, in the order of `PLAIN_COLUMNS`.

    A row takes 2 µs, where a tuple of all columns and psycopg's look at each value of it take 6,
    and the server takes 0.6 µs less of it.

    Args:
        entries: The entries, in times of this machine.
        distance: What to add to them for the server's, in seconds.
        unusual: Is given the first that is not written so; those after it are not asked for.
    """
    rows = [_BEGIN]
    for entry in entries:
        row = _plain_row(entry, distance) if type(entry) is PlainEntry else None
        if row is None:
            unusual.append(entry)
            break
        rows.append(row)
        if len(rows) == _BLOCK:
            yield b"".join(rows)
            rows = []
    rows.append(_END)
    yield b"".join(rows)


def _plain_row(plain: PlainEntry, distance: float) -> bytes | None:
    """[hot] The row, or None where it is not exact."""
    (
        namespace,
        key,
        generation,
        handler,
        checksum,
        payload,
        distribution,
        now,
        ttl,
        params,
        object_type,
        summary,
        _,
    ) = plain
    usual = _usual(namespace, handler, object_type, summary, distribution)
    if usual is None:
        return None
    before, between, after = usual
    document = b"\0\0\0\x03\x01{}"
    if params:
        image = json_image(params)
        if image is None:
            return None
        document = _text(f"\x01{image}")  # a version, and the text
    name, digest, size, at = key.encode(), checksum.encode(), len(payload), now + distance
    return b"".join(
        (
            before,
            _length(len(name)),
            name,
            _GENERATION(8, generation),
            document,
            between,
            _SIZES(8, size, 8, size, len(digest)),
            digest,
            _length(size),
            payload,
            _TIMES(8, at, 8, at, 8, at),
            _FOR_EVER if ttl is None else _LIFE(8, ttl, 8, at + ttl),
            after,
        )
    )


_GENERATION = Struct(">iq").pack
_SIZES = Struct(">iqiqi").pack
"""With the length of the checksum."""
_TIMES = Struct(">ididid").pack
_LIFE = Struct(">idid").pack
_FOR_EVER = b"\xff\xff\xff\xff" * 2
"""No time to live, and none at which it expires."""


@lru_cache(4096)
def _usual(
    namespace: str, handler: str, object_type: str, summary: str, distribution: str
) -> tuple[bytes, bytes, bytes] | None:
    """What is the same in rows of like entries: before the key, in between, after the times."""
    if not can_be_stored(f"{handler}{object_type}{summary}{distribution}"):
        return None
    between = b"".join(map(_text, (handler, object_type, summary)))
    return _COUNT + _text(namespace), between, _text(distribution)


def _text(value: str) -> bytes:
    data = value.encode()
    return _length(len(data)) + data
