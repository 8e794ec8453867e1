# SPDX-License-Identifier: MIT
"""Tells other processes who waits for whom, so that no circle of waits is closed.

Only who leads a flight while it waits for another can be part of a circle, so only such
waits are posted. Whoever posts one does so, and then reads what others have posted, in a
turn of its own: of the waits of a circle the last one sees the others, and does not wait.
"""

from __future__ import annotations

import json
import os
import stat
from contextlib import ExitStack, suppress
from threading import RLock
from typing import TYPE_CHECKING, Any, Protocol

from cacheness.errors import CachenessError
from cacheness.flights.table import table
from cacheness.forks import renew_in_child

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from cacheness.backends.base import MetadataBackend
    from cacheness.disk.folder import Folder
    from cacheness.flights.table import Wait
    from cacheness.flights.ways import Lock

    Edge = tuple[str, str]

__all__ = ["Board", "FilePlace", "NotesPlace", "closes_circle"]

_TURN = 2.0
"""Seconds to wait for one's turn; after it, two who close a circle may both not wait."""
_LONGEST = 1 << 20
"""Bytes of a notice; a longer one is none of ours."""


class Place(Protocol):
    """Where notices are kept, by the token of their process."""

    def lock(self, name: str) -> Lock:  # pyright: ignore[reportReturnType]  # a protocol has no bodies
        """A lock that excludes all who share the place."""

    def write(self, token: str, notice: str) -> None:
        """Keep the notice instead of the one before."""

    def remove(self, token: str) -> None:
        """Remove the notice, if there is one."""

    def read(self) -> dict[str, object]:  # pyright: ignore[reportReturnType]  # a protocol has no bodies
        """All notices, as JSON gives them."""


def closes_circle(wait: Wait) -> bool:
    """Post the wait; whether whom it waits for waits for who waits here.

    Where no notices can be kept, no circle is seen.
    """
    with suppress(CachenessError, OSError), ExitStack() as turns:
        boards = {board.site: board for board in wait.boards}
        for board in sorted(boards.values(), key=lambda board: repr(board.site)):
            turns.enter_context(board.turn())
        for board in wait.boards:
            board.post()
        edges = table.edges()
        for board in boards.values():
            edges += board.others()
        return _reaches(edges, wait.flight.name, {one.name for one in wait.mine if one.held})
    return False


class Board:
    """What this process tells the others through one cache, and what they tell.

    Args:
        place: Where notices are kept.
        site: The same for all boards of this process that have the same place.
    """

    def __init__(self, place: Place, site: Hashable) -> None:
        self.site = site
        self._place = place
        self._guard = RLock()
        self._token = os.urandom(8).hex()
        self._posted: list[Edge] = []
        self._living: Lock | None = None
        renew_in_child(self)

    def turn(self) -> _Turn:
        """Exclude all who post here; gives up after a while."""
        return _Turn(self._place.lock("turn"))

    def post(self) -> None:
        """Tell what the table of this process says now."""
        with self._guard, suppress(CachenessError, OSError):
            edges = table.edges(self)
            if edges == self._posted:
                return
            if edges and self._living is None:
                living = self._place.lock(self._token)
                if not living.acquire(_TURN):
                    return
                self._living = living
            if edges:
                self._place.write(self._token, json.dumps(edges))
            else:
                self._place.remove(self._token)
            self._posted = edges
            if not edges and self._living is not None:
                self._living.release()
                self._living = None

    def others(self) -> list[Edge]:
        """What living processes tell; notices of dead ones are removed."""
        edges: list[Edge] = []
        for token, notice in self._place.read().items():
            if token != self._token and self._lives(token):
                edges += _edges_of(notice)
        return edges

    def after_fork(self) -> None:
        """Begin as another process, whose parent's notice is its parent's."""
        self._guard = RLock()
        self._token = os.urandom(8).hex()
        self._posted = []
        self._living = None

    def _lives(self, token: str) -> bool:
        """Whether the process of that notice holds the lock that dies with it."""
        living = self._place.lock(token)
        if not living.acquire(0):
            return True
        try:
            self._place.remove(token)
        finally:
            living.release()
        return False


class _Turn:
    def __init__(self, lock: Lock) -> None:
        self._lock = lock
        self._taken = False

    def __enter__(self) -> None:
        self._taken = self._lock.acquire(_TURN)

    def __exit__(self, *_: object) -> None:
        if self._taken:
            self._lock.release()


class FilePlace:
    """One small file for each process that waits, beside the locks.

    Args:
        directory: The cache's directory.
        locks: Its locks.
        for_group: Whether the directory's group may read and remove the files.
    """

    def __init__(self, directory: str, locks: Any, *, for_group: bool) -> None:
        self._directory = os.path.join(directory, "locks")
        self._locks = locks
        self._mode = 0o660 if for_group else 0o600

    def lock(self, name: str) -> Lock:
        lock: Lock = self._locks.hold(("flights", name))
        return lock

    def write(self, token: str, notice: str) -> None:
        from cacheness.disk.folder import Folder

        name = token + _SUFFIX
        with Folder(self._directory) as folder:
            with suppress(FileNotFoundError):
                folder.unlink(f"{name}.new")  # it may be another name of a file elsewhere
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            with folder.open(f"{name}.new", flags, self._mode) as opened:
                if self._mode == 0o660 and hasattr(os, "fchmod"):
                    os.fchmod(opened.number, self._mode)
                os.write(opened.number, notice.encode())
            folder.rename(f"{name}.new", name)

    def remove(self, token: str) -> None:
        from cacheness.disk.folder import Folder

        with suppress(FileNotFoundError), Folder(self._directory) as folder:
            folder.unlink(token + _SUFFIX)

    def read(self) -> dict[str, object]:
        from cacheness.disk.folder import Folder

        found: dict[str, object] = {}
        with Folder(self._directory) as folder:
            for name in folder.names():
                token, dot, _ = name.partition(_SUFFIX)
                if dot and name == token + _SUFFIX:
                    with suppress(OSError, ValueError, RecursionError):
                        found[token] = json.loads(_content(folder, name))
        return found


_SUFFIX = ".waits"


def _content(folder: Folder, name: str) -> bytes:
    with folder.open(name, os.O_RDONLY) as opened:
        status = os.fstat(opened.number)
        if not stat.S_ISREG(status.st_mode) or status.st_size > _LONGEST:
            return b"[]"
        return os.read(opened.number, _LONGEST)


class NotesPlace:
    """A side table of the store.

    Args:
        backend: Keeps notes, and gives locks that can be tried.
    """

    _KIND = "flights"

    def __init__(self, backend: MetadataBackend) -> None:
        self._backend = backend

    def lock(self, name: str) -> Lock:
        lock: Any = self._backend.lock(f"cacheness flights: {name}")
        return lock  # type: ignore[no-any-return]  # the ground has checked what it gives

    def write(self, token: str, notice: str) -> None:
        self._backend.write_notes(self._KIND, {token: json.loads(notice)})

    def remove(self, token: str) -> None:
        self._backend.write_notes(self._KIND, {token: None})

    def read(self) -> dict[str, object]:
        return self._backend.read_notes(self._KIND)


def _edges_of(notice: object) -> list[Edge]:
    """The waits of a notice; what is none is left out."""
    if not isinstance(notice, list):
        return []
    return [
        (edge[0], edge[1])
        for edge in notice
        if isinstance(edge, list)
        and len(edge) == 2
        and isinstance(edge[0], str)
        and isinstance(edge[1], str)
    ]


def _reaches(edges: Iterable[Edge], start: str, goals: set[str]) -> bool:
    after: dict[str, list[str]] = {}
    for one, other in edges:
        after.setdefault(one, []).append(other)
    todo, seen = [start], set[str]()
    while todo:
        name = todo.pop()
        if name in goals:
            return True
        if name not in seen:
            seen.add(name)
            todo += after.get(name, ())
    return False
