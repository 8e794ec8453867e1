# SPDX-License-Identifier: MIT
"""A payload of many parts: one tar, or the same parts in one length-prefixed buffer.

Either way the handler's own bytes (the body) follow the parts, and a JSON manifest
comes last, which says where each part lies and who reads it.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

from cacheness.payloads.buffers import Scattered
from cacheness.payloads.tar import BLOCK, END, tar_member

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any, TypeVar

    from cacheness.handlers.protocols import Buffer

    _T = TypeVar("_T")

__all__ = ["ArchiveReader", "ArchiveWriter", "Part", "cuts_of"]

CUT = 8 << 20
"""Bytes after which a tar is cut: few enough that a program's memory allocator has them at hand,
so many that it has them in huge pages otherwise."""


@dataclass(frozen=True, slots=True)
class Part:
    """One encoded part, and what is needed to read it."""

    handler: str
    handler_version: int
    distribution: str
    compressor: str
    metadata: dict[str, Any]
    logical_bytes: int
    extension: str
    buffers: tuple[Buffer, ...] = ()
    lasting: bool = False
    """Whether the buffers stay as they are while parts after this one are encoded."""

    @property
    def size(self) -> int:
        """The part's bytes as stored."""
        return sum(map(len, self.buffers))


class ArchiveWriter:
    """Turns parts, which may be encoded only when it is their turn, into an archive.

    Args:
        parts: Gives the parts in order, each encoded when it is asked for.
        body: Gives the handler's own bytes; called after the parts.
        inline_bytes: Up to this size the archive is one buffer.
    """

    def __init__(
        self, parts: Iterator[Part], body: Callable[[], Iterable[Buffer]], inline_bytes: int
    ) -> None:
        self._parts = parts
        self._body = body
        self._inline_bytes = inline_bytes
        self._table: list[dict[str, Any]] = []
        self._at = 0
        self.manifest_span = (0, 0)
        """Offset and size of the manifest, known when all chunks were given."""
        self.lasting = False
        """Whether the chunk that was given last stays as it is until all were."""
        self.cuts: list[int] = []
        """Where in a tar a buffer may end that holds some megabytes of whole parts."""

    def chunks(self) -> tuple[bool, Iterable[Buffer]]:
        """Whether the archive is small enough to inline, and its bytes in order."""
        first: list[Part] = []
        size = 0
        for part in self._parts:
            first.append(part)
            size += part.size
            if size > self._inline_bytes:
                return False, self._tar(first)
        body = tuple(self._body())
        small = b"".join(self._lines(first, body))
        if len(small) <= self._inline_bytes:
            return True, (small,)
        self._table, self._at = [], 0
        self._body = lambda: body
        return False, self._tar(first)

    def _lines(self, parts: list[Part], body: tuple[Buffer, ...]) -> Iterator[Buffer]:
        for part in parts:
            self._note(part, 8)
            yield part.size.to_bytes(8, "little")
            yield from part.buffers
            self._at += 8 + part.size
        size = sum(map(len, body))
        yield size.to_bytes(8, "little")
        yield from body
        self._at += 8 + size
        manifest = self._manifest(self._at - size, size)
        yield len(manifest).to_bytes(8, "little")
        yield manifest
        self.manifest_span = (self._at + 8, len(manifest))

    def _tar(self, first: list[Part]) -> Iterator[Buffer]:
        for parts in (first, self._parts):
            for part in parts:
                self._note(part, BLOCK)
                self.lasting = part.lasting
                yield from self._member(f"{len(self._table) - 1:06d}{part.extension}", part.buffers)
        self.lasting = False
        body = tuple(self._body())
        size = sum(map(len, body))
        start = self._at + BLOCK
        yield from self._member("body.json", body)
        manifest = self._manifest(start, size)
        self.manifest_span = (self._at + BLOCK, len(manifest))
        yield from self._member("manifest.json", (manifest,))
        yield END

    def _member(self, name: str, buffers: Iterable[Buffer]) -> Iterator[Buffer]:
        buffers = tuple(buffers)
        size = sum(map(len, buffers))
        if self._at - (self.cuts[-1] if self.cuts else 0) >= CUT:
            self.cuts.append(self._at)
        yield from tar_member(name, buffers, size)
        self._at += BLOCK + size + -size % BLOCK

    def _note(self, part: Part, header: int) -> None:
        self._table.append(
            {
                "handler": part.handler,
                "version": part.handler_version,
                "distribution": part.distribution,
                "compressor": part.compressor,
                "metadata": part.metadata,
                "logical": part.logical_bytes,
                "offset": self._at + header,
                "size": part.size,
            }
        )

    def _manifest(self, offset: int, size: int) -> bytes:
        manifest = {"parts": self._table, "body": [offset, size]}
        return json.dumps(manifest, separators=(",", ":")).encode()


def cuts_of(metadata: Mapping[str, Any], size: int) -> list[int]:
    """Where an archive of ``size`` bytes may be cut, by what may be a stranger's entry."""
    cuts = metadata.get("_cuts")
    if metadata.get("_archive") is None or type(cuts) is not list or set(map(type, cuts)) != {int}:
        return []
    # What is aligned in the file is to be so in memory.
    if any(at % BLOCK or at - before < CUT for before, at in pairwise((0, *cuts))):
        return []
    return cuts if cuts[-1] < size else []


class ArchiveReader:
    """Finds the parts in an archive; checks every number before it is used.

    A part is asked for once: of an archive in several buffers, each is let go of after its last.

    Raises:
        ValueError: The manifest is none, or points outside the archive.
    """

    def __init__(self, archive: memoryview | Scattered, manifest_span: Any) -> None:
        self._archive = archive
        try:
            manifest = json.loads(bytes(self._slice(*manifest_span)))
            self.body = self._slice(*manifest["body"])
            self._parts = _as(list, manifest["parts"])
            self._check_order()
            self._unread = Counter(map(self._buffer_of, self._parts))
        except (TypeError, KeyError, RecursionError, ValueError) as error:
            raise ValueError(f"the archive's manifest can't be read: {error}") from None

    def part(self, number: int) -> tuple[Part, memoryview]:
        """What the manifest says of a part, and its bytes."""
        if not 0 <= number < len(self._parts):
            raise ValueError(f"the archive has no part {number}")
        try:
            found = self._parts[number]
            part = Part(
                handler=_as(str, found["handler"]),
                handler_version=_as(int, found["version"]),
                distribution=_as(str, found["distribution"]),
                compressor=_as(str, found["compressor"]),
                metadata=_as(dict, found["metadata"]),
                logical_bytes=_as(int, found["logical"]),
                extension="",
            )
            stored = self._slice(found["offset"], found["size"])
        except (TypeError, KeyError) as error:
            raise ValueError(f"the archive's part {number} is malformed: {error!r}") from None
        buffer = self._buffer_of(found)
        self._unread[buffer] -= 1
        if not self._unread[buffer] and isinstance(self._archive, Scattered):
            self._archive.let_go(buffer)
        return part, stored

    def _buffer_of(self, part: dict[str, Any]) -> int:
        archive = self._archive
        return archive.buffer_at(part["offset"]) if isinstance(archive, Scattered) else 0

    def _check_order(self) -> None:
        """Parts that lie over each other would make much of a small file."""
        end = 0
        for part in self._parts:
            offset, size = _as(int, part["offset"]), _as(int, part["size"])
            if offset < end:
                raise ValueError(f"a part at byte {offset} lies over another")
            end = offset + max(0, size)

    def _slice(self, offset: object, size: object) -> memoryview:
        if type(offset) is not int or type(size) is not int:
            raise ValueError(f"({offset!r}, {size!r}) is no span")
        if offset < 0 or size < 0 or offset + size > len(self._archive):
            raise ValueError(f"({offset}, {size}) lies outside the archive")
        return self._archive[offset : offset + size]


def _as(kind: type[_T], value: object) -> _T:
    if type(value) is not kind:
        raise ValueError(f"{value!r} is no {kind.__name__}")
    return value
