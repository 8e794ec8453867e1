# SPDX-License-Identifier: MIT
"""Opens connections to a SQLite file, which may be anybody's work, and sets them up."""

from __future__ import annotations

import os
import sqlite3
import sys
from operator import methodcaller
from stat import S_ISREG

from cacheness.backends.sqlite_compiling import LENGTH, NONE, in_one_transaction

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cacheness.backends.sqlite_journal import Journal

__all__ = ["Opener", "mapped_bytes"]

_MAPPED = 0x7FFF0000 if sys.maxsize > 2**32 else 0
"""Bytes of a large file that are read in place, the most that SQLite takes: a get among a
million entries then costs 1.2 times one among a thousand, not twice that."""
_LARGE = 16 << 20
"""Of a smaller file most of what is read is in SQLite's own memory. It is not mapped, since SQLite
maps it anew after each commit of another process: four that write do a fifth more without."""


class Opener:
    """Opens each connection to one file in the same way; arguments as of `Connections`."""

    def __init__(
        self, path: str, *, timeout: float, durable: bool, read_only: bool, journal: Journal
    ) -> None:
        self._path = path
        self._timeout = timeout
        self._durable = durable
        self._read_only = read_only
        self._journal: Journal = journal
        self.begun: list[list[sqlite3.Connection]] = []
        """What is being set up, for a child that is forked meanwhile."""

    def open(self, displaced: list[object]) -> sqlite3.Connection:
        """Open a connection; what a put replaces goes to the list.

        Raises:
            sqlite3.Error: It can't be opened.
            BackendUnavailableError: There is something in the file's place, or in its schema.
        """
        self.begun.clear()
        if self._read_only and self._is_unchanging() and os.path.exists(self._path):
            from cacheness.backends.sqlite_unchanging import Unchanging

            unchanging: Any = Unchanging(self._path, lambda: self._open_anew(displaced))
            return unchanging  # type: ignore[no-any-return]  # stands for a connection
        return self._open(displaced)

    def _open_anew(self, displaced: list[object]) -> sqlite3.Connection:
        connection = self._open(displaced)
        self.begun.clear()  # it locks nothing, as the file never changes
        return connection

    def _open(self, displaced: list[object]) -> sqlite3.Connection:
        """As `open`.

        What is replaced goes there by a function that is none of Python's: in one of those an
        interrupt can come, which SQLite would replace by an error of its own.
        """
        _check_files(self._path)
        connect = methodcaller(
            "connect",
            self._uri(),
            uri=True,
            timeout=self._timeout,
            isolation_level=None,
            check_same_thread=False,
        )
        opened: list[sqlite3.Connection] = []
        self.begun.append(opened)
        # Opened and noted by one call of C: a fork comes before both or after both.
        opened.extend(map(connect, (sqlite3,)))
        connection = opened[0]
        try:
            self._set_up(connection)
            connection.setlimit(LENGTH, NONE)
        except BaseException:
            connection.close()
            raise
        connection.create_function("displaced", 1, displaced.append)
        return connection

    def _set_up(self, connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA trusted_schema = OFF")  # the file may be anybody's work
        mapped = mapped_bytes(self._path, self._journal)
        connection.execute(f"PRAGMA mmap_size = {mapped}")
        # First of all, as SQLite loads the schema for most of what follows.
        in_one_transaction(connection, self._path, "BEGIN", lambda _: None)
        if self._journal == "rollback":
            self._set_up_rollback(connection)
            return
        if not self._read_only:
            self._set_up_commits(connection)
            if connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
                from cacheness.backends.sqlite_guard import return_to_log

                return_to_log(connection, self._path)
        connection.execute("PRAGMA busy_timeout = 0")  # from here on `Turns` does the waiting

    def _set_up_commits(self, connection: sqlite3.Connection) -> None:
        synchronous = "FULL" if self._durable else "NORMAL"
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute("PRAGMA wal_autocheckpoint = 0")

    def _set_up_rollback(self, connection: sqlite3.Connection) -> None:
        from cacheness.backends.sqlite_journal import use_rollback, wait_up_to

        if not self._read_only:
            use_rollback(connection)
            wait_up_to(connection, self._timeout)
            self._set_up_commits(connection)
        wait_up_to(connection, min(self._timeout, 1.0))

    def identity(self) -> tuple[int, int] | None:
        """The file, by device and inode; None where there is none."""
        try:
            status = os.stat(self._path)
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def _uri(self) -> str:
        path = self._path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
        if not self._read_only:
            return f"file:{path}"
        return f"file:{path}?{'immutable=1' if self._is_unchanging() else 'mode=ro'}"

    def _is_unchanging(self) -> bool:
        """Whether it has to be opened as a file that never changes.

        A directory that can't be written can't hold the shared memory that WAL readers
        need; without a log there is nothing to share.
        """
        writable = os.access(os.path.dirname(self._path), os.W_OK)
        return not writable and not os.path.exists(f"{self._path}-wal")


def _check_files(path: str) -> None:
    """Have whatever is unusual about the files that SQLite will open looked at first."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        try:
            mode = os.lstat(path + suffix).st_mode
        except OSError:
            continue
        if not S_ISREG(mode) or suffix == "-journal":
            from cacheness.backends.sqlite_guard import check_file

            check_file(path + suffix)


def mapped_bytes(path: str, journal: Journal) -> int:
    """How many bytes of the file a connection is to read in place, as large as it is now.

    None without the log: what another machine writes would not be seen.
    """
    try:
        is_large = journal == "wal" and os.stat(path).st_size >= _LARGE
    except OSError:
        return 0
    return _MAPPED if is_large else 0
