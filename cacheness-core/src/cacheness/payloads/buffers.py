# SPDX-License-Identifier: MIT
"""The memory that payloads are read and decompressed into."""

from __future__ import annotations

import sys
from bisect import bisect_right

from cacheness.errors import BlobCorruptedError
from cacheness.payloads.limits import check_declared

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from mmap import mmap
    from typing import Any

    from cacheness.handlers.protocols import Buffer

__all__ = ["MAPPED", "Scattered", "checked_size", "decompressed", "private_buffer"]

_PAGED = 256 << 10
"""From this size a payload is read into pages of its own, which nothing zeroes first."""
_HUGE = 4 << 20
"""From this size huge pages are asked for, as numpy does: 512 times fewer page faults."""

_USED_AGAIN = 16 << 20
"""Below this size memory that the program freed is used again, whose pages the system need
not zero and map anew: a fifth of reading a frame of 4 MB. It may stay with the program."""

MAPPED = 1 << 20
"""From this size a payload may be mapped; a smaller one is copied in no time."""


def private_buffer(size: int) -> memoryview:
    """Writeable memory that nobody else sees; large ones start on a page."""
    if 0 <= size < _PAGED:
        return memoryview(bytearray(size))
    import mmap

    if 0 <= size < _USED_AGAIN:
        # Of what gives out memory without zeroing it, numpy alone may be at hand.
        empty = getattr(sys.modules.get("numpy"), "empty", None)
        if empty is not None:
            given = empty(size + mmap.PAGESIZE, "u1")
            start = -given.__array_interface__["data"][0] % mmap.PAGESIZE
            return memoryview(given)[start : start + size]
    try:
        pages = _private_pages(size)
        if size >= _HUGE and hasattr(mmap, "MADV_HUGEPAGE"):
            pages.madvise(mmap.MADV_HUGEPAGE)
        return memoryview(pages)
    except (OSError, ValueError, OverflowError) as error:
        raise BlobCorruptedError(f"a payload of {size} bytes can't be read: {error}") from None


class Scattered:
    """A payload in several private buffers: who keeps a part keeps one of them in memory.

    Args:
        cuts: Where each but the first begins, ascending.
        size: The payload's bytes.
    """

    __slots__ = ("_gone", "_size", "_starts", "buffers")

    def __init__(self, cuts: Sequence[int], size: int) -> None:
        self._size = size
        self._gone: set[int] = set()
        self._starts = (0, *cuts)
        self.buffers = [
            private_buffer(end - start)
            for start, end in zip(self._starts, (*cuts, size), strict=True)
        ]

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, span: slice) -> memoryview:
        """Some of the bytes: a view of a buffer, or a copy where they lie in more than one."""
        start, stop, _ = span.indices(self._size)
        number = self.buffer_at(start)
        at = start - self._starts[number]
        pieces = []
        left = max(0, stop - start)
        while True:
            if number in self._gone:
                raise ValueError("these bytes were let go of")
            pieces.append(self.buffers[number][at : at + left])
            left -= len(pieces[-1])
            if not left:
                return pieces[0] if len(pieces) == 1 else memoryview(bytearray().join(pieces))
            number, at = number + 1, 0

    def buffer_at(self, offset: int) -> int:
        """The number of the buffer in which the byte at an offset lies."""
        return bisect_right(self._starts, offset) - 1

    def let_go(self, number: int) -> None:
        """Keep a buffer no longer, which nobody will ask for any more."""
        self.buffers[number] = memoryview(b"")
        self._gone.add(number)


def _private_pages(size: int) -> mmap:
    """Pages of this process alone: the default would share them with a forked child."""
    import mmap

    if hasattr(mmap, "MAP_PRIVATE"):
        return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return mmap.mmap(-1, size)


def checked_size(payload: memoryview, logical: int) -> memoryview:
    """The payload itself; `ValueError` where its size is not the one that was recorded."""
    if len(payload) != logical:
        raise ValueError(f"it decompresses to {len(payload)} bytes, not {logical}")
    return payload


def decompressed(
    stored: memoryview, sizes: Any, logical: int, decompress: Callable[..., Buffer]
) -> memoryview:
    """Decompress chunk by chunk into one buffer; every number is checked before its use.

    What was decompressed is given back where nobody else has it.
    """
    from cacheness.handlers.pages import Pages

    check_declared(logical)
    if not isinstance(sizes, list) or not all(type(size) is int and size >= 0 for size in sizes):
        raise ValueError("its chunk sizes are no list of sizes")
    target = private_buffer(logical)
    pages = Pages(stored)
    at = done = 0
    for size in sizes:
        chunk = memoryview(decompress(stored[at : at + size], max_size=logical - done))
        target[done : done + len(chunk)] = chunk
        at += size
        done += len(chunk)
        pages.read_up_to(at)
    if done != logical or at != len(stored):
        raise ValueError(f"its chunks give {done} bytes, not {logical}")
    return target
