# SPDX-License-Identifier: MIT
"""The directory of a file store: made by the first write, known by the id in it."""

from __future__ import annotations

import errno
import os
import re
from time import sleep

from cacheness.disk.folder import Folder, closing_on_error
from cacheness.errors import BackendUnavailableError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cacheness.backends.base import BackendContext

__all__ = ["Place"]

_STORE_ID = "store-id"
_OWNER = re.compile(r"owner-[0-9a-f]{32}", re.ASCII)
_LONGEST_OWNER = 1 << 16
"""Bytes that are read of what a file says of an owner."""


class Place:
    """Holds one folder for each pair of digits that names of blobs begin with.

    Args:
        context: The cache's directory and configuration.
        path: The directory, instead of ``blobs`` in the cache's.
    """

    def __init__(self, context: BackendContext, path: str | None) -> None:
        config = context.config
        self._context = context
        self._own_place = path is None
        root = os.path.join(context.directory, "blobs") if path is None else path
        self.path = os.path.abspath(os.path.expanduser(root))
        self.durable = config.durability == "fsync"
        self.for_group = config.permissions == "group"
        self.mode = 0o660 if self.for_group else 0o600
        """The permissions of a file in it."""
        self._read_only = config.read_only
        self._local: dict[int, bool] = {}
        self._settled: set[str] = set()
        """The folders whose names are known to be on the disk."""

    @property
    def store_id(self) -> str:
        """As `FileBlobBackend.store_id`."""
        try:
            found = self._read_store_id()
            if not found and not self._read_only:
                self._make_root()
                found = self._read_store_id()
        except OSError as error:
            raise self._out_of_reach(error) from error
        return found

    def claim(self, owner: str) -> None:
        """Note it in a file of its own, which two machines can make at the same time."""
        from cacheness.payloads.layout import write_file_in

        try:
            self._make_root()
            with Folder(self.path) as root:
                write_file_in(root, _owner_name(owner), owner.encode(), self.mode)
        except OSError as error:
            raise self._out_of_reach(error) from error

    def owners(self) -> frozenset[str]:
        """All that were given to `claim`."""
        found = set()
        try:
            with Folder(self.path) as root:
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

    def folder(self, prefix: str) -> Folder:
        """The folder of this prefix.

        Raises:
            FileNotFoundError: There is none.
        """
        with Folder(self.path) as root:
            return Folder(prefix, root)

    def made_folder(self, prefix: str) -> Folder:
        """The folder of this prefix, made where there is none."""
        try:
            folder = self.folder(prefix)
        except FileNotFoundError:
            folder = self._new_folder(prefix)
        if self.durable and prefix not in self._settled:
            with closing_on_error(folder):
                self._settle()
        return folder

    def prefixes(self) -> list[str]:
        """The prefixes of which there is a folder."""
        try:
            with Folder(self.path) as root:
                return [name for name in root.names() if _is_prefix(name)]
        except FileNotFoundError:
            return []

    def check_reachable(self) -> None:
        """A blob is missing only where the store that should hold it is there."""
        if not self._read_store_id():
            raise BackendUnavailableError(
                f"the blob store {self.path} is not there; is its disk mounted?"
            )

    def is_local(self) -> bool:
        """Whether no other machine can take a file's pages away; looked at anew per device."""
        try:
            device = os.stat(self.path).st_dev
        except OSError:
            return False  # to read it will say why
        if device not in self._local:
            from cacheness.disk.filesystem import network_type

            self._local[device] = network_type(self.path) is None
        return self._local[device]

    def _new_folder(self, prefix: str) -> Folder:
        try:
            opened = Folder(self.path)
        except FileNotFoundError:
            self._make_root()
            opened = Folder(self.path)
        with opened as root:
            try:
                root.mkdir(prefix)
            except FileExistsError:
                return Folder(prefix, root)
            folder = Folder(prefix, root)
            if self.for_group:
                with closing_on_error(folder):
                    folder.set_mode(0o2770)
            return folder

    def _settle(self) -> None:
        """Wait for the names of the folders to be on the disk.

        Also of those that are there already: whoever made them may not have waited.
        """
        from cacheness.disk.durable import sync_directory

        with Folder(self.path) as root:
            there = set(root.names())
            root.sync()
        sync_directory(os.path.dirname(self.path))
        self._settled |= there

    def _make_root(self) -> None:
        from cacheness.payloads.layout import make_subdirectory, write_file_in

        if self._own_place:
            self._context.make_directory()
        else:
            from cacheness.disk.durable import make_parents

            make_parents(self.path, durable=self.durable)
        make_subdirectory(self.path, self._context.config)
        with Folder(self.path) as root:
            try:
                root.status(_STORE_ID)
            except FileNotFoundError:
                write_file_in(root, _STORE_ID, os.urandom(16).hex().encode(), self.mode)
                self._keep_id(root)

    def _keep_id(self, root: Folder) -> None:
        """Have the store's id outlive a power loss, whatever the durability.

        Entries whose payloads lie in a store of another id are out of reach for ever.
        """
        from cacheness.disk.durable import sync_directory

        try:
            root.sync()
            sync_directory(os.path.dirname(self.path))
        except OSError:
            if self.durable:
                raise
            # Some network file systems have no such thing.

    def _read_store_id(self) -> str:
        """The store's id; empty where there is none."""
        for _ in range(50):
            try:
                with Folder(self.path) as root, root.open(_STORE_ID, os.O_RDONLY) as opened:
                    found = opened.file().read(64)
            except FileNotFoundError:
                return ""
            if len(found) == 32 and found.isalnum():
                return found.decode("ascii")
            # Where there are no hard links, it is written in place by who made it first.
            sleep(0.01)
        raise OSError(errno.EIO, f"its {_STORE_ID} is damaged")

    def _out_of_reach(self, error: OSError) -> BackendUnavailableError:
        return BackendUnavailableError(
            f"the blob store {self.path} can't be reached: {error.strerror or error}"
        )


def _owner_name(owner: str) -> str:
    from hashlib import blake2b

    return f"owner-{blake2b(owner.encode(), digest_size=16).hexdigest()}"


def _is_prefix(name: str) -> bool:
    return len(name) == 2 and not set(name) - set("0123456789abcdef")
