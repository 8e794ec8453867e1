# SPDX-License-Identifier: MIT
"""Writes a stream: items as they come, in members of about 1 MiB, never all in memory.

A member is a small JSON table (its size in 4 bytes before it) and the payloads of its items
one after the other. An index in JSON comes last, which says where each member lies and what
its checksum is; the index's own checksum is in the entry's metadata. In a file of their own
members and index are those of a tar; what never filled a member is the same without the tar's
headers. So a reader compares each member when it comes to it.
"""

from __future__ import annotations

import json
import os
from time import time
from typing import NamedTuple

from cacheness import forks
from cacheness.disk.descriptor import Descriptor
from cacheness.payloads.checksum import checksum_of
from cacheness.payloads.items import ItemEncoder
from cacheness.payloads.tar import BLOCK, END, tar_member

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from cacheness.engine import Engine
    from cacheness.handlers.protocols import Buffer
    from cacheness.payloads.items import EncodedItem

__all__ = ["MEMBER_BYTES", "RecordedStream", "StreamWriter"]

MEMBER_BYTES = 1 << 20
_TABLE_BYTES = 24
"""About what an item takes in the table of its member."""
_MOST_IN_A_RUN = 10_000
_RENEW_EVERY = 600.0
"""Seconds after which a file that waits for items is made young again: to a clean-up, what
nobody has written to for an hour is of somebody who was killed."""
_SCALARS = frozenset({int, float, bool, str, type(None)})
_LONG_TEXT = 1024


class StreamWriter:
    """Takes the items of a stream one by one; each is encoded before the next may change it.

    Use it in one thread at a time, and end it with `finish` or `abandon`. In a child that was
    forked meanwhile it takes nothing more.

    Args:
        engine: Of the cache that the stream is for.
    """

    def __init__(self, engine: Engine) -> None:
        self._begun = forks.number
        self._engine = engine
        self._encoder = ItemEncoder(engine)
        self._heads: dict[str, int] = {}
        self._rows: list[list[int]] = []
        self._payloads: list[bytes] = []
        self._size = 0
        self._run: list[object] = []
        self._run_bytes = 0
        self._members: list[dict[str, Any]] = []
        self._path: str | None = None
        self._file: Descriptor | None = None
        self._at = 0
        self._renew_at = 0.0
        self._data_only = True
        self.items = 0
        """How many items were added."""

    def takes_quickly(self, item: object) -> bool:
        """Whether adding this item takes a microsecond."""
        kind = type(item)
        if kind not in _SCALARS or (kind is str and len(item) > _LONG_TEXT):  # type: ignore[arg-type]  # a str
            return False
        return len(self._run) < _MOST_IN_A_RUN - 1 and self._run_bytes < MEMBER_BYTES // 2

    def add(self, item: object) -> None:
        """Take the next item.

        Raises:
            SerializationError: No handler keeps it.
            OSError: It can't be written.
        """
        self.items += 1
        if self._file is not None and time() >= self._renew_at:
            self._renew()
        # What can't change may wait for its like: one JSON list for thousands of them.
        kind = type(item)
        if kind in _SCALARS and (kind is not str or len(item) <= _LONG_TEXT):  # type: ignore[arg-type]  # a str
            self._run.append(item)
            self._run_bytes += _TABLE_BYTES if kind is not str else len(item)  # type: ignore[arg-type]
            if len(self._run) >= _MOST_IN_A_RUN or self._run_bytes >= MEMBER_BYTES:
                self._end_run()
            return
        self._end_run()
        self._take(self._encoder.encode(item), 0)

    def finish(self, returned: object = None) -> RecordedStream:
        """End the stream; what the generator returned follows its items."""
        if returned is not None:
            self._end_run()
            self._take(self._encoder.encode(returned), 0)
        self._end_run()
        in_file = self._file is not None
        if in_file:
            if self._rows:
                self._write_member(self._member())
            index = self._index(returned is not None)
            metadata = self._metadata(self._at + BLOCK, index)
            self._write(tar_member("manifest.json", (index,), len(index)))
            self._write((END,))
            self._close()
            return RecordedStream(
                self.items, metadata, self._data_only, self._path, (), self._begun
            )
        member = self._member()
        self._note(member, 0)
        index = self._index(returned is not None)
        metadata = self._metadata(len(member.stored), index)
        small = (member.stored, index)
        return RecordedStream(self.items, metadata, self._data_only, None, small, self._begun)

    def abandon(self) -> None:
        """Forget the stream; nothing is left of it, unless a handler took it over."""
        self._close()
        path, self._path = self._path, None
        if path is not None and os.path.exists(path) and forks.number == self._begun:
            os.unlink(path)

    # --- members --------------------------------------------------------------------------

    def _end_run(self) -> None:
        if self._run:
            run, self._run, self._run_bytes = self._run, [], 0
            self._take(self._encoder.encode(run), len(run))

    def _take(self, item: EncodedItem, count: int) -> None:
        """Put an encoded item, or a run of ``count``, into the current member."""
        self._data_only = self._data_only and item.data_only
        head = json.dumps(item.head, separators=(",", ":"))
        number = self._heads.setdefault(head, len(self._heads))
        self._rows.append([number, len(item.payload), item.logical_bytes, count])
        self._payloads.append(item.payload)
        self._size += len(item.payload) + _TABLE_BYTES
        if self._size >= MEMBER_BYTES:
            self._write_member(self._member())

    def _member(self) -> _Member:
        """What is in the current member, which begins anew."""
        heads = f"[{','.join(self._heads)}]"
        table = f'{{"heads":{heads},"rows":{json.dumps(self._rows, separators=(",", ":"))}}}'
        encoded = table.encode()
        plain: bytes = b"".join((len(encoded).to_bytes(4, "little"), encoded, *self._payloads))
        self._heads, self._rows, self._payloads, self._size = {}, [], [], 0
        codec = self._engine.registry.compressor(self._engine.config.compressor)
        codec = codec.choose(plain, size=len(plain))
        stored = plain if codec.name == "none" else bytes(codec.compress(plain))
        return _Member(stored, codec.name, len(plain))

    def _write_member(self, member: _Member) -> None:
        self._note(member, BLOCK)
        name, stored = f"{len(self._members) - 1:06d}.items", member.stored
        self._write(tar_member(name, (stored,), len(stored)))

    def _note(self, member: _Member, header: int) -> None:
        self._members.append(
            {
                "offset": self._at + header,
                "size": len(member.stored),
                "compressor": member.compressor,
                "logical": member.logical_bytes,
                "checksum": checksum_of(member.stored, "blake3"),
            }
        )

    def _index(self, returns: bool) -> bytes:
        index = {"members": self._members, "returns": returns}
        return json.dumps(index, separators=(",", ":")).encode()

    def _metadata(self, offset: int, index: bytes) -> dict[str, Any]:
        return {
            "compressed": True,
            "index": [offset, len(index)],
            "index_checksum": checksum_of(index, "blake3"),
            "items": self.items,
        }

    # --- the file -------------------------------------------------------------------------

    def _write(self, buffers: Iterator[Buffer] | tuple[bytes, ...]) -> None:
        forks.check(self._begun)
        if self._file is None:
            digits = os.urandom(16).hex()
            self._path = self._engine.blobs().stage(f"{digits[:2]}/{digits}.tar")
            self._file = Descriptor(self._path, _FLAGS)
        for buffer in buffers:
            view = memoryview(buffer)
            while view:
                written = os.write(self._file.number, view)
                self._at += written
                view = view[written:]

    def _renew(self) -> None:
        self._renew_at = time() + _RENEW_EVERY
        if self._file is not None and self._path is not None:
            os.utime(self._file.number if os.utime in os.supports_fd else self._path)

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()


_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


class _Member(NamedTuple):
    stored: bytes
    compressor: str
    logical_bytes: int


class RecordedStream:
    """A stream that was written, on its way to the handler that stores it."""

    __slots__ = ("begun", "data_only", "items", "metadata", "path", "small")

    def __init__(
        self,
        items: int,
        metadata: dict[str, Any],
        data_only: bool,
        path: str | None,
        small: tuple[bytes, ...],
        begun: int,
    ) -> None:
        self.items = items
        self.metadata = metadata
        self.data_only = data_only
        self.path = path
        """The file that holds it, or None where it is in `small`."""
        self.small = small
        self.begun = begun
        """What `forks.number` was for whoever may move that file."""
