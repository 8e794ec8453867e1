# SPDX-License-Identifier: MIT
"""Payloads in the memory of this process."""

from __future__ import annotations

import os
from _thread import allocate_lock
from time import time
from weakref import WeakValueDictionary

from cacheness.blobs.base import BlobBackend, check_blob_name
from cacheness.errors import CacheClosedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cacheness.backends.base import BackendContext
    from cacheness.handlers.protocols import Buffer

__all__ = ["MemoryBlobBackend"]

_PIECE = 1 << 20


class MemoryBlobBackend(BlobBackend):
    """Keeps blobs in memory: nothing outlives the process, nothing else sees them.

    Each backend object has a store of its own, unless it is given a name: those of one
    name share a store for as long as one of them is open. A forked child goes on with a
    copy of its own.
    """

    def __init__(self, context: BackendContext, *, name: str | None = None) -> None:
        """Open a store.

        Args:
            context: Not used.
            name: What to share the store by; None is nothing.
        """
        self._open: _Store | None = _store(name)

    @property
    def store_id(self) -> str:
        return self._store.id

    def claim(self, owner: str) -> None:
        self._store.owners.add(owner)

    def owners(self) -> frozenset[str]:
        return frozenset(self._store.owners)

    def write(self, name: str, source: Iterable[Buffer]) -> int:
        check_blob_name(name)
        blob = bytearray()
        for buffer in source:
            blob += buffer
        # The time is that of the wall, to be compared with those of files.
        self._store.blobs[name] = memoryview(blob).toreadonly(), time()
        return len(blob)

    def read(self, name: str) -> Buffer:
        return self._store.blob(name)

    def pieces(self, name: str) -> Iterator[Buffer]:
        blob = self._store.blob(name)
        for at in range(0, len(blob), _PIECE):
            yield blob[at : at + _PIECE]

    def local_path(self, name: str) -> _LocalPath:
        return _LocalPath(self._store, name)

    def delete(self, name: str) -> bool:
        return self._store.blobs.pop(check_blob_name(name), None) is not None

    def exists(self, name: str) -> bool:
        return check_blob_name(name) in self._store.blobs

    def renew(self, name: str) -> bool:
        found = self._store.blobs.get(check_blob_name(name))
        if found is None:
            return False
        self._store.blobs[name] = found[0], time()
        return True

    def iter_blobs(self) -> Iterator[tuple[str, int, float]]:
        for name, (blob, modified_at) in list(self._store.blobs.items()):
            yield name, len(blob), modified_at

    def close(self) -> None:
        self._open = None

    @property
    def _store(self) -> _Store:
        if self._open is None:
            raise CacheClosedError("the cache is closed")
        return self._open


class _Store:
    """What the backend objects of one name share. Each step on the dict is atomic."""

    def __init__(self) -> None:
        self.id = os.urandom(16).hex()
        self.owners: set[str] = set()
        self.blobs: dict[str, tuple[memoryview, float]] = {}

    def blob(self, name: str) -> memoryview:
        try:
            return self.blobs[check_blob_name(name)][0]
        except KeyError:
            raise FileNotFoundError(f"there is no blob {name}") from None


class _LocalPath:
    """`MemoryBlobBackend.local_path` of one blob: a private copy on the disk."""

    __slots__ = ("_name", "_path", "_store")

    def __init__(self, store: _Store, name: str) -> None:
        self._store = store
        self._name = name

    def __enter__(self) -> str:
        from cacheness.disk.staging import new_file_path

        blob = self._store.blob(self._name)
        self._path = new_file_path(self._name)
        with open(self._path, "xb") as file:
            file.write(blob)
        return self._path

    def __exit__(self, *_: object) -> None:
        os.unlink(self._path)


_named: WeakValueDictionary[str, _Store] = WeakValueDictionary()
_naming = allocate_lock()


def _store(name: str | None) -> _Store:
    if name is None:
        return _Store()
    with _naming:
        store = _named.get(name)
        if store is None:
            store = _named[name] = _Store()
        return store


def _after_fork() -> None:
    global _naming
    _naming = allocate_lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
