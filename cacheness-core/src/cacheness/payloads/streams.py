# SPDX-License-Identifier: MIT
"""Streams of buffers on their way to the store: cut, compressed, checksummed."""

from __future__ import annotations

from cacheness import forks
from cacheness.payloads.checksum import taken_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from cacheness.compressors.base import Compressor
    from cacheness.handlers.protocols import Buffer
    from cacheness.payloads.checksum import Checksum

__all__ = ["CHUNK", "Compressed", "checked", "checked_apart", "pieces_of", "until"]

CHUNK = 4 << 20
"""The core compresses this many bytes at a time."""
_PIECE = 1 << 20
"""Checksummed and written at a time, so that it is still in the processor's cache."""
_MANY = 4 << 20
"""After so many bytes of buffers a thread is worth it for the others."""


class Compressed:
    """A stream compressed chunk by chunk, and the size of each chunk as it became."""

    def __init__(self, stream: Iterator[Buffer], codec: Compressor) -> None:
        self._stream = stream
        self._codec = codec
        self.sizes: list[int] = []
        self.logical_bytes = 0

    def __iter__(self) -> Iterator[Buffer]:
        for chunk in _rechunked(self._stream, CHUNK):
            self.logical_bytes += len(chunk)
            compressed = self._codec.compress(chunk)
            self.sizes.append(len(compressed))
            yield compressed


def _rechunked(stream: Iterator[Buffer], size: int) -> Iterator[Buffer]:
    """The same bytes in chunks of exactly ``size``, the last one shorter."""
    held = bytearray()
    for buffer in stream:
        view = memoryview(buffer).cast("B")
        at = 0
        if held:
            at = size - len(held)
            held += view[:at]
            if len(held) < size:
                continue
            yield held
            held = bytearray()
        while len(view) - at >= size:
            yield view[at : at + size]
            at += size
        held += view[at:]
    if held:
        yield held


def until(buffers: Iterator[Buffer], limit: int) -> tuple[list[Buffer], int, bool]:
    """Buffers up to more than ``limit`` bytes, their size, and whether those are all."""
    taken: list[Buffer] = []
    size = 0
    for buffer in buffers:
        taken.append(buffer)
        size += memoryview(buffer).nbytes
        if size > limit:
            return taken, size, False
    return taken, size, limit >= 0


def checked(stream: Iterable[Buffer], checksum: Checksum) -> Generator[Buffer, None, None]:
    """The same bytes in small pieces, which the checksum takes in on the way.

    All of a buffer's by the time that the next one is asked for, since that may lie in the
    same memory.
    """
    for buffer in stream:
        view = memoryview(buffer).cast("B")
        yield from taken_in(_cut(view), checksum, len(view))


def checked_apart(
    stream: Iterable[Buffer], checksum: Checksum, lasting: Callable[[], bool]
) -> Generator[Buffer, None, None]:
    """`checked`, but that of many buffers another thread takes in those that were written.

    Args:
        stream: Gives the buffers.
        checksum: Takes them in.
        lasting: Whether the one that was given last stays as it is until all were; of another
            the thread is given copies.
    """
    rest = iter(stream)
    size = 0
    for buffer in rest:
        view = memoryview(buffer).cast("B")
        yield from taken_in(_cut(view), checksum, len(view))
        size += len(view)
        if size >= _MANY:
            break
    else:
        return
    from cacheness.payloads.apart import updating_apart

    with updating_apart(checksum.update) as update:
        for buffer in rest:
            for piece in _cut(memoryview(buffer).cast("B")):
                update(piece if lasting() else bytes(piece))
                yield piece


def _cut(view: memoryview) -> Iterator[memoryview]:
    return (view[at : at + _PIECE] for at in range(0, len(view), _PIECE))


def pieces_of(file_path: str) -> Iterator[bytes]:
    """The bytes of a file, in pieces."""
    begun = forks.number
    with open(file_path, "rb", buffering=0) as file:
        while True:
            if forks.number != begun:
                raise forks.ForkedError
            piece = file.read(_PIECE)
            if not piece:
                return
            yield piece
