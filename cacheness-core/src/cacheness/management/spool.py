# SPDX-License-Identifier: MIT
"""Entries that wait to be recorded together, in flat memory."""

from __future__ import annotations

import pickle
from tempfile import TemporaryFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

    from cacheness.entry import Entry

__all__ = ["EntrySpool"]

_CHUNK = 16 << 20
"""Bytes of entries that are in memory at a time."""
_ENTRY = 2 << 10
"""What an entry takes beside its payload, roughly."""


class EntrySpool:
    """Keeps entries in order; many of them in a file that nobody else can open.

    Iterating gives them from the first on, as often as is asked. Not safe for threads.
    """

    __slots__ = ("_chunks", "_file", "_kept", "_size")

    def __init__(self) -> None:
        self._kept: list[Entry] = []
        self._size = 0
        self._file: IO[bytes] | None = None
        self._chunks = 0

    def __enter__(self) -> EntrySpool:
        return self

    def __exit__(self, *exception: object) -> None:
        self._kept = []
        if self._file is not None:
            self._file.close()

    def add(self, entry: Entry) -> None:
        """Keep one more."""
        self._kept.append(entry)
        self._size += _ENTRY + len(entry.inline or b"")
        if self._size >= _CHUNK:
            self._spill()

    def _spill(self) -> None:
        if self._file is None:
            self._file = TemporaryFile(prefix="cacheness-")  # noqa: SIM115 - closed in __exit__
        pickle.dump(self._kept, self._file, protocol=5)
        self._chunks += 1
        self._kept = []
        self._size = 0

    def __iter__(self) -> Iterator[Entry]:
        if self._file is not None:
            self._file.seek(0)
            for _ in range(self._chunks):
                yield from pickle.load(self._file)
        yield from self._kept

    def __bool__(self) -> bool:
        return bool(self._kept or self._chunks)
