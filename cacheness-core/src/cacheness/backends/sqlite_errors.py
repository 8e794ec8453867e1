# SPDX-License-Identifier: MIT
"""What SQLite's errors mean to whoever uses a cache."""

from __future__ import annotations

import os
import sqlite3

from cacheness.backends.sqlite_connections import is_busy
from cacheness.backends.sqlite_functions import interrupt_behind
from cacheness.errors import BackendUnavailableError, CacheClosedError

__all__ = ["failure"]

_CLOSED = {("Cannot operate on a closed database.",), ("Cannot operate on a closed cursor.",)}


def failure(
    error: sqlite3.Error, path: str, *, timeout: float, read_only: bool, closed: bool
) -> BaseException:
    """The error of the contract for one of SQLite's, or the interrupt behind it.

    Args:
        error: SQLite's.
        path: The file.
        timeout: How many seconds were waited where it was locked.
        read_only: Whether the cache changes nothing.
        closed: Whether it was closed.
    """
    interrupt = interrupt_behind(error)
    if interrupt is not None:
        return interrupt
    if closed:
        return CacheClosedError("the cache is closed")
    if isinstance(error, sqlite3.ProgrammingError) and error.args in _CLOSED:
        return BackendUnavailableError(
            f"{path} can't be used for what was begun before this process was forked, "
            "and goes on in its parent; try again"
        )
    if is_busy(error):
        return BackendUnavailableError(
            f"{path} was locked by another process for {timeout:g} s; "
            "try again, or raise lock_timeout"
        )
    directory = os.path.dirname(path)
    if not read_only and os.path.isdir(directory) and not os.access(directory, os.W_OK):
        return BackendUnavailableError(
            f"{path} can't be used, as its directory can't be written ({error}); "
            "pass read_only=True to read what is there"
        )
    return BackendUnavailableError(f"{path} can't be used: {error}")
