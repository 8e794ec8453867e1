# SPDX-License-Identifier: MIT
"""A directory whose files are used without following links."""

from __future__ import annotations

import errno
import os
import stat
import sys
from contextlib import contextmanager
from functools import partial

from cacheness.disk.descriptor import Descriptor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Folder", "closing_on_error"]

_FLAGS = sum(
    getattr(os, name, 0)
    for name in ("O_CLOEXEC", "O_NOFOLLOW", "O_NONBLOCK", "O_NOINHERIT", "O_BINARY")
)
"""``O_NONBLOCK``: opening a FIFO that somebody planted must not wait for its other end."""

if sys.platform == "win32":

    class Folder:
        """A directory, by its path: Windows opens nothing relative to an open directory.

        Args:
            path: The directory.
            within: The folder that the path is relative to.

        Raises:
            OSError: It is missing, a link, or no directory.
        """

        __slots__ = ("_path",)

        def __init__(self, path: str, within: Folder | None = None) -> None:
            self._path = path if within is None else os.path.join(within._path, path)
            if not stat.S_ISDIR(_unlinked(self._path).st_mode):
                raise NotADirectoryError(errno.ENOTDIR, "it is no directory", self._path)

        def __enter__(self) -> Folder:
            return self

        def __exit__(self, *_: object) -> None:
            """Nothing is held open."""

        def open(self, name: str, flags: int, mode: int = 0o600) -> Descriptor:
            path = os.path.join(self._path, name)
            if not flags & os.O_EXCL:
                _unlinked(path)
            return Descriptor(path, flags | _FLAGS, mode)

        def mkdir(self, name: str) -> None:
            os.mkdir(os.path.join(self._path, name))

        def set_mode(self, mode: int) -> None:
            """Windows inherits rights from the directory above."""

        def rename(self, old: str, name: str) -> None:
            os.replace(os.path.join(self._path, old), os.path.join(self._path, name))

        def rename_into(self, path: str, name: str) -> None:
            os.replace(path, os.path.join(self._path, name))

        def link(self, old: str, name: str) -> None:
            os.link(os.path.join(self._path, old), os.path.join(self._path, name))

        def unlink(self, name: str) -> None:
            os.unlink(os.path.join(self._path, name))

        def unlinking(self, name: str) -> Callable[[], None]:
            return partial(os.unlink, os.path.join(self._path, name))

        def status(self, name: str) -> os.stat_result:
            return os.lstat(os.path.join(self._path, name))

        def names(self) -> list[str]:
            return os.listdir(self._path)

        def sync(self) -> None:
            """Windows keeps directories in order by itself."""

    def _unlinked(path: str) -> os.stat_result:
        status = os.lstat(path)
        if stat.S_ISLNK(status.st_mode):
            raise OSError(errno.ELOOP, "it is a link", path)
        return status

else:

    class Folder(Descriptor):
        """A directory that is held open, so that nobody can put a link in its place.

        Args:
            path: The directory.
            within: The folder that the path is relative to.

        Raises:
            OSError: It is missing, a link, or no directory.
        """

        __slots__ = ()

        def __init__(self, path: str, within: Folder | None = None) -> None:
            super().__init__(path, os.O_RDONLY | os.O_DIRECTORY | _FLAGS, within=within)

        def open(self, name: str, flags: int, mode: int = 0o600) -> Descriptor:
            """A file in the folder, which the caller closes."""
            return Descriptor(name, flags | _FLAGS, mode, within=self)

        def mkdir(self, name: str) -> None:
            """Make a directory in the folder, for its owner alone."""
            os.mkdir(name, 0o700, dir_fd=self.number)

        def set_mode(self, mode: int) -> None:
            """Set the permissions of the folder."""
            os.fchmod(self.number, mode)

        def rename(self, old: str, name: str) -> None:
            """Rename a file of the folder; one of that name is replaced."""
            os.replace(old, name, src_dir_fd=self.number, dst_dir_fd=self.number)

        def rename_into(self, path: str, name: str) -> None:
            """Move a file of the same file system into the folder."""
            os.replace(path, name, dst_dir_fd=self.number)

        def link(self, old: str, name: str) -> None:
            """Give a file of the folder another name, which nothing has yet."""
            folder = self.number
            os.link(old, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)

        def unlink(self, name: str) -> None:
            """Remove a file."""
            os.unlink(name, dir_fd=self.number)

        def unlinking(self, name: str) -> Callable[[], None]:
            """`unlink` as one call of C, before which no interrupt comes."""
            return partial(os.unlink, name, dir_fd=self.number)

        def status(self, name: str) -> os.stat_result:
            """The status of what bears this name, of a link itself."""
            return os.stat(name, dir_fd=self.number, follow_symlinks=False)

        def names(self) -> list[str]:
            """All names in the folder."""
            return os.listdir(self.number)

        def sync(self) -> None:
            """Wait for its names to be on the disk."""
            os.fsync(self.number)


@contextmanager
def closing_on_error(folder: Folder) -> Iterator[None]:
    """Close a folder that is not handed on, as what follows failed."""
    try:
        yield
    except BaseException:
        folder.__exit__()
        raise
