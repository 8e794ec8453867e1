# SPDX-License-Identifier: MIT
"""Payloads in files of their own: the default blob backend."""

from __future__ import annotations

import errno
import os
import stat
import sys
from contextlib import suppress
from time import time

from cacheness.blobs.base import BLOB_NAME, BlobBackend, check_blob_name
from cacheness.blobs.place import Place
from cacheness.disk.folder import closing_on_error
from cacheness.disk.unrecorded import check_own

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from cacheness.backends.base import BackendContext
    from cacheness.disk.descriptor import Descriptor
    from cacheness.handlers.protocols import Buffer

__all__ = ["FileBlobBackend"]

_READ = 1 << 20
"""Bytes that are read at a time, so that they are still in the processor's cache when the
caller looks at them."""
_HELD = 1 << 20
_SMALL = 64 << 10
"""Smaller buffers are put together before they are written."""
_KEEPS_OPEN_FILES = os.name == "nt"
"""Whether a blob that somebody has open can't be removed now, but only later."""
_NO_FILE = frozenset({errno.ELOOP, errno.EMLINK, errno.ENXIO})
"""What opening a link without following it, or a socket, gives."""


class FileBlobBackend(BlobBackend):
    """Keeps blobs in ``blobs/``, one file each, under the name that they have here.

    A blob is written under a temporary name and renamed. Nothing is ever opened through a
    link, nor anything that is no regular file: that counts as missing. Where ``blobs/``
    itself is gone, as when a share is not mounted, blobs are not missing but out of reach.
    """

    def __init__(self, context: BackendContext, *, path: str | None = None) -> None:
        """Open the store; it is made by the first write.

        Args:
            context: The cache's directory and configuration.
            path: Another directory to keep blobs in, instead of ``blobs`` in the cache's.
        """
        self._place = Place(context, path)
        self.directory = self._place.path
        self._postponed: list[str] = []

    @property
    def store_id(self) -> str:
        """The id in ``blobs/store-id``; read anew each time, as a mount may come and go.

        A store that is opened with ``read_only=True`` and has none has the empty one.

        Raises:
            BackendUnavailableError: The store can't be reached, or its id is damaged.
        """
        return self._place.store_id

    def claim(self, owner: str) -> None:
        self._place.claim(owner)

    def owners(self) -> frozenset[str]:
        return self._place.owners()

    # --- single blobs -------------------------------------------------------------------

    def write(self, name: str, source: Iterable[Buffer]) -> int:
        prefix, file_name = check_blob_name(name).split("/")
        with self._place.made_folder(prefix) as folder:
            # What follows is done by the process that opened the folder, or not at all.
            check_own(name)
            temporary = _temporary_name(".tmp")
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            try:
                with folder.open(temporary, flags, self._place.mode) as opened:
                    size = _write_all(opened, source)
                    self._finish(opened.number)
                folder.rename(temporary, file_name)
            except BaseException:
                # Neither this nor that it was renamed already hides what was the matter.
                with suppress(OSError):
                    folder.unlink(temporary)
                raise
            if self._place.durable:
                folder.sync()
        return size

    def read(self, name: str) -> Buffer:
        with self._open(name) as opened:
            return opened.file().read()

    def read_into(self, name: str, target: memoryview) -> Iterator[memoryview]:
        return self._read(name, (target,))

    def read_scattered(
        self, name: str, targets: Sequence[memoryview]
    ) -> Iterator[memoryview] | None:
        # A class that is made of this one may have changed what is read, and knows but that way.
        is_own = type(self).read_into is FileBlobBackend.read_into
        return self._read(name, targets) if is_own else None

    def _read(self, name: str, targets: Sequence[memoryview]) -> Iterator[memoryview]:
        with self._open(name) as opened:
            size = sum(map(len, targets))
            if os.fstat(opened.number).st_size > size:
                raise ValueError(f"blob {name} is longer than {size} bytes")
            file = opened.file()
            for target in targets:
                at = 0
                while got := file.readinto(target[at : at + _READ]):  # in a child: from nowhere
                    yield target[at : at + got]
                    at += got

    def mapped(self, name: str, size: int) -> memoryview | None:
        from cacheness.blobs.mapping import mapped_privately

        if not self._place.is_local():
            return None
        with self._open(name) as opened:
            return mapped_privately(opened.number, size)

    def pieces(self, name: str) -> Iterator[Buffer]:
        with self._open(name) as opened:
            while piece := os.read(opened.number, _READ):
                yield piece

    def local_path(self, name: str) -> _LocalPath:
        return _LocalPath(self, name)

    def delete(self, name: str) -> bool:
        prefix, file_name = check_blob_name(name).split("/")
        try:
            with self._place.folder(prefix) as folder:
                folder.unlink(file_name)
        except FileNotFoundError:
            return False
        except PermissionError:
            if not _KEEPS_OPEN_FILES:
                raise
            self._postponed.append(name)
        return True

    def exists(self, name: str) -> bool:
        prefix, file_name = check_blob_name(name).split("/")
        try:
            with self._place.folder(prefix) as folder:
                return stat.S_ISREG(folder.status(file_name).st_mode)
        except FileNotFoundError:
            return False

    def renew(self, name: str) -> bool:
        try:
            with self._open(name) as opened:
                os.utime(opened.number if os.utime in os.supports_fd else self.path_of(name))
        except FileNotFoundError:
            return False
        return True

    # --- files that a handler writes itself ---------------------------------------------

    def stage(self, name: str) -> str:
        """A path in the store's own directory, so that `adopt` has only to rename the file.

        Where no path leads to an open directory, it is one for this process alone.
        """
        from cacheness.disk.staging import HeldPath

        prefix, file_name = check_blob_name(name).split("/")
        folder = self._place.made_folder(prefix)
        with closing_on_error(folder):
            staged = HeldPath.within(folder, _temporary_name(file_name[32:]))
        if staged is None:
            folder.__exit__()
            return super().stage(name)
        return staged

    def adopt(self, staged_path: str, name: str) -> int:
        from cacheness.disk.staging import open_regular

        prefix, file_name = check_blob_name(name).split("/")
        with open_regular(staged_path) as opened:
            size = os.fstat(opened.number).st_size
            self._finish(opened.number)
        with self._place.made_folder(prefix) as folder:
            check_own(name)
            try:
                folder.rename_into(staged_path, file_name)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                return super().adopt(staged_path, name)
            if self._place.durable:
                folder.sync()
        return size

    # --- all blobs ----------------------------------------------------------------------

    def iter_blobs(self) -> Iterator[tuple[str, int, float]]:
        for name, status in self._files():
            if BLOB_NAME.fullmatch(name):
                yield name, status.st_size, _changed_at(status)

    def iter_leftovers(self, *, older_than: float = 3600.0) -> Iterator[tuple[str, int, float]]:
        before = time() - older_than
        for name, status in self._files():
            if name[3] == "." and _changed_at(status) < before:
                yield name, status.st_size, _changed_at(status)

    def remove_leftovers(self, *, older_than: float = 3600.0) -> int:
        freed = 0
        for name, size, _ in self.iter_leftovers(older_than=older_than):
            prefix, file_name = name.split("/")
            try:
                with self._place.folder(prefix) as folder:
                    folder.unlink(file_name)
                freed += size
            except FileNotFoundError:
                continue
        return freed

    def close(self) -> None:
        postponed, self._postponed = self._postponed, []
        for name in postponed:
            self.delete(name)

    def _files(self) -> Iterator[tuple[str, os.stat_result]]:
        """The regular files in the directories of blobs, with the names of those."""
        for prefix in self._place.prefixes():
            yield from self._files_of(prefix)

    def _files_of(self, prefix: str) -> list[tuple[str, os.stat_result]]:
        found = []
        try:
            with self._place.folder(prefix) as folder:
                for name in folder.names():
                    try:
                        status = folder.status(name)
                    except FileNotFoundError:
                        continue  # removed meanwhile
                    if stat.S_ISREG(status.st_mode):
                        found.append((f"{prefix}/{name}", status))
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, *_NO_FILE):
                raise
        return found

    # --- one blob's file ----------------------------------------------------------------

    def path_of(self, name: str) -> str:
        """Where the blob lies."""
        return os.path.join(self._place.path, *check_blob_name(name).split("/"))

    def check(self, name: str) -> None:
        """Raise `FileNotFoundError` where there is no such blob, as `read` does."""
        self._open(name).close()

    def _open(self, name: str) -> Descriptor:
        """A blob, to be read."""
        prefix, file_name = check_blob_name(name).split("/")
        try:
            with self._place.folder(prefix) as folder:
                opened = folder.open(file_name, os.O_RDONLY)
        except FileNotFoundError:
            self._place.check_reachable()
            raise
        except OSError as error:
            if error.errno in _NO_FILE:
                raise _no_file(self.path_of(name)) from error
            raise
        if not opened.is_regular():
            opened.close()
            raise _no_file(self.path_of(name))
        return opened

    def _finish(self, descriptor: int) -> None:
        """Give a file that is written its mode, and wait for it to be on the disk."""
        if self._place.for_group and sys.platform != "win32":
            os.fchmod(descriptor, self._place.mode)  # whatever the umask
        if self._place.durable:
            os.fsync(descriptor)


class _LocalPath:
    """`FileBlobBackend.local_path` of one blob."""

    __slots__ = ("_name", "_store")

    def __init__(self, store: FileBlobBackend, name: str) -> None:
        self._store = store
        self._name = name

    def __enter__(self) -> str:
        self._store.check(self._name)
        return self._store.path_of(self._name)

    def __exit__(self, *_: object) -> None:
        """The file is the blob itself, so it stays."""


def _write_all(opened: Descriptor, source: Iterable[Buffer]) -> int:
    """Write the buffers, large ones without a copy; give their size."""
    size = 0
    held = bytearray()
    for buffer in source:
        view = memoryview(buffer)
        if not view.nbytes:
            continue
        view = view.cast("B")
        size += len(view)
        if len(view) < _SMALL:
            held += view
            if len(held) < _HELD:
                continue
            view = memoryview(b"")
        if held:
            _write(opened, memoryview(held))
            held = bytearray()
        _write(opened, view)
    _write(opened, memoryview(held))
    return size


def _write(opened: Descriptor, view: memoryview) -> None:
    while view:
        view = view[os.write(opened.number, view) :]


def _changed_at(status: os.stat_result) -> float:
    """When a file was written or renamed last: a handler may copy one with its old date."""
    return max(status.st_mtime, status.st_ctime)


def _temporary_name(extension: str) -> str:
    return f".{os.getpid()}-{os.urandom(8).hex()}{extension}"


def _no_file(path: str) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, "there is no regular file of that name", path)
