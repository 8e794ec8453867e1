# SPDX-License-Identifier: MIT
"""Reads a SQLite file where nothing can be written, and notices those who write it elsewhere.

In a directory that can't be written SQLite opens a file without a log only as one that never
changes (https://sqlite.org/uri.html#uriimmutable), and looks at it no more. But a writer may
come, on another machine or as another user. So the file is looked at before each statement,
and opened anew once it changed, or has a log.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable
    from typing import Any

__all__ = ["Unchanging", "UnkeptCursors"]


class Unchanging:
    """Stands for the connection to a file that seems to change no more.

    Args:
        path: The file.
        open_anew: Connects to it as it is at that moment.
    """

    def __init__(self, path: str, open_anew: Callable[[], sqlite3.Connection]) -> None:
        self._path = path
        self._open_anew = open_anew
        self._functions: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
        self._seen = self._look()
        self._connection = open_anew()
        self.openings = 1
        """How often it was opened: what SQLite counts begins anew with each."""

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        """As a connection's."""
        return self.current().execute(*arguments)

    def cursor(self) -> sqlite3.Cursor:
        """As a connection's; it is of use for one statement."""
        return self.current().cursor()

    def create_function(self, *arguments: Any, **options: Any) -> None:
        """As a connection's, and of those that come after it."""
        self._functions.append((arguments, options))
        self._connection.create_function(*arguments, **options)

    @property
    def in_transaction(self) -> bool:
        """As a connection's."""
        return self._connection.in_transaction

    def close(self) -> None:
        """Close the connection that it stands for."""
        self._connection.close()

    def current(self) -> sqlite3.Connection:
        """The connection that it stands for, to the file as it is now."""
        has_log = self._seen is None
        if has_log:
            return self._connection  # which reads the log, and so notices by itself
        seen = self._look()
        if seen != self._seen:
            connection = self._open_anew()
            for arguments, options in self._functions:
                connection.create_function(*arguments, **options)
            self._connection.close()
            self._connection, self._seen = connection, seen
            self.openings += 1
        return self._connection

    def _look(self) -> tuple[int, int, int, int] | None:
        """What tells whether somebody wrote the file; None where it has a log."""
        if os.path.exists(f"{self._path}-wal"):
            return None
        status = os.stat(self._path)
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


class UnkeptCursors(list["sqlite3.Cursor"]):
    """Holds no cursor for another statement, for which there may be another connection."""

    def append(self, cursor: sqlite3.Cursor, /) -> None:
        """Let it go."""
