# SPDX-License-Identifier: MIT
"""`FileContent`: a path that counts in keys by what the file or the directory holds."""

from __future__ import annotations

import os
import stat

from cacheness.keys.encoding import Unstable, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["FileContent"]

_CHUNK = 4 << 20


class FileContent:
    """A file or a directory tree that counts in a key by its content, not by its path.

    A bare `pathlib.Path` counts by its text. This one is read whole each time a key is
    made, in chunks; it is an `os.PathLike`, so a function can open it as it is.

    Of a tree the names and contents of the files count, and empty directories; links
    count as what they point at; times, modes and owners do not.

    Args:
        path: The file or the directory; a relative one as seen when the key is made.

    Raises:
        FileNotFoundError: When a key is made and there is nothing at the path, or a
            link in the tree leads nowhere.

    Example:
        >>> import os, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = os.path.join(folder, "a.txt")
        ...     _ = open(path, "w").write("hello")
        ...     FileContent(path).digest().hex()[:16]
        'ea8f163db3868292'
    """

    __slots__ = ("path",)

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        """The path as given."""

    def __fspath__(self) -> str:
        return self.path

    def __repr__(self) -> str:
        return f"FileContent({self.path!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FileContent) and other.path == self.path

    def __hash__(self) -> int:
        return hash((FileContent, self.path))

    def digest(self) -> bytes:
        """The blake3 digest of the file's bytes, or of the tree: 32 bytes."""
        return _digest(self.path, ())


def _digest(path: str, above: tuple[tuple[int, int], ...]) -> bytes:
    found = os.stat(path)
    if stat.S_ISREG(found.st_mode):
        return _file_digest(path)
    if not stat.S_ISDIR(found.st_mode):
        raise Unstable(FileContent, f"names {path}, which is neither a file nor a directory")
    place = (found.st_dev, found.st_ino)
    if place in above:
        raise Unstable(FileContent, f"names {path}, a link to a directory that contains it")
    return _tree_digest(path, (*above, place))


def _tree_digest(path: str, above: tuple[tuple[int, int], ...]) -> bytes:
    from cacheness.keys.hashing import digest

    entries: list[Any] = []
    with os.scandir(path) as found:
        for entry in found:
            kind = "tree" if entry.is_dir() else "file"
            entries.append((os.fsencode(entry.name), kind, _digest(entry.path, above)))
    entries.sort()
    return digest(encode(["tree", *entries]))


def _file_digest(path: str) -> bytes:
    # Read, not mapped: a file that shrinks under a mapping ends the process.
    from cacheness.keys.hashing import Stream

    stream = Stream()
    with open(path, "rb", buffering=0) as file:
        size = min(_CHUNK, max(1, os.fstat(file.fileno()).st_size))
        buffer = memoryview(bytearray(size))
        while count := file.readinto(buffer):
            stream.update(buffer[:count])
    return stream.digest()
