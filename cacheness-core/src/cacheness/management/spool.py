# SPDX-License-Identifier: MIT
"""Entries that wait to be recorded together, in flat memory."""

from __future__ import annotations

import pickle
from operator import attrgetter

from cacheness import forks
from cacheness.backends.plain_entry import PlainEntry, in_full
from cacheness.disk.apart import nameless_file
from cacheness.entry import Entry, build_entry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

__all__ = ["EntrySpool"]

_CHUNK = 16 << 20
"""Bytes of entries that are in memory at a time."""
_ENTRY = 1 << 10
"""What an entry takes beside its payload, roughly."""
_FIELDS = Entry.__slots__
_PLAIN = len(PlainEntry._fields)
_values = attrgetter(*_FIELDS)


class EntrySpool:
    """Keeps entries in order; many of them in a file that nobody else can open.

    Iterating gives them from the first on, as often as is asked, each as it was added, but in
    a child that was forked meanwhile.
    Not safe for threads.
    """

    __slots__ = ("_begun", "_chunks", "_file", "_kept", "_size")

    def __init__(self) -> None:
        self._begun: int | None = None
        """What `forks.number` was when the file was made."""
        self._kept: list[Entry | PlainEntry] = []
        self._size = 0
        self._file: IO[bytes] | None = None
        self._chunks = 0

    def __enter__(self) -> EntrySpool:
        return self

    def __exit__(self, *exception: object) -> None:
        self._kept = []
        if self._file is not None:
            self._file.close()

    def add(self, entry: Entry | PlainEntry) -> None:
        """Keep one more."""
        self._kept.append(entry)
        payload = entry.payload if isinstance(entry, PlainEntry) else entry.inline
        self._size += _ENTRY + (len(payload) if payload else 0)
        if self._size >= _CHUNK:
            self._spill()

    def _spill(self) -> None:
        if self._file is None:
            self._begun = forks.number
            self._file = nameless_file()
        self._check()
        # As tuples: pickling a dataclass with slots calls Python twice for each.
        values = [
            tuple(entry) if isinstance(entry, PlainEntry) else _values(entry)
            for entry in self._kept
        ]
        pickle.dump(values, self._file, protocol=5)
        self._chunks += 1
        self._kept = []
        self._size = 0

    def entries(self) -> Iterator[Entry]:
        """All of them, each at its length."""
        return map(in_full, self)

    def __iter__(self) -> Iterator[Entry | PlainEntry]:
        if self._file is not None:
            self._check()
            self._file.seek(0)
            for _ in range(self._chunks):
                self._check()
                for values in pickle.load(self._file):
                    if len(values) == _PLAIN:
                        yield PlainEntry._make(values)
                    else:
                        yield build_entry(**dict(zip(_FIELDS, values, strict=True)))
            self._check()
        yield from self._kept

    def _check(self) -> None:
        """Make sure that the file is there: a child that was forked meanwhile has none."""
        if self._begun is not None:
            forks.check(self._begun)

    def __bool__(self) -> bool:
        return bool(self._kept or self._chunks)
