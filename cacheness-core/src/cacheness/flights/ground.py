# SPDX-License-Identifier: MIT
"""What excludes other processes from a flight: the store's own lock, or a file's."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from cacheness.disk.locks import FileLocks

if TYPE_CHECKING:
    from collections.abc import Hashable
    from contextlib import AbstractContextManager

    from cacheness.backends.base import MetadataBackend
    from cacheness.config import CacheConfig
    from cacheness.flights.board import Board
    from cacheness.flights.ways import Lock

__all__ = ["Ground", "SupportsAcquire", "open_ground"]


@runtime_checkable
class SupportsAcquire(Protocol):
    """What `MetadataBackend.lock` may give besides a context manager.

    With it, a wait is as long as its caller says, and circles of waits between processes
    are seen; without it, a wait is as long as the backend's.
    """

    def acquire(self, timeout: float | None = None) -> bool:
        """Take the lock, waiting up to ``timeout`` seconds (None: for ever); False in vain."""
        ...

    def release(self) -> None:
        """Give it up, in whatever thread; nothing where it is not held."""
        ...


class Ground(Protocol):
    """Where the flights of a cache exclude each other."""

    site: Hashable
    """The same for all caches of this process that share a store."""
    remote: bool
    """Whether a lock takes a round trip over a network."""

    def board(self) -> Board | None:
        """Where processes tell each other who waits for whom; made when first asked for."""

    def name(self, key: str) -> str:  # pyright: ignore[reportReturnType]  # a protocol has no bodies
        """What the flight of a key is called in other processes."""

    def lock(self, key: str) -> Lock | None:
        """The lock that excludes other processes; None where there are none."""

    def close(self) -> None:
        """Release what is open."""


def open_ground(backend: MetadataBackend, config: CacheConfig) -> Ground:
    """The ground of a cache."""
    if config.metadata_backend == "memory":
        return _MemoryGround(config)
    if "lock" in backend.capabilities:
        return _BackendGround(backend, config)
    return _FileGround(config)


class _MemoryGround:
    """A store that no other process sees."""

    remote = False

    def __init__(self, config: CacheConfig) -> None:
        name = config.metadata_options.get("name")
        self.site: Hashable = self if name is None else ("memory", name)

    def board(self) -> Board | None:
        return None

    def name(self, key: str) -> str:
        return key

    def lock(self, key: str) -> Lock | None:
        return None

    def close(self) -> None: ...


class _FileGround:
    """Record locks on a file in the cache's directory."""

    remote = False

    def __init__(self, config: CacheConfig) -> None:
        self._namespace = config.namespace
        self._locks = FileLocks(config.cache_dir, permissions=config.permissions)
        device, number = _identity(config.cache_dir)
        self.site: Hashable = ("file", device, number)
        # Another machine knows the directory by another device, but by the same number.
        self._place = str(number)
        self._directory = config.cache_dir
        self._for_group = config.permissions == "group"
        self._board: Board | None = None

    def board(self) -> Board | None:
        if self._board is None:
            from cacheness.flights.board import Board, FilePlace

            place = FilePlace(self._directory, self._locks, for_group=self._for_group)
            self._board = Board(place, self.site)
        return self._board

    def name(self, key: str) -> str:
        return f"{self._place}\0{self._namespace}\0{key}"

    def lock(self, key: str) -> Lock | None:
        return self._locks.hold(("flight", f"{self._namespace}\0{key}"))

    def close(self) -> None:
        self._locks.close()


def _identity(directory: str) -> tuple[int, int | str]:
    try:
        status = os.stat(directory)
    except OSError:
        return 0, directory
    return status.st_dev, status.st_ino


class _BackendGround:
    """The locks of the store itself, which exclude other machines, too."""

    remote = True

    def __init__(self, backend: MetadataBackend, config: CacheConfig) -> None:
        self._backend = backend
        self._place = f"{config.metadata_backend}\0{config.namespace}"
        options = repr(sorted(config.metadata_options.items()))
        self.site: Hashable = (config.metadata_backend, config.cache_dir, options)
        self._board: Board | None = None

    def board(self) -> Board | None:
        if self._board is None and isinstance(self._backend.lock(""), SupportsAcquire):
            from cacheness.flights.board import Board, NotesPlace

            self._board = Board(NotesPlace(self._backend), self.site)
        return self._board

    def name(self, key: str) -> str:
        return f"{self._place}\0{key}"

    def lock(self, key: str) -> Lock | None:
        lock = self._backend.lock(key)
        return lock if isinstance(lock, SupportsAcquire) else _Entered(lock)

    def close(self) -> None: ...


class _Entered:
    """The lock of a backend that can only be entered: it waits as long as the backend does."""

    def __init__(self, lock: AbstractContextManager[None]) -> None:
        self._lock = lock
        self._entered = False

    def acquire(self, timeout: float | None = None) -> bool:
        self._lock.__enter__()
        self._entered = True
        return True

    def release(self) -> None:
        entered, self._entered = self._entered, False
        if entered:
            self._lock.__exit__(None, None, None)
