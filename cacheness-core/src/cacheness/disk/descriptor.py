# SPDX-License-Identifier: MIT
"""Descriptors that have an owner from the moment that they are open, so that none is lost."""

from __future__ import annotations

import os
import stat
from functools import partial
from operator import length_hint
from weakref import ref

from cacheness import forks
from cacheness.disk.apart import note

TYPE_CHECKING = False
if TYPE_CHECKING:
    from io import FileIO
    from types import TracebackType
    from typing import Self

__all__ = ["Descriptor"]

_DIRECTORY = getattr(os, "O_DIRECTORY", 0)


class Descriptor:
    """A context that closes what it opened, as does whoever drops it last.

    An interrupt comes between the call that opens a file and the step that keeps its number,
    or in place of an ``__exit__``. So opening and keeping are one call here, which nothing
    of Python's is part of, and closing and forgetting are another. What an interrupt took
    from its user is closed as it is dropped, by the same call: in a ``__del__`` another
    interrupt could come, and would be lost.

    A child that is forked meanwhile shares with its parent the place in the file, so that
    neither may read or write it without the other's knowledge: in the child it leads nowhere.

    Args:
        path: What to open.
        flags: As for `os.open`.
        mode: The permissions of a file that is made.
        within: The directory that the path is relative to.
        begun: What `forks.number` was before anybody could know the path.

    Raises:
        OSError: As from `os.open`.
        ForkedError: A child goes on with what its parent began.
    """

    __slots__ = ("__weakref__", "_closing", "_dropped", "_fork", "_left", "_numbers")

    def __init__(
        self,
        path: str,
        flags: int,
        mode: int = 0o600,
        *,
        within: Descriptor | None = None,
        begun: int | None = None,
    ) -> None:
        if begun is None:
            begun = forks.number if within is None else within._fork
        self._fork: int = begun
        self._numbers: list[int] = []
        self._left = iter(self._numbers)
        self._closing = map(os.close, self._left)
        self._dropped = ref(self, partial(next, self._closing))
        make = os.open if within is None else partial(os.open, dir_fd=within.number)
        opening = map(make, (path,), (flags,), (mode,))
        if forks.number != begun:
            raise forks.ForkedError
        self._numbers.extend(opening)
        if not flags & _DIRECTORY:  # which has no place that one could share
            note(self._numbers[0], self._dropped)

    @property
    def number(self) -> int:
        """The number to hand to functions of `os` at once, while it is open.

        Raises:
            ForkedError: It was opened by a process that this one was forked from.
        """
        if forks.number != self._fork:
            raise forks.ForkedError
        return self._numbers[0]

    @property
    def closed(self) -> bool:
        """Whether it is closed, or was handed over by `keep`."""
        return not length_hint(self._left)

    def is_regular(self) -> bool:
        """Whether it is a file, and no directory or device; closed where nobody can tell."""
        try:
            return stat.S_ISREG(os.fstat(self.number).st_mode)
        except BaseException:
            self.close()  # now, since whoever holds the error holds this
            raise

    def file(self) -> FileIO:
        """A file object for reading, which does not close it; nor may it outlive this."""
        from io import FileIO

        return FileIO(self.number, "rb", closefd=False)

    def close(self) -> None:
        """Close it; closing twice is allowed."""
        next(self._closing, None)

    def keep(self) -> int:
        """The number, for somebody who closes it or never does."""
        return self._numbers.pop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        next(self._closing, None)
