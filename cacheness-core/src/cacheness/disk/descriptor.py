# SPDX-License-Identifier: MIT
"""Descriptors that have an owner from the moment that they are open, so that none is lost."""

from __future__ import annotations

import os
import stat
from functools import partial
from weakref import ref

TYPE_CHECKING = False
if TYPE_CHECKING:
    from io import FileIO
    from types import TracebackType
    from typing import Self

__all__ = ["Descriptor"]


class Descriptor:
    """A context that closes what it opened, as does whoever drops it last.

    An interrupt comes between the call that opens a file and the step that keeps its number,
    or in place of an ``__exit__``. So opening and keeping are one call here, which nothing
    of Python's is part of, and closing and forgetting are another. What an interrupt took
    from its user is closed as it is dropped, by the same call: in a ``__del__`` another
    interrupt could come, and would be lost.

    Args:
        path: What to open.
        flags: As for `os.open`.
        mode: The permissions of a file that is made.
        within: The directory that the path is relative to.

    Raises:
        OSError: As from `os.open`.
    """

    __slots__ = ("__weakref__", "_closing", "_dropped", "_numbers")

    def __init__(
        self, path: str, flags: int, mode: int = 0o600, *, within: Descriptor | None = None
    ) -> None:
        self._numbers: list[int] = []
        self._closing = map(os.close, self._numbers)
        self._dropped = ref(self, partial(next, self._closing))
        make = os.open if within is None else partial(os.open, dir_fd=within.number)
        self._numbers.extend(map(make, (path,), (flags,), (mode,)))

    @property
    def number(self) -> int:
        """The number to hand to functions of `os`, while it is open."""
        return self._numbers[0]

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

        return FileIO(self._numbers[0], "rb", closefd=False)

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
