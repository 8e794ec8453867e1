# SPDX-License-Identifier: MIT
"""Gives memory back to the system while what was in it is being decoded."""

from __future__ import annotations

import mmap
import sys

__all__ = ["Pages"]

_BATCH = 4 << 20
"""Bytes that are given back at a time; fewer would cost more calls, and split huge pages."""


class Pages:
    """The pages of a buffer that is read once from its beginning to its end.

    A payload that is decompressed would else be in memory twice, once as it is stored. Only
    what is private to the reader and mapped by itself is given back: of any other buffer,
    as of bytes that somebody else holds, nothing happens.

    Args:
        buffer: Unsigned bytes, writeable where they belong to the reader alone.
    """

    __slots__ = ("_done", "_mapped", "_start")

    def __init__(self, buffer: memoryview) -> None:
        self._mapped: mmap.mmap | None = None
        self._start = self._done = 0
        owner = buffer.obj
        if (
            sys.platform != "win32"
            and hasattr(mmap, "MADV_DONTNEED")
            and isinstance(owner, mmap.mmap)
            and not buffer.readonly
            and len(buffer) > _BATCH
        ):
            self._mapped = owner
            self._start = self._done = _address(buffer) - _address(memoryview(owner))

    def read_up_to(self, position: int) -> None:
        """Say that nobody will read the buffer's first ``position`` bytes again."""
        if self._mapped is None or self._start + position - self._done < _BATCH:
            return
        # Whole pages only: the first and the last may hold what belongs to others.
        first = -(-self._done // mmap.PAGESIZE) * mmap.PAGESIZE
        last = (self._start + position) // mmap.PAGESIZE * mmap.PAGESIZE
        self._mapped.madvise(mmap.MADV_DONTNEED, first, last - first)
        self._done = last


def _address(buffer: memoryview) -> int:
    import ctypes

    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))
