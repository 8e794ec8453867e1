# SPDX-License-Identifier: MIT
"""Makes a SQLite file with empty tables, while others may be doing so at the same instant."""

from __future__ import annotations

import os
import sqlite3

from cacheness.backends.sqlite_schema import SCHEMA
from cacheness.backends.statements import statements_of_this_thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cacheness.backends.sqlite_connections import Connections, Execute

__all__ = ["make_file"]


def make_file(connections: Connections, version: int, *, mode: int) -> None:
    """Make the file, or the tables in one that is there and empty.

    Args:
        connections: Knows the path.
        version: The schema's, to be kept in the file.
        mode: The permissions of a new file; SQLite gives those beside it the same.

    Raises:
        BackendUnavailableError: It can't be made.
    """
    if not os.path.exists(connections.path) and _link_file(connections, version, mode):
        return
    if connections.journal == "wal":
        connections.tell("PRAGMA journal_mode = WAL")
    with connections.transaction() as execute:
        _make_tables(execute, version)
    _set_mode(connections.path, mode)


def _link_file(connections: Connections, version: int, mode: int) -> bool:
    """Make the file whole under another name, and link it unless somebody was quicker.

    So those who make one cache at the same instant never wait for each other, and none
    ever sees a file that has another journal yet. False where the file system has no links.
    """
    # So named as all temporary files are, for a clean-up after who is killed here.
    made = f"{connections.path}.{os.getpid()}.{os.urandom(4).hex()}.tmp"
    inside = statements_of_this_thread()
    outside = inside.depth
    try:
        inside.enter()
        _write_file(made, version, "WAL" if connections.journal == "wal" else "DELETE")
        inside.depth = outside
        _finish(made, mode)
        os.link(made, connections.path)
    except FileExistsError:
        return True
    except sqlite3.Error as error:
        raise connections.failure(error) from error
    except OSError:
        return False
    finally:
        inside.depth = outside
        _unlink(made)
    return True


def _write_file(path: str, version: int, journal: str) -> None:
    """Write a file with empty tables that nobody else knows of."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        _make_tables(connection.execute, version)
        connection.execute(f"PRAGMA journal_mode = {journal}")
    finally:
        connection.close()


def _make_tables(execute: Execute, version: int) -> None:
    for statement in SCHEMA:
        execute(statement)
    execute(f"PRAGMA user_version = {version}")


def _finish(path: str, mode: int) -> None:
    """Give a file that no connection has open its mode, and wait for it to be on the disk."""
    # Somebody may have put a link in its place by now.
    descriptor = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
    try:
        if hasattr(os, "fchmod"):
            os.fchmod(descriptor, mode)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _set_mode(path: str, mode: int) -> None:
    for suffix in ("", "-wal", "-shm"):
        try:
            os.chmod(path + suffix, mode)
        except OSError:
            continue  # not made yet, or another user's, who gave it its mode


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        return
