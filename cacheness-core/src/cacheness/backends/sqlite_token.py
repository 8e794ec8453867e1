# SPDX-License-Identifier: MIT
"""Tells for a fraction of a statement's price that nobody wrote to a SQLite file.

Every commit in WAL mode writes the header of the WAL index, twice, in the first 96 bytes
of the ``-shm`` file (https://sqlite.org/walformat.html#the_wal_index_header): it holds a
count of commits, the log's length, its salts and the running checksum of its frames. A
connection that begins to read compares this very header with the one it knows, to see
whether its pages are still current. So while it is the same, a SELECT would see the same.

It is read through the descriptor that SQLite itself has of the file: closing one of our own
would drop all record locks that the process has on it, SQLite's included, and another
process would then take the index for abandoned. SQLite keeps its own open for as long as the
process has a connection to the database.
"""

from __future__ import annotations

import os
from struct import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ChangeWatch", "descriptor_of", "has_settled", "header_of", "log_of"]

_HEADER = 96
_COPY = 48
_LENGTH, _WRITTEN_BACK, _INDEX = 16, 96, 100
"""Where the index has the two counts of `log_of`, and the bytes that it takes up to there."""
_native_count = Struct("=I").unpack_from
_VERSION = Struct("=I").pack(3_007_000)
"""How every header begins."""

_DIRECTORIES = ("/proc/self/fd", "/dev/fd")
"""Where the system tells which descriptors a process has."""


class ChangeWatch:
    """Gives the version that a connection sees, asking it only after a commit.

    Asking takes 3 µs, seeing that there is no need to a quarter of that. Where the header
    can't be read, such as without WAL or on Windows, it asks each time.

    Args:
        path: The database.
        identity: Its device and inode when the connection was opened, if known.
        ask: Has the connection tell its version. It has read before, and stays open as
            long as this object is used, so that SQLite does not replace the index.
    """

    __slots__ = ("_ask", "_seen", "_version", "descriptor")

    def __init__(
        self, path: str, identity: tuple[int, int] | None, ask: Callable[[], object]
    ) -> None:
        self._ask = ask
        self.descriptor = _find_descriptor(path, identity)
        """SQLite's, of the file that has the header, for `header_of`; None where there is none."""
        self._seen: bytes | None = None
        self._version: object = None

    def version(self) -> object:
        """[hot] The same as before only if nobody else committed since."""
        if self.descriptor is None:
            return self._ask()
        try:
            # Read before asking: a commit in between is then asked for once too often.
            header = header_of(self.descriptor)
        except OSError:
            return self._ask()
        if header == self._seen:
            return self._version
        self._version = self._ask()
        self._seen = header if has_settled(header) else None
        return self._version


def header_of(descriptor: int) -> bytes:
    """[hot] The header, both copies of it."""
    return os.pread(descriptor, _HEADER, 0)


def log_of(descriptor: int) -> tuple[int, int]:
    """How many pages are in the log, and how many of them are not in the file yet."""
    index = os.pread(descriptor, _INDEX, 0)
    length: int = _native_count(index, _LENGTH)[0]
    return length, length - _native_count(index, _WRITTEN_BACK)[0]


def has_settled(header: bytes) -> bool:
    """Whether it is one that no commit is writing: each writes the second copy first."""
    return header[:_COPY] == header[_COPY:] and header.startswith(_VERSION)


def _find_descriptor(path: str, identity: tuple[int, int] | None) -> int | None:
    """The descriptor of the WAL index, or None where there is none to be trusted."""
    if not hasattr(os, "pread"):
        return None
    try:
        index, status = os.stat(f"{path}-shm"), os.stat(path)
        if (status.st_dev, status.st_ino) != identity:
            return None  # another database took its place, whose index this may be
        found = descriptor_of(index.st_dev, index.st_ino)
        return found if found is not None and len(header_of(found)) == _HEADER else None
    except OSError:
        return None


def descriptor_of(device: int, inode: int) -> int | None:
    """A descriptor that this process has of the file, if it has any and can tell."""
    for directory in filter(os.path.isdir, _DIRECTORIES):
        for name in os.listdir(directory):
            try:
                status = os.fstat(int(name))
            except (OSError, ValueError):
                continue  # the one by which the directory was read
            if (status.st_dev, status.st_ino) == (device, inode):
                return int(name)
    return None
