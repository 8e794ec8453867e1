# SPDX-License-Identifier: MIT
"""Holds bytes that have to wait until what goes before them is known."""

from __future__ import annotations

from cacheness.disk.apart import nameless_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import IO

__all__ = ["Spool"]

_IN_MEMORY = 64 << 20
_PIECE_BYTES = 4 << 20


class Spool:
    """A queue of bytes: the first 64 MiB in memory, without a copy, the rest in a temporary file.

    The file is in the directory that `tempfile` chooses (``TMPDIR``) and has no name.
    """

    def __init__(self, in_memory: int = _IN_MEMORY) -> None:
        self.size = 0
        """Bytes appended so far."""
        self._room = in_memory
        self._pieces: list[bytes] = []
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._pieces.clear()
        if self._file is not None:
            self._file.close()

    def append(self, piece: bytes) -> None:
        """Add bytes at the end.

        Raises:
            OSError: The temporary file can't be made or is full.
        """
        self.size += len(piece)
        if self._file is None and self.size <= self._room:
            self._pieces.append(piece)
            return
        if self._file is None:
            self._file = nameless_file()
        self._file.write(piece)

    def __iter__(self) -> Iterator[bytes]:
        """Give all bytes in order, once."""
        while self._pieces:
            yield self._pieces.pop(0)
        if self._file is not None:
            self._file.seek(0)
            while piece := self._file.read(_PIECE_BYTES):
                yield piece
