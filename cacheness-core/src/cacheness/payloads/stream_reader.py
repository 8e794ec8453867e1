# SPDX-License-Identifier: MIT
"""Reads a stream back, member by member (`cacheness.payloads.stream_writer` has the format)."""

from __future__ import annotations

import json
import os
import sys

from cacheness.errors import BlobCorruptedError, CachenessError, SerializationError
from cacheness.payloads.buffers import checked_size
from cacheness.payloads.checksum import checksum_of
from cacheness.payloads.items import ItemHead, read_item
from cacheness.payloads.limits import check_declared

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import FileIO
    from typing import Any

    from cacheness.payloads.context import GetContext

__all__ = ["StoredStream"]


class StoredStream:
    """The items of a stored stream: an iterator, to be used once and in one thread at a time.

    One member is in memory at a time. The file stays open until the last item was given or
    `close` was called, so a stream that is replaced meanwhile is read to its end.

    Args:
        source: The stream's bytes, or its file, opened for reading.
        metadata: The entry's.
        context: Of the get; says whether what is no data may be decoded.

    Raises:
        BlobCorruptedError: The index is damaged.
        ValueError: It is no such stream.

    Going on to an item that can't be decoded raises `SerializationError`.
    """

    def __init__(
        self, source: FileIO | memoryview, metadata: dict[str, Any], context: GetContext
    ) -> None:
        self._source: FileIO | memoryview | None = source
        self._context = context
        self.returned: Any = None
        """What the generator returned; known when the last item was given."""
        try:
            index = self._index(metadata)
            self._members: list[dict[str, Any]] = index["members"]
            self._returns = index["returns"] is True
            if not isinstance(self._members, list):
                raise TypeError("its members are no list")  # noqa: TRY301
        except (KeyError, TypeError) as error:
            raise ValueError(f"not the metadata of a stream: {error!r}") from error
        self._next_member = 0
        self._batch: Iterator[Any] = iter(())

    def __iter__(self) -> StoredStream:
        return self

    def __next__(self) -> Any:
        for item in self._batch:
            return item
        while self._next_member < len(self._members):
            self._batch = self._items(self._next_member)
            self._next_member += 1
            for item in self._batch:
                return item
        self.close()
        raise StopIteration

    def next_batch(self) -> list[Any]:
        """The items of the next member, decoded; empty at the end. Not mixed with iterating."""
        while self._next_member < len(self._members):
            batch = list(self._items(self._next_member))
            self._next_member += 1
            if batch:
                return batch
        self.close()
        return []

    def close(self) -> None:
        """Let go of the file; closing twice is allowed."""
        source, self._source = self._source, None
        self._next_member = len(self._members)
        self._batch = iter(())
        if source is not None and not isinstance(source, memoryview):
            source.close()

    def __enter__(self) -> StoredStream:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # --- members --------------------------------------------------------------------------

    def _index(self, metadata: dict[str, Any]) -> dict[str, Any]:
        offset, size = metadata["index"]
        stored = self._compared(offset, size, metadata["index_checksum"])
        index: dict[str, Any] = json.loads(bytes(stored))
        return index

    def _items(self, number: int) -> Iterator[Any]:
        """The items of a member, each decoded when it is asked for."""
        try:
            yield from self._decoded(number)
        except (CachenessError, OSError):
            raise
        except Exception as error:
            # What its checksum does not tell: a library is missing, or a stranger wrote it.
            raise SerializationError(
                f"entry {self._context.cache_key}: an item of its stream can't be decoded "
                f"({error.__cause__ or error!r}): have it computed again"
            ) from error

    def _decoded(self, number: int) -> Iterator[Any]:
        member = self._members[number]
        payload = self._compared(member["offset"], member["size"], member["checksum"])
        decoder = self._context.decoder
        if member["compressor"] != "none":
            codec = decoder.registry.compressor(member["compressor"])
            logical = member["logical"]
            check_declared(logical)
            payload = memoryview(codec.decompress(payload, max_size=logical))
            payload = checked_size(payload, logical)
        at = 4 + int.from_bytes(payload[:4], "little")
        table = json.loads(bytes(payload[4:at]))
        heads = [ItemHead(*head) for head in table["heads"]]
        last = number == len(self._members) - 1 and self._returns
        for row_number, (head, size, logical, count) in enumerate(table["rows"], 1):
            if not 0 <= size <= len(payload) - at:
                raise ValueError(f"an item of {size} bytes does not lie in its member")
            item = read_item(self._context, decoder, heads[head], payload[at : at + size], logical)
            at += size
            if last and row_number == len(table["rows"]):
                self.returned = item
            elif count:
                yield from item
            else:
                yield item

    def _compared(self, offset: Any, size: Any, checksum: Any) -> memoryview:
        """Bytes of the stream that are those that were written."""
        if type(offset) is not int or type(size) is not int or min(offset, size) < 0:
            raise ValueError(f"({offset!r}, {size!r}) is no span")
        source = self._source
        if source is None:
            raise ValueError("the stream is closed")
        if isinstance(source, memoryview):
            found = source[offset : offset + size]
        else:
            found = memoryview(_read(source, offset, size))
        if type(checksum) is not str or not checksum.startswith("blake3:"):
            raise ValueError("a member of the stream has no checksum that counts")
        if len(found) != size or checksum_of(found, checksum) != checksum:
            raise BlobCorruptedError(
                f"entry {self._context.cache_key}: its stream is damaged at byte {offset}"
            )
        return found


def _read(file: FileIO, offset: int, size: int) -> bytes:
    """As many bytes as there are; no more than the file has is asked for."""
    size = min(size, max(0, os.fstat(file.fileno()).st_size - offset))
    pieces = []
    while size and (piece := _read_at(file, offset, size)):
        pieces.append(piece)
        offset += len(piece)
        size -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _read_at(file: FileIO, offset: int, size: int) -> bytes:
    """Without moving the place in the file, which a forked child shares."""
    if sys.platform == "win32":
        file.seek(offset)
        return file.read(size) or b""
    return os.pread(file.fileno(), size, offset)
