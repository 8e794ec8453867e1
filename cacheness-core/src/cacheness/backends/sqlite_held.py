# SPDX-License-Identifier: MIT
"""Connections that are open, until their cache is closed, the interpreter ends, or after a fork."""

from __future__ import annotations

import atexit
import os
import sys

from cacheness.backends.statements import Alone, let_parent_go_on, statements_of_this_thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from types import FrameType
    from typing import Any

    from cacheness.backends.sqlite_token import ChangeWatch
    from cacheness.backends.statements import Statements

__all__ = ["Held", "close_all"]

_left: list[tuple[str, Held]] = []
"""Connections that were in use when their cache was closed, with their files."""


class Held:
    """A connection with what belongs to it and to its thread.

    Args:
        connection: The connection.
        inside: The mark of its thread.
        displaced: What its function ``displaced`` appends to, see `sqlite_rows.put_statement`.
    """

    __slots__ = (
        "connection",
        "cursors",
        "displaced",
        "functions",
        "identity",
        "inside",
        "is_mapped",
        "owner",
        "watch",
    )

    def __init__(
        self, connection: sqlite3.Connection, inside: Statements, displaced: list[Any] | None = None
    ) -> None:
        self.connection = connection
        self.inside = inside
        self.displaced: list[Any] = [] if displaced is None else displaced
        self.cursors: list[sqlite3.Cursor] = []
        """Those that are not in use."""
        self.identity: tuple[int, int] | None = None
        """The device and inode of the file when it was opened, if known."""
        self.watch: ChangeWatch | None = None
        """What tells of the commits of others, once it is asked."""
        self.owner: FrameType | None = None
        """Whose transaction is open, see `sqlite_transaction`."""
        self.functions: set[str] = set()
        """The functions that its statements were made to know."""
        self.is_mapped = False
        """Whether it was told to read a file in place that became large, see `sqlite_log`."""


def close_all(path: str, connections: dict[int, Held]) -> None:
    """Close them, but for those that are still in use: these are closed another time."""
    if not connections:
        return
    with Alone():
        while connections:
            _left.append((path, connections.popitem()[1]))
        _close_left()


def _close_left() -> None:
    mine = statements_of_this_thread()
    for left in list(_left):
        held = left[1]
        if held.inside is mine or not held.inside.depth:
            _left.remove(left)
            held.connection.close()


def _after_fork() -> None:
    """In a child, after each `Connections.after_fork`."""
    try:
        while _left:
            from cacheness.backends.sqlite_inherited import close_inherited

            path, held = _left.pop()
            close_inherited(path, [held])
        if inherited := sys.modules.get("cacheness.backends.sqlite_inherited"):
            inherited.close_rest()
    finally:
        let_parent_go_on()


atexit.register(_close_left)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
