# SPDX-License-Identifier: MIT
"""An append-only file of JSON objects, one a line, each with a checksum.

A line is a JSON object whose last member is ``crc32``, of all bytes before the comma that
precedes it. A line with ``"more": true`` belongs to the lines that follow it: a reader
takes them all, up to one without, or none. That one says of how many lines it is the last,
``"of": 3``, since a power loss may leave any pages of a write and lose the others. A line
with ``"wide": true`` holds numbers or text that only the standard library's parser gives
back as they were.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from contextlib import suppress
from time import sleep, time
from zlib import crc32

from cacheness import forks
from cacheness.disk.durable import sync_directory
from cacheness.forks import ForkedError, check

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any, TypeAlias

    Operation: TypeAlias = dict[str, Any]
    """What a line says, without its checksum."""
    Place: TypeAlias = tuple[int, int]
    """Offset and length in bytes of a line, its newline included."""

__all__ = ["Journal", "decode_line", "encode_line"]

_PIECE = 1 << 20
_UNASKED = 16 << 20
"""Bytes of a line up to which nobody asks how much memory there is."""
_FLAGS = sum(
    getattr(os, name, 0)
    for name in ("O_CLOEXEC", "O_NOFOLLOW", "O_NONBLOCK", "O_NOINHERIT", "O_BINARY")
)
_CHECKSUM = b',"crc32":"%08x"}\n'
_CHECKSUM_LENGTH = len(_CHECKSUM % 0)
_WIDE = b'{"wide":true'


class Journal:
    """The file, read from where one stopped and appended to.

    Not safe for threads: whoever owns it guards it. Whoever appends or replaces holds a
    lock against other processes meanwhile, and has read to the end under that lock; a
    reader needs none.

    Args:
        path: The file; made by the first `append`.
        mode: Its permissions.
        durable: Whether what was written is to survive a power loss.
        read_only: Whether it is never to be opened for writing.
    """

    def __init__(self, path: str, mode: int, *, durable: bool, read_only: bool = False) -> None:
        self.path = path
        self.end = 0
        """The offset behind the last whole line, or group of lines, that was read."""
        self.damaged = 0
        """How many lines were skipped because their checksum is wrong."""
        self._damaged_behind = 0
        """How many of those lie behind `end`, and are read again."""
        self._mode = mode
        self._durable = durable
        self._read_only = read_only
        self._descriptor: int | None = None
        self._identity: tuple[int, int] | None = None
        self._writable = False

    # --- reading ------------------------------------------------------------------------

    def changed(self) -> bool:
        """Whether there may be more to read."""
        return self._status() != (self._identity, self.end)

    def restarted(self) -> bool:
        """Whether all that was read has to be forgotten, as the file is another one now."""
        identity, size = self._status()
        if identity == self._identity and size >= self.end:
            return False
        self.close()
        with suppress(FileNotFoundError):
            self._open()
        return True

    def read_new(self, *, settled: bool) -> Iterator[tuple[Operation, Place]]:
        """Give every line from `end` on, and advance `end` past those that are whole.

        Args:
            settled: Whether nobody can be writing at the moment.
        """
        if self._descriptor is None:
            return
        settled = settled or self._is_old()
        self._forget_what_lay_behind()
        group: list[tuple[Operation, Place]] = []
        torn: list[tuple[Operation, Place]] = []
        for line, place in self._lines(self.end):
            operation = decode_line(line)
            if operation is None and not settled:
                operation = self._second_look(line, place)
            if operation is None:
                self.damaged += 1
                self._damaged_behind += 1
            else:
                if torn:  # and not the last: its write had ended before this line was written
                    self._advance(place[0])
                    yield from torn
                    torn = []
                group.append((operation, place))
                if operation.get("more"):
                    continue
                if _lacks_lines(group):
                    group, torn = [], group
                    continue
                self._advance(sum(place))
                yield from group
                group = []
            if not group and not torn:
                self._advance(sum(place))

    def _advance(self, end: int) -> None:
        self.end = end
        self._damaged_behind = 0

    def _forget_what_lay_behind(self) -> None:
        self.damaged -= self._damaged_behind
        self._damaged_behind = 0

    def read_line(self, place: Place) -> bytes:
        """The line at a place that `read_new` or `append` gave, as it is now."""
        offset, length = place
        return self._read_at(offset, length)

    def _is_old(self) -> bool:
        return self._descriptor is not None and time() - os.fstat(self._descriptor).st_mtime > 1

    def _second_look(self, line: bytes, place: Place) -> Operation | None:
        """Read a line again: a writer may just have replaced what a crash left unfinished."""
        sleep(0.002)
        again = self._read_at(*place)
        return None if again == line else decode_line(again)

    def _lines(self, offset: int) -> Iterator[tuple[bytes, Place]]:
        held = b""
        while piece := self._read_at(offset + len(held), max(_PIECE, len(held))):
            if len(held) > _UNASKED:
                self._check_length(offset, len(held))
            held += piece
            start = 0
            while newline := held.find(b"\n", start) + 1:
                yield held[start:newline], (offset + start, newline - start)
                start = newline
            held = held[start:]
            offset += start

    def _check_length(self, offset: int, length: int) -> None:
        """Refuse a line that goes on for more than there is memory: a file may have a hole."""
        from cacheness.payloads.limits import check_declared

        try:
            check_declared(8 * length)  # as it grows it is there twice, and then is parsed
        except ValueError as error:
            raise OSError(
                errno.EFBIG, f"its line at byte {offset} has no end: {error}; remove what follows"
            ) from error

    # --- writing ------------------------------------------------------------------------

    def append(self, lines: list[bytes], begun: int) -> list[Place]:
        """Add lines by one write, and tell where they are.

        What a crashed writer left behind the last whole line is cut off before. Where the
        write fails, the file is as it was.

        Args:
            lines: Each with its newline.
            begun: What `forks.number` was when the caller took the lock.

        Raises:
            ForkedError: The lock is a parent's.
        """
        descriptor = self._descriptor
        if descriptor is None:
            descriptor = self._open(begun)
        elif not self._writable:
            descriptor = self._open_to_write()
        check(begun)
        end, text = self.end, b"".join(lines)
        check(begun)  # before it is the file's end, and after it is the child's
        if os.fstat(descriptor).st_size > end:
            check(begun)
            os.ftruncate(descriptor, end)
            self._forget_what_lay_behind()
        try:
            _write_all(descriptor, text, begun)
        except OSError:
            check(begun)
            os.ftruncate(descriptor, end)
            raise
        check(begun)
        places = []
        for line in lines:
            places.append((self.end, len(line)))
            self.end += len(line)
        return places

    def sync(self, begun: int) -> None:
        """Wait for what was appended to be on the disk, where that was asked for."""
        check(begun)
        if self._durable and self._descriptor is not None:
            os.fsync(self._descriptor)

    def replace(self, lines: Iterable[bytes], begun: int) -> list[Place]:
        """Put a new file with these lines in the place of the old one, and go on with it.

        The lines may read from the old file while they are made. ``begun`` as for `append`.
        """
        check(begun)
        self._remove_leftovers(begun)
        temporary = f"{self.path}.{os.getpid()}.{os.urandom(4).hex()}.tmp"
        places: list[Place] = []
        try:
            descriptor = _open_new(temporary, 0, self._mode, begun)
            try:
                self._fill(descriptor, lines, places, begun)
            finally:
                os.close(descriptor)
            # Windows can't replace a file that is open.
            if sys.platform == "win32":
                self.close()
            check(begun)
            os.replace(temporary, self.path)
        except BaseException:
            if forks.number == begun:
                _unlink(temporary)
            raise
        check(begun)
        self.close()
        self._open()
        self.end = sum(places[-1]) if places else 0
        if forks.number != begun:
            self.close()  # so that a child reads it all anew
            raise ForkedError
        return places

    def _fill(
        self, descriptor: int, lines: Iterable[bytes], places: list[Place], begun: int
    ) -> None:
        offset = 0
        held = bytearray()
        for line in lines:
            places.append((offset, len(line)))
            offset += len(line)
            held += line
            if len(held) >= _PIECE:
                _write_all(descriptor, held, begun)
                held.clear()
        _write_all(descriptor, held, begun)
        # Whatever the durability: the new name may come to the disk before what it names, and
        # all entries would be lost instead of the newest.
        os.fsync(descriptor)

    def _remove_leftovers(self, begun: int) -> None:
        """Of writers that were killed here: the lock says that none is at work."""
        directory, name = os.path.split(self.path)
        for found in os.listdir(directory):
            check(begun)
            if found.startswith(f"{name}.") and found.endswith(".tmp"):
                _unlink(os.path.join(directory, found))

    # --- the file -----------------------------------------------------------------------

    def close(self) -> None:
        """Release the file, and forget what was read of it; closing twice is allowed."""
        descriptor, self._descriptor = self._descriptor, None
        self._identity, self.end = None, 0
        if descriptor is not None:
            os.close(descriptor)

    def _open(self, begun: int | None = None) -> int:
        """Open the file; with what `append` is given, make it."""
        descriptor = self._open_descriptor(begun)
        try:
            status = os.fstat(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise OSError(errno.EINVAL, "it is no regular file")
        self._descriptor = descriptor
        self._identity = status.st_dev, status.st_ino
        # Whoever made the file may not have waited for its name.
        if self._durable and not self._read_only:
            sync_directory(os.path.dirname(self.path))
        return descriptor

    def _open_descriptor(self, begun: int | None) -> int:
        self._writable = not self._read_only
        if begun is not None:
            return _open_new(self.path, os.O_APPEND, self._mode, begun)
        if self._writable:
            try:
                return os.open(self.path, os.O_RDWR | os.O_APPEND | _FLAGS)
            except OSError as error:
                if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                    raise
        self._writable = False
        return os.open(self.path, os.O_RDONLY | _FLAGS)

    def _open_to_write(self) -> int:
        """Open the file again, which could only be read when it was opened."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | _FLAGS)
        try:
            status = os.fstat(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        if (status.st_dev, status.st_ino) != self._identity:
            os.close(descriptor)
            raise OSError(errno.ESTALE, "it was replaced meanwhile")
        readable, self._descriptor, self._writable = self._descriptor, descriptor, True
        if readable is not None:
            os.close(readable)
        return descriptor

    def _status(self) -> tuple[tuple[int, int] | None, int]:
        try:
            status = os.stat(self.path, follow_symlinks=False)
        except FileNotFoundError:
            return None, 0
        return (status.st_dev, status.st_ino), status.st_size

    def _read_at(self, offset: int, length: int) -> bytes:
        if self._descriptor is None:
            return b""
        if sys.platform == "win32":
            os.lseek(self._descriptor, offset, os.SEEK_SET)
            return os.read(self._descriptor, length)
        return os.pread(self._descriptor, length, offset)


def encode_line(operation: Operation) -> bytes:
    """One operation as a line, its newline included.

    Raises:
        TypeError: It holds something that JSON can't keep.
    """
    body = _dumped(operation)[:-1]
    return body + _CHECKSUM % crc32(body)


def decode_line(line: bytes) -> Operation | None:
    """The operation that a line holds, or None where the line is damaged."""
    body = line[:-_CHECKSUM_LENGTH]
    if line[-_CHECKSUM_LENGTH:] != _CHECKSUM % crc32(body):
        return None
    operation: Operation
    try:
        if line.startswith(_WIDE):
            import json

            operation = json.loads(line)
        else:
            import orjson

            operation = orjson.loads(line)
        del operation["crc32"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return operation


def _lacks_lines(group: list[tuple[Operation, Place]]) -> bool:
    """Whether some were lost of what was written as one."""
    number = group[-1][0].get("of")
    return isinstance(number, int) and len(group) < number


def _dumped(operation: Operation) -> bytes:
    """The operation as orjson writes it, where that gives back the same values."""
    import json

    import orjson

    exactly = (
        orjson.OPT_PASSTHROUGH_SUBCLASS
        | orjson.OPT_PASSTHROUGH_DATACLASS
        | orjson.OPT_PASSTHROUGH_DATETIME
    )
    try:
        body = orjson.dumps(operation, option=exactly)
    except TypeError:
        pass  # large integers, lone surrogates
    else:
        # orjson writes null for what is no number or infinite.
        if b"null" not in body:
            return body
        text = json.dumps(operation)
        if "NaN" not in text and "Infinity" not in text:
            return body
    return json.dumps({"wide": True, **operation}, separators=(",", ":")).encode()


def _open_new(path: str, flags: int, mode: int, begun: int) -> int:
    check(begun)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | flags | _FLAGS, mode)
    try:
        if sys.platform != "win32":
            os.fchmod(descriptor, mode)  # whatever the umask
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _write_all(descriptor: int, data: bytes | bytearray, begun: int) -> None:
    """One write, unless the operating system takes less of it (it takes up to 2 GiB)."""
    view = memoryview(data)
    while view:
        check(begun)
        view = view[os.write(descriptor, view) :]


def _unlink(path: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)
