# SPDX-License-Identifier: MIT
"""The file that entries travel in: an uncompressed tar that any tool opens.

==========================  ==============================================================
``cacheness-export.json``   ``{"cacheness_export": 1}``, the version of the format
``payloads/000000000.npy``  each payload's bytes as they are stored, numbered in order
``manifest.jsonl``          the fields of each entry as one line of JSON, in the same order
==========================  ==============================================================

The manifest comes last, so that a file that was cut off has none.
"""

from __future__ import annotations

import json
import os
import re
import stat
from contextlib import contextmanager
from math import isfinite
from tarfile import GNU_FORMAT, REGTYPE, HeaderError, TarInfo
from typing import BinaryIO, NamedTuple

from cacheness.entry import Entry
from cacheness.errors import BlobCorruptedError, ConfigError
from cacheness.naming import checked_key
from cacheness.payloads.checksum import Checksum

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any, NoReturn

    from cacheness.handlers.protocols import Buffer

__all__ = ["ExportReader", "ExportWriter", "Exported", "checked_pieces"]

FORMAT = 1
"""The version of the format; a newer one is refused."""

_HEAD = "cacheness-export.json"
_MANIFEST = "manifest.jsonl"
_PAYLOAD = re.compile(r"payloads/([0-9]{9})((?:\.[a-z0-9]{1,12}){0,3})", re.ASCII)
_BLOCK = 512
_END = 2 * _BLOCK
_LONGEST_END = 1 << 16
"""Zeros at the end: tools that write a tar anew fill its last record with them."""
_LONGEST_LINE = 4 << 20
_DEEPEST = 100
"""How deep the JSON of an entry may be nested; what a cache stores itself never is."""
_PIECE = 1 << 20
_ELSEWHERE = frozenset({"inline", "blob", "blob_store"})
"""Where the payload lay is of no meaning elsewhere."""
_FIELDS = tuple(name for name in Entry.__slots__ if name not in _ELSEWHERE)
_NAMES = (
    "namespace",
    "prefix",
    "handler",
    "compressor",
    "checksum",
    "signature",
    "function",
    "code_digest",
    "distribution",
)
_COUNTS = ("generation", "handler_version", "stored_bytes", "logical_bytes", "hits")
_TIMES = (
    "created_at",
    "renewed_at",
    "accessed_at",
    "ttl_seconds",
    "expires_at",
    "stale_until",
    "cost_seconds",
)


class ExportWriter:
    """Writes an export to a file that can be positioned.

    Args:
        file: Where to, empty.
        manifest: Keeps the manifest until all payloads are written, empty.
    """

    def __init__(self, file: BinaryIO, manifest: BinaryIO) -> None:
        self._file = file
        self._manifest = manifest
        self.count = 0
        self.bytes = 0
        head = json.dumps({"cacheness_export": FORMAT}).encode() + b"\n"
        self._member(_HEAD, len(head), (head,))

    def add(self, entry: Entry, extension: str, pieces: Iterable[Buffer]) -> None:
        """Write an entry with its payload.

        Raises:
            BlobCorruptedError: The payload is not the one that was stored; the file is as
                it was before.
        """
        line = _line_of(entry)
        name = f"payloads/{self.count:09d}{extension}"
        start = self._file.tell()
        try:
            self._member(name, entry.stored_bytes, checked_pieces(entry, pieces))
        except BaseException:
            self._file.seek(start)
            self._file.truncate()
            raise
        self._manifest.write(line)
        self.count += 1
        self.bytes += entry.stored_bytes

    def finish(self) -> None:
        """Write the manifest and the end."""
        size = self._manifest.tell()
        self._manifest.seek(0)
        self._member(_MANIFEST, size, iter(lambda: self._manifest.read(_PIECE), b""))
        self._file.write(bytes(_END))

    def _member(self, name: str, size: int, pieces: Iterable[Buffer]) -> None:
        header = TarInfo(name)
        header.size = size
        header.mode = 0o600
        self._file.write(header.tobuf(GNU_FORMAT))
        for piece in pieces:
            self._file.write(piece)
        self._file.write(bytes(-size % _BLOCK))


def checked_pieces(entry: Entry, pieces: Iterable[Buffer], *also: Checksum) -> Iterator[Buffer]:
    """The pieces of a payload, compared with what the entry says of them.

    Args:
        entry: The entry.
        pieces: The payload in order.
        also: Take in the pieces, too.

    Raises:
        BlobCorruptedError: They are too many, too few or others; at the end, or as soon as
            that is known.
    """
    try:
        checksum = Checksum(entry.checksum)
    except ValueError as error:
        raise BlobCorruptedError(f"entry {entry.cache_key}: {error}") from None
    left = entry.stored_bytes
    for piece in pieces:
        left -= len(piece)
        if left < 0:
            break
        for one in (checksum, *also):
            one.update(piece)
        yield piece
    if left:
        raise BlobCorruptedError(
            f"entry {entry.cache_key}: its payload has not the {entry.stored_bytes} bytes it should"
        )
    if checksum.text() != entry.checksum:
        raise BlobCorruptedError(f"entry {entry.cache_key}: the checksum differs")


class Exported(NamedTuple):
    """An entry in an export."""

    entry: Entry
    """Its fields, checked to be of the right types, and nothing else about them."""
    extension: str
    """What the payload's name ends in; may be empty."""
    offset: int
    """Where the payload begins in the file; it has ``entry.stored_bytes``."""
    weight: int
    """The length of the entry's line in the manifest."""


class ExportReader:
    """Reads an export, which may be anything: nothing in it is believed.

    Members are found by position, and their names compared with what they have to be, so
    no name ever leads anywhere. Nothing is decompressed.
    """

    def __init__(self, file: BinaryIO, path: str) -> None:
        self._file = file
        self._path = path
        self._size = os.fstat(file.fileno()).st_size
        self._manifest: tuple[int, int] | None = None

    @classmethod
    @contextmanager
    def open(cls, path: str) -> Iterator[ExportReader]:
        """Open the export at a path.

        Raises:
            OSError: It can't be opened.
            BlobCorruptedError: It is no regular file.
        """
        with open(path, "rb", opener=_open_at_once) as file:
            reader = cls(file, path)
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                reader._refuse("it is no regular file")
            yield reader

    def check(self) -> int:
        """Look at everything but the payloads' bytes, and give the number of entries.

        Raises:
            BlobCorruptedError: Something is not as it has to be.
            ConfigError: It is of a newer format.
        """
        return sum(1 for _ in self)

    def __iter__(self) -> Iterator[Exported]:
        if self._manifest is None:
            *_, (_, *span) = self._members()
            self._manifest = span[0], span[1]
        members = self._members()
        next(members)
        for line in self._lines(*self._manifest):
            name, offset, size = next(members)
            match = _PAYLOAD.fullmatch(name)
            if match is None:
                self._refuse("its manifest has more lines than there are payloads")
            entry = self._entry(line)
            if entry.stored_bytes != size:
                self._refuse(f"{name} has {size} bytes, not {entry.stored_bytes}")
            yield Exported(entry, match[2], offset, len(line))
        if next(members)[0] != _MANIFEST:
            self._refuse("its manifest has fewer lines than there are payloads")

    def pieces(self, exported: Exported) -> Iterator[bytes]:
        """A payload in order, about 1 MiB at a time."""
        at, left = exported.offset, exported.entry.stored_bytes
        while left and (piece := self._read_at(at, min(left, _PIECE))):
            yield piece
            at += len(piece)
            left -= len(piece)

    # --- members --------------------------------------------------------------------------

    def _members(self) -> Iterator[tuple[str, int, int]]:
        """Name, offset and size of the head, each payload, and the manifest."""
        header = self._header(0)
        if header.name != _HEAD:
            self._refuse(f"it does not begin with {_HEAD}")
        self._check_head(header.size)
        yield _HEAD, _BLOCK, header.size
        at = _after(0, header.size)
        number = 0
        while (header := self._header(at)).name != _MANIFEST:
            match = _PAYLOAD.fullmatch(header.name)
            if match is None or int(match[1]) != number:
                self._refuse(f"{header.name[:100]!r} is not the name of payload {number}")
            yield header.name, at + _BLOCK, header.size
            number += 1
            at = _after(at, header.size)
        yield _MANIFEST, at + _BLOCK, header.size
        self._check_end(_after(at, header.size))

    def _header(self, at: int) -> TarInfo:
        try:
            header = TarInfo.frombuf(self._read_at(at, _BLOCK), "utf-8", "surrogateescape")
        except (HeaderError, ValueError, OverflowError) as error:
            self._refuse(f"there is no member at byte {at} ({error})")
        if header.type != REGTYPE or header.linkname:
            self._refuse(f"{header.name[:100]!r} is no file")
        if header.size < 0 or _after(at, header.size) > self._size:
            self._refuse(f"{header.name[:100]!r} reaches beyond its end")
        return header

    def _check_head(self, size: int) -> None:
        try:
            found = json.loads(self._read_at(_BLOCK, min(size, _BLOCK)))["cacheness_export"]
        except (ValueError, TypeError, KeyError, RecursionError):
            found = None
        if type(found) is not int:
            self._refuse(f"its {_HEAD} can't be read")
        if found > FORMAT:
            raise ConfigError(
                f"{self._path} is an export of the format {found}, this cacheness knows up to "
                f"{FORMAT}: upgrade cacheness-core"
            )

    def _check_end(self, at: int) -> None:
        length = self._size - at
        if not _END <= length <= _LONGEST_END or any(self._read_at(at, length)):
            self._refuse("it does not end after its manifest")

    # --- the manifest -----------------------------------------------------------------------

    def _lines(self, at: int, size: int) -> Iterator[bytes]:
        held = b""
        end = at + size
        while at < end:
            piece = self._read_at(at, min(_PIECE, end - at))
            if not piece:
                self._refuse("it became shorter while it was read")
            at += len(piece)
            *lines, held = (held + piece).split(b"\n")
            yield from lines
            if len(held) > _LONGEST_LINE:
                self._refuse("a line of its manifest is too long")
        if held:
            self._refuse("the last line of its manifest has no end")

    def _entry(self, line: bytes) -> Entry:
        try:
            return _entry_of(json.loads(line))
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            shown = str(error)[:200]
            self._refuse(f"a line of its manifest makes no sense: {shown}")

    # --- bytes ------------------------------------------------------------------------------

    def _read_at(self, offset: int, size: int) -> bytes:
        self._file.seek(offset)
        return self._file.read(size)

    def _refuse(self, why: str) -> NoReturn:
        raise BlobCorruptedError(
            f"{self._path} is no whole export of a cache: {why}; export it anew"
        )


def _open_at_once(path: str, flags: int) -> int:
    """Open without waiting for the other end of a FIFO."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _after(at: int, size: int) -> int:
    """Where the member after one of that size begins."""
    return at + _BLOCK + size + -size % _BLOCK


def _line_of(entry: Entry) -> bytes:
    """The entry's line in the manifest, if it is one that can be read again."""
    fields = {name: getattr(entry, name) for name in _FIELDS}
    try:
        line = json.dumps(fields, separators=(",", ":")).encode() + b"\n"
        _entry_of(json.loads(line))
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise BlobCorruptedError(
            f"entry {entry.cache_key}: its record is damaged: {error}"
        ) from None
    if len(line) > _LONGEST_LINE:
        raise BlobCorruptedError(f"entry {entry.cache_key}: its record is too long to export")
    return line


def _entry_of(line: Any) -> Entry:
    """An entry of what stands in a line; raises where a field is not what it has to be."""
    from cacheness.backends.replay import checked_fields

    if type(line) is not dict or not _ELSEWHERE.isdisjoint(line):
        raise TypeError("it is not the fields of an entry")
    fields = checked_fields(line)
    _check_depth(line)
    checked_key(fields["cache_key"])
    for name in _NAMES:
        _check_name(name, fields.get(name))
    for name in _COUNTS:
        if not 0 <= fields.get(name, 0) < 1 << 63:
            raise ValueError(f"{name} is out of range")
    for name in _TIMES:
        if fields.get(name) is not None:
            fields[name] = float(fields[name])
            if not isfinite(fields[name]):
                raise ValueError(f"{name} is no time")
    fields["tags"] = tuple(fields.get("tags", ()))
    for tag in fields["tags"]:
        _check_name("tags", tag)
    return Entry(**fields)


def _check_name(field: str, value: object) -> None:
    if value is None:
        return
    if not isinstance(value, str) or "\0" in value or len(value) > 1 << 16:
        raise ValueError(f"{field} is no name")
    value.encode()


def _check_depth(value: object) -> None:
    level: list[Any] = [value]
    for _ in range(_DEEPEST):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, (dict, list))
        ]
        if not level:
            return
    raise ValueError("it is nested too deep")
