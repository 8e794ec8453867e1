# SPDX-License-Identifier: MIT
"""Which journal a SQLite file has: the log of WAL mode, or the one of a network file system.

WAL mode rests on memory that all processes share, which the machines of a network file
system don't. There a rollback journal is used: whoever commits waits for readers, and
readers for him, for as long as the commit takes (https://sqlite.org/wal.html).
"""

from __future__ import annotations

import sqlite3

from cacheness.backends.sqlite_compiling import tell
from cacheness.disk.filesystem import network_type
from cacheness.errors import CachenessWarning, warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal, TypeAlias

    Journal: TypeAlias = Literal["wal", "rollback"]

__all__ = ["journal_for", "use_rollback", "use_wal", "wait_up_to"]

_MOUNTS = "/proc/self/mountinfo"
_warned: set[str] = set()
"""The directories that this process was told of."""


def journal_for(directory: str) -> Journal:
    """The journal for the file system of a directory, with a warning where it is a network's."""
    of = network_type(directory, _MOUNTS)
    if of is None:
        return "wal"
    if directory not in _warned:
        _warned.add(directory)
        warn(
            f"the cache {directory!r} lies on a network file system ({of}), where SQLite is slow "
            "and its locks are as good as that file system's: for a cache that several machines "
            "share use PostgreSQL (pip install cacheness-postgres), or name a local directory",
            CachenessWarning,
        )
    return "rollback"


def use_rollback(connection: sqlite3.Connection) -> None:
    """Have a connection commit by a rollback journal.

    A file in WAL mode that others have open stays in it, until one opens it alone.
    """
    try:
        connection.execute("PRAGMA journal_mode = TRUNCATE").fetchall()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise


def wait_up_to(connection: sqlite3.Connection, seconds: float) -> None:
    """Have SQLite itself wait for readers, which keeps new ones out meanwhile.

    Nobody can do so who tries a whole statement again.
    """
    connection.execute(f"PRAGMA busy_timeout = {int(seconds * 1000)}")


def use_wal(connection: sqlite3.Connection, path: str) -> None:
    """Have a file that came from a network file system in WAL mode again, if nobody minds."""
    try:
        tell(connection, path, "PRAGMA journal_mode = WAL")
    except sqlite3.OperationalError:
        return  # others have it open; another time
