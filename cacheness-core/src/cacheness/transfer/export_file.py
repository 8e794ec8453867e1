# SPDX-License-Identifier: MIT
"""The file that entries travel in: an uncompressed tar that any tool opens.

==========================  ==============================================================
``cacheness-export.json``   ``{"cacheness_export": 1}``, the version of the format
``payloads/000000000.npy``  each payload's bytes as they are stored, numbered in order
``manifest.jsonl``          for each payload, in order, a line of JSON: the name of the payload
                            and the fields of its entry that are not as by default
==========================  ==============================================================

The manifest comes last, so that a file that was cut off has none.
"""

from __future__ import annotations

import errno
import json
import os
import re
import stat
from contextlib import contextmanager
from math import isfinite
from tarfile import GNU_FORMAT, REGTYPE, HeaderError, TarInfo
from typing import BinaryIO, NamedTuple

from xxhash import xxh3_128

from cacheness import forks
from cacheness.disk.descriptor import Descriptor
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
_ALWAYS = frozenset({"namespace", "cache_key", "generation", "handler", "stored_bytes"})
_DEFAULTS = {
    name: None if name in _ALWAYS else getattr(Entry("", "", 0), name)
    for name in Entry.__slots__
    if name not in _ELSEWHERE
}
"""The fields that travel, with what they are where nothing is said of them."""
_NAMES = frozenset(
    (
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
)
_COUNTS = frozenset(("generation", "handler_version", "stored_bytes", "logical_bytes", "hits"))
_TIMES = frozenset(
    (
        "created_at",
        "renewed_at",
        "accessed_at",
        "ttl_seconds",
        "expires_at",
        "stale_until",
        "cost_seconds",
    )
)


class ExportWriter:
    """Writes an export to a file that can be positioned.

    Args:
        file: Where to, empty.
        manifest: Keeps the manifest until all payloads are written, empty.
    """

    def __init__(self, file: BinaryIO, manifest: BinaryIO) -> None:
        self._begun = forks.number
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
        name = f"payloads/{self.count:09d}{extension}"
        line = _line_of(entry, name)
        start = self._file.tell()
        try:
            self._member(name, entry.stored_bytes, checked_pieces(entry, pieces))
        except BaseException:
            if forks.number == self._begun:
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


class _Outline(NamedTuple):
    """What the headers of an export say."""

    first: int
    """Where the first payload's header stands, if there is a payload."""
    payloads: str
    """A digest of the names and sizes of all payloads, in order."""
    manifest: tuple[int, int]
    """Offset and size of the manifest."""


class ExportReader:
    """Reads an export, which may be anything: nothing in it is believed.

    Members are found by position, and their names compared with what they have to be, so
    no name ever leads anywhere. Nothing is decompressed.
    """

    def __init__(self, file: BinaryIO, path: str) -> None:
        self._file = file
        self._path = path
        self._size = os.fstat(file.fileno()).st_size
        self._outline: _Outline | None = None

    @classmethod
    @contextmanager
    def open(cls, path: str) -> Iterator[ExportReader]:
        """Open the export at a path.

        Raises:
            OSError: It can't be opened.
            BlobCorruptedError: It is no regular file.
        """
        # Without waiting for the other end of a FIFO.
        flags = sum(getattr(os, name, 0) for name in ("O_CLOEXEC", "O_NONBLOCK", "O_BINARY"))
        with Descriptor(path, flags) as opened:
            mode = os.fstat(opened.number).st_mode
            if stat.S_ISDIR(mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
            if not stat.S_ISREG(mode):
                raise _refusal(path, "it is no regular file")
            with open(opened.number, "rb", closefd=False) as file:
                yield cls(file, path)

    def check(self) -> int:
        """Look at everything but the payloads' bytes, and give the number of entries.

        Raises:
            BlobCorruptedError: Something is not as it has to be.
            ConfigError: It is of a newer format.
        """
        payloads = xxh3_128()
        count = 0
        for exported in self:
            size = exported.entry.stored_bytes
            payloads.update(_described(count, exported.extension, size))
            count += 1
        if self._seen().payloads != payloads.hexdigest():
            self._refuse("its manifest is not of its payloads")
        return count

    def __iter__(self) -> Iterator[Exported]:
        """The entries in order; that their payloads are where they seem to be tells `check`."""
        outline = self._seen()
        at = outline.first
        for number, line in enumerate(self._lines(*outline.manifest)):
            name, entry = self._entry(line)
            match = _PAYLOAD.fullmatch(name)
            if match is None or int(match[1]) != number:
                self._refuse(f"line {number} of its manifest is of another payload")
            yield Exported(entry, match[2], at + _BLOCK, len(line))
            at = _after(at, entry.stored_bytes)

    def pieces(self, exported: Exported) -> Iterator[bytes]:
        """A payload in order, about 1 MiB at a time."""
        at, left = exported.offset, exported.entry.stored_bytes
        while left and (piece := self._read_at(at, min(left, _PIECE))):
            yield piece
            at += len(piece)
            left -= len(piece)

    # --- members --------------------------------------------------------------------------

    def _seen(self) -> _Outline:
        if self._outline is None:
            self._outline = self._look_at_headers()
        return self._outline

    def _look_at_headers(self) -> _Outline:
        """Follow the headers from the head, past each payload, to the manifest and the end."""
        header = self._header(0)
        if header.name != _HEAD:
            self._refuse(f"it does not begin with {_HEAD}")
        self._check_head(header.size)
        first = at = _after(0, header.size)
        payloads = xxh3_128()
        number = 0
        while (header := self._header(at)).name != _MANIFEST:
            match = _PAYLOAD.fullmatch(header.name)
            if match is None or int(match[1]) != number:
                self._refuse(f"{header.name[:100]!r} is not the name of payload {number}")
            payloads.update(_described(number, match[2], header.size))
            number += 1
            at = _after(at, header.size)
        self._check_end(_after(at, header.size))
        return _Outline(first, payloads.hexdigest(), (at + _BLOCK, header.size))

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

    def _entry(self, line: bytes) -> tuple[str, Entry]:
        """The name of the payload that a line is about, and its entry."""
        try:
            return _parsed(line)
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            self._refuse(f"a line of its manifest makes no sense: {str(error)[:200]}")

    # --- bytes ------------------------------------------------------------------------------

    def _read_at(self, offset: int, size: int) -> bytes:
        self._file.seek(offset)
        return self._file.read(size)

    def _refuse(self, why: str) -> NoReturn:
        raise _refusal(self._path, why)


def _refusal(path: str, why: str) -> BlobCorruptedError:
    return BlobCorruptedError(f"{path} is no whole export of a cache: {why}; export it anew")


def _after(at: int, size: int) -> int:
    """Where the member after one of that size begins."""
    return at + _BLOCK + size + -size % _BLOCK


def _described(number: int, extension: str, size: int) -> bytes:
    return f"{number}{extension}:{size};".encode()


def _line_of(entry: Entry, payload: str) -> bytes:
    """The entry's line in the manifest, if it is one that can be read again."""
    about = f"entry {entry.cache_key}: its record"
    fields = {
        name: value
        for name, default in _DEFAULTS.items()
        if (value := getattr(entry, name)) != default
    }
    try:
        _checked(fields)
        line = json.dumps({"payload": payload, **fields}, separators=(",", ":")).encode()
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise BlobCorruptedError(f"{about} is damaged: {error}") from None
    if len(line) >= _LONGEST_LINE:
        raise BlobCorruptedError(f"{about} is too long to export")
    return line + b"\n"


def _parsed(line: bytes) -> tuple[str, Entry]:
    """What a line says; raises one of five errors where it makes no sense."""
    fields = json.loads(line)
    if type(fields) is not dict:
        raise TypeError("it is no object")
    name = fields.pop("payload")
    if type(name) is not str:
        raise TypeError("it names no payload")
    return name, Entry(**_checked(fields))


def _checked(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of an entry; raises where one is not what it has to be."""
    from cacheness.backends.replay import checked_fields

    if not _ELSEWHERE.isdisjoint(fields):
        raise TypeError("it says where its payload lay elsewhere")
    checked_fields(fields)
    checked_key(fields["cache_key"])
    _check_depth(fields)
    for name in _NAMES & fields.keys():
        _check_name(name, fields[name])
    for name in _COUNTS & fields.keys():
        if not 0 <= fields[name] < 1 << 63:
            raise ValueError(f"{name} is out of range")
    for name in _TIMES & fields.keys():
        if fields[name] is not None:
            fields[name] = float(fields[name])
            if not isfinite(fields[name]):
                raise ValueError(f"{name} is no time")
    if "tags" in fields:
        fields["tags"] = tuple(fields["tags"])
        for tag in fields["tags"]:
            _check_name("tags", tag)
    return fields


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
