# SPDX-License-Identifier: MIT
"""Payloads in files of their own: the default blob backend."""

from __future__ import annotations

import errno
import os
import re
import stat
import sys
from contextlib import suppress
from time import sleep, time

from cacheness.blobs.base import BLOB_NAME, BlobBackend, check_blob_name
from cacheness.disk.folder import Folder, closing_on_error
from cacheness.errors import BackendUnavailableError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

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
_STORE_ID = "store-id"
_OWNER = re.compile(r"owner-[0-9a-f]{32}", re.ASCII)
_LONGEST_OWNER = 1 << 16
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
        config = context.config
        self._context = context
        self._own_place = path is None
        self._root = os.path.join(context.directory, "blobs") if path is None else path
        self.directory = self._root = os.path.abspath(os.path.expanduser(self._root))
        self._read_only = config.read_only
        self._durable = config.durability == "fsync"
        self._for_group = config.permissions == "group"
        self._mode = 0o660 if self._for_group else 0o600
        self._postponed: list[str] = []
        self._local: dict[int, bool] = {}
        self._settled: set[str] = set()
        """The folders whose names are known to be on the disk."""

    @property
    def store_id(self) -> str:
        """The id in ``blobs/store-id``; read anew each time, as a mount may come and go.

        A store that is opened with ``read_only=True`` and has none has the empty one.

        Raises:
            BackendUnavailableError: The store can't be reached, or its id is damaged.
        """
        try:
            found = self._read_store_id()
            if not found and not self._read_only:
                self._make_root()
                found = self._read_store_id()
        except OSError as error:
            raise self._out_of_reach(error) from error
        return found

    def claim(self, owner: str) -> None:
        """A file for each, which two machines can make at the same time on any file system."""
        from cacheness.payloads.layout import write_new_file

        try:
            self._make_root()
            write_new_file(self._owner_path(owner), owner.encode(), self._mode)
        except OSError as error:
            raise self._out_of_reach(error) from error

    def owners(self) -> frozenset[str]:
        found = set()
        try:
            with Folder(self._root) as root:
                for name in root.names():
                    if _OWNER.fullmatch(name):
                        with root.open(name, os.O_RDONLY) as opened:
                            owner = opened.file().read(_LONGEST_OWNER)
                        found.add(owner.decode("utf-8", "replace"))
        except FileNotFoundError:
            return frozenset()
        except OSError as error:
            raise self._out_of_reach(error) from error
        return frozenset(found)

    # --- single blobs -------------------------------------------------------------------

    def write(self, name: str, source: Iterable[Buffer]) -> int:
        prefix, file_name = check_blob_name(name).split("/")
        temporary = _temporary_name(".tmp")
        with self._made_folder(prefix) as folder:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            try:
                with folder.open(temporary, flags, self._mode) as opened:
                    size = _write_all(opened.number, source)
                    self._finish(opened.number)
                folder.rename(temporary, file_name)
            except BaseException:
                # Neither this nor that it was renamed already hides what was the matter.
                with suppress(OSError):
                    folder.unlink(temporary)
                raise
            if self._durable:
                folder.sync()
        return size

    def read(self, name: str) -> Buffer:
        with self._open(name) as opened:
            return opened.file().read()

    def read_into(self, name: str, target: memoryview) -> Iterator[memoryview]:
        with self._open(name) as opened:
            if os.fstat(opened.number).st_size > len(target):
                raise ValueError(f"blob {name} is longer than {len(target)} bytes")
            file, at = opened.file(), 0
            while got := file.readinto(target[at : at + _READ]):
                yield target[at : at + got]
                at += got

    def mapped(self, name: str, size: int) -> memoryview | None:
        from cacheness.blobs.mapping import mapped_privately

        if not self._is_local():
            return None
        with self._open(name) as opened:
            return mapped_privately(opened.number, size)

    def pieces(self, name: str) -> Iterator[Buffer]:
        with self._open(name) as opened:
            file = opened.file()
            while piece := file.read(_READ):
                yield piece

    def local_path(self, name: str) -> _LocalPath:
        return _LocalPath(self, name)

    def delete(self, name: str) -> bool:
        prefix, file_name = check_blob_name(name).split("/")
        try:
            with self._folder(prefix) as folder:
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
            with self._folder(prefix) as folder:
                return stat.S_ISREG(folder.status(file_name).st_mode)
        except FileNotFoundError:
            return False

    # --- files that a handler writes itself ---------------------------------------------

    def stage(self, name: str) -> str:
        """A path in the store's own directory, so that `adopt` has only to rename the file."""
        prefix, file_name = check_blob_name(name).split("/")
        with self._made_folder(prefix):
            return os.path.join(self._root, prefix, _temporary_name(file_name[32:]))

    def adopt(self, staged_path: str, name: str) -> int:
        from cacheness.disk.staging import open_regular

        prefix, file_name = check_blob_name(name).split("/")
        with open_regular(staged_path) as opened:
            size = os.fstat(opened.number).st_size
            self._finish(opened.number)
        with self._made_folder(prefix) as folder:
            try:
                folder.rename_into(staged_path, file_name)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                return super().adopt(staged_path, name)
            if self._durable:
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
                with self._folder(prefix) as folder:
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
        try:
            with Folder(self._root) as root:
                prefixes = [name for name in root.names() if _is_prefix(name)]
        except FileNotFoundError:
            return
        for prefix in prefixes:
            yield from self._files_of(prefix)

    def _files_of(self, prefix: str) -> list[tuple[str, os.stat_result]]:
        found = []
        try:
            with self._folder(prefix) as folder:
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

    # --- the directory --------------------------------------------------------------------

    def path_of(self, name: str) -> str:
        """Where the blob lies."""
        return os.path.join(self._root, *check_blob_name(name).split("/"))

    def check(self, name: str) -> None:
        """Raise `FileNotFoundError` where there is no such blob, as `read` does."""
        self._open(name).close()

    def _open(self, name: str) -> Descriptor:
        """A blob, to be read."""
        prefix, file_name = check_blob_name(name).split("/")
        try:
            with self._folder(prefix) as folder:
                opened = folder.open(file_name, os.O_RDONLY)
        except FileNotFoundError:
            self._check_reachable()
            raise
        except OSError as error:
            if error.errno in _NO_FILE:
                raise _no_file(self.path_of(name)) from error
            raise
        if not stat.S_ISREG(os.fstat(opened.number).st_mode):
            opened.close()
            raise _no_file(self.path_of(name))
        return opened

    def _check_reachable(self) -> None:
        """A blob is missing only where the store that should hold it is there."""
        if not self._read_store_id():
            raise BackendUnavailableError(
                f"the blob store {self._root} is not there; is its disk mounted?"
            )

    def _is_local(self) -> bool:
        """Whether no other machine can take a file's pages away; looked at anew per device."""
        try:
            device = os.stat(self._root).st_dev
        except OSError:
            return False  # to read it will say why
        if device not in self._local:
            from cacheness.disk.filesystem import network_type

            self._local[device] = network_type(self._root) is None
        return self._local[device]

    def _folder(self, prefix: str) -> Folder:
        with Folder(self._root) as root:
            return Folder(prefix, root)

    def _made_folder(self, prefix: str) -> Folder:
        try:
            folder = self._folder(prefix)
        except FileNotFoundError:
            folder = self._new_folder(prefix)
        if self._durable and prefix not in self._settled:
            with closing_on_error(folder):
                self._settle()
        return folder

    def _new_folder(self, prefix: str) -> Folder:
        try:
            opened = Folder(self._root)
        except FileNotFoundError:
            self._make_root()
            opened = Folder(self._root)
        with opened as root:
            try:
                root.mkdir(prefix)
            except FileExistsError:
                return Folder(prefix, root)
            folder = Folder(prefix, root)
            if self._for_group:
                with closing_on_error(folder):
                    folder.set_mode(0o2770)
            return folder

    def _settle(self) -> None:
        """Wait for the names of the folders to be on the disk.

        Also of those that are there already: whoever made them may not have waited.
        """
        from cacheness.disk.durable import sync_directory

        with Folder(self._root) as root:
            there = set(root.names())
            root.sync()
        sync_directory(os.path.dirname(self._root))
        self._settled |= there

    def _make_root(self) -> None:
        from cacheness.payloads.layout import make_subdirectory, write_new_file

        if self._own_place:
            self._context.make_directory()
        else:
            from cacheness.disk.durable import make_parents

            make_parents(self._root, durable=self._durable)
        make_subdirectory(self._root, self._context.config)
        path = os.path.join(self._root, _STORE_ID)
        if not os.path.lexists(path):
            write_new_file(path, os.urandom(16).hex().encode(), self._mode)

    def _owner_path(self, owner: str) -> str:
        from hashlib import blake2b

        digest = blake2b(owner.encode(), digest_size=16).hexdigest()
        return os.path.join(self._root, f"owner-{digest}")

    def _out_of_reach(self, error: OSError) -> BackendUnavailableError:
        return BackendUnavailableError(
            f"the blob store {self._root} can't be reached: {error.strerror or error}"
        )

    def _read_store_id(self) -> str:
        """The store's id; empty where there is none."""
        for _ in range(50):
            try:
                with Folder(self._root) as root, root.open(_STORE_ID, os.O_RDONLY) as opened:
                    found = opened.file().read(64)
            except FileNotFoundError:
                return ""
            if len(found) == 32 and found.isalnum():
                return found.decode("ascii")
            # Where there are no hard links, it is written in place by who made it first.
            sleep(0.01)
        raise OSError(errno.EIO, f"its {_STORE_ID} is damaged")

    def _finish(self, descriptor: int) -> None:
        """Give a file that is written its mode, and wait for it to be on the disk."""
        if self._for_group and sys.platform != "win32":
            os.fchmod(descriptor, self._mode)  # whatever the umask
        if self._durable:
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


def _write_all(descriptor: int, source: Iterable[Buffer]) -> int:
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
            _write(descriptor, memoryview(held))
            held = bytearray()
        _write(descriptor, view)
    _write(descriptor, memoryview(held))
    return size


def _write(descriptor: int, view: memoryview) -> None:
    while view:
        view = view[os.write(descriptor, view) :]


def _changed_at(status: os.stat_result) -> float:
    """When a file was written or renamed last: a handler may copy one with its old date."""
    return max(status.st_mtime, status.st_ctime)


def _temporary_name(extension: str) -> str:
    return f".{os.getpid()}-{os.urandom(8).hex()}{extension}"


def _is_prefix(name: str) -> bool:
    return len(name) == 2 and not set(name) - set("0123456789abcdef")


def _no_file(path: str) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, "there is no regular file of that name", path)
